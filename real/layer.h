// The layer: one rank's six steps on a device, over a transport, by the schedule.
#ifndef REAL_LAYER_H
#define REAL_LAYER_H

#include "real/layer_state.h"

// Microseconds of one iteration on this rank.
struct layer_times {
    double phase_us[PHASE_COUNT];
    // Dispatch and combine: from the phase's start to the last byte of each stage.
    double stage_us[2][STAGES];
};

// Finds the backend, and makes weights and inputs. Each rank by itself: all must have succeeded
// before any goes on.
bool layer_prepare(struct layer *layer, const struct layer_setup *setup, struct error *err);
// Opens the backend; collective.
bool layer_open(struct layer *layer, struct error *err);
// After either, whatever came of it.
void layer_close(struct layer *layer);

// One iteration of all six steps; every phase begins with all ranks together. The first makes the
// plan, later ones check that the choices are the same.
bool layer_run(struct layer *layer, struct layer_times *times, struct error *err);

// After layer_run, in float32: this rank's hidden states A, choices, weights and output C of some
// tokens. a and c have count * hidden values, ids and weights count * topk.
struct layer_tokens {
    const uint32_t *token;
    uint32_t count;
    float *a, *c;
    uint16_t *ids;
    float *weights;
};
bool layer_read(struct layer *layer, const struct layer_tokens *tokens, struct error *err);

#endif
