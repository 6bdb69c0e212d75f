// The backend of transport calls: rows are packed, sent and summed by the schedule's own plan.
#include "real/backend.h"
#include "real/calls.h"

#include "base/mem.h"
#include "real/memory.h"

#include <stdlib.h>

// What the steps can do: rows of dispatch come back as they went.
static bool calls_check(const struct layer_setup *setup, struct error *err)
{
    const struct dispatcher *dispatcher = &setup->scenario->dispatcher;
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

static bool calls_open(struct layer *layer, struct error *err)
{
    (void)err;
    layer->backend_state = mem_alloc(1, sizeof(struct calls));
    return true;
}

static void calls_close(struct layer *layer)
{
    struct calls *calls = calls_of(layer);
    if (calls->planned) {
        plan_release(&calls->dispatch_plan);
        plan_release(&calls->combine_plan);
    }
    experts_release(&calls->experts);
    calls_wire_free(calls->wire);
    free(calls);
}

static bool calls_plan(struct layer *layer, struct error *err)
{
    struct calls *calls = calls_of(layer);
    const struct transfer *transfers = layer->schedule.transfers;
    (void)err;
    plan_init(&calls->dispatch_plan, &layer->schedule, &transfers[0], &layer->routing,
              layer->setup.rank);
    plan_init(&calls->combine_plan, &layer->schedule, &transfers[1], &layer->routing,
              layer->setup.rank);
    calls->planned = true;
    calls_plan_buffers(layer);
    if (layer->setup.check_rows)
        calls->wire = calls_wire_new(layer);
    return true;
}

static bool weighs_at_home(const struct layer *layer)
{
    return layer->schedule.dispatcher.reduce == REDUCE_HOME;
}

static bool calls_dispatch(struct layer *layer, struct error *err)
{
    const struct layer_memory *memory = layer->memory;
    const struct calls *calls = calls_of(layer);
    const struct transfer *transfer = &layer->schedule.transfers[0];
    const uint64_t rows = calls->dispatch_plan.sent_rows;
    const bool ids_travel = layer->schedule.dispatcher.choice_bytes > 0; // and weights
    if (rows) {
        device_gather(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_gather){.out = calls->dispatch.sent,
                                           .in = memory_dense(layer, memory->hidden),
                                           .index = calls->sent_token,
                                           .count = rows,
                                           .width = layer->schedule.moe.hidden});
        device_put_meta(layer->setup.device, STREAM_COMPUTE,
                        &(struct row_meta){.rows = calls->dispatch.sent,
                                           .offset = calls_payload(layer, transfer),
                                           .ids = memory->ids,
                                           .weights = memory->weights,
                                           .topk = ids_travel ? layer->routing.topk : 0,
                                           .index = calls->sent_token,
                                           .count = rows});
    }
    return movement_run(layer, transfer, err);
}

// The weights that came with each served row.
static void read_weights(struct layer *layer)
{
    const struct calls *calls = calls_of(layer);
    const uint32_t topk = layer->routing.topk;
    struct row_block in = calls->dispatch.served;
    in.base = (char *)in.base + calls_payload(layer, &layer->schedule.transfers[0]) +
              topk * sizeof(int32_t);
    in.format = ROW_FP32;
    device_gather(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_gather){.out = memory_floats(calls->brought, topk),
                                       .in = in,
                                       .count = calls->dispatch_plan.served_rows,
                                       .width = topk});
    experts_take_weights(layer, &calls->experts, calls->brought);
}

static bool calls_experts(struct layer *layer, struct error *err)
{
    const struct calls *calls = calls_of(layer);
    (void)err;
    if (calls->experts.rows && !weighs_at_home(layer))
        read_weights(layer);
    experts_run(layer, &calls->experts, &calls->dispatch.served);
    return true;
}

// Sums what has come back for each of the rank's own tokens.
static void sum_home(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    const struct calls *calls = calls_of(layer);
    const bool home = weighs_at_home(layer);
    if (home)
        device_gather(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_gather){.out = memory_floats(calls->home_weight, 1),
                                           .in = memory_floats(memory->weights, 1),
                                           .index = calls->home_choice,
                                           .count = calls->combine_plan.sent_rows,
                                           .width = 1});
    device_reduce(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_sums){.out = memory_dense(layer, memory->output),
                                     .in = calls->combine.sent,
                                     .first = calls->home_first,
                                     .source = calls->home_of,
                                     .weight = home ? calls->home_weight : NULL,
                                     .count = layer_own_tokens(layer),
                                     .width = layer->schedule.moe.hidden});
}

static bool calls_combine(struct layer *layer, struct error *err)
{
    const struct calls *calls = calls_of(layer);
    experts_sum(layer, &calls->experts, &calls->combine.served, calls->combine_plan.served_rows,
                !weighs_at_home(layer));
    if (!movement_run(layer, &layer->schedule.transfers[1], err))
        return false;
    layer_join_stages(layer);
    if (layer_own_tokens(layer) > 0)
        sum_home(layer);
    return true;
}

const struct backend backend_calls = {
    .has_stages = true,
    .counts_bytes = true,
    .check = calls_check,
    .open = calls_open,
    .close = calls_close,
    .plan = calls_plan,
    .notify = choices_learn,
    .dispatch = calls_dispatch,
    .experts = calls_experts,
    .combine = calls_combine,
    .take_sums = calls_wire_take,
    .check_rows = calls_wire_check,
};
