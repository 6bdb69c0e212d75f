// The dispatcher: how tokens travel to experts and back, as a row of orthogonal choices, the cost
// model of the library's kernels and their constants.
#ifndef MODEL_DISPATCHER_H
#define MODEL_DISPATCHER_H

#include "base/field.h"
#include "base/object.h"
#include "model/cluster.h"
#include "model/costs/cost.h"
#include "model/moe.h"

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
// What runs it on real machines.
enum dispatcher_backend {
    BACKEND_CALLS,      // the schedule's messages, by the transport's sends and receives
    BACKEND_NCCL_EP_LL, // NVIDIA's NCCL EP library, low latency
    BACKEND_NCCL_EP_HT, // the same, high throughput
    BACKEND_NONE,       // kernels of a library that epsim-real does not run
};

// Who says a key: the preset, or what its variant for the library's version, the GPU's
// architecture, the GPU, the network or the cluster says instead.
enum dispatcher_variant {
    VARIANT_NONE,
    VARIANT_VERSION,
    VARIANT_ARCHITECTURE,
    VARIANT_GPU,
    VARIANT_NETWORK,
    VARIANT_CLUSTER,
};

struct dispatcher {
    char name[FIELD_TEXT_BYTES];
    enum dedupe dedupe;
    enum route route;
    enum reduce reduce;
    enum inside inside;
    enum counts counts;
    enum sync sync;
    enum op op;
    enum dispatcher_backend backend;
    uint32_t sms;                        // SMs that move data; 0: all of the GPU
    const struct cost_model *cost_model; // how kernels share time between SMs and wires; key `law`
    bool one_stage_inside; // rail: in one node tokens go straight to the ranks, by another kernel
    bool no_home_copy;     // rail: NICs take tokens where they are; no SM copies them first
    uint32_t scale_bytes;  // of a block of 128 fp8 values
    uint32_t line_payload_bytes; // of 128 bytes on the wire, the rest flags; 0: all
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
    uint32_t slot_bytes;   // dispatch metadata an expert slot of a node (its weight, or none)
    uint32_t combine_choice_bytes;
    uint32_t align_bytes;                   // a token's wire bytes are rounded up to this
    char dispatch_dtypes[FIELD_TEXT_BYTES]; // payloads that its kernels take, by name: words;
    char combine_dtypes[FIELD_TEXT_BYTES];  // "": any
    uint32_t max_tokens;                    // a rank, the library's own limit; 0: none
    uint32_t capacity_tokens; // of a rank, that its buffers are made for; 0: the most of any rank
    uint64_t notify_ps;       // counts kernel of one node, without waiting for late ranks
    uint64_t notify_inter_ps;
    struct common_costs dispatch, combine;  // constants, each with its source in the preset
    union own_costs own;                    // those of the cost model alone, both directions
    uint8_t variant[COST_MAX_FIELDS];       // by row of cost_model->fields: who says it
    char version[FIELD_TEXT_BYTES];         // library and version, as asked or the preset's own,
                                            // "nccl-2.29"; "": there is only one
    char version_variant[FIELD_TEXT_BYTES]; // the version whose variant stands for it; "": none
};

extern const char *const dedupe_names[], *const route_names[], *const reduce_names[];
extern const char *const counts_names[], *const sync_names[], *const op_names[];
extern const char *const backend_names[]; // of enum dispatcher_backend

// Key `law` (struct field): it says which other keys there are, cost_model->fields.
// clang-format off
#define DISPATCHER_COST_MODEL_ROW                                                                         \
    {.key = "law", .kind = FIELD_NAMED, .offset = offsetof(struct dispatcher, cost_model),         \
     .objects = cost_models, .tag = COST_MOVES,                                                    \
     .help = "how kernels share time between SMs and wires"}
// clang-format on

// Copies per rank straight to the rank, one token a message, cost model stream without costs.
struct dispatcher dispatcher_default(void);

// Gives it another cost model, with that one's defaults for constants of its own.
void dispatcher_set_cost_model(struct dispatcher *dispatcher, const struct cost_model *model);

// Reads a preset's name or a YAML file, or either with keys changed as of a cluster
// ("deepep-normal:sms=20,window_tokens=256"; its name then ends in '*'; `law` stays): keys are
// those of the table of the cost model that its `law` names (provenance: COST_MAX_FIELDS, by row of
// that table; NULL: not wanted). Chunk sizes that a preset lists by EP ("chunk_by_ep": a list of
// {ep: N, dispatch: D, combine: C}, the first with ep >= N wins) are resolved for the cluster's
// ranks. Of a preset NAME, what the presets NAME@ARCHITECTURE, NAME@GPU, NAME@NETWORK and
// NAME@CLUSTER say for this cluster's GPU (cluster.architecture, cluster.gpu), network and name
// comes instead, in that order, where they exist; before them, where `what` is
// NAME@LIBRARY-VERSION, what that version has otherwise (model/version.h).
bool dispatcher_load(const char *what, const struct cluster *cluster, struct dispatcher *dispatcher,
                     struct provenance *provenance, struct error *err);

// What a variant of that kind is called for the cluster, behind the '@'; "": there is none. A
// cluster's name goes without the '*' that says that keys were changed. buffer has
// FIELD_TEXT_BYTES.
const char *dispatcher_variant_name(enum dispatcher_variant which, const struct cluster *cluster,
                                    char *buffer);

// The dispatcher's name without the '*' that says that keys were changed. buffer has
// FIELD_TEXT_BYTES.
const char *dispatcher_base_name(const struct dispatcher *dispatcher, char *buffer);

// Refuses illegal combinations, naming both keys: dedupe node or all without route rail, and rail
// with another dedupe or with inside nic; dedupe all or route direct with another reduce than they
// serve; padded slots over the rail, or with a combine that moves other rows than dispatch.
bool dispatcher_check(const struct dispatcher *dispatcher, struct error *err);

// Bytes of one token's copy on the wire, payload and metadata, rounded up to align_bytes.
// DeepEP csrc/kernels/legacy/internode.cu:47 (normal) and the 16-byte header of its low-latency
// messages: 7168 fp8 -> 7472 and 7408; bf16 -> 14416 and 14352; combine 14352 and 14336.
// node_slots: expert slots of a node.
uint64_t dispatcher_dispatch_bytes(const struct dispatcher *dispatcher, const struct moe *moe,
                                   uint32_t node_slots);
uint64_t dispatcher_combine_bytes(const struct dispatcher *dispatcher, const struct moe *moe);

// Tokens of a rank that buffers are made for where the fullest has `tokens`: whole fours.
uint32_t dispatcher_capacity(const struct dispatcher *dispatcher, uint32_t tokens);

// SMs and channels after defaults, for a GPU with that many SMs.
uint32_t dispatcher_sms(const struct dispatcher *dispatcher, uint32_t gpu_sms);
uint32_t dispatcher_channels(const struct dispatcher *dispatcher, uint32_t gpu_sms);

#endif
