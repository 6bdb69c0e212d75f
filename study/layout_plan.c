#include "study/layout_plan.h"

#include "base/mem.h"
#include "model/engine/estimate.h"
#include "study/layout_judge.h"
#include "study/layout_search.h"

#include <math.h>
#include <stdlib.h>

// A layer's layout is made from one part of the trace, and tried on one by the closed form, on a
// cluster of which no part is slow.
struct planner {
    const struct layout_task *task;
    const struct scenario *healthy;
    uint32_t layer_index; // of the trace
    struct recorded *plan, *trial;
};

// ---- by a rule ---------------------------------------------------------------------------------

static double *expert_loads(const struct planner *planner)
{
    const struct trace *part = recorded_trace(planner->plan);
    double *load = mem_alloc(planner->task->shape.experts, sizeof *load);
    uint16_t ids[MOE_MAX_TOPK];
    for (uint64_t t = 0; t < part->tokens; t++) {
        trace_row(part, t, planner->layer_index, ids);
        for (uint32_t k = 0; k < part->moe.topk; k++)
            if (ids[k] != ROUTING_DROPPED)
                load[ids[k]]++;
    }
    return load;
}

static bool from_slots(const struct layout_task *task, const uint32_t *slot_expert,
                       struct layout *layout, struct error *err)
{
    return layout_from_slots(layout, slot_expert, task->shape.slots, task->shape.experts,
                             task->shape.ranks, err);
}

static bool plan_rule(const struct planner *planner, enum placement_rule rule,
                      struct layout *layout, struct error *err)
{
    const struct layout_task *task = planner->task;
    uint32_t *slot_expert = mem_alloc(task->shape.slots, sizeof *slot_expert);
    double *load = expert_loads(planner);
    placement_make(rule, &task->shape, load, task->seed, slot_expert);
    const bool ok = from_slots(task, slot_expert, layout, err);
    free(load);
    free(slot_expert);
    return ok;
}

// ---- by search ---------------------------------------------------------------------------------

// At most so many tokens are searched over, evenly spread: more say little more.
#define SEARCH_TOKENS 32768

static uint16_t *planned_ids(const struct planner *planner, uint32_t *tokens)
{
    const struct trace *part = recorded_trace(planner->plan);
    *tokens = part->tokens < SEARCH_TOKENS ? (uint32_t)part->tokens : SEARCH_TOKENS;
    uint16_t *ids = mem_alloc((size_t)*tokens * part->moe.topk, sizeof *ids);
    for (uint32_t t = 0; t < *tokens; t++)
        trace_row(part, part->tokens * t / *tokens, planner->layer_index,
                  ids + (size_t)t * part->moe.topk);
    return ids;
}

static struct layout_case case_of(const struct planner *planner, struct recorded *part,
                                  const struct layout *layout)
{
    return (struct layout_case){.scenario = planner->healthy,
                                .part = part,
                                .layer_index = planner->layer_index,
                                .layout = layout,
                                .engine = &engine_estimate};
}

// By the healthy cluster: the cost takes the first rank's figures for all.
static bool set_cost(const struct planner *planner, const struct layout *layout,
                     struct layout_cost *cost, struct error *err)
{
    const struct layout_case planned = case_of(planner, planner->plan, layout);
    struct scenario tried;
    if (!layout_try(&tried, &planned, err))
        return false;
    scenario_load(&tried, LOADS_COUNTED);
    layout_cost_init(cost, tried.schedule);
    scenario_release(&tried);
    return true;
}

static bool add_trial(const struct planner *planner, const struct layout *layout, double *layer_us,
                      struct error *err)
{
    const struct layout_case judged = case_of(planner, planner->trial, layout);
    struct layout_figures figures;
    if (!layout_judge(&judged, &figures, err))
        return false;
    *layer_us += figures.layer_us;
    return true;
}

