// Six steps in order. A phase begins when all ranks stand at a barrier with idle devices, and ends
// on a rank when its device is idle again, so its time is the rank's own. Where a device is given
// its work ahead, the phase is held back until every rank has given all of it.
#include "real/layer.h"

#include "base/mem.h"
#include "real/memory.h"

#include <assert.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define TABLE(layer) ((layer)->setup.table)
#define DEVICE(layer) ((layer)->setup.device)

// Marks of the device clock: two a phase, then one a transfer and stage.
static uint32_t mark_of(enum phase phase, bool end)
{
    return 2 * (uint32_t)phase + end;
}

static uint32_t stage_mark(bool gather, enum stage stage)
{
    return 2 * PHASE_COUNT + 2 * (uint32_t)gather + (uint32_t)stage;
}

static enum stream stream_of(enum stage stage)
{
    return stage == STAGE_INTER ? STREAM_INTER : STREAM_INTRA;
}

// Phases whose work the host gives without waiting for any of it.
static bool holds(const struct layer *layer, enum phase phase)
{
    return TABLE(layer)->hold && phase != PHASE_NOTIFY &&
           (phase != PHASE_ROUTER || layer->setup.router);
}

static bool begin_phase(struct layer *layer, enum phase phase, struct error *err)
{
    if (!layer->setup.wires->barrier(layer->setup.transport, err))
        return false;
    if (holds(layer, phase))
        TABLE(layer)->hold(DEVICE(layer), STREAM_COMPUTE);
    TABLE(layer)->mark(DEVICE(layer), STREAM_COMPUTE, mark_of(phase, false));
    return true;
}

static bool let_go(struct layer *layer, enum phase phase, struct error *err)
{
    if (!holds(layer, phase))
        return true;
    const bool met = layer->setup.wires->meet(layer->setup.transport, err);
    TABLE(layer)->go(DEVICE(layer));
    return met;
}

static bool end_phase(struct layer *layer, enum phase phase, struct layer_times *times,
                      struct error *err)
{
    TABLE(layer)->follow(DEVICE(layer), STREAM_COMPUTE, STREAM_INTER);
    TABLE(layer)->follow(DEVICE(layer), STREAM_COMPUTE, STREAM_INTRA);
    TABLE(layer)->mark(DEVICE(layer), STREAM_COMPUTE, mark_of(phase, true));
    if (!let_go(layer, phase, err) || !TABLE(layer)->sync(DEVICE(layer), err))
        return false;
    times->phase_us[phase] =
        TABLE(layer)->elapsed_us(DEVICE(layer), mark_of(phase, false), mark_of(phase, true));
    return true;
}

static uint32_t own_tokens(const struct layer *layer)
{
    return layer->setup.setting->routing.tokens[layer->setup.rank];
}

static void run_rmsnorm(struct layer *layer)
{
    TABLE(layer)->rmsnorm(DEVICE(layer), layer->memory->hidden, layer->memory->input,
                          own_tokens(layer), layer->setup.setting->moe.hidden);
}

static void route(struct layer *layer)
{
    const struct moe *moe = &layer->setup.setting->moe;
    struct layer_memory *memory = layer->memory;
    const struct select_shape shape = {.experts = moe->experts,
                                       .topk = moe->topk,
                                       .groups = moe->groups,
                                       .topk_groups = moe->topk_groups,
                                       .score = moe->score,
                                       .normalise = moe->normalise,
                                       .scaling = (float)moe->routed_scaling};
    TABLE(layer)->router(DEVICE(layer), memory->logits, memory->hidden, memory->router,
                         own_tokens(layer), moe->hidden, moe->experts);
    TABLE(layer)->select(DEVICE(layer), memory->ids, memory->weights, memory->logits, memory->bias,
                         own_tokens(layer), &shape);
}

