#include "real/layer_graph.h"

#include "real/backend.h"
#include "real/memory.h"

// Marks of the device's clock where the six steps have theirs.
enum { LAYER_BEGINS = 2 * PHASE_LAYER, LAYER_ENDS };

bool layer_graph_has(const struct layer *layer, enum phase phase)
{
    if (phase == PHASE_ROUTER)
        return layer->setup.router;
    if (phase == PHASE_NOTIFY)
        return layer->backend->queues_notify;
    if (phase == PHASE_SHARED)
        return layer->setup.scenario->moe.shared_intermediate > 0;
    return phase < PHASE_ALLTOALL;
}

// The shared expert beside the others: it needs RMSNorm alone, and only its sum has to wait.
static void give_shared_beside(struct layer *layer, enum phase phase)
{
    struct device *device = layer->setup.device;
    if (phase == PHASE_RMSNORM) {
        device_follow(device, STREAM_BESIDE, STREAM_COMPUTE);
        layer_run_shared(layer, STREAM_BESIDE);
    } else if (phase == PHASE_SHARED) {
        device_follow(device, STREAM_COMPUTE, STREAM_BESIDE);
        layer_add_shared(layer);
    }
}

static bool give_layer(struct layer *layer, enum overlap overlap, struct error *err)
{
    const bool beside = overlap != OVERLAP_NONE && layer_graph_has(layer, PHASE_SHARED);
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++) {
        if (!layer_graph_has(layer, phase))
            continue;
        if (!(beside && phase == PHASE_SHARED) && !layer_give_phase(layer, phase, err))
            return false;
        layer_join_stages(layer);
        if (beside)
            give_shared_beside(layer, phase);
    }
    return true;
}

// All ranks capture side by side: whether an exchange is captured must be the same on all, and NCCL
// may communicate while it is.
bool layer_capture(struct layer *layer, enum overlap overlap, void **graph, struct error *err)
{
    const struct layer_setup *setup = &layer->setup;
    *graph = NULL;
    if (!transport_barrier(setup->transport, err) || !give_layer(layer, overlap, err) ||
        !transport_barrier(setup->transport, err))
        return false;
    device_capture_begin(setup->device);
    const bool given = give_layer(layer, overlap, err);
    *graph = device_capture_end(setup->device);
    return given && device_sync(setup->device, err);
}

bool layer_replay(struct layer *layer, void *graph, double *us, struct error *err)
{
    struct device *device = layer->setup.device;
    if (!transport_barrier(layer->setup.transport, err))
        return false;
    device_hold(device, STREAM_COMPUTE);
    device_mark(device, STREAM_COMPUTE, LAYER_BEGINS);
    device_replay(device, graph);
    device_mark(device, STREAM_COMPUTE, LAYER_ENDS);
    if (!transport_let_go(layer->setup.transport, device, err) || !device_sync(device, err))
        return false;
    *us = device_elapsed_us(device, LAYER_BEGINS, LAYER_ENDS);
    return true;
}

// Other ranks may read what is here until they have ended, too.
bool layer_spoil(struct layer *layer, struct error *err)
{
    if (!transport_barrier(layer->setup.transport, err))
        return false;
    memory_spoil(layer);
    if (!layer_graph_has(layer, PHASE_ROUTER))
        choices_upload(layer);
    return device_sync(layer->setup.device, err);
}