// One run of the search, from EPLB's layout on.
static bool search_once(const struct planner *planner, uint64_t seed, struct layout *layout,
                        struct error *err)
{
    const struct layout_task *task = planner->task;
    struct layout_cost cost;
    struct layout_search search = {.shape = &task->shape,
                                   .cost = &cost,
                                   .topk = recorded_trace(planner->plan)->moe.topk,
                                   .steps = task->search_steps,
                                   .seed = seed};
    if (!plan_rule(planner, PLACEMENT_EPLB, layout, err))
        return false;
    if (!set_cost(planner, layout, &cost, err)) {
        layout_release(layout);
        return false;
    }
    uint16_t *ids = planned_ids(planner, &search.tokens);
    uint32_t *slot_expert = mem_copy(layout->slot_expert, layout->slots * sizeof *slot_expert);
    search.ids = ids;
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

static bool search_best(const struct planner *planner, struct layout *layout, struct error *err)
{
    double best_us = INFINITY;
    *layout = (struct layout){0};
    for (uint64_t run = 0; run < RUNS; run++) {
        struct layout found;
        double us = 0;
        if (!search_once(planner, planner->task->seed * RUNS + run, &found, err))
            return false;
        const bool ok = add_trial(planner, &found, &us, err);
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

// What a layout made on one half of the plan, by search or by EPLB, takes on the half that it has
// not seen.
static bool try_half(const struct planner *half, bool search, double *us, struct error *err)
{
    struct layout layout;
    if (!(search ? search_once(half, half->task->seed, &layout, err)
                 : plan_rule(half, PLACEMENT_EPLB, &layout, err)))
        return false;
    const bool ok = add_trial(half, &layout, us, err);
    layout_release(&layout);
    return ok;
}

#define MIN_GAIN 0.05 // less is within what chance does to a layout half a trace later

static bool try_halves(const struct planner *planner, struct recorded *const halves[2], bool *pays,
                       struct error *err)
{
    double eplb_us = 0, search_us = 0;
    for (int fold = 0; fold < 2; fold++) {
        struct planner half = *planner;
        half.plan = halves[fold];
        half.trial = halves[1 - fold];
        if (!try_half(&half, false, &eplb_us, err) || !try_half(&half, true, &search_us, err))
            return false;
    }
    *pays = search_us < (1 - MIN_GAIN) * eplb_us;
    return true;
}

// Whether search is to be believed on a layer. What it finds in a plan may be no more than the
// plan's own chance: it stands where it also shortens the layer in the half of the plan that it was
// not made on, either way around. A plan that has no two halves is taken at its word.
static bool find_pays(const struct planner *planner, bool *pays, struct error *err)
{
    struct error none;
    struct recorded *const halves[2] = {recorded_part(planner->plan, 0, 0.5, &none),
                                        recorded_part(planner->plan, 0.5, 1, &none)};
    bool ok = true;
    *pays = true;
    if (halves[0] && halves[1])
        ok = try_halves(planner, halves, pays, err);
    recorded_release(halves[0]);
    recorded_release(halves[1]);
    return ok;
}

// ---- layer by layer ----------------------------------------------------------------------------

static bool plan_layer(const struct planner *planner, enum placement_rule rule,
                       struct layout *layout, struct error *err)
{
    bool pays;
    if (rule != PLACEMENT_SEARCH)
        return plan_rule(planner, rule, layout, err);
    if (!find_pays(planner, &pays, err))
        return false;
    return pays ? search_best(planner, layout, err)
                : plan_rule(planner, PLACEMENT_EPLB, layout, err);
}

bool layout_plan(const struct layout_task *task, enum placement_rule rule, struct layouts *layouts,
                 struct error *err)
{
    const uint32_t count = task->layer_count;
    uint32_t failed = count; // every layer is tried: the first to fail whatever the threads
    struct scenario healthy;
    scenario_clone(&healthy, &task->scenario);
    cluster_clear_slow(&healthy.cluster);
    const struct moe *model = parts_layer_model(
        scenario_trace(&task->scenario), task->scenario.def.model[0] ? &task->scenario.moe : NULL);
    *layouts = (struct layouts){.count = count,
                                .model_layers = model ? moe_model_layers(model) : 0,
                                .layer_ids = mem_alloc(count, sizeof *layouts->layer_ids),
                                .of = mem_alloc(count, sizeof *layouts->of)};
#pragma omp parallel for schedule(dynamic, 1) shared(failed)
    for (uint32_t l = 0; l < count; l++) {
        const struct planner planner = {.task = task,
                                        .healthy = &healthy,
                                        .layer_index = task->layers[l],
                                        .plan = task->plan,
                                        .trial = task->plan};
        struct error own;
        layouts->layer_ids[l] = recorded_trace(task->plan)->layer_ids[task->layers[l]];
        if (plan_layer(&planner, rule, &layouts->of[l], &own))
            continue;
#pragma omp critical
        if (l < failed) {
            failed = l;
            *err = own;
        }
    }
    if (failed < count)
        layouts_release(layouts);
    scenario_release(&healthy);
    return failed == count;
}
