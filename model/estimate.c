#include "model/estimate.h"

#include "base/mem.h"
#include "model/binding.h"
#include "model/compute.h"
#include "model/engine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// One transfer in closed form. All times are picoseconds in double; a candidate for a rank's end
// is "nothing can end before this", and the largest wins.
struct form {
    const struct schedule *schedule;
    const struct transfer *transfer;
    struct phase_timing *phase;
    struct port_loads loads;
    struct law_terms *terms; // [ranks]
    double *start;           // [ranks] when the rank's data may move
    double earliest_start;
    double pack, forward; // copy engines of one channel, one message: at the home, at the peer
    double piece;         // a forwarded message's part on a port inside the node
    double nic_hop, nvlink_hop; // latency
    bool meets;                 // all ranks start together, by alignment or a barrier
    double *after; // [ranks] compute that follows, where ranks go on by themselves; or NULL
    double *end;   // [ranks]
    double *stage_end[STAGES]; // [ranks]
};

// The ranks that use one port; they stand together.
struct sharers {
    uint32_t port, first, count;
};

static struct sharers sharers_of(const struct fabric *fabric, enum port_class class, uint32_t rank)
{
    const uint32_t gpus = fabric->gpus_per_node, node = fabric_node(fabric, rank);
    const uint32_t each = gpus / fabric->nic_ports; // ranks of a NIC
    if (class == PORT_NVLINK_TX || class == PORT_NVLINK_RX)
        return (struct sharers){.port = rank, .first = rank, .count = 1};
    if (class == PORT_SPINE_UP || class == PORT_SPINE_DOWN)
        return (struct sharers){.port = node, .first = node * gpus, .count = gpus};
    return (struct sharers){
        .port = fabric_nic(fabric, rank), .first = rank - rank % gpus % each, .count = each};
}

// What a rank itself has on its port of a class.
static double own_time(const struct form *form, enum port_class class, uint32_t rank)
{
    const uint32_t port = sharers_of(&form->schedule->fabric, class, rank).port;
    const double rate = schedule_port_rate(form->schedule, form->transfer, class, port);
    if (rate <= 0)
        return 0;
    return form->loads.own_bytes[class][rank] / rate * 1e12 +
           form->loads.own_messages[class][rank] * (double)form->transfer->cost.per_message_ps;
}

static double fastest_rate(const struct form *form, enum port_class class)
{
    double fastest = 0;
    for (uint32_t port = 0; port < form->schedule->fabric.count[class]; port++)
        fastest = fmax(fastest, schedule_port_rate(form->schedule, form->transfer, class, port));
    return fastest;
}

static double mean_of(const double *values, size_t count)
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
    const struct fabric *fabric = &form->schedule->fabric;
    const size_t ranks = fabric->ranks;
    const double pair = mean_of(transfer->pair, ranks * ranks) / transfer->channels;
    const double lane =
        transfer->rail ? mean_of(transfer->node, ranks * fabric->nodes) / transfer->channels : pair;
    const double half = (double)transfer->message_tokens / 2, bytes = (double)transfer->token_bytes;
    form->pack = fmin(half, lane) * (transfer->rail ? transfer->home_ps : transfer->copy_ps);
    form->forward = transfer->rail ? fmin(half, pair) * transfer->copy_ps : 0;
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
        law_terms(form->schedule, form->transfer, &form->loads, r, &form->terms[r]);
        form->start[r] = (double)own + form->terms[r].head_ps;
        form->end[r] = form->stage_end[STAGE_INTER][r] = form->stage_end[STAGE_INTRA][r] =
            form->start[r];
        form->earliest_start = fmin(form->earliest_start, form->start[r]);
    }
}

// A port's class passes a rank's last byte then. Where NICs carry both stages, it may be of either.
static void offer_stage(struct form *form, uint32_t rank, enum port_class class, double end)
{
    const bool nvlink = class == PORT_NVLINK_TX || class == PORT_NVLINK_RX;
    for (enum stage stage = 0; stage < STAGES; stage++)
        if (form->transfer->inside_nic || nvlink == (stage == STAGE_INTRA))
            form->stage_end[stage][rank] = fmax(form->stage_end[stage][rank], end);
}

