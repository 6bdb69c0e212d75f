#include "model/engine/estimate.h"
#include "model/engine/walk.h"

#include <math.h>
#include <string.h>

#define NAIVE_FIXED_PS 10000000.0 // 10 us, as public calculators add (e.g. shallowsim's decode)

// Datasheet rates, which no implementation reaches: what a calculator without measurements has.
// NICs of a GPU add up as the effective rates do.
static double nominal_Bps(const struct cluster *cluster, enum port_kind kind)
{
    if (kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX)
        return cluster->nvlink_nominal_Bps;
    return cluster->nic_nominal_Bps * cluster_nic_port_Bps(cluster) / cluster->nic_Bps;
}

// The busiest port's bytes over its nominal rate, plus a constant: no message cost, no copies, no
// stages one after another, no waiting. Every rank is done then.
static void naive_transfer(void *context, const struct kernel_costs *costs, const struct run *run,
                           struct timing *timing)
{
    const enum phase moved = costs->transfer->phase;
    struct phase_timing *phase = &timing->phases[moved];
    struct port_loads loads;
    double slowest = 0;
    (void)context;
    (void)run;
    port_loads_init(&loads, costs);
    walk_note_ports(costs, &loads, timing);
    port_loads_release(&loads);
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        if (port->phase == moved && port->kind <= PORT_NVLINK_RX)
            slowest = fmax(slowest,
                           port->bytes / nominal_Bps(&costs->schedule->cluster, port->kind) * 1e12);
    }
    for (uint32_t r = 0; r < timing->ranks; r++)
        phase->end_ps[r] = phase->stage_end_ps[STAGE_INTER][r] =
            phase->stage_end_ps[STAGE_INTRA][r] =
                phase->start_ps[r] + (uint64_t)(slowest + NAIVE_FIXED_PS);
    strcpy(phase->bottleneck, phase->busiest);
}

void estimate_naive(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    timing_init(timing, "naive", schedule);
    walk_layer(schedule, run, timing, naive_transfer, NULL);
}

const struct engine engine_naive = {
    .name = "naive", .loads = LOADS_EXPECTED, .run = estimate_naive};
