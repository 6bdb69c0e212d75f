#include "real/memory.h"

#include "base/mem.h"
#include "real/tensors.h"

#include <stdlib.h>

enum row_format memory_format(enum dtype dtype)
{
    return dtype == DTYPE_FP8 ? ROW_FP8 : dtype == DTYPE_BF16 ? ROW_BF16 : ROW_FP32;
}

static enum dtype dtype_of(const struct layer *layer, const struct transfer *transfer)
{
    const struct moe *moe = &layer->schedule.moe;
    return transfer->gather ? moe->combine_dtype : moe->dispatch_dtype;
}

size_t memory_payload(const struct layer *layer, const struct transfer *transfer)
{
    return moe_payload_bytes(layer->schedule.moe.hidden, dtype_of(layer, transfer));
}

// Held until memory_close.
static void *allocate(struct layer *layer, uint64_t bytes)
{
    struct layer_memory *memory = layer->memory;
    void *array = device_alloc(layer->setup.device, bytes);
    if (!array)
        return NULL;
    memory->held = mem_grow(memory->held, memory->held_count + 1, sizeof *memory->held);
    return memory->held[memory->held_count++] = array;
}

static void *allocate_dense(struct layer *layer, uint64_t rows, uint64_t width)
{
    return allocate(layer, rows * width * device_value_bytes(layer->setup.device));
}