// Choices that a rule or trace made: uploaded, as if the router had written them.
static void take_choices(struct layer *layer)
{
    const struct layer_setup *setup = &layer->setup;
    const struct moe *moe = &setup->setting->moe;
    const uint32_t tokens = own_tokens(layer), topk = moe->topk;
    uint16_t *ids = mem_alloc((size_t)tokens * topk + 1, sizeof *ids);
    float *weights = mem_alloc((size_t)tokens * topk + 1, sizeof *weights);
    for (uint32_t t = 0; t < tokens; t++) {
        routing_row(&setup->setting->routing, setup->rank, t, ids + (size_t)t * topk);
        if (setup->weights)
            setup->weights(setup->weights_context, setup->rank, t, weights + (size_t)t * topk);
        for (uint32_t k = 0; !setup->weights && k < topk; k++)
            weights[(size_t)t * topk + k] = (float)(moe->routed_scaling / topk);
    }
    if (tokens) {
        TABLE(layer)->upload(DEVICE(layer), layer->memory->ids, ids,
                             (size_t)tokens * topk * sizeof *ids);
        TABLE(layer)->upload(DEVICE(layer), layer->memory->weights, weights,
                             (size_t)tokens * topk * sizeof *weights);
    }
    free(ids);
    free(weights);
}

// --- notify: all ranks' choices become known to all -----------------------------------------

static void known_row(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    const struct layer *layer = context;
    const uint32_t topk = layer->routing.topk;
    memcpy(ids, layer->all_ids + (layer->token_first[rank] + token) * topk, topk * sizeof *ids);
}

static void set_known_routing(struct layer *layer)
{
    const struct routing *asked = &layer->setup.setting->routing;
    layer->routing = *asked;
    layer->routing.rule = ROUTING_TRACE;
    layer->routing.row = known_row;
    layer->routing.context = layer;
    layer->token_first = mem_alloc((size_t)asked->ranks + 1, sizeof *layer->token_first);
    for (uint32_t r = 0; r < asked->ranks; r++)
        layer->token_first[r + 1] = layer->token_first[r] + asked->tokens[r];
    layer->all_ids =
        mem_alloc(layer->token_first[asked->ranks] * asked->topk + 1, sizeof *layer->all_ids);
}

static bool exchange_choices(struct layer *layer, uint16_t *all, struct error *err)
{
    const uint32_t ranks = layer->routing.ranks, topk = layer->routing.topk;
    const size_t own = (size_t)own_tokens(layer) * topk;
    int *counts = mem_alloc(ranks, sizeof *counts), *places = mem_alloc(ranks, sizeof *places);
    uint16_t *ids = mem_alloc(own + 1, sizeof *ids);
    for (uint32_t r = 0; r < ranks; r++) {
        counts[r] = (int)((layer->token_first[r + 1] - layer->token_first[r]) * topk);
        places[r] = (int)(layer->token_first[r] * topk);
    }
    if (own)
        TABLE(layer)->download(DEVICE(layer), ids, layer->memory->ids, own * sizeof *ids);
    const int status = MPI_Allgatherv(ids, (int)own, MPI_UINT16_T, all, counts, places,
                                      MPI_UINT16_T, MPI_COMM_WORLD);
    free(counts);
    free(places);
    free(ids);
    return status == MPI_SUCCESS ||
           error_set(err, EXIT_RUNTIME, "the exchange of choices failed: a rank was lost");
}

static bool make_plan(struct layer *layer, struct error *err)
{
    const struct setting *setting = layer->setup.setting;
    loads_count(&layer->loads, &layer->routing, &setting->layout, setting->cluster.nodes);
    schedule_layer(&layer->schedule, &setting->moe, &setting->cluster, &setting->dispatcher,
                   &layer->loads, &setting->layout);
    plan_init(&layer->dispatch, &layer->schedule, &layer->schedule.transfers[0], &layer->routing,
              layer->setup.rank);
    plan_init(&layer->combine, &layer->schedule, &layer->schedule.transfers[1], &layer->routing,
              layer->setup.rank);
    memory_plan(layer);
    layer->planned = true;
    return TABLE(layer)->sync(DEVICE(layer), err);
}

