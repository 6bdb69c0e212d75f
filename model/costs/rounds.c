// Cost model rounds (NCCL EP low latency, nccl_ep/device/ll_ep.cuh): a send kernel stores a copy
// per rank straight to it, a token of each SM at a time, while the wires move what is under way;
// then, behind a grid sync, the receiver's warps write each row once per chosen expert. Combine is
// as in `staged`. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

// SM times are of one SM.
struct rounds_constants {
    struct rounds_dispatch {
        uint64_t token_ps; // of a round: barrier, slot, release, whatever is in it
        double token_Bps;
        double row_Bps;     // one row through one warp
        double ramp_tokens; // half of that at so many tokens; FP8 rows take all of it at once
        uint64_t copy_ps;   // of a row written for an expert, whatever its size
        double sm_Bps;
    } dispatch;
    struct home_sums combine;
};

#define OWN_CONSTANTS struct rounds_constants
#include "model/costs/rows.h"

// clang-format off
static const struct field fields[] = {
    ROWS_CHOICES,
    ROW_VERSION,
    ROWS_START(dispatch), ROW_SM_RATE(dispatch), ROWS_GROWTH(dispatch), ROW_COPY(dispatch),
    ROW_TOKEN(dispatch), ROW_TOKEN_RATE(dispatch),
    ROW_OWN_RATE(dispatch, "row_rate", row_Bps, "of one row through one warp; 0: no limit"),
    ROW_OWN_NUMBER(dispatch, "ramp_half", ramp_tokens, 0, "tokens at which half of it is seen"),
    ROWS_NVLINK(dispatch), ROWS_KERNELS(dispatch),
    ROWS_START(combine), ROW_SM_RATE(combine), ROWS_GROWTH(combine), ROW_TOKEN(combine),
    ROW_TOKEN_RATE(combine), ROWS_NVLINK(combine), ROW_HBM_SHARE(combine), ROWS_KERNELS(combine),
};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

// Of the BF16 row that a warp reads. Stores of several tokens wait for each other; where FP8 is
// made the row passes through the warp value by value, at one token already.
static double row_path_ps(const struct kernel_costs *costs, double tokens)
{
    const struct rounds_constants *own = (const void *)costs->own.bytes;
    const struct moe *moe = &costs->schedule->moe;
    const double whole = kernel_bytes_ps(2.0 * moe_expert_hidden(moe), own->dispatch.row_Bps);
    return moe->dispatch_dtype == DTYPE_FP8 ? whole
                                            : whole * tokens / (tokens + own->dispatch.ramp_tokens);
}

// SM s sends tokens s, s + S, ...: ceil(T / S) rounds of `token` + B / `token_rate` beside the
// wires, one after another, for all its warps meet at a barrier between two tokens. Rows for a
// rank's experts are shared out over all of its SMs, wherever they come from.
static void rounds_dispatch(const struct kernel_costs *costs, uint32_t rank,
                            struct kernel_times *times)
{
    const struct rounds_dispatch *own =
        &((const struct rounds_constants *)(const void *)costs->own.bytes)->dispatch;
    const struct loads *loads = costs->schedule->loads;
    const double sms = costs->sms, tokens = loads->tokens[rank];
    const uint64_t bytes = costs->transfer->token_bytes;
    if (tokens > 0) {
        times->head_ps += row_path_ps(costs, tokens);
        times->min_ps = ceil(tokens / sms) * work_ps(own->token_ps, bytes, own->token_Bps);
    }
    times->tail_ps = loads_received(loads->expert_copies, loads->ranks, rank) *
                     work_ps(own->copy_ps, bytes, own->sm_Bps) / sms;
}

static void rounds_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct rounds_constants *own = (const void *)costs->own.bytes;
    if (costs->transfer->gather)
        times->tail_ps = work_home_sums_ps(costs, rank, &own->combine);
    else
        rounds_dispatch(costs, rank, times);
}

const struct cost_model cost_rounds = {
    .name = "rounds", ROWS_OF(fields), .sms = kernel_expert_sms, .work = rounds_work};
