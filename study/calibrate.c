#include "study/calibrate.h"

#include "base/mem.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"
#include "study/contradiction.h"
#include "study/group.h"
#include "study/reads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GOES_WITH 0.9 // correlation from which two parameters may be loose for each other's sake

// ---- parameters on a row ----------------------------------------------------------------------

static void put_own(const struct parameter *parameter, uint8_t depends,
                    const double own[PARAMETER_KEYS], struct scenario *scenario)
{
    for (unsigned k = 0; k < PARAMETER_KEYS; k++)
        parameter_put(parameter, (uint8_t)(depends & 1u << k), own[k], scenario);
}

static void put_values(const struct calibration *calibration, const struct calibrate_row *row,
                       const double *values, struct scenario *scenario)
{
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        if (!calibration->left_alone[p].is)
            parameter_put(parameter, row->depends[p], values[p], scenario);
        else
            put_own(parameter, row->depends[p], &row->own[p * PARAMETER_KEYS], scenario);
    }
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

// Rows that a fit takes at least: a parameter that a prior holds needs none.
static size_t rows_needed(const struct calibration *calibration)
{
    size_t needed = 0;
    for (size_t p = 0; p < calibration->parameter_count; p++)
        needed += !(calibration->parameters[p].prior > 0);
    return needed ? needed : 1;
}

static void solve(const struct seen *seen, const double *start, bool near, struct fit *fit)
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
                                               .width = parameter->prior,
                                               .fixed = calibration->left_alone[p].is};
    }
    const struct fit_problem problem = {.parameters = parameters,
                                        .count = n,
                                        .rows = seen->count,
                                        .near = near,
                                        .errors = errors,
                                        .context = (void *)seen};
    if (seen->count >= rows_needed(calibration))
        fit_solve(fit, &problem);
    else
        fit_nothing(fit, &problem);
    free(parameters);
}

// How much a parameter is in need of being left alone; below zero: not at all.
static double looseness(const struct fit *fit, size_t p)
{
    if (fit->verdicts[p] == FIT_LOOSE)
        return isfinite(fit->standard_error[p]) ? fit->standard_error[p] : INFINITY;
    return fit->verdicts[p] == FIT_AT_BOUND ? 0 : -1;
}

// Whether leaving one alone may be all that the other lacks.
static bool goes_with(const struct fit *fit, size_t a, size_t b)
{
    return (isinf(looseness(fit, a)) && isinf(looseness(fit, b))) ||
           fabs(fit->correlation[a * fit->parameters + b]) > GOES_WITH;
}

// The next that the rows do not tell: the loosest that goes with none in hand, and when none is
// loose one that is at a bound; the number of parameters when there is none. Of several that are as
// loose the last: a fit file has the rates first.
static size_t find_untold(const struct fit *fit, const size_t *hand, size_t in_hand)
{
    size_t found = fit->parameters;
    double worst = in_hand ? FIT_LOOSE_SHARE : 0;
    for (size_t p = 0; p < fit->parameters; p++) {
        bool free = looseness(fit, p) >= worst;
        for (size_t i = 0; free && i < in_hand; i++)
            free = p != hand[i] && !goes_with(fit, p, hand[i]);
        if (!free)
            continue;
        worst = looseness(fit, p);
        found = p;
    }
    return found;
}

// Leaves alone what the fit did not tell, as many at once as do not hang together; how many.
static size_t leave_untold(struct calibration *calibration)
{
    const struct fit *fit = &calibration->fit;
    size_t *hand = mem_alloc(fit->parameters, sizeof *hand), in_hand = 0;
    for (size_t p; (p = find_untold(fit, hand, in_hand)) < fit->parameters;)
        hand[in_hand++] = p;
    for (size_t i = 0; i < in_hand; i++)
        calibration->left_alone[hand[i]] =
            (struct left_alone){true, fit->verdicts[hand[i]], fit->standard_error[hand[i]]};
    free(hand);
    return in_hand;
}

// What the last fit that moved them said of those that were left alone; and nothing stands of a fit
// that had not come to its end.
static void judge_left_alone(struct calibration *calibration)
{
    struct fit *fit = &calibration->fit;
    for (size_t p = 0; p < fit->parameters; p++) {
        const struct left_alone *left = &calibration->left_alone[p];
        if (left->is) {
            fit->verdicts[p] = left->verdict;
            fit->standard_error[p] = left->standard_error;
        } else if (!fit->converged && calibration_found(calibration, p)) {
            fit->verdicts[p] = FIT_UNCONVERGED;
        }
    }
}

// From these starts, or the parameters' own.
static void solve_told(struct calibration *calibration, const struct seen *seen,
                       const double *start)
{
    struct fit *fit = &calibration->fit;
    solve(seen, start, false, fit);
    while (leave_untold(calibration)) {
        struct fit last = *fit;
        solve(seen, last.values, true, fit);
        fit_release(&last);
    }
    judge_left_alone(calibration);
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
    row->own = mem_alloc(calibration->parameter_count * PARAMETER_KEYS, sizeof *row->own);
    if (!row_open(&row->scenario, row->measured, &engine_estimate, overrides, &err)) {
        row->skipped = true;
        snprintf(row->why, sizeof row->why, "%.511s", err.text);
        calibration->skipped++;
        return;
    }
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const struct parameter *parameter = &calibration->parameters[p];
        row->depends[p] = parameter_depends(parameter, &row->scenario, row->measured->phase);
        row->moved |= row->depends[p] != 0;
        for (unsigned k = 0; k < PARAMETER_KEYS; k++)
            if (row->depends[p] & 1u << k)
                row->own[p * PARAMETER_KEYS + k] =
                    parameter_value(parameter->part, parameter->keys[k], &row->scenario);
    }
}

