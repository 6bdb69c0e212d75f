// Engines and measured rows side by side: over a list of token counts, or a trace's steps against a
// real run of them.
#ifndef STUDY_COMPARE_H
#define STUDY_COMPARE_H

#include "scenario/scenario.h"
#include "study/deepep_unit.h"
#include "study/extrapolate.h"
#include "study/interval.h"
#include "study/rows/measured.h"

// One phase of one case with ranks aligned, as benchmarks time one kernel.
struct compared {
    uint32_t tokens; // a rank; of a trace whose ranks differ, the most
    uint32_t layer;  // as asked
    uint64_t step;
    enum phase phase;
    bool slowest; // of the slowest rank; otherwise the mean over ranks
    char dispatcher[FIELD_TEXT_BYTES];
    double simulate_us, estimate_us;
    bool has_unit; // users of the dispatcher count in `unit`
    struct deepep_unit unit;
    struct interval simulate_interval_us, estimate_interval_us; // NaN: none asked, or not known
    const struct measured_row *measured;                        // NULL: none for this very case
};

struct comparison {
    const struct fits *fits; // NULL: nothing is said of confidence
    double pct;              // of intervals; 0: none asked
    struct compared *rows;
    size_t count;
    struct extrapolation extrapolation; // of any case
    struct choice choice;               // of the dispatcher, where none was asked
};
void comparison_release(struct comparison *comparison);

// Where no dispatcher is asked, takes one for all the token counts: puts it into the definition and
// why into the comparison.
bool compare_choose(struct scenario_def *def, const uint32_t *tokens, size_t count,
                    struct comparison *comparison, struct error *err);

// Asks it at `tokens` per rank; both engines read the same counted loads. `measured` may
// be NULL; a row belongs when cluster (by name, or written as asked), dispatcher, shape, SMs,
// tokens, top-k, experts, hidden, layout, dtype, phase and statistic agree, and both or neither
// replayed a trace (the group limit of its routing is not compared). Adds two rows: means of
// dispatch, combine.
bool compare_tokens(const struct scenario_def *def, uint32_t tokens,
                    const struct measured *measured, struct comparison *comparison,
                    struct error *err);

// Layers and steps of a trace as asked, ascending; a count of zero: not asked.
struct compare_places {
    const uint32_t *layers, *steps;
    size_t layer_count, step_count;
};

// Asks it of a trace at every layer and step asked. Where either is not asked, it
// is those at which measured rows of the case were taken, or the first where there are none. A row
// belongs as above, and its layer and step agree; which trace it replayed, it does not say. Adds,
// layer by layer and step by step, under one dispatcher (the comparison's choice, where none is
// asked), every phase's mean and slowest rank that was measured there, or
// all of them where none was. Refuses a row that belongs but for a place that the trace lacks.
bool compare_steps(const struct scenario_def *def, const struct compare_places *places,
                   const struct measured *measured, struct comparison *comparison,
                   struct error *err);

#endif