static void *allocate_filled(struct layer *layer, uint64_t rows, uint32_t width, uint64_t tensor,
                             float scale)
{
    const struct layer_setup *setup = &layer->setup;
    const uint64_t count = rows * width, seed = setup->scenario->run.seed;
    void *values = allocate_dense(layer, rows, width);
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

static void *uploaded(struct layer *layer, const void *host, uint64_t bytes)
{
    void *memory = allocate(layer, bytes);
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
    float *bias = uploaded(layer, host, experts * sizeof *bias);
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

void memory_open(struct layer *layer)
{
    const struct moe *moe = &layer->setup.scenario->moe;
    const uint32_t tokens = layer_own_tokens(layer);
    const uint64_t choices = (uint64_t)tokens * moe->topk;
    const uint64_t input =
        tensor_number(TENSOR_INPUT, layer->setup.scenario->routing.layer, layer->setup.rank);
    struct layer_memory *memory = layer->memory = mem_alloc(1, sizeof *memory);
    memory->input = allocate_filled(layer, tokens, moe->hidden, input, tensor_scale(1));
    memory->hidden = allocate_dense(layer, tokens, moe->hidden);
    memory->output = allocate_dense(layer, tokens, moe->hidden);
    memory->shared = allocate_dense(layer, tokens, moe->hidden);
    memory->shared_middle = allocate_dense(layer, tokens, 3ull * moe->shared_intermediate);
    memory->router = make_weights(layer, moe->experts, moe->hidden, TENSOR_ROUTER, 0);
    memory->bias = make_bias(layer, moe->experts);
    memory->logits = allocate(layer, (uint64_t)tokens * moe->experts * sizeof(float));
    memory->weights = allocate(layer, choices * sizeof(float));
    memory->ids = allocate(layer, choices * sizeof(uint16_t));
    open_experts(layer, moe);
}

static struct row_block wire_rows(struct layer *layer, const struct transfer *transfer,
                                  uint64_t rows)
{
    return (struct row_block){.base = allocate(layer, rows * transfer->token_bytes),
                              .stride = transfer->token_bytes,
                              .format = memory_format(dtype_of(layer, transfer))};
}

static void plan_path(struct layer *layer, struct path *path, const struct plan *plan,
                      const struct transfer *transfer)
{
    path->sent = wire_rows(layer, transfer, plan->sent_rows);
    path->served = wire_rows(layer, transfer, plan->served_rows);
    if (!transfer->rail)
        return;
    path->crossed = wire_rows(layer, transfer, plan->crossed_rows);
    path->relayed = wire_rows(layer, transfer, plan->relayed_rows);
    path->relay_from = uploaded(layer, plan->relay_from, plan->relayed_rows * sizeof(uint32_t));
    path->relayed_of = uploaded(layer, plan->relayed_of, plan->relayed_rows * sizeof(uint32_t));
    path->relayed_first =
        uploaded(layer, plan->relayed_first, (plan->crossed_rows + 1) * sizeof(uint64_t));
}

// Host lists of the served rows' choices, in row order: the expert rows before they are grouped.
struct expert_lists {
    uint64_t count;
    uint32_t *slot;      // among this rank's
    uint32_t *weight_at; // row * topk + k
    uint64_t *row_first; // [served_rows + 1]
};

// The choices of a token that a served row stands for: those that this rank's slots (or the row's
// own slot) serve.
static void list_choices(const struct layer *layer, uint32_t home, uint64_t row,
                         struct expert_lists *lists)
{
    const struct layout *layout = layer->setup.scenario->layout;
    const uint32_t rank = layer->setup.rank, topk = layer->routing.topk;
    const uint32_t token = layer->dispatch.slice.served.token[row];
    const uint32_t row_slot = layer->dispatch.slice.served.slot[row];
    uint16_t ids[MOE_MAX_TOPK];
    if (token == SLICE_UNUSED)
        return;
    routing_row(&layer->routing, home, token, ids);
    for (uint32_t k = 0; k < topk; k++) {
        if (ids[k] == ROUTING_DROPPED)
            continue;
        const uint32_t slot = layout_slot(layout, ids[k], token);
        if (layout->slot_rank[slot] != rank || (row_slot != UINT32_MAX && slot != row_slot))
            continue;
        lists->slot[lists->count] = slot - layout->rank_slot[rank];
        lists->weight_at[lists->count++] = (uint32_t)(row * topk + k);
    }
}

static void list_experts(const struct layer *layer, struct expert_lists *lists)
{
    const struct rows *served = &layer->dispatch.slice.served;
    const uint64_t max = layer->dispatch.served_rows * layer->routing.topk;
    lists->slot = mem_alloc(max + 1, sizeof *lists->slot);
    lists->weight_at = mem_alloc(max + 1, sizeof *lists->weight_at);
    lists->row_first = mem_alloc(layer->dispatch.served_rows + 1, sizeof *lists->row_first);
    for (uint32_t home = 0; home < served->lanes; home++)
        for (uint64_t row = served->first[home]; row < served->first[home + 1]; row++) {
            list_choices(layer, home, row, lists);
            lists->row_first[row + 1] = lists->count;
        }
}

// Groups the choices by slot: group_first, group_from, and for each served row where its results
// are.
static void group_experts(struct layer *layer, const struct expert_lists *lists)
{
    struct layer_memory *memory = layer->memory;
    const uint32_t slots = layer_own_slots(layer);
    const uint64_t rows = layer->dispatch.served_rows, count = lists->count;
    uint32_t *from = mem_alloc(count + 1, sizeof *from), *of = mem_alloc(count + 1, sizeof *of);
    memory->expert_rows = count;
    memory->group_first = mem_alloc((size_t)slots + 1, sizeof *memory->group_first);
    for (uint64_t c = 0; c < count; c++)
        memory->group_first[lists->slot[c] + 1]++;
    uint64_t *next = plan_list_starts(memory->group_first, slots);
    for (uint64_t row = 0; row < rows; row++)
        for (uint64_t c = lists->row_first[row]; c < lists->row_first[row + 1]; c++) {
            of[c] = (uint32_t)next[lists->slot[c]]++;
            from[of[c]] = (uint32_t)row;
        }
    memory->group_from = uploaded(layer, from, count * sizeof *from);
    memory->served_of = uploaded(layer, of, count * sizeof *of);
    memory->weight_at = uploaded(layer, lists->weight_at, count * sizeof *lists->weight_at);
    memory->served_first = uploaded(layer, lists->row_first, (rows + 1) * sizeof(uint64_t));
    free(from);
    free(of);
    free(next);
}

static void plan_experts(struct layer *layer)
{
    struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    struct expert_lists lists = {0};
    list_experts(layer, &lists);
    group_experts(layer, &lists);
    memory->group_in = allocate_dense(layer, lists.count, moe->hidden);
    memory->group_out = allocate_dense(layer, lists.count, moe->hidden);
    memory->group_middle = allocate_dense(layer, lists.count, 3ull * moe->intermediate);
    memory->served_weight = allocate(layer, lists.count * sizeof(float));
    memory->brought = allocate(layer, layer->dispatch.served_rows * moe->topk * sizeof(float));
    free(lists.slot);
    free(lists.weight_at);
    free(lists.row_first);
}

// Which of a token's choices a slot serves; padding has none.
static uint32_t choice_of(const struct layer *layer, uint32_t token, uint32_t slot)
{
    uint16_t ids[MOE_MAX_TOPK];
    routing_row(&layer->routing, layer->setup.rank, token, ids);
    for (uint32_t k = 0; k < layer->routing.topk; k++)
        if (ids[k] != ROUTING_DROPPED &&
            layout_slot(layer->setup.scenario->layout, ids[k], token) == slot)
            return k;
    return 0;
}

// For every own token, the rows that come home for it, in the order of sent.
static void plan_home(struct layer *layer)
{
    struct layer_memory *memory = layer->memory;
    const struct rows *sent = &layer->combine.slice.sent;
    const uint64_t rows = layer->combine.sent_rows;
    const uint32_t tokens = layer->routing.tokens[layer->setup.rank];
    uint64_t *first = mem_alloc((size_t)tokens + 1, sizeof *first);
    uint32_t *of = mem_alloc(rows + 1, sizeof *of), *choice = mem_alloc(rows + 1, sizeof *choice);
    for (uint64_t row = 0; row < rows; row++)
        if (sent->token[row] != SLICE_UNUSED)
            first[sent->token[row] + 1]++;
    uint64_t *next = plan_list_starts(first, tokens);
    for (uint64_t row = 0; row < rows; row++) {
        const uint32_t token = sent->token[row];
        if (token == SLICE_UNUSED)
            continue;
        const uint64_t at = next[token]++;
        of[at] = (uint32_t)row;
        if (sent->slot[row] != UINT32_MAX)
            choice[at] = token * layer->routing.topk + choice_of(layer, token, sent->slot[row]);
    }
    memory->home_first = uploaded(layer, first, ((uint64_t)tokens + 1) * sizeof *first);
    memory->home_of = uploaded(layer, of, rows * sizeof *of);
    memory->home_choice = uploaded(layer, choice, rows * sizeof *choice);
    memory->home_weight = allocate(layer, rows * sizeof(float));
    free(first);
    free(next);
    free(of);
    free(choice);
}

static void plan_ones(struct layer *layer)
{
    const uint32_t tokens = layer->routing.tokens[layer->setup.rank];
    uint64_t *first = mem_alloc((size_t)tokens + 1, sizeof *first);
    uint32_t *of = mem_alloc((size_t)tokens + 1, sizeof *of);
    for (uint32_t t = 0; t <= tokens; t++) {
        first[t] = t;
        of[t] = t;
    }
    layer->memory->ones_first = uploaded(layer, first, ((uint64_t)tokens + 1) * sizeof *first);
    layer->memory->ones_of = uploaded(layer, of, (uint64_t)tokens * sizeof *of);
    free(first);
    free(of);
}

void memory_plan(struct layer *layer)
{
    struct layer_memory *memory = layer->memory;
    plan_path(layer, &memory->dispatch, &layer->dispatch, &layer->schedule.transfers[0]);
    plan_path(layer, &memory->combine, &layer->combine, &layer->schedule.transfers[1]);
    memory->sent_token = uploaded(layer, layer->dispatch.slice.sent.token,
                                  layer->dispatch.sent_rows * sizeof(uint32_t));
    plan_experts(layer);
    plan_home(layer);
    plan_ones(layer);
}

void memory_close(struct layer *layer)
{
    struct layer_memory *memory = layer->memory;
    if (!memory)
        return;
    for (size_t i = 0; i < memory->held_count; i++)
        device_release(layer->setup.device, memory->held[i]);
    free(memory->held);
    free(memory->gate_up);
    free(memory->down);
    free(memory->group_first);
    free(memory);
    layer->memory = NULL;
}
