#include "model/engine/compute.h"

#include <assert.h>
#include <gsl/gsl_cdf.h>
#include <math.h>

#define BF16_BYTES 2.0

struct work {
    double flop_seconds, bytes;
    double inner;       // inner dimensions of matrix products, one after another
    double own_kernels; // experts whose kernels are launched one expert after another
    uint32_t launches;
};

// Roofline (Williams et al. 2009): operations over the rate that GEMMs reach, bytes over memory's
// rate, a tile's path through the inner dimension of each product, and launches of experts' own
// kernels. The largest is the time where they overlap throughout; products of few rows overlap in
// part, and a norm between the largest and the sum says how far. Launches follow one another on
// top. On a healthy GPU that a rank has for itself.
static double products_ps(const struct cluster *cluster, const struct work *work)
{
    const double bounds[] = {
        work->flop_seconds * 1e12,
        work->bytes / cluster->hbm_Bps * 1e12,
        work->inner / CLUSTER_GEMM_INNER * (double)cluster->gemm_min_ps,
        cluster_launches_ps(cluster, work->own_kernels * (double)cluster->expert_launch_ps),
    };
    return roofline_norm(bounds, sizeof bounds / sizeof bounds[0], cluster->roofline_norm) +
           cluster_launches_ps(cluster, (double)(work->launches * cluster->kernel_launch_ps));
}

// Two products in BF16, one into the latent space before dispatch and one out of it: that after
// combine is counted here too, for no phase follows combine.
static double latent_ps(const struct schedule *schedule, double tokens)
{
    const struct cluster *cluster = &schedule->cluster;
    const double hidden = schedule->moe.hidden, latent = schedule->moe.latent;
    const double rate = cluster->bf16_flops * cluster->gemm_efficiency;
    const struct work work = {.flop_seconds = 2 * tokens * 2 * hidden * latent / rate,
                              .bytes =
                                  2 * (tokens * (hidden + latent) + hidden * latent) * BF16_BYTES,
                              .inner = hidden + latent,
                              .launches = 2};
    return latent > 0 ? products_ps(cluster, &work) : 0;
}

// Scores are one product, T x hidden x experts in BF16: 2 operations a multiply-add; T rows and the
// weights are read. Selection (groups, top-k, weights) is a kernel of its own that looks at every
// expert's score: `select`.
static double router_ps(const struct schedule *schedule, double tokens)
{
    const struct cluster *cluster = &schedule->cluster;
    const double hidden = schedule->moe.hidden, experts = schedule->moe.experts;
    const double rate = cluster->bf16_flops * cluster->gemm_efficiency;
    const struct work work = {.flop_seconds = tokens * 2 * hidden * experts / rate,
                              .bytes = (tokens * hidden + hidden * experts) * BF16_BYTES,
                              .inner = hidden,
                              .launches = 2};
    return products_ps(cluster, &work) + latent_ps(schedule, tokens) +
           tokens * experts / CLUSTER_SELECT_EXPERTS * (double)cluster->select_ps;
}

// On the rank's own GPU, or its share of one.
static double own_gpu_ps(const struct schedule *schedule, uint32_t rank, double healthy_ps)
{
    const double alone = healthy_ps * fabric_work(&schedule->fabric, rank);
    return ceil(cluster_computed_ps(&schedule->cluster, alone));
}

// What the experts' products run in: weights that are quantised alone compute in BF16; NVFP4 at
// FP8's rate, for want of its own.
static bool computes_in_fp8(const struct moe *moe)
{
    return moe->activation_dtype != DTYPE_BF16 && moe->activation_dtype != DTYPE_FP32;
}

// An FFN, and the share of the SMs that it has.
struct ffn_shape {
    double hidden, intermediate, sm_share;
};

