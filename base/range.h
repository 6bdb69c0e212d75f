// Lists of counts as a person writes them on a command line.
#ifndef BASE_RANGE_H
#define BASE_RANGE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

// Reads "128", "1,64,4096", "64..1024" (every count), "64..1024:64" (steps of 64) or "1..4096:log"
// (doubling from the first, the last included) into *values, ascending without doubles, freed by
// the caller. Refuses zero, counts above 2^24, a range that goes down, and more than 10,000 values.
bool range_parse(const char *text, uint32_t **values, size_t *count, struct error *err);

// The same for what is numbered from 0, as layers and steps are: "0", "1,2", "0..3" or "0..12:4".
// There is no doubling from 0: ":log" is refused.
bool range_parse_indices(const char *text, uint32_t **values, size_t *count, struct error *err);

// Reads "0..0.5": a part of something from one share of it to another, 0 <= from < to <= 1.
bool range_parse_share(const char *text, double *from, double *to, struct error *err);

#endif
