#include "study/calibrate.h"

#include "base/mem.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"
#include "study/group.h"
#include "study/reads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- parameters on a row ----------------------------------------------------------------------

static void put_values(const struct calibration *calibration, const struct calibrate_row *row,
                       const double *values, struct scenario *scenario)
{
    for (size_t p = 0; p < calibration->parameter_count; p++)
        parameter_put(&calibration->parameters[p], row->depends[p], values[p], scenario);
    scenario_touch(scenario);
}

// The row's prediction by these values. The loads are the row's own; the schedule is made anew.
static double predict(const struct calibration *calibration, struct calibrate_row *row,
                      const double *values)
{
    put_values(calibration, row, values, &row->scenario);
    return row_predict(&row->scenario, row->measured, &engine_estimate).us;
}

// ---- the fit ----------------------------------------------------------------------------------

// The rows that a solution sees: all that are not skipped, but for one group.
struct seen {
    const struct calibration *calibration;
    struct calibrate_row **rows;
    size_t count;
};

static void errors(void *context, const double *values, size_t moved, double *out)
{
    const struct seen *seen = context;
    const size_t count = seen->count;
#pragma omp parallel for schedule(dynamic, 4) default(none) shared(seen, values, moved, out, count)
    for (size_t r = 0; r < count; r++) {
        struct calibrate_row *row = seen->rows[r];
        if (moved == FIT_EVERY || row->depends[moved])
            out[r] = log(predict(seen->calibration, row, values) / row->measured->latency_us) +
                     row->engine_bias;
    }
}

static void solve(const struct seen *seen, const double *start, struct fit *fit)
{
    const struct calibration *calibration = seen->calibration;
    const size_t n = calibration->parameter_count;
    struct fit_parameter *parameters = mem_alloc(n, sizeof *parameters);
    for (size_t p = 0; p < n; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        parameters[p] = (struct fit_parameter){.start = start ? start[p] : parameter->start,
                                               .min = parameter->min,
                                               .max = parameter->max,
                                               .centre = parameter->start,
                                               .width = parameter->prior};
    }
    const struct fit_problem problem = {.parameters = parameters,
                                        .count = n,
                                        .rows = seen->count,
                                        .errors = errors,
                                        .context = (void *)seen};
    fit_solve(fit, &problem);
    free(parameters);
}

// How far the simulator is from the closed form on a row, by these values; half of it.
static double bias_of(const struct calibration *calibration, struct calibrate_row *row,
                      const struct row_overrides *overrides, const double *values)
{
    struct error err;
    struct scenario scenario;
    if (!row_open(&scenario, row->measured, &engine_simulate, overrides, &err))
        return 0; // the closed form's own scenario was opened, so this one is
    put_values(calibration, row, values, &scenario);
    const double simulated = row_predict(&scenario, row->measured, &engine_simulate).us;
    scenario_release(&scenario);
    return log(simulated / predict(calibration, row, values)) / 2;
}

static void find_biases(struct calibration *calibration, const struct row_overrides *overrides)
{
    struct calibrate_row *rows = calibration->rows;
    const size_t count = calibration->row_count;
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(calibration, overrides, rows, count)
    for (size_t r = 0; r < count; r++)
        if (rows[r].moved)
            rows[r].engine_bias =
                bias_of(calibration, &rows[r], overrides, calibration->fit.values);
}

static void resolve_row(struct calibration *calibration, struct calibrate_row *row,
                        const struct row_overrides *overrides)
{
    struct error err = {0};
    row->depends = mem_alloc(calibration->parameter_count, sizeof *row->depends);
    if (!row_open(&row->scenario, row->measured, &engine_estimate, overrides, &err)) {
        row->skipped = true;
        snprintf(row->why, sizeof row->why, "%.511s", err.text);
        calibration->skipped++;
        return;
    }
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        row->depends[p] =
            parameter_depends(&calibration->parameters[p], &row->scenario, row->measured->phase);
        row->moved |= row->depends[p] != 0;
        calibration->parameters[p].rows += row->depends[p] != 0;
    }
}

static void resolve_rows(struct calibration *calibration, const struct measured *measured,
                         const struct row_overrides *overrides)
{
    struct row_presets presets;
    struct row_overrides with_presets = *overrides;
    row_presets_init(&presets, measured, overrides->cluster);
    with_presets.presets = &presets;
    calibration->row_count = measured->count;
    calibration->rows = mem_alloc(measured->count, sizeof *calibration->rows);
    for (size_t r = 0; r < measured->count; r++) {
        calibration->rows[r].measured = &measured->rows[r];
        resolve_row(calibration, &calibration->rows[r], &with_presets);
    }
    row_presets_release(&presets);
}

static bool same_group(const struct measured_row *a, const struct measured_row *b)
{
    const struct grouping grouping = grouping_default();
    return grouping_same(&grouping, a, b);
}