static void offer(struct form *form, uint32_t rank, double end)
{
    form->end[rank] = fmax(form->end[rank], end);
}

// How much of another sharer's part passes a port before a rank's own last byte. Where all ranks
// meet after the transfer, ranks take turns: as much as the rank's own, or all of theirs if that is
// less. Where each goes on by itself, whoever has most to compute afterwards might be served first;
// no order lets the layer end sooner (Jackson 1955, largest tail first), so that is the floor.
static double passes_before(const struct form *form, enum port_class class, uint32_t rank,
                            uint32_t other)
{
    const double own = own_time(form, class, rank), theirs = own_time(form, class, other);
    if (!form->after || other == rank)
        return fmin(own, theirs);
    const double mine = form->after[rank], its = form->after[other];
    return its > mine || (its >= mine && other < rank) ? theirs : 0;
}

// Ranks share a port. Bytes begin to pass `head` after the ranks' own start when they
// `send`, else after the earliest start of all.
static void offer_port(struct form *form, uint32_t rank, enum port_class class, bool send,
                       double head, double tail)
{
    const struct sharers sharers = sharers_of(&form->schedule->fabric, class, rank);
    const double own = own_time(form, class, rank);
    double first = send ? form->start[rank] : form->earliest_start, turns = 0;
    const double alone = first + own;
    if (own <= 0)
        return;
    for (uint32_t r = sharers.first; r < sharers.first + sharers.count; r++) {
        turns += passes_before(form, class, rank, r);
        first = send ? fmin(first, form->start[r]) : first;
    }
    const double passed = fmax(alone, first + turns) + head;
    offer(form, rank, passed + tail);
    offer_stage(form, rank, class, passed);
}

// A rank's ports: what must pass before the first byte reaches the port (head), and after the last
// one has left it (tail) until the rank's part is done.
static void offer_own_ports(struct form *form, uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const bool joins = transfer->rail && transfer->gather, forwards = transfer->rail && !joins;
    // A message of the rail peer's own results crosses no NVLink before it is sent on.
    const double packed = joins ? 0 : form->pack;
    // Where NICs carry both stages, the first to pass them are those results, not their sums.
    const double into = joins && !transfer->inside_nic ? form->forward : packed;
    const double out = packed + (forwards ? form->forward : 0);

    // On its NIC a rail peer may pass on others' bytes before it has any of its own.
    offer_port(form, rank, PORT_NIC_TX, !transfer->rail || (forwards && !transfer->inside_nic),
               into, 0);
    // Where NICs carry both stages, the last byte in may be one that nobody forwards.
    offer_port(form, rank, PORT_NIC_RX, false, into + form->nic_hop,
               transfer->inside_nic ? 0 : out - packed);
    offer_port(form, rank, PORT_NVLINK_TX, !forwards, out, 0);
    offer_port(form, rank, PORT_NVLINK_RX, false, out + form->nvlink_hop, 0);
    // The spine's uplink holds up those who wait for what crosses it, not those who sent it.
    offer_port(form, rank, PORT_SPINE_DOWN, false, into + form->nic_hop, 0);
    offer(form, rank, form->earliest_start + schedule_copies_ps(transfer, &form->loads, rank));
    offer(form, rank, form->start[rank] + form->terms[rank].least_ps);
}

// What each rank surely puts on a port before its last messages: all of its bytes but the last
// message of each lane, which may serve any of its peers last.
struct late {
    double *nic, *nvlink, *uplink; // [ranks]
};

// Adds the part of a lane that surely passes before its last messages.
static void add_early(const struct form *form, double *early, double tokens)
{
    const double last = (double)(form->transfer->message_tokens * form->transfer->channels);
    *early += fmax(0, tokens - last) * (double)form->transfer->token_bytes;
}

static void add_lane(const struct form *form, struct late *early, uint32_t from, uint32_t to,
                     double tokens)
{
    const struct fabric *fabric = &form->schedule->fabric;
    if (from == to)
        return;
    if (fabric_node(fabric, from) == fabric_node(fabric, to) && !form->transfer->inside_nic) {
        add_early(form, &early->nvlink[from], tokens);
        return;
    }
    add_early(form, &early->nic[from], tokens);
    if (fabric_crosses_spine(fabric, from, to))
        add_early(form, &early->uplink[from], tokens);
}

