// What both engines do alike: the order of a layer's phases on a rank's clock.
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "model/timing.h"

// Puts times to every phase in order, calling `transfer` for the ones that move data: it reads each
// rank's start from timing->phases[].start_ps and fills end_ps and what else it knows.
typedef void engine_transfer(void *context, const struct schedule *schedule,
                             const struct transfer *transfer, const struct run *run,
                             struct timing *timing);
void engine_walk(const struct schedule *schedule, const struct run *run, struct timing *timing,
                 engine_transfer *transfer, void *context);

// Fills bytes, bound and the port list of a transfer from its loads; busy time is bytes over rate
// plus what messages cost.
void engine_note_ports(const struct schedule *schedule, const struct transfer *transfer,
                       struct timing *timing);

#endif
