// The dispatcher: how tokens travel to experts and back, as a row of orthogonal choices and the
// constants of the library that makes them.
#ifndef MODEL_DISPATCHER_H
#define MODEL_DISPATCHER_H

#include "base/field.h"
#include "base/object.h"
#include "model/cluster.h"
#include "model/moe.h"

#include <stdbool.h>
#include <stdint.h>

// How many copies of a token leave its rank in dispatch.
enum dedupe {
    DEDUPE_EXPERT, // one a chosen expert
    DEDUPE_RANK,   // one a rank that holds a chosen expert
    DEDUPE_NODE,   // one a node that holds a chosen expert, forwarded there to its ranks
    DEDUPE_ALL,    // one to every rank (all-gather)
};
// The way between nodes.
enum route {
    ROUTE_DIRECT, // from NIC to NIC of the two ranks themselves
    ROUTE_RAIL,   // to the rank of the same index in the other node, then over NVLink
};
// Where results of one token are first summed in combine.
enum reduce {
    REDUCE_HOME, // at the token's own rank, one copy an expert
    REDUCE_RANK, // at each expert rank, then at home
    REDUCE_NODE, // at each expert rank, then in its node at the token's rail, then at home
};
// How receivers learn what comes.
enum counts {
    COUNTS_EXCHANGE, // a notify phase before dispatch: counts from every rank to every rank
    COUNTS_NONE,     // flags travel with the data
    COUNTS_PADDED,   // fixed slots for the most tokens of any rank, a set a peer (dedupe expert: an
                     // expert)
};
enum sync {
    SYNC_NONE,
    SYNC_BARRIER, // every rank waits for the slowest before data moves
};
enum op { OP_PUSH, OP_PULL };

// How a library's kernels share time between SMs and wires (model/law.h).
enum law { LAW_STREAM, LAW_STAGED, LAW_NCCL, LAW_WARPS, LAW_WAVES };

// Costs of one direction (dispatch or combine); each with its source in the preset. SM times are
// of one SM; a law says what they are shared out over.
struct transfer_cost {
    uint64_t fixed_ps;       // a rank's kernel with no tokens, one node: launch, prologue, flags
    uint64_t fixed_inter_ps; // added when the cluster has more than one node
    uint64_t per_peer_ps;    // at the sender, a peer it has something for
    uint64_t per_message_ps; // at the NIC or NVLink port, a message (chunk)
    uint64_t per_node_ps;    // a node beyond the second
    uint64_t per_node_doubling_ps; // times log2 of the nodes
    uint64_t per_rank_doubling_ps; // times log2 of the ranks
    uint64_t per_expert_ps;        // an expert of the layer: its counter and flag
    uint64_t per_expert_group_ps;  // an expert of one SM, after the others of that SM
    uint64_t per_warp_ps;          // warps: a warp of a block
    double sm_Bps;                 // copy (dispatch) or reduce (combine) rate of one SM
    uint64_t copy_ps;              // SM time of a copy, whatever its size
    uint64_t token_ps;             // SM time of a token that a stage handles, whatever its copies
    double token_Bps;              // and what its bytes add
    uint64_t sum_ps;               // combine: a choice summed where its expert is
    double row_Bps;                // stream: latency of a row through one warp
    double ramp_tokens, ramp_half_tokens; // stream: rows of a channel that do not overlap
    double large_work;   // stream, one node: SM time grows by this share times V / (1 + V), V
                         // gigabytes received; where it comes from is not known
    double inter_work;   // stream: SM time with more than one node over that of one; 0: the same
    double nvlink_share; // of NVLink's rate that stores reach; 0: all
    double idle_sm_loss; // NVLink's rate is divided by 1 + this x the share of SMs that do not send
    double hbm_share;    // of memory's rate: staged, of the sum, 0: no bound; stream and nccl, of
                         // packing before and summing after, 0: neither takes time of its own
    double kernels;      // launched around the exchange: packing, summing
    uint64_t least_ps;   // from the first byte on, whatever moves
    uint64_t least_tray_ps;                 // waves: added above four ranks
    uint64_t wave_ps;                       // waves: tail of later waves
    uint64_t scales_ps;                     // warps: nvfp4's scales, a field of their own
    uint64_t quantise_ps, quantise_copy_ps; // warps: nvfp4 made in the kernel: latency, SM time
};

