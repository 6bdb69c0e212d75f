#include "model/engine/walk.h"

#include <math.h>
#include <stdio.h>

// A late arrival is the bottleneck when the others waited for it this share of the phase.
#define LATE_SHARE 0.25
// Ports whose busy times differ by less are equally busy: sums of the same bytes in another order.
#define EQUALLY_BUSY 1e-9

// The busiest wire, or the busiest rank's copy engines; NULL: none moves anything. Ports stand in
// order of their kind, sending before receiving.
static const struct port_timing *busiest_port(const struct timing *timing, enum phase phase,
                                              bool sm)
{
    const struct port_timing *max = NULL;
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        if (port->phase == phase && (port->kind == PORT_SM) == sm &&
            (!max || port->busy_ps > max->busy_ps * (1 + EQUALLY_BUSY)))
            max = port;
    }
    return max;
}

// Parts of a phase's latency, picoseconds; what is in neither is the rest.
struct parts {
    double wire, sm;
};

// SM work beside the wires counts in their place where it is longer; flags that outlast both leave
// neither. What comes before the first byte and after the last is the SMs' in any case.
static struct parts latency_parts(const struct port_timing *wire, const struct port_timing *engine,
                                  const struct kernel_times *times)
{
    const double moves = wire ? wire->busy_ps : 0;
    const double flags = times->min_fixed_ps;
    const double works = fmax(engine ? engine->busy_ps : 0, times->min_ps - flags);
    const double before_and_after = times->head_ps - times->head_fixed_ps + times->tail_ps;
    if (flags > moves && flags > works)
        return (struct parts){.sm = before_and_after};
    if (works > moves * (1 + EQUALLY_BUSY))
        return (struct parts){.sm = before_and_after + works};
    return (struct parts){.wire = moves, .sm = before_and_after};
}

void bottleneck_name(const struct kernel_costs *costs, const struct kernel_times *slowest,
                     struct timing *timing)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const enum phase moved = costs->transfer->phase;
    struct phase_timing *phase = &timing->phases[moved];
    const struct phase_span span = timing_span(timing, moved);
    const struct port_timing *wire = busiest_port(timing, moved, false);
    const struct port_timing *engine = busiest_port(timing, moved, true);
    const struct parts parts = latency_parts(wire, engine, slowest);
    const double rest = span.latency_ps - parts.wire - parts.sm;
    // The rank that came last, when the others' wait for it is much of the phase.
    const uint32_t late = timing_last(phase->start_ps, timing->ranks);
    const double waited = (double)phase->start_ps[late] - span.start_ps;
    char name[48] = "latency";
    if (wire && parts.wire >= parts.sm && parts.wire >= rest)
        fabric_port_name(fabric, wire->kind, wire->port, name);
    else if (parts.sm > parts.wire && parts.sm >= rest)
        fabric_port_name(fabric, PORT_SM,
                         engine ? engine->port : timing_last(phase->end_ps, timing->ranks), name);
    else if (waited > LATE_SHARE * span.latency_ps)
        snprintf(name, sizeof name, "the late arrival of gpu%u", late);
    snprintf(phase->bottleneck, sizeof phase->bottleneck, "%s", name);
}
