// What a generated trace's published counterparts say of it: loads over experts, ranks and nodes,
// and how choices of neighbouring tokens agree. Measured as it is made, window by window.
#ifndef TESTS_RECIPE_STATS_H
#define TESTS_RECIPE_STATS_H

#include "base/mem.h"
#include "traces/generator.h"

#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATS_RANKS 32 // on 4 nodes, experts in order
#define STATS_NODES 4
#define STATS_STEP 4096 // tokens: 1,024 choices a rank, as TensorRT-LLM's figures
#define STATS_LAGS 6

static const uint32_t stats_lags[STATS_LAGS] = {1, 2, 4, 16, 64, 200};

struct recipe_stats {
    uint32_t layers, experts, topk;
    uint64_t tokens, chunk;
    uint64_t *count;               // [layers][experts]
    uint64_t *step;                // the same of the step in hand
    uint64_t nodes;                // token, layer and node
    double step_rank, step_expert; // sums over layers and steps of max / mean
    uint64_t steps;
    uint64_t common[STATS_LAGS], pairs[STATS_LAGS];
};

static inline double stats_max_mean(const uint64_t *load, uint32_t experts, uint32_t places)
{
    double max = 0, total = 0;
    for (uint32_t p = 0; p < places; p++) {
        double own = 0;
        for (uint32_t e = p * (experts / places); e < (p + 1) * (experts / places); e++)
            own += (double)load[e];
        max = fmax(max, own);
        total += own;
    }
    return max * places / total;
}

static inline void stats_end_step(struct recipe_stats *stats)
{
    for (uint32_t l = 0; l < stats->layers; l++) {
        const uint64_t *load = stats->step + (size_t)l * stats->experts;
        stats->step_rank += stats_max_mean(load, stats->experts, STATS_RANKS);
        stats->step_expert += stats_max_mean(load, stats->experts, stats->experts);
        stats->steps++;
    }
    memset(stats->step, 0, sizeof *stats->step * stats->layers * stats->experts);
}

// Tokens of a chunk follow each other in one request, or one after it.
static inline void stats_lag(struct recipe_stats *stats, const uint16_t *ids, uint64_t token,
                             uint64_t since, size_t row)
{
    for (int i = 0; i < STATS_LAGS; i++) {
        const uint32_t lag = stats_lags[i];
        if (lag > since || lag > token % stats->chunk)
            continue;
        const uint16_t *before = ids - lag * row;
        for (uint32_t a = 0; a < stats->topk; a++)
            for (uint32_t b = 0; b < stats->topk; b++)
                stats->common[i] += ids[a] == before[b];
        stats->pairs[i]++;
    }
}

static inline void stats_add(struct recipe_stats *stats, const struct generated *window)
{
    const size_t row = (size_t)stats->layers * stats->topk;
    const uint32_t per_node = stats->experts / STATS_NODES;
    for (uint64_t t = 0; t < window->count; t++) {
        for (uint32_t l = 0; l < stats->layers; l++) {
            const uint16_t *ids = window->ids + t * row + (size_t)l * stats->topk;
            unsigned nodes = 0;
            for (uint32_t k = 0; k < stats->topk; k++) {
                stats->count[(size_t)l * stats->experts + ids[k]]++;
                stats->step[(size_t)l * stats->experts + ids[k]]++;
                nodes |= 1u << ids[k] / per_node;
            }
            stats->nodes += (uint64_t)__builtin_popcount(nodes);
            stats_lag(stats, ids, window->first + t, t, row);
        }
        if (++stats->tokens % STATS_STEP == 0)
            stats_end_step(stats);
    }
}

static inline struct recipe_stats stats_new(const struct generator_def *def)
{
    const size_t cells = (size_t)def->layers * def->moe->experts;
    return (struct recipe_stats){.layers = def->layers,
                                 .experts = def->moe->experts,
                                 .topk = def->moe->topk,
                                 .chunk = def->recipe->chunk_tokens,
                                 .count = mem_alloc(cells, sizeof(uint64_t)),
                                 .step = mem_alloc(cells, sizeof(uint64_t))};
}

static inline void stats_release(struct recipe_stats *stats)
{
    free(stats->count);
    free(stats->step);
}

// Load over mean of every expert of every layer, ascending. Freed by the caller.
static inline double *stats_pooled(const struct recipe_stats *stats)
{
    const size_t cells = (size_t)stats->layers * stats->experts;
    const double mean = (double)stats->tokens * stats->topk / stats->experts;
    double *loads = mem_alloc(cells, sizeof *loads);
    for (size_t i = 0; i < cells; i++)
        loads[i] = (double)stats->count[i] / mean;
    gsl_sort(loads, 1, cells);
    return loads;
}

static inline double stats_quantile(const struct recipe_stats *stats, const double *pooled,
                                    double fraction)
{
    return gsl_stats_quantile_from_sorted_data(pooled, 1, (size_t)stats->layers * stats->experts,
                                               fraction);
}

