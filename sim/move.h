// One transfer by discrete events. Private to sim/.
#ifndef SIM_MOVE_H
#define SIM_MOVE_H

#include "model/timing.h"
#include "sim/timeline.h"

// Runs a transfer whose starts stand in timing, and fills its ends, feeders, ports and events.
void move(const struct schedule *schedule, const struct transfer *transfer,
          struct timeline *timeline, struct timing *timing);

#endif
