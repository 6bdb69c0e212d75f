// The native trace: recorded routing for many layers and steps. A folder with trace.yaml,
// expert_ids.npy [token, MoE layer, k] (u8 or u16; 255 or 65535 = dropped choice, 255 only where
// experts < 255), optional weights.npy (f16 or f32, same shape) and optional steps.npy u32
// [token, 2] = step, source rank, in order of step, which begins at 0 and has no gaps.
//
// trace.yaml has any key of moe_fields (experts and topk at least), layer_ids (a list of
// model-layer ids, ascending), source and licence.
#ifndef TRACES_TRACE_H
#define TRACES_TRACE_H

#include "base/error.h"
#include "model/moe.h"
#include "model/routing.h"
#include "base/formats/npy.h"

struct trace {
    char *path;
    struct moe moe;         // as far as the manifest states it: experts, topk, groups, hidden, ...
    bool states_layers;     // the manifest says which layers of the model are MoE layers
    uint32_t layers;        // MoE layers recorded
    uint32_t *layer_ids;    // [layers], model-layer ids
    char *source, *licence; // "" when the manifest does not say
    uint64_t tokens;
    uint32_t first_step;            // of steps.npy; not 0 only in a part
    struct npy ids, weights, steps; // weights.data and steps.data NULL when absent
};

// Opens and checks the whole trace: shapes agree, every id is below experts or a dropped choice, no
// expert twice in a row (named: file, token, layer, ids), weights finite and not negative.
bool trace_open(struct trace *trace, const char *folder, struct error *err);
void trace_release(struct trace *trace);

// A trace from one share of it to another, 0 <= from < to <= 1: of its steps where it has
// steps.npy, else of its tokens; both ends are rounded down. A part is a trace of its own, whose
// steps begin at 0, but borrows everything: the trace must outlive it, and only the trace is
// released. Refuses a part without tokens.
bool trace_part(const struct trace *trace, double from, double to, struct trace *part,
                struct error *err);

// ids[topk] of a token in a recorded layer; ROUTING_DROPPED marks no expert.
void trace_row(const struct trace *trace, uint64_t token, uint32_t layer_index, uint16_t *ids);

// One step of one layer as routing for `ranks` ranks.
//
// Without steps.npy, `tokens_per_rank` tokens a rank: step = t / (T R), rank = (t / T) mod R; a
// trace shorter than one step wraps around, and the steps past the last whole one do not exist.
// trace_steps gives the notices of a wrap and of a dropped short step: call it once.
// trace_step_count gives none.
// With steps.npy, tokens_per_rank is 0 and counts are the trace's own; a source rank >= ranks is
// an error.
struct trace_view; // allocated; holds a pointer to the trace
uint64_t trace_steps(const struct trace *trace, uint32_t ranks, uint32_t tokens_per_rank);
uint64_t trace_step_count(const struct trace *trace, uint32_t ranks, uint32_t tokens_per_rank);
bool trace_view_new(const struct trace *trace, uint32_t layer_index, uint64_t step, uint32_t ranks,
                    uint32_t tokens_per_rank, struct trace_view **view, struct error *err);
void trace_view_free(struct trace_view *view);

// Steps from `first` up to `last` are not wanted soon: they leave memory, and come back from the
// file when they are read after all. So what goes through a trace step by step needs no more memory
// for a longer one. Any thread, at any time.
void trace_forget(const struct trace *trace, uint64_t first, uint64_t last, uint32_t ranks,
                  uint32_t tokens_per_rank);

// The view as the routing that model/ reads; valid while the view lives.
struct routing trace_routing(const struct trace_view *view);

// The recorded weights[topk] of a rank's token, in the order of its choices; only of a trace that
// has weights.npy.
void trace_view_weights(const struct trace_view *view, uint32_t rank, uint32_t token,
                        float *weights);

#endif
