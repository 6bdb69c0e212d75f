#include "traces/ask.h"

#include "model/check.h"

static uint32_t tokens_of(const struct question *question, const struct trace *trace,
                          uint32_t ranks)
{
    const uint64_t held = trace->tokens / ranks;
    if (question->tokens)
        return question->tokens;
    return held > QUESTION_TOKENS ? QUESTION_TOKENS : held ? (uint32_t)held : 1;
}

static bool check_place(const struct answerable *answerable, const struct question *question,
                        struct error *err)
{
    const struct trace *trace = &answerable->trace;
    if (question->layer >= trace->layers)
        return error_set(err, EXIT_INPUT, "--layer: %u: expected 0 to %u, the trace's layers",
                         question->layer, trace->layers - 1);
    if (question->tokens && trace->steps.data)
        return error_set(err, EXIT_INPUT, "--tokens: the trace has steps.npy, which says them");
    if (question->step >= answerable->steps)
        return error_set(err, EXIT_INPUT, "--step: %llu: expected 0 to %llu, the trace's steps",
                         (unsigned long long)question->step,
                         (unsigned long long)answerable->steps - 1);
    return true;
}

// Ranks by --ep or the cluster, then the step's tokens, then all that depends on them: with more on
// some ranks than on others, the most decides the default dispatcher.
static bool resolve(struct answerable *answerable, const struct question *question,
                    struct error *err)
{
    struct question sized = *question;
    struct cluster cluster;
    const struct trace *trace = &answerable->trace;
    if (!cluster_load(question->cluster, &cluster, NULL, err))
        return error_prefix(err, "--cluster");
    const uint32_t ranks = question->ep ? question->ep : cluster_ranks(&cluster);
    sized.routing = ROUTING_TRACE;
    sized.tokens = tokens_of(question, trace, ranks);
    answerable->steps = trace_steps(trace, ranks, sized.tokens);
    if (!check_place(answerable, question, err) ||
        !trace_view_new(trace, question->layer, question->step, ranks, sized.tokens,
                        &answerable->view, err))
        return false;
    sized.layout_layer = (int)trace->layer_ids[question->layer];
    const struct routing routing = trace_routing(answerable->view);
    const uint32_t most = routing_most_tokens(&routing);
    sized.tokens = most ? most : 1;
    if (!setting_resolve(&answerable->setting, &sized, &trace->moe, err))
        return false;
    setting_use_routing(&answerable->setting, &routing);
    return true;
}

static bool ask_trace(struct answerable *answerable, const struct question *question,
                      struct error *err)
{
    if (!trace_open(&answerable->trace, question->trace, err))
        return error_prefix(err, "--trace");
    return resolve(answerable, question, err);
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

bool ask_place(struct answerable *answerable, const struct question *question, struct error *err)
{
    const bool quiet = notice_quiet(true);
    setting_release(&answerable->setting);
    trace_view_free(answerable->view);
    answerable->view = NULL;
    const bool ok = resolve(answerable, question, err);
    notice_quiet(quiet);
    if (!ok)
        ask_release(answerable);
    return ok;
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
    if (answerable->view)
        trace_view_free(answerable->view);
    if (answerable->trace.path)
        trace_release(&answerable->trace);
    *answerable = (struct answerable){0};
}
