// The movement of a transfer's rows between ranks, round by round of its plan, with the copies and
// sums between its stages. Private to the layer's own files.
#ifndef REAL_MOVEMENT_H
#define REAL_MOVEMENT_H

#include "real/layer_state.h"

// Dispatch scatters rows from sent to served, combine gathers them back. Begins after what the
// compute stream has been given; what has come may be used by later work on the stages' streams.
// Every rank calls it with the same transfer.
bool movement_run(struct layer *layer, const struct transfer *transfer, struct error *err);

// Mark of the device clock at the last byte of a stage. Smaller marks are the phases': two each.
uint32_t movement_mark(bool gather, enum stage stage);

#endif
