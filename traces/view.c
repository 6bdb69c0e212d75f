// Parts of a trace, and its steps as routing.
#include "traces/trace.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

struct trace_view {
    const struct trace *trace;
    uint32_t layer_index;
    uint32_t ranks;
    uint32_t tokens_per_rank; // 0: the trace has its own steps
    uint64_t first;           // token of the step
    uint32_t *tokens;         // [ranks]
    uint64_t *rank_first;     // [ranks + 1] into order; own steps only
    uint32_t *order;          // tokens of the step by rank, counted from first; own steps only
};

static uint32_t token_step(const struct trace *trace, uint64_t token)
{
    return (uint32_t)npy_int(&trace->steps, 2 * token) - trace->first_step;
}

static uint32_t token_rank(const struct trace *trace, uint64_t token)
{
    return (uint32_t)npy_int(&trace->steps, 2 * token + 1);
}

static uint64_t step_tokens(uint32_t ranks, uint32_t tokens_per_rank)
{
    return (uint64_t)ranks * tokens_per_rank;
}

uint64_t trace_step_count(const struct trace *trace, uint32_t ranks, uint32_t tokens_per_rank)
{
    const uint64_t per_step = step_tokens(ranks, tokens_per_rank);
    if (trace->steps.data)
        return (uint64_t)token_step(trace, trace->tokens - 1) + 1;
    if (per_step == 0)
        return 0;
    const uint64_t whole = trace->tokens / per_step;
    return whole > 0 ? whole : 1;
}

uint64_t trace_steps(const struct trace *trace, uint32_t ranks, uint32_t tokens_per_rank)
{
    const uint64_t per_step = step_tokens(ranks, tokens_per_rank);
    const uint64_t steps = trace_step_count(trace, ranks, tokens_per_rank);
    if (trace->steps.data || per_step == 0)
        return steps;
    if (trace->tokens < per_step)
        notice("%s: %" PRIu64 " tokens, fewer than one step of %" PRIu64 ": the trace wraps around",
               trace->path, trace->tokens, per_step);
    else if (trace->tokens % per_step)
        notice("%s: the last %" PRIu64 " tokens are no whole step of %" PRIu64 ": dropped",
               trace->path, trace->tokens % per_step, per_step);
    return steps;
}

// First token whose step is not below `step`.
static uint64_t find_step(const struct trace *trace, uint64_t step)
{
    uint64_t low = 0, high = trace->tokens;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (token_step(trace, middle) < step)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// The same array from one row to another.
static void cut_rows(struct npy *npy, uint64_t first, uint64_t end)
{
    if (!npy->data)
        return;
    const size_t row = npy_count(npy) / npy->shape[0] * npy_types[npy->type].bytes;
    npy->data = (const char *)npy->data + first * row;
    npy->shape[0] = end - first;
}

bool trace_part(const struct trace *trace, double from, double to, struct trace *part,
                struct error *err)
{
    assert(0 <= from && from < to && to <= 1);
    uint64_t first = (uint64_t)(from * (double)trace->tokens);
    uint64_t end = (uint64_t)(to * (double)trace->tokens);
    *part = *trace;
    if (trace->steps.data) {
        const double steps = (double)trace_step_count(trace, 0, 0);
        part->first_step = trace->first_step + (uint32_t)(from * steps);
        first = find_step(trace, (uint64_t)(from * steps));
        end = find_step(trace, (uint64_t)(to * steps));
    }
    if (first == end)
        return error_set(err, EXIT_INPUT, "%s: no token from share %g to %g of %" PRIu64 " %s",
                         trace->path, from, to,
                         trace->steps.data ? trace_step_count(trace, 0, 0) : trace->tokens,
                         trace->steps.data ? "steps" : "tokens");
    part->tokens = end - first;
    cut_rows(&part->ids, first, end);
    cut_rows(&part->weights, first, end);
    cut_rows(&part->steps, first, end);
    return true;
}

// Sorts the step's tokens by source rank, by counting.
static bool sort_by_rank(struct trace_view *view, uint64_t count, struct error *err)
{
    const struct trace *trace = view->trace;
    if (count > UINT32_MAX)
        return error_set(err, EXIT_INPUT, "%s: a step of more than 2^32 tokens", trace->path);
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t rank = token_rank(trace, view->first + i);
        if (rank >= view->ranks)
            return error_set(err, EXIT_INPUT,
                             "%s: token %" PRIu64 ": source rank %" PRIu32 "; expected below "
                             "%" PRIu32,
                             trace->steps.path, view->first + i, rank, view->ranks);
        view->tokens[rank]++;
    }
    view->rank_first = mem_alloc((size_t)view->ranks + 1, sizeof *view->rank_first);
    view->order = mem_alloc(count, sizeof *view->order);
    for (uint32_t rank = 0; rank < view->ranks; rank++)
        view->rank_first[rank + 1] = view->rank_first[rank] + view->tokens[rank];
    uint64_t *next = mem_copy(view->rank_first, view->ranks * sizeof *next);
    for (uint64_t i = 0; i < count; i++)
        view->order[next[token_rank(trace, view->first + i)]++] = (uint32_t)i;
    free(next);
    return true;
}

