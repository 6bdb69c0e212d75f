// Nonlinear least squares on relative errors: what parameters make predictions meet measurements.
// Over GSL's trust-region solver (Levenberg-Marquardt); knows nothing of what it fits.
#ifndef STUDY_FIT_H
#define STUDY_FIT_H

#include <stdbool.h>
#include <stddef.h>

#define FIT_EVERY ((size_t)-1)

// A positive number between its bounds, which moves by ratio (its logarithm is what is solved for).
// What is held of it before any row is seen: ln(value / centre) is normal with standard deviation
// width; width 0: nothing.
struct fit_parameter {
    double start, min, max; // 0 < min < max
    double centre, width;
    bool fixed; // stays at its start, as if no row depended on it
};

struct fit_problem {
    const struct fit_parameter *parameters; // [count]
    size_t count, rows;
    bool near; // the starts nearly solve it: outliers are known from the first round on
    // Writes ln(predicted / measured) of every row that depends on parameter `moved` (FIT_EVERY:
    // of every row) to out[rows]; the others' entries are left as they are.
    void (*errors)(void *context, const double *values, size_t moved, double *out);
    void *context;
};

enum fit_verdict {
    FIT_FOUND,
    FIT_UNUSED,      // no row depends on it
    FIT_AT_BOUND,    // it wants to go further than it may
    FIT_LOOSE,       // standard error above FIT_LOOSE_SHARE of the value, or not known
    FIT_HELD,        // loose by the rows, and between them and what was held of it before
    FIT_UNCONVERGED, // the solver had not come to an end
};
extern const char *const fit_verdict_names[];
#define FIT_LOOSE_SHARE 0.5

struct fit {
    size_t parameters;
    double *values;         // [parameters]
    double *standard_error; // [parameters] relative; infinite where the data are blind
    double *correlation;    // [parameters * parameters] of the logarithms; 0 where unknown
    double *covariance; // [parameters * parameters] of the logarithms, with what was held before:
                        // (J' W J / scatter^2 + 1 / width^2)^-1. Where nothing was held, the
                        // width is that of values that are anywhere between the bounds.
    double *leverage;   // [rows] parameters that a row takes up: sums to at most parameters
    enum fit_verdict *verdicts;
    double scatter; // robust root mean square of the errors that remain
    bool converged;
};

// Solves from the parameters' starts. Errors are weighed by the soft-L1 loss, 1 / sqrt(1 +
// (e/s)^2), so that outliers pull little; s falls from 1 to 0.05 over a few rounds, so that a bad
// start does not make everything an outlier. Deterministic. Released by fit_release.
//
// A prior is a row more, scatter x ln(value / centre) / width, with the scatter of the rows at
// hand: a parameter that they are blind to stays at its centre, one whose standard error is a tenth
// of the width moves by a hundredth of its way there. A prior makes its own parameter look no
// surer: standard errors, correlations and verdicts are of the rows alone; but where others have
// one, a parameter without is judged with those held. Expects as many rows as parameters without a
// prior.
void fit_solve(struct fit *fit, const struct fit_problem *problem);
// Of no rows: every parameter is unused, at its start.
void fit_nothing(struct fit *fit, const struct fit_problem *problem);
void fit_release(struct fit *fit);

#endif
