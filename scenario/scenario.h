// A scenario: what was asked, resolved. It is opened once from a definition, sought along the
// layers and steps of a trace, cloned for a thread or for a what-if, and run by any engine:
//
//     struct scenario_def def = SCENARIO_DEFAULT;
//     struct scenario scenario;
//     struct timing timing;
//     def.ep = 32;
//     if (!scenario_open(&scenario, &def, err))
//         return false;
//     bool ok = scenario_run(&scenario, &engine_estimate, &timing, err);
//     ... timing_span(&timing, PHASE_DISPATCH) ...; timing_release(&timing);
//     scenario_release(&scenario);
//
// A variant is another scenario: change a copy of the definition and open that, or clone and change
// the clone's own cluster or dispatcher (scenario_touch). A scenario owns all that hangs on it, but
// for the trace, which clones hold together. Nothing in it points into it, so it may be moved in
// memory; a copy by assignment is no scenario. What is in it: scenario/parts.h.
#ifndef SCENARIO_SCENARIO_H
#define SCENARIO_SCENARIO_H

#include "model/engine/engine.h"
#include "scenario/parts.h"
#include "scenario/place.h"
#include "scenario/scenario_def.h"

#include <stdbool.h>
#include <stdint.h>

// Resolves all of it but loads and schedule. A trace's tokens per rank default to what it holds for
// a rank in one step (scenario_trace_tokens). Errors name the flag: "--ep: ...". After a failure
// there is nothing to release.
bool scenario_open(struct scenario *scenario, const struct scenario_def *def, struct error *err);

// The same at a place that is open already and may be shared by several scenarios: copied or held.
// Says nothing of a trace that wraps or is cut short (trace_steps does).
bool scenario_open_at(struct scenario *scenario, const struct scenario_def *def,
                      const struct place *place, struct error *err);

// Goes on to another layer and step of its trace. Only what these decide is resolved again: tokens
// and the layer's layout. The dispatcher stays. After a failure there is no layer
// and step until some are found; release is due all the same.
bool scenario_seek(struct scenario *scenario, uint32_t layer, uint64_t step, struct error *err);

// Goes on with another part of the same trace; to be sought before anything else.
void scenario_use_part(struct scenario *scenario, struct recorded *part);

// A scenario of its own, as far as the original is: for another thread, or to be changed. It writes
// no timeline.
void scenario_clone(struct scenario *clone, const struct scenario *origin);

// After a change of cluster, dispatcher or moe by hand: the schedule is made anew when next needed.
// Loads stay, and so does what scenario_prepare found of them: what no engine can put times to
// after the change is not refused.
void scenario_touch(struct scenario *scenario);

// Takes the dispatcher that was chosen for all that is asked, where none was asked by name.
bool scenario_take_choice(struct scenario *scenario, const struct choice *choice,
                          struct error *err);

// Takes the layout, which is on the heap, in place of its own, whatever layer is sought. Its loads
// are gone.
void scenario_set_layout(struct scenario *scenario, struct layout *layout);

// Expects the loads in closed form or counts them, and makes the schedule, unchecked. A trace and a
// traffic matrix are always counted.
void scenario_load(struct scenario *scenario, enum loads_kind kind);

// Loads and schedule as the engine reads them, where they are not there yet: what the definition's
// `loads` says, else what the engine does; engines of both kinds by turns make them anew each time.
// Refuses what no engine can put times to (schedule_feasible).
bool scenario_prepare(struct scenario *scenario, const struct engine *engine, struct error *err);

// Prepares and runs. After success the timing is released by timing_release.
bool scenario_run(struct scenario *scenario, const struct engine *engine, struct timing *timing,
                  struct error *err);

// Why a layer takes longer than it must.
enum scenario_cause {
    SCENARIO_ROUTING = 1, // loads that differ between ranks
    SCENARIO_SLOW = 2,    // slow parts of the cluster
    SCENARIO_ARRIVAL = 4, // ranks that arrive late
};

// Runs a prepared scenario again without some of its causes, a bit set of enum scenario_cause, and
// without a timeline: without SCENARIO_ROUTING the same traffic is spread evenly over ranks
// (model/balanced.h).
void scenario_run_without(const struct scenario *scenario, unsigned causes,
                          const struct engine *engine, struct timing *timing);

void scenario_release(struct scenario *scenario);

// The trace, or NULL.
const struct trace *scenario_trace(const struct scenario *scenario);

// Steps [first, last) of the trace may leave memory (trace_forget).
void scenario_forget(const struct scenario *scenario, uint64_t first, uint64_t last);

// Tokens per rank in one step where none are asked: what the trace holds, 1 to SCENARIO_TOKENS.
uint32_t scenario_trace_tokens(const struct trace *trace, uint32_t ranks);

// Refuses a layer that the trace does not have, and tokens (0: none asked) of one that says them.
bool scenario_check_layer(const struct trace *trace, uint32_t layer, struct error *err);
bool scenario_check_tokens(const struct trace *trace, uint32_t tokens, struct error *err);

#endif
