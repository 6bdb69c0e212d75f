#include "model/engine/check.h"

#include "model/engine/compute.h"
#include "model/engine/port_loads.h"

#include <math.h>

#define LONGEST_PS 1e15 // of one port or phase: 1,000 s
#define MAX_LANES (1u << 26)

// As long as walk_note_ports says a port is busy: times are integers, added up over all phases.
static bool check_port(const struct kernel_costs *costs, const struct port_loads *loads,
                       enum port_kind kind, uint32_t port, struct error *err)
{
    char name[48];
    const struct schedule *schedule = costs->schedule;
    const double rate = kernel_port_rate(costs, kind, port);
    const double bytes = loads->bytes[kind][port];
    const double messages = loads->messages[kind][port];
    const double copies = kind == PORT_SM ? port_loads_copies_ps(loads, costs, port) : 0;
    const double busy = (rate > 0 ? bytes / rate * 1e12 : 0) + copies +
                        messages * (double)costs->common.per_message_ps;
    fabric_port_name(&schedule->fabric, kind, port, name);
    if (bytes > 0 && rate <= 0 && kind != PORT_SM)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s moves bytes through %s, but the cluster has no %s rate",
                         schedule->dispatcher.name, name, kind < PORT_NVLINK_TX ? "nic" : "nvlink");
    if (busy > LONGEST_PS)
        return error_set(
            err, EXIT_INPUT,
            "%s: %s would be busy for %.3g s: expected at most 1000 s; are its rate and "
            "the traffic right?",
            phase_names[costs->transfer->phase], name, busy / 1e12);
    return true;
}

// What the dispatcher's kernels add to a rank, bounded as ports are: constants may be anything.
static bool check_kernels(const struct kernel_costs *costs, const struct port_loads *loads,
                          uint32_t rank, struct error *err)
{
    const struct kernel_times times = kernel_times(costs, rank, loads->ranks[rank].peers);
    const double max = fmax(times.head_ps, fmax(times.min_ps, times.tail_ps));
    return max <= LONGEST_PS ||
           error_set(err, EXIT_INPUT,
                     "%s: --dispatcher %s: rank %u's kernels would take %.3g s: expected at most "
                     "1000 s; are its constants right?",
                     phase_names[costs->transfer->phase], costs->schedule->dispatcher.name, rank,
                     max / 1e12);
}

static bool check_busy(const struct schedule *schedule, const struct transfer *transfer,
                       struct error *err)
{
    struct kernel_costs costs;
    struct port_loads loads;
    bool ok = true;
    kernel_costs_init(&costs, schedule, transfer);
    port_loads_init(&loads, &costs);
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        for (uint32_t port = 0; ok && port < schedule->fabric.count[kind]; port++)
            ok = check_port(&costs, &loads, kind, port, err);
    for (uint32_t r = 0; ok && r < schedule->fabric.ranks; r++)
        ok = check_kernels(&costs, &loads, r, err);
    port_loads_release(&loads);
    return ok;
}

// What the simulator lays out for a transfer: a lane each channel, rank and peer.
static bool check_lanes(const struct schedule *schedule, const struct transfer *transfer,
                        struct error *err)
{
    const struct fabric *fabric = &schedule->fabric;
    const uint64_t peers = transfer->rail && !transfer->gather ? fabric->nodes : fabric->ranks;
    const uint64_t lanes = fabric->ranks * peers * transfer->channels;
    if (lanes > MAX_LANES)
        return error_set(err, EXIT_INPUT,
                         "%u channels of %u ranks with %llu peers are %llu lanes: expected at most "
                         "%u; take fewer channels or SMs",
                         transfer->channels, fabric->ranks, (unsigned long long)peers,
                         (unsigned long long)lanes, MAX_LANES);
    return true;
}

// At the smallest share of SMs that a phase may be left with, whatever the run overlaps.
static bool check_compute(const struct schedule *schedule, struct error *err)
{
    static const enum phase computes[] = {PHASE_RMSNORM, PHASE_ROUTER, PHASE_EXPERTS, PHASE_SHARED};
    for (size_t p = 0; p < sizeof computes / sizeof computes[0]; p++)
        for (uint32_t r = 0; schedule->present[computes[p]] && r < schedule->fabric.ranks; r++) {
            const double min = 1.0 / schedule->cluster.sms; // the smallest share there is
            const double ps = compute_phase_ps(schedule, computes[p], r, min);
            if (ps > LONGEST_PS)
                return error_set(err, EXIT_INPUT,
                                 "%s of gpu%u would take %.3g s: expected at most 1000 s",
                                 phase_names[computes[p]], r, ps / 1e12);
        }
    return true;
}

bool schedule_check(const struct schedule *schedule, struct error *err)
{
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (!check_lanes(schedule, &schedule->transfers[t], err) ||
            !check_busy(schedule, &schedule->transfers[t], err))
            return false;
    return check_compute(schedule, err);
}

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
