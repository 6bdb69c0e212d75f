// The critical path: the chain of phases and ranks that set the layer's end, from its last event
// back to its first. Private to sim/.
#ifndef SIM_CRITICAL_H
#define SIM_CRITICAL_H

#include "model/timing.h"

// Fills timing->path from the phases' ends and last senders.
void critical_path(const struct schedule *schedule, const struct run *run, struct timing *timing);

#endif
