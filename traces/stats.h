// What a trace says about load: skew over experts, ranks and nodes, and fan-out per token, layer by
// layer (`epsim trace info`).
#ifndef TRACES_STATS_H
#define TRACES_STATS_H

#include "model/layout.h"
#include "traces/trace.h"

// The load of an expert, rank or node is the number of choices that went to it.
enum trace_figure {
    FIGURE_EXPERT_MAX_MEAN, // hottest expert's load over the mean
    FIGURE_LOAD_P10,        // quantiles over experts of load / mean, interpolated
    FIGURE_LOAD_P50,
    FIGURE_LOAD_P90,
    FIGURE_LOAD_P99,
    FIGURE_GINI,          // 0: all equal; towards 1: one has all
    FIGURE_SIGMA,         // standard deviation of ln load, over experts that have any
    FIGURE_TOP_SHARE,     // share of the load that the hottest eighth of the experts has
    FIGURE_RANK_MAX_MEAN, // by the layout
    FIGURE_NODE_MAX_MEAN,
    FIGURE_RANKS_PER_TOKEN, // distinct ranks that a token's choices live on, mean over tokens
    FIGURE_NODES_PER_TOKEN,
    FIGURE_LAG1_COMMON, // experts that a token shares with the token before it in the file
    TRACE_FIGURES,
};

// Column names: "expert_max_mean", "load_p10", ...
extern const char *const trace_figure_names[TRACE_FIGURES];

struct trace_layer_stats {
    uint32_t layer_id; // of the model
    uint64_t tokens;
    uint64_t dropped;              // choices
    uint32_t idle;                 // experts without load
    uint32_t hottest;              // expert id
    double figures[TRACE_FIGURES]; // NaN where there is no load to judge
};

struct trace_stats {
    uint32_t layers;
    struct trace_layer_stats *layer; // [layers]
    uint64_t tokens;                 // of the trace, in every layer
    uint64_t choices;                // of all layers, without those dropped
    uint64_t dropped;
    double mean[TRACE_FIGURES]; // over layers
    double min[TRACE_FIGURES];
    double max[TRACE_FIGURES];
};

// layouts[trace->layers], alike in ranks; `nodes` divides those into equal nodes. Refuses a layout
// for another number of experts, and nodes that do not divide its ranks. A replicated expert's
// tokens take turns over its slots by their place in the trace.
bool trace_stats_make(struct trace_stats *stats, const struct trace *trace,
                      const struct layout *layouts, uint32_t nodes, struct error *err);
void trace_stats_release(struct trace_stats *stats);

// ---- the lag curve: how alike the choices of tokens are that follow one another at some distance
// --

#define TRACE_LAGS 6
extern const uint32_t trace_lags[TRACE_LAGS]; // 1, 2, 4, 16, 64, 200

struct trace_lag_curve {
    uint32_t layer_id;
    // Experts that a token shares with the one `lag` before it in the file, mean over the tokens
    // that have one; NaN where none has.
    double common[TRACE_LAGS];
    // What independent tokens of the same loads would share: the sum of squared load a token.
    double independent;
};

// One curve a layer, [trace->layers], freed by the caller.
struct trace_lag_curve *trace_lag_curves(const struct trace *trace);

#endif
