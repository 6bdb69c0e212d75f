// NCCL EP, high throughput: a row per token and rank, in the order of source ranks and their
// tokens. Rows live in symmetric windows, so that kernels read and write them where they are and
// the host waits for nothing. The results of a row's experts are weighted and summed here, before
// combine.
#include "real/nccl_ep.h"

#include "base/mem.h"
#include "real/memory.h"

#include <mpi.h>
#include <stdlib.h>

#define HT_HIDDEN 8 // rows are whole 16 bytes

static bool ht_check(const struct layer_setup *setup, struct error *err)
{
    const struct scenario *scenario = setup->scenario;
    const struct moe *moe = &scenario->moe;
    const char *name = scenario->dispatcher.name;
    if (moe->dispatch_dtype != DTYPE_BF16)
        return error_set(err, EXIT_INPUT, "--dispatcher %s: dispatch_dtype %s: expected bf16", name,
                         dtype_names[moe->dispatch_dtype]);
    if (moe->hidden % HT_HIDDEN)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: hidden %u: NCCL EP's high-throughput kernels take "
                         "multiples of %d",
                         name, moe->hidden, HT_HIDDEN);
    return nccl_ep_check(setup, err);
}

static uint64_t ht_room(const struct layer *layer)
{
    return (uint64_t)nccl_ep_of(layer)->capacity * layer->setup.scenario->routing.ranks;
}

static uint64_t window_bytes(const struct layer *layer)
{
    return ht_room(layer) * layer->setup.scenario->moe.hidden * sizeof(uint16_t);
}

static bool alloc_window(struct layer *layer, struct window *window, struct error *err)
{
    return nccl_ep_done("ncclMemAlloc", ncclMemAlloc(&window->memory, window_bytes(layer)), err);
}

// Every rank's kernels reach it from here on; collective.
static bool register_window(struct layer *layer, struct window *window, struct error *err)
{
    return nccl_ep_done("ncclCommWindowRegister",
                        ncclCommWindowRegister(nccl_ep_of(layer)->comm, window->memory,
                                               window_bytes(layer), &window->handle,
                                               NCCL_WIN_COLL_SYMMETRIC),
                        err);
}

// A rank that lacks memory must not leave the others waiting for it. Its error alone is told.
static bool all_ranks(bool ok, struct error *err)
{
    int all = ok;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (ok && !all)
        *err = (struct error){.code = EXIT_RUNTIME};
    return all;
}

static void close_window(const struct nccl_ep *ep, struct window *window)
{
    if (window->handle)
        ncclCommWindowDeregister(ep->comm, window->handle);
    if (window->memory)
        ncclMemFree(window->memory);
    *window = (struct window){0};
}

static bool ht_open(struct layer *layer, struct error *err)
{
    const uint32_t topk = layer->setup.scenario->moe.topk;
    if (!nccl_ep_open(layer, NCCL_EP_ALGO_HIGH_THROUGHPUT, NCCL_EP_LAYOUT_FLAT, err))
        return false;
    struct nccl_ep *ep = nccl_ep_of(layer);
    const bool fits = alloc_window(layer, &ep->received_window, err) &&
                      alloc_window(layer, &ep->results_window, err);
    if (!all_ranks(fits, err) || !register_window(layer, &ep->received_window, err) ||
        !register_window(layer, &ep->results_window, err))
        return false;
    ep->received = ep->received_window.memory;
    ep->results = ep->results_window.memory;
    memory_add_scratch(layer, ep->received, ep->received_window.bytes);
    memory_add_scratch(layer, ep->results, ep->results_window.bytes);
    ep->counts = memory_allocate(layer, sizeof *ep->counts);
    ep->weights = memory_allocate(layer, ht_room(layer) * topk * sizeof *ep->weights);
    ep->served_ids = memory_allocate(layer, ht_room(layer) * topk * sizeof *ep->served_ids);
    return device_sync(layer->setup.device, err);
}

static void ht_close(struct layer *layer)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    struct error ignored;
    if (device_sync(layer->setup.device, &ignored)) {
        close_window(ep, &ep->results_window);
        close_window(ep, &ep->received_window);
    }
    nccl_ep_close(layer);
}

// A row's weights come without those of other ranks' experts, in the order of this rank's slots.
static void place_weights(struct served_choices *choices, uint64_t row, uint32_t topk)
{
    for (uint64_t c = choices->first[row]; c < choices->first[row + 1]; c++) {
        uint32_t before = 0;
        for (uint64_t other = choices->first[row]; other < choices->first[row + 1]; other++)
            before += choices->slot[other] < choices->slot[c];
        choices->weight[c] = (uint32_t)(row * topk + before);
    }
}