static void add_lanes(const struct form *form, struct late *early)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t ranks = fabric->ranks;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t rank = 0; rank < ranks; rank++) {
            const uint32_t node = fabric_node(fabric, rank);
            const uint32_t via = transfer->rail ? fabric_rail_peer(fabric, home, node) : home;
            const double tokens = transfer->pair[(size_t)home * ranks + rank];
            add_lane(form, early, transfer->gather ? rank : via, transfer->gather ? via : rank,
                     tokens);
            if (transfer->rail && via == rank)
                add_lane(form, early, transfer->gather ? via : home, transfer->gather ? home : via,
                         transfer->node[(size_t)home * fabric->nodes + node]);
        }
}

// From bytes that surely pass early to the time when they have: those of all who share the port
// where they start together, a rank's own where it may have the port for itself.
static double passed(const struct form *form, const double *early, enum port_class class,
                     uint32_t rank)
{
    const struct sharers sharers = sharers_of(&form->schedule->fabric, class, rank);
    const double rate = schedule_port_rate(form->schedule, form->transfer, class, sharers.port);
    double bytes = form->meets ? 0 : early[rank];
    for (uint32_t r = sharers.first; form->meets && r < sharers.first + sharers.count; r++)
        bytes += early[r];
    return form->earliest_start + form->pack + (rate > 0 ? bytes / rate * 1e12 : 0);
}

// A rank waits for whoever feeds it: over NVLink from `near`, and through the NIC of `far`.
static void offer_feeder(struct form *form, const struct late *late, uint32_t to, uint32_t from,
                         bool nvlink, double tail)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const double end = nvlink ? passed(form, late->nvlink, PORT_NVLINK_TX, from) + form->nvlink_hop
                              : passed(form, late->nic, PORT_NIC_TX, from) + form->nic_hop;
    const enum port_class class = nvlink ? PORT_NVLINK_TX : PORT_NIC_TX;
    offer(form, to, end + tail);
    offer_stage(form, to, class, end);
    if (!nvlink && fabric_crosses_spine(fabric, from, to)) {
        const double up = passed(form, late->uplink, PORT_SPINE_UP, from) + form->nic_hop;
        offer(form, to, up + tail);
        offer_stage(form, to, PORT_SPINE_UP, up);
    }
}

// A lane's ways between a home and one rank that serves it, as the schedule draws them.
static void offer_lane_feeders(struct form *form, const struct late *late, uint32_t home,
                               uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool gather = transfer->gather;
    const bool inside = fabric_node(fabric, home) == fabric_node(fabric, rank);
    const uint32_t via =
        transfer->rail ? fabric_rail_peer(fabric, home, fabric_node(fabric, rank)) : home;
    if (!transfer->rail) {
        if (home != rank)
            offer_feeder(form, late, gather ? home : rank, gather ? rank : home,
                         inside && !transfer->inside_nic, 0);
        return;
    }
    const double hop = transfer->inside_nic ? form->nic_hop : form->nvlink_hop;
    const double forwarded = via == rank ? 0 : form->piece + hop;
    if (via != rank)
        offer_feeder(form, late, gather ? home : rank, gather ? rank : via, !transfer->inside_nic,
                     gather && !inside ? form->forward + form->nic_hop : 0);
    if (!inside)
        offer_feeder(form, late, gather ? home : rank, gather ? via : home, false,
                     gather ? 0 : form->forward + forwarded);
}

// When bytes that a rail peer surely takes in early have passed its port, and what follows: a rank
// waits not only for who sends to its rail peers, but for what they receive.
static void offer_relay(struct form *form, enum port_class class, uint32_t via, uint32_t to,
                        double bytes)
{
    const bool nic = class == PORT_NIC_RX;
    const uint32_t port = sharers_of(&form->schedule->fabric, class, via).port;
    const double rate = schedule_port_rate(form->schedule, form->transfer, class, port);
    const double hop = nic ? form->nic_hop : form->nvlink_hop;
    const double tail = form->forward + (nic ? form->piece + form->nvlink_hop : form->nic_hop);
    if (bytes > 0 && rate > 0)
        offer(form, to, form->earliest_start + form->pack + bytes / rate * 1e12 + hop + tail);
}

