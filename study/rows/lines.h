// The lines of a text in memory, one after the other.
#ifndef STUDY_ROWS_LINES_H
#define STUDY_ROWS_LINES_H

#include <stddef.h>

struct lines {
    char *rest;    // what follows the line in hand; NULL: nothing
    size_t number; // of the line in hand, from 1
};

// The next line, cut off at its newline in place; NULL after the last.
char *lines_next(struct lines *lines);

#endif
