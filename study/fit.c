#include "study/fit.h"

#include "base/mem.h"

#include <gsl/gsl_blas.h>
#include <gsl/gsl_linalg.h>
#include <gsl/gsl_multifit_nlinear.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const fit_verdict_names[] = {"found", "unused",        "at bound", "loose",
                                         "held",  "not converged", NULL};

#define STEP 1e-3        // of a logarithm, in finite differences: times are whole picoseconds
#define ITERATIONS 40    // a round
#define TOLERANCE 1e-6   // of steps
#define BLIND 1e-7       // singular values below this part of the largest say nothing
#define MIN_SCATTER 1e-5 // exact rows: their times are whole picoseconds
#define FREE_MARGIN 1e-3 // nearer a bound than this ratio: at it
#define FEW_SCATTER 0.03 // of rows no more than parameters, which leave no error to tell it by
#define GAIN 1e-4        // a round that lowers the loss by a smaller part is an end

static const double loss_scales[] = {1, 0.3, 0.1, 0.05, 0.05, 0.05};
#define ROUNDS (sizeof loss_scales / sizeof loss_scales[0])
#define LAST_ROUNDS 3 // at the last scale

// What GSL's callbacks need.
struct solving {
    const struct fit_problem *problem;
    double *values;       // [parameters]
    double *base, *moved; // [rows]
    double *based_on;     // [parameters] values that base is of
    gsl_matrix *slopes;   // of the rows by the parameters, the Jacobian without priors
    double *slopes_at;    // [parameters] values that they are of
    double scatter;       // of the round's start: what a prior is weighed against
};

static double clamp(double value, double min, double max)
{
    return fmin(fmax(value, min), max);
}

// The errors at these logarithms, where they are not of them already: a Jacobian is asked for where
// the errors have just been. Outside the bounds a parameter stays at them, and its gradient
// vanishes.
static void set_base(struct solving *solving, const gsl_vector *logs)
{
    const struct fit_problem *problem = solving->problem;
    const size_t bytes = problem->count * sizeof *solving->values;
    for (size_t p = 0; p < problem->count; p++)
        solving->values[p] = clamp(exp(gsl_vector_get(logs, p)), problem->parameters[p].min,
                                   problem->parameters[p].max);
    if (!memcmp(solving->values, solving->based_on, bytes))
        return;
    problem->errors(problem->context, solving->values, FIT_EVERY, solving->base);
    memcpy(solving->based_on, solving->values, bytes);
}

// What a step of a logarithm adds to the prior's row. Rows of priors follow the problem's own.
static double prior_slope(const struct solving *solving, size_t p)
{
    const double width = solving->problem->parameters[p].width;
    return width > 0 && !solving->problem->parameters[p].fixed ? solving->scatter / width : 0;
}

static int errors_at(const gsl_vector *logs, void *context, gsl_vector *out)
{
    struct solving *solving = context;
    const struct fit_problem *problem = solving->problem;
    set_base(solving, logs);
    for (size_t r = 0; r < problem->rows; r++)
        gsl_vector_set(out, r, solving->base[r]);
    for (size_t p = 0; p < problem->count; p++) {
        const double slope = prior_slope(solving, p);
        const double away =
            slope > 0 ? gsl_vector_get(logs, p) - log(problem->parameters[p].centre) : 0;
        gsl_vector_set(out, problem->rows + p, slope * away);
    }
    return GSL_SUCCESS;
}

// The rows of priors, zero but for each parameter in its own.
static gsl_matrix_view prior_rows(const struct fit_problem *problem, gsl_matrix *jacobian)
{
    gsl_matrix_view rows =
        gsl_matrix_submatrix(jacobian, problem->rows, 0, problem->count, problem->count);
    gsl_matrix_set_zero(&rows.matrix);
    return rows;
}

// One column by a forward difference; backward where the upper bound is in the way.
static void difference(struct solving *solving, size_t p)
{
    const struct fit_problem *problem = solving->problem;
    const double value = solving->values[p];
    if (problem->parameters[p].fixed) {
        gsl_vector_view column = gsl_matrix_column(solving->slopes, p);
        gsl_vector_set_zero(&column.vector);
        return;
    }
    const double step = value * exp(STEP) > problem->parameters[p].max ? -STEP : STEP;
    memcpy(solving->moved, solving->base, problem->rows * sizeof *solving->moved);
    solving->values[p] = value * exp(step);
    problem->errors(problem->context, solving->values, p, solving->moved);
    solving->values[p] = value;
    for (size_t r = 0; r < problem->rows; r++)
        gsl_matrix_set(solving->slopes, r, p, (solving->moved[r] - solving->base[r]) / step);
}