// Rows come in the plan's own order.
static bool ht_plan(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    struct served_choices choices;
    (void)err;
    plan_init(&ep->plan, &layer->schedule, &layer->schedule.transfers[0], &layer->routing,
              layer->setup.rank);
    ep->planned = true;
    const struct rows *served = &ep->plan.slice.served;
    served_choices_init(&choices, ep->plan.served_rows, layer->routing.topk);
    for (uint32_t home = 0; home < served->lanes; home++)
        for (uint64_t row = served->first[home]; row < served->first[home + 1]; row++) {
            const struct served_row of = {row, home, served->token[row], UINT32_MAX};
            served_choices_add(&choices, layer, &of);
            place_weights(&choices, row, layer->routing.topk);
        }
    experts_plan(layer, &ep->experts, &choices);
    served_choices_release(&choices);
    return true;
}

static bool ht_notify(struct layer *layer, struct error *err)
{
    return nccl_ep_notify(layer, NULL, err);
}

static ncclEpTensor_t window_tensor(const struct window *window, size_t *sizes)
{
    ncclEpTensor_t tensor = nccl_ep_tensor(NULL, ncclBfloat16, 2, sizes);
    tensor.win_hdl = window->handle;
    return tensor;
}

static bool ht_dispatch(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const struct moe *moe = &layer->schedule.moe;
    size_t in_sizes[2] = {layer_own_tokens(layer), moe->hidden};
    size_t weight_sizes[2] = {layer_own_tokens(layer), moe->topk};
    size_t out_sizes[2] = {ht_room(layer), moe->hidden};
    size_t served_sizes[2] = {ht_room(layer), moe->topk};
    ncclEpTensor_t in = nccl_ep_tensor(layer->memory->hidden, ncclBfloat16, 2, in_sizes);
    ncclEpTensor_t weights = nccl_ep_tensor(layer->memory->weights, ncclFloat32, 2, weight_sizes);
    ncclEpTensor_t out = window_tensor(&ep->received_window, out_sizes);
    ncclEpTensor_t served_weights = nccl_ep_tensor(ep->weights, ncclFloat32, 2, served_sizes);
    ncclEpTensor_t served_ids = nccl_ep_tensor(ep->served_ids, ncclInt64, 2, served_sizes);
    ncclEpDispatchInputs_t inputs = NCCL_EP_DISPATCH_INPUTS_INIT;
    ncclEpDispatchOutputs_t outputs = NCCL_EP_DISPATCH_OUTPUTS_INIT;
    inputs.tokens = &in;
    inputs.topk_weights = &weights;
    outputs.tokens = &out;
    outputs.topk_weights = &served_weights;
    outputs.topk_idx = &served_ids;
    return nccl_ep_done("ncclEpDispatch",
                        ep->library->dispatch(ep->handle, &inputs, &outputs, NULL, NULL,
                                              cuda_stream(layer->setup.device, STREAM_COMPUTE)),
                        err);
}

static bool ht_experts(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const struct row_block served = memory_dense(layer, ep->received);
    (void)err;
    experts_take_weights(layer, &ep->experts, ep->weights);
    experts_run(layer, &ep->experts, &served);
    return true;
}

static bool ht_combine(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    const uint32_t hidden = layer->schedule.moe.hidden;
    const struct row_block results = memory_dense(layer, ep->results);
    size_t in_sizes[2] = {ep->plan.served_rows, hidden};
    size_t out_sizes[2] = {layer_own_tokens(layer), hidden};
    ncclEpTensor_t in = window_tensor(&ep->results_window, in_sizes);
    ncclEpTensor_t out = nccl_ep_tensor(layer->memory->output, ncclBfloat16, 2, out_sizes);
    ncclEpCombineInputs_t inputs = NCCL_EP_COMBINE_INPUTS_INIT;
    ncclEpCombineOutputs_t outputs = NCCL_EP_COMBINE_OUTPUTS_INIT;
    experts_sum(layer, &ep->experts, &results, ep->plan.served_rows, true);
    inputs.tokens = &in;
    outputs.tokens = &out;
    return nccl_ep_done("ncclEpCombine",
                        ep->library->combine(ep->handle, &inputs, &outputs, NULL,
                                             cuda_stream(layer->setup.device, STREAM_COMPUTE)),
                        err);
}

// The library counts rows only where it is asked to, so the routing is sent to it once more.
static bool ht_check_received(struct layer *layer, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    size_t sizes[1] = {1};
    ncclEpTensor_t counter = nccl_ep_tensor(ep->counts, ncclInt32, 1, sizes);
    int32_t received = 0;
    if (!nccl_ep_notify(layer, &counter, err) || !device_sync(layer->setup.device, err))
        return false;
    device_download(layer->setup.device, &received, ep->counts, sizeof received);
    return (uint64_t)received == ep->plan.served_rows ||
           error_set(err, EXIT_RUNTIME, "rank %u received %d rows, the schedule says %llu",
                     layer->setup.rank, received, (unsigned long long)ep->plan.served_rows);
}

const struct backend backend_nccl_ep_ht = {
    .takes_wide_ids = true,
    .queues_notify = true,
    .check = ht_check,
    .open = ht_open,
    .close = ht_close,
    .plan = ht_plan,
    .notify = ht_notify,
    .dispatch = ht_dispatch,
    .experts = ht_experts,
    .combine = ht_combine,
    .check_received = ht_check_received,
};
