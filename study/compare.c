#include "study/compare.h"

#include "base/mem.h"
#include "scenario/choice.h"
#include "scenario/choice_places.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"

#include <stdlib.h>
#include <string.h>

void comparison_release(struct comparison *comparison)
{
    free(comparison->rows);
    extrapolation_release(&comparison->extrapolation);
    *comparison = (struct comparison){0};
}

// ---- which rows belong -------------------------------------------------------------------------

static bool same_shape(const struct measured_row *row, const struct scenario *scenario)
{
    const struct moe *moe = &scenario->moe;
    return row->nodes == scenario->cluster.nodes &&
           row->gpus_per_node == scenario->cluster.gpus_per_node && row->experts == moe->experts &&
           row->topk == moe->topk && row->hidden == moe_expert_hidden(moe);
}

static bool same_parts(const struct measured_row *row, const struct scenario *scenario)
{
    const struct scenario_def *def = &scenario->def;
    return (!strcmp(row->cluster, scenario->cluster.name) || !strcmp(row->cluster, def->cluster)) &&
           !strcmp(row->dispatcher, scenario->dispatcher.name) &&
           !strcmp(row->layout[0] ? row->layout : "contiguous", def->layout) &&
           (row->sms ? row->sms == scenario->dispatcher.sms : def->sms == 0);
}

static bool same_figure(const struct measured_row *row, const struct moe *moe)
{
    const enum dtype dtype = row->phase == PHASE_COMBINE ? moe->combine_dtype : moe->dispatch_dtype;
    return row->phase != PHASE_LAYER && row->dtype == dtype && !row->other_dtype[0] &&
           !row->stage[0] &&
           (!row->stat[0] || !strcmp(row->stat, "mean") || !strcmp(row->stat, "slowest"));
}

static bool replayed(const struct measured_row *row)
{
    return measured_rule(row) == ROUTING_TRACE;
}

// Everything but the place in a trace.
static bool belongs(const struct measured_row *row, const struct scenario *scenario)
{
    return row->tokens_per_gpu == routing_max_tokens(&scenario->routing) &&
           replayed(row) == (scenario->recorded != NULL) && same_shape(row, scenario) &&
           same_parts(row, scenario) && same_figure(row, &scenario->moe);
}

// The rows of one case, by phase and by whether they are of the slowest rank.
struct found {
    const struct measured_row *rows[PHASE_COUNT][2];
    bool any;
};

// The latest row wins: a library's newer measurement follows its older one in a file.
static void find_rows(struct found *found, const struct measured *measured,
                      const struct scenario *scenario)
{
    const struct scenario_def *def = &scenario->def;
    *found = (struct found){0};
    for (size_t i = 0; measured && i < measured->count; i++) {
        const struct measured_row *row = &measured->rows[i];
        if (!belongs(row, scenario) ||
            (scenario->recorded && (row->layer != def->layer || row->step != def->step)))
            continue;
        found->rows[row->phase][!strcmp(row->stat, "slowest")] = row;
        found->any = true;
    }
}

// ---- one case ----------------------------------------------------------------------------------

// What the engines say of a case.
struct answers {
    struct timing simulated, estimated;
    struct uncertainties simulate_uncertainties, estimate_uncertainties;
};

static double latency_us(const struct timing *timing, enum phase phase, bool slowest)
{
    const struct phase_span span = timing_span(timing, phase);
    return (slowest ? span.latency_ps : span.latency_mean_ps) / 1e6;
}

static struct interval interval_at(const struct uncertainties *uncertainties,
                                   const struct compared *row, double us, double pct)
{
    return interval_of(row->slowest ? &uncertainties->slowest[row->phase]
                                    : &uncertainties->mean[row->phase],
                       us, pct);
}

// Adds a row, of which phase, statistic and what was measured are set.
static void add_row(struct comparison *comparison, const struct scenario *scenario,
                    const struct answers *answers, struct compared row)
{
    row.tokens = routing_max_tokens(&scenario->routing);
    row.layer = scenario->def.layer;
    row.step = scenario->def.step;
    row.simulate_us = latency_us(&answers->simulated, row.phase, row.slowest);
    row.estimate_us = latency_us(&answers->estimated, row.phase, row.slowest);
    row.simulate_interval_us =
        interval_at(&answers->simulate_uncertainties, &row, row.simulate_us, comparison->pct);
    row.estimate_interval_us =
        interval_at(&answers->estimate_uncertainties, &row, row.estimate_us, comparison->pct);
    strcpy(row.dispatcher, scenario->dispatcher.name);
    row.has_unit = deepep_unit_of(&row.unit, scenario->schedule, row.phase);
    comparison->rows = mem_grow(comparison->rows, comparison->count + 1, sizeof row);
    comparison->rows[comparison->count++] = row;
}