// The first iteration plans by what it learns; later ones must learn the same.
static bool learn_choices(struct layer *layer, struct error *err)
{
    const size_t count = layer->token_first[layer->routing.ranks] * layer->routing.topk;
    if (!layer->planned)
        return exchange_choices(layer, layer->all_ids, err);
    uint16_t *again = mem_alloc(count + 1, sizeof *again);
    bool ok = exchange_choices(layer, again, err);
    if (ok && memcmp(again, layer->all_ids, count * sizeof *again))
        ok = error_set(err, EXIT_RUNTIME, "the router chose otherwise in another iteration");
    free(again);
    return ok;
}

// --- movement -------------------------------------------------------------------------------

static uint32_t to_messages(struct message *messages, const struct row_block *rows,
                            const struct piece *pieces, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        messages[i] = (struct message){.rank = pieces[i].rank,
                                       .data = (char *)rows->base + pieces[i].first * rows->stride,
                                       .bytes = pieces[i].rows * rows->stride};
    return count;
}

// Posts a round of a stage; a gather sends what a scatter would receive.
static bool post_round(struct layer *layer, const struct round *round, enum stage stage,
                       const struct row_block *from, const struct row_block *to, bool gather,
                       struct error *err)
{
    const struct piece *out = gather ? round->receive : round->send;
    const struct piece *in = gather ? round->send : round->receive;
    const uint32_t outs = gather ? round->receives : round->sends;
    const uint32_t ins = gather ? round->sends : round->receives;
    struct message *sends = mem_alloc((size_t)outs + 1, sizeof *sends);
    struct message *receives = mem_alloc((size_t)ins + 1, sizeof *receives);
    to_messages(sends, from, out, outs);
    to_messages(receives, to, in, ins);
    const bool ok = layer->setup.wires->post(layer->setup.transport, stream_of(stage), sends, outs,
                                             receives, ins, err);
    free(sends);
    free(receives);
    return ok;
}

// Waits for an exchange and marks its end as the stage's, until the next one of the stage.
static bool wait_stage(struct layer *layer, enum stage stage, bool gather, struct error *err)
{
    const bool ok = layer->setup.wires->wait(layer->setup.transport, stream_of(stage), err);
    TABLE(layer)->mark(DEVICE(layer), stream_of(stage), stage_mark(gather, stage));
    return ok;
}

static void follow_compute(struct layer *layer)
{
    TABLE(layer)->follow(DEVICE(layer), STREAM_INTER, STREAM_COMPUTE);
    TABLE(layer)->follow(DEVICE(layer), STREAM_INTRA, STREAM_COMPUTE);
}

// A stage that moves nothing ends as it begins.
static void mark_stages(struct layer *layer, bool gather)
{
    for (enum stage stage = 0; stage < STAGES; stage++)
        TABLE(layer)->mark(DEVICE(layer), stream_of(stage), stage_mark(gather, stage));
}

static bool move_direct(struct layer *layer, const struct plan *plan, const struct path *path,
                        bool gather, struct error *err)
{
    const struct row_block *from = gather ? &path->served : &path->sent;
    const struct row_block *to = gather ? &path->sent : &path->served;
    for (uint32_t r = 0; r < plan->rounds; r++) {
        for (enum stage stage = 0; stage < STAGES; stage++)
            if (!post_round(layer, &plan->stage[stage][r], stage, from, to, gather, err))
                return false;
        // What moves inside a node ends first as a rule.
        for (enum stage stage = STAGES; stage-- > 0;)
            if (!wait_stage(layer, stage, gather, err))
                return false;
    }
    return true;
}

static struct row_block rows_from(const struct row_block *rows, uint64_t first)
{
    struct row_block part = *rows;
    part.base = (char *)rows->base + first * rows->stride;
    return part;
}

