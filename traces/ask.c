#include "traces/ask.h"

#include "model/engine/check.h"

uint32_t ask_tokens(const struct trace *trace, uint32_t ranks)
{
    const uint64_t held = trace->tokens / ranks;
    return held > QUESTION_TOKENS ? QUESTION_TOKENS : held ? (uint32_t)held : 1;
}

bool ask_check_layer(const struct trace *trace, uint32_t layer, struct error *err)
{
    return layer < trace->layers ||
           error_set(err, EXIT_INPUT, "--layer: %u: expected 0 to %u, the trace's layers", layer,
                     trace->layers - 1);
}

bool ask_check_tokens(const struct trace *trace, uint32_t tokens, struct error *err)
{
    return !tokens || !trace->steps.data ||
           error_set(err, EXIT_INPUT, "--tokens: the trace has steps.npy, which says them");
}

static uint32_t tokens_of(const struct question *question, const struct trace *trace,
                          uint32_t ranks)
{
    return question->tokens ? question->tokens : ask_tokens(trace, ranks);
}

static bool check_place(const struct answerable *answerable, const struct question *question,
                        struct error *err)
{
    const struct trace *trace = &answerable->trace;
    if (!ask_check_layer(trace, question->layer, err) ||
        !ask_check_tokens(trace, question->tokens, err))
        return false;
    if (question->step >= answerable->steps)
        return error_set(err, EXIT_INPUT, "--step: %llu: expected 0 to %llu, the trace's steps",
                         (unsigned long long)question->step,
                         (unsigned long long)answerable->steps - 1);
    return true;
}

// The step as routing. With more tokens on some ranks than on others, the most is what counts.
static bool open_view(struct answerable *answerable, const struct question *question,
                      uint32_t ranks, uint32_t *most, struct error *err)
{
    const struct trace *trace = &answerable->trace;
    if (!check_place(answerable, question, err) ||
        !trace_view_new(trace, question->layer, question->step, ranks,
                        tokens_of(question, trace, ranks), &answerable->view, err))
        return false;
    const struct routing routing = trace_routing(answerable->view);
    *most = routing_most_tokens(&routing);
    *most = *most ? *most : 1;
    return true;
}

static void use_view(struct answerable *answerable)
{
    const struct routing routing = trace_routing(answerable->view);
    setting_use_routing(&answerable->setting, &routing);
}

// Ranks by --ep or the cluster, then the step's tokens, then all that depends on them. `steps`: as
// another has counted them; 0: not yet.
static bool resolve(struct answerable *answerable, const struct question *question, uint64_t steps,
                    struct error *err)
{
    struct question sized = *question;
    struct cluster cluster;
    const struct trace *trace = &answerable->trace;
    if (!cluster_load(question->cluster, &cluster, NULL, err))
        return error_prefix(err, "--cluster");
    const uint32_t ranks = question->ep ? question->ep : cluster_ranks(&cluster);
    sized.routing = ROUTING_TRACE;
    answerable->steps =
        steps ? steps : trace_steps(trace, ranks, tokens_of(question, trace, ranks));
    if (!open_view(answerable, question, ranks, &sized.tokens, err))
        return false;
    sized.layout_layer = (int)trace->layer_ids[question->layer];
    answerable->layer = question->layer;
    if (!setting_resolve(&answerable->setting, &sized, &trace->moe, err))
        return false;
    use_view(answerable);
    return true;
}

static bool ask_trace(struct answerable *answerable, const struct question *question,
                      struct error *err)
{
    if (!trace_open(&answerable->trace, question->trace, err))
        return error_prefix(err, "--trace");
    return resolve(answerable, question, 0, err);
}

bool ask_resolve(struct answerable *answerable, const struct question *question, struct error *err)
{
    *answerable = (struct answerable){0};
    const bool ok = question->trace[0] ? ask_trace(answerable, question, err)
                                       : setting_resolve(&answerable->setting, question, NULL, err);
    if (!ok)
        ask_release(answerable);
    return ok;
}

bool ask_beside(struct answerable *answerable, const struct answerable *owner,
                const struct question *question, struct error *err)
{
    *answerable = (struct answerable){.trace = owner->trace, .borrowed = true};
    const bool quiet = notice_quiet(true);
    const bool ok = resolve(answerable, question, owner->steps, err);
    notice_quiet(quiet);
    if (!ok)
        ask_release(answerable);
    return ok;
}

bool ask_place(struct answerable *answerable, const struct question *question, struct error *err)
{
    uint32_t most;
    trace_view_free(answerable->view);
    answerable->view = NULL;
    if (!open_view(answerable, question, answerable->setting.routing.ranks, &most, err) ||
        !setting_set_tokens(&answerable->setting, question, most, err))
        return false;
    if (question->layer != answerable->layer &&
        !setting_set_layout(&answerable->setting, question,
                            (int)answerable->trace.layer_ids[question->layer], err))
        return false;
    answerable->layer = question->layer;
    use_view(answerable);
    return true;
}

void ask_forget(const struct answerable *answerable, const struct question *question,
                uint64_t first, uint64_t last)
{
    const struct trace *trace = &answerable->trace;
    const uint32_t ranks = answerable->setting.routing.ranks;
    trace_forget(trace, first, last, ranks, tokens_of(question, trace, ranks));
}

bool ask(struct answerable *answerable, const struct question *question, enum loads_kind prefer,
         struct error *err)
{
    const enum loads_kind kind = question->loads == LOADS_AUTO ? prefer : question->loads;
    if (!ask_resolve(answerable, question, err))
        return false;
    setting_load(&answerable->setting, question->trace[0] ? LOADS_COUNTED : kind);
    if (schedule_check(&answerable->setting.schedule, err))
        return true;
    ask_release(answerable);
    return false;
}

void ask_release(struct answerable *answerable)
{
    setting_release(&answerable->setting);
    trace_view_free(answerable->view);
    if (answerable->trace.path && !answerable->borrowed)
        trace_release(&answerable->trace);
    *answerable = (struct answerable){0};
}
