#include "study/compare.h"

#include "base/mem.h"
#include "model/engine/check.h"
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

static bool same_shape(const struct measured_row *row, const struct setting *setting)
{
    const struct moe *moe = &setting->moe;
    return row->nodes == setting->cluster.nodes &&
           row->gpus_per_node == setting->cluster.gpus_per_node && row->experts == moe->experts &&
           row->topk == moe->topk && row->hidden == moe->hidden;
}

static bool same_parts(const struct measured_row *row, const struct question *question,
                       const struct setting *setting)
{
    return (!strcmp(row->cluster, setting->cluster.name) ||
            !strcmp(row->cluster, question->cluster)) &&
           !strcmp(row->dispatcher, setting->dispatcher.name) &&
           !strcmp(row->layout[0] ? row->layout : "contiguous", question->layout) &&
           (row->sms ? row->sms == setting->dispatcher.sms : question->sms == 0);
}

static bool same_figure(const struct measured_row *row, const struct moe *moe)
{
    const enum dtype dtype = row->phase == PHASE_COMBINE ? moe->combine_dtype : moe->dispatch_dtype;
    return row->dtype == dtype && !row->other_dtype[0] && !row->stage[0] &&
           (!row->stat[0] || !strcmp(row->stat, "mean") || !strcmp(row->stat, "slowest"));
}

static bool replayed(const struct measured_row *row)
{
    return measured_rule(row) == ROUTING_TRACE;
}

// Everything but the place in a trace.
static bool belongs(const struct measured_row *row, const struct question *question,
                    const struct setting *setting)
{
    return row->tokens_per_gpu == routing_most_tokens(&setting->routing) &&
           replayed(row) == (question->trace[0] != '\0') && same_shape(row, setting) &&
           same_parts(row, question, setting) && same_figure(row, &setting->moe);
}

// The rows of one case, by phase and by whether they are of the slowest rank.
struct found {
    const struct measured_row *rows[PHASE_COUNT][2];
    bool any;
};

// The latest row wins: a library's newer measurement follows its older one in a file.
static void find_rows(struct found *found, const struct measured *measured,
                      const struct question *question, const struct setting *setting)
{
    *found = (struct found){0};
    for (size_t i = 0; measured && i < measured->count; i++) {
        const struct measured_row *row = &measured->rows[i];
        if (!belongs(row, question, setting) ||
            (question->trace[0] && (row->layer != question->layer || row->step != question->step)))
            continue;
        found->rows[row->phase][!strcmp(row->stat, "slowest")] = row;
        found->any = true;
    }
}

// ---- one case ----------------------------------------------------------------------------------

// What the engines say of a case, and what was measured of it.
struct answers {
    const struct question *question;
    const struct setting *setting;
    struct timing simulated, estimated;
    struct doubts simulate_doubts, estimate_doubts;
    struct found found;
};

static void answer(struct answers *answers, struct comparison *comparison)
{
    const struct setting *setting = answers->setting;
    if (comparison->fits)
        extrapolation_find(&comparison->extrapolation, comparison->fits, setting);
    if (comparison->fits && comparison->pct > 0) {
        doubts_find(&answers->simulate_doubts, comparison->fits, setting, ENGINE_SIMULATE);
        doubts_find(&answers->estimate_doubts, comparison->fits, setting, ENGINE_ESTIMATE);
    }
    simulate(&setting->schedule, &setting->run, &answers->simulated);
    estimate(&setting->schedule, &setting->run, &answers->estimated);
}

static void answers_release(struct answers *answers)
{
    timing_release(&answers->simulated);
    timing_release(&answers->estimated);
}

static double latency_us(const struct timing *timing, enum phase phase, bool slowest)
{
    const struct phase_span span = timing_span(timing, phase);
    return (slowest ? span.latency_ps : span.latency_mean_ps) / 1e6;
}

static struct interval interval_at(const struct doubts *doubts, const struct compared *row,
                                   double us, double pct)
{
    return interval_of(row->slowest ? &doubts->slowest[row->phase] : &doubts->mean[row->phase], us,
                       pct);
}

static void add_row(struct comparison *comparison, const struct answers *answers, enum phase phase,
                    bool slowest)
{
    const struct setting *setting = answers->setting;
    comparison->rows = mem_grow(comparison->rows, comparison->count + 1, sizeof *comparison->rows);
    struct compared *row = &comparison->rows[comparison->count++];
    *row = (struct compared){
        .tokens = routing_most_tokens(&setting->routing),
        .layer = answers->question->layer,
        .step = answers->question->step,
        .phase = phase,
        .slowest = slowest,
        .simulate_us = latency_us(&answers->simulated, phase, slowest),
        .estimate_us = latency_us(&answers->estimated, phase, slowest),
        .measured = answers->found.rows[phase][slowest],
    };
    row->simulate_interval_us =
        interval_at(&answers->simulate_doubts, row, row->simulate_us, comparison->pct);
    row->estimate_interval_us =
        interval_at(&answers->estimate_doubts, row, row->estimate_us, comparison->pct);
    strcpy(row->dispatcher, setting->dispatcher.name);
}

