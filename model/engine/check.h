// Checks of a run: what must hold whatever was asked.
#ifndef MODEL_ENGINE_CHECK_H
#define MODEL_ENGINE_CHECK_H

#include "model/timing.h"

// Option --check. Every chosen expert is served exactly once (choices out equal choices in, by
// slot and by rank); bytes in equal bytes out over each medium; every port carried the schedule's
// bytes; no phase is below its port bound. From expected loads, sums are compared to 1e-9 relative.
// Returns false with EXIT_RUNTIME and what was broken.
bool timing_check(const struct schedule *schedule, const struct timing *timing, struct error *err);

#endif
