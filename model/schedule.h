// The schedule: who sends how much to whom, in which stage, order and chunk size, and what each
// rank computes. Every engine reads the same one. No time that anything takes is in it: what a
// transfer's kernels take is made from it (model/costs/kernel_costs.h), by the constants of the
// dispatcher, and what computing takes (model/engine/compute.h), by those of kernels, which ride
// along and which nothing here reads.
#ifndef MODEL_SCHEDULE_H
#define MODEL_SCHEDULE_H

#include "model/cluster.h"
#include "model/dispatcher.h"
#include "model/fabric.h"
#include "model/costs/kernels.h"
#include "model/loads.h"
#include "model/moe.h"

enum phase {
    PHASE_RMSNORM,
    PHASE_ROUTER,
    PHASE_NOTIFY,
    PHASE_DISPATCH,
    PHASE_EXPERTS,
    PHASE_COMBINE,
    PHASE_SHARED,
    PHASE_ALLTOALL, // of a byte matrix, alone
    PHASE_LAYER,    // all of a layer's, as one: of measured rows; no schedule has it
    PHASE_KERNEL,   // one compute kernel by itself: of measured rows; no schedule has it
    PHASE_COUNT,
};
extern const char *const phase_names[];

// Whether the phase moves data between ranks (struct transfer); others compute or synchronize.
bool phase_moves(enum phase phase);

// The part of a transfer between nodes, and inside them.
enum stage { STAGE_INTER, STAGE_INTRA, STAGES };
extern const char *const stage_names[];

// One movement of data: dispatch, combine, or the exchange of a byte matrix.
//
// Direct: for every (home, peer) pair, pair[home * ranks + peer] tokens move in one stage, over the
// NICs between nodes (stage inter) or NVLink inside one (stage intra).
// Rail: for every (home, node), node[home * nodes + node] tokens cross to the home's rail peer in
// that node (inter), where each is forwarded to the ranks that need it, pair[home * ranks + rank]
// copies (intra). A gather (combine) runs the same paths backward: copies come together at the rail
// peer, are summed, and one a token crosses.
//
// Order: a rank cuts its tokens into `channels` contiguous slices that move side by side; within a
// slice messages to all peers advance in proportion (a chunk's turn comes by the share of its lane
// already sent; ties start from the rank's own successor, so that not all begin with rank 0).
struct transfer {
    enum phase phase;
    bool rail, gather;
    bool inside_nic; // pairs inside a node use the NIC too
    bool barrier;    // starts when the last rank has arrived
    bool pull;       // receivers ask first: one more latency before data moves
    const double *pair;
    const double *node; // rail only
    uint64_t token_bytes;
    uint32_t channels;
    uint64_t message_tokens; // tokens a message on the wire
    uint64_t chunk_tokens;   // tokens the simulator moves as one: a multiple of message_tokens
    uint64_t window_tokens;  // credit a (channel, lane); 0: none
};

struct schedule {
    struct moe moe;
    struct cluster cluster;
    struct dispatcher dispatcher;
    struct kernels kernels; // as they are set after; nothing in it: all follow the cluster's roofline
    struct fabric fabric;
    const struct loads *loads;   // borrowed: outlives the schedule
    const struct layout *layout; // borrowed; NULL for a byte matrix
    bool present[PHASE_COUNT];
    uint32_t transfer_count;
    struct transfer transfers[2];
    double *all_pairs, *all_nodes; // matrices that padding or all-gather put in place of the loads'
};

// Makes the schedule of one MoE layer from its loads.
void schedule_layer(struct schedule *schedule, const struct moe *moe, const struct cluster *cluster,
                    const struct dispatcher *dispatcher, const struct loads *loads,
                    const struct layout *layout);

// Makes the schedule of one exchange of a byte matrix (loads_from_bytes).
void schedule_traffic(struct schedule *schedule, const struct cluster *cluster,
                      const struct dispatcher *dispatcher, const struct loads *loads);

// Of a phase that moves data; NULL where the schedule has none.
const struct transfer *schedule_transfer(const struct schedule *schedule, enum phase phase);

void schedule_release(struct schedule *schedule);

// Leaves only the named phase, to be asked in isolation as benchmarks do.
void schedule_keep_only(struct schedule *schedule, enum phase phase);

// Leaves phases out, of a set with a bit for each: 1 << phase.
void schedule_leave_out(struct schedule *schedule, unsigned phases);

// The part of a lane's tokens that a channel carries: ceil or floor of an even share. The larger
// shares start at a channel that depends on the home rank, so that they spread; a part of the
// tokens never has a larger share than the whole.
static inline uint64_t schedule_slice(uint64_t tokens, uint32_t home, uint32_t channel,
                                      uint32_t channels)
{
    return (tokens + channels - 1 - (channel + home) % channels) / channels;
}

// A lane's tokens on their path from one rank to another.
struct lane_path {
    uint32_t home, from, to;
    double tokens;
    bool crosses; // of a rail: the stage between nodes
};

// Visits every path of a transfer whose ends are different ranks.
typedef void lane_visitor(void *context, const struct lane_path *path);
void schedule_visit(const struct schedule *schedule, const struct transfer *transfer,
                    lane_visitor *visit, void *context);

// How likely a home has any token for a rank (loads_chance_of_any); padding is always there.
double schedule_chance_of_any(const struct schedule *schedule, const struct transfer *transfer,
                              uint32_t home, uint32_t rank);

// Bytes that move from one rank to another over NIC or NVLink in a transfer, [from * ranks + to].
// Freed by the caller.
double *schedule_pair_bytes(const struct schedule *schedule, const struct transfer *transfer);

#endif
