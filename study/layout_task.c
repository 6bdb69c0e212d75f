#include "study/layout_task.h"

#include "base/mem.h"
#include "scenario/choice_places.h"

#include <math.h>
#include <stdlib.h>

// The trace cut into the part planned on and the part judged on.
static bool cut_parts(struct layout_task *task, struct recorded **replay, struct recorded *whole,
                      const struct layout_task_def *def, struct error *err)
{
    task->plan = recorded_part(whole, def->plan.from, def->plan.to, err);
    if (!task->plan)
        return error_prefix(err, "--plan-on");
    *replay = recorded_part(whole, def->replay.from, def->replay.to, err);
    return *replay || error_prefix(err, "--replay-on");
}

static bool pick_layers(struct layout_task *task, const struct trace *trace,
                        const struct layout_task_def *def, struct error *err)
{
    task->layer_count = def->layer_count ? def->layer_count : trace->layers;
    task->layers = mem_alloc(task->layer_count, sizeof *task->layers);
    for (uint32_t l = 0; l < task->layer_count; l++) {
        task->layers[l] = def->layer_count ? def->layers[l] : l;
        if (!scenario_check_layer(trace, task->layers[l], err))
            return false;
    }
    return true;
}

// Tokens per rank that both parts hold, unless some are asked; a trace with steps says them itself.
static bool pick_task_tokens(const struct layout_task *task, const struct trace *replay_trace,
                             uint32_t ranks, uint32_t *tokens, struct error *err)
{
    const uint32_t plan = scenario_trace_tokens(recorded_trace(task->plan), ranks);
    const uint32_t replay = scenario_trace_tokens(replay_trace, ranks);
    if (!scenario_check_tokens(replay_trace, *tokens, err))
        return false;
    if (!*tokens && !replay_trace->steps.data)
        *tokens = plan < replay ? plan : replay;
    return true;
}

static bool set_shape(struct layout_task *task, uint32_t redundant, struct error *err)
{
    const struct scenario *scenario = &task->scenario;
    task->shape = (struct placement_shape){.experts = scenario->moe.experts,
                                           .groups = scenario->moe.groups,
                                           .ranks = cluster_ranks(&scenario->cluster),
                                           .nodes = scenario->cluster.nodes,
                                           .slots = scenario->moe.experts + redundant};
    return placement_check(&task->shape, err) || error_prefix(err, "--redundant %u", redundant);
}

// Notices of wraps and short steps: once where both parts begin together.
static void tell_steps(const struct layout_task *task, const struct layout_task_def *def)
{
    const uint32_t ranks = cluster_ranks(&task->scenario.cluster);
    const uint32_t tokens = task->scenario.def.tokens;
    trace_steps(recorded_trace(task->plan), ranks, tokens);
    if (fabs(def->plan.from - def->replay.from) > 0)
        trace_steps(scenario_trace(&task->scenario), ranks, tokens);
}

// One dispatcher for all layers and steps judged, chosen under the contiguous layout.
static bool choose_for_task(struct layout_task *task, struct error *err)
{
    const struct choice_grid grid = {.layers = task->layers,
                                     .layer_count = task->layer_count,
                                     .step_count = task->scenario.steps};
    struct choice_place places[CHOICE_PLACES];
    const size_t count = choice_spread(&grid, places);
    return choice_over_places(&task->scenario, places, count, grid.layer_count * grid.step_count,
                              err);
}

static bool open_task_scenario(struct layout_task *task, const struct layout_task_def *def,
                               const struct place *place, struct recorded *replay,
                               struct error *err)
{
    const struct place judged = {.cluster = place->cluster, .recorded = replay};
    struct scenario_def first = *def->scenario;
    struct scenario *scenario = &task->scenario;
    first.unplaced = first.undecided = true;
    first.layer = 0;
    first.step = 0;
    if (!pick_task_tokens(task, recorded_trace(replay), cluster_ranks(&place->cluster),
                          &first.tokens, err) ||
        !pick_layers(task, recorded_trace(place->recorded), def, err) ||
        !scenario_open_at(scenario, &first, &judged, err))
        return false;
    return choose_for_task(task, err);
}

bool layout_task_init(struct layout_task *task, const struct layout_task_def *def,
                      struct error *err)
{
    struct place place;
    struct recorded *replay = NULL;
    *task = (struct layout_task){.search_steps = def->search_steps, .seed = def->scenario->seed};
    if (!place_open(&place, def->scenario, err))
        return false;
    bool ok = cut_parts(task, &replay, place.recorded, def, err) &&
              open_task_scenario(task, def, &place, replay, err);
    if (ok) {
        tell_steps(task, def);
        ok = set_shape(task, def->redundant, err);
    }
    recorded_release(replay);
    place_release(&place);
    if (!ok)
        layout_task_release(task);
    return ok;
}

void layout_task_release(struct layout_task *task)
{
    scenario_release(&task->scenario);
    recorded_release(task->plan);
    free(task->layers);
    *task = (struct layout_task){0};
}

bool layout_task_extrapolates(const struct layout_task *task, const struct fits *fits,
                              struct extrapolation *extrapolation, struct error *err)
{
    const struct extrapolation_steps steps = {.count = task->scenario.steps,
                                              .layers = task->layer_count};
    return extrapolation_over_steps(extrapolation, fits, &task->scenario, &steps, err);
}
