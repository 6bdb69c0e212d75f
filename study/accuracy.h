// Accuracy: what an engine predicts against what was measured, row by row and by group.
#ifndef STUDY_ACCURACY_H
#define STUDY_ACCURACY_H

#include "study/constants.h"
#include "study/deepep_unit.h"
#include "study/group.h"
#include "study/interval.h"
#include "study/row.h"
#include "study/rows/measured.h"

#include <stdbool.h>
#include <stdint.h>

struct accuracy_row {
    const struct measured_row *measured;
    bool skipped;
    char why[512]; // of a skipped row
    double predicted_us, error_pct;
    char bottleneck[96];    // of the predicted phase, as the engine names it
    struct support support; // of this row by itself
    bool has_unit;          // users of its dispatcher count in `unit`
    struct deepep_unit unit;
    struct interval interval_us; // NaN: none asked, or no rows stand behind the prediction
};

// What intervals are asked for, of 100 measurements so many.
struct accuracy_intervals {
    const struct fits *fits;
    double pct;
};

// Rows that agree in the columns of a grouping.
struct accuracy_group {
    const struct measured_row *first; // names the group
    size_t count;
    double median_abs_pct, p90_abs_pct, worst_abs_pct, bias_pct;
    struct support support;
    double inside_pct; // of rows with an interval, those measured inside it; NaN: none has
};

struct accuracy {
    const struct engine *engine;
    struct accuracy_row *rows; // [measured->count], in file order
    size_t count, skipped;
    struct accuracy_group *groups; // in order of first appearance; none before accuracy_group
    size_t group_count;
    double median_abs_pct, p90_abs_pct; // NaN when every row was skipped
    struct constants constants;         // what its predictions rest on; of an engine that is not
                                        // calibrated, nothing
    double inside_pct;                  // as of a group
};

// Predicts every row in isolation (row_open, row_predict) from physical parameters alone. A row
// whose cluster or dispatcher has no preset is skipped and says so; nothing is substituted. Rows
// run on all OpenMP threads.
//
// latency_us of a published row is the mean over ranks under uniform routing, so the mean is
// compared. estimate reads expected loads, simulate counts drawn ones (seed). `asked`: NULL where
// no intervals are; single stages, compute kernels and engines that are
// not calibrated have none.
// `measured` must outlive the accuracy.
void accuracy_judge(struct accuracy *accuracy, const struct measured *measured,
                    const struct engine *engine, const struct row_overrides *overrides,
                    const struct accuracy_intervals *asked);

// Sums up by groups, instead of any before.
void accuracy_group(struct accuracy *accuracy, const struct grouping *grouping);

// Indices into rows of the `max` predicted rows that are furthest off, the furthest first and
// equal ones in file order. Freed by the caller; *count is how many there are.
size_t *accuracy_worst(const struct accuracy *accuracy, size_t max, size_t *count);

void accuracy_release(struct accuracy *accuracy);

#endif