// Copies a round's crossed rows for the ranks of the node, on the intra stream.
static void relay(struct layer *layer, const struct plan *plan, const struct path *path,
                  uint32_t round)
{
    const struct round *intra = &plan->stage[STAGE_INTRA][round];
    TABLE(layer)->follow(DEVICE(layer), STREAM_INTRA, STREAM_INTER);
    if (intra->rows)
        TABLE(layer)->gather(DEVICE(layer), STREAM_INTRA, rows_from(&path->relayed, intra->first),
                             path->crossed, path->relay_from + intra->first, intra->rows,
                             layer->schedule.moe.hidden);
}

// Chunk r crosses while chunk r - 1 is forwarded in the node.
static bool move_scatter(struct layer *layer, const struct plan *plan, const struct path *path,
                         struct error *err)
{
    if (!post_round(layer, &plan->stage[STAGE_INTER][0], STAGE_INTER, &path->sent, &path->crossed,
                    false, err))
        return false;
    for (uint32_t r = 0; r < plan->rounds; r++) {
        if (!wait_stage(layer, STAGE_INTER, false, err))
            return false;
        relay(layer, plan, path, r);
        if (r + 1 < plan->rounds &&
            !post_round(layer, &plan->stage[STAGE_INTER][r + 1], STAGE_INTER, &path->sent,
                        &path->crossed, false, err))
            return false;
        if (!post_round(layer, &plan->stage[STAGE_INTRA][r], STAGE_INTRA, &path->relayed,
                        &path->served, false, err) ||
            !wait_stage(layer, STAGE_INTRA, false, err))
            return false;
    }
    return true;
}

// Sums a round's copies of each token over the node, on the inter stream, before they cross.
static void reduce_node(struct layer *layer, const struct plan *plan, const struct path *path,
                        uint32_t round)
{
    const struct round *inter = &plan->stage[STAGE_INTER][round];
    TABLE(layer)->follow(DEVICE(layer), STREAM_INTER, STREAM_INTRA);
    if (inter->rows)
        TABLE(layer)->reduce(DEVICE(layer), STREAM_INTER, rows_from(&path->crossed, inter->first),
                             path->relayed, path->relayed_first + inter->first, path->relayed_of,
                             NULL, inter->rows, layer->schedule.moe.hidden, false);
}

// Chunk r comes together in the node while chunk r - 1 crosses.
static bool move_gather(struct layer *layer, const struct plan *plan, const struct path *path,
                        struct error *err)
{
    bool crossing = false;
    for (uint32_t r = 0; r < plan->rounds; r++) {
        if (!post_round(layer, &plan->stage[STAGE_INTRA][r], STAGE_INTRA, &path->served,
                        &path->relayed, true, err) ||
            !wait_stage(layer, STAGE_INTRA, true, err))
            return false;
        if (crossing && !wait_stage(layer, STAGE_INTER, true, err))
            return false;
        reduce_node(layer, plan, path, r);
        if (!post_round(layer, &plan->stage[STAGE_INTER][r], STAGE_INTER, &path->crossed,
                        &path->sent, true, err))
            return false;
        crossing = true;
    }
    return wait_stage(layer, STAGE_INTER, true, err);
}

static bool move(struct layer *layer, const struct transfer *transfer, struct error *err)
{
    const bool gather = transfer->gather;
    const struct plan *plan = gather ? &layer->combine : &layer->dispatch;
    const struct path *path = gather ? &layer->memory->combine : &layer->memory->dispatch;
    follow_compute(layer);
    mark_stages(layer, gather);
    if (!transfer->rail)
        return move_direct(layer, plan, path, gather, err);
    return gather ? move_gather(layer, plan, path, err) : move_scatter(layer, plan, path, err);
}

// --- dispatch, experts, combine -------------------------------------------------------------

