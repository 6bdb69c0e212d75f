#include "study/layout_plan.h"

#include "base/mem.h"
#include "model/engine/check.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"
#include "study/layout_search.h"
#include "traces/ask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- the task ----------------------------------------------------------------------------------

static bool cut(struct layout_task *task, const struct layout_asked *asked, struct error *err)
{
    return (trace_part(&task->trace, asked->plan.from, asked->plan.to, &task->plan, err) ||
            error_prefix(err, "--plan-on")) &&
           (trace_part(&task->trace, asked->replay.from, asked->replay.to, &task->replay, err) ||
            error_prefix(err, "--replay-on"));
}

static bool set_tokens(struct layout_task *task, uint32_t asked, uint32_t ranks, struct error *err)
{
    const uint32_t plan = ask_tokens(&task->plan, ranks);
    const uint32_t replay = ask_tokens(&task->replay, ranks);
    if (!ask_check_tokens(&task->trace, asked, err))
        return false;
    if (!task->trace.steps.data)
        task->tokens = asked ? asked : plan < replay ? plan : replay;
    return true;
}

static bool set_layers(struct layout_task *task, const struct layout_asked *asked,
                       struct error *err)
{
    task->layer_count = asked->layer_count ? asked->layer_count : task->trace.layers;
    task->layers = mem_alloc(task->layer_count, sizeof *task->layers);
    for (uint32_t l = 0; l < task->layer_count; l++) {
        task->layers[l] = asked->layer_count ? asked->layers[l] : l;
        if (!ask_check_layer(&task->trace, task->layers[l], err))
            return false;
    }
    return true;
}

// The most tokens of a rank in the first step replayed, which decides the default dispatcher.
static bool most_tokens(const struct layout_task *task, uint32_t ranks, uint32_t *most,
                        struct error *err)
{
    struct trace_view *view;
    if (!trace_view_new(&task->replay, 0, 0, ranks, task->tokens, &view, err))
        return false;
    const struct routing routing = trace_routing(view);
    *most = routing_most_tokens(&routing);
    *most = *most ? *most : 1;
    trace_view_free(view);
    return true;
}

static bool set_shape(struct layout_task *task, uint32_t redundant, struct error *err)
{
    const struct setting *setting = &task->setting;
    task->shape = (struct placement_shape){.experts = setting->moe.experts,
                                           .groups = setting->moe.groups,
                                           .ranks = cluster_ranks(&setting->cluster),
                                           .nodes = setting->cluster.nodes,
                                           .slots = setting->moe.experts + redundant};
    return placement_check(&task->shape, err) || error_prefix(err, "--redundant %u", redundant);
}

// Notices once where both parts begin together.
static void count_steps(struct layout_task *task, const struct layout_asked *asked, uint32_t ranks)
{
    const double apart = asked->plan.from - asked->replay.from;
    trace_steps(&task->plan, ranks, task->tokens);
    task->replay_steps =
        (fabs(apart) > 0 ? trace_steps : trace_step_count)(&task->replay, ranks, task->tokens);
}

static bool resolve(struct layout_task *task, const struct layout_asked *asked, struct error *err)
{
    struct question question = *asked->question;
    struct cluster cluster;
    if (!cluster_load(question.cluster, &cluster, NULL, err))
        return error_prefix(err, "--cluster");
    const uint32_t ranks = question.ep ? question.ep : cluster_ranks(&cluster);
    question.routing = ROUTING_TRACE;
    question.unplaced = true;
    if (!cut(task, asked, err) || !set_tokens(task, question.tokens, ranks, err) ||
        !set_layers(task, asked, err) || !most_tokens(task, ranks, &question.tokens, err) ||
        !setting_resolve(&task->setting, &question, &task->trace.moe, err))
        return false;
    count_steps(task, asked, ranks);
    return set_shape(task, asked->redundant, err);
}

bool layout_task_init(struct layout_task *task, const struct layout_asked *asked, struct error *err)
{
    *task =
        (struct layout_task){.search_steps = asked->search_steps, .seed = asked->question->seed};
    if (!trace_open(&task->trace, asked->question->trace, err))
        return error_prefix(err, "--trace");
    if (resolve(task, asked, err))
        return true;
    layout_task_release(task);
    return false;
}

void layout_task_release(struct layout_task *task)
{
    setting_release(&task->setting);
    free(task->layers);
    trace_release(&task->trace);
    *task = (struct layout_task){0};
}

