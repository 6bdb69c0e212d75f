// Cost model warps (TensorRT-LLM two-sided, cpp/tensorrt_llm/kernels/fusedMoeCommKernels.cu): one
// warp per (peer, channel) moves token after token. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

// Of one direction. SM times are of one SM.
struct warps_side {
    uint64_t per_warp_ps; // a warp of a block
    uint64_t copy_ps;     // of a copy, whatever its size
    double sm_Bps;
    uint64_t token_ps; // of a row through a warp, whatever its size
    double token_Bps;
    uint64_t scales_ps;                     // nvfp4's scales, a field of their own
    uint64_t quantise_ps, quantise_copy_ps; // nvfp4 made in the kernel: latency, SM time
};

struct warps_constants {
    struct warps_side dispatch, combine;
    uint64_t combine_sum_ps; // a token's sum
};

#define OWN_CONSTANTS struct warps_constants
#include "model/costs/rows.h"

// clang-format off
#define SIDE_COPIES(side)                                                                          \
    ROWS_START(side), ROW_SM_RATE(side), ROWS_GROWTH(side),                                        \
    ROW_OWN_TIME(side, "per_warp", per_warp_ps, "law warps: a warp of a block"),                   \
    ROW_COPY(side), ROW_TOKEN(side), ROW_TOKEN_RATE(side)
#define SIDE_REST(side)                                                                            \
    ROWS_NVLINK(side), ROWS_KERNELS(side),                                                         \
    ROW_OWN_TIME(side, "scales", scales_ps, "law warps: the scales of nvfp4"),                     \
    ROW_OWN_TIME(side, "quantise", quantise_ps, "law warps: nvfp4 made in the kernel"),            \
    ROW_OWN_TIME(side, "quantise_copy", quantise_copy_ps, "and its SM time a copy")

static const struct field fields[] = {
    ROWS_CHOICES,
    SIDE_COPIES(dispatch), SIDE_REST(dispatch),
    SIDE_COPIES(combine), ROW_COMBINE_SUM, SIDE_REST(combine),
};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

// The most tokens that a rank has for one peer, or one peer for it.
static double warps_lane_tokens(const struct kernel_costs *costs, uint32_t rank)
{
    const double *pair = costs->transfer->pair;
    const uint32_t ranks = costs->schedule->fabric.ranks;
    double max = 0;
    for (uint32_t r = 0; r < ranks; r++)
        max = fmax(max, fmax(pair[(size_t)rank * ranks + r], pair[(size_t)r * ranks + rank]));
    return max;
}

// Latency of a row through a warp, and SM time of a copy. nvfp4 that the kernel makes itself reads
// BF16 rows, and takes both longer; nvfp4 that is there already has its scales to send.
struct warps_row {
    double row_ps, copy_ps;
};

static struct warps_row warps_row(const struct kernel_costs *costs, const struct warps_side *side)
{
    const struct moe *moe = &costs->schedule->moe;
    const uint64_t bytes = costs->transfer->token_bytes;
    const enum dtype dtype = costs->transfer->gather ? moe->combine_dtype : moe->dispatch_dtype;
    const bool quantised = dtype == DTYPE_NVFP4_IN_KERNEL, scales = dtype == DTYPE_NVFP4;
    const double read = quantised ? 2.0 * moe_expert_hidden(moe) : (double)bytes;
    return (struct warps_row){.row_ps = (double)side->token_ps +
                                        kernel_bytes_ps(read, side->token_Bps) +
                                        (scales ? (double)side->scales_ps : 0) +
                                        (quantised ? (double)side->quantise_ps : 0),
                              .copy_ps = work_ps(side->copy_ps, bytes, side->sm_Bps) +
                                         (quantised ? (double)side->quantise_copy_ps : 0)};
}

// Half of the SMs' blocks send and half receive; a block serves up to eight peers, a warp each, so
// channels = floor(SMs / 2 / (2 ceil(EP / 8))). The latency of two rows comes first (pack and
// unpack); then the larger of a warp's rows one after another, and the SM work of a block's warps.
static void warps_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct warps_constants *own = (const void *)costs->own.bytes;
    const bool gather = costs->transfer->gather;
    const struct warps_side *side = gather ? &own->combine : &own->dispatch;
    const struct schedule *schedule = costs->schedule;
    const uint32_t ranks = schedule->fabric.ranks, half = schedule->cluster.sms / 2;
    const double blocks = ceil(ranks / 8.0), warps_of_block = ceil(ranks / blocks);
    const double channels = fmax(1, floor(half / (2 * blocks)));
    const double lane = warps_lane_tokens(costs, rank);
    const double of_warp = fmax(lane, lane > 0 ? 1 : 0) / channels;
    const struct warps_row row = warps_row(costs, side);
    times->head_ps += (double)side->per_warp_ps * warps_of_block + (lane > 0 ? 2 * row.row_ps : 0);
    times->min_ps =
        fmax(fmax(0, of_warp - 1) * row.row_ps, lane / channels * warps_of_block * row.copy_ps);
    if (gather)
        times->tail_ps = schedule->loads->tokens[rank] * (double)own->combine_sum_ps;
}

const struct cost_model cost_warps = {
    .name = "warps", ROWS_OF(fields), .sms = kernel_all_sms, .work = warps_work};
