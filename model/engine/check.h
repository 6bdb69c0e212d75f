// Checks of any schedule and any run: what must hold whatever was asked.
#ifndef MODEL_ENGINE_CHECK_H
#define MODEL_ENGINE_CHECK_H

#include "model/timing.h"

// Before a run: whether engines can put times to the schedule. Refuses (EXIT_INPUT) traffic on a
// link that the cluster lacks, a port or compute phase busy for more than 1,000 s (integer
// picoseconds end at 213 days, added up over all ports), and more (rank, peer, channel) lanes than
// the simulator lays out (2^26).
bool schedule_check(const struct schedule *schedule, struct error *err);

// After one (--check). Every chosen expert is served exactly once (choices out equal choices in, by
// slot and by rank); bytes in equal bytes out over each medium; every port carried the schedule's
// bytes; no phase is below its port bound. From expected loads, sums are compared to 1e-9 relative.
// Returns false with EXIT_RUNTIME and what was broken.
bool timing_check(const struct schedule *schedule, const struct timing *timing, struct error *err);

#endif
