// Cost models: what a library's kernels take of a rank beyond its wires. Which work comes before
// the first byte, beside the wires or after the last byte follows from how the kernels are built;
// that is the model, one file of this folder each. Its constants are keys of the dispatcher that
// names it (`law: stream`): a dispatcher has no key that its cost model does not read.
#ifndef MODEL_COSTS_COST_H
#define MODEL_COSTS_COST_H

#include "base/field.h"

#include <stdint.h>

struct kernel_costs; // model/costs/kernel_costs.h
struct schedule;

// Constants of one direction (dispatch or combine) that every cost model reads.
struct common_costs {
    uint64_t fixed_ps;       // a rank's kernel with no tokens, one node: launch, prologue, flags
    uint64_t fixed_inter_ps; // added when the cluster has more than one node
    uint64_t per_peer_ps;    // at the sender, per peer that it has something for
    uint64_t per_message_ps; // at the NIC or NVLink port, per message (chunk)
    uint32_t post_messages;  // that CPU proxies post at a time, those to one peer with one
                             // doorbell, which alone costs per_message_ps; 0: GPUs post each
    uint64_t per_node_ps;    // per node beyond the second
    uint64_t per_node_doubling_ps; // times log2 of the nodes
    uint64_t per_rank_doubling_ps; // times log2 of the ranks
    uint64_t per_expert_ps;        // per expert of the layer: its counter and flag
    uint64_t per_expert_group_ps;  // per expert of one SM, after the others of that SM
    double nvlink_share;           // of NVLink's rate that stores reach; 0: all
    double peer_share;             // of NVLink's rate that bytes to one peer reach; 0: all
    double nic_share;              // of a NIC's rate between nodes that messages reach; 0: all
    double store_Bps;              // that one SM stores over NVLink; 0: no limit
    double kernels;                // launched around the exchange: packing, summing
};

// Room for the constants that a cost model has of its own; only its file knows their layout.
#define COST_OWN_BYTES 256
union own_costs {
    max_align_t align;
    unsigned char bytes[COST_OWN_BYTES];
};

// The longest field table a cost model may have.
#define COST_MAX_FIELDS 96

// What a row of a field table is read in (struct field, tag): all of these must hold. One of the
// first four stands in every row.
enum cost_condition {
    COST_MOVES = 1,    // a phase that moves data
    COST_NOTIFY = 2,   // the exchange of counts
    COST_DISPATCH = 4, // dispatch, and the exchange of a traffic matrix
    COST_COMBINE = 8,
    COST_ONE_NODE = 16,
    COST_NODES = 32,      // more than one node
    COST_MORE_NODES = 64, // more than two
    COST_NVLINK = 128,    // something moves over NVLink
};

// Beside the conditions in a tag: the row is a share of the rate of memory, where above zero.
#define COST_OF_MEMORY 256u

// One rank's times of one transfer, picoseconds.
struct kernel_times {
    double head_ps; // from its arrival to its first byte
    double min_ps;  // from its first byte to its last one at least, whatever the wires do
    double tail_ps; // after its last byte
    // Parts of the first two that are launches, flags and handshakes; the rest is work of SMs.
    double head_fixed_ps, min_fixed_ps;
};

// Copy engines of one channel, picoseconds: a copy, a token that a rail's stage handles, and a
// node's copy at the token's own rank, its share of the token included.
struct copy_times {
    double copy_ps, visit_ps, home_ps;
};

struct cost_model {
    const char *name; // first member, for FIELD_NAMED: the word that key `law` has
    // Every key that a dispatcher with this cost model may say, offsets in struct dispatcher.
    const struct field *fields;
    size_t field_count;
    const void *defaults; // own constants where nothing is said; NULL: all zero
    size_t defaults_bytes;
    bool moves_bytes; // can exchange a plain traffic matrix: no term asks for tokens
    // SMs that a transfer's kernels run on; NULL: the dispatcher's (dispatcher_sms).
    uint32_t (*sms)(const struct schedule *schedule);
    // Adds the model's work to *times, which hold the start alone (kernel_times).
    void (*work)(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times);
    // NULL: SMs do not copy chunk by chunk beside the wires, `work` says when they do.
    struct copy_times (*copies)(const struct kernel_costs *costs);
    // What a rank's exchange of counts takes beyond the constants; NULL: nothing.
    double (*notify_ps)(const struct schedule *schedule, uint32_t rank);
    // And what of it the wires take, which a slow GPU's kernels do not lengthen; NULL: nothing.
    double (*notify_wire_ps)(const struct schedule *schedule, uint32_t rank);
};

extern const struct cost_model cost_stream, cost_staged, cost_nccl, cost_warps, cost_waves,
    cost_rounds, cost_pipelines;

// All of them (const struct cost_model *), NULL-terminated, as FIELD_NAMED reads them.
extern const void *const cost_models[];

// Whether a row of a dispatcher's table is read where the conditions (bits) hold.
static inline bool cost_reads(const struct field *field, unsigned conditions)
{
    return (field->tag & ~COST_OF_MEMORY & ~conditions) == 0;
}

// The row of a key in the first table that has it, of any cost model; NULL: none has. Its key, kind
// and range are the same in every table; its offset is not, and counts in dispatchers of that
// cost model alone.
const struct field *cost_key(const char *key);

// The key of any table that was meant by a word (field_nearest_key), or NULL.
const char *cost_nearest_key(const char *word);

#endif
