// The bottleneck of a transfer, named alike by both engines.
#ifndef MODEL_ENGINE_BOTTLENECK_H
#define MODEL_ENGINE_BOTTLENECK_H

#include "model/costs/kernel_costs.h"
#include "model/timing.h"

// Names phases[transfer->phase].bottleneck once starts, ends and ports are filled. The phase's
// latency is taken apart into what its busiest port was busy, what SMs alone worked (the slowest
// rank's kernel times; work beside the wires counts in their place where it is longer), and the
// rest: launches, flags, hops, fills, queueing. The largest part is the bottleneck: a port,
// "gpu5.sm", "latency", or for the last, where it was mostly that, "the late arrival of gpu3". Of
// ports that are equally busy the sending one is named, and the first.
void bottleneck_name(const struct kernel_costs *costs, const struct kernel_times *slowest,
                     struct timing *timing);

#endif