// ---- a layout judged ---------------------------------------------------------------------------

// One step of a layer under a layout.
struct step_asked {
    const struct trace *part;
    const struct cluster *cluster; // the task's shape, but not always as healthy
    const struct layout *layout;
    uint32_t layer_index;
    uint64_t number;
};

struct step {
    struct trace_view *view;
    struct loads loads;
    struct schedule schedule;
};

static bool step_init(struct step *step, const struct layout_task *task,
                      const struct step_asked *asked, struct error *err)
{
    const struct setting *setting = &task->setting;
    if (!trace_view_new(asked->part, asked->layer_index, asked->number, task->shape.ranks,
                        task->tokens, &step->view, err))
        return false;
    const struct routing routing = trace_routing(step->view);
    loads_count(&step->loads, &routing, asked->layout, asked->cluster->nodes);
    schedule_layer(&step->schedule, &setting->moe, asked->cluster, &setting->dispatcher,
                   &step->loads, asked->layout);
    return true;
}

static void step_release(struct step *step)
{
    schedule_release(&step->schedule);
    loads_release(&step->loads);
    trace_view_free(step->view);
}

static void run(const struct layout_task *task, const struct schedule *schedule, enum engine engine,
                struct timing *timing)
{
    if (engine == ENGINE_SIMULATE)
        simulate(schedule, &task->setting.run, timing);
    else if (engine == ENGINE_ESTIMATE)
        estimate(schedule, &task->setting.run, timing);
    else
        estimate_naive(schedule, &task->setting.run, timing);
}

static double span_us(const struct timing *timing, enum phase phase)
{
    return timing_span(timing, phase).latency_ps / 1e6;
}

static void add_timing(struct layout_figures *figures, const struct timing *timing, double weight)
{
    figures->layer_us += weight * timing_layer_ps(timing) / 1e6;
    figures->dispatch_us += weight * span_us(timing, PHASE_DISPATCH);
    figures->experts_us += weight * span_us(timing, PHASE_EXPERTS);
    figures->combine_us += weight * span_us(timing, PHASE_COMBINE);
    figures->ranks_per_token += weight * timing->ranks_per_token;
    figures->nodes_per_token += weight * timing->nodes_per_token;
}

static double max_mean(const double *choices, uint32_t count)
{
    double most = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        most = fmax(most, choices[i]);
        sum += choices[i];
    }
    return most * count / sum;
}

static void set_shares(struct layout_figures *figures, const struct layout *layout, uint32_t nodes,
                       const double *slot_tokens)
{
    double *ranks = mem_alloc(layout->ranks, sizeof *ranks);
    double *node = mem_alloc(nodes, sizeof *node);
    for (uint32_t s = 0; s < layout->slots; s++) {
        ranks[layout->slot_rank[s]] += slot_tokens[s];
        node[layout->slot_rank[s] / (layout->ranks / nodes)] += slot_tokens[s];
    }
    figures->rank_max_mean = max_mean(ranks, layout->ranks);
    figures->node_max_mean = max_mean(node, nodes);
    for (uint32_t e = 0; e < layout->experts; e++)
        figures->replicas = fmax(figures->replicas, layout_replicas(layout, e));
    free(ranks);
    free(node);
}

bool layout_judge(const struct layout_case *judged, struct layout_figures *figures,
                  struct error *err)
{
    const struct layout_task *task = judged->task;
    const uint32_t slots = judged->layout->slots;
    struct step_asked asked = {.part = &task->replay,
                               .cluster = &task->setting.cluster,
                               .layout = judged->layout,
                               .layer_index = judged->layer_index};
    double *slot_tokens = mem_alloc(slots, sizeof *slot_tokens);
    bool ok = true;
    *figures = (struct layout_figures){0};
    for (asked.number = 0; asked.number < task->replay_steps; asked.number++) {
        struct step step;
        struct timing timing;
        ok = step_init(&step, task, &asked, err);
        if (!ok)
            break;
        run(task, &step.schedule, judged->engine, &timing);
        add_timing(figures, &timing, 1.0 / (double)task->replay_steps);
        for (uint32_t slot = 0; slot < slots; slot++)
            slot_tokens[slot] += step.loads.slot_tokens[slot];
        timing_release(&timing);
        step_release(&step);
    }
    if (ok)
        set_shares(figures, judged->layout, task->shape.nodes, slot_tokens);
    free(slot_tokens);
    return ok;
}