static struct row_block dense(const struct layer *layer, void *base)
{
    const size_t value = TABLE(layer)->activation == ROW_BF16 ? 2 : 4;
    return (struct row_block){.base = base,
                              .stride = layer->schedule.moe.hidden * value,
                              .format = TABLE(layer)->activation};
}

// Metadata of a wire row: ids and weights of the token's choices where the dispatcher sends them.
static uint32_t meta_topk(const struct layer *layer)
{
    return layer->schedule.dispatcher.choice_bytes ? layer->routing.topk : 0;
}

static bool run_dispatch(struct layer *layer, struct error *err)
{
    const struct layer_memory *memory = layer->memory;
    const struct transfer *transfer = &layer->schedule.transfers[0];
    const uint64_t rows = layer->dispatch.sent_rows;
    if (rows) {
        TABLE(layer)->gather(DEVICE(layer), STREAM_COMPUTE, memory->dispatch.sent,
                             dense(layer, memory->hidden), memory->sent_token, rows,
                             layer->schedule.moe.hidden);
        TABLE(layer)->put_meta(DEVICE(layer), STREAM_COMPUTE, memory->dispatch.sent,
                               memory_payload(layer, transfer), memory->ids, memory->weights,
                               meta_topk(layer), memory->sent_token, rows);
    }
    return move(layer, transfer, err);
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
    const struct row_block rows = {
        .base = memory->brought, .stride = topk * sizeof(float), .format = ROW_FP32};
    const struct row_block each = {
        .base = memory->brought, .stride = sizeof(float), .format = ROW_FP32};
    const struct row_block out = {
        .base = memory->served_weight, .stride = sizeof(float), .format = ROW_FP32};
    TABLE(layer)->gather(DEVICE(layer), STREAM_COMPUTE, rows, in, NULL, layer->dispatch.served_rows,
                         topk);
    TABLE(layer)->gather(DEVICE(layer), STREAM_COMPUTE, out, each, memory->weight_at,
                         memory->expert_rows, 1);
}

static void run_experts(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    const struct layout *layout = &layer->setup.setting->layout;
    const uint32_t rank = layer->setup.rank;
    if (memory->expert_rows == 0)
        return;
    if (!weighs_at_home(layer))
        read_weights(layer);
    TABLE(layer)->gather(DEVICE(layer), STREAM_COMPUTE, dense(layer, memory->group_in),
                         memory->dispatch.served, memory->group_from, memory->expert_rows,
                         moe->hidden);
    TABLE(layer)->ffn(DEVICE(layer),
                      &(struct ffn){.groups = layout->rank_slot[rank + 1] - layout->rank_slot[rank],
                                    .hidden = moe->hidden,
                                    .intermediate = moe->intermediate,
                                    .first = memory->group_first,
                                    .gate_up = (const void *const *)memory->gate_up,
                                    .down = (const void *const *)memory->down,
                                    .in = memory->group_in,
                                    .out = memory->group_out,
                                    .middle = memory->group_middle});
}

// Sums a served row's results at the expert's rank, moves them, and sums at home.
static bool run_combine(struct layer *layer, struct error *err)
{
    const struct layer_memory *memory = layer->memory;
    const struct transfer *transfer = &layer->schedule.transfers[1];
    const uint32_t hidden = layer->schedule.moe.hidden;
    const bool home = weighs_at_home(layer);
    if (layer->combine.served_rows)
        TABLE(layer)->reduce(DEVICE(layer), STREAM_COMPUTE, memory->combine.served,
                             dense(layer, memory->group_out), memory->served_first,
                             memory->served_of, home ? NULL : memory->served_weight,
                             layer->combine.served_rows, hidden, false);
    if (!move(layer, transfer, err))
        return false;
    TABLE(layer)->follow(DEVICE(layer), STREAM_COMPUTE, STREAM_INTER);
    TABLE(layer)->follow(DEVICE(layer), STREAM_COMPUTE, STREAM_INTRA);
    if (own_tokens(layer) == 0)
        return true;
    if (home)
        TABLE(layer)->gather(DEVICE(layer), STREAM_COMPUTE,
                             (struct row_block){memory->home_weight, sizeof(float), ROW_FP32},
                             (struct row_block){memory->weights, sizeof(float), ROW_FP32},
                             memory->home_choice, layer->combine.sent_rows, 1);
    TABLE(layer)->reduce(DEVICE(layer), STREAM_COMPUTE, dense(layer, memory->output),
                         memory->combine.sent, memory->home_first, memory->home_of,
                         home ? memory->home_weight : NULL, own_tokens(layer), hidden, false);
    return true;
}

