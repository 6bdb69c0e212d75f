#include "scenario/scenario.h"

#include "base/mem.h"
#include "base/units.h"
#include "scenario/choice.h"
#include "scenario/feasible.h"
#include "scenario/planned.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct trace *scenario_trace(const struct scenario *scenario)
{
    return recorded_trace(scenario->recorded);
}

// ---- loads and schedule ------------------------------------------------------------------------

void scenario_touch(struct scenario *scenario)
{
    if (!scenario->schedule)
        return;
    schedule_release(scenario->schedule);
    free(scenario->schedule);
    scenario->schedule = NULL;
}

static void forget_loads(struct scenario *scenario)
{
    scenario_touch(scenario);
    if (!scenario->loads)
        return;
    loads_release(scenario->loads);
    free(scenario->loads);
    scenario->loads = NULL;
}

static void renew_schedule(struct scenario *scenario)
{
    scenario_touch(scenario);
    scenario->schedule = mem_alloc(1, sizeof *scenario->schedule);
    parts_schedule(scenario, scenario->loads, scenario->schedule);
}

static enum loads_kind loads_kind_of(const struct scenario *scenario, enum loads_kind wanted)
{
    return scenario->traffic || !routing_is_drawn(scenario->routing.rule) ? LOADS_COUNTED : wanted;
}

void scenario_load(struct scenario *scenario, enum loads_kind kind)
{
    forget_loads(scenario);
    struct loads *loads = mem_alloc(1, sizeof *loads);
    if (scenario->traffic)
        loads_from_bytes(loads, scenario->traffic, cluster_ranks(&scenario->cluster),
                         scenario->cluster.nodes);
    else
        parts_make_loads(scenario, loads_kind_of(scenario, kind) == LOADS_EXPECTED, loads);
    scenario->loads = loads;
    renew_schedule(scenario);
}

bool scenario_prepare(struct scenario *scenario, const struct engine *engine, struct error *err)
{
    const enum loads_kind asked = scenario->def.loads;
    const enum loads_kind kind =
        loads_kind_of(scenario, asked == LOADS_AUTO ? engine->loads : asked);
    if (scenario->loads && scenario->loads->expected == (kind == LOADS_EXPECTED)) {
        if (!scenario->schedule)
            renew_schedule(scenario);
        return true;
    }
    scenario_load(scenario, kind);
    if (schedule_feasible(scenario->schedule, err))
        return true;
    forget_loads(scenario); // so that the next call refuses it too
    return false;
}

// ---- runs --------------------------------------------------------------------------------------

bool scenario_run(struct scenario *scenario, const struct engine *engine, struct timing *timing,
                  struct error *err)
{
    if (!scenario_prepare(scenario, engine, err))
        return false;
    engine->run(scenario->schedule, &scenario->run, timing);
    return true;
}

static void drop_slow(struct slow *slow, unsigned causes)
{
    for (uint32_t p = 0; p < slow->count; p++)
        for (enum slow_key key = 0; key < SLOW_KEYS; key++)
            if (causes & (key == SLOW_LATE ? SCENARIO_ARRIVAL : SCENARIO_SLOW))
                slow->parts[p].said[key] = false;
}

void scenario_run_without(const struct scenario *scenario, unsigned causes,
                          const struct engine *engine, struct timing *timing)
{
    const bool balanced = causes & SCENARIO_ROUTING;
    struct run run = scenario->run;
    struct schedule schedule;
    struct loads loads;
    assert(scenario->loads);
    if (balanced)
        loads_balanced(&loads, scenario->loads, parts_served_layout(scenario));
    parts_schedule(scenario, balanced ? &loads : scenario->loads, &schedule);
    drop_slow(&schedule.fabric.slow, causes);
    run.timeline = NULL;
    if (causes & SCENARIO_ARRIVAL)
        run.skew_ps = 0;
    engine->run(&schedule, &run, timing);
    schedule_release(&schedule);
    if (balanced)
        loads_release(&loads);
}

// ---- along a trace -----------------------------------------------------------------------------

uint32_t scenario_trace_tokens(const struct trace *trace, uint32_t ranks)
{
    const uint64_t held = trace->tokens / ranks;
    return held > SCENARIO_TOKENS ? SCENARIO_TOKENS : held ? (uint32_t)held : 1;
}

bool scenario_check_layer(const struct trace *trace, uint32_t layer, struct error *err)
{
    return layer < trace->layers ||
           error_set(err, EXIT_INPUT, "--layer: %u: expected 0 to %u, the trace's layers", layer,
                     trace->layers - 1);
}

bool scenario_check_tokens(const struct trace *trace, uint32_t tokens, struct error *err)
{
    return !tokens || !trace->steps.data ||
           error_set(err, EXIT_INPUT, "--tokens: the trace has steps.npy, which says them");
}

static uint32_t tokens_of(const struct scenario_def *def, const struct trace *trace, uint32_t ranks)
{
    return def->tokens ? def->tokens : scenario_trace_tokens(trace, ranks);
}