// The products of one FFN; on a share of the SMs the operations take longer, not memory.
static struct work ffn_work(const struct schedule *schedule, double rows,
                            const struct ffn_shape *of)
{
    const struct moe *moe = &schedule->moe;
    const struct cluster *cluster = &schedule->cluster;
    const struct grouped_shape shape = {.rows = rows,
                                        .padded = rows,
                                        .touched = 1,
                                        .hidden = of->hidden,
                                        .intermediate = of->intermediate,
                                        .weight_bytes = moe_weight_bytes(moe),
                                        .ungated = !moe->gated,
                                        .fp8 = computes_in_fp8(moe)};
    const struct roofline_work ffn = grouped_work(&shape, cluster);
    const double rate = ffn.peak_flops * cluster->gemm_efficiency * of->sm_share;
    return (struct work){.flop_seconds = ffn.flops / rate, .bytes = ffn.bytes, .own_kernels = 1};
}

// Whether a slot has any token, so that its weights are read, or how likely that is.
static double chance_touched(const struct loads *loads, uint32_t slot)
{
    return loads_chance_of_any(loads, loads->slot_tokens[slot],
                               loads_sum(loads->tokens, loads->ranks));
}

// Where counts are known before rows come, rows lie one expert after another; where they travel
// with the rows, each expert has room for as many as may come.
static enum grouped_kind grouped_kind_of(const struct dispatcher *dispatcher)
{
    return dispatcher->counts == COUNTS_EXCHANGE ? GROUPED_CONTIGUOUS : GROUPED_MASKED;
}

// Experts of a rank, and what they get beyond what the loads say: rows that are of no expert, or of
// all in proportion, and experts with any.
struct experts_work {
    double extra_rows, more_rows, more_touched;
    double rows, touched, untouched; // as the loads say
    double touched_each;             // variance of those that have any, each by itself
    double found;                    // growth of `touched` with a row
};

static struct experts_work experts_work(const struct schedule *schedule, uint32_t rank)
{
    const struct loads *loads = schedule->loads;
    const uint32_t *slots = schedule->layout->rank_slot;
    struct experts_work work = {0};
    for (uint32_t s = slots[rank]; s < slots[rank + 1]; s++) {
        const double any = chance_touched(loads, s);
        work.rows += loads->slot_tokens[s];
        work.touched += any;
        work.untouched += 1 - any;
        work.touched_each += any * (1 - any);
        work.found += (1 - any) * loads->slot_tokens[s];
    }
    work.found = work.rows > 0 ? work.found / work.rows : 0;
    return work;
}

// A slot that has any token with some chance, and its rows whether or not.
struct slot_load {
    double any, rows;
};

// More rows and more experts with any are shared out: among all as they are, and among those that
// may have none.
static struct slot_load slot_load(const struct schedule *schedule, uint32_t slot,
                                  const struct experts_work *work)
{
    const double touched = chance_touched(schedule->loads, slot);
    const double longer = work->rows > 0 ? 1 + work->more_rows / work->rows : 1;
    const double found = work->untouched > 0 ? work->more_touched / work->untouched : 0;
    return (struct slot_load){.any = touched + found * (1 - touched),
                              .rows = schedule->loads->slot_tokens[slot] * longer};
}

// Of the experts of a rank by the library's own constants.
static double grouped_ps(const struct schedule *schedule, uint32_t rank,
                         const struct experts_work *work)
{
    const struct moe *moe = &schedule->moe;
    const uint32_t *slots = schedule->layout->rank_slot;
    struct grouped_shape shape = {.kind = grouped_kind_of(&schedule->dispatcher),
                                  .rows = work->extra_rows,
                                  .padded = work->extra_rows,
                                  .hidden = moe_expert_hidden(moe),
                                  .intermediate = moe->intermediate,
                                  .weight_bytes = moe_weight_bytes(moe),
                                  .ungated = !moe->gated,
                                  .fp8 = computes_in_fp8(moe)};
    for (uint32_t s = slots[rank]; s < slots[rank + 1]; s++) {
        const struct slot_load load = slot_load(schedule, s, work);
        shape.rows += load.rows;
        shape.touched += load.any;
        shape.padded +=
            load.any > 0 ? load.any * grouped_padded(shape.kind, load.rows / load.any) : 0;
    }
    shape.tokens = shape.rows;
    return grouped_gemm_ps(schedule->kernels.grouped, &schedule->cluster, &shape);
}

static enum gemm_kind gemm_kind_of(const struct moe *moe)
{
    return computes_in_fp8(moe) ? GEMM_FP8_BLOCK : GEMM_BF16;
}

