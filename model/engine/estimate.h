// The closed form: the same timing struct from the same loads, without events.
#ifndef MODEL_ENGINE_ESTIMATE_H
#define MODEL_ENGINE_ESTIMATE_H

#include "model/engine/engine.h"

// Puts times to a schedule: per rank and phase, when its ports and copy engines have passed what
// they must, those of the ranks that send to it too, plus what it takes to fill and drain the
// pipeline around them, plus fixed costs. From expected loads also the expected maximum over ranks
// (loads_expected_max).
// Monotone: more tokens or bytes never take less, a higher rate never more.
void estimate(const struct schedule *schedule, const struct run *run, struct timing *timing);
extern const struct engine engine_estimate;

// The bytes of a phase's busiest port of those that a GPU has, over its datasheet's rate, which no
// measurement passes. The phase's bound is by the effective rate, a fitted mean, which some do.
double nominal_bound_ps(const struct cluster *cluster, const struct timing *timing,
                        enum phase moved);

// What most calculators do: bytes of the busiest rank over nominal NVLink or NIC rate, plus 10 us.
extern const struct engine engine_naive;

#endif
