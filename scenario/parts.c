#include "scenario/parts.h"

#include "base/mem.h"
#include "scenario/planned.h"

#include <stdlib.h>
#include <string.h>

// The shape that stands for the model when none is asked: a measured row's, or a trace's.
static const struct moe *given_shape(const struct scenario *scenario)
{
    if (scenario->def.has_shape)
        return &scenario->def.shape;
    return scenario->recorded ? &recorded_trace(scenario->recorded)->moe : NULL;
}

// A trace says which experts tokens go to, so it must be of as many.
static bool check_recorded(const struct scenario *scenario, const char *flag, const char *name,
                           struct error *err)
{
    const struct moe *moe = &scenario->moe;
    const struct moe *recorded =
        scenario->recorded ? &recorded_trace(scenario->recorded)->moe : moe;
    return (recorded->experts == moe->experts && recorded->topk == moe->topk) ||
           error_set(err, EXIT_INPUT, "--trace %s: top-%u of %u experts, but %s%s has top-%u of %u",
                     scenario->def.trace, recorded->topk, recorded->experts, flag, name, moe->topk,
                     moe->experts);
}

bool parts_resolve_moe(struct scenario *scenario, struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    const struct moe *given = given_shape(scenario);
    const char *model = def->model[0] ? def->model : "deepseek-v3";
    if (given && !def->model[0]) {
        scenario->moe = *given;
        return (moe_check(&scenario->moe, err) || error_prefix(err, "%s", given->name)) &&
               check_recorded(scenario, "", given->name, err);
    }
    if (!moe_load(model, &scenario->moe, NULL, err))
        return error_prefix(err, "--model");
    return check_recorded(scenario, "--model ", model, err);
}

// Whether the dispatcher moves what is asked: a layer's tokens, or a traffic matrix.
static bool check_traffic(const struct dispatcher *dispatcher, const char *name, bool traffic,
                          struct error *err)
{
    if (traffic && dispatcher->chunk_bytes == 0)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: does not move a byte matrix; expected raw or "
                         "nccl-alltoall with --traffic",
                         name);
    if (traffic && !dispatcher->cost_model->moves_bytes)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: its law is about tokens; expected law: stream or nccl "
                         "with --traffic",
                         name);
    if (!traffic && dispatcher->chunk_bytes != 0)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: moves a byte matrix only: give --traffic", name);
    return true;
}

uint32_t parts_max_tokens(const struct dispatcher *dispatcher)
{
    const uint32_t library = dispatcher->max_tokens, buffers = dispatcher->capacity_tokens;
    const uint32_t max = library && (!buffers || library < buffers) ? library : buffers;
    return max ? max : UINT32_MAX;
}

void parts_set_dispatcher(struct scenario *scenario, const struct dispatcher *dispatcher)
{
    scenario->dispatcher = *dispatcher;
    if (scenario->def.sms)
        scenario->dispatcher.sms = scenario->def.sms;
}

// Of a measured row everything stands as the row says it.
bool parts_settle_dtypes(struct scenario *scenario, struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    const struct dispatcher *dispatcher = &scenario->dispatcher;
    struct moe *moe = &scenario->moe;
    if (def->has_shape || scenario->traffic)
        return true;
    if (def->dispatch_dtype)
        moe->dispatch_dtype = (enum dtype)(def->dispatch_dtype - 1);
    else if (!moe->dispatch_given)
        moe->dispatch_dtype = moe->activation_dtype;
    if (def->combine_dtype)
        moe->combine_dtype = (enum dtype)(def->combine_dtype - 1);
    const bool asked = def->dispatch_dtype || moe->dispatch_given;
    if (!asked && !dtype_in(dispatcher->dispatch_dtypes, moe->dispatch_dtype))
        moe->dispatch_dtype = DTYPE_BF16;
    if (!dtype_in(dispatcher->dispatch_dtypes, moe->dispatch_dtype))
        return error_set(err, EXIT_INPUT, "%s %s: %s dispatches %s",
                         def->dispatch_dtype ? "--dispatch-dtype" : "dispatch_dtype",
                         dtype_names[moe->dispatch_dtype], dispatcher->name,
                         dispatcher->dispatch_dtypes);
    return dtype_in(dispatcher->combine_dtypes, moe->combine_dtype) ||
           error_set(err, EXIT_INPUT, "%s %s: %s combines %s",
                     def->combine_dtype ? "--combine-dtype" : "combine_dtype",
                     dtype_names[moe->combine_dtype], dispatcher->name, dispatcher->combine_dtypes);
}

