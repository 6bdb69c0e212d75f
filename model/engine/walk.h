// What all engines do alike: the order of a layer's phases on each rank's clock.
#ifndef MODEL_ENGINE_WALK_H
#define MODEL_ENGINE_WALK_H

#include "model/engine/port_loads.h"
#include "model/timing.h"

// An engine's part: puts times to one transfer. Reads each rank's start from
// timing->phases[].start_ps, fills end_ps and what else it knows.
typedef void walk_transfer_times(void *context, const struct kernel_costs *costs,
                                 const struct run *run, struct timing *timing);

// Puts times to every phase in order, calling `times` for the ones that move data.
void walk_layer(const struct schedule *schedule, const struct run *run, struct timing *timing,
                walk_transfer_times *times, void *context);

// Fills bytes, bound and the port list of a transfer from its loads; busy time is bytes over rate
// plus what messages cost.
void walk_note_ports(const struct kernel_costs *costs, const struct port_loads *loads,
                     struct timing *timing);

// The bottleneck of a transfer, named alike by all engines: names
// phases[transfer->phase].bottleneck once starts, ends and ports are filled. The phase's latency is
// taken apart into what its busiest port was busy, what SMs alone worked (the slowest rank's kernel
// times; work beside the wires counts in their place where it is longer), and the rest: launches,
// flags, hops, fills, queueing. The largest part is the bottleneck: a port, "gpu5.sm", "latency",
// or for the last, where it was mostly that, "the late arrival of gpu3". Of ports that are equally
// busy the sending one is named, and the first.
void bottleneck_name(const struct kernel_costs *costs, const struct kernel_times *slowest,
                     struct timing *timing);

#endif
