#include "model/engine/check.h"

#include "model/engine/port_loads.h"

#include <math.h>

// Sums of the same numbers in another order differ in their last bits.
static bool sums_agree(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

// Conservation: what was chosen, less what capacity dropped, was sent, and what was sent is served,
// at every rank.
static bool check_choices(const struct schedule *schedule, struct error *err)
{
    const struct loads *loads = schedule->loads;
    const size_t ranks = loads->ranks;
    if (!schedule->layout)
        return true;
    const double served = loads_sum(loads->slot_tokens, loads->slots);
    const double sent = loads_sum(loads->expert_copies, ranks * ranks);
    if (!sums_agree(served, sent))
        return error_set(err, EXIT_RUNTIME, "check: %.0f choices sent, %.0f served", sent, served);
    const double asked = loads_sum(loads->tokens, ranks) * loads->topk - loads->dropped;
    if (!sums_agree(sent, asked))
        return error_set(err, EXIT_RUNTIME, "check: %.0f choices made, %.0f sent", asked, sent);
    for (size_t r = 0; r < ranks; r++) {
        const uint32_t first = schedule->layout->rank_slot[r];
        const double slots =
            loads_sum(loads->slot_tokens + first, schedule->layout->rank_slot[r + 1] - first);
        const double copies = loads_received(loads->expert_copies, ranks, r);
        if (!sums_agree(slots, copies))
            return error_set(err, EXIT_RUNTIME, "check: gpu%zu serves %.0f of %.0f choices", r,
                             slots, copies);
    }
    return true;
}

// Bytes that a port carried in a phase.
static double port_bytes(const struct timing *timing, enum phase phase, enum port_kind kind,
                         uint32_t port)
{
    for (size_t i = 0; i < timing->port_count; i++)
        if (timing->ports[i].phase == phase && timing->ports[i].kind == kind &&
            timing->ports[i].port == port)
            return timing->ports[i].bytes;
    return 0;
}

static double kind_bytes(const struct timing *timing, enum phase phase, enum port_kind kind)
{
    double bytes = 0;
    for (size_t i = 0; i < timing->port_count; i++)
        if (timing->ports[i].phase == phase && timing->ports[i].kind == kind)
            bytes += timing->ports[i].bytes;
    return bytes;
}

// Each port carried what the schedule puts on it.
static bool check_ports(const struct schedule *schedule, const struct transfer *transfer,
                        const struct timing *timing, struct error *err)
{
    struct kernel_costs costs;
    struct port_loads loads;
    char name[48];
    bool ok = true;
    kernel_costs_init(&costs, schedule, transfer);
    port_loads_init(&loads, &costs);
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++)
        for (uint32_t port = 0; ok && port < schedule->fabric.count[kind]; port++) {
            const double carried = port_bytes(timing, transfer->phase, kind, port);
            if (!sums_agree(carried, loads.bytes[kind][port]))
                ok = error_set(
                    err, EXIT_RUNTIME, "check: %s: %.0f bytes at %s, %.0f in the schedule",
                    phase_names[transfer->phase], carried,
                    fabric_port_name(&schedule->fabric, kind, port, name), loads.bytes[kind][port]);
        }
    port_loads_release(&loads);
    return ok;
}

// What left the sending ports of a medium came in at its receiving ones.
static bool check_conserved(enum phase phase, const struct timing *timing, struct error *err)
{
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind += 2) {
        const double out = kind_bytes(timing, phase, kind);
        const double in = kind_bytes(timing, phase, kind + 1);
        if (!sums_agree(out, in))
            return error_set(err, EXIT_RUNTIME, "check: %s: %.0f bytes left %s, %.0f came to %s",
                             phase_names[phase], out, port_kind_names[kind], in,
                             port_kind_names[kind + 1]);
    }
    return true;
}

static bool check_transfer(const struct schedule *schedule, const struct transfer *transfer,
                           const struct timing *timing, struct error *err)
{
    const enum phase phase = transfer->phase;
    const struct phase_span span = timing_span(timing, phase);
    // A simulator moves whole tokens: from expected loads its bytes are below the means.
    const bool parts_lost = schedule->loads->expected && timing->events;
    if (!parts_lost && !check_ports(schedule, transfer, timing, err))
        return false;
    if (!check_conserved(phase, timing, err))
        return false;
    // Times are whole picoseconds: one is within rounding.
    if (span.latency_ps + 1 < timing->phases[phase].bound_ps * (1 - 1e-9))
        return error_set(err, EXIT_RUNTIME, "check: %s takes %.6g us, below its port bound %.6g us",
                         phase_names[phase], span.latency_ps / 1e6,
                         timing->phases[phase].bound_ps / 1e6);
    return true;
}

bool timing_check(const struct schedule *schedule, const struct timing *timing, struct error *err)
{
    bool ok = check_choices(schedule, err);
    for (uint32_t t = 0; ok && t < schedule->transfer_count; t++)
        if (schedule->present[schedule->transfers[t].phase])
            ok = check_transfer(schedule, &schedule->transfers[t], timing, err);
    return ok;
}