void parts_tell_dtype(const struct scenario *scenario)
{
    const struct moe *moe = &scenario->moe;
    const enum dtype wanted = moe->activation_dtype;
    if (!scenario->traffic && !scenario->def.has_shape && !scenario->def.dispatch_dtype &&
        !moe->dispatch_given && moe->dispatch_dtype != wanted)
        notice("experts in %s, but %s dispatches %s: bf16 it is", dtype_names[wanted],
               scenario->dispatcher.name, scenario->dispatcher.dispatch_dtypes);
}

static void tell_limits(const struct scenario *scenario, uint32_t tokens)
{
    const struct dispatcher *dispatcher = &scenario->dispatcher;
    const uint32_t sms = scenario->cluster.sms;
    if (dispatcher->sms > sms && !scenario->def.has_shape)
        notice("%s moves data on %u SMs; the GPU has %u, which it takes", dispatcher->name,
               dispatcher->sms, sms);
    if (dispatcher->max_tokens && tokens > dispatcher->max_tokens)
        notice("%s takes at most %u tokens a rank; %u is a what-if", dispatcher->name,
               dispatcher->max_tokens, tokens);
    if (scenario->def.graph && !scenario->def.has_shape && scenario->cluster.graph_launches == 1)
        notice("cluster %s says no graph_launches: a graph's take as long as a stream's",
               scenario->cluster.name);
    if (dispatcher->capacity_tokens && tokens > dispatcher->capacity_tokens)
        notice("%s has buffers for %u tokens per GPU; %u is a what-if", dispatcher->name,
               dispatcher->capacity_tokens, tokens);
}

// SMs are the GPU's, and said once: by the flag, or behind the dispatcher's name.
static bool check_sms(const struct scenario *scenario, const struct dispatcher *dispatcher,
                      const char *name, struct error *err)
{
    const uint32_t asked = scenario->def.sms;
    const bool changed = strstr(name, ":sms=") || strstr(name, ",sms=");
    if (asked > scenario->cluster.sms)
        return error_set(err, EXIT_INPUT, "--sms: %u: expected at most %u, the GPU's", asked,
                         scenario->cluster.sms);
    return !asked || !changed || asked == dispatcher->sms ||
           error_set(err, EXIT_INPUT, "--sms %u: --dispatcher %s says another", asked, name);
}

bool parts_resolve_dispatcher(struct scenario *scenario, const char *name, uint32_t tokens,
                              struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    struct dispatcher dispatcher;
    if (!dispatcher_load(name, &scenario->cluster, &dispatcher, NULL, err))
        return error_prefix(err, "--dispatcher");
    if (!check_traffic(&dispatcher, name, def->traffic[0] != '\0', err) ||
        !check_sms(scenario, &dispatcher, name, err))
        return false;
    parts_set_dispatcher(scenario, &dispatcher);
    tell_limits(scenario, tokens);
    return true;
}

bool parts_resolve_kernels(struct scenario *scenario, struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    scenario->kernels = kernels_default();
    if (scenario->traffic || (def->isolated && phase_moves(def->only)))
        return true;
    return kernels_load(def->kernels[0] ? def->kernels : KERNELS_DEFAULT, &scenario->cluster,
                        &scenario->kernels, NULL, err) ||
           error_prefix(err, "--kernels");
}

void parts_release_layout(struct scenario *scenario)
{
    if (scenario->layout)
        layout_release(scenario->layout);
    free(scenario->layout);
    if (scenario->served)
        layout_release(scenario->served);
    free(scenario->served);
    scenario->layout = scenario->served = NULL;
}

void parts_set_layout(struct scenario *scenario, struct layout *layout)
{
    const uint32_t fused = moe_fused_experts(&scenario->moe);
    parts_release_layout(scenario);
    scenario->layout = layout;
    if (!fused)
        return;
    scenario->served = mem_alloc(1, sizeof *scenario->served);
    layout_fuse_shared(scenario->served, layout, fused);
}

const struct layout *parts_served_layout(const struct scenario *scenario)
{
    return scenario->served ? scenario->served : scenario->layout;
}

void parts_make_loads(const struct scenario *scenario, bool expected, struct loads *loads)
{
    const uint32_t nodes = scenario->cluster.nodes, fused = moe_fused_experts(&scenario->moe);
    (expected ? loads_expect : loads_count)(loads, &scenario->routing, scenario->layout, nodes);
    if (fused)
        loads_fuse_shared(loads, scenario->layout, fused);
}

bool parts_load_layout(struct layout *layout, const char *what, const struct layout_wanted *wanted,
                       struct error *err)
{
    const uint32_t experts = wanted->experts;
    if (layout_is_rule(what) && experts < wanted->ranks)
        return error_set(err, EXIT_INPUT,
                         "%u experts on %u ranks: expected at least one expert a rank; give --ep "
                         "%u or fewer",
                         experts, wanted->ranks, experts);
    return layout_load(layout, what, wanted, err);
}