// ---- layouts made ------------------------------------------------------------------------------

static double *expert_loads(const struct layout_task *task, uint32_t layer_index)
{
    const struct trace *part = &task->plan;
    double *load = mem_alloc(task->shape.experts, sizeof *load);
    uint16_t ids[MOE_MAX_TOPK];
    for (uint64_t t = 0; t < part->tokens; t++) {
        trace_row(part, t, layer_index, ids);
        for (uint32_t k = 0; k < part->moe.topk; k++)
            if (ids[k] != ROUTING_DROPPED)
                load[ids[k]]++;
    }
    return load;
}

// At most so many tokens are searched over, evenly spread: more say little more.
#define SEARCH_TOKENS 32768

static uint16_t *planned_ids(const struct layout_task *task, uint32_t layer_index, uint32_t *tokens)
{
    const struct trace *part = &task->plan;
    *tokens = part->tokens < SEARCH_TOKENS ? (uint32_t)part->tokens : SEARCH_TOKENS;
    uint16_t *ids = mem_alloc((size_t)*tokens * part->moe.topk, sizeof *ids);
    for (uint32_t t = 0; t < *tokens; t++)
        trace_row(part, part->tokens * t / *tokens, layer_index, ids + (size_t)t * part->moe.topk);
    return ids;
}

// By the healthy cluster: the cost takes the first rank's figures for all.
static bool set_cost(const struct layout_task *task, uint32_t layer_index,
                     const struct layout *layout, struct layout_cost *cost, struct error *err)
{
    struct cluster healthy = task->setting.cluster;
    const struct step_asked asked = {
        .part = &task->plan, .cluster = &healthy, .layout = layout, .layer_index = layer_index};
    struct step step;
    cluster_clear_slow(&healthy);
    if (!step_init(&step, task, &asked, err))
        return false;
    layout_cost_init(cost, &step.schedule);
    step_release(&step);
    return true;
}

static bool from_slots(const struct layout_task *task, const uint32_t *slot_expert,
                       struct layout *layout, struct error *err)
{
    return layout_from_slots(layout, slot_expert, task->shape.slots, task->shape.experts,
                             task->shape.ranks, err);
}

static bool plan_rule(const struct layout_task *task, enum placement_rule rule,
                      uint32_t layer_index, struct layout *layout, struct error *err)
{
    uint32_t *slot_expert = mem_alloc(task->shape.slots, sizeof *slot_expert);
    double *load = expert_loads(task, layer_index);
    placement_make(rule, &task->shape, load, task->seed, slot_expert);
    const bool ok = from_slots(task, slot_expert, layout, err);
    free(load);
    free(slot_expert);
    return ok;
}

static bool judge_trial(const struct layout_task *trial, uint32_t layer_index,
                        const struct layout *layout, double *layer_us, struct error *err)
{
    struct layout_figures figures;
    if (!layout_judge(&(struct layout_case){trial, layer_index, layout, ENGINE_ESTIMATE}, &figures,
                      err))
        return false;
    *layer_us += figures.layer_us;
    return true;
}

// One run of the search, from EPLB's layout on.
static bool search_once(const struct layout_task *task, uint32_t layer_index, uint64_t seed,
                        struct layout *layout, struct error *err)
{
    struct layout_cost cost;
    struct layout_search search = {.shape = &task->shape,
                                   .cost = &cost,
                                   .topk = task->plan.moe.topk,
                                   .steps = task->search_steps,
                                   .seed = seed};
    if (!plan_rule(task, PLACEMENT_EPLB, layer_index, layout, err) ||
        !set_cost(task, layer_index, layout, &cost, err))
        return false;
    uint16_t *ids = planned_ids(task, layer_index, &search.tokens);
    uint32_t *slot_expert = mem_alloc(layout->slots, sizeof *slot_expert);
    search.ids = ids;
    memcpy(slot_expert, layout->slot_expert, layout->slots * sizeof *slot_expert);
    layout_search(&search, slot_expert);
    layout_release(layout);
    const bool ok = from_slots(task, slot_expert, layout, err);
    free(ids);
    free(slot_expert);
    return ok;
}

// The best of a few runs by the closed form's time of the plan itself: where one run ends is
// chance, and which of them is shortest there is shortest elsewhere too.
#define RUNS 4

