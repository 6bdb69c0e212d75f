#include "real/memory.h"

#include "base/mem.h"
#include "real/backend.h"
#include "real/tensors.h"

#include <stdlib.h>

enum row_format memory_format(enum dtype dtype)
{
    return dtype == DTYPE_FP8 ? ROW_FP8 : dtype == DTYPE_BF16 ? ROW_BF16 : ROW_FP32;
}

struct row_block memory_dense(const struct layer *layer, void *base)
{
    return device_dense(layer->setup.device, base, layer->setup.scenario->moe.hidden);
}

struct row_block memory_floats(void *base, uint32_t width)
{
    return (struct row_block){.base = base, .stride = width * sizeof(float), .format = ROW_FP32};
}

static void *hold(struct layer *layer, uint64_t bytes)
{
    struct layer_memory *memory = layer->memory;
    void *array = device_alloc(layer->setup.device, bytes);
    if (!array)
        return NULL;
    memory->held = mem_grow(memory->held, memory->held_count + 1, sizeof *memory->held);
    return memory->held[memory->held_count++] = array;
}

void memory_add_scratch(struct layer *layer, void *array, uint64_t bytes)
{
    struct layer_memory *memory = layer->memory;
    memory->scratch = mem_grow(memory->scratch, memory->scratch_count + 1, sizeof *memory->scratch);
    memory->scratch[memory->scratch_count++] = (struct scratch){array, bytes};
}

void *memory_allocate(struct layer *layer, uint64_t bytes)
{
    void *array = hold(layer, bytes);
    if (array)
        memory_add_scratch(layer, array, bytes);
    return array;
}

#define SPOILT 100 // no result is as large

void memory_spoil(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    struct device *device = layer->setup.device;
    for (size_t i = 0; i < memory->scratch_count; i++)
        device_fill(device, &(struct tensor_fill){
                                .values = memory->scratch[i].array,
                                .count = memory->scratch[i].bytes / device_value_bytes(device),
                                .seed = i,
                                .tensor = tensor_number(TENSOR_INPUT, 0, UINT32_MAX),
                                .scale = SPOILT});
}

void *memory_allocate_dense(struct layer *layer, uint64_t rows, uint64_t width)
{
    return memory_allocate(layer, rows * width * device_value_bytes(layer->setup.device));
}

static void *allocate_filled(struct layer *layer, uint64_t rows, uint32_t width, uint64_t tensor,
                             float scale)
{
    const struct layer_setup *setup = &layer->setup;
    const uint64_t count = rows * width, seed = setup->scenario->run.seed;
    void *values = hold(layer, count * device_value_bytes(setup->device));
    if (values)
        device_fill(setup->device, &(struct tensor_fill){values, count, seed, tensor, scale});
    return values;
}

// A matrix that takes `width` values to `rows`.
static void *make_weights(struct layer *layer, uint64_t rows, uint32_t width, enum tensor_kind kind,
                          uint32_t index)
{
    const uint32_t stream = layer->setup.scenario->routing.layer;
    return allocate_filled(layer, rows, width, tensor_number(kind, stream, index),
                           tensor_scale(width));
}

void *memory_upload(struct layer *layer, const void *host, uint64_t bytes)
{
    void *memory = hold(layer, bytes);
    if (memory && bytes)
        device_upload(layer->setup.device, memory, host, bytes);
    return memory;
}

// Selection bias: small beside scores in 0 .. 1, as the aux-loss-free bias of DeepSeek-V3 is.
#define BIAS_SCALE 0.01f

static float *make_bias(struct layer *layer, uint32_t experts)
{
    const struct scenario *scenario = layer->setup.scenario;
    const uint64_t tensor = tensor_number(TENSOR_BIAS, scenario->routing.layer, 0);
    float *host = mem_alloc(experts, sizeof *host);
    for (uint32_t e = 0; e < experts; e++)
        host[e] = BIAS_SCALE * value_at(scenario->run.seed, tensor, e);
    float *bias = memory_upload(layer, host, experts * sizeof *bias);
    free(host);
    return bias;
}