// A round begins where the one before it ended, at other weights: slopes stay.
static void set_slopes(struct solving *solving)
{
    const size_t count = solving->problem->count, bytes = count * sizeof *solving->values;
    if (!memcmp(solving->values, solving->slopes_at, bytes))
        return;
    for (size_t p = 0; p < count; p++)
        difference(solving, p);
    memcpy(solving->slopes_at, solving->values, bytes);
}

static int jacobian_at(const gsl_vector *logs, void *context, gsl_matrix *jacobian)
{
    struct solving *solving = context;
    const struct fit_problem *problem = solving->problem;
    gsl_matrix_view priors = prior_rows(problem, jacobian);
    gsl_matrix_view rows = gsl_matrix_submatrix(jacobian, 0, 0, problem->rows, problem->count);
    set_base(solving, logs);
    set_slopes(solving);
    gsl_matrix_memcpy(&rows.matrix, solving->slopes);
    for (size_t p = 0; p < problem->count; p++)
        gsl_matrix_set(&priors.matrix, p, p, prior_slope(solving, p));
    return GSL_SUCCESS;
}

// Priors keep their weight of 1, which is all that stands behind the problem's rows.
static void weigh_rows(const struct solving *solving, gsl_vector *weights, double scale)
{
    gsl_vector_set_all(weights, 1);
    for (size_t r = 0; r < solving->problem->rows; r++)
        gsl_vector_set(weights, r, 1 / sqrt(1 + pow(solving->base[r] / scale, 2)));
}

// One round at fixed weights; logs are moved to where it ends.
static bool round_solve(struct solving *solving, gsl_vector *logs, const gsl_vector *weights)
{
    const struct fit_problem *problem = solving->problem;
    gsl_multifit_nlinear_parameters how = gsl_multifit_nlinear_default_parameters();
    gsl_multifit_nlinear_fdf fdf = {.f = errors_at,
                                    .df = jacobian_at,
                                    .n = weights->size,
                                    .p = problem->count,
                                    .params = solving};
    int info = 0;
    how.solver = gsl_multifit_nlinear_solver_svd; // stands a column of zeros
    gsl_multifit_nlinear_workspace *work =
        gsl_multifit_nlinear_alloc(gsl_multifit_nlinear_trust, &how, weights->size, problem->count);
    gsl_multifit_nlinear_winit(logs, weights, &fdf, work);
    const int status =
        gsl_multifit_nlinear_driver(ITERATIONS, TOLERANCE, TOLERANCE, 0, NULL, NULL, &info, work);
    gsl_vector_memcpy(logs, gsl_multifit_nlinear_position(work));
    gsl_multifit_nlinear_free(work);
    // "No progress" at a kink of the prediction, where a maximum changes hands, is an end too.
    return status == GSL_SUCCESS || status == GSL_ENOPROG;
}

// Soft L1, which the weights stand for.
static double loss_of(const struct solving *solving, double scale)
{
    double loss = 0;
    for (size_t r = 0; r < solving->problem->rows; r++)
        loss += sqrt(1 + pow(solving->base[r] / scale, 2)) - 1;
    return loss;
}

// The errors where a round begins: within the bounds again.
static void restart(struct solving *solving, gsl_vector *logs)
{
    const struct fit_problem *problem = solving->problem;
    for (size_t p = 0; p < problem->count; p++)
        gsl_vector_set(logs, p,
                       clamp(gsl_vector_get(logs, p), log(problem->parameters[p].min),
                             log(problem->parameters[p].max)));
    set_base(solving, logs);
}

// ---- what the data say of the solution ------------------------------------------------------

// A matrix by its singular values; it is left with U.
struct spread {
    gsl_matrix *u, *v;
    gsl_vector *s;
};

// Takes the matrix.
static struct spread decompose(gsl_matrix *matrix)
{
    const size_t n = matrix->size2;
    struct spread spread = {.u = matrix, .v = gsl_matrix_alloc(n, n), .s = gsl_vector_alloc(n)};
    gsl_vector *work = gsl_vector_alloc(n);
    gsl_linalg_SV_decomp(spread.u, spread.v, spread.s, work);
    gsl_vector_free(work);
    return spread;
}

static void spread_release(struct spread *spread)
{
    gsl_matrix_free(spread->u);
    gsl_matrix_free(spread->v);
    gsl_vector_free(spread->s);
}

// An entry of (J' J)^-1; directions whose singular value is below this part of the largest are left
// out.
static double covariance(const struct spread *spread, size_t a, size_t b, double blind)
{
    const double largest = gsl_vector_get(spread->s, 0);
    double sum = 0;
    for (size_t k = 0; k < spread->s->size; k++) {
        const double s = gsl_vector_get(spread->s, k);
        if (s > blind * largest)
            sum += gsl_matrix_get(spread->v, a, k) * gsl_matrix_get(spread->v, b, k) / (s * s);
    }
    return sum;
}

