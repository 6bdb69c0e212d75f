// Nonlinear least squares on relative errors: what parameters make predictions meet measurements.
// Over GSL's trust-region solver (Levenberg-Marquardt); knows nothing of what it fits.
#ifndef STUDY_FIT_H
#define STUDY_FIT_H

#include <stdbool.h>
#include <stddef.h>

#define FIT_EVERY ((size_t)-1)

// Every parameter is a positive number between its bounds, and moves by ratio (its logarithm is
// what is solved for).
struct fit_problem {
    size_t parameters, rows;
    const double *least, *most; // [parameters], 0 < least < most
    // Writes ln(predicted / measured) of every row that depends on parameter `moved` (FIT_EVERY:
    // of every row) to out[rows]; the others' entries are left as they are.
    void (*errors)(void *context, const double *values, size_t moved, double *out);
    void *context;
};

// Loose parameters: the data hardly say what they are. Their values are printed, not believed.
enum fit_verdict {
    FIT_FOUND,
    FIT_UNUSED,   // no row depends on it
    FIT_AT_BOUND, // it wants to go further than it may
    FIT_LOOSE,    // standard error above FIT_LOOSE_SHARE of the value, or the data are blind to it
};
extern const char *const fit_verdict_names[];
#define FIT_LOOSE_SHARE 0.5

struct fit {
    size_t parameters;
    double *values;         // [parameters]
    double *standard_error; // [parameters] relative; infinite where the data are blind
    double *correlation;    // [parameters * parameters] of the logarithms; 0 where unknown
    enum fit_verdict *verdicts;
    double scatter; // robust root mean square of the errors that remain
    bool converged;
};

// Solves from `start` [parameters]. Errors are weighed by the soft-L1 loss, 1 / sqrt(1 + (e/s)^2),
// so that outliers pull little; s falls from 1 to 0.05 over a few rounds, so that a bad start does
// not make everything an outlier. Deterministic. Released by fit_release.
void fit_solve(struct fit *fit, const struct fit_problem *problem, const double *start);
void fit_release(struct fit *fit);

#endif
