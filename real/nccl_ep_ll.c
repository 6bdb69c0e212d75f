// NCCL EP, low latency: expert-major rows in fixed room, which the grouped FFN takes where they
// stand; FP8 rows are widened in place first. Weights are applied where tokens come home.
#include "real/nccl_ep.h"

#include "base/mem.h"
#include "real/kernels.h"
#include "real/memory.h"

#include <stdlib.h>

#define LL_HIDDEN 512 // a multiple of it: nccl_ep.h, DS_FP8E3M4, and its kernels' own limits
#define LL_TOPK 31    // its kernels' limit

static bool ll_check(const struct layer_setup *setup, struct error *err)
{
    const struct scenario *scenario = setup->scenario;
    const struct moe *moe = &scenario->moe;
    const char *name = scenario->dispatcher.name;
    if (moe->dispatch_dtype != DTYPE_BF16 && moe->dispatch_dtype != DTYPE_FP8)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: dispatch_dtype %s: expected bf16 or fp8", name,
                         dtype_names[moe->dispatch_dtype]);
    if (moe->hidden % LL_HIDDEN || moe->topk > LL_TOPK)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: hidden %u, topk %u: NCCL EP's low-latency kernels take "
                         "multiples of %d and at most %d",
                         name, moe->hidden, moe->topk, LL_HIDDEN, LL_TOPK);
    return nccl_ep_check(setup, err);
}

static bool is_fp8(const struct layer *layer)
{
    return layer->setup.scenario->moe.dispatch_dtype == DTYPE_FP8;
}

// Rows of one slot's room.
static uint64_t ll_room(const struct layer *layer)
{
    return (uint64_t)nccl_ep_of(layer)->capacity * layer->setup.scenario->routing.ranks;
}

static bool ll_open(struct layer *layer, struct error *err)
{
    const struct moe *moe = &layer->setup.scenario->moe;
    const uint32_t slots = layer_own_slots(layer);
    if (!nccl_ep_open(layer, NCCL_EP_ALGO_LOW_LATENCY, NCCL_EP_LAYOUT_EXPERT_MAJOR, err))
        return false;
    struct nccl_ep *ep = nccl_ep_of(layer);
    const uint64_t rows = slots * ll_room(layer);
    ep->results = memory_allocate_dense(layer, rows, moe->hidden);
    ep->received = is_fp8(layer) ? memory_allocate(layer, rows * moe->hidden)
                                 : memory_allocate_dense(layer, rows, moe->hidden);
    if (is_fp8(layer))
        ep->scales = memory_allocate(layer, rows * (moe->hidden / FP8_BLOCK) * sizeof(float));
    ep->counts = memory_allocate(layer, slots * sizeof *ep->counts);
    return device_sync(layer->setup.device, err);
}

// How many rows each slot is to have: the layout's share of every token's choices.
static void count_slots(struct layer *layer)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const struct layout *layout = layer->setup.scenario->layout;
    const uint32_t own = layout->rank_slot[layer->setup.rank], slots = layer_own_slots(layer);
    const struct routing *routing = &layer->routing;
    uint16_t ids[MOE_MAX_TOPK];
    ep->first = mem_alloc((size_t)slots + 1, sizeof *ep->first);
    for (uint32_t r = 0; r < routing->ranks; r++)
        for (uint32_t t = 0; t < routing->tokens[r]; t++) {
            routing_row(routing, r, t, ids);
            for (uint32_t k = 0; k < routing->topk; k++) {
                const uint32_t slot =
                    ids[k] == ROUTING_DROPPED ? UINT32_MAX : layout_slot(layout, ids[k], t);
                if (slot >= own && slot < own + slots)
                    ep->first[slot - own + 1]++;
            }
        }
    free(plan_list_starts(ep->first, slots));
}

static bool ll_plan(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const struct moe *moe = &layer->schedule.moe;
    const uint32_t slots = layer_own_slots(layer);
    (void)err;
    count_slots(layer);
    const uint64_t rows = ep->first[slots];
    uint32_t *used = mem_alloc(rows + 1, sizeof *used);
    ep->at = mem_alloc(slots, sizeof *ep->at);
    for (uint32_t s = 0; s < slots; s++) {
        ep->at[s] = s * ll_room(layer);
        for (uint64_t row = ep->first[s]; row < ep->first[s + 1]; row++)
            used[row] = (uint32_t)(ep->at[s] + row - ep->first[s]);
    }
    ep->used = memory_upload(layer, used, rows * sizeof *used);
    ep->middle = memory_allocate_dense(layer, rows, 3ull * moe->intermediate);
    free(used);
    return true;
}

// The library only keeps the choices here; nothing is queued.
static bool ll_notify(struct layer *layer, struct error *err)
{
    return nccl_ep_notify(layer, NULL, err);
}

