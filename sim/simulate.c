#include "sim/simulate.h"

#include "model/engine/bottleneck.h"
#include "model/engine/walk.h"
#include "sim/critical.h"
#include "sim/move.h"

// Bytes that left ranks in the phase, from its port entries, which begin at `first`.
static double sent_bytes(const struct timing *timing, size_t first)
{
    double bytes = 0;
    for (size_t i = first; i < timing->port_count; i++)
        if (timing->ports[i].kind == PORT_NIC_TX || timing->ports[i].kind == PORT_NVLINK_TX)
            bytes += timing->ports[i].bytes;
    return bytes;
}

static void simulate_transfer(void *context, const struct kernel_costs *costs,
                              const struct run *run, struct timing *timing)
{
    const enum phase moved = costs->transfer->phase;
    struct phase_timing *phase = &timing->phases[moved];
    const size_t first = timing->port_count;
    struct port_loads loads;
    (void)run;
    port_loads_init(&loads, costs);
    move_transfer(costs, loads.peers, context, timing);
    if (context)
        timeline_flush(context);
    phase->bytes = sent_bytes(timing, first);
    phase->bound_ps = port_loads_bound_ps(&loads, &costs->schedule->fabric, phase->busiest);
    const uint32_t rank = bottleneck_slowest(timing, moved);
    const struct kernel_times slowest = kernel_times(costs, rank, loads.peers[rank]);
    bottleneck_name(costs, &slowest, timing);
    port_loads_release(&loads);
}

void simulate(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    struct timeline *timeline =
        run->timeline ? timeline_new(run->timeline, &schedule->fabric,
                                     schedule->transfers[0].channels, TIMELINE_PORTS)
                      : NULL;
    timing_init(timing, "simulate", schedule);
    walk_layer(schedule, run, timing, simulate_transfer, timeline);
    critical_path(schedule, run, timing);
    if (!timeline)
        return;
    timeline_flush(timeline);
    timeline_phases(timeline, timing, 0);
    timeline_finish(timeline, timing->engine);
}

const struct engine engine_simulate = {.name = "simulate",
                                       .loads = LOADS_COUNTED,
                                       .has_queues = true,
                                       .is_calibrated = true,
                                       .run = simulate};
