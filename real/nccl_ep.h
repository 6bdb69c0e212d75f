// What the backends of NCCL EP hold, and what its two modes share. Private to real/nccl_ep*.c.
//
// The library knows experts by their slots: slot s of rank r is its expert r * slots + s, so that
// any layout of equal ranks runs.
#ifndef REAL_NCCL_EP_H
#define REAL_NCCL_EP_H

#include "real/backend.h"
#include "real/cuda.h"
#include "real/experts.h"
#include "real/nccl_ep_library.h"
#include "real/plan.h"

// Memory that the kernels of every rank reach.
struct window {
    void *memory;
    uint64_t bytes;
    ncclWindow_t handle;
};

struct nccl_ep {
    const struct nccl_ep_library *library;
    ncclComm_t comm;
    ncclEpGroup_t group;
    ncclEpHandle_t handle;
    uint32_t capacity; // tokens of a rank that the group's buffers hold

    void *received;  // what dispatch brings: low latency [slots, ranks * capacity, hidden], high
                     // throughput [ranks * capacity, hidden]
    float *scales;   // low latency, FP8: [slots, ranks * capacity, hidden / 128]
    void *results;   // what combine takes, in the shape of `received`, bf16
    int32_t *counts; // device: rows received, by slot or in all
    float *weights;  // high throughput: [ranks * capacity, topk], as they came
    int64_t *served_ids; // likewise, slots of this rank

    // Low latency: rows of each slot, and where they begin. Host memory [slots + 1], [slots].
    uint64_t *first, *at;
    uint32_t *used; // device [first[slots]]: rows of `received` in use
    void *middle;   // workspace of the FFN

    // High throughput.
    struct window received_window, results_window; // of `received` and `results`
    struct plan plan;                              // of dispatch: the rows that this rank serves
    bool planned;
    struct experts experts;
};

static inline struct nccl_ep *nccl_ep_of(const struct layer *layer)
{
    return layer->backend_state;
}

// Fails in one line with the call's name unless it succeeded.
bool nccl_ep_done(const char *call, ncclResult_t result, struct error *err);

// What either mode asks of a job.
bool nccl_ep_check(const struct layer_setup *setup, struct error *err);

// Group and handle of `algorithm` and `layout`; collective.
bool nccl_ep_open(struct layer *layer, ncclEpAlgorithm_t algorithm, ncclEpLayout_t layout,
                  struct error *err);
void nccl_ep_close(struct layer *layer);

// Tells the handle this step's choices: the first time they are also learnt for the plan.
// `received`: where the rows to come are counted; NULL: nowhere.
bool nccl_ep_notify(struct layer *layer, ncclEpTensor_t *received, struct error *err);

// A descriptor; `sizes` must last as long as it.
ncclEpTensor_t nccl_ep_tensor(void *data, ncclDataType_t type, uint32_t dimensions, size_t *sizes);

#endif
