// Ranks that took longer than all others of their row: a slow part, where the others agree. Ranks
// that scatter name none.
#ifndef STUDY_SLOW_RANKS_H
#define STUDY_SLOW_RANKS_H

#include "study/rows/measured.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOW_RANKS_AGREE 1.1  // slowest over fastest of the others, at most
#define SLOW_RANKS_APART 1.25 // fastest of the slow over slowest of the others, at least
#define SLOW_RANKS_FEW 8      // at most one of so many is slow, or else whole nodes are

// One row's.
struct row_ranks {
    uint32_t slow;   // 0: none stands out
    double limit_us; // slow ranks took longer
    double times;    // mean of the slow ones over the others' median
    double spread;   // slowest over fastest of the others; of all, where none stands out
};

struct row_ranks row_ranks(const struct measured_row *row);

// Those that stand out in most rows that tell ranks.
struct slow_ranks {
    uint32_t *ranks; // ascending
    size_t count;
    uint32_t gpus_per_node; // of the rows
    bool whole_nodes;       // all ranks of some nodes, and only those
    double times, spread;   // the most of these rows
    size_t rows, of;        // rows where any stands out, of those that tell ranks
};

void slow_ranks_find(struct slow_ranks *slow, const struct measured *measured);
void slow_ranks_release(struct slow_ranks *slow);

#endif
