// A trace through an engine: every layer and step, how latency spreads over steps, and what
// imbalance of the routing costs. Slow parts and late ranks are in both runs that are compared, so
// their part is not in that cost; study/imbalance.h drops them too. Memory does not grow with the
// number of steps.
#ifndef STUDY_REPLAY_H
#define STUDY_REPLAY_H

#include "base/quantile.h"
#include "scenario/scenario.h"
#include "study/extrapolate.h"

// Layers and steps of the definition's trace, ascending; a count of zero: all. The definition's own
// layer and step are not read. Borrowed.
struct replay_def {
    struct scenario_def scenario;
    const struct engine *engine;
    const uint32_t *layers, *steps;
    size_t layer_count, step_count;
};

// What latencies are kept of: every phase (slowest: first start to last end), then the layer.
enum replay_figure { REPLAY_LAYER = PHASE_ALLTOALL, REPLAY_FIGURES };
const char *replay_figure_name(enum replay_figure figure);

// One layer of one step, as it is done: steps ascending, and within a step its layers.
struct replay_place {
    uint64_t done, total; // places, this one included
    uint32_t layer;
    uint64_t step;
    uint32_t tokens; // a rank, the most
    const struct fabric *fabric;
    const char *dispatcher;    // by name
    bool present[PHASE_COUNT]; // phases
    const struct timing *timing;
    uint64_t routed_ps[REPLAY_FIGURES], balanced_ps[REPLAY_FIGURES];
    const uint64_t *choices; // [ranks] that each rank serves
    double max_mean;         // the most choices that a rank serves over the mean; 1: without any
    // Of the ranks, the one that serves most choices and the one that ends experts last; of several
    // the first, and UINT32_MAX where all are alike.
    uint32_t hottest, slowest;
};
typedef void replay_visit(void *context, const struct replay_place *place);

struct replay_rank {
    uint64_t choices;          // served over all steps
    uint64_t hottest, slowest; // steps that it was that in
    double max_ratio;          // choices served in a step over the mean of ranks: the most
    double experts_ps;         // its own experts phase: sum over steps
};

// Over steps. `routed` are latencies as the trace routed, in picoseconds.
struct replay_layer {
    uint32_t layer, layer_id; // index into the trace's layers, and of the model
    struct quantiles routed[REPLAY_FIGURES];
    double balanced_ps[REPLAY_FIGURES]; // sum over steps: the same engine on balanced loads
    struct quantiles max_mean_ppm;      // of each step, millionths
    struct replay_rank *ranks;          // [ranks]
};

struct replay {
    const struct replay_def *def;
    struct scenario scenario; // at the first place
    struct fabric fabric;
    uint32_t ranks, layer_count;
    uint64_t steps;               // in all
    bool present[REPLAY_FIGURES]; // in some place, after replay_run
    struct replay_layer *layers;
    // The model's: a step's latency is the sum over its layers, and ranks' counts are over layers
    // too; max_mean_ppm is of every layer of every step.
    struct replay_layer all;
};

// Adds what its places extrapolate, by the fits; nothing is run. False: a step cannot be read.
bool replay_extrapolates(const struct replay *replay, const struct fits *fits,
                         struct extrapolation *extrapolation, struct error *err);

// Opens the scenario and its trace. Refuses a layer or step that it lacks.
bool replay_open(struct replay *replay, const struct replay_def *def, struct error *err);

// Runs the engine at every place, twice: as routed, and on balanced loads (model/balanced.h).
// Places are shared over OpenMP threads; `visit` (NULL: none) is called by one of them in order,
// and results do not depend on their number. Refuses what schedule_feasible refuses, after having
// visited what comes well before.
bool replay_run(struct replay *replay, replay_visit *visit, void *context, struct error *err);

void replay_release(struct replay *replay);

// What routing's imbalance costs: mean latency as routed less that on balanced loads, in
// picoseconds.
double replay_cost_ps(const struct replay_layer *layer, enum replay_figure figure);

// The rank with the most steps as hottest or slowest, the first of several; NULL: no step has one.
const struct replay_rank *replay_hottest(const struct replay *replay,
                                         const struct replay_layer *layer);
const struct replay_rank *replay_slowest(const struct replay *replay,
                                         const struct replay_layer *layer);

#endif
