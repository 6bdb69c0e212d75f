#include "traces/popularity.h"

#include "base/mem.h"
#include "model/loads.h"
#include "traces/draws.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// --- target loads ------------------------------------------------------------------------------

static void scale_to_mean_1(double *loads, uint32_t count)
{
    const double total = loads_sum(loads, count);
    for (uint32_t i = 0; i < count; i++)
        loads[i] *= count / total;
}

static uint32_t eighth(uint32_t experts)
{
    return (experts + 7) / 8;
}

// Experts whose load leads from the log-normal body to the hottest expert's, itself included.
#define HOT_EXPERTS 3

// Descending loads: quantiles of a log-normal, the hottest raised or lowered to `max_mean` and the
// two after it by two thirds and a third of that, in ln.
static void fill_log_normal(double *loads, uint32_t experts, double sigma, double max_mean)
{
    for (uint32_t i = 0; i < experts; i++)
        loads[i] = exp(sigma * gsl_cdf_ugaussian_Qinv((i + 0.5) / experts));
    scale_to_mean_1(loads, experts);
    if (max_mean <= 0 || experts < eighth(experts) + HOT_EXPERTS)
        return;
    // The others give way as the hot ones grow: a few rounds bring the hottest to its figure.
    for (int round = 0; round < 8; round++) {
        const double off = log(max_mean / loads[0]);
        for (int i = 0; i < HOT_EXPERTS; i++)
            loads[i] *= exp(off * (HOT_EXPERTS - i) / HOT_EXPERTS);
        scale_to_mean_1(loads, experts);
    }
}

// The sigma whose hottest eighth has the target share, by bisection.
static void solve_log_normal(double *loads, uint32_t experts, double share, double max_mean)
{
    double low = 0, high = 5;
    for (int round = 0; round < 50; round++) {
        const double sigma = (low + high) / 2;
        fill_log_normal(loads, experts, sigma, max_mean);
        if (loads_sum(loads, eighth(experts)) / experts < share)
            low = sigma;
        else
            high = sigma;
    }
}

// aiconfigurator's sample_power_law: density x^-alpha from 1 to 0.8 x tokens, by its inverse.
static void draw_power_law(double *loads, uint32_t experts, const struct recipe *recipe,
                           struct rng rng)
{
    const double max = 0.8 * recipe->power_tokens, power = 1 - recipe->alpha;
    for (uint32_t e = 0; e < experts; e++) {
        const double u = rng_unit(&rng);
        loads[e] = fabs(power) < 1e-9 ? pow(max, u) : pow((pow(max, power) - 1) * u + 1, 1 / power);
    }
    scale_to_mean_1(loads, experts);
}

// Which expert has which load: any, by a shuffle of the layer's own.
static void shuffle_loads(double *loads, uint32_t experts, struct rng rng)
{
    for (uint32_t i = experts - 1; i > 0; i--) {
        const uint32_t j = rng_below(&rng, i + 1);
        const double load = loads[i];
        loads[i] = loads[j];
        loads[j] = load;
    }
}

void target_loads(const struct recipe *recipe, const struct moe *moe, uint32_t layer, uint64_t seed,
                  double *loads)
{
    const uint32_t experts = moe->experts;
    switch (recipe->loads) {
    case LOADS_LOG_NORMAL:
        solve_log_normal(loads, experts,
                         recipe_figure(recipe, LIST_TOP_EIGHTH_SHARE, layer, moe->layers),
                         recipe_figure(recipe, LIST_EXPERT_MAX_MEAN, layer, moe->layers));
        break;
    case LOADS_POWER_LAW:
        draw_power_law(loads, experts, recipe, draw_stream(seed, DRAW_LOAD, layer, 0));
        break;
    case LOADS_HOT_EXPERT:
        for (uint32_t e = 1; e < experts; e++)
            loads[e] = (1 - recipe->hot_share) * experts / (experts - 1);
        loads[0] = recipe->hot_share * experts;
        break;
    case LOADS_RANKS:
    case LOADS_HOT_RANK:
        for (uint32_t e = 0; e < experts; e++)
            loads[e] = 1;
    }
    for (uint32_t e = 0; e < experts; e++)
        loads[e] = pow(loads[e], recipe->skew);
    scale_to_mean_1(loads, experts);
    shuffle_loads(loads, experts, draw_stream(seed, DRAW_PLACE, layer, 0));
}