unsigned compute_kernels(const struct schedule *schedule)
{
    const enum grouped_kind grouped = grouped_kind_of(&schedule->dispatcher);
    const enum gemm_kind gemm = gemm_kind_of(&schedule->moe);
    unsigned kernels = 0;
    if (schedule->present[PHASE_EXPERTS] && grouped_known(&schedule->kernels.grouped[grouped]))
        kernels |= 1u << (KERNEL_EXPERTS_DECODE + (int)grouped);
    if (schedule->present[PHASE_SHARED] && gemm_known(&schedule->kernels.gemm[gemm]))
        kernels |= 1u << (KERNEL_GEMM_BF16 + (int)gemm);
    return kernels;
}

// Kernels of their own run one expert after another, so that one's operations do not hide the
// reading of another's weights: a popular expert is bound by operations while the rest wait for
// memory. Rows that are of no expert are shared out as the others are.
static double own_kernels_ps(const struct schedule *schedule, uint32_t rank,
                             const struct experts_work *work)
{
    const struct cluster *cluster = &schedule->cluster;
    const uint32_t *slots = schedule->layout->rank_slot;
    const struct ffn_shape shape = {moe_expert_hidden(&schedule->moe), schedule->moe.intermediate,
                                    1};
    struct experts_work all = *work;
    all.more_rows += work->extra_rows;
    double ps = products_ps(cluster, &(struct work){.launches = 2});
    for (uint32_t s = slots[rank]; s < slots[rank + 1]; s++) {
        const struct slot_load load = slot_load(schedule, s, &all);
        const double rows = load.any > 0 ? load.rows / load.any : 0;
        const struct work expert = ffn_work(schedule, rows, &shape);
        ps += load.any * products_ps(cluster, &expert);
    }
    return ps;
}

static double experts_healthy_ps(const struct schedule *schedule, uint32_t rank,
                                 const struct experts_work *work)
{
    const enum grouped_kind kind = grouped_kind_of(&schedule->dispatcher);
    return grouped_known(&schedule->kernels.grouped[kind]) ? grouped_ps(schedule, rank, work)
                                                           : own_kernels_ps(schedule, rank, work);
}

// Two products by the library's own constants, and between them a pass over the intermediate, twice
// read, or once without a gate, and once written.
static double shared_ps(const struct schedule *schedule, double tokens, double sm_share)
{
    const struct moe *moe = &schedule->moe;
    const struct cluster *cluster = &schedule->cluster;
    const struct gemm_constants *gemm = schedule->kernels.gemm;
    const enum gemm_kind kind = gemm_kind_of(moe);
    const double width = moe->shared_intermediate, hidden = moe->hidden;
    if (!gemm_known(&gemm[kind])) {
        const struct ffn_shape shape = {hidden, width, sm_share};
        struct work ffn = ffn_work(schedule, tokens, &shape);
        ffn.inner = tokens > 0 ? hidden + width : 0;
        ffn.launches = 2;
        return products_ps(cluster, &ffn);
    }
    const double inputs = moe->gated ? 2 : 1;
    const struct gemm_shape up = {kind, tokens, inputs * width, hidden, sm_share};
    const struct gemm_shape down = {kind, tokens, hidden, width, sm_share};
    return gemm_ps(gemm, cluster, &up) + gemm_ps(gemm, cluster, &down) +
           (inputs + 1) * tokens * width * BF16_BYTES / cluster->hbm_Bps * 1e12;
}

uint64_t compute_experts_ps(const struct schedule *schedule, uint32_t rank, double extra)
{
    struct experts_work work = experts_work(schedule, rank);
    work.extra_rows = extra;
    return (uint64_t)own_gpu_ps(schedule, rank, experts_healthy_ps(schedule, rank, &work));
}

// Variance of a rank's rows. What one of R ranks has more others have less, so that the largest
// stands above the mean as of independent ones of R / (R - 1) of that.
static double rows_variance(const struct loads *loads, uint32_t rank)
{
    double variance = 0;
    for (uint32_t source = 0; source < loads->ranks; source++)
        variance += loads_choices_variance(loads, source, rank);
    return loads->ranks > 1 ? variance * loads->ranks / (loads->ranks - 1) : 0;
}