static void open_experts(struct layer *layer, const struct moe *moe)
{
    struct layer_memory *memory = layer->memory;
    const struct layout *layout = layer->setup.scenario->layout;
    const uint32_t *expert = layout->slot_expert + layout->rank_slot[layer->setup.rank];
    const uint32_t slots = layer_own_slots(layer), hidden = moe->hidden;
    const uint32_t inner = moe->intermediate, shared = moe->shared_intermediate;
    memory->gate_up = mem_alloc(slots, sizeof *memory->gate_up);
    memory->down = mem_alloc(slots, sizeof *memory->down);
    for (uint32_t s = 0; s < slots; s++) {
        memory->gate_up[s] = make_weights(layer, 2ull * inner, hidden, TENSOR_GATE_UP, expert[s]);
        memory->down[s] = make_weights(layer, hidden, inner, TENSOR_DOWN, expert[s]);
    }
    if (shared == 0)
        return;
    memory->shared_gate_up = make_weights(layer, 2ull * shared, hidden, TENSOR_SHARED_GATE_UP, 0);
    memory->shared_down = make_weights(layer, hidden, shared, TENSOR_SHARED_DOWN, 0);
}

static void open_ones(struct layer *layer)
{
    const uint32_t tokens = layer_own_tokens(layer);
    uint64_t *first = mem_alloc((size_t)tokens + 1, sizeof *first);
    uint32_t *of = mem_alloc((size_t)tokens + 1, sizeof *of);
    for (uint32_t t = 0; t <= tokens; t++) {
        first[t] = t;
        of[t] = t;
    }
    layer->memory->ones_first = memory_upload(layer, first, ((uint64_t)tokens + 1) * sizeof *first);
    layer->memory->ones_of = memory_upload(layer, of, (uint64_t)tokens * sizeof *of);
    free(first);
    free(of);
}

void memory_open(struct layer *layer)
{
    const struct moe *moe = &layer->setup.scenario->moe;
    const uint32_t tokens = layer_own_tokens(layer);
    const uint64_t choices = (uint64_t)tokens * moe->topk;
    const uint64_t input =
        tensor_number(TENSOR_INPUT, layer->setup.scenario->routing.layer, layer->setup.rank);
    struct layer_memory *memory = layer->memory = mem_alloc(1, sizeof *memory);
    memory->input = allocate_filled(layer, tokens, moe->hidden, input, tensor_scale(1));
    memory->hidden = memory_allocate_dense(layer, tokens, moe->hidden);
    memory->output = memory_allocate_dense(layer, tokens, moe->hidden);
    memory->shared = memory_allocate_dense(layer, tokens, moe->hidden);
    memory->shared_middle = memory_allocate_dense(layer, tokens, 3ull * moe->shared_intermediate);
    memory->router = make_weights(layer, moe->experts, moe->hidden, TENSOR_ROUTER, 0);
    memory->bias = make_bias(layer, moe->experts);
    memory->logits = memory_allocate(layer, (uint64_t)tokens * moe->experts * sizeof(float));
    memory->weights = memory_allocate(layer, choices * sizeof(float));
    memory->ids = memory_allocate(layer, choices * sizeof(uint16_t));
    if (layer->backend->takes_wide_ids)
        memory->wide_ids = memory_allocate(layer, choices * sizeof(int32_t));
    open_ones(layer);
    open_experts(layer, moe);
}

void memory_close(struct layer *layer)
{
    struct layer_memory *memory = layer->memory;
    if (!memory)
        return;
    for (size_t i = 0; i < memory->held_count; i++)
        device_release(layer->setup.device, memory->held[i]);
    free(memory->held);
    free(memory->scratch);
    free(memory->gate_up);
    free(memory->down);
    free(memory);
    layer->memory = NULL;
}