static void count_depending(struct calibration *calibration)
{
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        calibration->parameters[p].rows = 0;
        for (size_t r = 0; r < calibration->row_count; r++)
            calibration->parameters[p].rows +=
                calibration->rows[r].moved && calibration->rows[r].depends[p];
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

static bool has_exchange(const struct calibration *calibration)
{
    for (size_t r = 0; r < calibration->row_count; r++)
        if (calibration->rows[r].measured->phase == PHASE_ALLTOALL)
            return true;
    return false;
}

static bool refuse_few_rows(const struct calibration *calibration, const char *path, size_t rows,
                            struct error *err)
{
    const char *why = "";
    for (size_t r = 0; r < calibration->row_count && !*why; r++)
        why = calibration->rows[r].why;
    return error_set(
        err, EXIT_INPUT,
        "%s: %zu rows depend on what may move: expected at least as many as the %zu parameters of "
        "%s%s%s%s",
        path, rows, rows_needed(calibration), calibration->name,
        has_exchange(calibration) ? " (--fit nccl-rates moves rates alone)" : "",
        *why ? "; first reason: " : "", why);
}

// Fewer rows than parameters, once those that contradict each other are left out, say nothing.
static void drop_too_few(struct calibration *calibration)
{
    struct seen seen = see_rows(calibration, NULL, true);
    for (size_t r = 0; seen.count < rows_needed(calibration) && r < seen.count; r++) {
        seen.rows[r]->moved = false;
        seen.rows[r]->left_out = true;
    }
    free(seen.rows);
}

// One fit by the closed form and, between the engines, another from there.
static void fit_rows(struct calibration *calibration, const struct row_overrides *overrides)
{
    drop_too_few(calibration);
    struct seen seen = see_rows(calibration, NULL, true);
    count_depending(calibration);
    solve_told(calibration, &seen, NULL);
    if (calibration->between) {
        struct fit first = calibration->fit;
        find_biases(calibration, overrides);
        solve_told(calibration, &seen, first.values);
        fit_release(&first);
    }
    predict_rows(&seen, calibration->fit.values);
    summarise(&seen, &calibration->median_abs_pct, &calibration->p90_abs_pct);
    free(seen.rows);
}

// Begins anew, without rows that were left out since.
static void fit_again(struct calibration *calibration, const struct row_overrides *overrides)
{
    fit_release(&calibration->fit);
    memset(calibration->left_alone, 0,
           calibration->parameter_count * sizeof *calibration->left_alone);
    for (size_t r = 0; r < calibration->row_count; r++)
        calibration->rows[r].engine_bias = 0;
    fit_rows(calibration, overrides);
}

bool calibration_run(struct calibration *calibration, const struct measured *measured,
                     const struct row_overrides *overrides, bool between, struct error *err)
{
    resolve_rows(calibration, measured, overrides);
    struct seen seen = see_rows(calibration, NULL, true);
    const size_t usable = seen.count, needed = rows_needed(calibration);
    if (usable >= needed)
        summarise_before(calibration, &seen);
    free(seen.rows);
    if (usable < needed)
        return refuse_few_rows(calibration, measured->path, usable, err);
    const struct contradicting contradicting = {calibration->rows, calibration->row_count,
                                                &calibration->contradictions};
    calibration->between = between;
    contradiction_leave_congested(&contradicting);
    fit_rows(calibration, overrides);
    if (contradiction_leave_disagreeing(&contradicting))
        fit_again(calibration, overrides);
    return true;
}

bool calibration_found(const struct calibration *calibration, size_t p)
{
    const struct fit *fit = &calibration->fit;
    return fit->verdicts[p] == FIT_FOUND ||
           (fit->verdicts[p] == FIT_HELD && isfinite(fit->standard_error[p]));
}

bool calibration_complete(const struct calibration *calibration)
{
    bool complete = !calibration->contradictions.count;
    for (size_t p = 0; p < calibration->parameter_count; p++) {
        const enum fit_verdict verdict = calibration->fit.verdicts[p];
        complete &= verdict == FIT_FOUND || verdict == FIT_HELD || verdict == FIT_UNUSED;
    }
    return complete;
}

// ---- leaving groups out -------------------------------------------------------------------------

static void leave_out(const struct calibration *calibration, struct left_out *group)
{
    const struct seen others = see_rows(calibration, group->first, true);
    struct seen own = see_rows(calibration, group->first, false);
    struct fit fit;
    if (others.count >= rows_needed(calibration)) {
        solve(&others, calibration->fit.values, false, &fit);
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
        free(calibration->rows[r].own);
    }
    names_release(&calibration->contradictions);
    free(calibration->parameters);
    free(calibration->left_alone);
    free(calibration->rows);
    fit_release(&calibration->fit);
    *calibration = (struct calibration){0};
}
