#include "traces/lags.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

const uint32_t trace_lags[TRACE_LAGS] = {1, 2, 4, 16, 64, 200};

// The rows of a layer that the longest lag reaches back to, a ring.
#define RING 256

struct walk {
    uint16_t ids[RING][MOE_MAX_TOPK];
    uint64_t last[MOE_MAX_EXPERTS]; // token, from 1, that each expert was last chosen by
    uint64_t load[MOE_MAX_EXPERTS];
    uint64_t common[TRACE_LAGS];
};

// A stamp for each expert of the token in hand tells which of an earlier token's are among them.
static void take_token(struct walk *walk, const struct trace *trace, uint64_t token)
{
    const uint32_t topk = trace->moe.topk;
    const uint16_t *own = walk->ids[token % RING];
    for (uint32_t k = 0; k < topk; k++)
        if (own[k] != ROUTING_DROPPED) {
            walk->last[own[k]] = token + 1;
            walk->load[own[k]]++;
        }
    for (uint32_t i = 0; i < TRACE_LAGS && trace_lags[i] <= token; i++) {
        const uint16_t *before = walk->ids[(token - trace_lags[i]) % RING];
        for (uint32_t k = 0; k < topk; k++)
            walk->common[i] += before[k] != ROUTING_DROPPED && walk->last[before[k]] == token + 1;
    }
}

static struct trace_lag_curve make_curve(const struct trace *trace, uint32_t layer)
{
    struct walk *walk = mem_alloc(1, sizeof *walk);
    struct trace_lag_curve curve = {.layer_id = trace->layer_ids[layer]};
    for (uint64_t t = 0; t < trace->tokens; t++) {
        trace_row(trace, t, layer, walk->ids[t % RING]);
        take_token(walk, trace, t);
    }
    for (uint32_t i = 0; i < TRACE_LAGS; i++)
        curve.common[i] = trace->tokens > trace_lags[i]
                              ? (double)walk->common[i] / (double)(trace->tokens - trace_lags[i])
                              : (double)NAN;
    for (uint32_t e = 0; e < trace->moe.experts; e++) {
        const double share = (double)walk->load[e] / (double)trace->tokens;
        curve.independent += share * share;
    }
    free(walk);
    return curve;
}

struct trace_lag_curve *trace_lag_curves(const struct trace *trace)
{
    struct trace_lag_curve *curves = mem_alloc(trace->layers, sizeof *curves);
    // A layer is one task and writes its own entry, so the result does not depend on the threads.
#pragma omp parallel for schedule(dynamic)
    for (uint32_t l = 0; l < trace->layers; l++)
        curves[l] = make_curve(trace, l);
    return curves;
}
