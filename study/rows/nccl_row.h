// A result of nccl-tests as a measured row. Private to the readers of nccl-tests.
#ifndef STUDY_ROWS_NCCL_ROW_H
#define STUDY_ROWS_NCCL_ROW_H

#include "study/rows/nccl_run.h"

// One line of a table, or one result of a JSON.
struct nccl_result {
    double size, count, time_us;
    double min_GBps, max_GBps;          // of algbw as it is rounded; both 0: not said
    const char *type, *redop;           // redop "": not said
    const char *wrong, *wrong_in_place; // as they stand, "N/A": not checked
};

// Adds a result's row. One of 0 bytes, of another test than those that are read, and of a test
// that cannot be told are left out with a reason (log_leave_out), and so are rows beyond sixteen of
// one size on as many ranks, so that a text of any length fills no memory; and so is one whose time
// is not its size over its algbw. Refuses wrong values,
// since a time in which data came wrong is no measurement of a machine that works, sizes that are
// not the count's, times that no test prints, and ranks that cannot be placed.
bool nccl_add_row(struct nccl_reader *reader, struct log *log, const struct nccl_result *result);

// Why times of -C 1 are no row's.
#define NCCL_CPU_TIMES                                                                             \
    "rows of -C 1 are left out: cputime is how long the processor took, not the exchange"

// Leaves out, with a reason, what another test than those that are read says.
void nccl_leave_out_other(const struct nccl_run *run, struct log *log, const char *redop);

// Bytes of an element; 0: no type of nccl-tests.
uint32_t nccl_type_bytes(const char *type);

#endif
