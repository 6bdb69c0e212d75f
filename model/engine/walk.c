#include "model/engine/walk.h"

#include "base/mem.h"
#include "model/engine/compute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// The clocks of all ranks as a layer goes on.
struct clocks {
    uint64_t *now_ps;  // [ranks]
    uint64_t floor_ps; // some rank, not known which, is not before this
    uint32_t ranks;
};

// Ranks arrive by chance, and some are known to be late; the first one's arrival is time 0.
static void clocks_init(struct clocks *clocks, const struct schedule *schedule,
                        const struct run *run)
{
    clocks->ranks = schedule->fabric.ranks;
    clocks->floor_ps = 0;
    clocks->now_ps = mem_alloc(clocks->ranks, sizeof(uint64_t));
    for (uint32_t r = 0; r < clocks->ranks; r++)
        clocks->now_ps[r] = run_arrival_ps(run, r) + slow_late_ps(&schedule->fabric.slow, r);
    uint64_t first = clocks->now_ps[0];
    for (uint32_t r = 1; r < clocks->ranks; r++)
        first = clocks->now_ps[r] < first ? clocks->now_ps[r] : first;
    for (uint32_t r = 0; r < clocks->ranks; r++)
        clocks->now_ps[r] -= first;
}

// Brings every clock to the latest.
static void clocks_align(struct clocks *clocks)
{
    const uint32_t last = timing_last(clocks->now_ps, clocks->ranks);
    if (clocks->floor_ps < clocks->now_ps[last])
        clocks->floor_ps = clocks->now_ps[last];
    for (uint32_t r = 0; r < clocks->ranks; r++)
        clocks->now_ps[r] = clocks->floor_ps;
}

// One port's entry: a wire is busy for its bytes over its rate, a copy engine for its copies, and
// each message costs its own time on top.
static void note_port(const struct kernel_costs *costs, const struct port_loads *loads,
                      enum port_kind kind, uint32_t port, struct timing *timing)
{
    const double bytes = loads->bytes[kind][port];
    const bool sm = kind == PORT_SM;
    const double rate = sm ? 0 : kernel_port_rate(costs, kind, port);
    const double copies_ps = sm ? port_loads_copies_ps(loads, costs, port) : 0;
    if (bytes <= 0 || (sm ? copies_ps : rate) <= 0)
        return;
    struct port_timing *entry = timing_add_port(timing, costs->transfer->phase, kind, port);
    entry->bytes = bytes;
    entry->busy_ps = (sm ? copies_ps : bytes / rate * 1e12) +
                     loads->messages[kind][port] * (double)costs->common.per_message_ps;
    if (kind == PORT_NIC_TX || kind == PORT_NVLINK_TX)
        timing->phases[costs->transfer->phase].bytes += bytes;
}

void walk_note_ports(const struct kernel_costs *costs, const struct port_loads *loads,
                     struct timing *timing)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    struct phase_timing *phase = &timing->phases[costs->transfer->phase];
    phase->bytes = 0;
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        for (uint32_t port = 0; port < fabric->count[kind]; port++)
            note_port(costs, loads, kind, port, timing);
    phase->bound_ps = port_loads_bound_ps(loads, fabric, phase->busiest);
}

// A layer under way, by one engine.
struct walk {
    const struct schedule *schedule;
    const struct run *run;
    struct timing *timing;
    walk_transfer_times *times;
    void *context;
    struct clocks clocks;
};

// Starts a phase on every rank's clock, after alignment when benchmarks would align.
static void walk_begin(struct walk *walk, enum phase phase)
{
    if (walk->run->aligned)
        clocks_align(&walk->clocks);
    memcpy(walk->timing->phases[phase].start_ps, walk->clocks.now_ps,
           walk->clocks.ranks * sizeof(uint64_t));
}