// NCCL's two protocols (law nccl).
struct nccl_cost {
    double channels;     // for all peers
    uint64_t part_bytes; // least that a channel is given
    uint64_t ll_limit_bytes, ll_chunk_bytes;
    double ll_channel_Bps, ll_Bps; // of one channel, of all a rank's bytes with its own
    double simple_start;           // start of the bulk protocol over that of the other
    uint64_t chunk_bytes;
    double channel_Bps, fill_share;
    uint64_t cached_bytes; // of a rank's bytes that caches serve
    double cache_boost;
};

// Who says a key: the preset, or what its variant for the GPU or the cluster says instead.
enum dispatcher_variant { VARIANT_NONE, VARIANT_GPU, VARIANT_CLUSTER };
#define DISPATCHER_MAX_FIELDS 112

struct dispatcher {
    char name[FIELD_TEXT_BYTES];
    enum dedupe dedupe;
    enum route route;
    enum reduce reduce;
    enum inside inside;
    enum counts counts;
    enum sync sync;
    enum op op;
    uint32_t sms; // SMs that move data; 0: all of the GPU
    enum law law;
    bool one_stage_inside; // rail: in one node tokens go straight to the ranks, by another kernel
    bool no_home_copy;     // rail: NICs take tokens where they are; no SM copies them first
    uint32_t scale_bytes;  // of a block of 128 fp8 values
    uint32_t line_payload_bytes; // of 128 bytes on the wire, the rest flags; 0: all
    struct nccl_cost nccl;
    bool hook;             // sends and receives are kernels of their own, and the network works in
                           // between without SMs (DeepEP's low-latency receive hook)
    uint32_t channels;     // parallel slices of a rank's tokens; 0: sms / 2
    uint32_t chunk_tokens; // tokens a message, dispatch
    uint32_t combine_chunk_tokens; // tokens a message, combine
    uint32_t window_tokens;        // credit a (channel, peer): tokens under way; 0: no limit
    uint64_t chunk_bytes;          // raw only: bytes a message
    uint32_t header_bytes;         // metadata a token
    uint32_t combine_header_bytes;
    uint32_t choice_bytes; // dispatch metadata a chosen expert (index, weight)
    uint32_t combine_choice_bytes;
    uint32_t align_bytes; // a token's wire bytes are rounded up to this
    uint32_t max_tokens;  // a rank, the library's own limit; 0: none
    uint64_t notify_ps;   // counts kernel of one node, without waiting for late ranks
    uint64_t notify_inter_ps;
    struct transfer_cost dispatch;
    struct transfer_cost combine;
    uint8_t variant[DISPATCHER_MAX_FIELDS]; // by row of dispatcher_fields: who says it
};

extern const struct field dispatcher_fields[];
extern const size_t dispatcher_field_count;

struct dispatcher dispatcher_default(void);

// Reads a preset's name or a YAML file; chunk sizes that a preset lists by EP ("chunk_by_ep": a
// list of {ep: N, dispatch: D, combine: C}, the first with ep >= N wins) are resolved for the
// cluster's ranks. Of a preset NAME, what the presets NAME@GPU and NAME@CLUSTER say for this
// cluster's GPU (cluster.gpu) and name comes instead, in that order, where they exist.
bool dispatcher_load(const char *what, const struct cluster *cluster, struct dispatcher *dispatcher,
                     struct provenance *sources, struct error *err);

// The cluster's name as variants of dispatchers call it: without the '*' that says that keys were
// changed. buffer has FIELD_TEXT_BYTES.
const char *dispatcher_cluster_name(const struct cluster *cluster, char *buffer);

// Refuses illegal combinations, naming both keys: dedupe node or all without route rail, and rail
// with another dedupe or with inside nic; dedupe all or route direct with another reduce than they
// serve; padded slots over the rail, or with a combine that moves other rows than dispatch.
bool dispatcher_check(const struct dispatcher *dispatcher, struct error *err);

// Bytes of one token's copy on the wire, payload and metadata, rounded up to align_bytes.
// DeepEP csrc/kernels/legacy/internode.cu:47 (normal) and the 16-byte header of its low-latency
// messages: 7168 fp8 -> 7472 and 7408; bf16 -> 14416 and 14352; combine 14352 and 14336.
uint64_t dispatcher_dispatch_bytes(const struct dispatcher *dispatcher, const struct moe *moe);
uint64_t dispatcher_combine_bytes(const struct dispatcher *dispatcher, const struct moe *moe);

// SMs and channels after defaults, for a GPU with that many SMs.
uint32_t dispatcher_sms(const struct dispatcher *dispatcher, uint32_t gpu_sms);
uint32_t dispatcher_channels(const struct dispatcher *dispatcher, uint32_t gpu_sms);

#endif
