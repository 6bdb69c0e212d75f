// The rows of a diagnosis by themselves, against a healthy cluster: study/diagnose.h.
#ifndef STUDY_DIAGNOSE_ROWS_H
#define STUDY_DIAGNOSE_ROWS_H

#include "study/accuracy.h"

#include <stdbool.h>

#define DIAGNOSE_MACHINE 0.1 // of a logarithm
#define DIAGNOSE_UNKNOWN 0.4 // half an interval where no rows stand behind a prediction
#define DIAGNOSE_APART 1.1   // ranks that differ by less are alike
#define DIAGNOSE_NOISE 2.0   // ranks, or repeats, whose times differ by more are noise

enum row_verdict {
    ROW_EXPECTED,
    ROW_SLOW,
    ROW_FAST,  // below its interval
    ROW_NOISE, // no cause is sought for it
    ROW_SKIPPED,
};
extern const char *const row_verdict_names[];

struct diagnosis_row {
    const struct accuracy_row *judged; // as a healthy cluster would have it
    enum row_verdict verdict;
    double half; // of its interval, of a logarithm
    struct interval interval_us;
    double spread; // slowest over fastest of its repeats, or its ranks but for those that stand out
                   // (study/slow_ranks.h); 1: nothing is known of them
};

// Judges every row of what was predicted for a healthy cluster: rows[accuracy->count].
void judge_diagnosis_rows(struct diagnosis_row *rows, const struct accuracy *accuracy,
                          const struct measured *measured);

// Whether causes are tried on it: not what was skipped, is noise, or runs on one GPU alone.
bool row_counts(const struct diagnosis_row *row);

// A prediction's distance from what was measured, of a logarithm; positive: it says less.
double row_distance(const struct diagnosis_row *row, double predicted_us);

// Whether its ranks differ enough to tell one apart.
bool row_tells_ranks(const struct diagnosis_row *row);

#endif
