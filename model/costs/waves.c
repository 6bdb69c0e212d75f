// Cost model waves (TensorRT-LLM one-sided,
// cpp/tensorrt_llm/kernels/communicationKernels/moeAlltoAllKernels.cu): a block per token, launched
// in waves; one flag barrier. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

struct waves_constants {
    // Of one direction. SM times are of one SM.
    struct waves_side {
        uint64_t token_ps;    // of a token's block, whatever its copies
        uint64_t min_ps;      // from the first byte on, whatever moves
        uint64_t min_tray_ps; // added above four ranks
        uint64_t wave_ps;     // tail of later waves
    } dispatch, combine;
};

#define OWN_CONSTANTS struct waves_constants
#include "model/costs/rows.h"

// clang-format off
#define SIDE(side)                                                                                 \
    ROWS_START(side), ROWS_GROWTH(side), ROW_TOKEN(side), ROWS_NVLINK(side), ROWS_KERNELS(side),   \
    ROW_MIN(side),                                                                                 \
    ROW_OWN_TIME(side, "least_tray", min_tray_ps, "law waves: added above four ranks"),            \
    ROW_OWN_TIME(side, "wave", wave_ps, "law waves: tail of later waves")

static const struct field fields[] = {ROWS_CHOICES, SIDE(dispatch), SIDE(combine)};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

// The flag barrier takes its time whatever moves (the growth above four ranks stands in rows that
// have eight destinations a token as well: which of the two it is, they do not tell). A block takes
// a token at a time, T x `token` / SMs: a token's copies are stores side by side, and show on two
// ranks alone, where wires are not the bottleneck. Eight blocks of an SM at a time: later waves fill
// in behind the first, a tail of `wave` x C / top-k that grows until the first wave is full (T = 8
// SMs), unproven.
static void waves_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct waves_constants *own = (const void *)costs->own.bytes;
    const struct waves_side *side = costs->transfer->gather ? &own->combine : &own->dispatch;
    const struct schedule *schedule = costs->schedule;
    const double tokens = schedule->loads->tokens[rank], sms = schedule->cluster.sms;
    const double copies = work_copies_per_token(costs, rank);
    const double flags =
        (double)side->min_ps + (schedule->fabric.ranks > 4 ? (double)side->min_tray_ps : 0);
    times->min_ps = fmax(flags, tokens * (double)side->token_ps / sms);
    times->min_fixed_ps = flags < times->min_ps ? 0 : flags;
    times->tail_ps =
        (double)side->wave_ps * copies / fmax(1, schedule->moe.topk) * fmin(1, tokens / (8 * sms));
}

const struct cost_model cost_waves = {
    .name = "waves", ROWS_OF(fields), .sms = kernel_all_sms, .work = waves_work};
