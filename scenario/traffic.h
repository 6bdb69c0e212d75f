// Byte matrices: nccl-tests' alltoallv format (square, whitespace-separated, cell [i][j] = bytes
// from rank i to rank j; '#' starts a comment), or a pattern and its bytes:
//
//     uniform:1MiB    every rank to every other
//     ring:1MiB       every rank to the next, the last to the first (sendrecv_perf)
//     inside:1MiB     every rank to every other of its node
//     between:1MiB    every rank to every one of other nodes
//     pair:0:8:1MiB   rank 0 to rank 8, alone
//     distance:32MiB  that in all from each rank, the share of the one d places on as d
//                     (alltoallv_perf without a matrix)
#ifndef SCENARIO_TRAFFIC_H
#define SCENARIO_TRAFFIC_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

// Reads what into *bytes ([*ranks * *ranks], freed by the caller). For a pattern *ranks is given,
// gpus_per_node of them on a node; for a file it is set. Refuses a missing or empty file, a
// directory, a matrix that is not square, a cell that is not a whole number of bytes below 2^50,
// more than CLUSTER_MAX_RANKS ranks, a pair that is none, and a matrix that moves nothing.
bool traffic_load(const char *what, uint32_t gpus_per_node, uint64_t **bytes, uint32_t *ranks,
                  struct error *err);

// Whether `name` is a pattern's, as it stands before its bytes: "ring", "pair:0:8".
bool traffic_is_pattern(const char *name);

#endif