// Ranks that compute no faster than this one: the busiest of them, at its rate, is a matter of
// chance, and none of the slower ones could be done sooner.
static uint32_t ranks_no_faster(const struct schedule *schedule, uint32_t rank)
{
    const struct fabric *fabric = &schedule->fabric;
    const double work = fabric_work(fabric, rank);
    uint32_t count = 0;
    for (uint32_t r = 0; fabric->slow.count && r < fabric->ranks; r++)
        count += fabric_work(fabric, r) >= work;
    return fabric->slow.count ? count : fabric->ranks;
}

// From expected loads the busiest rank's share is known only as a distribution: choices it serves
// are nearly binomial, of all choices with a chance of 1 / ranks each. A slow rank is no luckier
// than healthy ones are.
static void set_late_experts(const struct schedule *schedule, struct phase_timing *p,
                             uint32_t ranks)
{
    double choices = 0;
    for (uint32_t r = 0; r < ranks; r++)
        choices += schedule->loads->tokens[r] * schedule->loads->topk;
    const double mean = choices / ranks, sd = sqrt(mean * (1 - 1.0 / ranks));
    uint64_t max = 0; // of healthy ranks
    for (uint32_t r = 0; r < ranks; r++) {
        const double extra = loads_expected_max(mean, sd, ranks_no_faster(schedule, r)) - mean;
        p->late_ps[r] = compute_experts_ps(schedule, r, extra);
        if (fabric_work(&schedule->fabric, r) <= 1 && p->late_ps[r] > max)
            max = p->late_ps[r];
    }
    for (uint32_t r = 0; r < ranks; r++)
        p->late_ps[r] = p->start_ps[r] + (p->late_ps[r] > max ? p->late_ps[r] : max);
}

static void walk_compute(struct walk *walk, enum phase phase)
{
    const struct schedule *schedule = walk->schedule;
    const uint32_t ranks = walk->clocks.ranks;
    struct phase_timing *p = &walk->timing->phases[phase];
    walk_begin(walk, phase);
    for (uint32_t r = 0; r < ranks; r++)
        walk->clocks.now_ps[r] = p->end_ps[r] =
            p->start_ps[r] + (uint64_t)compute_phase_ps(schedule, phase, r, 1);
    strcpy(p->bottleneck, "compute");
    if (phase == PHASE_EXPERTS && schedule->loads->expected && !schedule->loads->balanced)
        set_late_experts(schedule, p, ranks);
}

// Counts go from every rank to every rank: nobody knows them before the last has arrived.
static void walk_notify(struct walk *walk)
{
    const struct schedule *schedule = walk->schedule;
    struct clocks *clocks = &walk->clocks;
    struct phase_timing *p = &walk->timing->phases[PHASE_NOTIFY];
    const struct dispatcher *dispatcher = &schedule->dispatcher;
    double work = 1; // the slowest GPU's kernels, for all wait for them
    for (uint32_t r = 0; r < clocks->ranks; r++)
        work = fmax(work, fabric_work(&schedule->fabric, r));
    const double exchange_ps =
        (double)(dispatcher->notify_ps +
                 (schedule->fabric.nodes > 1 ? dispatcher->notify_inter_ps : 0)) *
        cluster_move_slowdown(&schedule->cluster) * work;
    walk_begin(walk, PHASE_NOTIFY);
    clocks_align(clocks);
    for (uint32_t r = 0; r < clocks->ranks; r++) {
        const double own_ps = kernel_notify_ps(schedule, r);
        clocks->now_ps[r] = p->end_ps[r] = clocks->now_ps[r] + (uint64_t)ceil(exchange_ps + own_ps);
    }
    strcpy(p->bottleneck, "the slowest rank's arrival and latency");
}

