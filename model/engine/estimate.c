#include "model/engine/estimate.h"

#include "base/mem.h"
#include "model/engine/compute.h"
#include "model/engine/form.h"
#include "model/engine/walk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    const double half = (double)transfer->message_tokens / 2;
    form->pack = fmin(half, lane) * (transfer->rail ? copies->home_ps : copies->copy_ps);
    form->forward = transfer->rail ? fmin(half, pair) * copies->copy_ps : 0;
    form->nic_hop = (double)fabric->nic_latency_ps;
    form->nvlink_hop = (double)fabric->nvlink_latency_ps;
    form->inside_hop = transfer->inside_nic ? form->nic_hop : form->nvlink_hop;
}

static void set_starts(struct form *form)
{
    const uint32_t ranks = form->schedule->fabric.ranks;
    const uint64_t *starts = form->phase->start_ps, *late = form->phase->late_start_ps;
    const uint64_t last = late[timing_last(late, ranks)];
    const bool barrier = form->transfer->barrier;
    form->earliest_start = form->earliest_late = INFINITY;
    for (uint32_t r = 0; r < ranks; r++) {
        struct form_rank *rank = &form->ranks[r];
        rank->times = kernel_times(form->costs, r, form->loads.ranks[r].peers);
        rank->start = (double)(barrier ? last : starts[r]) + rank->times.head_ps;
        rank->late = barrier ? 0 : (double)(late[r] - starts[r]);
        rank->late_sd = form->phase->start_sd_ps[r];
        rank->end = rank->stage_end[STAGE_INTER] = rank->stage_end[STAGE_INTRA] = rank->start;
        rank->copied = rank->start;
        form->earliest_start = fmin(form->earliest_start, rank->start);
        form->earliest_late = fmin(form->earliest_late, rank->start + rank->late);
    }
}

// A rank's part of a transfer is not done before its port has passed it, and what follows.
static void offer_port(struct form *form, uint32_t rank, enum port_kind kind, double hop,
                       double tail)
{
    const struct form_port *port = &form->ports[kind][rank];
    if (port->count == 0)
        return;
    const double passed = fmax(form_all_passed(form, kind, rank), port->behind) + hop;
    offer(form, rank, passed + tail);
    offer_stage(form, rank, kind, passed);
}

static void offer_own_ports(struct form *form, uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    // Where NICs carry both stages, the last byte in may be one that nobody forwards.
    const bool forwards = transfer->rail && !transfer->gather && !transfer->inside_nic;
    const struct form_rank *own = &form->ranks[rank];
    offer_port(form, rank, PORT_NIC_TX, 0, 0);
    offer_port(form, rank, PORT_NIC_RX, 0, forwards ? form->forward : 0);
    offer_port(form, rank, PORT_NVLINK_TX, 0, 0);
    offer_port(form, rank, PORT_NVLINK_RX, 0, 0);
    // A trunk's way up holds up those who wait for what crosses it, not those who sent it.
    offer_port(form, rank, PORT_SPINE_DOWN, form->nic_hop, 0);
    if (form->schedule->fabric.bridge_gpus)
        offer_port(form, rank, PORT_BRIDGE_DOWN, form->nvlink_hop, 0);
    offer(form, rank, own->start + port_loads_copies_ps(&form->loads, form->costs, rank));
    offer(form, rank, own->copied);
    offer(form, rank, own->start + own->times.min_ps);
}

static void form_init(struct form *form, const struct kernel_costs *costs, struct timing *timing)
{
    const struct schedule *schedule = costs->schedule;
    const struct transfer *transfer = costs->transfer;
    const uint32_t ranks = schedule->fabric.ranks;
    *form = (struct form){.costs = costs,
                          .schedule = schedule,
                          .transfer = transfer,
                          .phase = &timing->phases[transfer->phase],
                          .ranks = mem_alloc(ranks, sizeof(struct form_rank))};
    port_loads_init(&form->loads, costs);
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++) {
        form->ports[kind] = mem_alloc(ranks, sizeof(struct form_port));
        form->queues[kind] = mem_alloc(schedule->fabric.count[kind], sizeof(struct form_queue));
    }
}

static void form_release(struct form *form)
{
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++) {
        for (uint32_t r = 0; r < form->schedule->fabric.ranks; r++)
            free(form->ports[kind][r].steps);
        for (uint32_t p = 0; p < form->schedule->fabric.count[kind]; p++)
            free(form->queues[kind][p].pieces);
        free(form->ports[kind]);
        free(form->queues[kind]);
    }
    port_loads_release(&form->loads);
    free(form->ranks);
}

// A spine or a bridge holds up whoever waits for what crosses it: its last byte is somebody's, the
// last rank's at the latest.
static void offer_trunks(struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    double busiest = 0;
    uint32_t last = 0;
    for (enum port_kind kind = PORT_SPINE_UP; kind < PORT_LINKS; kind++)
        for (uint32_t p = 0; p < fabric->count[kind]; p++)
            busiest = fmax(busiest, kernel_bytes_ps(form->loads.bytes[kind][p],
                                                    kernel_port_rate(form->costs, kind, p)));
    for (uint32_t r = 1; r < fabric->ranks; r++)
        if (form->ranks[r].end > form->ranks[last].end)
            last = r;
    if (busiest > 0)
        offer(form, last, form->earliest_start + busiest);
}

static void estimate_transfer(void *context, const struct kernel_costs *costs,
                              const struct run *run, struct timing *timing)
{
    const struct schedule *schedule = costs->schedule;
    struct form form;
    (void)context;
    (void)run;
    form_init(&form, costs, timing);
    set_fill_times(&form);
    set_starts(&form);
    form_set_lane_times(&form);
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++)
        offer_own_ports(&form, r);
    form_offer_senders(&form);
    offer_trunks(&form);
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++) {
        const struct form_rank *rank = &form.ranks[r];
        form.phase->late_ps[r] = (uint64_t)ceil(rank->end + rank->late + rank->times.tail_ps);
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
    form_release(&form);
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

double nominal_bound_ps(const struct cluster *cluster, const struct timing *timing,
                        enum phase moved)
{
    double slowest = 0;
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        const bool spine = port->kind == PORT_SPINE_UP || port->kind == PORT_SPINE_DOWN;
        if (port->phase == moved && port->kind < PORT_LINKS && !spine)
            slowest = fmax(slowest, port->bytes / nominal_Bps(cluster, port->kind) * 1e12);
    }
    return slowest;
}

// The busiest port's bytes over its nominal rate, plus a constant: no message cost, no copies, no
// stages one after another, no waiting. Every rank is done then.
static void naive_transfer(void *context, const struct kernel_costs *costs, const struct run *run,
                           struct timing *timing)
{
    const enum phase moved = costs->transfer->phase;
    struct phase_timing *phase = &timing->phases[moved];
    struct port_loads loads;
    (void)context;
    (void)run;
    port_loads_init(&loads, costs);
    walk_note_ports(costs, &loads, timing);
    port_loads_release(&loads);
    const double slowest = nominal_bound_ps(&costs->schedule->cluster, timing, moved);
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
