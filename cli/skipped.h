// Measured rows that a command could not use: each reason is said once, with how many it kept out.
#ifndef CLI_SKIPPED_H
#define CLI_SKIPPED_H

#include "base/table.h"

#include <stddef.h>

// An initialiser: {0}.
struct skipped {
    struct skipped_reason {
        const char *why, *first; // borrowed; the first row's id
        size_t rows;
    } * reasons; // in the order of their first rows
    size_t count;
};

// Borrows both texts.
void skipped_add(struct skipped *skipped, const char *id, const char *why);

// A comment line of the table for every reason; then there are none.
void skipped_tell(struct skipped *skipped, struct table *table);

#endif
