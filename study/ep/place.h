// Where a benchmark ran, and how many tokens: what its text says, what its GB/s say, or what it
// runs by default.
#ifndef STUDY_EP_PLACE_H
#define STUDY_EP_PLACE_H

#include "study/ep/group.h"
#include "study/ep/mix.h"
#include "study/rows/log.h"

struct ep_run {
    struct ep_config config; // whole
    uint32_t gpus_per_node;
    struct ep_mix mix;
    double copy_bytes; // as the tool counts them
    bool tokens_told;  // by GB/s, for nothing else says them
};

// False: it cannot be told, and log_leave_out has said why.
bool ep_run_of(const struct ep_group *group, struct log *log, struct ep_mixes *mixes,
               struct ep_run *run);

// Whole tokens whose choices, but for a few that were masked, are so many.
double ep_tokens_of_choices(double choices, uint32_t topk);

#endif
