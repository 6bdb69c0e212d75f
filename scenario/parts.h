// The parts of a scenario, and how each is resolved from its definition. Everyone reads them; only
// scenario/ resolves them (scenario/scenario.h).
#ifndef SCENARIO_PARTS_H
#define SCENARIO_PARTS_H

#include "model/cluster.h"
#include "model/dispatcher.h"
#include "model/layout.h"
#include "model/schedule.h"
#include "scenario/recorded.h"
#include "scenario/scenario_def.h"

#include <stdbool.h>
#include <stdint.h>

struct scenario {
    struct scenario_def def; // as asked; its layer and step are those sought last
    struct moe moe;
    struct cluster cluster;
    struct dispatcher dispatcher;
    const char *default_dispatcher; // its name, where tokens chose it; NULL: it was asked
    struct run run;
    struct routing routing;    // zero for a traffic matrix
    uint32_t *tokens;          // [ranks]
    uint64_t *traffic;         // [ranks * ranks] bytes; NULL: a layer is asked
    struct layout *layout;     // NULL: a traffic matrix, or unplaced
    uint32_t placed_layer;     // of the trace, whose layout that is
    struct recorded *recorded; // the trace; NULL: routing is drawn
    struct trace_view *view;   // of it, at the layer and step sought last
    uint64_t steps;            // of the trace, at this number of ranks and tokens
    struct loads *loads;       // NULL until made
    struct schedule *schedule; // NULL until made, and after a change
};

// The model: as asked, else a trace's or a measured row's own shape, else deepseek-v3. One that is
// asked must agree with the trace's in experts and top-k.
bool parts_resolve_moe(struct scenario *scenario, struct error *err);

// The dispatcher: as asked, else by tokens per rank. Notices more tokens than its library takes.
// What was changed in one by hand is lost when tokens make another the default.
bool parts_resolve_dispatcher(struct scenario *scenario, uint32_t tokens, struct error *err);

// Whether so many tokens make another dispatcher the default than the one that is there.
bool parts_dispatcher_depends(const struct scenario *scenario, uint32_t tokens);

// layout_load, and which --ep would do where there are too many ranks for its rule.
bool parts_load_layout(struct layout *layout, const char *what, int layer, uint32_t experts,
                       uint32_t ranks, struct error *err);

// The layout for the layer sought, in place of another; unplaced: none.
bool parts_resolve_layout(struct scenario *scenario, struct error *err);
void parts_release_layout(struct scenario *scenario);

// Drawn routing of so many tokens on every rank, or room for a trace's where one is open.
bool parts_resolve_routing(struct scenario *scenario, uint32_t tokens, struct error *err);

#endif
