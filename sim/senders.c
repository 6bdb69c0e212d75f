#include "sim/senders.h"

#include "base/mem.h"

#include <stdlib.h>

enum { MEDIUM_INSIDE, MEDIUM_NIC };

#define NO_TURN UINT64_MAX // of a lane that has sent all, or waits for credit

// ---- the tournament of a sender's lanes ---------------------------------------------------------

// Lanes advance in proportion: chunk k of n stands at (2 k + 1) / 2 n of its lane's share, and the
// lane whose next chunk stands lowest goes; of equals the first in rotated order. Shares are 32-bit
// fixed point, so that no rounding of floating point decides an order.
static uint64_t lane_turn(const struct senders *senders, const struct lane *lane)
{
    const struct flows *flows = senders->flows;
    if (lane->sent == lane->chunks)
        return NO_TURN;
    if (flows->window_chunks && lane->sent - flows->flows[lane->flow].done >= flows->window_chunks)
        return NO_TURN;
    return ((2 * (uint64_t)lane->sent + 1) << 31) / lane->chunks;
}

// The leaf that wins at a node: a leaf itself, from `leaves` on, or what is noted of an inner node.
static uint32_t winner_at(const uint32_t *winners, uint32_t leaves, uint32_t node)
{
    return node >= leaves ? node - leaves : winners[node];
}

// Notes who wins at an inner node; of equals the left one, which is first in rotated order.
static void play(const uint64_t *turns, uint32_t *winners, uint32_t leaves, uint32_t node)
{
    const uint32_t left = winner_at(winners, leaves, 2 * node);
    const uint32_t right = winner_at(winners, leaves, 2 * node + 1);
    winners[node] = turns[right] < turns[left] ? right : left;
}

static void set_turn(struct senders *senders, const struct sender *sender, uint32_t place)
{
    uint64_t *turns = senders->turns + sender->first_leaf;
    turns[place] = lane_turn(senders, &senders->lanes[sender->first + place]);
    for (uint32_t node = (sender->leaves + place) / 2; node; node /= 2)
        play(turns, senders->winners + sender->first_leaf, sender->leaves, node);
}

struct lane *sender_next(struct senders *senders, struct sender *sender)
{
    if (!sender->leaves)
        return NULL;
    const uint32_t place = winner_at(senders->winners + sender->first_leaf, sender->leaves, 1);
    if (senders->turns[sender->first_leaf + place] == NO_TURN)
        return NULL;
    struct lane *lane = &senders->lanes[sender->first + place];
    lane->sent++;
    set_turn(senders, sender, place);
    return lane;
}

// ---- credit -------------------------------------------------------------------------------------

// Ranks that issue parts of one flow: in a rail gather, those of its node.
static uint32_t issuers(const struct flows *flows)
{
    const bool pieces = flows->transfer->rail && flows->transfer->gather;
    return pieces ? flows->schedule->fabric.gpus_per_node : 1;
}

// Where a flow stands among its sender's lanes.
static uint32_t *lane_place(const struct senders *senders, const struct sender *sender,
                            uint32_t flow)
{
    const uint32_t ranks = issuers(senders->flows);
    return &senders->places[(size_t)flow * ranks + sender->rank % ranks];
}

bool sender_credit(struct senders *senders, struct sender *sender, uint32_t flow)
{
    const uint32_t place = *lane_place(senders, sender, flow);
    if (place >= sender->count || senders->lanes[sender->first + place].flow != flow ||
        senders->turns[sender->first_leaf + place] != NO_TURN)
        return false;
    set_turn(senders, sender, place);
    return senders->turns[sender->first_leaf + place] != NO_TURN;
}

// ---- setting up ---------------------------------------------------------------------------------

