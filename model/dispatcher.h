// The dispatcher: how tokens travel to experts and back, as a row of orthogonal choices and the
// constants of the library that makes them.
#ifndef MODEL_DISPATCHER_H
#define MODEL_DISPATCHER_H

#include "base/field.h"
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

// Costs of one direction (dispatch or combine); each with its source in the preset.
struct transfer_cost {
    uint64_t fixed_ps;       // a rank's kernel with no tokens, one node: launch, prologue, flags
    uint64_t fixed_inter_ps; // added when the cluster has more than one node
    uint64_t per_peer_ps;    // at the sender, a peer it has something for
    uint64_t per_message_ps; // at the NIC or NVLink port, a message (chunk)
    double sm_Bps;           // copy (dispatch) or reduce (combine) rate of one SM
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
    uint32_t sms;          // SMs that move data; 0: all of the GPU
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
};

extern const struct field dispatcher_fields[];
extern const size_t dispatcher_field_count;

struct dispatcher dispatcher_default(void);

// Reads a preset's name or a YAML file; chunk sizes that a preset lists by EP ("chunk_by_ep": a
// list of {ep: N, dispatch: D, combine: C}, the first with ep >= N wins) are resolved for `ep`.
bool dispatcher_load(const char *what, uint32_t ep, struct dispatcher *dispatcher, char **sources,
                     struct error *err);

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
