// Before a run: whether engines can put times to a schedule.
#ifndef SCENARIO_FEASIBLE_H
#define SCENARIO_FEASIBLE_H

#include "model/schedule.h"

// Refuses (EXIT_INPUT) traffic on a link that the cluster lacks, a port or compute phase busy for
// more than 1,000 s (integer picoseconds end at 213 days, added up over all ports), and more (rank,
// peer, channel) lanes than the simulator lays out (2^26).
bool schedule_feasible(const struct schedule *schedule, struct error *err);

#endif