// Variance of the number of experts that have any: each by itself, p (1 - p), and of a rank's rows
// what they vary beyond Poisson; p grows with an expert's rows by 1 - p.
static double touched_variance(const struct experts_work *work, double rows_variance)
{
    const double each = work->touched_each;
    const double more =
        work->rows > 0 ? work->found * work->found * (rows_variance - work->rows) : 0;
    return fmax(0, each + more);
}

// How many experts more than the mean one of n ranks has that has the most: those without a token
// are binomial, of which the mean of the least of n is the sum over k of P(more than k)^n; it
// stands as many standard deviations above as the most does.
static double most_touched(const struct experts_work *work, uint32_t experts, double variance,
                           double ranks)
{
    const double untouched = work->untouched / experts;
    double fewest = 0;
    for (uint32_t k = 0; k < experts; k++)
        fewest += pow(gsl_cdf_binomial_Q(k, untouched, experts), ranks);
    const double binomial = experts * untouched * (1 - untouched);
    const double more = (work->untouched - fewest) * (binomial > 0 ? sqrt(variance / binomial) : 0);
    return fmin(more, work->untouched);
}

struct late_experts compute_late_experts(const struct schedule *schedule, uint32_t rank,
                                         double ranks)
{
    const uint32_t *slots = schedule->layout->rank_slot;
    const struct experts_work mean = experts_work(schedule, rank);
    const double rows = rows_variance(schedule->loads, rank);
    const double touched = touched_variance(&mean, rows);
    struct experts_work late = mean, one_sd = mean;
    late.more_rows = loads_expected_max(0, sqrt(rows), ranks);
    late.more_touched = most_touched(&mean, slots[rank + 1] - slots[rank], touched, ranks);
    one_sd.more_rows = sqrt(rows);
    one_sd.more_touched = sqrt(touched);
    const double own_ps = own_gpu_ps(schedule, rank, experts_healthy_ps(schedule, rank, &mean));
    return (struct late_experts){
        .late_ps = (uint64_t)own_gpu_ps(schedule, rank, experts_healthy_ps(schedule, rank, &late)),
        .sd_ps = own_gpu_ps(schedule, rank, experts_healthy_ps(schedule, rank, &one_sd)) - own_ps};
}

// Kernels that move data take their SMs for as long as they run, but for a receive hook's, which
// leave while the network works. Where they take all, one is left: something must progress.
double compute_sm_share(const struct schedule *schedule)
{
    const uint32_t sms = schedule->cluster.sms;
    const uint32_t taken = dispatcher_sms(&schedule->dispatcher, sms);
    if (schedule->dispatcher.hook)
        return 1;
    return taken < sms ? (double)(sms - taken) / sms : 1.0 / sms;
}

static double healthy_ps(const struct schedule *schedule, enum phase phase, uint32_t rank,
                         double sm_share)
{
    const struct moe *moe = &schedule->moe;
    const struct cluster *cluster = &schedule->cluster;
    const double tokens = schedule->loads->tokens[rank], hidden = moe->hidden;
    assert(sm_share > 0 && sm_share <= 1);
    switch (phase) {
    case PHASE_RMSNORM: // memory alone: the residual stream is read and written
        return products_ps(
            cluster, &(struct work){.bytes = 2 * tokens * hidden * BF16_BYTES, .launches = 1});
    case PHASE_ROUTER:
        return router_ps(schedule, tokens);
    case PHASE_EXPERTS: {
        const struct experts_work work = experts_work(schedule, rank);
        return experts_healthy_ps(schedule, rank, &work);
    }
    case PHASE_SHARED:
        return shared_ps(schedule, tokens, sm_share);
    default:
        assert(phase == PHASE_EXPERTS); // only the phases above compute
        return 0;
    }
}

double compute_phase_ps(const struct schedule *schedule, enum phase phase, uint32_t rank,
                        double sm_share)
{
    return own_gpu_ps(schedule, rank, healthy_ps(schedule, phase, rank, sm_share));
}
