// The parts of a scenario, and how each is resolved from its definition. Everyone reads them; only
// scenario/ resolves them (scenario/scenario.h).
#ifndef SCENARIO_PARTS_H
#define SCENARIO_PARTS_H

#include "model/cluster.h"
#include "model/dispatcher.h"
#include "model/costs/kernels.h"
#include "model/layout_file.h"
#include "model/schedule.h"
#include "scenario/recorded.h"
#include "scenario/scenario_def.h"

#include <stdbool.h>
#include <stdint.h>

#define CHOICE_WHY_BYTES 1024

// The default dispatcher (scenario/choice.h).
struct choice {
    char dispatcher[FIELD_TEXT_BYTES]; // name of the preset
    char why[CHOICE_WHY_BYTES];        // for people; "": it was asked, or is the only one there is
};

struct scenario {
    struct scenario_def def; // as asked; its layer and step are those sought last
    struct moe moe;
    struct cluster cluster;
    struct dispatcher dispatcher;
    struct kernels kernels;
    struct choice choice; // why that dispatcher, where none was asked
    struct run run;
    struct routing routing;    // zero for a traffic matrix
    uint32_t *tokens;          // [ranks]
    uint64_t *traffic;         // [ranks * ranks] bytes; NULL: a layer is asked
    struct layout *layout;     // NULL: a traffic matrix, or unplaced
    struct layout *served;     // the same with slots for fused shared experts; NULL: none are
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

// The dispatcher of that name. Notices more tokens per rank than its library takes.
bool parts_resolve_dispatcher(struct scenario *scenario, const char *name, uint32_t tokens,
                              struct error *err);

// Takes the dispatcher as it is loaded, with what the definition changes of it.
void parts_set_dispatcher(struct scenario *scenario, const struct dispatcher *dispatcher);

// What dispatch and combine move, once model and dispatcher are there: as the definition or the
// model asks; else dispatch moves what the experts compute in where the dispatcher can, and bf16
// where it cannot. False where what was asked is no payload of the dispatcher's.
bool parts_settle_dtypes(struct scenario *scenario, struct error *err);
// Notices experts that compute in what the dispatcher does not take.
void parts_tell_dtype(const struct scenario *scenario);

// Tokens of a rank that its library takes; UINT32_MAX: no limit.
uint32_t parts_max_tokens(const struct dispatcher *dispatcher);

// The compute kernels: as asked, else those that engines deploy. Where nothing computes, none.
bool parts_resolve_kernels(struct scenario *scenario, struct error *err);

// layout_load, and which --ep would do where there are too many ranks for its rule.
bool parts_load_layout(struct layout *layout, const char *what, const struct layout_wanted *wanted,
                       struct error *err);

// The model that says which layers a file of layouts has rows for: the trace's own where it states
// one; else `moe`, unless a trace has layers that are none of its MoE layers. NULL: none says.
const struct moe *parts_layer_model(const struct trace *trace, const struct moe *moe);

// The layout for the layer sought, in place of another; unplaced: none. One that is planned on
// drawn loads needs the routing first.
bool parts_resolve_layout(struct scenario *scenario, struct error *err);
void parts_release_layout(struct scenario *scenario);

// Takes the layout, on the heap, in place of another.
void parts_set_layout(struct scenario *scenario, struct layout *layout);

// The layout that loads and schedule are of.
const struct layout *parts_served_layout(const struct scenario *scenario);

// The loads of the scenario's routing over its layout, shared experts that are fused among them.
void parts_make_loads(const struct scenario *scenario, bool expected, struct loads *loads);

// Makes the schedule of the scenario's loads, or of others: the layer, or what the definition
// leaves of it. Released by schedule_release.
void parts_schedule(const struct scenario *scenario, const struct loads *loads,
                    struct schedule *schedule);

// Drawn routing of so many tokens on every rank, or room for a trace's where one is open.
bool parts_resolve_routing(struct scenario *scenario, uint32_t tokens, struct error *err);

#endif
