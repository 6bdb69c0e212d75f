// Parts of measured rows, so that constants are fitted on some and judged on others.
#ifndef STUDY_PART_H
#define STUDY_PART_H

#include "study/rows/measured.h"

#include <stdbool.h>
#include <stdint.h>

// One of `parts`, from 1; part 0: all rows. The rows of one point (machine, shape, dispatcher, SMs,
// tokens) are in one part whatever their phase and statistic, so that no part knows half a run.
// Which part, is a hash of the point and the seed.
struct part {
    uint32_t part, parts;
    bool except; // the rows of every other part instead
    uint64_t seed;
};

// Reads "1/3".
bool part_parse(struct part *part, const char *text, struct error *err);

// Keeps the rows of the part, in order. Refuses to leave none.
bool part_keep(const struct part *part, struct measured *measured, struct error *err);

#endif
