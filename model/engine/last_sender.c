// Of the closed form: a rank is not done before the ranks that send to it are. MODEL.md section 6.
#include "base/mem.h"
#include "model/engine/form.h"

// What a rank's copy engines do for its own tokens over a rail: a copy for each node.
static double home_copies(const struct form *form, uint32_t rank)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const double *node = form->transfer->node + (size_t)rank * fabric->nodes;
    return loads_sum(node, fabric->nodes) * form->costs->copies.home_ps *
           fabric_work(fabric, rank) / form->transfer->channels;
}

// What copy engines handle before the last of a part that a rank sends has left them. Direct: its
// own lanes. Scatter: its own tokens, and what it forwards only then. Gather: what it has summed
// for others; results of its own it just sends.
static double copies_before(const struct form *form, const struct form_part *part, bool crosses)
{
    const struct transfer *transfer = form->transfer;
    const double all = form->loads.ranks[part->from].copies_ps[0] / transfer->channels;
    if (!transfer->rail || (!crosses && !transfer->gather))
        return all;
    const double home = home_copies(form, part->from);
    return !transfer->gather ? home : crosses ? all - home : 0;
}

// When the last of a lane has come, copied by the rank that sends it.
static double last_arrives(const struct form *form, const struct form_part *part, bool crosses)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const bool inside = fabric_node(fabric, part->from) == fabric_node(fabric, part->to);
    const double copied = form->ranks[part->from].start +
                          part->share * copies_before(form, part, crosses) +
                          (inside ? form->inside_hop : form->nic_hop);
    return fmax(form_part_arrives(form, part), copied);
}

// Any of those that send to a rank may be the unluckiest, and be that much later.
static void note_sender(struct form *form, uint32_t home, uint32_t rank, double arrives)
{
    const bool gather = form->transfer->gather;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool others = fabric_node(fabric, home) != fabric_node(fabric, rank);
    struct form_senders *senders = &form->ranks[gather ? home : rank].senders[others];
    const double any = schedule_chance_of_any(form->schedule, form->transfer, home, rank);
    senders->lanes++;
    senders->count += any;
    senders->arrivals += any * arrives;
    senders->delays += any * form->ranks[gather ? rank : home].late;
    senders->sds += any * form->ranks[gather ? rank : home].late_sd;
    senders->last = fmax(senders->last, arrives);
}

static void offer_arrival(struct form *form, uint32_t rank, enum port_kind kind, double end,
                          double tail)
{
    offer(form, rank, end + tail);
    offer_stage(form, rank, kind, end);
}

static enum port_kind inside_kind(const struct form *form)
{
    return form->transfer->inside_nic ? PORT_NIC_RX : PORT_NVLINK_RX;
}

// A lane's path between a home and one rank that serves it, as the schedule draws it: direct.
static void offer_direct_sender(struct form *form, uint32_t home, uint32_t rank)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool inside = fabric_node(fabric, home) == fabric_node(fabric, rank);
    const double tokens = transfer->pair[(size_t)home * fabric->ranks + rank];
    const uint32_t from = transfer->gather ? rank : home, to = transfer->gather ? home : rank;
    const double share =
        form_last_share(form_rounds(form, tokens), form_place(form, from, to, false));
    const struct form_part part = {from, to, tokens, share, false, 0, 0};
    if (home == rank)
        return;
    const double arrives = last_arrives(form, &part, false);
    offer_arrival(form, part.to, inside ? inside_kind(form) : PORT_NIC_RX, arrives, 0);
    note_sender(form, home, rank, arrives);
}

// Copies that the ranks of a node get of a home's tokens, or send for it.
static double node_copies(const struct form *form, uint32_t home, uint32_t node)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t gpus = fabric->gpus_per_node;
    return loads_sum(form->transfer->pair + (size_t)home * fabric->ranks + (size_t)node * gpus,
                     gpus);
}

// Scatter: a home's tokens cross to a node; a rank there gets its part of the last chunk amid the
// others'.
static void offer_crossed(struct form *form, uint32_t home, uint32_t node)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t gpus = fabric->gpus_per_node, via = fabric_rail_peer(fabric, home, node);
    const double tokens = form->transfer->node[(size_t)home * fabric->nodes + node];
    const double rounds = form_rounds(form, tokens);
    const double share = form_last_share(rounds, form_place(form, home, via, true));
    const double turns = form_port_ps(form, PORT_NIC_RX, via, tokens * (fabric->nodes - 1));
    const struct form_part part = {home,
                                   via,
                                   tokens,
                                   share,
                                   false,
                                   via,
                                   form->ranks[home].start + form->pack + form->nic_hop + turns};
    if (home == via || tokens <= 0)
        return;
    const enum port_kind kind = form->transfer->inside_nic ? PORT_NIC_TX : PORT_NVLINK_TX;
    const double arrives = last_arrives(form, &part, true);
    const double chunks = rounds * form->transfer->channels;
    const double pieces = form_port_ps(form, kind, via, node_copies(form, home, node)) / chunks / 2;
    for (uint32_t rank = node * gpus; rank < (node + 1) * gpus; rank++)
        if (form->transfer->pair[(size_t)home * fabric->ranks + rank] > 0)
            offer(form, rank,
                  fmax(arrives, form->ranks[via].start) + form->forward +
                      (rank == via ? 0 : pieces + form->inside_hop));
}