// The shared expert's time from a start beside a transfer of `moved_ps`: on the SMs that are left
// until the transfer ends, and what is not done by then on all.
static double shared_beside_ps(const struct schedule *schedule, uint32_t rank, uint64_t moved_ps)
{
    const double share = compute_sm_share(schedule), moved = (double)moved_ps;
    const double beside = compute_phase_ps(schedule, PHASE_SHARED, rank, share);
    if (beside <= moved)
        return beside;
    return ceil(moved + (1 - moved / beside) * compute_phase_ps(schedule, PHASE_SHARED, rank, 1));
}

// The shared expert beside a transfer: it starts with it, and what comes next waits for both.
static void walk_shared_beside(struct walk *walk, enum phase moved)
{
    const struct schedule *schedule = walk->schedule;
    struct clocks *clocks = &walk->clocks;
    struct phase_timing *shared = &walk->timing->phases[PHASE_SHARED];
    const struct phase_timing *transfer = &walk->timing->phases[moved];
    for (uint32_t r = 0; r < clocks->ranks; r++) {
        shared->start_ps[r] = transfer->start_ps[r];
        shared->end_ps[r] =
            shared->start_ps[r] +
            (uint64_t)shared_beside_ps(schedule, r, transfer->end_ps[r] - transfer->start_ps[r]);
        if (shared->end_ps[r] > clocks->now_ps[r])
            clocks->now_ps[r] = shared->end_ps[r];
    }
    strcpy(shared->bottleneck, "compute");
}

static bool shared_is_beside(const struct schedule *schedule, const struct run *run,
                             enum phase phase)
{
    return schedule->present[PHASE_SHARED] &&
           ((run->overlap == OVERLAP_DISPATCH && phase == PHASE_DISPATCH) ||
            (run->overlap == OVERLAP_COMBINE && phase == PHASE_COMBINE));
}

static void walk_transfer(struct walk *walk, const struct transfer *transfer)
{
    const enum phase phase = transfer->phase;
    struct kernel_costs costs;
    walk_begin(walk, phase);
    kernel_costs_init(&costs, walk->schedule, transfer);
    walk->times(walk->context, &costs, walk->run, walk->timing);
    memcpy(walk->clocks.now_ps, walk->timing->phases[phase].end_ps,
           walk->clocks.ranks * sizeof(uint64_t));
    if (shared_is_beside(walk->schedule, walk->run, phase))
        walk_shared_beside(walk, phase);
}

// Any rank may be the slowest, and everyone waits for it where ranks next meet.
static void carry_late(const struct timing *timing, struct clocks *clocks, enum phase phase)
{
    if (timing->phases[phase].floor_ps > clocks->floor_ps)
        clocks->floor_ps = timing->phases[phase].floor_ps;
    for (uint32_t r = 0; r < clocks->ranks; r++)
        if (timing->phases[phase].late_ps[r] > clocks->now_ps[r])
            clocks->now_ps[r] = timing->phases[phase].late_ps[r];
}

// Whether a phase was timed already, beside another.
static bool is_beside(const struct schedule *schedule, const struct run *run, enum phase phase)
{
    return phase == PHASE_SHARED && run->overlap != OVERLAP_NONE &&
           schedule->present[PHASE_DISPATCH] && schedule->present[PHASE_COMBINE];
}

static void walk_phase(struct walk *walk, enum phase phase)
{
    const struct transfer *moves = schedule_transfer(walk->schedule, phase);
    if (moves)
        walk_transfer(walk, moves);
    else if (phase == PHASE_NOTIFY)
        walk_notify(walk);
    else
        walk_compute(walk, phase);
    carry_late(walk->timing, &walk->clocks, phase);
}

void walk_layer(const struct schedule *schedule, const struct run *run, struct timing *timing,
                walk_transfer_times *times, void *context)
{
    struct walk walk = {
        .schedule = schedule, .run = run, .timing = timing, .times = times, .context = context};
    clocks_init(&walk.clocks, schedule, run);
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (schedule->present[phase] && !is_beside(schedule, run, phase))
            walk_phase(&walk, phase);
    free(walk.clocks.now_ps);
}
