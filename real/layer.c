// Six steps in order. A phase begins when all ranks stand at a barrier with idle devices, and ends
// on a rank when its device is idle again, so its time is the rank's own. Where a device is given
// its work ahead, the phase is held back until every rank has given all of it.
#include "real/layer.h"

#include "real/memory.h"

#include <assert.h>

// --- phases ---------------------------------------------------------------------------------

static uint32_t phase_mark(enum phase phase, bool end)
{
    return 2 * (uint32_t)phase + end;
}

// Phases whose work the host gives without waiting for any of it.
static bool phase_holds(const struct layer *layer, enum phase phase)
{
    return phase != PHASE_NOTIFY && (phase != PHASE_ROUTER || layer->setup.router);
}

static bool begin_phase(struct layer *layer, enum phase phase, struct error *err)
{
    struct device *device = layer->setup.device;
    if (!transport_barrier(layer->setup.transport, err))
        return false;
    if (phase_holds(layer, phase))
        device_hold(device, STREAM_COMPUTE);
    device_mark(device, STREAM_COMPUTE, phase_mark(phase, false));
    return true;
}

// Later work on the compute stream waits for both stages.
static void join_stages(struct layer *layer)
{
    device_follow(layer->setup.device, STREAM_COMPUTE, STREAM_INTER);
    device_follow(layer->setup.device, STREAM_COMPUTE, STREAM_INTRA);
}

static bool end_phase(struct layer *layer, enum phase phase, struct layer_times *times,
                      struct error *err)
{
    struct device *device = layer->setup.device;
    const uint32_t start = phase_mark(phase, false), end = phase_mark(phase, true);
    join_stages(layer);
    device_mark(device, STREAM_COMPUTE, end);
    if (phase_holds(layer, phase) && !transport_let_go(layer->setup.transport, device, err))
        return false;
    if (!device_sync(device, err))
        return false;
    times->phase_us[phase] = device_elapsed_us(device, start, end);
    const bool gather = phase == PHASE_COMBINE;
    for (enum stage stage = 0; phase_moves(phase) && stage < STAGES; stage++)
        times->stage_us[gather][stage] =
            device_elapsed_us(device, start, movement_mark(gather, stage));
    return true;
}

// --- norm, router, notify -------------------------------------------------------------------

static bool run_rmsnorm(struct layer *layer, struct error *err)
{
    (void)err;
    device_rmsnorm(layer->setup.device, layer->memory->hidden, layer->memory->input,
                   layer_own_tokens(layer), layer->setup.scenario->moe.hidden);
    return true;
}

static void route(struct layer *layer)
{
    const struct moe *moe = &layer->setup.scenario->moe;
    struct layer_memory *memory = layer->memory;
    const uint32_t tokens = layer_own_tokens(layer);
    device_router(layer->setup.device, &(struct router_product){.logits = memory->logits,
                                                                .in = memory->hidden,
                                                                .weight = memory->router,
                                                                .count = tokens,
                                                                .hidden = moe->hidden,
                                                                .experts = moe->experts});
    device_select(layer->setup.device,
                  &(struct selection){.ids = memory->ids,
                                      .weights = memory->weights,
                                      .logits = memory->logits,
                                      .bias = memory->bias,
                                      .count = tokens,
                                      .shape = {.experts = moe->experts,
                                                .topk = moe->topk,
                                                .groups = moe->groups,
                                                .topk_groups = moe->topk_groups,
                                                .score = moe->score,
                                                .normalise = moe->normalise,
                                                .scaling = (float)moe->routed_scaling}});
}

static bool run_router(struct layer *layer, struct error *err)
{
    (void)err;
    (layer->setup.router ? route : choices_upload)(layer);
    return true;
}

// Once all choices are known.
static bool make_layer_plan(struct layer *layer, struct error *err)
{
    const struct scenario *scenario = layer->setup.scenario;
    loads_count(&layer->loads, &layer->routing, scenario->layout, scenario->cluster.nodes);
    schedule_layer(&layer->schedule, &scenario->moe, &scenario->cluster, &scenario->dispatcher,
                   &layer->loads, scenario->layout);
    plan_init(&layer->dispatch, &layer->schedule, &layer->schedule.transfers[0], &layer->routing,
              layer->setup.rank);
    plan_init(&layer->combine, &layer->schedule, &layer->schedule.transfers[1], &layer->routing,
              layer->setup.rank);
    memory_plan(layer);
    layer->planned = true;
    return device_sync(layer->setup.device, err);
}

// --- dispatch, experts, combine -------------------------------------------------------------

// Rows of hidden states in the device's own format.
static struct row_block dense(const struct layer *layer, void *base)
{
    return device_dense(layer->setup.device, base, layer->setup.scenario->moe.hidden);
}

static struct row_block floats(void *base, uint32_t width)
{
    return (struct row_block){.base = base, .stride = width * sizeof(float), .format = ROW_FP32};
}

