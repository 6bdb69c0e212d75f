// How alike the choices of tokens are that follow one another at some distance: the lag curve.
#ifndef TRACES_LAGS_H
#define TRACES_LAGS_H

#include "traces/trace.h"

#define TRACE_LAGS 6
extern const uint32_t trace_lags[TRACE_LAGS]; // 1, 2, 4, 16, 64, 200

struct trace_lag_curve {
    uint32_t layer_id;
    // Experts that a token shares with the one `lag` before it in the file, mean over the tokens
    // that have one; NaN where none has.
    double common[TRACE_LAGS];
    // What independent tokens of the same loads would share: the sum of squared load a token.
    double independent;
};

// One curve a layer, [trace->layers], freed by the caller.
struct trace_lag_curve *trace_lag_curves(const struct trace *trace);

#endif
