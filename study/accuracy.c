#include "study/accuracy.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct interval interval_for(const struct accuracy_row *row, const struct scenario *scenario,
                                    const struct engine *engine,
                                    const struct accuracy_intervals *intervals)
{
    const struct measured_row *measured = row->measured;
    struct uncertainties uncertainties;
    if (!intervals || !engine->is_calibrated || measured->stage[0] ||
        measured->phase == PHASE_KERNEL)
        return (struct interval){NAN, NAN};
    uncertainties_find(&uncertainties, intervals->fits, scenario, engine);
    const bool slowest = !strcmp(measured->stat, "slowest");
    return interval_of(measured->phase == PHASE_LAYER ? &uncertainties.layer
                       : slowest                      ? &uncertainties.slowest[measured->phase]
                                                      : &uncertainties.mean[measured->phase],
                       row->predicted_us, intervals->pct);
}

static void judge_row(struct accuracy_row *row, const struct engine *engine,
                      const struct row_overrides *overrides,
                      const struct accuracy_intervals *intervals)
{
    struct error err = {0};
    struct scenario scenario;
    if (!row_open(&scenario, row->measured, engine, overrides, &err)) {
        row->skipped = true;
        snprintf(row->why, sizeof row->why, "%.511s", err.text);
        return;
    }
    const struct prediction prediction = row_predict(&scenario, row->measured, engine);
    row->predicted_us = prediction.us;
    row->has_unit =
        scenario.schedule && deepep_unit_of(&row->unit, scenario.schedule, row->measured->phase);
    row->interval_us = interval_for(row, &scenario, engine, intervals);
    scenario_release(&scenario);
    memcpy(row->bottleneck, prediction.bottleneck, sizeof row->bottleneck);
    row->error_pct = 100 * (row->predicted_us / row->measured->latency_us - 1);
}

// Of the rows that agree with the group's first.
static void sum_up(const struct accuracy *accuracy, const struct grouping *grouping,
                   struct accuracy_group *group)
{
    double *errors = mem_alloc(accuracy->count, sizeof *errors), sum = 0;
    bool *taken = mem_alloc(accuracy->count, sizeof *taken);
    size_t known = 0, inside = 0; // intervals
    for (size_t i = 0; i < accuracy->count; i++) {
        const struct accuracy_row *row = &accuracy->rows[i];
        const double measured_us = row->measured->latency_us;
        if (row->skipped || !grouping_same(grouping, row->measured, group->first))
            continue;
        taken[i] = true;
        errors[group->count++] = fabs(row->error_pct);
        sum += row->error_pct;
        group->worst_abs_pct = fmax(group->worst_abs_pct, fabs(row->error_pct));
        known += row->interval_us.low <= row->interval_us.high;
        inside += measured_us >= row->interval_us.low && measured_us <= row->interval_us.high;
    }
    group->bias_pct = sum / (double)group->count;
    group->inside_pct = known ? 100 * (double)inside / (double)known : NAN;
    errors_summarise(errors, group->count, &group->median_abs_pct, &group->p90_abs_pct);
    group->support = constants_support(&accuracy->constants, taken);
    free(errors);
    free(taken);
}

void accuracy_group(struct accuracy *accuracy, const struct grouping *grouping)
{
    free(accuracy->groups);
    accuracy->groups = mem_alloc(accuracy->count, sizeof *accuracy->groups);
    accuracy->group_count = 0;
    for (size_t i = 0; i < accuracy->count; i++) {
        const struct measured_row *row = accuracy->rows[i].measured;
        size_t g = 0;
        if (accuracy->rows[i].skipped)
            continue;
        while (g < accuracy->group_count &&
               !grouping_same(grouping, row, accuracy->groups[g].first))
            g++;
        if (g < accuracy->group_count)
            continue;
        accuracy->groups[accuracy->group_count].first = row;
        sum_up(accuracy, grouping, &accuracy->groups[accuracy->group_count++]);
    }
}

// What each row by itself rests on.
static void set_support(struct accuracy *accuracy, const struct measured *measured,
                        const struct row_overrides *overrides)
{
    bool *taken = mem_alloc(accuracy->count, sizeof *taken);
    if (accuracy->engine->is_calibrated)
        constants_init(&accuracy->constants, measured, overrides);
    else
        constants_none(&accuracy->constants, measured);
    for (size_t i = 0; i < accuracy->count; i++) {
        taken[i] = true;
        accuracy->rows[i].support = constants_support(&accuracy->constants, taken);
        taken[i] = false;
    }
    free(taken);
}

void accuracy_judge(struct accuracy *accuracy, const struct measured *measured,
                    const struct engine *engine, const struct row_overrides *overrides,
                    const struct accuracy_intervals *intervals)
{
    *accuracy = (struct accuracy){.engine = engine,
                                  .rows = mem_alloc(measured->count, sizeof *accuracy->rows),
                                  .count = measured->count};
    struct accuracy_row *rows = accuracy->rows;
    struct row_presets presets;
    struct row_overrides with_presets = *overrides;
    const size_t count = measured->count;
    row_presets_init(&presets, measured, overrides->cluster);
    with_presets.presets = &presets;
    for (size_t i = 0; i < count; i++)
        rows[i].measured = &measured->rows[i];
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(rows, count, engine, with_presets, intervals)
    for (size_t i = 0; i < count; i++)
        judge_row(&rows[i], engine, &with_presets, intervals);
    row_presets_release(&presets);
    set_support(accuracy, measured, overrides);
    const struct grouping everything = {0};
    struct accuracy_group all = {.first = measured->rows};
    sum_up(accuracy, &everything, &all);
    accuracy->skipped = count - all.count;
    accuracy->median_abs_pct = all.median_abs_pct;
    accuracy->p90_abs_pct = all.p90_abs_pct;
    accuracy->inside_pct = all.inside_pct;
}

static double off(const struct accuracy *accuracy, size_t row)
{
    return fabs(accuracy->rows[row].error_pct);
}

size_t *accuracy_worst(const struct accuracy *accuracy, size_t max, size_t *count)
{
    size_t *worst = mem_alloc(accuracy->count, sizeof *worst);
    *count = 0;
    for (size_t i = 0; i < accuracy->count; i++) {
        size_t at = *count;
        if (accuracy->rows[i].skipped)
            continue;
        for (; at > 0 && off(accuracy, worst[at - 1]) < off(accuracy, i); at--)
            worst[at] = worst[at - 1];
        worst[at] = i;
        ++*count;
    }
    *count = *count < max ? *count : max;
    return worst;
}

void accuracy_release(struct accuracy *accuracy)
{
    constants_release(&accuracy->constants);
    free(accuracy->rows);
    free(accuracy->groups);
    *accuracy = (struct accuracy){0};
}
