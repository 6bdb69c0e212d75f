// What a diagnosis finds, and by which bounds: study/diagnose.h.
#ifndef STUDY_DIAGNOSIS_H
#define STUDY_DIAGNOSIS_H

#include "study/accuracy.h"
#include "study/diagnose_rows.h"
#include "study/explanation.h"
#include "study/slow_ranks.h"

#include <stdbool.h>
#include <stddef.h>

#define DIAGNOSE_SIZE 0.1
#define DIAGNOSE_FAR 0.7
#define DIAGNOSE_SCATTER 0.06
#define DIAGNOSE_LEFT 0.05
#define DIAGNOSE_SLIGHT 1.2   // no cause is sought for rows that are slower by less, on average
#define DIAGNOSE_PAIRS 2.0    // pairs are tried where they are slower by more
#define DIAGNOSE_AS_WELL 0.03 // further off by no more than that, a symptom would do as well
#define DIAGNOSE_PLACE 0.0025
#define DIAGNOSE_SAME 0.02 // predictions no further apart than that are the same

enum diagnosis_verdict {
    DIAGNOSIS_HEALTHY,     // no more is slow than chance leaves outside intervals, and not by much
    DIAGNOSIS_NOISE,       // the same, but for noise
    DIAGNOSIS_EXPLAINED,   // explanations[0] is the likeliest
    DIAGNOSIS_UNEXPLAINED, // none explains it, explanations[0] comes nearest
    DIAGNOSIS_RANKS,       // none explains it, but some ranks are slow and the others agree
};

struct diagnosis {
    struct accuracy accuracy; // of a healthy cluster
    struct diagnosis_row *rows;
    size_t count, of[ROW_SKIPPED + 1]; // rows by verdict
    enum diagnosis_verdict verdict;
    struct slow_ranks slow_ranks;
    struct explanation *explanations; // those that explain the rows first, then by error; those
                                      // that predict the same stand together
    size_t explanation_count;
    struct {
        struct cause cause; // size: share of the rate; 0: none would do
        double error;       // mean distance of slow rows
    } symptoms[SYMPTOMS];   // that would do as well as explanations[0], or where none explains it
    double slower;          // of slow rows that count, geometric mean; 1: none
    size_t tried;           // causes and pairs
    bool nearest_is_near;   // explanations[0] is at most half as far off as the healthy cluster
};

#endif
