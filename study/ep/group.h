// Lines of one kernel under one configuration, gathered.
#ifndef STUDY_EP_GROUP_H
#define STUDY_EP_GROUP_H

#include "study/ep/bench.h"

#define EP_MAX_RANKS 4096

// Sums over lines that have the figure.
struct ep_sum {
    double sum;
    size_t count;
};

struct ep_group {
    const struct ep_bench *bench;
    struct ep_config config; // as it was said
    struct ep_result like;   // what the lines agree in; its figures are the first line's
    size_t line, lines;
    struct ep_sum us, after_us, notify_us, slowness, ratio, bytes; // slowness: 1 / GBps
    double least_us, most_us;
    struct ep_sum *rank_us;        // [rank_capacity]
    uint32_t ranks, rank_capacity; // the last rank that printed, and one
};

bool ep_group_takes(const struct ep_group *group, const struct ep_bench *bench,
                    const struct ep_config *config, const struct ep_result *result);
void ep_group_add(struct ep_group *group, const struct ep_result *result);

// 0: no line has the figure.
double ep_mean(struct ep_sum sum);

// Each rank's own mean, NAN where it printed nothing: [ranks], to be freed.
double *ep_group_rank_us(const struct ep_group *group, uint32_t ranks);

// Whether every rank from 0 to the last printed.
bool ep_group_is_whole(const struct ep_group *group);

#endif