// The rows of the group of `first` alone or, `except`, all but those; NULL is of no group.
static struct seen see_rows(const struct calibration *calibration, const struct measured_row *first,
                            bool except)
{
    struct seen seen = {.calibration = calibration,
                        .rows = mem_alloc(calibration->row_count, sizeof *seen.rows)};
    for (size_t r = 0; r < calibration->row_count; r++) {
        struct calibrate_row *row = &calibration->rows[r];
        if (row->moved && (first && same_group(row->measured, first)) != except)
            seen.rows[seen.count++] = row;
    }
    return seen;
}

// How far off the predictions of the rows are.
static void summarise(const struct seen *seen, double *median_abs_pct, double *p90_abs_pct)
{
    double *off = mem_alloc(seen->count, sizeof *off);
    for (size_t r = 0; r < seen->count; r++)
        off[r] = 100 * fabs(seen->rows[r]->predicted_us / seen->rows[r]->measured->latency_us - 1);
    errors_summarise(off, seen->count, median_abs_pct, p90_abs_pct);
    free(off);
}

// By the presets as they were; then by the values found.
static void summarise_before(struct calibration *calibration, const struct seen *seen)
{
    for (size_t r = 0; r < seen->count; r++) {
        struct calibrate_row *row = seen->rows[r];
        row->predicted_us = row_predict(&row->scenario, row->measured, &engine_estimate).us;
    }
    summarise(seen, &calibration->before_median_abs_pct, &calibration->before_p90_abs_pct);
}

static void predict_rows(const struct seen *seen, const double *values)
{
    for (size_t r = 0; r < seen->count; r++)
        seen->rows[r]->predicted_us = predict(seen->calibration, seen->rows[r], values);
}

bool calibration_run(struct calibration *calibration, const struct measured *measured,
                     const struct row_overrides *overrides, bool between, struct error *err)
{
    resolve_rows(calibration, measured, overrides);
    struct seen seen = see_rows(calibration, NULL, true);
    if (seen.count < calibration->parameter_count) {
        const char *why = "";
        for (size_t r = 0; r < calibration->row_count && !*why; r++)
            why = calibration->rows[r].why;
        free(seen.rows);
        return error_set(
            err, EXIT_INPUT,
            "%s: %zu rows depend on what may move: expected at least as many as the %zu "
            "parameters%s%s",
            measured->path, seen.count, calibration->parameter_count,
            *why ? "; first reason: " : "", why);
    }
    calibration->between = between;
    summarise_before(calibration, &seen);
    solve(&seen, NULL, &calibration->fit);
    if (between) {
        struct fit first = calibration->fit;
        find_biases(calibration, overrides);
        solve(&seen, first.values, &calibration->fit);
        fit_release(&first);
    }
    predict_rows(&seen, calibration->fit.values);
    summarise(&seen, &calibration->median_abs_pct, &calibration->p90_abs_pct);
    free(seen.rows);
    return true;
}

// ---- leaving groups out -------------------------------------------------------------------------

static void leave_out(const struct calibration *calibration, struct left_out *group)
{
    const struct seen others = see_rows(calibration, group->first, true);
    struct seen own = see_rows(calibration, group->first, false);
    struct fit fit;
    if (others.count >= calibration->parameter_count) {
        solve(&others, calibration->fit.values, &fit);
        predict_rows(&own, fit.values);
        fit_release(&fit);
    } else {
        own.count = 0;
    }
    group->count = own.count;
    summarise(&own, &group->median_abs_pct, &group->p90_abs_pct);
    predict_rows(&own, calibration->fit.values); // as they were
    free(others.rows);
    free(own.rows);
}

struct left_out *calibration_leave_out(const struct calibration *calibration, size_t *count)
{
    struct left_out *groups = mem_alloc(calibration->row_count, sizeof *groups);
    *count = 0;
    for (size_t r = 0; r < calibration->row_count; r++) {
        const struct calibrate_row *row = &calibration->rows[r];
        size_t g = 0;
        while (row->moved && g < *count && !same_group(row->measured, groups[g].first))
            g++;
        if (!row->moved || g < *count)
            continue;
        groups[g].first = row->measured;
        leave_out(calibration, &groups[(*count)++]);
    }
    return groups;
}

void calibration_release(struct calibration *calibration)
{
    for (size_t p = 0; p < calibration->parameter_count; p++)
        parameter_release(&calibration->parameters[p]);
    for (size_t r = 0; r < calibration->row_count; r++) {
        if (!calibration->rows[r].skipped)
            scenario_release(&calibration->rows[r].scenario);
        free(calibration->rows[r].depends);
    }
    free(calibration->parameters);
    free(calibration->rows);
    fit_release(&calibration->fit);
    *calibration = (struct calibration){0};
}
