// Of the closed form: a rank is not done before the ranks that send to it are. MODEL.md section 6.
#include "base/mem.h"
#include "model/engine/form.h"

#include <stdlib.h>

// What each rank surely puts on a port before its last messages: all of its bytes but the last
// message of each lane, which may serve any of its peers last.
struct early {
    double bytes[PORT_LINKS]; // by kind of its port that sends
};

// Adds the part of a lane that surely passes before its last messages.
static void add_early(const struct form *form, double *early, double tokens)
{
    const double last = (double)(form->transfer->message_tokens * form->transfer->channels);
    *early += fmax(0, tokens - last) * (double)form->transfer->token_bytes;
}

struct early_sums {
    const struct form *form;
    struct early *early; // [ranks]
};

static void add_early_path(void *context, const struct lane_path *path)
{
    const struct early_sums *sums = context;
    const struct form *form = sums->form;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool inside_nic = form->transfer->inside_nic;
    const bool inside = fabric_node(fabric, path->from) == fabric_node(fabric, path->to);
    double *bytes = sums->early[path->from].bytes;
    struct trunk trunk;
    add_early(form, &bytes[inside && !inside_nic ? PORT_NVLINK_TX : PORT_NIC_TX], path->tokens);
    if (fabric_trunk(fabric, path->from, path->to, inside_nic, &trunk))
        add_early(form, &bytes[trunk.up], path->tokens);
}

// From bytes that surely pass early to the time when they have: those of all who share the port
// where they start together, a rank's own where it may have the port for itself.
static double passed(const struct form *form, const struct early *early, enum port_kind kind,
                     uint32_t rank)
{
    const struct sharers sharers = sharers_of(&form->schedule->fabric, kind, rank);
    const double rate = kernel_port_rate(form->costs, kind, sharers.port);
    double bytes = form->meets ? 0 : early[rank].bytes[kind];
    for (uint32_t r = sharers.first; form->meets && r < sharers.first + sharers.count; r++)
        bytes += early[r].bytes[kind];
    return form->earliest_start + form->pack + (rate > 0 ? bytes / rate * 1e12 : 0);
}

// Who sends to a rank, by what, and what follows the last byte until the rank has it.
struct sending {
    uint32_t to, from;
    bool nvlink;
    double tail;
};

// A rank waits for each that sends to it, over NVLink or through its NIC.
static void offer_sent(struct form *form, const struct early *early, const struct sending *sending,
                       enum port_kind kind)
{
    const double hop = sending->nvlink ? form->nvlink_hop : form->nic_hop;
    const double end = passed(form, early, kind, sending->from) + hop;
    offer(form, sending->to, end + sending->tail);
    offer_stage(form, sending->to, kind, end);
}

static void offer_last_sender(struct form *form, const struct early *early,
                              const struct sending *sending)
{
    struct trunk trunk;
    offer_sent(form, early, sending, sending->nvlink ? PORT_NVLINK_TX : PORT_NIC_TX);
    if (fabric_trunk(&form->schedule->fabric, sending->from, sending->to, !sending->nvlink, &trunk))
        offer_sent(form, early, sending, trunk.up);
}

// A lane's path between a home and one rank that serves it, as the schedule draws it: direct.
static void offer_direct_sender(struct form *form, const struct early *early, uint32_t home,
                                uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool inside = fabric_node(fabric, home) == fabric_node(fabric, rank);
    const struct sending sending = {.to = transfer->gather ? home : rank,
                                    .from = transfer->gather ? rank : home,
                                    .nvlink = inside && !transfer->inside_nic};
    if (home != rank)
        offer_last_sender(form, early, &sending);
}

// Over a rail: the rail peer's sending inside the node, and the crossing before or after it.
static void offer_rail_senders(struct form *form, const struct early *early, uint32_t home,
                               uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool gather = transfer->gather;
    const uint32_t node = fabric_node(fabric, rank), via = fabric_rail_peer(fabric, home, node);
    const bool crosses = fabric_node(fabric, home) != node;
    const uint32_t to = gather ? home : rank;
    const double hop = transfer->inside_nic ? form->nic_hop : form->nvlink_hop;
    const double forwarded = via == rank ? 0 : form->piece + hop;
    const struct sending inside = {.to = to,
                                   .from = gather ? rank : via,
                                   .nvlink = !transfer->inside_nic,
                                   .tail = gather && crosses ? form->forward + form->nic_hop : 0};
    const struct sending crossing = {
        .to = to, .from = gather ? via : home, .tail = gather ? 0 : form->forward + forwarded};
    if (via != rank)
        offer_last_sender(form, early, &inside);
    if (crosses)
        offer_last_sender(form, early, &crossing);
}

// When bytes that a rail peer surely takes in early have passed its port, and what follows: a rank
// waits not only for who sends to its rail peers, but for what they receive.
static void offer_relay(struct form *form, enum port_kind kind, uint32_t via, uint32_t to,
                        double bytes)
{
    const bool nic = kind == PORT_NIC_RX;
    const uint32_t port = sharers_of(&form->schedule->fabric, kind, via).port;
    const double rate = kernel_port_rate(form->costs, kind, port);
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

void form_offer_senders(struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t ranks = fabric->ranks;
    struct early *early = mem_alloc(ranks, sizeof *early);
    struct early_sums sums = {form, early};
    schedule_visit(form->schedule, form->transfer, add_early_path, &sums);
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t rank = 0; rank < ranks; rank++)
            if (form->transfer->pair[(size_t)home * ranks + rank] > 0)
                (form->transfer->rail ? offer_rail_senders : offer_direct_sender)(form, early, home,
                                                                                  rank);
    free(early);
    offer_relays(form);
}
