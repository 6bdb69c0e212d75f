// The layer's device memory. Private to the layer's own files.
#ifndef REAL_MEMORY_H
#define REAL_MEMORY_H

#include "real/layer_state.h"

// Rows on their way through a transfer; which are there depends on the plan.
struct path {
    struct row_block sent, crossed, relayed, served;
    uint64_t *relayed_first; // copies of the plan's lists, on the device
    uint32_t *relayed_of, *relay_from;
};

struct layer_memory {
    void **held; // [held_count]: every device array below
    size_t held_count;

    // Held from layer_open on.
    void *input, *hidden, *output, *shared; // [tokens, hidden], activation
    void *router;                           // [experts, hidden]
    float *bias;                            // [experts]
    float *logits, *weights;                // [tokens, experts], [tokens, topk]
    uint16_t *ids;                          // [tokens, topk]
    void **gate_up, **down;                 // [slots of this rank], host array of device pointers
    void *shared_gate_up, *shared_down;
    void *shared_middle; // workspace of the shared FFN

    // Made with the plan.
    struct path dispatch, combine;
    uint64_t expert_rows;  // rows that the experts work on, grouped by slot
    uint64_t *group_first; // host [slots + 1]
    uint32_t *group_from;  // device [expert_rows]: row of served
    void *group_in, *group_out, *group_middle;
    uint32_t *sent_token;   // device: token of each row of sent; UINT32_MAX: unused
    uint64_t *served_first; // device CSR: rows of group_out that make up each row of served
    uint32_t *served_of;
    float *served_weight; // device; made anew from what dispatch brought; NULL: home weighs
    uint32_t *weight_at;  // device [expert_rows]: place of each entry's weight
    float *brought;       // device [served_rows * topk]: weights as they came
    uint64_t *home_first; // device CSR: rows of sent that make up each token
    uint32_t *home_of;
    float *home_weight;    // device, reduce home: weight of each entry
    uint32_t *home_choice; // device, reduce home: token * topk + k of each entry
    uint64_t *ones_first;  // device: 0, 1, 2 ..: each row from one
    uint32_t *ones_of;
};

// Inputs and weights; sticks in the device when memory runs out.
void memory_open(struct layer *layer);
// Buffers and lists of the plan.
void memory_plan(struct layer *layer);
void memory_close(struct layer *layer);

// Bytes of a wire row's payload, where metadata follow.
size_t memory_payload(const struct layer *layer, const struct transfer *transfer);
enum row_format memory_format(enum dtype dtype);

#endif
