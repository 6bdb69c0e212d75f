#include "traces/stats.h"

#include "base/mem.h"

#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

const char *const trace_figure_names[TRACE_FIGURES] = {
    "expert_max_mean", "load_p10",      "load_p50",        "load_p90",
    "load_p99",        "gini",          "sigma_ln_load",   "top_eighth_share",
    "rank_max_mean",   "node_max_mean", "ranks_per_token", "nodes_per_token",
    "lag1_common"};

// Loads of one kind of place, with the last token (counted from 1) that each place saw.
struct places {
    uint32_t count;
    double *load;
    uint64_t *last;
    uint64_t visits; // token and place pairs
};

struct tally {
    struct places experts, ranks, nodes;
    uint64_t common; // choices that the token before made too
    uint64_t dropped;
};

static struct places places_new(uint32_t count)
{
    return (struct places){.count = count,
                           .load = mem_alloc(count, sizeof(double)),
                           .last = mem_alloc(count, sizeof(uint64_t))};
}

static void places_release(struct places *places)
{
    free(places->load);
    free(places->last);
}

static void visit_place(struct places *places, uint32_t place, uint64_t token)
{
    places->load[place]++;
    places->visits += places->last[place] != token;
    places->last[place] = token;
}

static void tally_layer(struct tally *tally, const struct trace *trace, uint32_t layer_index,
                        const struct layout *layout)
{
    const uint32_t per_node = layout->ranks / tally->nodes.count;
    for (uint64_t t = 0; t < trace->tokens; t++) {
        uint16_t ids[MOE_MAX_TOPK];
        trace_row(trace, t, layer_index, ids);
        for (uint32_t k = 0; k < trace->moe.topk; k++) {
            if (ids[k] == ROUTING_DROPPED) {
                tally->dropped++;
                continue;
            }
            const uint32_t slot = layout_slot(layout, ids[k], (uint32_t)t);
            const uint32_t rank = layout->slot_rank[slot];
            tally->common += t > 0 && tally->experts.last[ids[k]] == t;
            visit_place(&tally->experts, ids[k], t + 1);
            visit_place(&tally->ranks, rank, t + 1);
            visit_place(&tally->nodes, rank / per_node, t + 1);
        }
    }
}

static double places_max_mean(const struct places *places)
{
    return gsl_stats_max(places->load, 1, places->count) /
           gsl_stats_mean(places->load, 1, places->count);
}

// From the ascending loads: the area between the Lorenz curve and the diagonal, doubled.
static double gini(const double *sorted, uint32_t count, double total)
{
    double weighted = 0;
    for (uint32_t i = 0; i < count; i++)
        weighted += (2.0 * i + 1.0 - count) * sorted[i];
    return weighted / (count * total);
}

// Over the part of the ascending loads that is above zero: ln 0 has no place in a deviation.
static double sigma_ln(const double *sorted, uint32_t count, uint32_t idle)
{
    const uint32_t busy = count - idle;
    if (busy == 0)
        return (double)NAN;
    double *logs = mem_alloc(busy, sizeof *logs);
    for (uint32_t i = 0; i < busy; i++)
        logs[i] = log(sorted[idle + i]);
    const double sigma = gsl_stats_sd_with_fixed_mean(logs, 1, busy, gsl_stats_mean(logs, 1, busy));
    free(logs);
    return sigma;
}

static void judge_experts(struct trace_layer_stats *stats, const struct places *experts)
{
    const uint32_t count = experts->count;
    double *sorted = mem_copy(experts->load, count * sizeof *sorted);
    gsl_sort(sorted, 1, count);
    while (stats->idle < count && sorted[stats->idle] <= 0)
        stats->idle++;

    double total = 0, top = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += sorted[i];
        if (i >= count - (count + 7) / 8)
            top += sorted[i];
    }
    static const struct {
        enum trace_figure figure;
        double fraction;
    } quantiles[] = {{FIGURE_LOAD_P10, 0.1},
                     {FIGURE_LOAD_P50, 0.5},
                     {FIGURE_LOAD_P90, 0.9},
                     {FIGURE_LOAD_P99, 0.99}};
    for (size_t i = 0; i < sizeof quantiles / sizeof quantiles[0]; i++)
        stats->figures[quantiles[i].figure] =
            gsl_stats_quantile_from_sorted_data(sorted, 1, count, quantiles[i].fraction) /
            (total / count);
    stats->hottest = (uint32_t)gsl_stats_max_index(experts->load, 1, count);
    stats->figures[FIGURE_EXPERT_MAX_MEAN] = places_max_mean(experts);
    stats->figures[FIGURE_GINI] = gini(sorted, count, total);
    stats->figures[FIGURE_SIGMA] = sigma_ln(sorted, count, stats->idle);
    stats->figures[FIGURE_TOP_SHARE] = top / total;
    free(sorted);
}

