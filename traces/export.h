// `epsim trace export`: a part of a trace as a trace.
#ifndef TRACES_EXPORT_H
#define TRACES_EXPORT_H

#include "traces/trace.h"

struct export_def {
    const char *folder;     // to write
    const uint32_t *layers; // indices of the trace's layers, ascending; NULL: all
    size_t layer_count;
    const uint32_t *steps; // ascending; NULL: all
    size_t step_count;
    uint32_t ranks, tokens; // what makes a step of a trace without steps.npy: both, or neither
    uint64_t first, end;    // tokens of the file; end 0: all from first
};

struct export_report {
    uint64_t tokens, steps; // steps 0: no steps.npy
    uint32_t layers;
};

// Writes the tokens that are in the steps and in the range, with their weights; steps are numbered
// anew. Refuses a layer, step or token that the trace has not, and nothing left.
bool trace_export(const struct trace *trace, const struct export_def *def,
                  struct export_report *report, struct error *err);

#endif
