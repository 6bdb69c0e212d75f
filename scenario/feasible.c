#include "scenario/feasible.h"

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

bool schedule_feasible(const struct schedule *schedule, struct error *err)
{
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (!check_lanes(schedule, &schedule->transfers[t], err) ||
            !check_busy(schedule, &schedule->transfers[t], err))
            return false;
    return check_compute(schedule, err);
}
