// What both engines do alike: the order of a layer's phases on a rank's clock.
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "model/timing.h"

// The clocks of all ranks as a layer goes on. An engine walks the phases in order; compute phases
// are the same for both, transfers are the engine's own.
struct clocks {
    uint64_t *now_ps; // [ranks]
    uint32_t ranks;
    uint64_t floor_ps; // some rank, not known which, is not before this
};
void clocks_init(struct clocks *clocks, const struct schedule *schedule, const struct run *run);
void clocks_release(struct clocks *clocks);

// Brings every clock to the latest; the rank that was last, or UINT32_MAX when there is none.
uint32_t clocks_align(struct clocks *clocks);

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