// Scatter: of every lane that crosses to a rail peer and brings the rank something.
static void offer_forwarders(struct form *form, uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t gpus = fabric->gpus_per_node, node = fabric_node(fabric, rank);
    for (uint32_t local = 0; local < gpus; local++) {
        double bytes = 0;
        for (uint32_t home = local; home < fabric->ranks; home += gpus)
            if (fabric_node(fabric, home) != node &&
                transfer->pair[(size_t)home * fabric->ranks + rank] > 0)
                add_early(form, &bytes, transfer->node[(size_t)home * fabric->nodes + node]);
        if (node * gpus + local != rank)
            offer_relay(form, PORT_NIC_RX, node * gpus + local, rank, bytes);
    }
}

// Gather: what a rank surely sends early to its node's rail peer of an index, of all homes that it
// serves, [rank * gpus + index].
static double *early_results(const struct form *form)
{
    const struct transfer *transfer = form->transfer;
    const size_t ranks = form->schedule->fabric.ranks;
    const size_t gpus = form->schedule->fabric.gpus_per_node;
    double *early = mem_alloc(ranks * gpus, sizeof(double));
    for (size_t home = 0; home < ranks; home++)
        for (size_t rank = 0; rank < ranks; rank++)
            if (rank % gpus != home % gpus) // its own stay with the rail peer
                add_early(form, &early[rank * gpus + home % gpus],
                          transfer->pair[home * ranks + rank]);
    return early;
}

// A home waits for all that ranks which have something for it send to its rail peers.
static void offer_joiners(struct form *form, const double *early, uint32_t home)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const size_t ranks = fabric->ranks, gpus = fabric->gpus_per_node;
    const uint32_t own = fabric_node(fabric, home);
    for (uint32_t node = 0; node < fabric->nodes; node++) {
        double bytes = 0;
        for (size_t rank = node * gpus; rank < (node + 1) * gpus; rank++)
            if (form->transfer->pair[home * ranks + rank] > 0)
                bytes += early[rank * gpus + home % gpus];
        if (node != own)
            offer_relay(form, PORT_NVLINK_RX, fabric_rail_peer(fabric, home, node), home, bytes);
    }
}

static void offer_relays(struct form *form)
{
    // Where NICs carry both stages, the last byte in may be one that nobody passes on.
    if (!form->transfer->rail || form->transfer->inside_nic)
        return;
    double *early = form->transfer->gather ? early_results(form) : NULL;
    for (uint32_t r = 0; r < form->schedule->fabric.ranks; r++)
        if (early)
            offer_joiners(form, early, r);
        else
            offer_forwarders(form, r);
    free(early);
}

static void offer_feeders(struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t ranks = fabric->ranks;
    struct late late = {.nic = mem_alloc(ranks, sizeof(double)),
                        .nvlink = mem_alloc(ranks, sizeof(double)),
                        .uplink = mem_alloc(ranks, sizeof(double))};
    add_lanes(form, &late);
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t rank = 0; rank < ranks; rank++)
            if (form->transfer->pair[(size_t)home * ranks + rank] > 0)
                offer_lane_feeders(form, &late, home, rank);
    free(late.nic);
    free(late.nvlink);
    free(late.uplink);
}

// Variance of the copies on each port, as sums over lanes: a lane's copies are `trials` choices
// that come out with the same chance each.
struct variance {
    double *of[PORT_LINKS]; // [fabric.count[class]]
};

static void add_variance(const struct form *form, struct variance *variance, uint32_t from,
                         uint32_t to, double copies, double trials)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const bool nvlink =
        fabric_node(fabric, from) == fabric_node(fabric, to) && !form->transfer->inside_nic;
    if (from == to || trials <= 0)
        return;
    const double own = copies * fmax(0, 1 - copies / trials);
    const enum port_class class = nvlink ? PORT_NVLINK_TX : PORT_NIC_TX;
    variance->of[class][nvlink ? from : fabric_nic(fabric, from)] += own;
    variance->of[class + 1][nvlink ? to : fabric_nic(fabric, to)] += own;
}

