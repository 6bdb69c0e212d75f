// One transfer under way: what the event loop's handlers act on. Private to sim/.
#ifndef SIM_MOVER_H
#define SIM_MOVER_H

#include "model/costs/kernel_costs.h"
#include "sim/flows.h"
#include "sim/heap.h"
#include "sim/port.h"
#include "sim/senders.h"
#include "sim/timeline.h"

// What has just happened.
enum event_kind {
    EVENT_STEP,       // a sender may issue its next chunk
    EVENT_LAUNCHED,   // a chunk is packed and goes to the first wire
    EVENT_TRUNK_UP,   // reaches a spine or bridge
    EVENT_TRUNK_DOWN, // leaves it
    EVENT_ARRIVES,    // reaches the receiving NIC or NVLink port
    EVENT_RECEIVED,   // is in memory there
    EVENT_FORWARDED,  // rail scatter: copied towards the ranks of the node
    EVENT_PIECE,      // rail: one rank's part reaches an NVLink port
    EVENT_PIECE_UP,   // a bridge before it
    EVENT_PIECE_DOWN, // leaves that
    EVENT_JOINED,     // rail gather: a piece is in memory at the rail peer
    EVENT_REDUCED,    // rail gather: summed over the node
    EVENT_CREDIT,     // room for one more chunk of a flow
};

struct mover_rank {
    uint64_t last_ps;          // end of the last thing that touched the rank
    uint64_t stage_ps[STAGES]; // the same of one stage
    uint64_t tail_ps;          // that follows the last of them
    double work;               // fabric_work
    uint32_t last_sender;
};

struct mover {
    const struct kernel_costs *costs;
    const struct transfer *transfer; // the costs', for short, as the next
    const struct fabric *fabric;
    struct flows flows;
    struct senders senders;
    struct heap heap;
    struct port *ports[PORT_KINDS]; // PORT_SM: [(rank * 2 + kernel) * channels + channel]
    struct mover_rank *ranks;
    uint64_t now_ps;
    struct timeline *timeline;
};

// The kernel that copies: a direct transfer receives with one of its own, so that what a rank sends
// never queues behind what comes in.
enum kernel { KERNEL_MAIN, KERNEL_RECEIVE, KERNELS };

// An event: what happened (4 bits), to which rank of a node (10), chunk (18) and flow or sender
// (32).
static inline uint64_t pack_event(enum event_kind kind, uint32_t index, uint32_t chunk,
                                  uint32_t local)
{
    assert(chunk < 1u << 18 && local < 1u << 10);
    return (uint64_t)kind << 60 | (uint64_t)local << 50 | (uint64_t)chunk << 32 | index;
}

// Lets an event happen at a time.
static inline void mover_schedule(struct mover *mover, uint64_t time_ps, uint64_t event)
{
    heap_push(&mover->heap, time_ps, event);
}

// Lets everything happen that is scheduled, and what follows from it, until nothing is left.
void mover_run(struct mover *mover);

#endif