// ---- over token counts -------------------------------------------------------------------------

bool compare_tokens(const struct question *question, uint32_t tokens,
                    const struct measured *measured, struct comparison *comparison,
                    struct error *err)
{
    struct question sized = *question;
    struct answerable answerable;
    struct answers answers = {.question = &sized, .setting = &answerable.setting};
    sized.tokens = tokens;
    sized.aligned = true;
    if (!ask(&answerable, &sized, LOADS_COUNTED, err))
        return false;
    answer(&answers, comparison);
    find_rows(&answers.found, measured, &sized, answers.setting);
    add_row(comparison, &answers, PHASE_DISPATCH, false);
    add_row(comparison, &answers, PHASE_COMBINE, false);
    answers_release(&answers);
    ask_release(&answerable);
    return true;
}

// ---- over a trace's steps ----------------------------------------------------------------------

struct place {
    uint32_t layer;
    uint64_t step;
    const struct measured_row *row; // that names it; NULL: it was asked
};

struct place_list {
    struct place *places;
    size_t count;
};

static void add_place(struct place_list *list, struct place place)
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
            add_place(list, (struct place){.layer = asked->layer_count ? asked->layers[l] : 0,
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
    const struct place *x = a, *y = b;
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
            add_place(list, (struct place){row->layer, row->step, row});
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
    struct question question; // at the place in hand
    const struct measured *measured;
    struct answerable answerable;
    struct comparison *comparison;
};

// A row's place that the trace lacks: not this case's at all, or of another trace. Rows of the case
// are those that would belong where the trace does begin.
static bool check_lacking(struct stepper *stepper, const struct place *place, struct error *err)
{
    const struct answerable *answerable = &stepper->answerable;
    const bool layer = place->layer >= answerable->trace.layers;
    for (size_t i = 0; stepper->measured && i < stepper->measured->count; i++) {
        const struct measured_row *row = &stepper->measured->rows[i];
        if (row->layer != place->layer || row->step != place->step ||
            !belongs(row, &stepper->question, &answerable->setting))
            continue;
        return error_set(
            err, EXIT_INPUT, "%s:%zu: %s: %llu: expected 0 to %llu, the trace's %s",
            stepper->measured->path, row->line, layer ? "layer" : "step",
            (unsigned long long)(layer ? place->layer : place->step),
            (unsigned long long)(layer ? answerable->trace.layers : answerable->steps) - 1,
            layer ? "layers" : "steps");
    }
    return true;
}

static void add_phases(struct stepper *stepper, const struct found *found)
{
    const struct setting *setting = &stepper->answerable.setting;
    struct answers answers = {.question = &stepper->question, .setting = setting, .found = *found};
    answer(&answers, stepper->comparison);
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
        for (int slowest = 0; setting->schedule.present[phase] && slowest < 2; slowest++)
            if (!found->any || found->rows[phase][slowest])
                add_row(stepper->comparison, &answers, phase, slowest != 0);
    answers_release(&answers);
}

// A place that only rows name is passed over when none of them belongs.
static bool compare_place(struct stepper *stepper, const struct place *place, struct error *err)
{
    struct answerable *answerable = &stepper->answerable;
    struct found found;
    if (place->row &&
        (place->layer >= answerable->trace.layers || place->step >= answerable->steps))
        return check_lacking(stepper, place, err);
    stepper->question.layer = place->layer;
    stepper->question.step = place->step;
    if (!ask_place(answerable, &stepper->question, err))
        return false;
    find_rows(&found, stepper->measured, &stepper->question, &answerable->setting);
    if (place->row && !found.any)
        return true;
    setting_load(&answerable->setting, LOADS_COUNTED);
    if (!schedule_check(&answerable->setting.schedule, err))
        return false;
    add_phases(stepper, &found);
    return true;
}

static bool compare_all(struct stepper *stepper, const struct place_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++)
        if (!compare_place(stepper, &list->places[i], err))
            return false;
    return true;
}

bool compare_steps(const struct question *question, const struct compare_places *places,
                   const struct measured *measured, struct comparison *comparison,
                   struct error *err)
{
    const size_t before = comparison->count;
    struct stepper stepper = {
        .question = *question, .measured = measured, .comparison = comparison};
    struct place_list asked = {0}, named = {0};
    stepper.question.aligned = true;
    add_asked(&asked, places);
    stepper.question.layer = asked.places[0].layer;
    stepper.question.step = asked.places[0].step;
    if (measured && !(places->layer_count && places->step_count))
        add_measured(&named, places, measured);
    bool ok = ask_resolve(&stepper.answerable, &stepper.question, err) &&
              compare_all(&stepper, &named, err);
    if (ok && comparison->count == before)
        ok = compare_all(&stepper, &asked, err);
    ask_release(&stepper.answerable);
    free(asked.places);
    free(named.places);
    return ok;
}