static uint32_t trace_tokens(const struct scenario *scenario)
{
    return tokens_of(&scenario->def, scenario_trace(scenario), cluster_ranks(&scenario->cluster));
}

static bool check_step(const struct scenario_def *def, const struct trace *trace, uint64_t steps,
                       struct error *err)
{
    if (!scenario_check_layer(trace, def->layer, err) ||
        !scenario_check_tokens(trace, def->tokens, err))
        return false;
    return def->step < steps ||
           error_set(err, EXIT_INPUT, "--step: %llu: expected 0 to %llu, the trace's steps",
                     (unsigned long long)def->step, (unsigned long long)steps - 1);
}

static void close_view(struct scenario *scenario)
{
    trace_view_free(scenario->view);
    scenario->view = NULL;
}

static bool new_view(struct scenario *scenario, struct error *err)
{
    return trace_view_new(scenario_trace(scenario), scenario->def.layer, scenario->def.step,
                          cluster_ranks(&scenario->cluster), trace_tokens(scenario),
                          &scenario->view, err);
}

static bool open_view(struct scenario *scenario, struct error *err)
{
    close_view(scenario);
    return check_step(&scenario->def, scenario_trace(scenario), scenario->steps, err) &&
           new_view(scenario, err);
}

// The view's tokens and choices as the scenario's routing; the counts are the scenario's own.
static void use_view(struct scenario *scenario)
{
    scenario->routing = trace_routing(scenario->view);
    memcpy(scenario->tokens, scenario->routing.tokens,
           scenario->routing.ranks * sizeof *scenario->tokens);
    scenario->routing.tokens = scenario->tokens;
}

// With more tokens on some ranks than on others, the most is what counts.
static uint32_t max_tokens_of(const struct scenario *scenario)
{
    const struct routing routing = trace_routing(scenario->view);
    const uint32_t max = routing_max_tokens(&routing);
    return max ? max : 1;
}

bool scenario_seek(struct scenario *scenario, uint32_t layer, uint64_t step, struct error *err)
{
    const bool other_layer = layer != scenario->placed_layer;
    forget_loads(scenario);
    scenario->def.layer = layer;
    scenario->def.step = step;
    if (!open_view(scenario, err))
        return false;
    if (other_layer && !parts_resolve_layout(scenario, err))
        return false;
    use_view(scenario);
    return true;
}

void scenario_use_part(struct scenario *scenario, struct recorded *part)
{
    forget_loads(scenario);
    close_view(scenario);
    recorded_hold(part);
    recorded_release(scenario->recorded);
    scenario->recorded = part;
    scenario->steps = trace_step_count(recorded_trace(part), cluster_ranks(&scenario->cluster),
                                       trace_tokens(scenario));
}

void scenario_forget(const struct scenario *scenario, uint64_t first, uint64_t last)
{
    trace_forget(scenario_trace(scenario), first, last, cluster_ranks(&scenario->cluster),
                 trace_tokens(scenario));
}

// ---- opening -----------------------------------------------------------------------------------

// Tokens per rank.
static bool open_tokens(struct scenario *scenario, uint32_t *tokens, struct error *err)
{
    const struct trace *trace = scenario_trace(scenario);
    *tokens = scenario->def.tokens ? scenario->def.tokens : SCENARIO_TOKENS;
    if (!trace)
        return true;
    scenario->steps =
        trace_step_count(trace, cluster_ranks(&scenario->cluster), trace_tokens(scenario));
    if (!open_view(scenario, err))
        return false;
    *tokens = max_tokens_of(scenario);
    return true;
}

// A rule gives some ranks an expert more than others, which all wait for.
static void tell_uneven(const struct scenario *scenario)
{
    const uint32_t experts = scenario->moe.experts, ranks = cluster_ranks(&scenario->cluster);
    const uint32_t each = experts / ranks, slots = (each + 1) * ranks;
    if (scenario->def.has_shape || scenario->def.unplaced ||
        !layout_is_rule(scenario->def.layout) || experts % ranks == 0)
        return;
    notice(
        "%u experts do not divide among %u ranks: %u or %u on each; --layout eplb --redundant %u "
        "would even them (%u slots, %u on each)",
        experts, ranks, each, each + 1, slots - experts, slots, each + 1);
}

static void tell_planned(const struct scenario *scenario)
{
    char text[PLANNED_TEXT_BYTES];
    if (planned_text(&scenario->def, scenario->layout, text)[0])
        notice("--layout %s", text);
}

static bool open_layer(struct scenario *scenario, uint32_t tokens, struct error *err)
{
    if (!parts_resolve_moe(scenario, err) || !parts_resolve_kernels(scenario, err) ||
        !parts_resolve_routing(scenario, tokens, err) || !parts_resolve_layout(scenario, err))
        return false;
    tell_uneven(scenario);
    tell_planned(scenario);
    if (scenario->view)
        use_view(scenario);
    return true;
}