// Scatter: when a home's last token for a node is on its way inside, whichever rank it is for.
static double handed_on(const struct form *form, uint32_t home, uint32_t via)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const enum port_kind kind = form->transfer->inside_nic ? PORT_NIC_TX : PORT_NVLINK_TX;
    const double turns = node_copies(form, home, fabric_node(fabric, via)) * fabric->nodes;
    return form_crossed(form, home, via) + form_port_ps(form, kind, via, turns);
}

// What a rail peer forwards to a rank is pieces of chunks of several homes, `by` node.
static void offer_forwarded(struct form *form, uint32_t via, uint32_t rank, const double *by)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const struct transfer *transfer = form->transfer;
    const size_t gpus = fabric->gpus_per_node, node = fabric_node(fabric, via);
    struct form_part part = {via, rank, 0, 0, true, via, 0};
    double pieces = 0;
    for (size_t home = via % gpus; home < fabric->ranks; home += gpus) {
        const double tokens = transfer->pair[home * fabric->ranks + rank];
        if (tokens <= 0)
            continue;
        part.tokens += tokens;
        part.by = fmax(part.by, by[home / gpus]);
        pieces += fmin(tokens, transfer->channels *
                                   form_rounds(form, transfer->node[home * fabric->nodes + node]));
    }
    part.share = form_last_share(fmax(1, pieces), 0.5);
    if (part.tokens > 0 && via != rank)
        offer_arrival(form, rank, inside_kind(form), last_arrives(form, &part, false), 0);
}

// By each rank as the rail peer of its index.
static void offer_node(struct form *form, uint32_t via)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t gpus = fabric->gpus_per_node, first = via - via % gpus;
    double *by = mem_alloc(fabric->nodes, sizeof *by);
    for (uint32_t node = 0; node < fabric->nodes; node++)
        by[node] = handed_on(form, fabric_rail_peer(fabric, via, node), via);
    for (uint32_t rank = first; rank < first + gpus; rank++)
        offer_forwarded(form, via, rank, by);
    free(by);
}

// Gather: a rank's results join those of its node at the rail peer, and go on home, where the last
// of the node's comes at `crossed`.
static void offer_joined(struct form *form, uint32_t home, uint32_t rank, double crossed)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const struct transfer *transfer = form->transfer;
    const uint32_t node = fabric_node(fabric, rank), via = fabric_rail_peer(fabric, home, node);
    const double crossing = transfer->node[(size_t)home * fabric->nodes + node];
    const double rounds = form_rounds(form, crossing);
    const bool crosses = home != via;
    const struct form_part part = {rank,
                                   via,
                                   transfer->pair[(size_t)home * fabric->ranks + rank],
                                   form_last_share(rounds, form_place(form, rank, home, false)),
                                   false,
                                   0,
                                   0};
    const double chunk =
        form_port_ps(form, PORT_NIC_TX, via, crossing) / rounds / transfer->channels;
    const double tail = form->forward + (crosses ? chunk + form->nic_hop : 0);
    if (rank == via)
        return;
    const double end = last_arrives(form, &part, false);
    offer(form, home, end + tail);
    note_sender(form, home, rank, fmax(end + tail, crossed));
    if (!crosses)
        offer_stage(form, home, inside_kind(form), end);
}

// When the last of what a node has summed for a home has come there.
static double offer_home(struct form *form, uint32_t home, uint32_t node)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t via = fabric_rail_peer(fabric, home, node);
    const double tokens = form->transfer->node[(size_t)home * fabric->nodes + node];
    const double place = (double)(fabric_node(fabric, home) != fabric_node(fabric, via));
    const double share = form_last_share(form_rounds(form, tokens), place);
    const double turns = form_port_ps(form, PORT_NIC_TX, via, tokens * (fabric->nodes - 1));
    const struct form_part part = {
        via, home, tokens, share, true, via, form_joined(form, home, via) + turns};
    if (home == via || tokens <= 0)
        return 0;
    const double arrives = last_arrives(form, &part, true);
    offer_arrival(form, home, PORT_NIC_RX, arrives, 0);
    return arrives;
}

static void offer_gathering(struct form *form, uint32_t home)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const double *pair = form->transfer->pair + (size_t)home * fabric->ranks;
    const uint32_t gpus = fabric->gpus_per_node;
    for (uint32_t node = 0; node < fabric->nodes; node++) {
        const double crossed = offer_home(form, home, node);
        for (uint32_t rank = node * gpus; rank < (node + 1) * gpus; rank++)
            if (pair[rank] > 0)
                offer_joined(form, home, rank, crossed);
    }
}

static void offer_scattering(struct form *form, uint32_t home)
{
    const struct fabric *fabric = &form->schedule->fabric;
    for (uint32_t node = 0; node < fabric->nodes; node++)
        offer_crossed(form, home, node);
    offer_node(form, home);
}

void form_offer_senders(struct form *form)
{
    const uint32_t ranks = form->schedule->fabric.ranks;
    for (uint32_t home = 0; form->transfer->rail && home < ranks; home++)
        (form->transfer->gather ? offer_gathering : offer_scattering)(form, home);
    if (form->transfer->rail)
        return;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t rank = 0; rank < ranks; rank++)
            if (form->transfer->pair[(size_t)home * ranks + rank] > 0)
                offer_direct_sender(form, home, rank);
}
