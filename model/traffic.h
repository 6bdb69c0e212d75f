// Byte matrices: nccl-tests' alltoallv format (square, whitespace-separated, cell [i][j] = bytes
// from rank i to rank j; '#' starts a comment), or "uniform:1MiB".
#ifndef MODEL_TRAFFIC_H
#define MODEL_TRAFFIC_H

#include "base/error.h"

#include <stdint.h>

// Reads what into *bytes ([*ranks * *ranks], freed by the caller). For "uniform:SIZE" *ranks is
// given; for a file it is set. Refuses a missing or empty file, a directory, a matrix that is not
// square, a cell that is not a whole number of bytes below 2^50, more than CLUSTER_MAX_RANKS ranks,
// and a matrix that moves nothing.
bool traffic_load(const char *what, uint64_t **bytes, uint32_t *ranks, struct error *err);

#endif
