// Attention of one rank: MLA modules (all projections with the attention, absorbed in decode) and
// GQA kernels (attention alone).
#ifndef MODEL_COSTS_ATTENTION_H
#define MODEL_COSTS_ATTENTION_H

#include "model/costs/gemm.h"

enum attention_kind {
    ATTENTION_MLA_DECODE,
    ATTENTION_MLA_PREFILL,
    ATTENTION_GQA_DECODE,
    ATTENTION_GQA_PREFILL,
};

// Widths of multi-head latent attention, as a config.json has them.
struct mla_widths {
    double hidden, q_rank, kv_rank, nope, rope, value;
};
#define MLA_WIDTHS_V3                                                                              \
    {                                                                                              \
        .hidden = 7168, .q_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128      \
    }

struct attention_shape {
    enum attention_kind kind;
    double batch;   // sequences of the rank
    double tokens;  // of a sequence that are computed: decode 1 and its drafts, prefill the chunk
    double context; // tokens of a sequence's KV cache, those included
    double heads;   // of the rank
    double kv_heads, head_dim; // GQA
    struct mla_widths mla;
    bool fp8_weights; // of the projections (MLA); else BF16
    bool fp8_math;    // GQA prefill: queries and keys in FP8; else BF16
    bool fp8_kv;      // the cache; else BF16
};

struct attention_constants {
    struct mla_decode {
        uint64_t start_ps;
        double kv_memory;     // share of the memory rate that the cache is read at
        double flops;         // of the attention, share of the BF16 rate
        double weight_memory; // share of the memory rate that projections are read at
        double weight_flops;  // of the projections, share of their type's rate
        double norm;          // how operations and memory add up in each of the two
        double few_rows;      // projections take that much more below 1,024 batch x heads
    } mla_decode;
    struct mla_prefill {
        uint64_t start_ps, sequence_ps, sequence_head_ps;
        double flops, weight_flops; // as in decode
        double norm;                // how the start and the work add up
    } mla_prefill;
    struct gqa_decode {
        struct roofline roofline;
        uint64_t tile_ps;     // of 64 query heads of one KV head and sequence, all SMs together
        uint64_t tile_dim_ps; // and 128 of head dimension
    } gqa_decode[2];          // cache of BF16, FP8
    struct roofline gqa_prefill[2]; // BF16, FP8
};

// Whether there are constants of that kind.
bool attention_known(const struct attention_constants *constants,
                     const struct attention_shape *shape);

// Picoseconds, its start included.
double attention_ps(const struct attention_constants *constants, const struct cluster *cluster,
                    const struct attention_shape *shape);

// Weights of the projections of one MLA layer on a rank with so many heads.
double attention_mla_weights(const struct mla_widths *widths, double heads);

// clang-format off
#define MLA_DECODE_ROWS(member, when)                                                              \
    KERNEL_TIME("mla_decode_start", member.start_ps, when, "MLA decode: with nothing to do"),      \
    KERNEL_NUMBER("mla_decode_kv_memory", member.kv_memory, 3, when, "share of hbm, KV cache"),    \
    KERNEL_NUMBER("mla_decode_flops", member.flops, 3, when, "attention, share of bf16"),          \
    KERNEL_NUMBER("mla_decode_weight_memory", member.weight_memory, 3, when,                       \
                  "share of hbm, projections"),                                                    \
    KERNEL_NUMBER("mla_decode_weight_flops", member.weight_flops, 3, when,                         \
                  "projections, share of the dense rate of their type"),                           \
    KERNEL_NUMBER("mla_decode_norm", member.norm, 100, when, "how operations and memory add up"),  \
    KERNEL_NUMBER("mla_decode_few_rows", member.few_rows, 10, when,                                \
                  "projections take this much more below 1,024 batch x heads")
#define MLA_PREFILL_ROWS(member, when)                                                             \
    KERNEL_TIME("mla_prefill_start", member.start_ps, when, "MLA prefill: with nothing to do"),    \
    KERNEL_TIME("mla_prefill_sequence", member.sequence_ps, when, "of a sequence"),                \
    KERNEL_TIME("mla_prefill_sequence_head", member.sequence_head_ps, when,                        \
                "of a sequence and head"),                                                         \
    KERNEL_NUMBER("mla_prefill_flops", member.flops, 3, when, "attention, share of bf16"),         \
    KERNEL_NUMBER("mla_prefill_weight_flops", member.weight_flops, 3, when,                        \
                  "projections, share of the dense rate of their type"),                           \
    KERNEL_NUMBER("mla_prefill_norm", member.norm, 100, when, "how start and work add up")
#define GQA_DECODE_ROWS(name, member, when, what)                                                  \
    ROOFLINE_ROWS(name, member.roofline, when, what),                                              \
    KERNEL_TIME(name "_tile", member.tile_ps, when, "of a sequence, KV head and 64 query heads"),  \
    KERNEL_TIME(name "_tile_dim", member.tile_dim_ps, when, "and 128 of head dimension")
// clang-format on

#endif
