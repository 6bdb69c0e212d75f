// A measured row as a question: what its columns say of shape, traffic and phase, and what an
// engine answers.
#ifndef STUDY_ROW_H
#define STUDY_ROW_H

#include "model/measured.h"
#include "model/question.h"

enum engine { ENGINE_SIMULATE, ENGINE_ESTIMATE, ENGINE_NAIVE, ENGINE_COUNT };
extern const char *const engine_names[];

// What stands in for columns that a measurements CSV does not have.
struct row_terms {
    const char *cluster; // instead of the row's cluster, in the row's shape; NULL: the row's
    const char *traffic; // matrix of rows that were measured with one; NULL: none is known
    const char *model;   // whose groups, widths and shared experts the row ran with; NULL: none are
                         // known, and rows that need them are refused
    uint64_t seed;       // of drawn routing
    char held_out[64];   // flag that a fit to other rows than these was made with; "": unknown
};

// Resolves the row: its moe from its own columns (topk_groups blank: no group limit, else rule
// deepep; trtllm-*: balanced), EP = nodes x gpus_per_node, whatever the cluster preset's size,
// ranks aligned. With a model, the row's experts, top-k and hidden must be the model's; routing
// `router` is then drawn by rule v3. Phases that a row says all of (a byte exchange, rmsnorm, an
// expert whose width it has) need no model. Refuses rows that no engine predicts
// (measured_predictable), rows that name no cluster where terms do not either, rows of another GPU
// than the cluster's, and a matrix in which no rank has as much as the row says.
// simulate gets counted loads, the others expected ones. Released by setting_release.
bool row_resolve(struct setting *setting, const struct measured_row *row, enum engine engine,
                 const struct row_terms *terms, struct error *err);

// What an engine says of a row.
struct row_answer {
    double us;           // the row's own figure
    char bottleneck[96]; // of its phase
};

// What the engine says of the row's own figure: the phase's, or its stage's where the row names
// one, mean over ranks, or its slowest rank where the row's stat says so. Only the row's phase is
// left in the schedule.
struct row_answer row_ask(struct setting *setting, const struct measured_row *row,
                          enum engine engine);

// The figure alone, microseconds.
double row_predict(struct setting *setting, const struct measured_row *row, enum engine engine);

#endif
