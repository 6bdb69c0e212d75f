#include "sim/simulate.h"

#include "model/engine.h"
#include "sim/critical.h"
#include "sim/move.h"

#include <stdio.h>

// A port that is busy less than this share of a phase does not bind it: waiting does.
#define BINDING_SHARE 0.5

// The rank that came last, when the others' wait for it is most of the phase.
static uint32_t late_rank(const struct phase_timing *phase, const struct phase_span *span,
                          uint32_t ranks)
{
    uint32_t last = 0;
    for (uint32_t r = 1; r < ranks; r++)
        if (phase->start_ps[r] > phase->start_ps[last])
            last = r;
    const double waited = (double)phase->start_ps[last] - span->start_ps;
    return waited > BINDING_SHARE / 2 * span->latency_ps ? last : UINT32_MAX;
}

static void name_binding(const struct schedule *schedule, const struct transfer *transfer,
                         struct timing *timing)
{
    struct phase_timing *phase = &timing->phases[transfer->phase];
    const struct phase_span span = timing_span(timing, transfer->phase);
    const struct port_timing *busiest = NULL;
    char name[48];
    for (size_t i = 0; i < timing->port_count; i++)
        if (timing->ports[i].phase == transfer->phase &&
            (!busiest || timing->ports[i].busy_ps > busiest->busy_ps))
            busiest = &timing->ports[i];
    const uint32_t late = late_rank(phase, &span, timing->ranks);
    const bool idle = !busiest || busiest->busy_ps < BINDING_SHARE * span.latency_ps;
    if (idle && late != UINT32_MAX)
        snprintf(phase->bottleneck, sizeof phase->bottleneck, "the late arrival of gpu%u", late);
    else if (idle)
        snprintf(phase->bottleneck, sizeof phase->bottleneck, "latency");
    else
        snprintf(phase->bottleneck, sizeof phase->bottleneck, "%s",
                 fabric_port_name(&schedule->fabric, busiest->class, busiest->port, name));
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
        run->timeline ? timeline_new(run->timeline, schedule, TIMELINE_PORTS) : NULL;
    timing_init(timing, "simulate", schedule);
    engine_walk(schedule, run, timing, simulate_transfer, timeline);
    critical_path(schedule, run, timing);
    if (!timeline)
        return;
    timeline_flush(timeline);
    timeline_phases(timeline, timing, 0);
    timeline_finish(timeline, timing->engine);
}
