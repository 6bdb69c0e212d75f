#include "sim/simulate.h"

#include "model/binding.h"
#include "model/engine.h"
#include "sim/critical.h"
#include "sim/move.h"

static void name_binding(const struct schedule *schedule, const struct transfer *transfer,
                         struct timing *timing)
{
    struct port_loads loads;
    struct law_terms slowest;
    schedule_port_loads(schedule, transfer, &loads);
    law_terms(schedule, transfer, &loads, binding_slowest(timing, transfer->phase), &slowest);
    binding_name(schedule, transfer, &slowest, timing);
    port_loads_release(&loads);
}

static void simulate_transfer(void *context, const struct schedule *schedule,
                              const struct transfer *transfer, const struct run *run,
                              struct timing *timing)
{
    struct phase_timing *phase = &timing->phases[transfer->phase];
    const size_t first = timing->port_count;
    (void)run;
    move(schedule, transfer, context, timing);
    if (context)
        timeline_flush(context);
    phase->bytes = 0;
    for (size_t i = first; i < timing->port_count; i++)
        if (timing->ports[i].class == PORT_NIC_TX || timing->ports[i].class == PORT_NVLINK_TX)
            phase->bytes += timing->ports[i].bytes;
    phase->bound_ps = schedule_bound_ps(schedule, transfer, phase->busiest);
    name_binding(schedule, transfer, timing);
}

void simulate(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    struct timeline *timeline =
        run->timeline ? timeline_new(run->timeline, &schedule->fabric,
                                     schedule->transfers[0].channels, TIMELINE_PORTS)
                      : NULL;
    timing_init(timing, "simulate", schedule);
    engine_walk(schedule, run, timing, simulate_transfer, timeline);
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