// Whoever has a part in a direction that the data are blind to is unbounded.
static bool blind_to(const struct spread *spread, size_t p)
{
    const double largest = gsl_vector_get(spread->s, 0);
    for (size_t k = 0; k < spread->s->size; k++)
        if (gsl_vector_get(spread->s, k) <= BLIND * largest &&
            fabs(gsl_matrix_get(spread->v, p, k)) > 0.1)
            return true;
    return false;
}

static enum fit_verdict verdict(const struct fit_problem *problem, const struct fit *fit, size_t p,
                                bool unused)
{
    const double value = fit->values[p];
    if (unused)
        return FIT_UNUSED;
    if (value <= problem->parameters[p].min * (1 + FREE_MARGIN) ||
        value >= problem->parameters[p].max / (1 + FREE_MARGIN))
        return FIT_AT_BOUND;
    if (fit->standard_error[p] <= FIT_LOOSE_SHARE && isfinite(value))
        return FIT_FOUND;
    return problem->parameters[p].width > 0 ? FIT_HELD : FIT_LOOSE;
}

// Of a parameter that no row depends on, nothing is known; not even what it goes with.
static void set_errors(struct fit *fit, const struct spread *spread)
{
    const size_t n = fit->parameters;
    for (size_t a = 0; a < n; a++)
        fit->standard_error[a] =
            blind_to(spread, a) ? INFINITY : fit->scatter * sqrt(covariance(spread, a, a, BLIND));
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++) {
            const double scale =
                sqrt(covariance(spread, a, a, BLIND) * covariance(spread, b, b, BLIND));
            const bool used = fit->verdicts[a] != FIT_UNUSED && fit->verdicts[b] != FIT_UNUSED;
            fit->correlation[a * n + b] =
                used && scale > 0 ? covariance(spread, a, b, BLIND) / scale : 0;
        }
}

static double scatter_of(const struct solving *solving, const gsl_vector *weights, size_t used)
{
    const struct fit_problem *problem = solving->problem;
    double sum = 0, weight = 0;
    for (size_t r = 0; r < problem->rows; r++) {
        sum += gsl_vector_get(weights, r) * pow(solving->base[r], 2);
        weight += gsl_vector_get(weights, r);
    }
    const double spare = (double)problem->rows - (double)used;
    const double scatter = sqrt(sum / weight * (double)problem->rows / fmax(spare, 1));
    return spare > 0 ? scatter : fmax(scatter, FEW_SCATTER);
}

// Marks parameters that no row depends on; how many others there are.
static size_t find_used(struct fit *fit, const struct fit_problem *problem,
                        const gsl_matrix *jacobian)
{
    size_t used = 0;
    for (size_t p = 0; p < fit->parameters; p++) {
        const gsl_vector_const_view column =
            gsl_matrix_const_subcolumn(jacobian, p, 0, problem->rows);
        const bool unused = gsl_vector_isnull(&column.vector);
        fit->verdicts[p] = unused ? FIT_UNUSED : FIT_FOUND;
        used += !unused;
    }
    return used;
}

// From the rows alone.
static void judge_data(struct fit *fit, const struct fit_problem *problem,
                       const gsl_matrix *jacobian)
{
    const size_t n = fit->parameters;
    gsl_matrix *data = gsl_matrix_calloc(problem->rows > n ? problem->rows : n, n);
    const gsl_matrix_const_view rows = gsl_matrix_const_submatrix(jacobian, 0, 0, problem->rows, n);
    gsl_matrix_view upper = gsl_matrix_submatrix(data, 0, 0, problem->rows, n);
    gsl_matrix_memcpy(&upper.matrix, &rows.matrix);
    struct spread spread = decompose(data);
    set_errors(fit, &spread);
    for (size_t p = 0; p < n; p++)
        fit->verdicts[p] = verdict(problem, fit, p, fit->verdicts[p] == FIT_UNUSED);
    spread_release(&spread);
}

// From the rows and what was held before; takes the Jacobian.
static void judge_all(struct fit *fit, const struct fit_problem *problem, gsl_matrix *jacobian)
{
    const size_t n = fit->parameters;
    gsl_matrix_scale(jacobian, 1 / fmax(fit->scatter, MIN_SCATTER));
    gsl_matrix_view priors = prior_rows(problem, jacobian);
    for (size_t p = 0; p < n; p++) {
        const struct fit_parameter *parameter = &problem->parameters[p];
        const double anywhere = log(parameter->max / parameter->min) / sqrt(12);
        gsl_matrix_set(&priors.matrix, p, p,
                       1 / (parameter->width > 0 ? parameter->width : anywhere));
    }
    struct spread spread = decompose(jacobian);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            fit->covariance[a * n + b] = covariance(&spread, a, b, 0);
    for (size_t r = 0; r < problem->rows; r++)
        for (size_t k = 0; k < n; k++)
            fit->leverage[r] += pow(gsl_matrix_get(spread.u, r, k), 2);
    spread_release(&spread);
}