static bool run_dispatch(struct layer *layer, struct error *err)
{
    const struct layer_memory *memory = layer->memory;
    const struct transfer *transfer = &layer->schedule.transfers[0];
    const uint64_t rows = layer->dispatch.sent_rows;
    const bool ids_travel = layer->schedule.dispatcher.choice_bytes > 0; // and weights
    if (rows) {
        device_gather(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_gather){.out = memory->dispatch.sent,
                                           .in = dense(layer, memory->hidden),
                                           .index = memory->sent_token,
                                           .count = rows,
                                           .width = layer->schedule.moe.hidden});
        device_put_meta(layer->setup.device, STREAM_COMPUTE,
                        &(struct row_meta){.rows = memory->dispatch.sent,
                                           .offset = memory_payload(layer, transfer),
                                           .ids = memory->ids,
                                           .weights = memory->weights,
                                           .topk = ids_travel ? layer->routing.topk : 0,
                                           .index = memory->sent_token,
                                           .count = rows});
    }
    return movement_run(layer, transfer, err);
}

static bool weighs_at_home(const struct layer *layer)
{
    return layer->schedule.dispatcher.reduce == REDUCE_HOME;
}

// The weight of each expert row, out of what came with its token.
static void read_weights(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    const uint32_t topk = layer->routing.topk;
    struct row_block in = memory->dispatch.served;
    in.base = (char *)in.base + memory_payload(layer, &layer->schedule.transfers[0]) +
              topk * sizeof(int32_t);
    in.format = ROW_FP32;
    device_gather(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_gather){.out = floats(memory->brought, topk),
                                       .in = in,
                                       .count = layer->dispatch.served_rows,
                                       .width = topk});
    device_gather(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_gather){.out = floats(memory->served_weight, 1),
                                       .in = floats(memory->brought, 1),
                                       .index = memory->weight_at,
                                       .count = memory->expert_rows,
                                       .width = 1});
}

static bool run_experts(struct layer *layer, struct error *err)
{
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    (void)err;
    if (memory->expert_rows == 0)
        return true;
    if (!weighs_at_home(layer))
        read_weights(layer);
    device_gather(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_gather){.out = dense(layer, memory->group_in),
                                       .in = memory->dispatch.served,
                                       .index = memory->group_from,
                                       .count = memory->expert_rows,
                                       .width = moe->hidden});
    device_ffn(layer->setup.device, &(struct ffn){.groups = layer_own_slots(layer),
                                                  .hidden = moe->hidden,
                                                  .intermediate = moe->intermediate,
                                                  .first = memory->group_first,
                                                  .gate_up = (const void *const *)memory->gate_up,
                                                  .down = (const void *const *)memory->down,
                                                  .in = memory->group_in,
                                                  .out = memory->group_out,
                                                  .middle = memory->group_middle});
    return true;
}

// Sums a served row's results at the expert's rank, before they move.
static void sum_served(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    if (layer->combine.served_rows)
        device_reduce(
            layer->setup.device, STREAM_COMPUTE,
            &(struct row_sums){.out = memory->combine.served,
                               .in = dense(layer, memory->group_out),
                               .first = memory->served_first,
                               .source = memory->served_of,
                               .weight = weighs_at_home(layer) ? NULL : memory->served_weight,
                               .count = layer->combine.served_rows,
                               .width = layer->schedule.moe.hidden});
}

// Sums what has come back for each of the rank's own tokens.
static void sum_home(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    const bool home = weighs_at_home(layer);
    if (home)
        device_gather(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_gather){.out = floats(memory->home_weight, 1),
                                           .in = floats(memory->weights, 1),
                                           .index = memory->home_choice,
                                           .count = layer->combine.sent_rows,
                                           .width = 1});
    device_reduce(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_sums){.out = dense(layer, memory->output),
                                     .in = memory->combine.sent,
                                     .first = memory->home_first,
                                     .source = memory->home_of,
                                     .weight = home ? memory->home_weight : NULL,
                                     .count = layer_own_tokens(layer),
                                     .width = layer->schedule.moe.hidden});
}

static bool run_combine(struct layer *layer, struct error *err)
{
    sum_served(layer);
    if (!movement_run(layer, &layer->schedule.transfers[1], err))
        return false;
    join_stages(layer);
    if (layer_own_tokens(layer) > 0)
        sum_home(layer);
    return true;
}

