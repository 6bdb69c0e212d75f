// The experts of one rank: two grouped matrix products and what stands around them, from rows that
// dispatch has brought to rows that combine takes.
#ifndef MODEL_COSTS_GROUPED_GEMM_H
#define MODEL_COSTS_GROUPED_GEMM_H

#include "model/costs/gemm.h"

// How rows are laid out. Masked: room for as many rows of every expert as may come, in a CUDA graph
// (decode after low-latency dispatch). Contiguous: experts one after another, known only when
// counts are, launched kernel by kernel with a gather before and a sum behind (prefill). Fused:
// rows stay where tokens are, routing and sum included, tensor parallelism too.
enum grouped_kind { GROUPED_MASKED, GROUPED_CONTIGUOUS, GROUPED_FUSED, GROUPED_KINDS };

#define GROUPED_HIDDEN 7168.0

struct grouped_constants {
    struct roofline roofline;
    uint64_t token_ps;  // of a token of GROUPED_HIDDEN values of the input: gather and sum
    double launch_norm; // how the start and the work add up: 1 their sum
};

struct grouped_shape {
    enum grouped_kind kind;
    double rows;    // chosen copies that the rank computes
    double padded;  // the same, each expert's in whole tiles (grouped_tile)
    double touched; // experts with a row: their weights are read
    double tokens;  // of the input
    double hidden, intermediate;
    double weight_bytes; // of one weight, scales included
    bool ungated;        // an expert is two matrices, no gate
    bool fp8;            // products of FP8, else of BF16
};

static inline bool grouped_known(const struct grouped_constants *constants)
{
    return constants->roofline.flops > 0;
}

// Rows of a tile, and an expert's rows in whole tiles: of a mean over draws in which it has any,
// the last is half full.
double grouped_tile(enum grouped_kind kind);
double grouped_padded(enum grouped_kind kind, double rows);

// A gated FFN: up and gate (hidden -> 2 x intermediate), then down: 3 x hidden x intermediate
// weights of every touched expert are read once, 2 operations each and row. Of a row hidden states
// in and out and the intermediate written twice and read once, all BF16. Ungated: one matrix and
// one writing of the intermediate less.
struct roofline_work grouped_work(const struct grouped_shape *shape, const struct cluster *cluster);

// Picoseconds, its start included.
double grouped_gemm_ps(const struct grouped_constants constants[GROUPED_KINDS],
                       const struct cluster *cluster, const struct grouped_shape *shape);

// clang-format off
#define GROUPED_ROWS(name, member, when, what)                                                     \
    ROOFLINE_ROWS(name, member.roofline, when, what),                                              \
    KERNEL_TIME(name "_token", member.token_ps, when,                                              \
                "of a token of 7168 values: gather and sum"),                                      \
    KERNEL_NUMBER(name "_launch_norm", member.launch_norm, 100, when,                              \
                  "how the start and the work add up: 1 their sum")
// clang-format on

#endif
