// Results of benchmarks in a log, gathered to measured rows: lines of one kernel under one
// configuration are one row, the mean over the ranks, or the nodes, that printed them.
#ifndef STUDY_EP_GATHER_H
#define STUDY_EP_GATHER_H

#include "study/ep/group.h"
#include "study/ep/mix.h"
#include "study/rows/log.h"

struct ep_gather {
    struct ep_group *groups;
    size_t count, capacity;
    struct ep_mixes mixes;
};

// Adds a result that stands on the line in hand; leaves out figures that no machine gives.
void ep_gather_add(struct ep_gather *gather, struct log *log, const struct ep_bench *bench,
                   const struct ep_config *config, const struct ep_result *result);

// What was told of runs later than their lines: fills what their configurations leave at 0.
void ep_gather_fill(struct ep_gather *gather, const struct ep_config *told);

// Adds the rows. What can be none is left out with its reason: ranks that are nowhere said, GB/s
// that do not fit what was run.
void ep_gather_end(struct ep_gather *gather, struct log *log);

void ep_gather_release(struct ep_gather *gather);

#endif
