// Cost model staged (DeepEP low-latency, csrc/kernels/internode_ll.cu): a send kernel casts every
// token, then wires move them, then a receive kernel unpacks; a grid sync stands between. In
// combine the sum of each token's copies comes last. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

// SM times are of one SM.
struct staged_constants {
    struct staged_dispatch {
        uint64_t copy_ps;  // of a copy received, whatever its size
        double sm_Bps;     // copy rate
        uint64_t token_ps; // of a token cast, whatever its size
        double token_Bps;
    } dispatch;
    struct home_sums combine;
    uint64_t combine_shared_sm_ps; // where an SM serves several experts
};

#define OWN_CONSTANTS struct staged_constants
#include "model/costs/rows.h"

// clang-format off
static const struct field fields[] = {
    ROWS_CHOICES,
    ROWS_START(dispatch), ROW_POST(dispatch), ROW_SM_RATE(dispatch), ROWS_GROWTH(dispatch),
    ROW_COPY(dispatch), ROW_TOKEN(dispatch), ROW_TOKEN_RATE(dispatch), ROWS_NVLINK(dispatch),
    ROWS_KERNELS(dispatch),
    ROWS_START(combine), ROW_POST(combine), ROW_SM_RATE(combine), ROWS_GROWTH(combine),
    ROW("combine_shared_sm", FIELD_TIME, AT_OWN(combine_shared_sm_ps), ROW_TIME_MAX, COST_COMBINE,
        "added where an SM serves several experts"),
    ROW_TOKEN(combine),
    ROW_TOKEN_RATE(combine), ROWS_NVLINK(combine), ROW_HBM_SHARE(combine), ROWS_KERNELS(combine),
};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

static const struct staged_constants *staged_own(const struct kernel_costs *costs)
{
    return (const void *)costs->own.bytes;
}

// An SM casts one token at a time with all its warps, so a round costs `token` + B / `token_rate`
// whatever is hidden in it; all is cast before the first byte leaves. Received copies are shared
// out over the SMs.
static void staged_dispatch(const struct kernel_costs *costs, uint32_t rank,
                            struct kernel_times *times)
{
    const struct staged_dispatch *own = &staged_own(costs)->dispatch;
    const double sms = costs->sms, tokens = costs->schedule->loads->tokens[rank];
    const uint64_t bytes = costs->transfer->token_bytes;
    times->head_ps +=
        tokens > 0 ? work_rounds(tokens, sms) * work_ps(own->token_ps, bytes, own->token_Bps) : 0;
    times->tail_ps = loads_received(costs->transfer->pair, costs->schedule->fabric.ranks, rank) *
                     work_ps(own->copy_ps, bytes, own->sm_Bps) / sms;
}

static void staged_combine(const struct kernel_costs *costs, uint32_t rank,
                           struct kernel_times *times)
{
    const struct staged_constants *own = staged_own(costs);
    if (kernel_expert_groups(costs->schedule) > 1) {
        times->head_ps += (double)own->combine_shared_sm_ps;
        times->head_fixed_ps += (double)own->combine_shared_sm_ps;
    }
    times->tail_ps = work_home_sums_ps(costs, rank, &own->combine);
}

static void staged_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    (costs->transfer->gather ? staged_combine : staged_dispatch)(costs, rank, times);
}

const struct cost_model cost_staged = {
    .name = "staged", ROWS_OF(fields), .sms = kernel_expert_sms, .work = staged_work};
