// Rooflines of kernels, and dense matrix products: m x k times k x n.
//
// A roofline (Williams et al. 2009): operations over the rate that a kernel's matrix products
// reach, bytes over the rate that it reads memory at. Kernels overlap the two in part, and a norm
// between the larger and the sum says how far.
#ifndef MODEL_COSTS_GEMM_H
#define MODEL_COSTS_GEMM_H

#include "base/field.h"
#include "model/cluster.h"

#include <stdint.h>

struct roofline {
    uint64_t start_ps; // with nothing to do: launch, prologue, tail
    double memory;     // share of the cluster's effective memory rate (hbm)
    double flops;      // share of the GPU's dense rate; 0: the kernel has no constants
    double norm;       // how the two add up: 1 their sum; 0: the larger of them
};

struct roofline_work {
    double flops, bytes;
    double peak_flops; // dense rate of the GPU for these operands, a second
};

// Norm p of times; 0: the largest alone. Zeros are no bounds.
double roofline_norm(const double *ps, size_t count, double p);

// Picoseconds of the work beyond the start.
double roofline_ps(const struct roofline *roofline, const struct cluster *cluster,
                   const struct roofline_work *work);

// Rows of a field table (model/costs/kernels.c): `name` of the kernel, `member` of struct kernels.
// clang-format off
#define KERNEL_ROW(name, what, member, low, high, when, text)                                      \
    {.key = name, .kind = what, .offset = offsetof(struct kernels, member), .min = low,            \
     .max = high, .tag = when, .help = text}
#define KERNEL_TIME(name, member, when, text)                                                      \
    KERNEL_ROW(name, FIELD_TIME, member, 0, 1e12, when, text)
#define KERNEL_NUMBER(name, member, high, when, text)                                              \
    KERNEL_ROW(name, FIELD_NUMBER, member, 0, high, when, text)
#define ROOFLINE_ROWS(name, member, when, what)                                                    \
    KERNEL_TIME(name "_start", member.start_ps, when, what ": with nothing to do"),                \
    KERNEL_NUMBER(name "_memory", member.memory, 3, when, "share of the memory rate (hbm)"),       \
    KERNEL_NUMBER(name "_flops", member.flops, 3, when, "share of the dense rate of its operands"),\
    KERNEL_NUMBER(name "_norm", member.norm, 100, when,                                            \
                  "how operations and memory add up: 1 their sum; 0: the larger")
// clang-format on

// ---- products ----------------------------------------------------------------------------------

// By operands: BF16; FP8 with one scale for a matrix or a row; FP8 with a scale for every block of
// 128 values, as DeepSeek's checkpoints have it.
enum gemm_kind { GEMM_BF16, GEMM_FP8, GEMM_FP8_BLOCK, GEMM_KINDS };

#define GEMM_INNER 7168.0

struct gemm_constants {
    struct roofline roofline;
    uint64_t inner_ps; // one tile's path through an inner dimension of GEMM_INNER; others in
                       // proportion: a bound beside operations and memory
    double tile_rows;  // of output tiles that run in whole waves over the SMs; 0: as rows are
};

struct gemm_shape {
    enum gemm_kind kind;
    double m, n, k;  // output is m x n
    double sm_share; // (0..1] of the GPU's SMs that it may use
};

// Whether there are constants; without them gemm_ps is not to be asked.
static inline bool gemm_known(const struct gemm_constants *constants)
{
    return constants->roofline.flops > 0;
}

// Picoseconds, its start included.
double gemm_ps(const struct gemm_constants constants[GEMM_KINDS], const struct cluster *cluster,
               const struct gemm_shape *shape);

// clang-format off
#define GEMM_ROWS(name, member, when, what)                                                        \
    ROOFLINE_ROWS(name, member.roofline, when, what),                                              \
    KERNEL_TIME(name "_inner", member.inner_ps, when,                                              \
                "a tile's path through an inner dimension of 7168"),                               \
    KERNEL_NUMBER(name "_tile", member.tile_rows, 1024, when,                                      \
                  "rows of a tile of whole waves, 128 wide; 0: no waves")
// clang-format on

#endif
