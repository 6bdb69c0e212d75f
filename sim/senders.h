// Senders: who issues which chunk next, under which window.
//
// A lane is a flow as one sender sees it: the flow itself, or in a rail gather one rank's pieces of
// it. A sender is one channel's issuing loop on a rank; it picks the lane that is least advanced
// and allowed to send: the root of a tournament over its lanes. A choice and a credit each replay
// one path of that, so their cost grows with the logarithm of the lanes.
#ifndef SIM_SENDERS_H
#define SIM_SENDERS_H

#include "sim/flows.h"

struct lane {
    uint32_t flow;
    uint32_t sent, chunks;
};

struct sender {
    uint32_t first, count; // lanes, in rotated order
    uint32_t first_leaf;   // of its tournament
    uint32_t leaves;       // a power of two; 0: it has no lanes
    uint32_t rank;
    uint32_t channel;
    bool asleep; // nothing to send now; a credit wakes it
};

struct senders {
    struct flows *flows; // borrowed
    struct sender *of;   // [count] by sender_index
    struct lane *lanes;
    uint64_t *turns;   // of leaves: share already sent, 32-bit fixed point: the smallest goes next
    uint32_t *winners; // at a sender's inner nodes, 1 the root: the leaf that goes next
    uint32_t *places;  // with windows: a flow's place among its sender's lanes
    uint32_t count, lane_count;
};

// Of the flows, which must outlive them.
void senders_init(struct senders *senders, struct flows *flows);
void senders_release(struct senders *senders);

// The lane that the sender serves next, its `sent` already advanced; NULL: none may send.
struct lane *sender_next(struct senders *senders, struct sender *sender);

// A credit has come back for a flow that this sender issues (flow.done is advanced already).
// Returns whether its lane may send again that could not before.
bool sender_credit(struct senders *senders, struct sender *sender, uint32_t flow);

// Senders of a rank and channel: one for NVLink (and copies that stay), one for the NIC; a rail
// transfer has one that serves both.
static inline uint32_t sender_index(const struct flows *flows, uint32_t rank, uint32_t channel,
                                    uint32_t medium)
{
    return (rank * flows->transfer->channels + channel) * 2 + medium;
}

#endif
