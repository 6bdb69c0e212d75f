// A measured row as a scenario: what its columns say of shape, traffic and phase, and what an
// engine predicts for it.
#ifndef STUDY_ROW_H
#define STUDY_ROW_H

#include "model/measured_row.h"
#include "scenario/scenario.h"
#include "study/engines.h"
#include "study/row_presets.h"

// What stands in for columns that a measurements CSV does not have.
struct row_overrides {
    const char *cluster; // instead of the row's cluster, in the row's shape; NULL: the row's
    const char *traffic; // matrix of rows that were measured with one; NULL: none is known
    const char *trace;   // folder of the routing that rows ran under; NULL: none is known
    const char *slow;    // slow parts of rows that ran beside another job; NULL: not known
    const char *model;   // whose groups, widths and shared experts the row ran with; NULL: those of
                         // the row's own model; where it names none, rows that need one are refused
    uint64_t seed;       // of drawn routing
    const struct row_presets *presets; // of rows of kernels, loaded once; NULL: each loads its own
    char held_out[64]; // flag that a fit to other rows than these was made with; "": unknown
};

// A row of a compute kernel: its cluster and kernels alone, and every engine predicts the same.
// Otherwise: opens the row as a scenario of its phase alone, or of the whole layer but for what it
// ran without: its moe from its own columns (topk_groups blank: no group limit, else rule deepep;
// trtllm-*: balanced), EP = nodes x gpus_per_node, whatever the cluster preset's size, ranks
// aligned; through a layer each goes on by itself. With a model, the row's experts, top-k and
// hidden must be the model's; routing `router` is then drawn by rule v3. Phases that a row says all
// of (a byte exchange, rmsnorm, an expert whose width it has) need no model. Refuses rows that no
// engine predicts (measured_predictable), rows that name no cluster where the overrides do not
// either, rows of a trace without one, disturbed rows without slow parts, rows of another GPU than
// the cluster's, and a matrix in which no rank has as much as the row says. Its loads are those
// that the engine reads. Released by scenario_release.
bool row_open(struct scenario *scenario, const struct measured_row *row,
              const struct engine *engine, const struct row_overrides *overrides,
              struct error *err);

// What an engine says of a row.
struct prediction {
    double us;           // the row's own figure
    char bottleneck[96]; // of its phase, as the engine names it
};

// What the engine says of the row's own figure: the phase's, its stage's where the row names one,
// or the layer's; mean over ranks, or the slowest rank where the row's stat says so. A layer's
// bottleneck is that of its longest phase.
struct prediction row_predict(struct scenario *scenario, const struct measured_row *row,
                              const struct engine *engine);

// The same, and each rank's own time, rank_us[ranks of the scenario]; NaN where the row is of a
// stage or a whole layer. Not for rows of kernels.
struct prediction row_predict_ranks(struct scenario *scenario, const struct measured_row *row,
                                    const struct engine *engine, double *rank_us);

#endif
