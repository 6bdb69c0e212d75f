// Cost model stream (DeepEP normal, csrc/kernels/legacy): SMs copy chunk by chunk while wires move
// other chunks; the larger is the bottleneck. Engines serve the copies themselves (struct
// copy_times); what is left for a rank's times is what did not overlap. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

// Of one direction. SM times are of one SM.
struct stream_side {
    uint64_t copy_ps;        // of a copy, whatever its size
    uint64_t lane_copy_ps;   // of a copy, in turn with its peer's; peers of a node side by side
    uint64_t shared_copy_ps; // of a copy, by something that all SMs share: not SM time
    double sm_Bps;           // copy (dispatch) or reduce (combine) rate
    uint64_t token_ps;       // of a token that a stage handles, whatever its copies
    double token_Bps;        // and what its bytes add
    double row_Bps;          // latency of a row through one warp
    double ramp_tokens, ramp_half_tokens; // rows of a channel that do not overlap
    double large_work; // one node: SM time grows by this share times V / (1 + V), V gigabytes
                       // received; where it comes from is not known
    double inter_work; // SM time with more than one node over that of one; 0: the same
    double hbm_share;  // of memory's rate: packing before and summing after; 0: neither takes time
    uint64_t min_ps;   // one node: from the first byte on, whatever moves
    uint64_t lane_ps;  // across nodes: a token to one peer, which follow each other
};

struct stream_constants {
    struct stream_side dispatch, combine;
    uint64_t combine_sum_ps; // a choice summed where its expert is
};

#define OWN_CONSTANTS struct stream_constants
#include "model/costs/rows.h"

// clang-format off
#define SIDE_COPIES(side)                                                                          \
    ROWS_START(side), ROW_SM_RATE(side), ROWS_GROWTH(side), ROW_COPY(side),                        \
    ROW_OWN_TIME(side, "lane_copy", lane_copy_ps, "law stream: of a copy, in turn with its peer's"), \
    ROW_OWN_TIME(side, "shared_copy", shared_copy_ps,                                              \
                 "law stream: of a copy, by what all SMs share"),                                  \
    ROW_TOKEN(side),                                                                               \
    ROW_TOKEN_RATE(side)
#define SIDE_REST(side)                                                                            \
    ROW_OWN_RATE(side, "row_rate", row_Bps, "law stream: a row through one warp"),                 \
    ROW_OWN_NUMBER(side, "ramp_tokens", ramp_tokens, 0, "rows of a channel that do not overlap"),  \
    ROW_OWN_NUMBER(side, "ramp_half", ramp_half_tokens, 0, "rows of a channel at half of that"),   \
    ROW_OWN_NUMBER(side, "large_work", large_work, COST_ONE_NODE,                                  \
                   "growth of SM time with gigabytes received"),                                   \
    ROW_OWN_NUMBER(side, "inter_work", inter_work, COST_NODES,                                     \
                   "SM time across nodes over that of one"),                                       \
    ROWS_NVLINK(side), ROW_NIC_SHARE(side), ROW_HBM_SHARE(side), ROWS_KERNELS(side),               \
    ROW_MIN(side),                                                                                 \
    ROW_OWN(FIELD_TIME, side, "lane", lane_ps, ROW_TIME_MAX, COST_NODES,                           \
            "law stream: a token over the rail to one node, one after another")

static const struct field fields[] = {
    ROWS_CHOICES,
    SIDE_COPIES(dispatch), SIDE_REST(dispatch),
    SIDE_COPIES(combine), ROW_COMBINE_SUM, SIDE_REST(combine),
};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

static const struct stream_constants *stream_own(const struct kernel_costs *costs)
{
    return (const void *)costs->own.bytes;
}

static const struct stream_side *stream_side(const struct kernel_costs *costs)
{
    const struct stream_constants *own = stream_own(costs);
    return costs->transfer->gather ? &own->combine : &own->dispatch;
}

// How much longer SMs take than their constants say. Across nodes other kernels run (internode.cu,
// not intranode.cu), whose SM time is `inter_work` times that of those inside one; in one node by up
// to `large_work` as the bytes that a rank receives pass a gigabyte, address translation suspected:
// V / (1 + V) is 0 for few and 1 for many.
static double stream_growth(const struct kernel_costs *costs)
{
    const struct stream_side *side = stream_side(costs);
    const struct transfer *transfer = costs->transfer;
    const size_t ranks = costs->schedule->fabric.ranks;
    if (costs->schedule->fabric.nodes > 1)
        return side->inter_work > 0 ? side->inter_work : 1;
    const double copies = loads_sum(transfer->pair, ranks * ranks);
    const double received = copies / (double)ranks * (double)transfer->token_bytes / 1e9;
    return 1 + side->large_work * received / (1 + received);
}

