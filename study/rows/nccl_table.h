// The table of a run of nccl-tests, as text. Private to the reader of nccl-tests' logs.
#ifndef STUDY_ROWS_NCCL_TABLE_H
#define STUDY_ROWS_NCCL_TABLE_H

#include "study/rows/nccl_run.h"

// Whether a line names a table's columns: size, count, type, time, algbw and busbw.
bool nccl_is_header(const char *line);

// Whether a line is a whole row of some version's table, by its cells alone.
bool nccl_is_whole_row(const char *line);

// Reads the names of columns. Refuses other ones than every version has.
bool nccl_read_header(struct nccl_reader *reader, struct log *log, const char *line);

// Reads a line within a table: a row, the rest of one that another writer split, or neither. A row
// without a table's header before it has the columns of 2022 and later. Refuses cells that are no
// numbers, and what nccl_add_row refuses.
bool nccl_read_table_line(struct nccl_reader *reader, struct log *log, const char *line);

// After a table: a row that was split and has no rest is left out with a reason.
void nccl_end_table(struct nccl_reader *reader, struct log *log);

#endif
