// One or two causes together, as what explains rows that are slow: study/diagnose.h.
#ifndef STUDY_EXPLANATION_H
#define STUDY_EXPLANATION_H

#include "study/causes.h"
#include "study/diagnose_rows.h"

// One or two causes, and what they make of the rows.
struct explanation {
    const struct cause *causes[2];
    size_t count;
    uint32_t rank;        // that a cause is about; CAUSE_NO_RANK: none is
    double *predicted_us; // [rows]
    double *ranks_off;    // [rows] mean distance of what its ranks measured; NaN: they tell nothing
    double error;         // mean distance of slow rows, of a logarithm
    double near_share;    // of slow rows, those within their intervals
    bool explains;
    size_t place;   // cause_place; of two, the sum
    size_t same_as; // first of those that predict the same, by index: its own, or one before
    char *texts[2]; // of each cause
    char *changes;  // keys and flags, on the first slow row that it changes
};

// Room for what it makes of so many rows. Released by explanation_release.
void explanation_init(struct explanation *explanation, size_t rows);
void explanation_release(struct explanation *explanation);

// What it makes of the row of that index, whose healthy scenario that is; NULL: the row has none,
// and stays as predicted. From any thread, another row in each.
void explanation_try(struct explanation *explanation, size_t index, const struct diagnosis_row *row,
                     struct scenario *healthy, const struct engine *engine);

// Its texts and changes, by a scenario that can have it; false: this one cannot.
bool explanation_describe(struct explanation *explanation, const struct scenario *healthy);

#endif
