// What a layer holds, for the files that make up the layer and those that read it.
#ifndef REAL_LAYER_STATE_H
#define REAL_LAYER_STATE_H

#include "scenario/scenario.h"
#include "real/transport.h"

struct layer_setup {
    const struct scenario *scenario; // resolved; its loads are made by the layer
    uint32_t rank;
    bool router;        // choices by the router on A; otherwise by the scenario's routing
    bool device_shared; // with other ranks
    bool check_rows;    // whether they arrive as they were sent: between iterations
    const struct trace_view *weights; // where weights were recorded; NULL: equal ones
    struct device *device;
    struct transport *transport;
};

struct layer {
    struct layer_setup setup;
    const struct backend *backend; // real/backend.h
    void *backend_state;           // what it holds between open and close
    struct routing routing;        // of all ranks' choices, once they are known
    uint16_t *all_ids;             // [world tokens * topk], ranks in order
    uint64_t *token_first;         // [ranks + 1] into them, by tokens
    int *choices, *choice_first;   // [ranks] how many each rank has of them, and where
    struct loads loads;
    struct schedule schedule;
    struct layer_memory *memory; // device buffers: real/memory.h
    bool planned;
};

// The stream of a stage's exchanges.
static inline enum stream exchange_stream(enum stage stage)
{
    return stage == STAGE_INTER ? STREAM_INTER : STREAM_INTRA;
}

static inline uint32_t layer_own_tokens(const struct layer *layer)
{
    return layer->setup.scenario->routing.tokens[layer->setup.rank];
}

// Expert slots of this rank.
static inline uint32_t layer_own_slots(const struct layer *layer)
{
    const uint32_t *first = layer->setup.scenario->layout->rank_slot + layer->setup.rank;
    return first[1] - first[0];
}

// --- choices of experts: real/choices.c. Private to the layer's own files ------------------------

// Makes layer->routing the routing of all ranks' choices, once choices_learn has filled them in.
void choices_open(struct layer *layer);
void choices_close(struct layer *layer);

// Choices that a rule or trace made: uploaded, as if the router had written them.
void choices_upload(struct layer *layer);

// Notify: every rank's choices on every rank. The first time they are kept; later ones must be the
// same. Collective.
bool choices_learn(struct layer *layer, struct error *err);

// This rank's choices of some tokens: ids and weights have count * topk values.
void choices_read(struct layer *layer, const uint32_t *token, uint32_t count, uint16_t *ids,
                  float *weights);

// --- the steps: real/layer.c, for real/layer_graph.c ---------------------------------------------

// One step's work, queued. The shared expert's has two parts: its FFN in the order of the compute
// stream or of STREAM_BESIDE, and adding that to the output, which the compute stream does.
bool layer_give_phase(struct layer *layer, enum phase phase, struct error *err);
void layer_run_shared(struct layer *layer, enum stream stream);
void layer_add_shared(struct layer *layer);

// Once a step has ended: queues the checksums of what it moved, where rows are checked.
void layer_take_sums(struct layer *layer, enum phase phase);

// --- what backends take of the layer -------------------------------------------------------------

// Later work on the compute stream waits for both stages.
void layer_join_stages(struct layer *layer);

// Mark of the device clock at the last byte of a stage. Smaller marks are the phases': two each.
uint32_t movement_mark(bool gather, enum stage stage);

#endif
