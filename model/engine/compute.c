#include "model/engine/compute.h"

#include <assert.h>
#include <math.h>

#define BF16_BYTES 2.0

static double weight_bytes(enum dtype dtype)
{
    return dtype == DTYPE_FP8 ? 1.0 : dtype == DTYPE_BF16 ? 2.0 : 4.0;
}

struct work {
    double flop_seconds, bytes;
    double inner;       // inner dimensions of matrix products, one after another
    double own_kernels; // experts whose kernels are launched one expert after another
    uint32_t launches;
};

// Norm p of what bounds a phase; 0: the largest alone.
static double norm_ps(const double *ps, size_t count, double p)
{
    double largest = 0, sum = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, ps[i]);
    if (p <= 0 || largest <= 0)
        return largest;
    for (size_t i = 0; i < count; i++)
        sum += pow(ps[i] / largest, p);
    return largest * pow(sum, 1 / p);
}

// Roofline (Williams et al. 2009): operations over the rate that GEMMs reach, bytes over memory's
// rate, a tile's path through the inner dimension of each product, and launches of experts' own
// kernels. The largest is the time where they overlap throughout; products of few rows overlap in
// part, and a norm between the largest and the sum says how far. Launches follow one another on
// top. On a healthy GPU that a rank has for itself.
static double roofline_ps(const struct cluster *cluster, const struct work *work)
{
    const double bounds[] = {
        work->flop_seconds * 1e12,
        work->bytes / cluster->hbm_Bps * 1e12,
        work->inner / CLUSTER_GEMM_INNER * (double)cluster->gemm_min_ps,
        cluster_launches_ps(cluster, work->own_kernels * (double)cluster->expert_launch_ps),
    };
    return norm_ps(bounds, sizeof bounds / sizeof bounds[0], cluster->roofline_norm) +
           cluster_launches_ps(cluster, (double)(work->launches * cluster->kernel_launch_ps));
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
    return roofline_ps(cluster, &work) +
           tokens * experts / CLUSTER_SELECT_EXPERTS * (double)cluster->select_ps;
}

// On the rank's own GPU, or its share of one.
static double own_gpu_ps(const struct schedule *schedule, uint32_t rank, double healthy_ps)
{
    const double alone = healthy_ps * fabric_work(&schedule->fabric, rank);
    return ceil(cluster_computed_ps(&schedule->cluster, alone));
}

// A gated FFN: up and gate (hidden -> 2 x intermediate), then down: 3 x hidden x intermediate
// weights, 2 operations each and token. Weights of every active expert are read once; of a token,
// hidden states in and out, and the intermediate written twice and read once, all BF16. Two grouped
// products, launched one after another; on a share of the SMs the operations take longer, not
// memory.
static double ffn_ps(const struct schedule *schedule, double tokens, double experts,
                     double intermediate, double sm_share)
{
    const struct moe *moe = &schedule->moe;
    const struct cluster *cluster = &schedule->cluster;
    const double rate = moe->weight_dtype == DTYPE_FP8 ? cluster->fp8_flops : cluster->bf16_flops;
    const double width = 3.0 * moe->hidden * intermediate;
    const double activations = tokens * (2.0 * moe->hidden + 3.0 * intermediate) * BF16_BYTES;
    const struct work work = {
        .flop_seconds = tokens * 2 * width / (rate * cluster->gemm_efficiency * sm_share),
        .bytes = experts * width * weight_bytes(moe->weight_dtype) + activations,
        .inner = tokens > 0 ? moe->hidden + intermediate : 0,
        .own_kernels = experts,
        .launches = 2};
    return roofline_ps(cluster, &work);
}

// Whether a slot has any token, so that its weights are read; from a mean m, how likely it is: many
// tokens choose it rarely, so their number is nearly Poisson, and P(any) = 1 - exp(-m).
static double chance_of_any(const struct loads *loads, uint32_t slot)
{
    const double tokens = loads->slot_tokens[slot];
    return loads->expected ? 1 - exp(-tokens) : tokens > 0;
}

static double experts_healthy_ps(const struct schedule *schedule, uint32_t rank, double extra)
{
    const struct layout *layout = schedule->layout;
    double tokens = extra, active = 0;
    for (uint32_t s = layout->rank_slot[rank]; s < layout->rank_slot[rank + 1]; s++) {
        tokens += schedule->loads->slot_tokens[s];
        active += chance_of_any(schedule->loads, s);
    }
    return ffn_ps(schedule, tokens, active, schedule->moe.intermediate, 1);
}

uint64_t compute_experts_ps(const struct schedule *schedule, uint32_t rank, double extra)
{
    return (uint64_t)own_gpu_ps(schedule, rank, experts_healthy_ps(schedule, rank, extra));
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
        return roofline_ps(
            cluster, &(struct work){.bytes = 2 * tokens * hidden * BF16_BYTES, .launches = 1});
    case PHASE_ROUTER:
        return router_ps(schedule, tokens);
    case PHASE_EXPERTS:
        return experts_healthy_ps(schedule, rank, 0);
    case PHASE_SHARED:
        return ffn_ps(schedule, tokens, 1, moe->shared_intermediate, sm_share);
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