// Adds a case's rows; both engines read the same loads. Means of dispatch and combine alone, or
// every phase's mean and slowest rank that was measured, or all where none was.
static bool add_case(struct comparison *comparison, struct scenario *scenario,
                     const struct found *found, bool means, struct error *err)
{
    struct answers answers = {0};
    if (!scenario_prepare(scenario, &engine_simulate, err))
        return false;
    if (comparison->fits)
        extrapolation_find(&comparison->extrapolation, comparison->fits, scenario, 1);
    if (comparison->fits && comparison->pct > 0) {
        uncertainties_find(&answers.simulate_uncertainties, comparison->fits, scenario,
                           &engine_simulate);
        uncertainties_find(&answers.estimate_uncertainties, comparison->fits, scenario,
                           &engine_estimate);
    }
    const bool ok = scenario_run(scenario, &engine_simulate, &answers.simulated, err) &&
                    scenario_run(scenario, &engine_estimate, &answers.estimated, err);
    for (enum phase phase = 0; ok && phase < PHASE_ALLTOALL; phase++)
        for (int slowest = 0; scenario->schedule->present[phase] && slowest < 2; slowest++) {
            const struct measured_row *measured = found->rows[phase][slowest];
            if (means ? phase_moves(phase) && !slowest : !found->any || measured)
                add_row(comparison, scenario, &answers,
                        (struct compared){
                            .phase = phase, .slowest = slowest != 0, .measured = measured});
        }
    timing_release(&answers.simulated);
    timing_release(&answers.estimated);
    return ok;
}

// ---- over token counts -------------------------------------------------------------------------

// Both engines read counted loads, unless others were asked.
static struct scenario_def both_engines(const struct scenario_def *def)
{
    struct scenario_def both = *def;
    both.aligned = true;
    if (both.loads == LOADS_AUTO)
        both.loads = LOADS_COUNTED;
    return both;
}

// The first count opens the chooser: its scenario knows the cluster.
static bool add_token_count(struct chooser *chooser, bool first, const struct scenario_def *def,
                            uint32_t tokens, struct error *err)
{
    struct scenario_def sized = both_engines(def);
    struct scenario scenario;
    sized.tokens = tokens;
    sized.undecided = true;
    if (!scenario_open(&scenario, &sized, err))
        return false;
    const bool ok = !first || chooser_open(chooser, &scenario.cluster, err);
    if (ok)
        chooser_add(chooser, &scenario);
    scenario_release(&scenario);
    return ok;
}

bool compare_choose(struct scenario_def *def, const uint32_t *tokens, size_t count,
                    struct comparison *comparison, struct error *err)
{
    struct chooser chooser = {0};
    char what[80] = "";
    bool ok = true;
    if (def->dispatcher[0])
        return true;
    for (size_t i = 0; ok && i < count; i++)
        ok = add_token_count(&chooser, i == 0, def, tokens[i], err);
    if (count > 1)
        snprintf(what, sizeof what, "%zu token counts", count);
    if (ok) {
        chooser_pick(&chooser, what, &comparison->choice);
        strcpy(def->dispatcher, comparison->choice.dispatcher);
    }
    chooser_release(&chooser);
    return ok;
}

bool compare_tokens(const struct scenario_def *def, uint32_t tokens,
                    const struct measured *measured, struct comparison *comparison,
                    struct error *err)
{
    struct scenario_def sized = both_engines(def);
    struct scenario scenario;
    struct found found;
    sized.tokens = tokens;
    if (!scenario_open(&scenario, &sized, err))
        return false;
    find_rows(&found, measured, &scenario);
    const bool ok = add_case(comparison, &scenario, &found, true, err);
    scenario_release(&scenario);
    return ok;
}

// ---- over a trace's steps ----------------------------------------------------------------------

struct place_named {
    uint32_t layer;
    uint64_t step;
    const struct measured_row *row; // that names it; NULL: it was asked
};

struct place_list {
    struct place_named *places;
    size_t count;
};

static void add_place(struct place_list *list, struct place_named place)
{
    list->places = mem_grow(list->places, list->count + 1, sizeof *list->places);
    list->places[list->count++] = place;
}

static void add_asked(struct place_list *list, const struct compare_places *asked)
{
    const size_t layers = asked->layer_count ? asked->layer_count : 1;
    const size_t steps = asked->step_count ? asked->step_count : 1;
    for (size_t l = 0; l < layers; l++)
        for (size_t s = 0; s < steps; s++)
            add_place(list, (struct place_named){.layer = asked->layer_count ? asked->layers[l] : 0,
                                                 .step = asked->step_count ? asked->steps[s] : 0});
}

static bool is_asked(const uint32_t *values, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] == value)
            return true;
    return count == 0;
}

