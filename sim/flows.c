#include "sim/flows.h"

#include "base/mem.h"

#include <stdlib.h>

enum { MEDIUM_INSIDE, MEDIUM_NIC };

// Copies for a rank among the first `upto` of a node's tokens: an even share, rounded at a place of
// the rank's own.
static uint64_t share_upto(const struct flows *flows, const struct flow *flow, uint32_t rank,
                           uint64_t upto)
{
    const struct fabric *fabric = &flows->schedule->fabric;
    const struct transfer *transfer = flows->transfer;
    const uint64_t copies = (uint64_t)transfer->pair[(size_t)flow->home * fabric->ranks + rank];
    const uint64_t tokens =
        (uint64_t)transfer->node[(size_t)flow->home * fabric->nodes + flow->peer];
    const uint64_t place = rank * UINT64_C(40503) & 0xffff; // golden ratio of 2^16: far from its
                                                            // neighbours'
    return tokens ? (copies * upto + (tokens * place >> 16)) / tokens : 0;
}

// Rail: copies of a flow for one rank of its node.
static uint64_t pair_slice(const struct flows *flows, const struct flow *flow, uint32_t rank)
{
    return share_upto(flows, flow, rank, flow->first + flow->tokens) -
           share_upto(flows, flow, rank, flow->first);
}

// Chunks of a flow are alike. Full ones and a rest would be what a sender cuts, but then one token
// more, in a chunk of its own, changes who waits for whom, and more tokens could take less time.
uint64_t flow_chunk_tokens(const struct flow *flow, uint32_t chunk)
{
    return flow->tokens * (chunk + 1) / flow->chunks - flow->tokens * chunk / flow->chunks;
}

uint64_t flow_piece_tokens(const struct flows *flows, const struct flow *flow, uint32_t rank,
                           uint32_t chunk)
{
    const uint64_t from = flow->tokens * chunk / flow->chunks;
    const uint64_t to = flow->tokens * (chunk + 1) / flow->chunks;
    return share_upto(flows, flow, rank, flow->first + to) -
           share_upto(flows, flow, rank, flow->first + from);
}

uint64_t flow_pieces_tokens(const struct flows *flows, const struct flow *flow, uint32_t chunk)
{
    const uint32_t gpus = flows->schedule->fabric.gpus_per_node;
    uint64_t tokens = 0;
    for (uint32_t rank = flow->peer * gpus; rank < (flow->peer + 1) * gpus; rank++)
        tokens += flow_piece_tokens(flows, flow, rank, chunk);
    return tokens;
}

// A channel's slice of a lane, cut into as few chunks as hold it. Returns where the next channel's
// tokens begin.
static uint64_t init_flow(struct flows *flows, struct flow place, uint64_t tokens)
{
    const struct transfer *transfer = flows->transfer;
    const uint64_t chunk = transfer->chunk_tokens;
    struct flow *flow = &flows->flows[flow_index(flows, place.home, place.peer, place.channel)];
    *flow = place;
    flow->tokens = schedule_slice(tokens, place.home, place.channel, transfer->channels);
    flow->chunks = (uint32_t)((flow->tokens + chunk - 1) / chunk);
    flow->first_pending = (uint32_t)flows->chunk_count;
    flows->chunk_count += flow->chunks;
    return flow->first + flow->tokens;
}

static void init_flows(struct flows *flows)
{
    const struct transfer *transfer = flows->transfer;
    const struct fabric *fabric = &flows->schedule->fabric;
    const uint32_t peers = transfer->rail ? fabric->nodes : fabric->ranks;
    const double *tokens = transfer->rail ? transfer->node : transfer->pair;
    flows->flow_count = fabric->ranks * peers * transfer->channels; // schedule_feasible bounds it
    flows->flows = mem_alloc(flows->flow_count, sizeof *flows->flows);
    for (uint32_t home = 0; home < fabric->ranks; home++)
        for (uint32_t peer = 0; peer < peers; peer++) {
            const uint64_t lane = (uint64_t)tokens[(size_t)home * peers + peer];
            struct flow place = {.home = home, .peer = peer};
            for (; place.channel < transfer->channels; place.channel++)
                place.first = init_flow(flows, place, lane);
        }
}

static void add_lane(struct flows *flows, struct sender *sender, uint32_t flow)
{
    const uint32_t chunks = flows->flows[flow].chunks;
    flows->flows[flow].sender = (uint32_t)(sender - flows->senders);
    if (chunks == 0)
        return;
    flows->lanes[flows->lane_count++] =
        (struct lane){.turn = (UINT64_C(1) << 31) / chunks, .flow = flow, .chunks = chunks};
    sender->count++;
}

// The i-th peer in a rank's order: its own node first, then the next ones; in each, from its own
// index onward, itself last of all its own node. At any i, no two ranks of a full node meet at one
// peer.
static uint32_t rotated_peer(const struct fabric *fabric, uint32_t rank, uint32_t i)
{
    const uint32_t gpus = fabric->gpus_per_node;
    const uint32_t node = (fabric_node(fabric, rank) + i / gpus) % fabric->nodes;
    return node * gpus + (rank + 1 + i) % gpus;
}

