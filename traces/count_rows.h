// Counts of experts a row at a time, in any order, with as much of step and source rank as is
// known; gathered into pieces. Private to traces/.
#ifndef TRACES_COUNT_ROWS_H
#define TRACES_COUNT_ROWS_H

#include "traces/importer.h"

struct count_row {
    uint64_t step, line;
    uint32_t rank, layer, expert;
    int64_t count;
};

struct count_rows {
    const char *path; // borrowed
    bool has_step, has_rank;
    struct count_row *rows;
    size_t count;
};

void count_rows_release(struct count_rows *rows);

// Refuses a layer or expert out of range.
bool count_rows_add(struct count_rows *rows, const struct count_row *row, struct error *err);

// Adds all rows to the import, a piece a step and rank. Experts without a row have no choices;
// there are as many as the model has, else one more than the highest. Refuses an expert that stands
// twice in a layer.
bool count_rows_import(struct count_rows *rows, struct import *import, struct error *err);

#endif
