// One transfer by discrete events. Private to sim/.
#ifndef SIM_MOVE_H
#define SIM_MOVE_H

#include "model/costs/kernel_costs.h"
#include "model/timing.h"
#include "sim/timeline.h"

// Runs a transfer whose starts stand in timing, and fills its ends, last senders, ports and events.
// `peers`: lanes that each rank starts (struct port_loads).
void move_transfer(const struct kernel_costs *costs, const double *peers, struct timeline *timeline,
                   struct timing *timing);

#endif
