#include "model/engine/estimate.h"

#include "base/mem.h"
#include "model/engine/compute.h"
#include "model/engine/form.h"
#include "model/engine/walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// What a rank itself has on its port of a kind.
static double own_time(const struct form *form, enum port_kind kind, uint32_t rank)
{
    const uint32_t port = sharers_of(&form->schedule->fabric, kind, rank).port;
    const double rate = kernel_port_rate(form->costs, kind, port);
    if (rate <= 0)
        return 0;
    return form->loads.own_bytes[kind][rank] / rate * 1e12 +
           form->loads.own_messages[kind][rank] * (double)form->costs->common.per_message_ps;
}

// What fills a pipeline is its first message. Its size is taken from the mean lane: a receiver's
// first message often comes from a lane that has less than the busiest. A lane of little more than
// one message is cut in halves, so half a message is what surely fills. More tokens never make it
// smaller, as a quotient of two counts would.
static void set_fill_times(struct form *form)
{
    const struct transfer *transfer = form->transfer;
    const struct copy_times *copies = &form->costs->copies;
    const struct fabric *fabric = &form->schedule->fabric;
    const size_t ranks = fabric->ranks;
    const size_t pairs = ranks * ranks, crossings = ranks * fabric->nodes;
    const double pair = loads_sum(transfer->pair, pairs) / (double)pairs / transfer->channels;
    const double lane = transfer->rail ? loads_sum(transfer->node, crossings) / (double)crossings /
                                             transfer->channels
                                       : pair;
    const double half = (double)transfer->message_tokens / 2, bytes = (double)transfer->token_bytes;
    form->pack = fmin(half, lane) * (transfer->rail ? copies->home_ps : copies->copy_ps);
    form->forward = transfer->rail ? fmin(half, pair) * copies->copy_ps : 0;
    // A forwarded message is spread over the node; its part for one rank is a token at least.
    const enum port_kind inside = transfer->inside_nic ? PORT_NIC_TX : PORT_NVLINK_TX;
    double inside_Bps = 0; // of the fastest port
    for (uint32_t port = 0; port < fabric->count[inside]; port++)
        inside_Bps = fmax(inside_Bps, kernel_port_rate(form->costs, inside, port));
    form->piece = inside_Bps > 0 ? fmin(1, pair) * bytes / inside_Bps * 1e12 : 0;
    form->nic_hop = (double)fabric->nic_latency_ps;
    form->nvlink_hop = (double)fabric->nvlink_latency_ps;
}

static void set_starts(struct form *form)
{
    const uint32_t ranks = form->schedule->fabric.ranks;
    const uint64_t last = form->phase->start_ps[timing_last(form->phase->start_ps, ranks)];
    form->earliest_start = INFINITY;
    for (uint32_t r = 0; r < ranks; r++) {
        const uint64_t own = form->transfer->barrier ? last : form->phase->start_ps[r];
        struct form_rank *rank = &form->ranks[r];
        rank->times = kernel_times(form->costs, r, form->loads.ranks[r].peers);
        rank->start = (double)own + rank->times.head_ps;
        rank->end = rank->stage_end[STAGE_INTER] = rank->stage_end[STAGE_INTRA] = rank->start;
        form->earliest_start = fmin(form->earliest_start, rank->start);
    }
}

// How much of another sharer's part passes a port before a rank's own last byte. Where all ranks
// meet after the transfer, ranks take turns: as much as the rank's own, or all of theirs if that is
// less. Where each goes on by itself, whoever has most to compute afterwards might be served first;
// no order lets the layer end sooner (Jackson 1955, largest tail first), so that is the floor.
static double passes_before(const struct form *form, enum port_kind kind, uint32_t rank,
                            uint32_t other)
{
    const double own = own_time(form, kind, rank), theirs = own_time(form, kind, other);
    if (!form->goes_on || other == rank)
        return fmin(own, theirs);
    const double mine = form->ranks[rank].after, its = form->ranks[other].after;
    return its > mine || (its >= mine && other < rank) ? theirs : 0;
}

// What must pass before a rank's first byte reaches its port (head), and after the last one has
// left it (tail) until the rank's part is done. Bytes begin to pass `head` after the ranks' own
// start when they `send`, else after the earliest start of all.
struct passage {
    bool send;
    double head, tail;
};

static void offer_port(struct form *form, uint32_t rank, enum port_kind kind,
                       struct passage passage)
{
    const struct sharers sharers = sharers_of(&form->schedule->fabric, kind, rank);
    const double own = own_time(form, kind, rank);
    const bool send = passage.send;
    double first = send ? form->ranks[rank].start : form->earliest_start, turns = 0;
    const double alone = first + own;
    if (own <= 0)
        return;
    for (uint32_t r = sharers.first; r < sharers.first + sharers.count; r++) {
        turns += passes_before(form, kind, rank, r);
        first = send ? fmin(first, form->ranks[r].start) : first;
    }
    const double passed = fmax(alone, first + turns) + passage.head;
    offer(form, rank, passed + passage.tail);
    offer_stage(form, rank, kind, passed);
}

