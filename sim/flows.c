#include "sim/flows.h"

#include "base/mem.h"

#include <stdlib.h>

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

uint64_t flow_rank_tokens(const struct flows *flows, const struct flow *flow, uint32_t rank)
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

// Ranks of a flow's node that have a part of it: each sends a piece of every chunk.
static uint16_t flow_senders(const struct flows *flows, const struct flow *flow)
{
    const uint32_t gpus = flows->schedule->fabric.gpus_per_node;
    uint16_t senders = 0;
    for (uint32_t rank = flow->peer * gpus; rank < (flow->peer + 1) * gpus; rank++)
        senders = (uint16_t)(senders + (flow_rank_tokens(flows, flow, rank) > 0));
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
    if (transfer->rail && transfer->gather)
        init_pending(flows);
}

void flows_release(struct flows *flows)
{
    free(flows->flows);
    free(flows->pending);
    *flows = (struct flows){0};
}