// --- the popularity that gives them ------------------------------------------------------------

struct gate recipe_gate(const struct recipe *recipe, const struct moe *moe, uint64_t seed)
{
    return (struct gate){
        .selection = {.experts = moe->experts,
                      .topk = moe->topk,
                      .groups = moe->groups,
                      .topk_groups = recipe->group_limit ? moe->topk_groups : moe->groups,
                      .worth = SELECT_TWO},
        .kappa = recipe->kappa,
        .kinds = recipe->kinds,
        .keep = (uint32_t)lrint(256 * recipe->stickiness),
        .seed = seed};
}

uint32_t popularity_domain(uint64_t seed, uint64_t request, uint32_t domains)
{
    struct rng rng = draw_stream(seed, DRAW_DOMAIN, request, 0);
    return rng_below(&rng, domains);
}

// One layer being solved.
struct fit {
    const struct gate *gate;
    uint32_t layer, experts, domains;
    double *target;    // [experts]
    double *tilt;      // [domains][experts]
    double *ln;        // [experts] ln popularity of all domains
    double *of_domain; // [domains][experts]
    int16_t *of_kind;  // [kinds][experts]
    uint64_t *count;   // [experts]
    uint32_t round;
};

// How a domain prefers experts otherwise than the others do: log-normal factors of mean 1.
static void draw_tilt(struct fit *fit, double sigma)
{
    struct draws draws;
    for (uint32_t d = 0; d < fit->domains; d++) {
        draws_init(&draws, draw_stream(fit->gate->seed, DRAW_TILT, d, fit->layer));
        for (uint32_t e = 0; e < fit->experts; e++)
            fit->tilt[d * fit->experts + e] =
                exp(gsl_ran_gaussian_ziggurat(&draws.gsl, sigma) - sigma * sigma / 2);
    }
}

// The same of kinds of tokens, in levels.
static void draw_kinds(struct fit *fit, double sigma)
{
    struct draws draws;
    for (uint32_t k = 0; k < fit->gate->kinds; k++) {
        draws_init(&draws, draw_stream(fit->gate->seed, DRAW_KIND_TILT, k, fit->layer));
        for (uint32_t e = 0; e < fit->experts; e++)
            fit->of_kind[k * fit->experts + e] = (int16_t)lrint(
                fmax(fmin(gsl_ran_gaussian_ziggurat(&draws.gsl, sigma), 15), -15) * GATE_UNIT);
    }
}

static void apply_tilt(struct fit *fit)
{
    for (uint32_t d = 0; d < fit->domains; d++) {
        double *row = fit->of_domain + (size_t)d * fit->experts;
        for (uint32_t e = 0; e < fit->experts; e++)
            row[e] = exp(fit->ln[e]) * fit->tilt[(size_t)d * fit->experts + e];
        scale_to_mean_1(row, fit->experts);
    }
}

#define SAMPLE_TOKENS 32 // of a request: enough for it to be worth its draws

// One request's choices. Kinds take turns over all tokens, so that each has its share.
static void count_request(struct fit *fit, const struct gate *gate,
                          const struct gate_request *request)
{
    int32_t levels[MOE_MAX_EXPERTS], noise[MOE_MAX_EXPERTS];
    uint32_t best[MOE_MAX_TOPK];
    const double *popularity = fit->of_domain + (size_t)(request->id % fit->domains) * fit->experts;
    gate_popularity(gate, request, popularity, levels);
    for (uint32_t t = 0; t < SAMPLE_TOKENS; t++) {
        const uint64_t kind = (request->id * SAMPLE_TOKENS + t) % gate->kinds;
        gate_next(gate, request, t, noise);
        gate_choose(gate, levels, fit->of_kind + kind * fit->experts, noise, best);
        for (uint32_t k = 0; k < gate->selection.topk; k++)
            fit->count[select_expert(best[k])]++;
    }
}

