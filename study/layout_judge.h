// A layout judged by an engine, on the part of a trace that it was not made from.
#ifndef STUDY_LAYOUT_JUDGE_H
#define STUDY_LAYOUT_JUDGE_H

#include "study/layout_task.h"

// One layer under a layout, by an engine from counted loads.
struct layout_case {
    const struct scenario *scenario; // a task's; only cloned
    struct recorded *part;           // of its trace; NULL: the scenario's own
    uint32_t layer_index;            // of the trace
    const struct layout *layout;
    const struct engine *engine;
};

// Means over the steps of the part, but for shares of load, which are of all of them
// together.
struct layout_figures {
    double layer_us, dispatch_us, experts_us, combine_us;
    double rank_max_mean, node_max_mean; // choices at the busiest over the mean
    double ranks_per_token, nodes_per_token;
    double replicas; // most of any expert
};

// Any number of threads may do this.
bool layout_judge(const struct layout_case *judged, struct layout_figures *figures,
                  struct error *err);

// The scenario with a layout of its own, at the layer's first step: to be run, or looked at.
// Released by scenario_release.
bool layout_try(struct scenario *tried, const struct layout_case *judged, struct error *err);

#endif
