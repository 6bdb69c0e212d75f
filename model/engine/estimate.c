#include "model/engine/estimate.h"

#include "base/mem.h"
#include "model/engine/bottleneck.h"
#include "model/engine/compute.h"
#include "model/engine/form.h"
#include "model/engine/walk.h"

#include <math.h>
#include <stdlib.h>

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

static double fastest_rate(const struct form *form, enum port_kind kind)
{
    double fastest = 0;
    for (uint32_t port = 0; port < form->schedule->fabric.count[kind]; port++)
        fastest = fmax(fastest, kernel_port_rate(form->costs, kind, port));
    return fastest;
}

static double lane_mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
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
    const double pair = lane_mean(transfer->pair, ranks * ranks) / transfer->channels;
    const double lane = transfer->rail
                            ? lane_mean(transfer->node, ranks * fabric->nodes) / transfer->channels
                            : pair;
    const double half = (double)transfer->message_tokens / 2, bytes = (double)transfer->token_bytes;
    form->pack = fmin(half, lane) * (transfer->rail ? copies->home_ps : copies->copy_ps);
    form->forward = transfer->rail ? fmin(half, pair) * copies->copy_ps : 0;
    // A forwarded message is spread over the node; its part for one rank is a token at least.
    const double inside_Bps =
        fastest_rate(form, transfer->inside_nic ? PORT_NIC_TX : PORT_NVLINK_TX);
    form->piece = inside_Bps > 0 ? fmin(1, pair) * bytes / inside_Bps * 1e12 : 0;
    form->nic_hop = (double)fabric->nic_latency_ps;
    form->nvlink_hop = (double)fabric->nvlink_latency_ps;
}

static void set_starts(struct form *form)
{
    const uint32_t ranks = form->schedule->fabric.ranks;
    uint64_t last = 0;
    for (uint32_t r = 0; r < ranks; r++)
        last = form->phase->start_ps[r] > last ? form->phase->start_ps[r] : last;
    form->earliest_start = INFINITY;
    for (uint32_t r = 0; r < ranks; r++) {
        const uint64_t own = form->transfer->barrier ? last : form->phase->start_ps[r];
        form->times[r] = kernel_times(form->costs, r, form->loads.peers[r]);
        form->start[r] = (double)own + form->times[r].head_ps;
        form->end[r] = form->stage_end[STAGE_INTER][r] = form->stage_end[STAGE_INTRA][r] =
            form->start[r];
        form->earliest_start = fmin(form->earliest_start, form->start[r]);
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
    if (!form->after || other == rank)
        return fmin(own, theirs);
    const double mine = form->after[rank], its = form->after[other];
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
    double first = send ? form->start[rank] : form->earliest_start, turns = 0;
    const double alone = first + own;
    if (own <= 0)
        return;
    for (uint32_t r = sharers.first; r < sharers.first + sharers.count; r++) {
        turns += passes_before(form, kind, rank, r);
        first = send ? fmin(first, form->start[r]) : first;
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
    // The spine's uplink holds up those who wait for what crosses it, not those who sent it.
    const struct passage spine_down = {false, into + form->nic_hop, 0};

    offer_port(form, rank, PORT_NIC_TX, nic_tx);
    offer_port(form, rank, PORT_NIC_RX, nic_rx);
    offer_port(form, rank, PORT_NVLINK_TX, nvlink_tx);
    offer_port(form, rank, PORT_NVLINK_RX, nvlink_rx);
    offer_port(form, rank, PORT_SPINE_DOWN, spine_down);
    offer(form, rank, form->earliest_start + port_loads_copies_ps(&form->loads, form->costs, rank));
    offer(form, rank, form->start[rank] + form->times[rank].min_ps);
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
                          .times = mem_alloc(ranks, sizeof(struct kernel_times)),
                          .start = mem_alloc(ranks, sizeof(double)),
                          .end = mem_alloc(ranks, sizeof(double))};
    for (int s = 0; s < STAGES; s++)
        form->stage_end[s] = mem_alloc(ranks, sizeof(double));
    form->meets = run->aligned || transfer->barrier;
    port_loads_init(&form->loads, costs);
    if (run->aligned || transfer->phase != PHASE_DISPATCH || !schedule->present[PHASE_EXPERTS])
        return;
    form->after = mem_alloc(ranks, sizeof(double));
    for (uint32_t r = 0; r < ranks; r++)
        form->after[r] = (double)compute_experts_ps(schedule, r, 0);
}

static void form_release(struct form *form)
{
    free(form->after);
    port_loads_release(&form->loads);
    free(form->times);
    free(form->start);
    free(form->end);
    for (int s = 0; s < STAGES; s++)
        free(form->stage_end[s]);
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
        form.phase->end_ps[r] = (uint64_t)ceil(form.end[r] + form.times[r].tail_ps);
        for (int s = 0; s < STAGES; s++)
            form.phase->stage_end_ps[s][r] = (uint64_t)ceil(form.stage_end[s][r]);
    }
    if (schedule->loads->expected && !schedule->loads->balanced)
        form_set_late_ends(&form);
    walk_note_ports(costs, &form.loads, timing);
    bottleneck_name(costs, &form.times[bottleneck_slowest(timing, costs->transfer->phase)], timing);
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
