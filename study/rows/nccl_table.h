// The table of a run of nccl-tests. Private to the reader of nccl-tests.
#ifndef STUDY_ROWS_NCCL_TABLE_H
#define STUDY_ROWS_NCCL_TABLE_H

#include "study/rows/nccl_run.h"

// Both cut their line in place.
//
// Reads the header's names, and places the ranks that came before it. Refuses other
// columns than every version has, and ranks that cannot be placed.
bool nccl_read_header(struct nccl_reader *reader, char *text);

// Whether a line of the table has figures.
bool nccl_is_row(const char *line);

// Adds a line's row; one of 0 bytes is counted and left out. Refuses other cells
// than the header has, a test that cannot be told, and wrong values: a time in which data came
// wrong is no measurement of a machine that works.
bool nccl_read_row(struct nccl_reader *reader, char *line);

#endif