// A figure of each layer.
typedef double stats_figure(const struct recipe_stats *stats, const uint64_t *load);

static inline double stats_expert(const struct recipe_stats *stats, const uint64_t *load)
{
    return stats_max_mean(load, stats->experts, stats->experts);
}

static inline double stats_rank(const struct recipe_stats *stats, const uint64_t *load)
{
    return stats_max_mean(load, stats->experts, STATS_RANKS);
}

static inline double stats_top_eighth(const struct recipe_stats *stats, const uint64_t *load)
{
    double *sorted = mem_alloc(stats->experts, sizeof *sorted), top = 0;
    for (uint32_t e = 0; e < stats->experts; e++)
        sorted[e] = (double)load[e];
    gsl_sort(sorted, 1, stats->experts);
    for (uint32_t e = stats->experts - stats->experts / 8; e < stats->experts; e++)
        top += sorted[e];
    free(sorted);
    return top / ((double)stats->tokens * stats->topk);
}

// A quantile over layers of a figure.
static inline double stats_layers(const struct recipe_stats *stats, stats_figure *figure,
                                  double fraction)
{
    double *values = mem_alloc(stats->layers, sizeof *values);
    for (uint32_t l = 0; l < stats->layers; l++)
        values[l] = figure(stats, stats->count + (size_t)l * stats->experts);
    gsl_sort(values, 1, stats->layers);
    const double value = gsl_stats_quantile_from_sorted_data(values, 1, stats->layers, fraction);
    free(values);
    return value;
}

static inline double stats_nodes(const struct recipe_stats *stats)
{
    return (double)stats->nodes / (double)(stats->tokens * stats->layers);
}

static inline double stats_common(const struct recipe_stats *stats, int lag)
{
    return (double)stats->common[lag] / (double)stats->pairs[lag];
}

// Experts that two tokens would share by the layers' loads alone.
static inline double stats_marginal(const struct recipe_stats *stats)
{
    double common = 0;
    for (size_t i = 0; i < (size_t)stats->layers * stats->experts; i++) {
        const double p = (double)stats->count[i] / (double)stats->tokens;
        common += p * p / stats->layers;
    }
    return common;
}

// --- what was published ------------------------------------------------------------------------

// DeepSeek-V3's load over mean, quantiles over 58 layers x 256 experts (johanna-rock/moe-balance at
// 700358b5, "Sorted Expert Frequencies", read off the plot).
static const struct {
    double fraction, load;
} published_loads[] = {{0.10, 0.331}, {0.25, 0.535}, {0.50, 0.815}, {0.75, 1.239},
                       {0.90, 1.813}, {0.95, 2.325}, {0.98, 3.132}, {0.99, 3.909}};
#define PUBLISHED_LOADS (sizeof published_loads / sizeof published_loads[0])

// A bound on a figure: the published value, and how far the trace's may be.
struct stats_bound {
    const char *what;
    double value, low, high;
};
#define BOUNDS_MIXED (PUBLISHED_LOADS + 4)
#define BOUNDS_SINGLE 2

static inline void bounds_mixed(const struct recipe_stats *stats, struct stats_bound *bounds)
{
    static const char *const names[] = {"load p10", "load p25", "load p50", "load p75",
                                        "load p90", "load p95", "load p98", "load p99"};
    double *pooled = stats_pooled(stats);
    size_t count = 0;
    for (; count < PUBLISHED_LOADS; count++)
        bounds[count] = (struct stats_bound){
            names[count], stats_quantile(stats, pooled, published_loads[count].fraction),
            0.9 * published_loads[count].load, 1.1 * published_loads[count].load};
    free(pooled);
    bounds[count++] = (struct stats_bound){
        "expert max/mean", stats_layers(stats, stats_expert, 0.5), 0.8 * 6.1, 1.2 * 6.1};
    bounds[count++] = (struct stats_bound){"top-32 share",
                                           stats_layers(stats, stats_top_eighth, 0.5), 0.29, 0.33};
    bounds[count++] = (struct stats_bound){"EP32 rank max/mean",
                                           stats_layers(stats, stats_rank, 0.5), 1.49, 2.48};
    bounds[count++] =
        (struct stats_bound){"nodes a token", stats_nodes(stats), 3.13 - 0.05, 3.13 + 0.05};
}

// TensorRT-LLM, DeepSeek-R1, EP32, machine translation: mean over layers and iterations.
static inline void bounds_single(const struct recipe_stats *stats, struct stats_bound *bounds)
{
    bounds[0] = (struct stats_bound){"EP32 rank max/mean", stats->step_rank / (double)stats->steps,
                                     0.85 * 2.56, 1.15 * 2.56};
    bounds[1] = (struct stats_bound){"expert max/mean", stats->step_expert / (double)stats->steps,
                                     0.8 * 11.9, 1.2 * 11.9};
}

#endif