static bool fill_view(struct trace_view *view, uint64_t step, struct error *err)
{
    const struct trace *trace = view->trace;
    view->tokens = mem_alloc(view->ranks, sizeof *view->tokens);
    if (trace->steps.data) {
        view->first = find_step(trace, step);
        return sort_by_rank(view, find_step(trace, step + 1) - view->first, err);
    }
    view->first = step * step_tokens(view->ranks, view->tokens_per_rank);
    for (uint32_t rank = 0; rank < view->ranks; rank++)
        view->tokens[rank] = view->tokens_per_rank;
    return true;
}

bool trace_view_new(const struct trace *trace, uint32_t layer_index, uint64_t step, uint32_t ranks,
                    uint32_t tokens_per_rank, struct trace_view **view, struct error *err)
{
    const uint64_t steps = trace_step_count(trace, ranks, tokens_per_rank);
    *view = NULL;
    if (layer_index >= trace->layers)
        return error_set(err, EXIT_INPUT,
                         "%s: layer %" PRIu32 ": the trace has layers 0 to %" PRIu32, trace->path,
                         layer_index, trace->layers - 1);
    if (ranks == 0 || steps == 0)
        return error_set(err, EXIT_INPUT, "%s: expected at least one rank and one token a rank",
                         trace->path);
    if (step >= steps)
        return error_set(err, EXIT_INPUT, "%s: step %" PRIu64 ": the trace has steps 0 to %" PRIu64,
                         trace->path, step, steps - 1);
    struct trace_view *made = mem_alloc(1, sizeof *made);
    *made = (struct trace_view){.trace = trace,
                                .layer_index = layer_index,
                                .ranks = ranks,
                                .tokens_per_rank = trace->steps.data ? 0 : tokens_per_rank};
    if (!fill_view(made, step, err)) {
        trace_view_free(made);
        return false;
    }
    *view = made;
    return true;
}

// The first token of a step; past the last one, where the last ends.
static uint64_t step_first(const struct trace *trace, uint64_t step, uint64_t per_step)
{
    if (trace->steps.data)
        return find_step(trace, step);
    return step > trace->tokens / per_step ? trace->tokens : step * per_step;
}

void trace_forget(const struct trace *trace, uint64_t first, uint64_t last, uint32_t ranks,
                  uint32_t tokens_per_rank)
{
    const uint64_t per_step = step_tokens(ranks, tokens_per_rank);
    const uint64_t per_token = (uint64_t)trace->layers * trace->moe.topk;
    const uint64_t from = step_first(trace, first, per_step);
    const uint64_t to = step_first(trace, last, per_step);
    npy_forget(&trace->ids, from * per_token, to * per_token);
    if (trace->steps.data)
        npy_forget(&trace->steps, 2 * from, 2 * to);
}

void trace_view_free(struct trace_view *view)
{
    if (!view)
        return;
    free(view->tokens);
    free(view->rank_first);
    free(view->order);
    free(view);
}

// Which token of the trace a rank's token of the step is.
static uint64_t view_token(const struct trace_view *view, uint32_t rank, uint32_t token)
{
    assert(rank < view->ranks && token < view->tokens[rank]);
    uint64_t at = view->first;
    if (view->order)
        at += view->order[view->rank_first[rank] + token];
    else
        at += step_tokens(rank, view->tokens_per_rank) + token;
    return at % view->trace->tokens;
}

static void view_row(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    const struct trace_view *view = context;
    trace_row(view->trace, view_token(view, rank, token), view->layer_index, ids);
}

void trace_view_weights(const struct trace_view *view, uint32_t rank, uint32_t token,
                        float *weights)
{
    const struct trace *trace = view->trace;
    const uint32_t topk = trace->moe.topk;
    const uint64_t row = view_token(view, rank, token) * trace->layers + view->layer_index;
    assert(trace->weights.data != NULL);
    for (uint32_t k = 0; k < topk; k++)
        weights[k] = (float)npy_real(&trace->weights, row * topk + k);
}

struct routing trace_routing(const struct trace_view *view)
{
    const struct moe *moe = &view->trace->moe;
    return (struct routing){.rule = ROUTING_TRACE,
                            .experts = moe->experts,
                            .topk = moe->topk,
                            .groups = moe->groups,
                            .topk_groups = moe->topk_groups,
                            .ranks = view->ranks,
                            .layer = view->trace->layer_ids[view->layer_index],
                            .tokens = view->tokens,
                            .row = view_row,
                            .context = view};
}
