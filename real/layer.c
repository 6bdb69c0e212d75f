// Six steps in order. A phase begins when all ranks stand at a barrier with idle devices, and ends
// on a rank when its device is idle again, so its time is the rank's own. Where a device is given
// its work ahead, the phase is held back until every rank has given all of it.
#include "real/layer.h"

#include "real/backend.h"
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
    if (phase == PHASE_NOTIFY)
        return layer->backend->queues_notify && layer->planned;
    return phase != PHASE_ROUTER || layer->setup.router;
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

void layer_join_stages(struct layer *layer)
{
    device_follow(layer->setup.device, STREAM_COMPUTE, STREAM_INTER);
    device_follow(layer->setup.device, STREAM_COMPUTE, STREAM_INTRA);
}

static bool end_phase(struct layer *layer, enum phase phase, struct layer_times *times,
                      struct error *err)
{
    struct device *device = layer->setup.device;
    const uint32_t start = phase_mark(phase, false), end = phase_mark(phase, true);
    layer_join_stages(layer);
    device_mark(device, STREAM_COMPUTE, end);
    if (phase_holds(layer, phase) && !transport_let_go(layer->setup.transport, device, err))
        return false;
    if (!device_sync(device, err))
        return false;
    times->phase_us[phase] = device_elapsed_us(device, start, end);
    const bool gather = phase == PHASE_COMBINE;
    const bool staged = phase_moves(phase) && layer->backend->has_stages;
    for (enum stage stage = 0; staged && stage < STAGES; stage++)
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
                                      .wide_ids = memory->wide_ids,
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
    layer->planned = true;
    return layer->backend->plan(layer, err) && device_sync(layer->setup.device, err);
}

// --- dispatch, experts, combine -------------------------------------------------------------

static bool run_notify(struct layer *layer, struct error *err)
{
    return layer->backend->notify(layer, err);
}

static bool run_dispatch(struct layer *layer, struct error *err)
{
    return layer->backend->dispatch(layer, err);
}

static bool run_experts(struct layer *layer, struct error *err)
{
    return layer->backend->experts(layer, err);
}

static bool run_combine(struct layer *layer, struct error *err)
{
    return layer->backend->combine(layer, err);
}

void layer_run_shared(struct layer *layer, enum stream stream)
{
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    const uint64_t first[2] = {0, layer_own_tokens(layer)};
    if (first[1] == 0)
        return;
    device_ffn(layer->setup.device,
               &(struct ffn){.groups = 1,
                             .hidden = moe->hidden,
                             .intermediate = moe->shared_intermediate,
                             .first = first,
                             .gate_up = (const void *const[]){memory->shared_gate_up},
                             .down = (const void *const[]){memory->shared_down},
                             .in = memory->hidden,
                             .out = memory->shared,
                             .middle = memory->shared_middle,
                             .stream = stream});
}

void layer_add_shared(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    if (layer_own_tokens(layer) > 0)
        device_reduce(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_sums){.out = memory_dense(layer, memory->output),
                                         .in = memory_dense(layer, memory->shared),
                                         .first = memory->ones_first,
                                         .source = memory->ones_of,
                                         .count = layer_own_tokens(layer),
                                         .width = layer->schedule.moe.hidden,
                                         .add = true});
}

static bool run_shared(struct layer *layer, struct error *err)
{
    (void)err;
    layer_run_shared(layer, STREAM_COMPUTE);
    layer_add_shared(layer);
    return true;
}

// --- the iteration --------------------------------------------------------------------------

static bool (*const phase_work[])(struct layer *layer, struct error *err) = {
    [PHASE_RMSNORM] = run_rmsnorm,   [PHASE_ROUTER] = run_router,   [PHASE_NOTIFY] = run_notify,
    [PHASE_DISPATCH] = run_dispatch, [PHASE_EXPERTS] = run_experts, [PHASE_COMBINE] = run_combine,
    [PHASE_SHARED] = run_shared,
};

bool layer_give_phase(struct layer *layer, enum phase phase, struct error *err)
{
    return phase_work[phase](layer, err);
}

void layer_take_sums(struct layer *layer, enum phase phase)
{
    if (phase_moves(phase) && layer->setup.check_rows && layer->backend->take_sums)
        layer->backend->take_sums(layer, phase);
}

bool layer_run(struct layer *layer, struct layer_times *times, struct error *err)
{
    const bool shared = layer->setup.scenario->moe.shared_intermediate > 0;
    *times = (struct layer_times){0};
    for (enum phase phase = 0; phase <= (shared ? PHASE_SHARED : PHASE_COMBINE); phase++) {
        if (!begin_phase(layer, phase, err) || !layer_give_phase(layer, phase, err) ||
            !end_phase(layer, phase, times, err))
            return false;
        layer_take_sums(layer, phase);
        if (phase == PHASE_NOTIFY && !layer->planned && !make_layer_plan(layer, err))
            return false;
    }
    return true;
}

// --- opening and reading --------------------------------------------------------------------

bool layer_prepare(struct layer *layer, const struct layer_setup *setup, struct error *err)
{
    *layer = (struct layer){.setup = *setup};
    const struct backend *backend = backend_find(&setup->scenario->dispatcher, err);
    if (!backend || !backend->check(setup, err))
        return false;
    layer->backend = backend;
    choices_open(layer);
    memory_open(layer);
    return device_sync(setup->device, err);
}

bool layer_open(struct layer *layer, struct error *err)
{
    return layer->backend->open(layer, err);
}

void layer_close(struct layer *layer)
{
    if (layer->backend_state)
        layer->backend->close(layer);
    memory_close(layer);
    if (layer->planned) {
        schedule_release(&layer->schedule);
        loads_release(&layer->loads);
    }
    if (layer->backend)
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
                      &(struct row_gather){.out = memory_floats(staging, hidden),
                                           .in = memory_dense(layer, rows),
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