static void add_variances(const struct form *form, struct variance *variance)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const struct loads *loads = form->schedule->loads;
    const bool by_expert = transfer->pair == loads->expert_copies;
    for (uint32_t home = 0; home < fabric->ranks; home++)
        for (uint32_t rank = 0; rank < fabric->ranks; rank++) {
            const uint32_t node = fabric_node(fabric, rank);
            const uint32_t via = transfer->rail ? fabric_rail_peer(fabric, home, node) : home;
            const double trials = loads->tokens[home] * (by_expert ? loads->topk : 1);
            add_variance(form, variance, transfer->gather ? rank : via,
                         transfer->gather ? via : rank,
                         transfer->pair[(size_t)home * fabric->ranks + rank], trials);
            if (transfer->rail && via == rank)
                add_variance(
                    form, variance, transfer->gather ? via : home, transfer->gather ? home : via,
                    transfer->node[(size_t)home * fabric->nodes + node], loads->tokens[home]);
        }
}

// Whether ranks differ by chance in what they have on a class of ports. A home's own tokens are
// given, and choices of one token exclude each other, so what leaves homes (or comes back to them)
// hardly varies.
static bool varies(const struct transfer *transfer, enum port_class class)
{
    const bool receives = class == PORT_NIC_RX || class == PORT_NVLINK_RX;
    const bool nvlink = class == PORT_NVLINK_TX || class == PORT_NVLINK_RX;
    return receives != transfer->gather || (transfer->rail && nvlink);
}

// Ports of a class that are no faster than this one: a slow port is not the unluckiest of all as
// well, and no slower one could be done sooner than at this rate.
static uint32_t ports_no_faster(const struct fabric *fabric, enum port_class class, uint32_t port)
{
    const double rate = fabric_rate(fabric, class, port);
    uint32_t count = 0;
    for (uint32_t p = 0; fabric->slow.count && p < fabric->count[class]; p++)
        count += fabric_rate(fabric, class, p) <= rate;
    return fabric->slow.count ? count : fabric->count[class];
}

// When a rank ends whose port has as many bytes as the busiest of those no faster is expected
// to have.
static double late_end(const struct form *form, const struct variance *variance,
                       enum port_class class, uint32_t rank)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t port = sharers_of(fabric, class, rank).port;
    const double token_bytes = (double)form->transfer->token_bytes;
    const double copies = form->loads.bytes[class][port] / token_bytes;
    const double most = loads_expected_max(copies, sqrt(variance->of[class][port]),
                                           ports_no_faster(fabric, class, port));
    const double hop = class == PORT_NIC_RX      ? form->nic_hop
                       : class == PORT_NVLINK_RX ? form->nvlink_hop
                                                 : 0;
    const double rate = schedule_port_rate(form->schedule, form->transfer, class, port);
    if (copies <= 0 || rate <= 0)
        return 0;
    return form->earliest_start + form->pack + most * token_bytes / rate * 1e12 + hop +
           form->terms[rank].tail_ps;
}

// One with a slow port is no luckier than those with faster ones.
static void set_class_late_ends(struct form *form, const struct variance *variance,
                                enum port_class class)
{
    const struct fabric *fabric = &form->schedule->fabric;
    double *end = mem_alloc(fabric->ranks, sizeof *end);
    for (uint32_t r = 0; r < fabric->ranks; r++)
        end[r] = late_end(form, variance, class, r);
    for (uint32_t r = 0; r < fabric->ranks; r++) {
        const double rate = fabric_rate(fabric, class, sharers_of(fabric, class, r).port);
        double late = end[r];
        for (uint32_t o = 0; fabric->slow.count && o < fabric->ranks; o++)
            if (fabric_rate(fabric, class, sharers_of(fabric, class, o).port) > rate)
                late = fmax(late, end[o]);
        if (late > (double)form->phase->late_ps[r])
            form->phase->late_ps[r] = (uint64_t)ceil(late);
    }
    free(end);
}

// From expected loads, all ranks are alike and the slowest is a matter of chance.
static void set_late_ends(struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    struct variance variance;
    for (enum port_class class = 0; class < PORT_LINKS; class ++)
        variance.of[class] = mem_alloc(fabric->count[class], sizeof(double));
    add_variances(form, &variance);
    for (enum port_class class = PORT_NIC_TX; class <= PORT_NVLINK_RX; class ++)
        if (varies(form->transfer, class))
            set_class_late_ends(form, &variance, class);
    for (enum port_class class = 0; class < PORT_LINKS; class ++)
        free(variance.of[class]);
}

