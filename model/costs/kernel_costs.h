// What the kernels of one transfer cost: made once per transfer by an engine, then asked per rank.
#ifndef MODEL_COSTS_KERNEL_COSTS_H
#define MODEL_COSTS_KERNEL_COSTS_H

#include "model/costs/cost.h"
#include "model/schedule.h"

struct kernel_costs {
    const struct schedule *schedule; // borrowed
    const struct transfer *transfer; // one of the schedule's
    // Constants of the transfer's direction, and those of the cost model's own, of both; where
    // ranks share the cores that move data, slowed by that (cluster_move_slowdown).
    struct common_costs common;
    union own_costs own;
    uint32_t sms;             // that the transfer's kernels run on
    double nvlink_share;      // of NVLink's rate that their stores reach, (0..1]
    double nic_share;         // of a NIC's that their messages reach, (0..1]
    struct copy_times copies; // zero where the cost model has no copy engines
};

void kernel_costs_init(struct kernel_costs *costs, const struct schedule *schedule,
                       const struct transfer *transfer);

// One rank's times. `peers`: lanes that it starts (struct port_loads).
struct kernel_times kernel_times(const struct kernel_costs *costs, uint32_t rank, double peers);

// What a rank's own part of the exchange of counts takes beyond the constants: its kernels, slowed
// as the rank is, and the wires.
double kernel_notify_ps(const struct schedule *schedule, uint32_t rank);

// SMs that the kernels of a schedule's transfers run on.
uint32_t kernel_sms(const struct schedule *schedule);

// All of a GPU's, for cost models whose kernels take them.
uint32_t kernel_all_sms(const struct schedule *schedule);

// Where a kernel gives each of its warp groups one expert: ceil(E / SMs) experts per SM, and so S =
// ceil(E / that) SMs, 80 of 132 for 160 experts.
uint32_t kernel_expert_sms(const struct schedule *schedule);

// Experts that one SM serves where each has an SM at a time: ceil(experts / SMs).
uint32_t kernel_expert_groups(const struct schedule *schedule);

// Rate of one port, a wire, for the transfer: of NVLink and NICs what the kernels reach.
double kernel_port_rate(const struct kernel_costs *costs, enum port_kind kind, uint32_t port);

// Picoseconds of so many bytes; no rate: none.
static inline double kernel_bytes_ps(double bytes, double Bps)
{
    return Bps > 0 ? bytes / Bps * 1e12 : 0;
}

// ---- what kernels have to do in a transfer, counted: shared by cost models ----------------------

// Tokens whose copies a rank sends: its own, or where slots are fixed, as many as the fullest has.
double work_posted_tokens(const struct schedule *schedule, uint32_t rank);

// Copies per token that a rank sends: to all ranks, its own among them.
double work_copies_per_token(const struct kernel_costs *costs, uint32_t rank);

// Adds what kernels of their own take that write rows for the wire before it moves them, and sum
// them behind it, at `hbm_share` of the memory's rate; 0: none do.
void work_through_memory(const struct kernel_costs *costs, double hbm_share, uint32_t rank,
                         struct kernel_times *times);

// Rounds in which SMs take over a rank's tokens, one at a time; a part of a round is one.
double work_rounds(double tokens, double sms);

// A kernel that sums each token's copies at its own rank, behind the wires. SM times are of one SM.
struct home_sums {
    double sm_Bps;     // reduce rate
    uint64_t token_ps; // of a token summed, whatever its copies
    double token_Bps;
    double hbm_share; // of memory's rate, of the sum; 0: no bound
};
double work_home_sums_ps(const struct kernel_costs *costs, uint32_t rank,
                         const struct home_sums *own);

// SM time of `ps` and of so many bytes at a rate; no rate: no time.
static inline double work_ps(uint64_t ps, uint64_t bytes, double Bps)
{
    return (double)ps + kernel_bytes_ps((double)bytes, Bps);
}

#endif