static void add_direct_lanes(struct flows *flows, struct sender *sender, uint32_t medium)
{
    const struct fabric *fabric = &flows->schedule->fabric;
    const uint32_t from = sender->rank, node = fabric_node(fabric, from);
    for (uint32_t i = 0; i < fabric->ranks; i++) {
        const uint32_t to = rotated_peer(fabric, from, i);
        const bool inside = node == fabric_node(fabric, to) && !flows->transfer->inside_nic;
        const uint32_t home = flows->transfer->gather ? to : from;
        const uint32_t peer = flows->transfer->gather ? from : to;
        const uint32_t flow = flow_index(flows, home, peer, sender->channel);
        if ((from == to || inside ? MEDIUM_INSIDE : MEDIUM_NIC) == medium)
            add_lane(flows, sender, flow);
    }
}

static void add_rail_lanes(struct flows *flows, struct sender *sender)
{
    const struct fabric *fabric = &flows->schedule->fabric;
    const uint32_t rank = sender->rank, node = fabric_node(fabric, rank);
    const uint32_t lanes = flows->transfer->gather ? fabric->ranks : fabric->nodes;
    for (uint32_t i = 0; i < lanes; i++) {
        const uint32_t home = flows->transfer->gather ? rotated_peer(fabric, rank, i) : rank;
        const uint32_t target = flows->transfer->gather ? node : (node + 1 + i) % lanes;
        const uint32_t flow = flow_index(flows, home, target, sender->channel);
        if (!flows->transfer->gather || pair_slice(flows, &flows->flows[flow], rank) > 0)
            add_lane(flows, sender, flow);
    }
}

static void init_sender(struct flows *flows, uint32_t rank, uint32_t channel, uint32_t medium)
{
    struct sender *sender = &flows->senders[sender_index(flows, rank, channel, medium)];
    *sender = (struct sender){
        .first = flows->lane_count, .rank = rank, .channel = channel, .asleep = true};
    if (!flows->transfer->rail)
        add_direct_lanes(flows, sender, medium);
    else if (medium == MEDIUM_INSIDE)
        add_rail_lanes(flows, sender);
}

static void init_senders(struct flows *flows)
{
    const struct transfer *transfer = flows->transfer;
    const struct fabric *fabric = &flows->schedule->fabric;
    const size_t lanes = transfer->rail && !transfer->gather ? fabric->nodes : fabric->ranks;
    flows->sender_count = fabric->ranks * transfer->channels * 2;
    flows->senders = mem_alloc(flows->sender_count, sizeof *flows->senders);
    flows->lanes = mem_alloc(fabric->ranks * lanes * transfer->channels, sizeof *flows->lanes);
    for (uint32_t rank = 0; rank < fabric->ranks; rank++)
        for (uint32_t c = 0; c < transfer->channels; c++)
            for (uint32_t medium = 0; medium < 2; medium++)
                init_sender(flows, rank, c, medium);
}

// Ranks of a flow's node that have a part of it: each sends a piece of every chunk.
static uint16_t flow_senders(const struct flows *flows, const struct flow *flow)
{
    const uint32_t gpus = flows->schedule->fabric.gpus_per_node;
    uint16_t senders = 0;
    for (uint32_t rank = flow->peer * gpus; rank < (flow->peer + 1) * gpus; rank++)
        senders = (uint16_t)(senders + (pair_slice(flows, flow, rank) > 0));
    return senders;
}

// Every chunk of a rail gather waits for one piece of each rank that has a part of it.
static void init_pending(struct flows *flows)
{
    flows->pending = mem_alloc(flows->chunk_count, sizeof *flows->pending);
    for (uint32_t f = 0; f < flows->flow_count; f++) {
        const struct flow *flow = &flows->flows[f];
        const uint16_t senders = flow->chunks ? flow_senders(flows, flow) : 0;
        for (uint32_t k = 0; k < flow->chunks; k++)
            flows->pending[flow->first_pending + k] = senders;
    }
}

// A window of less than two chunks could never overlap sending with the credit's way back.
static uint32_t window_chunks(const struct transfer *transfer)
{
    if (transfer->window_tokens == 0)
        return 0;
    const uint64_t chunks = transfer->window_tokens / transfer->chunk_tokens;
    return chunks < 2 ? 2 : (uint32_t)chunks;
}

void flows_init(struct flows *flows, const struct schedule *schedule,
                const struct transfer *transfer)
{
    *flows = (struct flows){.schedule = schedule, .transfer = transfer};
    flows->window_chunks = window_chunks(transfer);
    init_flows(flows);
    init_senders(flows);
    if (transfer->rail && transfer->gather)
        init_pending(flows);
}

void flows_release(struct flows *flows)
{
    free(flows->flows);
    free(flows->lanes);
    free(flows->senders);
    free(flows->pending);
    *flows = (struct flows){0};
}

// Lanes advance in proportion: chunk k of n stands at (2 k + 1) / 2 n of its lane's share, and the
// lane whose next chunk stands lowest goes; of equals the first in rotated order. Shares are 32-bit
// fixed point, so that no rounding of floating point decides an order.
struct lane *sender_next(struct flows *flows, struct sender *sender)
{
    struct lane *next = NULL;
    for (uint32_t i = sender->first; i < sender->first + sender->count; i++) {
        struct lane *lane = &flows->lanes[i];
        if (next && lane->turn >= next->turn)
            continue;
        if (lane->sent == lane->chunks)
            continue;
        if (flows->window_chunks &&
            lane->sent - flows->flows[lane->flow].done >= flows->window_chunks)
            continue;
        next = lane;
    }
    if (next) {
        next->sent++;
        next->turn = ((2 * (uint64_t)next->sent + 1) << 31) / next->chunks;
    }
    return next;
}
