// Layouts made from one part of a trace and judged on another, as deployments do: a plan is always
// older than what it serves.
#ifndef STUDY_LAYOUT_PLAN_H
#define STUDY_LAYOUT_PLAN_H

#include "model/layout_file.h"
#include "model/question.h"
#include "study/placement.h"
#include "study/row.h"
#include "traces/trace.h"

// From one share of a trace to another.
struct share {
    double from, to;
};

// What layouts are made for, and with what.
struct layout_task {
    struct setting setting; // cluster, moe, dispatcher and run; no layout of its own
    struct trace trace;
    struct trace plan, replay; // parts of it; replay may be the whole
    uint32_t tokens;           // a rank in one step; 0: the trace has steps of its own
    uint64_t replay_steps;
    uint32_t *layers; // [layer_count] of the trace, from 0
    uint32_t layer_count;
    struct placement_shape shape;
    uint32_t search_steps;
    uint64_t seed;
};

// Opens the question's trace and resolves all but its layout. tokens 0: what the shorter part holds
// for a rank, at most 4,096; more than it holds: it wraps around, with a notice. Without a list all
// layers count.
struct layout_asked {
    const struct question *question;
    struct share plan, replay;
    uint32_t redundant;
    const uint32_t *layers;
    uint32_t layer_count;
    uint32_t search_steps;
};
bool layout_task_init(struct layout_task *task, const struct layout_asked *asked,
                      struct error *err);
void layout_task_release(struct layout_task *task);

// A layout of every layer asked, by a rule, from the part planned on; search begins with eplb's.
// A cluster's slow parts move no expert: search goes by the healthy cluster; layout_judge has them.
// Layers are made side by side.
bool layout_plan(const struct layout_task *task, enum placement_rule rule, struct layouts *layouts,
                 struct error *err);

// A layer of the task under a layout, by an engine from counted loads.
struct layout_case {
    const struct layout_task *task;
    uint32_t layer_index; // of the trace
    const struct layout *layout;
    enum engine engine;
};

// Means over the steps replayed, but for shares of load, which are of all of them together.
struct layout_figures {
    double layer_us, dispatch_us, experts_us, combine_us;
    double rank_max_mean, node_max_mean; // choices at the busiest over the mean
    double ranks_per_token, nodes_per_token;
    double replicas; // most of any expert
};

// Any number of threads may do this.
bool layout_judge(const struct layout_case *judged, struct layout_figures *figures,
                  struct error *err);

#endif