const struct moe *parts_layer_model(const struct trace *trace, const struct moe *moe)
{
    if (trace && trace->states_layers)
        return &trace->moe;
    for (uint32_t l = 0; trace && moe && l < trace->layers; l++)
        if (moe_layer_of(moe, trace->layer_ids[l]) == MOE_NOT_AN_MOE_LAYER)
            return NULL;
    return moe;
}

static bool load_asked_layout(const struct scenario *scenario, struct layout *layout,
                              struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    const struct trace *trace = recorded_trace(scenario->recorded);
    const bool known = !trace || trace->states_layers || def->model[0];
    const struct layout_wanted wanted = {.experts = scenario->moe.experts,
                                         .ranks = cluster_ranks(&scenario->cluster),
                                         .layer = trace ? (int)trace->layer_ids[def->layer] : -1,
                                         .moe = known ? parts_layer_model(trace, &scenario->moe)
                                                      : NULL};
    if (def->redundant)
        return error_set(err, EXIT_INPUT,
                         "--redundant: --layout %s is not planned: expected --layout eplb, "
                         "eplb-global or greedy",
                         def->layout);
    return parts_load_layout(layout, def->layout, &wanted, err) || error_prefix(err, "--layout");
}

static bool plan_layout(const struct scenario *scenario, struct layout *layout, struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    const struct planned_def planned = {.rule = def->layout,
                                        .redundant = def->redundant,
                                        .moe = &scenario->moe,
                                        .cluster = &scenario->cluster,
                                        .trace = recorded_trace(scenario->recorded),
                                        .layer_index = def->layer,
                                        .routing = &scenario->routing,
                                        .seed = def->seed};
    return planned_layout(layout, &planned, err);
}

bool parts_resolve_layout(struct scenario *scenario, struct error *err)
{
    const bool planned = planned_is_rule(scenario->def.layout);
    struct layout layout;
    if (scenario->def.unplaced)
        return true;
    if (!(planned ? plan_layout(scenario, &layout, err)
                  : load_asked_layout(scenario, &layout, err)))
        return false;
    parts_set_layout(scenario, mem_copy(&layout, sizeof layout));
    scenario->placed_layer = scenario->def.layer;
    return true;
}

static void set_groups(struct scenario *scenario)
{
    struct routing *routing = &scenario->routing;
    const struct moe *moe = &scenario->moe;
    routing->groups = routing->topk_groups = 1;
    if (routing->rule == ROUTING_V3) {
        routing->groups = moe->groups;
        routing->topk_groups = moe->topk_groups;
    } else if (routing->rule == ROUTING_DEEPEP) {
        const uint32_t nodes = scenario->cluster.nodes;
        routing->groups = nodes;
        routing->topk_groups =
            moe->groups > 1 && moe->topk_groups < nodes ? moe->topk_groups : nodes;
    }
}

bool parts_resolve_routing(struct scenario *scenario, uint32_t tokens, struct error *err)
{
    const struct scenario_def *def = &scenario->def;
    const uint32_t ranks = cluster_ranks(&scenario->cluster);
    scenario->tokens = mem_alloc(ranks, sizeof(uint32_t));
    for (uint32_t r = 0; r < ranks; r++)
        scenario->tokens[r] = tokens;
    scenario->routing = (struct routing){.rule = scenario->recorded ? ROUTING_TRACE : def->routing,
                                         .experts = scenario->moe.experts,
                                         .topk = scenario->moe.topk,
                                         .ranks = ranks,
                                         .seed = def->seed,
                                         .layer = def->layer,
                                         .tokens = scenario->tokens};
    if (scenario->routing.rule == ROUTING_TRACE)
        return true;
    set_groups(scenario);
    // Both rules are about ranks and nodes, and draw expert ids that stand for them in id order.
    if ((def->routing == ROUTING_BALANCED || def->routing == ROUTING_DEEPEP) &&
        strcmp(def->layout, "contiguous"))
        return error_set(err, EXIT_INPUT, "--routing %s: needs --layout contiguous",
                         routing_rule_names[def->routing]);
    return routing_check(&scenario->routing, err) || error_prefix(err, "--routing");
}

void parts_schedule(const struct scenario *scenario, const struct loads *loads,
                    struct schedule *schedule)
{
    if (scenario->traffic)
        schedule_traffic(schedule, &scenario->cluster, &scenario->dispatcher, loads);
    else
        schedule_layer(schedule, &scenario->moe, &scenario->cluster, &scenario->dispatcher, loads,
                       parts_served_layout(scenario));
    schedule->kernels = scenario->kernels;
    if (scenario->def.isolated)
        schedule_keep_only(schedule, scenario->def.only);
    schedule_leave_out(schedule, scenario->def.left_out);
}