// A copy takes `copy` + B / `sm_rate` of one SM, a token that a stage visits `token` + B /
// `token_rate`; a channel has S / channels SMs. Beside that a copy takes `shared_copy` of something
// that all SMs share: with S SMs a rank's work takes A / S + n x `shared_copy`, n copies, in rows
// of 4 to 24 SMs, whatever the size of a row; all channels wait for it in turn. At home a token is
// visited once for all the nodes it goes to: each node's copy carries its share of the visit.
static struct copy_times stream_copies(const struct kernel_costs *costs)
{
    const struct stream_side *side = stream_side(costs);
    const struct dispatcher *dispatcher = &costs->schedule->dispatcher;
    const uint64_t bytes = costs->transfer->token_bytes;
    const double sms = (double)costs->sms / costs->transfer->channels; // of a channel
    const double nodes = loads_nodes_per_token(costs->schedule->loads);
    const double growth = stream_growth(costs);
    const bool crosses = costs->schedule->fabric.nodes > 1 || !dispatcher->one_stage_inside;
    const double lane = (double)side->lane_copy_ps / costs->schedule->fabric.gpus_per_node;
    struct copy_times times = {
        .copy_ps = (work_ps(side->copy_ps, bytes, side->sm_Bps) + lane) * growth / sms +
                   (double)side->shared_copy_ps * costs->transfer->channels,
        .visit_ps = work_ps(side->token_ps, bytes, side->token_Bps) * growth / sms};
    if (crosses && !dispatcher->no_home_copy) {
        times.home_ps = times.copy_ps + (nodes > 0 ? times.visit_ps / nodes : 0);
        times.visit_ps = 0;
    }
    return times;
}

// SM time of a channel that one of a rank's tokens asks for. In dispatch what is not overlapped is
// the receiving side's alone.
static double stream_token_ps(const struct kernel_costs *costs, double copies)
{
    const struct transfer *transfer = costs->transfer;
    const struct schedule *schedule = costs->schedule;
    const bool crosses = transfer->rail && transfer->gather && schedule->fabric.nodes > 1;
    const double nodes = crosses ? loads_nodes_per_token(schedule->loads) : 0;
    return (transfer->rail ? nodes * costs->copies.home_ps + costs->copies.visit_ps : 0) +
           copies * costs->copies.copy_ps;
}

// The most tokens that a rank has for a node other than its own.
static double stream_lane_tokens(const struct kernel_costs *costs, uint32_t rank)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const double *node = costs->transfer->node + (size_t)rank * fabric->nodes;
    double max = 0;
    for (uint32_t n = 0; costs->transfer->rail && n < fabric->nodes; n++)
        if (n != fabric_node(fabric, rank))
            max = fmax(max, node[n]);
    return max;
}

// What a transfer takes at least from its first byte on. Where CPU proxies hand messages to the
// NIC, with few under way to a peer at a time, those to one peer follow each other while peers go
// side by side: so few nodes are as slow as many until the NIC is the bottleneck.
static void set_stream_min(const struct kernel_costs *costs, uint32_t rank,
                           struct kernel_times *times)
{
    const struct stream_side *side = stream_side(costs);
    if (costs->schedule->fabric.nodes == 1)
        times->min_ps = times->min_fixed_ps = (double)side->min_ps;
    else if (side->lane_ps > 0)
        times->min_ps = stream_lane_tokens(costs, rank) * (double)side->lane_ps;
}

// Behind the last byte: one row through one warp (in combine C / (C + 1) of it, for sources
// overlap), and the ramp, the rows of a channel whose work overlaps nothing. It is a channel's
// effect: residuals over tokens collapse on n = T / channels, as A n / (n + n0). Why it saturates
// near a chunk a rank is plausible, not proven.
static void stream_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct stream_side *side = stream_side(costs);
    const struct schedule *schedule = costs->schedule;
    const bool gather = costs->transfer->gather;
    const uint64_t sum_ps = gather ? stream_own(costs)->combine_sum_ps : 0;
    const double tokens = work_posted_tokens(schedule, rank);
    const double copies = work_copies_per_token(costs, rank);
    const double n = fmax(1, tokens / costs->transfer->channels);
    set_stream_min(costs, rank, times);
    if (sum_ps > 0)
        times->head_ps +=
            loads_received(schedule->loads->expert_copies, schedule->fabric.ranks, rank) *
            (double)sum_ps / costs->sms;
    if (tokens > 0) {
        const double lead = kernel_bytes_ps((double)costs->transfer->token_bytes, side->row_Bps);
        times->tail_ps = gather ? lead * copies / (copies + 1) : lead;
        if (side->ramp_tokens > 0)
            times->tail_ps += side->ramp_tokens * n / (n + side->ramp_half_tokens) *
                              stream_token_ps(costs, copies);
    }
    work_through_memory(costs, side->hbm_share, rank, times);
}

const struct cost_model cost_stream = {.name = "stream",
                                       ROWS_OF(fields),
                                       .moves_bytes = true,
                                       .work = stream_work,
                                       .copies = stream_copies};
