// Cost model waves (TensorRT-LLM one-sided,
// cpp/tensorrt_llm/kernels/communicationKernels/moeAlltoAllKernels.cu; mori,
// src/ops/dispatch_combine/intranode.hpp, internode_v1.cpp): a block or warp per token, in waves;
// flags at the end. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

struct waves_constants {
    // Of one direction. SM times are of one SM.
    struct waves_side {
        uint64_t token_ps;      // of a token's block, whatever its copies
        uint64_t min_ps;        // from the first byte on, whatever moves
        uint64_t min_tray_ps;   // added above four ranks
        double row_Bps;         // and in one node of a row's way through its warp
        uint64_t wave_ps;       // tail of later waves
        uint64_t wave_inter_ps; // added with more than one node
        double stage_share;     // across nodes, of memory's rate: copies to and from the NICs'
                                // buffers by kernels of their own; 0: there are none
    } dispatch, combine;
};

#define OWN_CONSTANTS struct waves_constants
#include "model/costs/rows.h"

// clang-format off
#define SIDE(side)                                                                                 \
    ROWS_START(side), ROWS_GROWTH(side), ROW_TOKEN(side), ROWS_NVLINK(side), ROWS_KERNELS(side),   \
    ROW_MIN(side),                                                                                 \
    ROW_OWN_TIME(side, "least_tray", min_tray_ps, "law waves: added above four ranks"),            \
    ROW_OWN(FIELD_RATE, side, "row_rate", row_Bps, 1e15, COST_ONE_NODE,                            \
            "laws stream and waves: a row through one warp"),                                      \
    ROW_OWN_TIME(side, "wave", wave_ps, "law waves: tail of later waves"),                         \
    ROW_OWN(FIELD_TIME, side, "wave_inter", wave_inter_ps, ROW_TIME_MAX, COST_NODES,               \
            "law waves: added with more than one node"),                                           \
    ROW_OWN(FIELD_NUMBER, side, "stage_share", stage_share, 1, COST_NODES | COST_OF_MEMORY,        \
            "law waves: of memory's rate, copies around the NICs; 0: none")

static const struct field fields[] = {ROWS_CHOICES, SIDE(dispatch), SIDE(combine)};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

// Kernels around the one that moves data across nodes: dispatch first copies each token into a
// buffer that the NIC reads; combine first copies every row that a rank received, and at the end
// reads a row per node of each token and writes their sum.
static void waves_stage(const struct kernel_costs *costs, const struct waves_side *side,
                        uint32_t rank, struct kernel_times *times)
{
    const struct schedule *schedule = costs->schedule;
    const double Bps = side->stage_share * schedule->cluster.hbm_Bps;
    const double tokens = schedule->loads->tokens[rank];
    const double received =
        loads_received(costs->transfer->pair, schedule->fabric.ranks, rank);
    const double nodes = loads_nodes_per_token(schedule->loads);
    const double first = costs->transfer->gather ? received : tokens;
    const double last = costs->transfer->gather ? tokens * (nodes + 1) : 0;
    const double bytes = (double)costs->transfer->token_bytes;
    if (schedule->fabric.nodes == 1)
        return;
    times->head_ps += kernel_bytes_ps(2 * first * bytes, Bps);
    times->tail_ps += kernel_bytes_ps(last * bytes, Bps);
}

// The flag barrier takes its time whatever moves (the growth above four ranks stands in rows that
// have eight destinations a token as well: which of the two it is, they do not tell), and so does
// the way of one row through its warp. A block takes a token at a time, T x `token` / SMs: a
// token's copies are stores side by side, and show on two ranks alone, where wires are not the
// bottleneck. Eight blocks of an SM at a time: later waves fill in behind the first, a tail of
// `wave` x C / top-k that grows until the first wave is full (T = 8 SMs), unproven.
static void waves_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct waves_constants *own = (const void *)costs->own.bytes;
    const struct waves_side *side = costs->transfer->gather ? &own->combine : &own->dispatch;
    const struct schedule *schedule = costs->schedule;
    const bool crosses = schedule->fabric.nodes > 1;
    const double tokens = schedule->loads->tokens[rank], sms = schedule->cluster.sms;
    const double copies = work_copies_per_token(costs, rank);
    const double row = crosses || tokens <= 0
                           ? 0
                           : kernel_bytes_ps((double)costs->transfer->token_bytes, side->row_Bps);
    const double flags =
        (double)side->min_ps + (schedule->fabric.ranks > 4 ? (double)side->min_tray_ps : 0);
    const double wave = (double)side->wave_ps + (crosses ? (double)side->wave_inter_ps : 0);
    const double work = fmax(row, tokens * (double)side->token_ps / sms);
    times->min_ps = fmax(flags, work);
    times->min_fixed_ps = flags < times->min_ps ? 0 : flags;
    times->tail_ps = wave * copies / fmax(1, schedule->moe.topk) * fmin(1, tokens / (8 * sms));
    waves_stage(costs, side, rank, times);
}

const struct cost_model cost_waves = {
    .name = "waves", ROWS_OF(fields), .sms = kernel_all_sms, .work = waves_work};
