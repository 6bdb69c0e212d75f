// Rows of field tables: what a cost model's file builds its table from, in the order in which
// `--show dispatcher` prints them. Used only by the files of cost models. The including file has
// defined OWN_CONSTANTS, the struct of its own constants: two members `dispatch` and `combine` for
// those of one direction.
#ifndef MODEL_COSTS_ROWS_H
#define MODEL_COSTS_ROWS_H

#include "model/dispatcher.h"

_Static_assert(sizeof(OWN_CONSTANTS) <= COST_OWN_BYTES, "room for own constants");

#define ROW_TOKENS_MAX (1 << 24)
#define ROW_TIME_MAX 1e12 // picoseconds: a second

// clang-format off
#define ROW(name, what, at, high, when, text)                                                      \
    {.key = name, .kind = what, .offset = at, .max = high, .tag = when, .help = text}
#define ROW_CHOICE(member, text)                                                                   \
    {.key = #member, .kind = FIELD_ENUM, .offset = offsetof(struct dispatcher, member),            \
     .names = member##_names, .tag = COST_MOVES, .help = text}
#define ROW_FLAG(member, text)                                                                     \
    {.key = #member, .kind = FIELD_BOOL, .offset = offsetof(struct dispatcher, member),            \
     .tag = COST_MOVES, .help = text}
#define ROW_COUNT(member, low, high, text)                                                         \
    {.key = #member, .kind = FIELD_U32, .offset = offsetof(struct dispatcher, member),             \
     .min = (low), .max = (high), .tag = COST_MOVES, .help = text}

#define ROW_WORDS(member, text)                                                                    \
    {.key = #member, .kind = FIELD_TEXT, .offset = offsetof(struct dispatcher, member),            \
     .tag = COST_MOVES, .help = text}

// Of a library whose versions differ.
#define ROW_VERSION ROW_WORDS(version, "library and version that it is of: nccl-2.29")

// Every dispatcher's choices, and what it puts on the wire.
#define ROWS_CHOICES                                                                               \
    {.key = "name", .kind = FIELD_TEXT, .offset = offsetof(struct dispatcher, name),               \
     .tag = COST_MOVES, .help = "name of the dispatcher"},                                         \
    ROW_CHOICE(dedupe,                                                                             \
               "copies of a token that leave its rank: one an expert, rank or node, or to all"),   \
    ROW_CHOICE(route, "between nodes: direct, or to the same index (rail), then over NVLink"),     \
    ROW_CHOICE(reduce, "where a token's results are first summed"),                                \
    ROW_CHOICE(inside, "links that carry traffic inside a node"),                                  \
    ROW_CHOICE(counts, "how receivers learn what comes"),                                          \
    ROW_CHOICE(sync, "barrier: every rank waits for the slowest before data moves"),               \
    ROW_CHOICE(op, "who moves the data, sender or receiver"),                                      \
    ROW_CHOICE(backend, "what epsim-real runs it by; none: it does not have the kernels"),         \
    DISPATCHER_COST_MODEL_ROW,                                                                            \
    ROW_FLAG(one_stage_inside,                                                                     \
             "rail: in one node tokens go straight to the ranks, by another kernel"),              \
    ROW_COUNT(sms, 0, 4096, "SMs that move data; 0: all of the GPU"),                              \
    ROW_FLAG(hook, "the network works without SMs between the send and the receive kernel"),       \
    ROW_COUNT(channels, 0, 4096, "parallel slices of a rank's tokens; 0: sms / 2"),                \
    ROW_COUNT(chunk_tokens, 1, ROW_TOKENS_MAX, "tokens of a message in dispatch"),                 \
    ROW_COUNT(combine_chunk_tokens, 1, ROW_TOKENS_MAX, "tokens of a message in combine"),          \
    ROW_COUNT(window_tokens, 0, ROW_TOKENS_MAX,                                                    \
              "tokens under way of a channel and peer; 0: no limit"),                              \
    ROW("chunk_bytes", FIELD_BYTES, offsetof(struct dispatcher, chunk_bytes), 1e12, COST_MOVES,    \
        "bytes of a message where a byte matrix is moved; 0: moves none"),                         \
    ROW_COUNT(header_bytes, 0, 65536, "metadata bytes of a token in dispatch"),                    \
    ROW_COUNT(combine_header_bytes, 0, 65536, "metadata bytes of a token in combine"),             \
    ROW_COUNT(choice_bytes, 0, 65536, "metadata bytes of a chosen expert in dispatch"),            \
    ROW_COUNT(slot_bytes, 0, 65536, "metadata bytes of each expert slot of a node in dispatch"),   \
    ROW_COUNT(combine_choice_bytes, 0, 65536, "metadata bytes of a chosen expert in combine"),     \
    ROW_COUNT(align_bytes, 1, 65536, "a token's bytes are rounded up to a multiple of this"),      \
    ROW_FLAG(no_home_copy, "rail: NICs take tokens where they are; no SM copies them first"),      \
    ROW_COUNT(scale_bytes, 0, 4, "of a block of 128 fp8 values in dispatch"),                      \
    ROW_COUNT(line_payload_bytes, 0, 128,                                                          \
              "payload of 128 bytes on the wire, the rest flags; 0: all"),                         \
    ROW_WORDS(dispatch_dtypes, "payloads that dispatch takes, as \"fp8 bf16\"; \"\": any"),        \
    ROW_WORDS(combine_dtypes, "payloads that combine takes; \"\": any"),                           \
    ROW_COUNT(max_tokens, 0, ROW_TOKENS_MAX,                                                       \
              "tokens of a rank that the library takes; 0: no limit"),                             \
    ROW_COUNT(capacity_tokens, 0, ROW_TOKENS_MAX,                                                  \
              "tokens of a rank that its buffers are made for; 0: the most that any has"),         \
    ROW("notify", FIELD_TIME, offsetof(struct dispatcher, notify_ps), ROW_TIME_MAX, COST_NOTIFY,   \
        "exchange of counts, one node, without waiting for late ranks"),                           \
    ROW("notify_inter", FIELD_TIME, offsetof(struct dispatcher, notify_inter_ps), ROW_TIME_MAX,    \
        COST_NOTIFY | COST_NODES, "added to notify with more than one node")

// Constants of one direction that every cost model reads (struct common_costs).
#define SIDE_dispatch COST_DISPATCH
#define SIDE_combine COST_COMBINE
#define AT_SIDE(side, member) offsetof(struct dispatcher, side.member)
#define ROW_SIDE_TIME(side, name, member, when, text)                                              \
    ROW(#side "_" name, FIELD_TIME, AT_SIDE(side, member), ROW_TIME_MAX, SIDE_##side | (when), text)

#define ROWS_START(side)                                                                           \
    ROW_SIDE_TIME(side, "fixed", fixed_ps, 0,                                                      \
                  "a rank's " #side " kernel with no tokens, one node"),                           \
    ROW_SIDE_TIME(side, "fixed_inter", fixed_inter_ps, COST_NODES,                                 \
                  "added with more than one node"),                                                \
    ROW_SIDE_TIME(side, "per_peer", per_peer_ps, 0,                                                \
                  "at the sender, a peer it has something for"),                                   \
    ROW_SIDE_TIME(side, "per_message", per_message_ps, 0, "at the port, a message")
#define ROWS_GROWTH(side)                                                                          \
    ROW_SIDE_TIME(side, "per_node", per_node_ps, COST_MORE_NODES, "a node beyond the second"),     \
    ROW_SIDE_TIME(side, "per_node_doubling", per_node_doubling_ps, COST_NODES,                     \
                  "times log2 of the nodes"),                                                      \
    ROW_SIDE_TIME(side, "per_rank_doubling", per_rank_doubling_ps, 0, "times log2 of the ranks"),  \
    ROW_SIDE_TIME(side, "per_expert", per_expert_ps, 0, "an expert: its counter and flag"),        \
    ROW_SIDE_TIME(side, "per_expert_group", per_expert_group_ps, 0, "an expert of one SM")
#define ROWS_NVLINK(side)                                                                          \
    ROW(#side "_nvlink_share", FIELD_NUMBER, AT_SIDE(side, nvlink_share), 1,                       \
        SIDE_##side | COST_NVLINK, "of NVLink's rate; 0: all"),                                    \
    ROW(#side "_peer_share", FIELD_NUMBER, AT_SIDE(side, peer_share), 1,                           \
        SIDE_##side | COST_NVLINK, "of it that bytes to one peer reach; 0: all"),                  \
    ROW(#side "_store_rate", FIELD_RATE, AT_SIDE(side, store_Bps), 1e15,                           \
        SIDE_##side | COST_NVLINK, "that one SM stores over NVLink; 0: no limit")
#define ROWS_KERNELS(side)                                                                         \
    ROW(#side "_kernels", FIELD_NUMBER, AT_SIDE(side, kernels), 1e9, SIDE_##side,                  \
        "launched around it: packing, summing")

#define ROW_NIC_SHARE(side)                                                                        \
    ROW(#side "_nic_share", FIELD_NUMBER, AT_SIDE(side, nic_share), 1, SIDE_##side | COST_NODES,   \
        "of a NIC's rate; 0: all")
#define ROW_POST(side)                                                                             \
    {.key = #side "_post_messages", .kind = FIELD_U32, .offset = AT_SIDE(side, post_messages),     \
     .max = 65536, .tag = SIDE_##side,                                                             \
     .help = "that CPU proxies post at a time, those to one peer at one cost; 0: each by itself"}

// Constants of the including file's cost model.
#define AT_OWN(member) (offsetof(struct dispatcher, own) + offsetof(OWN_CONSTANTS, member))
#define ROW_OWN(what, side, name, member, high, when, text)                                        \
    ROW(#side "_" name, what, AT_OWN(side.member), high, SIDE_##side | (when), text)
#define ROW_OWN_TIME(side, name, member, text)                                                     \
    ROW_OWN(FIELD_TIME, side, name, member, ROW_TIME_MAX, 0, text)
#define ROW_OWN_RATE(side, name, member, text)                                                     \
    ROW_OWN(FIELD_RATE, side, name, member, 1e15, 0, text)
#define ROW_OWN_NUMBER(side, name, member, when, text)                                             \
    ROW_OWN(FIELD_NUMBER, side, name, member, 1e9, when, text)

// Those that several have under the same name.
#define ROW_SM_RATE(side)                                                                          \
    ROW_OWN_RATE(side, "sm_rate", sm_Bps, "bytes that one SM moves in " #side "; 0: no limit")
#define ROW_COPY(side)                                                                             \
    ROW_OWN_TIME(side, "copy", copy_ps, "SM time of a copy, whatever its size")
#define ROW_TOKEN(side)                                                                            \
    ROW_OWN_TIME(side, "token", token_ps, "SM time of a token that a stage handles")
#define ROW_TOKEN_RATE(side)                                                                       \
    ROW_OWN_RATE(side, "token_rate", token_Bps, "and the rate of its bytes; 0: no limit")
#define ROW_COMBINE_SUM                                                                            \
    ROW("combine_sum", FIELD_TIME, AT_OWN(combine_sum_ps), ROW_TIME_MAX, COST_COMBINE,             \
        "SM time of a choice summed at its expert's rank")
#define ROW_HBM_SHARE(side)                                                                        \
    ROW_OWN(FIELD_NUMBER, side, "hbm_share", hbm_share, 1, COST_OF_MEMORY,                         \
            "of memory's rate: sums, packing; 0: no bound")
#define ROW_MIN(side)                                                                              \
    ROW_OWN_TIME(side, "least", min_ps,                                                            \
                 "laws stream (one node) and waves: from the first byte on, whatever moves")
// clang-format on

#define ROWS_COUNT(fields) (sizeof(fields) / sizeof(fields)[0])
// Members of a cost model.
#define ROWS_OF(array) .fields = array, .field_count = ROWS_COUNT(array)

#endif