// The name of the dispatcher where none is asked: a traffic matrix moves as plain bytes.
static bool choose(struct scenario *scenario, struct error *err)
{
    struct chooser chooser;
    if (scenario->traffic) {
        strcpy(scenario->choice.dispatcher, "raw");
        return true;
    }
    if (!chooser_open(&chooser, &scenario->cluster, err))
        return false;
    chooser_add(&chooser, scenario);
    chooser_pick(&chooser, "", &scenario->choice);
    chooser_release(&chooser);
    return true;
}

static bool settle_dtypes(struct scenario *scenario, struct error *err)
{
    if (!parts_settle_dtypes(scenario, err))
        return false;
    parts_tell_dtype(scenario);
    return true;
}

static bool open_workload(struct scenario *scenario, struct error *err)
{
    const char *asked = scenario->def.dispatcher;
    uint32_t tokens;
    if (!open_tokens(scenario, &tokens, err))
        return false;
    if (*asked && !parts_resolve_dispatcher(scenario, asked, tokens, err))
        return false;
    if (!scenario->traffic && !open_layer(scenario, tokens, err))
        return false;
    if (!*asked && scenario->def.undecided)
        return true;
    if (!*asked && (!choose(scenario, err) ||
                    !parts_resolve_dispatcher(scenario, scenario->choice.dispatcher, tokens, err)))
        return false;
    return settle_dtypes(scenario, err);
}

bool scenario_open_at(struct scenario *scenario, const struct scenario_def *def,
                      const struct place *place, struct error *err)
{
    const size_t ranks = cluster_ranks(&place->cluster);
    *scenario = (struct scenario){.def = *def,
                                  .cluster = place->cluster,
                                  .run = {.seed = def->seed,
                                          .skew_ps = units_ps_from_us(def->skew_us),
                                          .aligned = def->aligned,
                                          .overlap = def->overlap},
                                  .recorded = recorded_hold(place->recorded)};
    if (place->traffic)
        scenario->traffic = mem_copy(place->traffic, ranks * ranks * sizeof *place->traffic);
    if (open_workload(scenario, err))
        return true;
    scenario_release(scenario);
    return false;
}

// Tells once of a trace that wraps or is cut short, and refuses a layer or step that it lacks,
// before anything else that may be wrong with the ranks.
static bool check_trace(const struct place *place, const struct scenario_def *def,
                        struct error *err)
{
    const struct trace *trace = recorded_trace(place->recorded);
    const uint32_t ranks = def->nodes ? def->nodes * def->gpus_per_node
                           : def->ep  ? def->ep
                                      : cluster_ranks(&place->cluster);
    return !trace ||
           check_step(def, trace, trace_steps(trace, ranks, tokens_of(def, trace, ranks)), err);
}

bool scenario_open(struct scenario *scenario, const struct scenario_def *def, struct error *err)
{
    struct place place;
    if (!place_load(&place, def, err))
        return false;
    const bool ok = check_trace(&place, def, err) && place_settle(&place, def, err) &&
                    scenario_open_at(scenario, def, &place, err);
    place_release(&place);
    return ok;
}

// ---- lifetime ----------------------------------------------------------------------------------

void scenario_clone(struct scenario *clone, const struct scenario *origin)
{
    const size_t ranks = cluster_ranks(&origin->cluster);
    struct error none;
    *clone = *origin;
    clone->schedule = NULL;
    clone->run.timeline = NULL;
    recorded_hold(clone->recorded);
    if (origin->traffic)
        clone->traffic = mem_copy(origin->traffic, ranks * ranks * sizeof *origin->traffic);
    if (origin->tokens)
        clone->tokens = mem_copy(origin->tokens, ranks * sizeof *origin->tokens);
    if (origin->layout) {
        clone->layout = mem_alloc(1, sizeof *clone->layout);
        layout_copy(clone->layout, origin->layout);
    }
    if (origin->served) {
        clone->served = mem_alloc(1, sizeof *clone->served);
        layout_copy(clone->served, origin->served);
    }
    if (origin->loads) {
        clone->loads = mem_alloc(1, sizeof *clone->loads);
        loads_copy(clone->loads, origin->loads);
    }
    clone->routing.tokens = clone->tokens;
    if (!origin->view)
        return;
    const bool ok = new_view(clone, &none);
    assert(ok); // the original has found the same layer and step
    (void)ok;
    use_view(clone);
}

bool scenario_take_choice(struct scenario *scenario, const struct choice *choice, struct error *err)
{
    const uint32_t tokens = scenario->traffic ? 0 : routing_max_tokens(&scenario->routing);
    scenario_touch(scenario);
    scenario->choice = *choice;
    return parts_resolve_dispatcher(scenario, choice->dispatcher, tokens, err) &&
           settle_dtypes(scenario, err);
}

void scenario_set_layout(struct scenario *scenario, struct layout *layout)
{
    forget_loads(scenario);
    parts_set_layout(scenario, layout);
    scenario->def.unplaced = true;
}

void scenario_release(struct scenario *scenario)
{
    forget_loads(scenario);
    parts_release_layout(scenario);
    close_view(scenario);
    recorded_release(scenario->recorded);
    free(scenario->tokens);
    free(scenario->traffic);
    *scenario = (struct scenario){0};
}