static bool ll_dispatch(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const uint32_t hidden = layer->schedule.moe.hidden, slots = layer_own_slots(layer);
    size_t in_sizes[2] = {layer_own_tokens(layer), hidden};
    size_t out_sizes[3] = {slots, ll_room(layer), hidden};
    size_t scale_sizes[3] = {slots, ll_room(layer), hidden / FP8_BLOCK};
    size_t count_sizes[1] = {slots};
    ncclEpTensor_t in = nccl_ep_tensor(layer->memory->hidden, ncclBfloat16, 2, in_sizes);
    ncclEpTensor_t out =
        nccl_ep_tensor(ep->received, is_fp8(layer) ? ncclFloat8e4m3 : ncclBfloat16, 3, out_sizes);
    ncclEpTensor_t scales = nccl_ep_tensor(ep->scales, ncclFloat32, 3, scale_sizes);
    ncclEpTensor_t counts = nccl_ep_tensor(ep->counts, ncclInt32, 1, count_sizes);
    ncclEpDispatchInputs_t inputs = NCCL_EP_DISPATCH_INPUTS_INIT;
    ncclEpDispatchOutputs_t outputs = NCCL_EP_DISPATCH_OUTPUTS_INIT;
    ncclEpLayoutInfo_t info = NCCL_EP_LAYOUT_INFO_INIT;
    ncclEpDispatchConfig_t config = NCCL_EP_DISPATCH_CONFIG_INIT;
    inputs.tokens = &in;
    outputs.tokens = &out;
    outputs.scales = is_fp8(layer) ? &scales : NULL;
    info.expert_counters = &counts;
    config.quant_recipe = is_fp8(layer) ? NCCL_EP_DISP_QUANT_DS_FP8E3M4 : NCCL_EP_DISP_QUANT_NONE;
    return nccl_ep_done("ncclEpDispatch",
                        ep->library->dispatch(ep->handle, &inputs, &outputs, &info, &config,
                                              cuda_stream(layer->setup.device, STREAM_COMPUTE)),
                        err);
}

static bool ll_experts(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    const uint32_t slots = layer_own_slots(layer);
    const cudaStream_t stream = cuda_stream(layer->setup.device, STREAM_COMPUTE);
    if (is_fp8(layer) &&
        kernel_widen(stream, &(struct fp8_rows){ep->results, ep->received, ep->scales, ep->used,
                                                ep->first[slots], moe->hidden}) != cudaSuccess)
        return error_set(err, EXIT_RUNTIME, "NCCL EP: rows could not be widened");
    device_ffn(layer->setup.device, &(struct ffn){.groups = slots,
                                                  .hidden = moe->hidden,
                                                  .intermediate = moe->intermediate,
                                                  .first = ep->first,
                                                  .at = ep->at,
                                                  .gate_up = (const void *const *)memory->gate_up,
                                                  .down = (const void *const *)memory->down,
                                                  .in = is_fp8(layer) ? ep->results : ep->received,
                                                  .out = ep->results,
                                                  .middle = ep->middle});
    return true;
}

static bool ll_combine(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const struct moe *moe = &layer->schedule.moe;
    size_t in_sizes[3] = {layer_own_slots(layer), ll_room(layer), moe->hidden};
    size_t out_sizes[2] = {layer_own_tokens(layer), moe->hidden};
    size_t weight_sizes[2] = {layer_own_tokens(layer), moe->topk};
    ncclEpTensor_t in = nccl_ep_tensor(ep->results, ncclBfloat16, 3, in_sizes);
    ncclEpTensor_t out = nccl_ep_tensor(layer->memory->output, ncclBfloat16, 2, out_sizes);
    ncclEpTensor_t weights = nccl_ep_tensor(layer->memory->weights, ncclFloat32, 2, weight_sizes);
    ncclEpCombineInputs_t inputs = NCCL_EP_COMBINE_INPUTS_INIT;
    ncclEpCombineOutputs_t outputs = NCCL_EP_COMBINE_OUTPUTS_INIT;
    inputs.tokens = &in;
    outputs.tokens = &out;
    outputs.topk_weights = &weights;
    return nccl_ep_done("ncclEpCombine",
                        ep->library->combine(ep->handle, &inputs, &outputs, NULL,
                                             cuda_stream(layer->setup.device, STREAM_COMPUTE)),
                        err);
}

static bool ll_check_received(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const uint32_t slots = layer_own_slots(layer);
    int32_t *counts = mem_alloc(slots, sizeof *counts);
    bool ok = device_sync(layer->setup.device, err);
    if (ok)
        device_download(layer->setup.device, counts, ep->counts, slots * sizeof *counts);
    for (uint32_t s = 0; ok && s < slots; s++) {
        const uint64_t planned = ep->first[s + 1] - ep->first[s];
        if ((uint64_t)counts[s] != planned)
            ok = error_set(err, EXIT_RUNTIME,
                           "rank %u: slot %u received %d rows, the schedule says %llu",
                           layer->setup.rank, s, counts[s], (unsigned long long)planned);
    }
    free(counts);
    return ok;
}

const struct backend backend_nccl_ep_ll = {
    .takes_wide_ids = true,
    .queues_notify = true,
    .check = ll_check,
    .open = ll_open,
    .close = nccl_ep_close,
    .plan = ll_plan,
    .notify = ll_notify,
    .dispatch = ll_dispatch,
    .experts = ll_experts,
    .combine = ll_combine,
    .check_received = ll_check_received,
};
