// What nccl-tests print (alltoall_perf, alltoallv_perf and sendrecv_perf), as measured rows.
// Private to model/.
//
// A text holds one run or several. Of a run it takes where ranks are ("# Rank 3 ... on HOST device
// 3 [...] NVIDIA H100"), which gives nodes, GPUs of a node and the GPU; what ran ("# Collective
// test starting: alltoall_perf", of 2025 and later); and its table, whose header says what columns
// there are: `error` or `#wrong`, with or without root, per-iteration figures and time of day.
// Without the test's name sizes and counts tell it, where only an exchange leaves the in-place
// column unchecked (N/A). A row's figure is `time`, out of place: a test averages over ranks and
// over iterations back to back, in which all go at the pace of the slowest, so that stat is
// slowest.
//
//     alltoall_perf   size bytes of a rank, 1/n to each rank, itself included
//     sendrecv_perf   size bytes from every rank to the next
//     alltoallv_perf  its own pattern (distance), or where count is 0 a matrix that is not in the
//                     text
//
// Other lines may stand between (NCCL's log), and every line may carry the tag that mpirun
// --tag-output or srun --label put before it.
#ifndef MODEL_NCCL_TESTS_H
#define MODEL_NCCL_TESTS_H

#include "model/measured.h"

// Whether some line begins as every run of nccl-tests does: "# nThread ".
bool nccl_tests_recognise(const char *text);

// Adds the rows of the text, which is changed. Rows of 0 bytes and runs of other tests are left out
// with a notice. Refuses, with "path:line:", a table before its ranks, ranks that are missing,
// stand twice, are not placed host after host in equal numbers, or run on two kinds of GPU or in
// groups; a row with other cells than the header has; a test that cannot be told; and a row with
// wrong values, for a time in which data came wrong is no measurement of a machine that works.
bool nccl_tests_read(struct measured *measured, const char *path, char *text, struct error *err);

#endif
