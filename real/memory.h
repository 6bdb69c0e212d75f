// The layer's device memory: inputs, weights and outputs; and arrays that its backend adds. Private
// to the layer's own files.
#ifndef REAL_MEMORY_H
#define REAL_MEMORY_H

#include "real/layer_state.h"

// A device array that every iteration fills anew.
struct scratch {
    void *array;
    uint64_t bytes;
};

struct layer_memory {
    void **held; // [held_count]: every device array, released by memory_close
    size_t held_count;
    struct scratch *scratch; // [scratch_count]
    size_t scratch_count;

    void *input, *hidden, *output, *shared; // [tokens, hidden], activation
    void *router;                           // [experts, hidden]
    float *bias;                            // [experts]
    float *logits, *weights;                // [tokens, experts], [tokens, topk]
    uint16_t *ids;                          // [tokens, topk]
    int32_t *wide_ids;      // the same for a library that takes them; -1: dropped; NULL: not wanted
    void **gate_up, **down; // [slots of this rank], host array of device pointers
    void *shared_gate_up, *shared_down;
    void *shared_middle;  // workspace of the shared FFN
    uint64_t *ones_first; // device: 0, 1, 2 ..: each row from one
    uint32_t *ones_of;
};

// Inputs and weights; sticks in the device when memory runs out.
void memory_open(struct layer *layer);
void memory_close(struct layer *layer);

// Device arrays held until memory_close: of bytes, of rows of activations (both filled anew in
// every iteration), and of a host array's bytes. NULL, and it sticks in the device, when memory
// runs out.
void *memory_allocate(struct layer *layer, uint64_t bytes);
void *memory_allocate_dense(struct layer *layer, uint64_t rows, uint64_t width);
void *memory_upload(struct layer *layer, const void *host, uint64_t bytes);

// An array of somebody else's that every iteration fills anew, as it does those of memory_allocate.
void memory_add_scratch(struct layer *layer, void *array, uint64_t bytes);

// Overwrites all of them, so that what is found there later was made later. Whoever uploads choices
// does it again.
void memory_spoil(struct layer *layer);

// `base` as rows of hidden states in the device's own format, and as rows of floats.
struct row_block memory_dense(const struct layer *layer, void *base);
struct row_block memory_floats(void *base, uint32_t width);

enum row_format memory_format(enum dtype dtype);

#endif
