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
    struct copy_times copies; // zero where the cost model has no copy engines
};

void kernel_costs_init(struct kernel_costs *costs, const struct schedule *schedule,
                       const struct transfer *transfer);

// One rank's times. `peers`: lanes that it starts (struct port_loads).
struct kernel_times kernel_times(const struct kernel_costs *costs, uint32_t rank, double peers);

// SMs that the kernels of a schedule's transfers run on.
uint32_t kernel_sms(const struct schedule *schedule);

// Experts that one SM serves where each has an SM at a time: ceil(experts / SMs).
uint32_t kernel_expert_groups(const struct schedule *schedule);

// Rate of one port, a wire, for the transfer: of NVLink what the kernels' stores reach.
double kernel_port_rate(const struct kernel_costs *costs, enum port_kind kind, uint32_t port);

// Picoseconds of so many bytes; no rate: none.
static inline double kernel_bytes_ps(double bytes, double Bps)
{
    return Bps > 0 ? bytes / Bps * 1e12 : 0;
}

#endif
