// Flows: a transfer of the schedule laid out for the event loop.
//
// A flow is one channel's part of what moves between a home rank and a peer (direct) or a node
// (rail): it is cut into chunks, and owns the credit window.
#ifndef SIM_FLOWS_H
#define SIM_FLOWS_H

#include "model/schedule.h"

struct flow {
    uint64_t tokens;
    uint64_t left_ps; // rail scatter: when the last piece of a chunk so far has left the rail peer
    uint64_t first;   // its tokens' place among the home's for that peer, after earlier channels'
    uint32_t home;
    uint32_t peer; // rank, or rail: node
    uint32_t channel;
    uint32_t chunks;
    uint32_t done;          // chunks whose credit has come back
    uint32_t first_pending; // rail gather: index of its chunks' join counters
    uint32_t sender;        // that issues it (sim/senders.h); rail gather: unused
};

struct flows {
    const struct schedule *schedule;
    const struct transfer *transfer;
    struct flow *flows;
    uint16_t *pending; // rail gather: pieces that a chunk still waits for
    uint32_t flow_count;
    uint64_t chunk_count;   // of all flows
    uint32_t window_chunks; // 0: no limit
};

void flows_init(struct flows *flows, const struct schedule *schedule,
                const struct transfer *transfer);
void flows_release(struct flows *flows);

// Tokens of chunk k of a flow: an even share, at most chunk_tokens.
uint64_t flow_chunk_tokens(const struct flow *flow, uint32_t chunk);

// Rail: copies of chunk k for one rank of the flow's node, an even share of the pair's over the
// node's tokens. Each rank's shares are larger in other chunks and channels than the next rank's,
// as they are where tokens choose by chance; none is larger than the chunk.
uint64_t flow_piece_tokens(const struct flows *flows, const struct flow *flow, uint32_t rank,
                           uint32_t chunk);
uint64_t flow_pieces_tokens(const struct flows *flows, const struct flow *flow, uint32_t chunk);
uint64_t flow_rank_tokens(const struct flows *flows, const struct flow *flow, uint32_t rank);

// The flow of (home, peer, channel); a peer is a rank, or on the rail a node.
static inline uint32_t flow_index(const struct flows *flows, uint32_t home, uint32_t peer,
                                  uint32_t channel)
{
    const uint32_t peers =
        flows->transfer->rail ? flows->schedule->fabric.nodes : flows->schedule->fabric.ranks;
    return (home * peers + peer) * flows->transfer->channels + channel;
}

#endif
