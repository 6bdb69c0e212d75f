#include "model/routing.h"

#include "base/rng.h"
#include "model/select.h"

#include <assert.h>
#include <gsl/gsl_statistics_uint.h>
#include <threads.h>

const char *const routing_rule_names[] = {"uniform", "deepep", "v3", "balanced", "trace", NULL};

#define QUANTILES SELECT_LEVELS
static uint32_t sigmoid_of_quantile[QUANTILES];
static once_flag sigmoid_once = ONCE_FLAG_INIT;

// exp(z) for |z| <= 0.01 by its series: only + and *, so the same bits on every IEEE machine.
static double exp_small(double z)
{
    return 1 + z * (1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5))));
}

// sigmoid(x) x 2^30 at the mid-quantiles of x ~ N(0, 1), by walking x upward in steps of h and
// adding up the density; density and exponential follow by recurrence from literals.
static void fill_sigmoid(void)
{
    const double h = 1.0 / 4096, from = -5;
    double density = 1.4867195147342977e-06; // of N(0, 1) at -5
    double exponential = 148.41315910257660; // exp(5)
    double ratio = exp_small(-from * h - h * h / 2);
    const double ratio_step = exp_small(-h * h), exp_step = exp_small(-h);
    double below = 2.866515718791939e-07; // cumulative at -5
    uint32_t quantile = 0;
    while (quantile < QUANTILES) {
        const double target = (quantile + 0.5) / QUANTILES;
        if (below >= target || exponential < 0.0067) {
            sigmoid_of_quantile[quantile++] = (uint32_t)(0x1p30 / (1 + exponential));
            continue;
        }
        const double next = density * ratio;
        below += (density + next) / 2 * h;
        density = next;
        ratio *= ratio_step;
        exponential *= exp_step;
    }
}

// Top-k of all experts of the topk_groups most worthy groups: by their best score (deepep), or by
// the sum of their two best sigmoids (v3).
static void draw_grouped(const struct routing *routing, struct rng *rng, uint16_t *ids)
{
    uint32_t keys[MOE_MAX_EXPERTS], best[MOE_MAX_TOPK];
    call_once(&sigmoid_once, fill_sigmoid);
    const struct selection selection = {.experts = routing->experts,
                                        .topk = routing->topk,
                                        .groups = routing->groups,
                                        .topk_groups = routing->topk_groups,
                                        .worth = routing->rule == ROUTING_DEEPEP ? SELECT_BEST
                                                                                 : SELECT_TWO_MAP,
                                        .map = sigmoid_of_quantile};
    uint64_t bits = 0; // one 16-bit score quantile an expert; four from each draw
    for (uint32_t e = 0; e < routing->experts; e++) {
        bits = e % 4 ? bits >> 16 : rng_next(rng);
        keys[e] = select_key((uint32_t)(bits & UINT16_MAX), e);
    }
    select_experts(&selection, keys, best);
    for (uint32_t k = 0; k < routing->topk; k++)
        ids[k] = select_expert(best[k]);
}

static bool routing_holds(const uint16_t *ids, uint32_t count, uint16_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

// `count` distinct numbers below `bound`: the top-k of independent scores is a uniform subset.
static void draw_distinct(struct rng *rng, uint32_t bound, uint32_t count, uint16_t *out)
{
    for (uint32_t k = 0; k < count; k++) {
        do
            out[k] = (uint16_t)rng_below(rng, bound);
        while (routing_holds(out, k, out[k]));
    }
}

// A round robin, nothing drawn: copy c of a rank's token t has place t x topk + c in a row of all
// copies. Places go to one rank after another, and each time round to a rank's next expert. Where
// ranks are fewer than choices, a token goes round them all, and a rank's choices are experts from
// the t-th on, as the benchmarks' router has it (aiconfigurator, collect_trtllm_alltoall.py; where
// topk does not divide the ranks, that one leaves some of them idle).
static void choose_balanced(const struct routing *routing, uint32_t token, uint16_t *ids)
{
    const uint32_t ranks = routing->ranks, held = routing->experts / ranks;
    for (uint32_t k = 0; k < routing->topk; k++) {
        const uint64_t place = (uint64_t)token * routing->topk + k;
        const bool few = ranks < routing->topk;
        const uint64_t rank = few ? k % ranks : place % ranks;
        const uint64_t turn = few ? (uint64_t)token + k / ranks : place / ranks;
        ids[k] = (uint16_t)(rank * held + turn % held);
    }
}

void routing_row(const struct routing *routing, uint32_t rank, uint32_t token, uint16_t *ids)
{
    if (routing->rule == ROUTING_TRACE) {
        routing->row(routing->context, rank, token, ids);
        return;
    }
    if (routing->rule == ROUTING_BALANCED) {
        choose_balanced(routing, token, ids);
        return;
    }
    struct rng rng = rng_stream(routing->seed, rank, token, routing->layer);
    if (routing->rule == ROUTING_UNIFORM || routing->topk_groups == routing->groups)
        draw_distinct(&rng, routing->experts, routing->topk, ids);
    else
        draw_grouped(routing, &rng, ids);
}

static bool check_groups(const struct routing *routing, struct error *err)
{
    const char *rule = routing_rule_names[routing->rule];
    if (routing->groups == 0 || routing->experts % routing->groups)
        return error_set(err, EXIT_INPUT, "routing %s: %u experts do not divide into %u groups",
                         rule, routing->experts, routing->groups);
    if (routing->topk_groups == 0 || routing->topk_groups > routing->groups)
        return error_set(err, EXIT_INPUT,
                         "routing %s: topk_groups %u: expected 1 to %u, the number of groups", rule,
                         routing->topk_groups, routing->groups);
    if ((uint64_t)routing->topk_groups * (routing->experts / routing->groups) < routing->topk)
        return error_set(err, EXIT_INPUT,
                         "routing %s: %u groups of %u experts hold fewer than top-k %u", rule,
                         routing->topk_groups, routing->experts / routing->groups, routing->topk);
    return true;
}

static bool check_balanced(const struct routing *routing, struct error *err)
{
    const uint32_t reached = routing->ranks < routing->topk ? routing->ranks : routing->topk;
    if (routing->experts % routing->ranks)
        return error_set(err, EXIT_INPUT,
                         "routing balanced: %u experts do not divide over %u ranks",
                         routing->experts, routing->ranks);
    if (routing->experts / routing->ranks < (routing->topk + reached - 1) / reached)
        return error_set(
            err, EXIT_INPUT,
            "routing balanced: %u experts a rank are too few for top-k %u over %u ranks",
            routing->experts / routing->ranks, routing->topk, routing->ranks);
    return true;
}

bool routing_is_drawn(enum routing_rule rule)
{
    return rule != ROUTING_BALANCED && rule != ROUTING_TRACE;
}

uint32_t routing_max_tokens(const struct routing *routing)
{
    return gsl_stats_uint_max(routing->tokens, 1, routing->ranks);
}

bool routing_check(const struct routing *routing, struct error *err)
{
    assert(routing->experts <= MOE_MAX_EXPERTS && routing->topk <= MOE_MAX_TOPK);
    switch (routing->rule) {
    case ROUTING_DEEPEP:
    case ROUTING_V3:
        return check_groups(routing, err);
    case ROUTING_BALANCED:
        return check_balanced(routing, err);
    default:
        return true;
    }
}