// Where others are held by a prior, what the rows leave of a parameter without one.
static void judge_beside_priors(struct fit *fit, const struct fit_problem *problem)
{
    bool any = false;
    for (size_t p = 0; p < problem->count; p++)
        any |= problem->parameters[p].width > 0;
    for (size_t p = 0; any && p < problem->count; p++)
        if (!(problem->parameters[p].width > 0) && fit->verdicts[p] != FIT_UNUSED) {
            fit->standard_error[p] = sqrt(fit->covariance[p * problem->count + p]);
            fit->verdicts[p] = verdict(problem, fit, p, false);
        }
}

static void fit_judge(struct fit *fit, struct solving *solving, const gsl_vector *logs,
                      const gsl_vector *weights)
{
    const size_t n = fit->parameters;
    gsl_matrix *jacobian = gsl_matrix_alloc(weights->size, n);
    jacobian_at(logs, solving, jacobian);
    for (size_t r = 0; r < jacobian->size1; r++) {
        gsl_vector_view row = gsl_matrix_row(jacobian, r);
        gsl_vector_scale(&row.vector, sqrt(gsl_vector_get(weights, r)));
    }
    memcpy(fit->values, solving->values, n * sizeof *fit->values);
    fit->scatter = scatter_of(solving, weights, find_used(fit, solving->problem, jacobian));
    judge_data(fit, solving->problem, jacobian);
    judge_all(fit, solving->problem, jacobian);
    judge_beside_priors(fit, solving->problem);
}

static void fit_begin(struct fit *fit, const struct fit_problem *problem)
{
    const size_t n = problem->count;
    *fit = (struct fit){.parameters = n,
                        .values = mem_alloc(n, sizeof(double)),
                        .standard_error = mem_alloc(n, sizeof(double)),
                        .correlation = mem_alloc(n * n, sizeof(double)),
                        .covariance = mem_alloc(n * n, sizeof(double)),
                        .leverage = mem_alloc(problem->rows, sizeof(double)),
                        .verdicts = mem_alloc(n, sizeof *fit->verdicts)};
}

void fit_nothing(struct fit *fit, const struct fit_problem *problem)
{
    fit_begin(fit, problem);
    fit->converged = true;
    for (size_t p = 0; p < problem->count; p++) {
        fit->values[p] = problem->parameters[p].start;
        fit->standard_error[p] = INFINITY;
        fit->verdicts[p] = FIT_UNUSED;
    }
}

void fit_solve(struct fit *fit, const struct fit_problem *problem)
{
    const size_t n = problem->count, rows = problem->rows;
    struct solving solving = {.problem = problem,
                              .values = mem_alloc(n, sizeof(double)),
                              .base = mem_alloc(rows, sizeof(double)),
                              .based_on = mem_alloc(n, sizeof(double)),
                              .moved = mem_alloc(rows, sizeof(double)),
                              .slopes = gsl_matrix_alloc(rows, n),
                              .slopes_at = mem_alloc(n, sizeof(double))};
    gsl_vector *logs = gsl_vector_alloc(n), *weights = gsl_vector_alloc(rows + n);
    fit_begin(fit, problem);
    for (size_t p = 0; p < n; p++)
        gsl_vector_set(logs, p, log(problem->parameters[p].start));
    restart(&solving, logs);
    for (size_t round = problem->near ? ROUNDS - LAST_ROUNDS : 0; round < ROUNDS; round++) {
        const double scale = loss_scales[round], before = loss_of(&solving, scale);
        weigh_rows(&solving, weights, scale);
        solving.scatter = scatter_of(&solving, weights, n);
        const bool ended = round_solve(&solving, logs, weights);
        restart(&solving, logs);
        // At a kink steps may go to and fro for ever, and gain nothing.
        fit->converged = ended || loss_of(&solving, scale) >= (1 - GAIN) * before;
    }
    fit_judge(fit, &solving, logs, weights);
    gsl_vector_free(logs);
    gsl_vector_free(weights);
    free(solving.values);
    free(solving.base);
    free(solving.based_on);
    free(solving.moved);
    gsl_matrix_free(solving.slopes);
    free(solving.slopes_at);
}

void fit_release(struct fit *fit)
{
    free(fit->values);
    free(fit->standard_error);
    free(fit->correlation);
    free(fit->covariance);
    free(fit->leverage);
    free(fit->verdicts);
    *fit = (struct fit){0};
}