static void run_shared(struct layer *layer)
{
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    const uint64_t first[2] = {0, own_tokens(layer)};
    if (first[1] == 0)
        return;
    TABLE(layer)->ffn(DEVICE(layer),
                      &(struct ffn){.groups = 1,
                                    .hidden = moe->hidden,
                                    .intermediate = moe->shared_intermediate,
                                    .first = first,
                                    .gate_up = (const void *const[]){memory->shared_gate_up},
                                    .down = (const void *const[]){memory->shared_down},
                                    .in = memory->hidden,
                                    .out = memory->shared,
                                    .middle = memory->shared_middle});
    TABLE(layer)->reduce(DEVICE(layer), STREAM_COMPUTE, dense(layer, memory->output),
                         dense(layer, memory->shared), memory->ones_first, memory->ones_of, NULL,
                         first[1], moe->hidden, true);
}

// --- the iteration --------------------------------------------------------------------------

static bool run_before(struct layer *layer, struct layer_times *times, struct error *err)
{
    if (!begin_phase(layer, PHASE_RMSNORM, err))
        return false;
    run_rmsnorm(layer);
    if (!end_phase(layer, PHASE_RMSNORM, times, err) || !begin_phase(layer, PHASE_ROUTER, err))
        return false;
    (layer->setup.router ? route : take_choices)(layer);
    return end_phase(layer, PHASE_ROUTER, times, err);
}

static bool run_notify(struct layer *layer, struct layer_times *times, struct error *err)
{
    if (!begin_phase(layer, PHASE_NOTIFY, err) || !learn_choices(layer, err) ||
        !end_phase(layer, PHASE_NOTIFY, times, err))
        return false;
    return layer->planned || make_plan(layer, err);
}

static void read_stages(struct layer *layer, bool gather, struct layer_times *times)
{
    const enum phase phase = gather ? PHASE_COMBINE : PHASE_DISPATCH;
    for (enum stage stage = 0; stage < STAGES; stage++)
        times->stage_us[gather][stage] = TABLE(layer)->elapsed_us(
            DEVICE(layer), mark_of(phase, false), stage_mark(gather, stage));
}

bool layer_run(struct layer *layer, struct layer_times *times, struct error *err)
{
    *times = (struct layer_times){0};
    if (!run_before(layer, times, err) || !run_notify(layer, times, err))
        return false;
    if (!begin_phase(layer, PHASE_DISPATCH, err) || !run_dispatch(layer, err) ||
        !end_phase(layer, PHASE_DISPATCH, times, err))
        return false;
    read_stages(layer, false, times);
    if (!begin_phase(layer, PHASE_EXPERTS, err))
        return false;
    run_experts(layer);
    if (!end_phase(layer, PHASE_EXPERTS, times, err) || !begin_phase(layer, PHASE_COMBINE, err) ||
        !run_combine(layer, err) || !end_phase(layer, PHASE_COMBINE, times, err))
        return false;
    read_stages(layer, true, times);
    if (layer->setup.setting->moe.shared_intermediate == 0)
        return true;
    if (!begin_phase(layer, PHASE_SHARED, err))
        return false;
    run_shared(layer);
    return end_phase(layer, PHASE_SHARED, times, err);
}

// --- opening and reading --------------------------------------------------------------------

