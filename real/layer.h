// The layer: one rank's six steps on a device, over a transport, by the schedule.
#ifndef REAL_LAYER_H
#define REAL_LAYER_H

#include "model/question.h"
#include "real/device.h"
#include "real/plan.h"
#include "real/transport.h"

#include <stdbool.h>
#include <stdint.h>

struct layer_setup {
    const struct setting *setting; // resolved; its loads are made by the layer
    uint32_t rank;
    bool router; // choices by the router on A; otherwise by the setting's routing
    // Rule trace with recorded weights: fills weights[topk] of a token of a rank; NULL: equal ones.
    void (*weights)(const void *context, uint32_t rank, uint32_t token, float *weights);
    const void *weights_context;
    const struct device_table *table;
    struct device *device;
    const struct transport_table *wires;
    struct transport *transport;
};

// Microseconds of one iteration on this rank.
struct layer_times {
    double phase_us[PHASE_COUNT];
    double stage_us[2]
                   [STAGES]; // dispatch, combine: from the phase's start to the stage's last byte
};

struct layer {
    struct layer_setup setup;
    struct routing routing; // of all ranks' choices, once they are known
    uint16_t *all_ids;      // [world tokens * topk], ranks in order
    uint64_t *token_first;  // [ranks + 1] into them
    struct loads loads;
    struct schedule schedule;
    struct plan dispatch, combine;
    struct layer_memory *memory; // device buffers
    bool planned;
};

// Makes weights and inputs. Collective; what one rank cannot do, all ranks report.
bool layer_open(struct layer *layer, const struct layer_setup *setup, struct error *err);
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
