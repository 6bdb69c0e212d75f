// What binds a transfer, said alike by both engines.
#ifndef MODEL_BINDING_H
#define MODEL_BINDING_H

#include "model/law.h"
#include "model/timing.h"

// The rank that ends the phase last; of several the first.
uint32_t binding_slowest(const struct timing *timing, enum phase phase);

// Names phases[transfer->phase].bottleneck once starts, ends and ports are filled. The phase's
// latency is taken apart into what its busiest port was busy, what SMs alone worked (the slowest
// rank's law terms; work beside the wires counts in their place where it is longer), and the rest:
// launches, flags, hops, fills, queueing. The largest part binds: a port, "gpu5.sm", "latency", or
// for the last, where it was mostly that, "the late arrival of gpu3". Of ports that are equally
// busy the sending one is named, and the first.
void binding_name(const struct schedule *schedule, const struct transfer *transfer,
                  const struct law_terms *slowest, struct timing *timing);

#endif
