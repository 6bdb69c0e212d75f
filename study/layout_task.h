// What layouts are made for and judged on: two parts of a trace on one cluster, as in deployments,
// where a plan is always older than what it serves.
#ifndef STUDY_LAYOUT_TASK_H
#define STUDY_LAYOUT_TASK_H

#include "scenario/scenario.h"
#include "study/extrapolate.h"
#include "model/placement/placement.h"

// From one share of a trace to another.
struct share {
    double from, to;
};

struct layout_task {
    // On the part that layouts are judged on; unplaced. Its def.tokens are those per rank in one
    // step; 0: the trace has steps of its own.
    struct scenario scenario;
    struct recorded *plan; // the part that they are made from
    uint32_t *layers;      // [layer_count] of the trace, from 0
    uint32_t layer_count;
    struct placement_shape shape;
    uint32_t search_steps;
    uint64_t seed;
};

struct layout_task_def {
    const struct scenario_def *scenario; // its tokens 0: what the shorter part holds for a rank, at
                                         // most 4,096
    struct share plan, replay;
    uint32_t redundant;
    const uint32_t *layers; // [layer_count]; none: all
    uint32_t layer_count;
    uint32_t search_steps;
};

// Opens the trace and resolves all but the layout. Where more tokens are asked than a part holds it
// wraps around, with a notice.
bool layout_task_init(struct layout_task *task, const struct layout_task_def *def,
                      struct error *err);
void layout_task_release(struct layout_task *task);

// Adds what the steps judged extrapolate under any layout, by the fits; nothing is run. False: a
// step cannot be read.
bool layout_task_extrapolates(const struct layout_task *task, const struct fits *fits,
                              struct extrapolation *extrapolation, struct error *err);

#endif
