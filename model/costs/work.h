// What a rank's kernels have to do in a transfer, counted: shared by cost models.
#ifndef MODEL_COSTS_WORK_H
#define MODEL_COSTS_WORK_H

#include "model/costs/kernel_costs.h"

// Tokens whose copies a rank sends: its own, or where slots are fixed, as many as the fullest has.
double work_posted_tokens(const struct schedule *schedule, uint32_t rank);

// Copies per token that a rank sends: to all ranks, its own among them.
double work_copies_per_token(const struct kernel_costs *costs, uint32_t rank);

// Copies of all ranks' tokens that a rank receives, its own among them.
double work_copies_received(const struct kernel_costs *costs, uint32_t rank);

// Choices of all ranks' tokens that a rank's experts serve.
double work_choices_served(const struct schedule *schedule, uint32_t rank);

// Adds what kernels of their own take that write rows for the wire before it moves them, and sum
// them behind it, at `hbm_share` of the memory's rate; 0: none do.
void work_through_memory(const struct kernel_costs *costs, double hbm_share, uint32_t rank,
                         struct kernel_times *times);

// SM time of `ps` and of so many bytes at a rate; no rate: no time.
static inline double work_ps(uint64_t ps, uint64_t bytes, double Bps)
{
    return (double)ps + kernel_bytes_ps((double)bytes, Bps);
}

#endif