static void count_loads(struct fit *fit, uint64_t requests)
{
    struct gate gate = *fit->gate;
    gate.keep = 0; // loads do not depend on it
    gate.seed = draw_stream(gate.seed, DRAW_CALIBRATE, fit->round, 0).key;
    memset(fit->count, 0, fit->experts * sizeof *fit->count);
    for (uint64_t r = 0; r < requests; r++) {
        const struct gate_request request = {.id = r, .layer = fit->layer};
        count_request(fit, &gate, &request);
    }
}

// Rounds: requests counted, and by how much of ln(target / counted) popularity then moves. The last
// only judges.
static const struct {
    uint32_t requests;
    double step;
} rounds[] = {{64, 1.2}, {128, 1.2}, {256, 1}, {512, 0.7}, {512, 0.5}, {128, 0}};
#define ROUNDS (sizeof rounds / sizeof rounds[0])

// Returns the share of the load that other experts have than should.
static double solve_popularity(struct fit *fit)
{
    double mean = 0, off = 0;
    for (fit->round = 0; fit->round < ROUNDS; fit->round++) {
        const uint64_t requests = rounds[fit->round].requests;
        // Choices of an expert with mean load.
        mean = (double)(requests * SAMPLE_TOKENS * fit->gate->selection.topk) / fit->experts;
        apply_tilt(fit);
        count_loads(fit, requests);
        for (uint32_t e = 0; e < fit->experts; e++)
            fit->ln[e] += rounds[fit->round].step *
                          log((mean * fit->target[e] + 1) / ((double)fit->count[e] + 1));
    }
    for (uint32_t e = 0; e < fit->experts; e++)
        off += fabs((double)fit->count[e] / mean - fit->target[e]);
    return off / 2 / fit->experts;
}

static double fit_layer(struct popularity *popularity, const struct recipe *recipe,
                        const struct moe *moe, const struct gate *gate, uint32_t index)
{
    const uint32_t experts = moe->experts, domains = popularity->domains;
    struct fit fit = {.gate = gate,
                      .layer = popularity->layer[index],
                      .experts = experts,
                      .domains = domains,
                      .target = mem_alloc(experts, sizeof(double)),
                      .tilt = mem_alloc((size_t)domains * experts, sizeof(double)),
                      .ln = mem_alloc(experts, sizeof(double)),
                      .count = mem_alloc(experts, sizeof(uint64_t)),
                      .of_kind = popularity->of_kind + (size_t)index * gate->kinds * experts,
                      .of_domain = popularity->of_domain + (size_t)index * domains * experts};
    target_loads(recipe, moe, fit.layer, gate->seed, fit.target);
    for (uint32_t e = 0; e < experts; e++)
        fit.ln[e] = log(fit.target[e]);
    draw_tilt(&fit, domains > 1 ? recipe->domain_sigma : 0);
    draw_kinds(&fit, gate->kinds > 1 ? recipe->kind_sigma : 0);
    const double off = solve_popularity(&fit);
    free(fit.target);
    free(fit.tilt);
    free(fit.ln);
    free(fit.count);
    return off;
}

void popularity_fit(struct popularity *popularity, const struct recipe *recipe,
                    const struct moe *moe, const struct gate *gate, const uint32_t *layer,
                    uint32_t layers)
{
    *popularity = (struct popularity){
        .layers = layers,
        .domains = recipe->domains,
        .kinds = recipe->kinds,
        .experts = moe->experts,
        .of_kind = mem_alloc((size_t)layers * recipe->kinds * moe->experts, sizeof(int16_t)),
        .layer = mem_alloc(layers, sizeof(uint32_t)),
        .of_domain = mem_alloc((size_t)layers * recipe->domains * moe->experts, sizeof(double))};
    memcpy(popularity->layer, layer, layers * sizeof *layer);
    double worst = 0;
#pragma omp parallel for schedule(dynamic) reduction(max : worst)
    for (uint32_t l = 0; l < layers; l++)
        worst = fmax(worst, fit_layer(popularity, recipe, moe, gate, l));
    popularity->worst_off = worst;
}

void popularity_release(struct popularity *popularity)
{
    free(popularity->layer);
    free(popularity->of_domain);
    free(popularity->of_kind);
    *popularity = (struct popularity){0};
}