static bool search(const struct layout_task *task, uint32_t layer_index, struct layout *layout,
                   struct error *err)
{
    struct layout_task own = *task; // borrows all
    double best_us = INFINITY;
    own.replay = task->plan;
    own.replay_steps = trace_step_count(&own.replay, task->shape.ranks, task->tokens);
    *layout = (struct layout){0};
    for (uint64_t run = 0; run < RUNS; run++) {
        struct layout found;
        double us = 0;
        if (!search_once(task, layer_index, task->seed * RUNS + run, &found, err))
            return false;
        const bool ok = judge_trial(&own, layer_index, &found, &us, err);
        if (ok && us < best_us) {
            layout_release(layout);
            *layout = found;
            best_us = us;
        } else {
            layout_release(&found);
        }
        if (!ok)
            return false;
    }
    return true;
}

// What search gains over EPLB, both made on one half of the plan, on the half that they have not
// seen.
static bool try_half(const struct layout_task *trial, uint32_t layer_index, double *eplb_us,
                     double *search_us, struct error *err)
{
    struct layout eplb, searched;
    if (!plan_rule(trial, PLACEMENT_EPLB, layer_index, &eplb, err))
        return false;
    bool ok = judge_trial(trial, layer_index, &eplb, eplb_us, err);
    layout_release(&eplb);
    if (!ok || !search_once(trial, layer_index, trial->seed, &searched, err))
        return false;
    ok = judge_trial(trial, layer_index, &searched, search_us, err);
    layout_release(&searched);
    return ok;
}

#define LEAST_GAIN 0.05 // less is within what chance does to a layout half a trace later

// Whether search is to be believed on a layer. What it finds in a plan may be no more than the
// plan's own chance: it stands where it also shortens the layer in the half of the plan that it was
// not made on, either way around. A plan that has no two halves is taken at its word.
static bool find_pays(const struct layout_task *task, uint32_t layer_index, bool *pays,
                      struct error *err)
{
    struct trace halves[2];
    struct error none;
    double eplb_us = 0, search_us = 0;
    *pays = true;
    if (!trace_part(&task->plan, 0, 0.5, &halves[0], &none) ||
        !trace_part(&task->plan, 0.5, 1, &halves[1], &none))
        return true;
    for (int fold = 0; fold < 2; fold++) {
        struct layout_task trial = *task; // borrows all
        trial.plan = halves[fold];
        trial.replay = halves[1 - fold];
        trial.replay_steps = trace_step_count(&trial.replay, task->shape.ranks, task->tokens);
        if (!try_half(&trial, layer_index, &eplb_us, &search_us, err))
            return false;
    }
    *pays = search_us < (1 - LEAST_GAIN) * eplb_us;
    return true;
}

static bool plan_searched(const struct layout_task *task, uint32_t layer_index,
                          struct layout *layout, struct error *err)
{
    struct layout_task healthy = *task; // borrows all
    bool pays;
    cluster_clear_slow(&healthy.setting.cluster);
    if (!find_pays(&healthy, layer_index, &pays, err))
        return false;
    return pays ? search(&healthy, layer_index, layout, err)
                : plan_rule(task, PLACEMENT_EPLB, layer_index, layout, err);
}

static bool plan_layer(const struct layout_task *task, enum placement_rule rule,
                       uint32_t layer_index, struct layout *layout, struct error *err)
{
    return rule == PLACEMENT_SEARCH ? plan_searched(task, layer_index, layout, err)
                                    : plan_rule(task, rule, layer_index, layout, err);
}

// Every layer is tried, so that the first that fails is the same whatever the threads.
bool layout_plan(const struct layout_task *task, enum placement_rule rule, struct layouts *layouts,
                 struct error *err)
{
    const uint32_t count = task->layer_count;
    uint32_t failed = count;
    *layouts = (struct layouts){.count = count,
                                .layer_ids = mem_alloc(count, sizeof *layouts->layer_ids),
                                .of = mem_alloc(count, sizeof *layouts->of)};
#pragma omp parallel for schedule(dynamic, 1) shared(failed)
    for (uint32_t l = 0; l < count; l++) {
        struct error own;
        layouts->layer_ids[l] = task->trace.layer_ids[task->layers[l]];
        if (plan_layer(task, rule, task->layers[l], &layouts->of[l], &own))
            continue;
#pragma omp critical
        if (l < failed) {
            failed = l;
            *err = own;
        }
    }
    if (failed < count)
        layouts_release(layouts);
    return failed == count;
}
