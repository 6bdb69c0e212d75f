#include "model/engine/walk.h"

#include "base/mem.h"
#include "model/engine/compute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// The clocks of all ranks as a layer goes on.
struct clocks {
    uint64_t *now_ps;  // [ranks]
    uint64_t *late_ps; // [ranks] of a rank as unlucky as the unluckiest is expected to be
    double *sd_ps;     // [ranks] struct phase_timing
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
    clocks->late_ps = mem_alloc(clocks->ranks, sizeof(uint64_t));
    clocks->sd_ps = mem_alloc(clocks->ranks, sizeof(double));
    for (uint32_t r = 0; r < clocks->ranks; r++)
        clocks->now_ps[r] = run_arrival_ps(run, r) + slow_late_ps(&schedule->fabric.slow, r);
    uint64_t first = clocks->now_ps[0];
    for (uint32_t r = 1; r < clocks->ranks; r++)
        first = clocks->now_ps[r] < first ? clocks->now_ps[r] : first;
    for (uint32_t r = 0; r < clocks->ranks; r++)
        clocks->late_ps[r] = clocks->now_ps[r] -= first;
}

static void clocks_release(struct clocks *clocks)
{
    free(clocks->now_ps);
    free(clocks->late_ps);
    free(clocks->sd_ps);
}

// Brings every clock to the latest.
static void clocks_align(struct clocks *clocks)
{
    const uint32_t last = timing_last(clocks->late_ps, clocks->ranks);
    if (clocks->floor_ps < clocks->late_ps[last])
        clocks->floor_ps = clocks->late_ps[last];
    for (uint32_t r = 0; r < clocks->ranks; r++)
        clocks->now_ps[r] = clocks->late_ps[r] = clocks->floor_ps;
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

// Clocks go on to a phase's end. A rank that came late, and for which the phase says nothing
// else, is as late behind it.
static void clocks_go_on(struct clocks *clocks, struct phase_timing *phase)
{
    if (phase->floor_ps > clocks->floor_ps)
        clocks->floor_ps = phase->floor_ps;
    for (uint32_t r = 0; r < clocks->ranks; r++) {
        const uint64_t behind = phase->late_start_ps[r] - phase->start_ps[r];
        if (phase->late_ps[r] == 0)
            phase->late_ps[r] = phase->end_ps[r] + behind;
        if (phase->end_ps[r] > clocks->now_ps[r])
            clocks->now_ps[r] = phase->end_ps[r];
        if (phase->late_ps[r] > clocks->late_ps[r])
            clocks->late_ps[r] = phase->late_ps[r];
        clocks->sd_ps[r] = phase->sd_ps[r];
    }
}

// Starts a phase on every rank's clock, after alignment when benchmarks would align.
static void walk_begin(struct walk *walk, enum phase phase)
{
    if (walk->run->aligned)
        clocks_align(&walk->clocks);
    const size_t size = walk->clocks.ranks * sizeof(uint64_t);
    memcpy(walk->timing->phases[phase].start_ps, walk->clocks.now_ps, size);
    memcpy(walk->timing->phases[phase].late_start_ps, walk->clocks.late_ps, size);
    memcpy(walk->timing->phases[phase].start_sd_ps, walk->clocks.sd_ps,
           walk->clocks.ranks * sizeof(double));
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

// Of ranks whose GPUs are healthy, how long the unluckiest takes. They need not be alike (a layout
// with replicas).
static double healthy_late_ps(const struct schedule *schedule, const struct phase_timing *p)
{
    const uint32_t ranks = schedule->fabric.ranks;
    const double quantile = ranks > 1 ? loads_expected_max(0, 1, ranks) : 1;
    double *means = mem_alloc(ranks, sizeof *means), *sds = mem_alloc(ranks, sizeof *sds);
    uint32_t count = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        if (fabric_work(&schedule->fabric, r) > 1)
            continue;
        means[count] = (double)(p->end_ps[r] - p->start_ps[r]);
        sds[count] = ((double)p->late_ps[r] - means[count]) / quantile;
        count++;
    }
    const double late = count ? loads_expected_latest(means, sds, count) : 0;
    free(means);
    free(sds);
    return late;
}

// From expected loads the busiest rank's share is known only as a distribution. A slow rank is no
// luckier than healthy ones are.
static void set_late_experts(const struct schedule *schedule, struct phase_timing *p,
                             uint32_t ranks)
{
    for (uint32_t r = 0; r < ranks; r++) {
        const uint32_t alike = ranks_no_faster(schedule, r);
        const struct late_experts late = compute_late_experts(schedule, r, alike);
        const double behind = (double)(p->late_start_ps[r] - p->start_ps[r]);
        p->late_ps[r] = late.late_ps;
        p->sd_ps[r] = late.sd_ps + behind / loads_expected_max(0, 1, ranks > 1 ? ranks : 2);
    }
    const uint64_t healthy = (uint64_t)healthy_late_ps(schedule, p);
    for (uint32_t r = 0; r < ranks; r++) {
        const bool slow = fabric_work(&schedule->fabric, r) > 1;
        const uint64_t late = slow && p->late_ps[r] > healthy ? p->late_ps[r] : healthy;
        p->late_ps[r] = p->late_start_ps[r] + late;
    }
}

static void walk_compute(struct walk *walk, enum phase phase)
{
    const struct schedule *schedule = walk->schedule;
    const uint32_t ranks = walk->clocks.ranks;
    struct phase_timing *p = &walk->timing->phases[phase];
    walk_begin(walk, phase);
    for (uint32_t r = 0; r < ranks; r++)
        p->end_ps[r] = p->start_ps[r] + (uint64_t)compute_phase_ps(schedule, phase, r, 1);
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
        p->end_ps[r] = p->late_ps[r] = clocks->now_ps[r] + (uint64_t)ceil(exchange_ps + own_ps);
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
        shared->late_start_ps[r] = transfer->late_start_ps[r];
    }
    clocks_go_on(clocks, shared);
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
    if (shared_is_beside(walk->schedule, walk->run, phase))
        walk_shared_beside(walk, phase);
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
    clocks_go_on(&walk->clocks, &walk->timing->phases[phase]);
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
    clocks_release(&walk.clocks);
}