static bool run_shared(struct layer *layer, struct error *err)
{
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    const uint64_t first[2] = {0, layer_own_tokens(layer)};
    (void)err;
    if (first[1] == 0)
        return true;
    device_ffn(layer->setup.device,
               &(struct ffn){.groups = 1,
                             .hidden = moe->hidden,
                             .intermediate = moe->shared_intermediate,
                             .first = first,
                             .gate_up = (const void *const[]){memory->shared_gate_up},
                             .down = (const void *const[]){memory->shared_down},
                             .in = memory->hidden,
                             .out = memory->shared,
                             .middle = memory->shared_middle});
    device_reduce(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_sums){.out = dense(layer, memory->output),
                                     .in = dense(layer, memory->shared),
                                     .first = memory->ones_first,
                                     .source = memory->ones_of,
                                     .count = first[1],
                                     .width = moe->hidden,
                                     .add = true});
    return true;
}

// --- the iteration --------------------------------------------------------------------------

static bool (*const phase_work[])(struct layer *layer, struct error *err) = {
    [PHASE_RMSNORM] = run_rmsnorm,   [PHASE_ROUTER] = run_router,   [PHASE_NOTIFY] = choices_learn,
    [PHASE_DISPATCH] = run_dispatch, [PHASE_EXPERTS] = run_experts, [PHASE_COMBINE] = run_combine,
    [PHASE_SHARED] = run_shared,
};

bool layer_run(struct layer *layer, struct layer_times *times, struct error *err)
{
    const bool shared = layer->setup.scenario->moe.shared_intermediate > 0;
    *times = (struct layer_times){0};
    for (enum phase phase = 0; phase <= (shared ? PHASE_SHARED : PHASE_COMBINE); phase++) {
        if (!begin_phase(layer, phase, err) || !phase_work[phase](layer, err) ||
            !end_phase(layer, phase, times, err))
            return false;
        if (phase == PHASE_NOTIFY && !layer->planned && !make_layer_plan(layer, err))
            return false;
    }
    return true;
}

// --- opening and reading --------------------------------------------------------------------

// What the steps above can do: rows of dispatch come back as they went.
static bool check_dispatcher(const struct dispatcher *dispatcher, struct error *err)
{
    const bool by_expert = dispatcher->dedupe == DEDUPE_EXPERT;
    const bool rail = dispatcher->route == ROUTE_RAIL;
    const char *apart = by_expert != (dispatcher->reduce == REDUCE_HOME)
                            ? "dedupe expert and reduce home"
                        : rail != (dispatcher->reduce == REDUCE_NODE) ? "route rail and reduce node"
                                                                      : NULL;
    if (apart)
        return error_set(err, EXIT_INPUT, "--dispatcher %s: %s run together, or not at all",
                         dispatcher->name, apart);
    if (!by_expert && dispatcher->choice_bytes != 8)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: choice_bytes %u: expected 8, an index and a weight, for "
                         "the experts' ranks weigh",
                         dispatcher->name, dispatcher->choice_bytes);
    return dispatcher->header_bytes >= sizeof(int32_t) ||
           error_set(err, EXIT_INPUT,
                     "--dispatcher %s: header_bytes %u: expected at least 4, the token's index",
                     dispatcher->name, dispatcher->header_bytes);
}

bool layer_open(struct layer *layer, const struct layer_setup *setup, struct error *err)
{
    *layer = (struct layer){.setup = *setup};
    if (!check_dispatcher(&setup->scenario->dispatcher, err))
        return false;
    choices_open(layer);
    memory_open(layer);
    return device_sync(setup->device, err);
}

void layer_close(struct layer *layer)
{
    memory_close(layer);
    if (layer->planned) {
        plan_release(&layer->dispatch);
        plan_release(&layer->combine);
        schedule_release(&layer->schedule);
        loads_release(&layer->loads);
    }
    choices_close(layer);
    *layer = (struct layer){0};
}

static void read_dense_rows(struct layer *layer, void *rows, const struct layer_tokens *tokens,
                            float *out)
{
    struct device *device = layer->setup.device;
    const uint32_t hidden = layer->setup.scenario->moe.hidden;
    const size_t bytes = (size_t)tokens->count * hidden * sizeof(float);
    float *staging = device_alloc(device, bytes);
    uint32_t *index = device_alloc(device, tokens->count * sizeof *index);
    if (staging && index) {
        device_upload(device, index, tokens->token, tokens->count * sizeof *index);
        device_gather(device, STREAM_COMPUTE,
                      &(struct row_gather){.out = floats(staging, hidden),
                                           .in = dense(layer, rows),
                                           .index = index,
                                           .count = tokens->count,
                                           .width = hidden});
        device_download(device, out, staging, bytes);
    }
    device_release(device, staging);
    device_release(device, index);
}

bool layer_read(struct layer *layer, const struct layer_tokens *tokens, struct error *err)
{
    assert(layer->planned);
    if (tokens->count == 0)
        return true;
    read_dense_rows(layer, layer->memory->hidden, tokens, tokens->a);
    read_dense_rows(layer, layer->memory->output, tokens, tokens->c);
    choices_read(layer, tokens->token, tokens->count, tokens->ids, tokens->weights);
    return device_sync(layer->setup.device, err);
}
