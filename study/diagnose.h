// Diagnosis: is what was measured what a healthy cluster should give, and if not, which cause
// explains all rows together (study/causes.h)?
//
// A row is slower than predicted where it lies above its interval: that of the prediction
// (study/interval.h), widened by DIAGNOSE_MACHINE in quadrature, for presets rest on other machines
// than this one. Every cause is tried on every row. It explains the rows where three in four of the
// slow ones, and three in four of the others, come to lie within their intervals, widened once more
// by DIAGNOSE_SIZE for each cause, whose size is a round number, and where it is at most half as
// far off as the healthy cluster. Those that explain them are ranked by the mean distance of slow
// rows from the prediction, in logarithms, each at most DIAGNOSE_FAR, and DIAGNOSE_PLACE more for
// each place in the table of causes, whose first are the likely ones. Pairs are tried only where no
// single cause explains the rows.
#ifndef STUDY_DIAGNOSE_H
#define STUDY_DIAGNOSE_H

#include "study/accuracy.h"
#include "study/diagnose_rows.h"
#include "study/explanation.h"
#include "study/slow_ranks.h"

#include <stdbool.h>
#include <stddef.h>

#define DIAGNOSE_SIZE 0.1
#define DIAGNOSE_FAR 0.7
#define DIAGNOSE_PLACE 0.0025
#define DIAGNOSE_SAME 0.02 // predictions no further apart than that are the same

enum diagnosis_verdict {
    DIAGNOSIS_HEALTHY,     // no more is slow than chance leaves outside intervals, and not by much
    DIAGNOSIS_NOISE,       // the same, but for noise
    DIAGNOSIS_EXPLAINED,   // explanations[0] is the likeliest
    DIAGNOSIS_UNEXPLAINED, // none explains it, explanations[0] comes nearest
    DIAGNOSIS_RANKS,       // none explains it, but some ranks are slow and the others agree
};
extern const char *const diagnosis_verdict_names[];

struct diagnosis {
    struct accuracy accuracy; // of a healthy cluster
    struct diagnosis_row *rows;
    size_t count, of[ROW_SKIPPED + 1]; // rows by verdict
    enum diagnosis_verdict verdict;
    struct slow_ranks slow_ranks;
    struct explanation *explanations; // those that explain the rows first, then by error; those
                                      // that predict the same stand together
    size_t explanation_count;
    size_t tried;         // causes and pairs
    bool nearest_is_near; // explanations[0] is at most half as far off as the healthy cluster
};

struct diagnose_def {
    const struct measured *measured;
    const struct engine *engine; // calibrated
    const struct row_overrides *overrides;
    struct accuracy_intervals intervals;
    void (*show)(void *context, size_t done, size_t total); // rows, from any thread; NULL: none
    void *context;
};

// `def->measured` must outlive the diagnosis.
void diagnose(struct diagnosis *diagnosis, const struct diagnose_def *def);
void diagnosis_release(struct diagnosis *diagnosis);

#endif