static void form_init(struct form *form, const struct schedule *schedule,
                      const struct transfer *transfer, const struct run *run, struct timing *timing)
{
    const uint32_t ranks = schedule->fabric.ranks;
    *form = (struct form){.schedule = schedule,
                          .transfer = transfer,
                          .phase = &timing->phases[transfer->phase],
                          .terms = mem_alloc(ranks, sizeof(struct law_terms)),
                          .start = mem_alloc(ranks, sizeof(double)),
                          .end = mem_alloc(ranks, sizeof(double))};
    for (int s = 0; s < STAGES; s++)
        form->stage_end[s] = mem_alloc(ranks, sizeof(double));
    form->meets = run->aligned || transfer->barrier;
    schedule_port_loads(schedule, transfer, &form->loads);
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
    free(form->terms);
    free(form->start);
    free(form->end);
    for (int s = 0; s < STAGES; s++)
        free(form->stage_end[s]);
}

static void estimate_transfer(void *context, const struct schedule *schedule,
                              const struct transfer *transfer, const struct run *run,
                              struct timing *timing)
{
    struct form form;
    (void)context;
    form_init(&form, schedule, transfer, run, timing);
    set_fill_times(&form);
    set_starts(&form);
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++)
        offer_own_ports(&form, r);
    offer_feeders(&form);
    offer_relays(&form);
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++) {
        form.phase->end_ps[r] = (uint64_t)ceil(form.end[r] + form.terms[r].tail_ps);
        for (int s = 0; s < STAGES; s++)
            form.phase->stage_end_ps[s][r] = (uint64_t)ceil(form.stage_end[s][r]);
    }
    if (schedule->loads->expected && !schedule->loads->even)
        set_late_ends(&form);
    engine_note_ports(schedule, transfer, timing);
    binding_name(schedule, transfer, &form.terms[binding_slowest(timing, transfer->phase)], timing);
    form.phase->floor_ps = (uint64_t)ceil(form.earliest_start + form.phase->bound_ps);
    form_release(&form);
}

void estimate(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    timing_init(timing, "estimate", schedule);
    engine_walk(schedule, run, timing, estimate_transfer, NULL);
}

#define NAIVE_FIXED_PS 10000000.0 // 10 us, as public calculators add (e.g. shallowsim's decode)

static double nominal(const struct cluster *cluster, enum port_class class)
{
    if (class == PORT_NVLINK_TX || class == PORT_NVLINK_RX)
        return cluster->nvlink_nominal_Bps;
    return cluster->nic_nominal_Bps * cluster_nic_port_Bps(cluster) / cluster->nic_Bps;
}

static void naive_transfer(void *context, const struct schedule *schedule,
                           const struct transfer *transfer, const struct run *run,
                           struct timing *timing)
{
    struct phase_timing *phase = &timing->phases[transfer->phase];
    double slowest = 0;
    (void)context;
    (void)run;
    engine_note_ports(schedule, transfer, timing);
    for (size_t i = 0; i < timing->port_count; i++) {
        const struct port_timing *port = &timing->ports[i];
        if (port->phase == transfer->phase && port->class <= PORT_NVLINK_RX)
            slowest = fmax(slowest, port->bytes / nominal(&schedule->cluster, port->class) * 1e12);
    }
    for (uint32_t r = 0; r < timing->ranks; r++)
        phase->end_ps[r] = phase->stage_end_ps[STAGE_INTER][r] =
            phase->stage_end_ps[STAGE_INTRA][r] =
                phase->start_ps[r] + (uint64_t)(slowest + NAIVE_FIXED_PS);
    strcpy(phase->bottleneck, phase->busiest);
}

void estimate_naive(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    timing_init(timing, "naive", schedule);
    engine_walk(schedule, run, timing, naive_transfer, NULL);
}

const struct engine engine_estimate = {
    .name = "estimate", .loads = LOADS_EXPECTED, .is_calibrated = true, .run = estimate};

const struct engine engine_naive = {.name = "naive", .loads = LOADS_EXPECTED, .run = estimate_naive};