static struct trace_layer_stats make_layer(const struct trace *trace, uint32_t layer_index,
                                           const struct layout *layout, uint32_t nodes)
{
    struct tally tally = {.experts = places_new(trace->moe.experts),
                          .ranks = places_new(layout->ranks),
                          .nodes = places_new(nodes)};
    tally_layer(&tally, trace, layer_index, layout);

    const double tokens = (double)trace->tokens;
    struct trace_layer_stats stats = {.layer_id = trace->layer_ids[layer_index],
                                      .tokens = trace->tokens,
                                      .dropped = tally.dropped};
    judge_experts(&stats, &tally.experts);
    stats.figures[FIGURE_RANK_MAX_MEAN] = places_max_mean(&tally.ranks);
    stats.figures[FIGURE_NODE_MAX_MEAN] = places_max_mean(&tally.nodes);
    stats.figures[FIGURE_RANKS_PER_TOKEN] = (double)tally.ranks.visits / tokens;
    stats.figures[FIGURE_NODES_PER_TOKEN] = (double)tally.nodes.visits / tokens;
    stats.figures[FIGURE_LAG1_COMMON] =
        trace->tokens > 1 ? (double)tally.common / (tokens - 1) : (double)NAN;

    places_release(&tally.experts);
    places_release(&tally.ranks);
    places_release(&tally.nodes);
    return stats;
}

static void sum_choices(struct trace_stats *stats, uint32_t topk)
{
    for (uint32_t l = 0; l < stats->layers; l++) {
        const struct trace_layer_stats *layer = &stats->layer[l];
        stats->dropped += layer->dropped;
        stats->choices += layer->tokens * topk - layer->dropped;
        for (size_t f = 0; f < TRACE_FIGURES; f++) {
            const double value = layer->figures[f];
            stats->mean[f] += value / stats->layers;
            stats->min[f] = l == 0 ? value : fmin(stats->min[f], value);
            stats->max[f] = l == 0 ? value : fmax(stats->max[f], value);
        }
    }
}

bool trace_stats_make(struct trace_stats *stats, const struct trace *trace,
                      const struct layout *layouts, uint32_t nodes, struct error *err)
{
    for (uint32_t l = 0; l < trace->layers; l++)
        if (layouts[l].experts != trace->moe.experts)
            return error_set(err, EXIT_INPUT,
                             "%s: the trace has %" PRIu32 " experts, the layout %" PRIu32,
                             trace->path, trace->moe.experts, layouts[l].experts);
    if (nodes == 0 || layouts->ranks % nodes != 0)
        return error_set(err, EXIT_INPUT, "%" PRIu32 " ranks do not divide into %" PRIu32 " nodes",
                         layouts->ranks, nodes);
    *stats = (struct trace_stats){.layers = trace->layers, .tokens = trace->tokens};
    stats->layer = mem_alloc(trace->layers, sizeof *stats->layer);
    // A layer is one task and writes its own entry, so the result does not depend on the threads.
#pragma omp parallel for schedule(dynamic)
    for (uint32_t l = 0; l < trace->layers; l++)
        stats->layer[l] = make_layer(trace, l, &layouts[l], nodes);
    sum_choices(stats, trace->moe.topk);
    return true;
}

void trace_stats_release(struct trace_stats *stats)
{
    free(stats->layer);
    *stats = (struct trace_stats){0};
}

// --- the lag curve ------------------------------------------------------------------------------

const uint32_t trace_lags[TRACE_LAGS] = {1, 2, 4, 16, 64, 200};

// The rows of a layer that the longest lag reaches back to, a ring.
#define RING 256

struct walk {
    uint16_t ids[RING][MOE_MAX_TOPK];
    uint64_t last[MOE_MAX_EXPERTS]; // token, from 1, that each expert was last chosen by
    uint64_t load[MOE_MAX_EXPERTS];
    uint64_t common[TRACE_LAGS];
};

// A stamp for each expert of the token in hand tells which of an earlier token's are among them.
static void take_token(struct walk *walk, const struct trace *trace, uint64_t token)
{
    const uint32_t topk = trace->moe.topk;
    const uint16_t *own = walk->ids[token % RING];
    for (uint32_t k = 0; k < topk; k++)
        if (own[k] != ROUTING_DROPPED) {
            walk->last[own[k]] = token + 1;
            walk->load[own[k]]++;
        }
    for (uint32_t i = 0; i < TRACE_LAGS && trace_lags[i] <= token; i++) {
        const uint16_t *before = walk->ids[(token - trace_lags[i]) % RING];
        for (uint32_t k = 0; k < topk; k++)
            walk->common[i] += before[k] != ROUTING_DROPPED && walk->last[before[k]] == token + 1;
    }
}

static struct trace_lag_curve make_curve(const struct trace *trace, uint32_t layer)
{
    struct walk *walk = mem_alloc(1, sizeof *walk);
    struct trace_lag_curve curve = {.layer_id = trace->layer_ids[layer]};
    for (uint64_t t = 0; t < trace->tokens; t++) {
        trace_row(trace, t, layer, walk->ids[t % RING]);
        take_token(walk, trace, t);
    }
    for (uint32_t i = 0; i < TRACE_LAGS; i++)
        curve.common[i] = trace->tokens > trace_lags[i]
                              ? (double)walk->common[i] / (double)(trace->tokens - trace_lags[i])
                              : (double)NAN;
    for (uint32_t e = 0; e < trace->moe.experts; e++) {
        const double share = (double)walk->load[e] / (double)trace->tokens;
        curve.independent += share * share;
    }
    free(walk);
    return curve;
}

struct trace_lag_curve *trace_lag_curves(const struct trace *trace)
{
    struct trace_lag_curve *curves = mem_alloc(trace->layers, sizeof *curves);
    // A layer is one task and writes its own entry, so the result does not depend on the threads.
#pragma omp parallel for schedule(dynamic)
    for (uint32_t l = 0; l < trace->layers; l++)
        curves[l] = make_curve(trace, l);
    return curves;
}