static int by_place(const void *a, const void *b)
{
    const struct place_named *x = a, *y = b;
    const int layer = (x->layer > y->layer) - (x->layer < y->layer);
    return layer ? layer : (x->step > y->step) - (x->step < y->step);
}

// Those of all rows that replayed a trace, each once: whether they belong is seen at the place.
static void add_measured(struct place_list *list, const struct compare_places *asked,
                         const struct measured *measured)
{
    for (size_t i = 0; i < measured->count; i++) {
        const struct measured_row *row = &measured->rows[i];
        if (replayed(row) && is_asked(asked->layers, asked->layer_count, row->layer) &&
            is_asked(asked->steps, asked->step_count, row->step))
            add_place(list, (struct place_named){row->layer, row->step, row});
    }
    if (list->count)
        qsort(list->places, list->count, sizeof *list->places, by_place);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (i == 0 || by_place(&list->places[i], &list->places[kept - 1]))
            list->places[kept++] = list->places[i];
    list->count = kept;
}

// What is the same at every place.
struct stepper {
    struct scenario scenario; // at the place in hand
    const struct measured *measured;
    struct comparison *comparison;
};

// A row's place that the trace lacks: not this case's at all, or of another trace. Rows of the case
// are those that would belong where the trace does begin.
static bool check_lacking(struct stepper *stepper, const struct place_named *place,
                          struct error *err)
{
    const struct scenario *scenario = &stepper->scenario;
    const struct trace *trace = scenario_trace(scenario);
    const bool layer = place->layer >= trace->layers;
    for (size_t i = 0; stepper->measured && i < stepper->measured->count; i++) {
        const struct measured_row *row = &stepper->measured->rows[i];
        if (row->layer != place->layer || row->step != place->step || !belongs(row, scenario))
            continue;
        return error_set(err, EXIT_INPUT, "%s:%zu: %s: %llu: expected 0 to %llu, the trace's %s",
                         stepper->measured->path, row->line, layer ? "layer" : "step",
                         (unsigned long long)(layer ? place->layer : place->step),
                         (unsigned long long)(layer ? trace->layers : scenario->steps) - 1,
                         layer ? "layers" : "steps");
    }
    return true;
}

// A place that only rows name is passed over when none of them belongs.
static bool compare_place(struct stepper *stepper, const struct place_named *place,
                          struct error *err)
{
    struct scenario *scenario = &stepper->scenario;
    struct found found;
    if (place->row &&
        (place->layer >= scenario_trace(scenario)->layers || place->step >= scenario->steps))
        return check_lacking(stepper, place, err);
    if (!scenario_seek(scenario, place->layer, place->step, err))
        return false;
    find_rows(&found, stepper->measured, scenario);
    if (place->row && !found.any)
        return true;
    return add_case(stepper->comparison, scenario, &found, false, err);
}

// One dispatcher for all places of the list.
static bool choose_for_places(struct stepper *stepper, const struct place_list *list,
                              struct error *err)
{
    struct choice_place places[CHOICE_PLACES];
    const struct scenario *scenario = &stepper->scenario;
    const size_t most = list->count < CHOICE_PLACES ? list->count : CHOICE_PLACES;
    size_t count = 0;
    for (size_t i = 0; i < most; i++) {
        const struct place_named *place = &list->places[i * list->count / most];
        if (place->layer < scenario_trace(scenario)->layers && place->step < scenario->steps)
            places[count++] = (struct choice_place){place->layer, place->step};
    }
    return choice_over_places(&stepper->scenario, places, count, list->count, err);
}

static bool compare_all(struct stepper *stepper, const struct place_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (!compare_place(stepper, &list->places[i], err))
            return false;
    return true;
}

bool compare_steps(const struct scenario_def *def, const struct compare_places *places,
                   const struct measured *measured, struct comparison *comparison,
                   struct error *err)
{
    const size_t before = comparison->count;
    struct stepper stepper = {.measured = measured, .comparison = comparison};
    struct place_list asked = {0}, named = {0};
    struct scenario_def first = both_engines(def);
    add_asked(&asked, places);
    first.layer = asked.places[0].layer;
    first.step = asked.places[0].step;
    first.undecided = true;
    if (measured && !(places->layer_count && places->step_count))
        add_measured(&named, places, measured);
    bool ok = scenario_open(&stepper.scenario, &first, err);
    if (ok) {
        ok = choose_for_places(&stepper, named.count ? &named : &asked, err) &&
             compare_all(&stepper, &named, err);
        if (ok && comparison->count == before)
            ok = compare_all(&stepper, &asked, err);
        comparison->choice = stepper.scenario.choice;
        scenario_release(&stepper.scenario);
    }
    free(asked.places);
    free(named.places);
    return ok;
}
