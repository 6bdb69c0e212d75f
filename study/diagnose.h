// Diagnosis: is what was measured what a healthy cluster should give, and if not, which cause
// explains all rows together (study/causes.h)?
//
// A row is slower than predicted where it lies above its interval: that of the prediction
// (study/interval.h), widened by DIAGNOSE_MACHINE in quadrature, for presets rest on other machines
// than this one. Every cause is tried on every row. It explains the rows where three in four of the
// slow ones, and three in four of the others, come to lie within their intervals, widened once more
// by DIAGNOSE_SIZE for each cause, whose size is a round number, where it is at most half as
// far off as the healthy cluster, and where what is left is no more than rows scatter by
// (DIAGNOSE_SCATTER, and DIAGNOSE_LEFT of how slow they are, in quadrature). Those that explain
// them are ranked by the mean distance of slow rows from the prediction, in logarithms, each at
// most DIAGNOSE_FAR, and DIAGNOSE_PLACE more for each place in the table of causes, whose first are
// the likely ones. Pairs are tried only where no single cause explains the rows and they are slower
// than one of the usual halves makes them. Where no rate of NICs is among the likeliest, the rate
// of NICs, or NVLinks, that would do is a symptom (study/causes.h).
#ifndef STUDY_DIAGNOSE_H
#define STUDY_DIAGNOSE_H

#include "study/diagnosis.h"

extern const char *const diagnosis_verdict_names[];

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
