// Layouts that are made for the loads at hand, as --layout eplb asks: from the counts of a trace's
// layer, or from what drawn routing draws. They have seen what they are judged on;
// study/layout_plan.h makes layouts on one part of a trace for another.
#ifndef SCENARIO_PLANNED_H
#define SCENARIO_PLANNED_H

#include "model/cluster.h"
#include "model/layout.h"
#include "scenario/scenario_def.h"
#include "traces/trace.h"

struct planned_def {
    const char *rule;   // "eplb", "eplb-global" or "greedy" (model/placement/placement.h)
    uint32_t redundant; // slots beyond one an expert
    const struct moe *moe;
    const struct cluster *cluster;
    const struct trace *trace; // and a layer of it; NULL: routing
    uint32_t layer_index;
    const struct routing *routing; // drawn
    uint64_t seed;
};

bool planned_is_rule(const char *what);

// Refuses slots that ranks do not divide ("--redundant N: ...").
bool planned_layout(struct layout *layout, const struct planned_def *def, struct error *err);

// What a layout (NULL: none) was planned on, for people; "" where it is no planned one.
#define PLANNED_TEXT_BYTES 512
const char *planned_text(const struct scenario_def *def, const struct layout *layout, char *text);

#endif
