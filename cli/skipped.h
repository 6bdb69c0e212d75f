// Measured rows that a command could not use: each reason is said once, with how many it kept out.
#ifndef CLI_SKIPPED_H
#define CLI_SKIPPED_H

#include "base/table.h"

#include <stddef.h>

struct skipped_row {
    const char *id, *why; // borrowed
};

// A comment line of the table for every reason, in the order of their first rows.
void skipped_comment(struct table *table, const struct skipped_row *rows, size_t count);

#endif