// What the steps above can do: rows of dispatch come back as they went.
static bool check_dispatcher(const struct dispatcher *dispatcher, struct error *err)
{
    const bool by_expert = dispatcher->dedupe == DEDUPE_EXPERT;
    const bool rail = dispatcher->route == ROUTE_RAIL;
    if (by_expert != (dispatcher->reduce == REDUCE_HOME))
        return error_set(
            err, EXIT_INPUT,
            "--dispatcher %s: dedupe expert and reduce home run together, or not at all",
            dispatcher->name);
    if (rail != (dispatcher->reduce == REDUCE_NODE))
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: route rail and reduce node run together, or not at all",
                         dispatcher->name);
    if (!by_expert && dispatcher->choice_bytes != 8)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: choice_bytes %u: expected 8, an index and a weight, for "
                         "the experts' ranks weigh",
                         dispatcher->name, dispatcher->choice_bytes);
    if (dispatcher->header_bytes < sizeof(int32_t))
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: header_bytes %u: expected at least 4, the token's index",
                         dispatcher->name, dispatcher->header_bytes);
    return true;
}

bool layer_open(struct layer *layer, const struct layer_setup *setup, struct error *err)
{
    *layer = (struct layer){.setup = *setup};
    if (!check_dispatcher(&setup->setting->dispatcher, err))
        return false;
    set_known_routing(layer);
    memory_open(layer);
    return setup->table->sync(setup->device, err);
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
    free(layer->all_ids);
    free(layer->token_first);
    *layer = (struct layer){0};
}

static void read_rows(struct layer *layer, void *dense_rows, const struct layer_tokens *tokens,
                      float *out)
{
    const uint32_t hidden = layer->setup.setting->moe.hidden;
    const size_t bytes = (size_t)tokens->count * hidden * sizeof(float);
    float *staging = TABLE(layer)->alloc(DEVICE(layer), bytes);
    uint32_t *index = TABLE(layer)->alloc(DEVICE(layer), tokens->count * sizeof *index);
    if (staging && index) {
        TABLE(layer)->upload(DEVICE(layer), index, tokens->token, tokens->count * sizeof *index);
        TABLE(layer)->gather(DEVICE(layer), STREAM_COMPUTE,
                             (struct row_block){staging, hidden * sizeof(float), ROW_FP32},
                             dense(layer, dense_rows), index, tokens->count, hidden);
        TABLE(layer)->download(DEVICE(layer), out, staging, bytes);
    }
    TABLE(layer)->release(DEVICE(layer), staging);
    TABLE(layer)->release(DEVICE(layer), index);
}

static void read_choices(struct layer *layer, const struct layer_tokens *tokens)
{
    const uint32_t topk = layer->routing.topk;
    const size_t count = (size_t)own_tokens(layer) * topk;
    uint16_t *ids = mem_alloc(count, sizeof *ids);
    float *weights = mem_alloc(count, sizeof *weights);
    TABLE(layer)->download(DEVICE(layer), ids, layer->memory->ids, count * sizeof *ids);
    TABLE(layer)->download(DEVICE(layer), weights, layer->memory->weights, count * sizeof *weights);
    for (uint32_t i = 0; i < tokens->count; i++) {
        memcpy(tokens->ids + (size_t)i * topk, ids + (size_t)tokens->token[i] * topk,
               topk * sizeof *ids);
        memcpy(tokens->weights + (size_t)i * topk, weights + (size_t)tokens->token[i] * topk,
               topk * sizeof *weights);
    }
    free(ids);
    free(weights);
}

bool layer_read(struct layer *layer, const struct layer_tokens *tokens, struct error *err)
{
    assert(layer->planned);
    if (tokens->count == 0)
        return true;
    read_rows(layer, layer->memory->hidden, tokens, tokens->a);
    read_rows(layer, layer->memory->output, tokens, tokens->c);
    read_choices(layer, tokens);
    return TABLE(layer)->sync(DEVICE(layer), err);
}