static void offer_own_ports(struct form *form, uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const bool nics = transfer->inside_nic; // carry both stages
    const bool joins = transfer->rail && transfer->gather, forwards = transfer->rail && !joins;
    // A message of the rail peer's own results crosses no NVLink before it is sent on.
    const double packed = joins ? 0 : form->pack;
    // Where NICs carry both stages, the first to pass them are those results, not their sums.
    const double into = joins && !nics ? form->forward : packed;
    const double out = packed + (forwards ? form->forward : 0);
    // On its NIC a rail peer may pass on others' bytes before it has any of its own; where NICs
    // carry both stages, the last byte in may be one that nobody forwards.
    const struct passage nic_tx = {!transfer->rail || (forwards && !nics), into, 0};
    const struct passage nic_rx = {false, into + form->nic_hop, nics ? 0 : out - packed};
    const struct passage nvlink_tx = {!forwards, out, 0};
    const struct passage nvlink_rx = {false, out + form->nvlink_hop, 0};
    // A trunk's way up holds up those who wait for what crosses it, not those who sent it.
    const struct passage spine_down = {false, into + form->nic_hop, 0};

    offer_port(form, rank, PORT_NIC_TX, nic_tx);
    offer_port(form, rank, PORT_NIC_RX, nic_rx);
    offer_port(form, rank, PORT_NVLINK_TX, nvlink_tx);
    offer_port(form, rank, PORT_NVLINK_RX, nvlink_rx);
    offer_port(form, rank, PORT_SPINE_DOWN, spine_down);
    if (form->schedule->fabric.bridge_gpus)
        offer_port(form, rank, PORT_BRIDGE_DOWN, nvlink_rx);
    offer(form, rank, form->earliest_start + port_loads_copies_ps(&form->loads, form->costs, rank));
    offer(form, rank, form->ranks[rank].start + form->ranks[rank].times.min_ps);
}

static void form_init(struct form *form, const struct kernel_costs *costs, const struct run *run,
                      struct timing *timing)
{
    const struct schedule *schedule = costs->schedule;
    const struct transfer *transfer = costs->transfer;
    const uint32_t ranks = schedule->fabric.ranks;
    *form = (struct form){.costs = costs,
                          .schedule = schedule,
                          .transfer = transfer,
                          .phase = &timing->phases[transfer->phase],
                          .ranks = mem_alloc(ranks, sizeof(struct form_rank)),
                          .meets = run->aligned || transfer->barrier};
    port_loads_init(&form->loads, costs);
    form->goes_on =
        !run->aligned && transfer->phase == PHASE_DISPATCH && schedule->present[PHASE_EXPERTS];
    for (uint32_t r = 0; form->goes_on && r < ranks; r++)
        form->ranks[r].after = (double)compute_experts_ps(schedule, r, 0);
}

static void estimate_transfer(void *context, const struct kernel_costs *costs,
                              const struct run *run, struct timing *timing)
{
    const struct schedule *schedule = costs->schedule;
    struct form form;
    (void)context;
    form_init(&form, costs, run, timing);
    set_fill_times(&form);
    set_starts(&form);
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++)
        offer_own_ports(&form, r);
    form_offer_senders(&form);
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++) {
        const struct form_rank *rank = &form.ranks[r];
        form.phase->end_ps[r] = (uint64_t)ceil(rank->end + rank->times.tail_ps);
        for (int s = 0; s < STAGES; s++)
            form.phase->stage_end_ps[s][r] = (uint64_t)ceil(rank->stage_end[s]);
    }
    if (schedule->loads->expected && !schedule->loads->balanced)
        form_set_late_ends(&form);
    walk_note_ports(costs, &form.loads, timing);
    const uint32_t slowest = timing_last(form.phase->end_ps, timing->ranks);
    bottleneck_name(costs, &form.ranks[slowest].times, timing);
    form.phase->floor_ps = (uint64_t)ceil(form.earliest_start + form.phase->bound_ps);
    port_loads_release(&form.loads);
    free(form.ranks);
}

void estimate(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    timing_init(timing, "estimate", schedule);
    walk_layer(schedule, run, timing, estimate_transfer, NULL);
}

const struct engine engine_estimate = {
    .name = "estimate", .loads = LOADS_EXPECTED, .is_calibrated = true, .run = estimate};

// ---- without measurements -----------------------------------------------------------------------

#define NAIVE_FIXED_PS 10000000.0 // 10 us, as public calculators add (e.g. shallowsim's decode)

// Datasheet rates, which no implementation reaches: what a calculator without measurements has.
// NICs of a GPU add up as the effective rates do.
static double nominal_Bps(const struct cluster *cluster, enum port_kind kind)
{
    if (kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX)
        return cluster->nvlink_nominal_Bps;
    if (kind == PORT_BRIDGE_UP || kind == PORT_BRIDGE_DOWN)
        return cluster->bridge_nominal_Bps;
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
        const bool spine = port->kind == PORT_SPINE_UP || port->kind == PORT_SPINE_DOWN;
        if (port->phase == moved && port->kind < PORT_LINKS && !spine)
            slowest = fmax(slowest,
                           port->bytes / nominal_Bps(&costs->schedule->cluster, port->kind) * 1e12);
    }
    for (uint32_t r = 0; r < timing->ranks; r++)
        phase->end_ps[r] = phase->stage_end_ps[STAGE_INTER][r] =
            phase->stage_end_ps[STAGE_INTRA][r] =
                phase->start_ps[r] + (uint64_t)(slowest + NAIVE_FIXED_PS);
    strcpy(phase->bottleneck, phase->busiest);
}

static void estimate_naive(const struct schedule *schedule, const struct run *run,
                           struct timing *timing)
{
    timing_init(timing, "naive", schedule);
    walk_layer(schedule, run, timing, naive_transfer, NULL);
}

const struct engine engine_naive = {
    .name = "naive", .loads = LOADS_EXPECTED, .run = estimate_naive};
