#include "real/nccl_ep.h"

#include "base/mem.h"
#include "real/memory.h"
#include "real/nccl.h"

#include <stdlib.h>
#include <unistd.h>

bool nccl_ep_done(const char *call, ncclResult_t result, struct error *err)
{
    char host[64] = "?";
    if (result == ncclSuccess)
        return true;
    gethostname(host, sizeof host - 1);
    return error_set(err, EXIT_RUNTIME, "%s: %s: %s", host, call, ncclGetErrorString(result));
}

ncclEpTensor_t nccl_ep_tensor(void *data, ncclDataType_t type, uint32_t dimensions, size_t *sizes)
{
    ncclEpTensor_t tensor = NCCL_EP_TENSOR_INIT;
    tensor.ndim = dimensions;
    tensor.datatype = type;
    tensor.data = data;
    tensor.sizes = sizes;
    return tensor;
}

// --- what a job must be -------------------------------------------------------------------------

static bool has_equal_ranks(const struct layout *layout, uint32_t ranks)
{
    const uint32_t slots = layout->rank_slot[1];
    for (uint32_t r = 0; r < ranks; r++)
        if (layout->rank_slot[r + 1] - layout->rank_slot[r] != slots)
            return false;
    return true;
}

// Whether slot s serves expert s, as the router numbers them.
static bool is_in_order(const struct layout *layout, uint32_t experts, uint32_t ranks)
{
    if (layout->rank_slot[ranks] != experts)
        return false;
    for (uint32_t s = 0; s < experts; s++)
        if (layout->slot_expert[s] != s)
            return false;
    return true;
}

bool nccl_ep_check(const struct layer_setup *setup, struct error *err)
{
    const struct scenario *scenario = setup->scenario;
    const struct layout *layout = scenario->layout;
    const uint32_t ranks = scenario->routing.ranks;
    const char *name = scenario->dispatcher.name;
    if (setup->transport->ops != &transport_nccl)
        return error_set(err, EXIT_INPUT, "--dispatcher %s: runs with --transport nccl alone",
                         name);
    if (setup->device_shared)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: NCCL EP needs a GPU per rank: not with "
                         "--share-gpu",
                         name);
    if (scenario->moe.combine_dtype != DTYPE_BF16)
        return error_set(err, EXIT_INPUT, "--dispatcher %s: combine_dtype %s: expected bf16", name,
                         dtype_names[scenario->moe.combine_dtype]);
    if (!has_equal_ranks(layout, ranks))
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: expected as many expert slots on every rank", name);
    if (setup->router && !is_in_order(layout, scenario->moe.experts, ranks))
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: the router's choices take the contiguous layout alone; "
                         "with another, give --routing or --trace",
                         name);
    return nccl_ep_library(err) != NULL;
}

// --- group and handle ---------------------------------------------------------------------------

static ncclEpGroupConfig_t group_config(const struct layer *layer, ncclEpAlgorithm_t algorithm)
{
    const struct scenario *scenario = layer->setup.scenario;
    const struct dispatcher *dispatcher = &scenario->dispatcher;
    const uint32_t ranks = scenario->routing.ranks, capacity = nccl_ep_of(layer)->capacity;
    ncclEpGroupConfig_t config = NCCL_EP_GROUP_CONFIG_INIT;
    const bool low_latency = algorithm == NCCL_EP_ALGO_LOW_LATENCY;
    config.algorithm = algorithm;
    config.num_experts = layer_own_slots(layer) * ranks;
    config.max_dispatch_tokens_per_rank = capacity;
    config.max_recv_tokens_per_rank = low_latency ? NCCL_EP_AUTO : capacity * ranks;
    config.max_token_bytes = scenario->moe.hidden * sizeof(uint16_t);
    config.rdma_buffer_size = NCCL_EP_AUTO;
    // As its own benchmark asks for: a queue pair per expert of a rank.
    config.num_qp_per_rank = low_latency ? layer_own_slots(layer) : NCCL_EP_AUTO;
    config.num_channels = NCCL_EP_AUTO;
    config.max_num_sms = dispatcher->sms;
    config.num_topk = scenario->moe.topk;
    return config;
}

bool nccl_ep_open(struct layer *layer, ncclEpAlgorithm_t algorithm, ncclEpLayout_t layout,
                  struct error *err)
{
    const struct scenario *scenario = layer->setup.scenario;
    struct nccl_ep *ep = mem_alloc(1, sizeof *ep);
    const uint32_t tokens = routing_max_tokens(&scenario->routing);
    layer->backend_state = ep;
    ep->library = nccl_ep_library(err);
    ep->comm = nccl_communicator(layer->setup.transport, err);
    if (!ep->library || !ep->comm)
        return false;
    ep->capacity = dispatcher_capacity(&scenario->dispatcher, tokens);
    const ncclEpGroupConfig_t config = group_config(layer, algorithm);
    return nccl_ep_done("ncclEpCreateGroup",
                        ep->library->create_group(&ep->group, ep->comm, &config), err) &&
           nccl_ep_done("ncclEpInitHandle",
                        ep->library->init_handle(&ep->handle, ep->group, layout, NULL,
                                                 (int)scenario->moe.topk, NULL),
                        err);
}

void nccl_ep_close(struct layer *layer)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    struct error ignored;
    if (device_sync(layer->setup.device, &ignored)) {
        if (ep->handle)
            ep->library->handle_destroy(ep->handle);
        if (ep->group)
            ep->library->group_destroy(ep->group);
    }
    if (ep->planned)
        plan_release(&ep->plan);
    experts_release(&ep->experts);
    free(ep->first);
    free(ep->at);
    free(ep);
}

// --- steps that both modes share ----------------------------------------------------------------

bool nccl_ep_notify(struct layer *layer, ncclEpTensor_t *received, struct error *err)
{
    struct nccl_ep *ep = nccl_ep_of(layer);
    size_t sizes[2] = {layer_own_tokens(layer), layer->setup.scenario->moe.topk};
    const ncclEpTensor_t ids = nccl_ep_tensor(layer->memory->wide_ids, ncclInt32, 2, sizes);
    ncclEpLayoutInfo_t info = NCCL_EP_LAYOUT_INFO_INIT;
    info.recv_total_counter = received;
    if (!layer->planned && !choices_learn(layer, err))
        return false;
    return nccl_ep_done(
        "ncclEpUpdateHandle",
        ep->library->update_handle(ep->handle, &ids, received ? &info : NULL,
                                   cuda_stream(layer->setup.device, STREAM_COMPUTE)),
        err);
}