static void add_lane(struct senders *senders, struct sender *sender, uint32_t flow)
{
    const uint32_t chunks = senders->flows->flows[flow].chunks;
    senders->flows->flows[flow].sender = (uint32_t)(sender - senders->of);
    if (chunks == 0)
        return;
    if (senders->places)
        *lane_place(senders, sender, flow) = sender->count;
    senders->lanes[senders->lane_count++] = (struct lane){.flow = flow, .chunks = chunks};
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

static void add_direct_lanes(struct senders *senders, struct sender *sender, uint32_t medium)
{
    const struct flows *flows = senders->flows;
    const struct fabric *fabric = &flows->schedule->fabric;
    const uint32_t from = sender->rank, node = fabric_node(fabric, from);
    for (uint32_t i = 0; i < fabric->ranks; i++) {
        const uint32_t to = rotated_peer(fabric, from, i);
        const bool inside = node == fabric_node(fabric, to) && !flows->transfer->inside_nic;
        const uint32_t home = flows->transfer->gather ? to : from;
        const uint32_t peer = flows->transfer->gather ? from : to;
        const uint32_t flow = flow_index(flows, home, peer, sender->channel);
        if ((from == to || inside ? MEDIUM_INSIDE : MEDIUM_NIC) == medium)
            add_lane(senders, sender, flow);
    }
}

static void add_rail_lanes(struct senders *senders, struct sender *sender)
{
    const struct flows *flows = senders->flows;
    const struct fabric *fabric = &flows->schedule->fabric;
    const uint32_t rank = sender->rank, node = fabric_node(fabric, rank);
    const uint32_t lanes = flows->transfer->gather ? fabric->ranks : fabric->nodes;
    for (uint32_t i = 0; i < lanes; i++) {
        const uint32_t home = flows->transfer->gather ? rotated_peer(fabric, rank, i) : rank;
        const uint32_t target = flows->transfer->gather ? node : (node + 1 + i) % lanes;
        const uint32_t flow = flow_index(flows, home, target, sender->channel);
        if (!flows->transfer->gather || flow_rank_tokens(flows, &flows->flows[flow], rank) > 0)
            add_lane(senders, sender, flow);
    }
}

static void init_sender(struct senders *senders, uint32_t rank, uint32_t channel, uint32_t medium)
{
    struct sender *sender = &senders->of[sender_index(senders->flows, rank, channel, medium)];
    *sender = (struct sender){
        .first = senders->lane_count, .rank = rank, .channel = channel, .asleep = true};
    if (!senders->flows->transfer->rail)
        add_direct_lanes(senders, sender, medium);
    else if (medium == MEDIUM_INSIDE)
        add_rail_lanes(senders, sender);
    while (sender->leaves < sender->count)
        sender->leaves = sender->leaves ? 2 * sender->leaves : 1;
}

// Fills a sender's leaves and plays all of its tournament.
static void init_tournament(struct senders *senders, struct sender *sender, uint32_t first_leaf)
{
    uint64_t *turns = senders->turns + first_leaf;
    sender->first_leaf = first_leaf;
    for (uint32_t i = 0; i < sender->leaves; i++)
        turns[i] =
            i < sender->count ? lane_turn(senders, &senders->lanes[sender->first + i]) : NO_TURN;
    for (uint32_t node = sender->leaves; node-- > 1;)
        play(turns, senders->winners + first_leaf, sender->leaves, node);
}

static void init_tournaments(struct senders *senders)
{
    size_t leaves = 0;
    for (uint32_t s = 0; s < senders->count; s++)
        leaves += senders->of[s].leaves;
    senders->turns = mem_alloc(leaves, sizeof *senders->turns);
    senders->winners = mem_alloc(leaves, sizeof *senders->winners);
    leaves = 0;
    for (uint32_t s = 0; s < senders->count; s++) {
        init_tournament(senders, &senders->of[s], (uint32_t)leaves);
        leaves += senders->of[s].leaves;
    }
}

void senders_init(struct senders *senders, struct flows *flows)
{
    const struct transfer *transfer = flows->transfer;
    const struct fabric *fabric = &flows->schedule->fabric;
    const size_t lanes = transfer->rail && !transfer->gather ? fabric->nodes : fabric->ranks;
    *senders = (struct senders){.flows = flows, .count = fabric->ranks * transfer->channels * 2};
    senders->of = mem_alloc(senders->count, sizeof *senders->of);
    senders->lanes = mem_alloc(fabric->ranks * lanes * transfer->channels, sizeof *senders->lanes);
    if (flows->window_chunks)
        senders->places =
            mem_alloc((size_t)flows->flow_count * issuers(flows), sizeof *senders->places);
    for (uint32_t rank = 0; rank < fabric->ranks; rank++)
        for (uint32_t c = 0; c < transfer->channels; c++)
            for (uint32_t medium = 0; medium < 2; medium++)
                init_sender(senders, rank, c, medium);
    init_tournaments(senders);
}

void senders_release(struct senders *senders)
{
    free(senders->of);
    free(senders->lanes);
    free(senders->turns);
    free(senders->winners);
    free(senders->places);
    *senders = (struct senders){0};
}
