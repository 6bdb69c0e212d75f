#include "traces/ask.h"

static uint32_t tokens_of(const struct question *question, const struct trace *trace,
                          uint32_t ranks)
{
    const uint64_t held = trace->tokens / ranks;
    if (question->tokens || trace->steps.data)
        return question->tokens;
    return held > QUESTION_TOKENS ? QUESTION_TOKENS : held ? (uint32_t)held : 1;
}

// The model's shape with the trace's groups, ranks by --ep: everything but the routing itself.
static bool resolve(struct answerable *answerable, const struct question *question,
                    struct error *err)
{
    struct question sized = *question;
    struct cluster cluster;
    if (!cluster_load(question->cluster, &cluster, NULL, err))
        return error_prefix(err, "--cluster");
    sized.routing = ROUTING_TRACE;
    sized.tokens = tokens_of(question, &answerable->trace,
                             question->ep ? question->ep : cluster_ranks(&cluster));
    return setting_resolve(&answerable->setting, &sized, &answerable->trace.moe, err);
}

static bool take_step(struct answerable *answerable, const struct question *question,
                      struct error *err)
{
    struct setting *setting = &answerable->setting;
    const struct trace *trace = &answerable->trace;
    const uint32_t ranks = cluster_ranks(&setting->cluster);
    const uint32_t tokens = setting->tokens[0];
    if (question->layer >= trace->layers)
        return error_set(err, EXIT_INPUT, "--layer: %u: expected 0 to %u, the trace's layers",
                         question->layer, trace->layers - 1);
    answerable->steps = trace_steps(trace, ranks, tokens);
    if (question->step >= answerable->steps)
        return error_set(err, EXIT_INPUT,
                         "--step: %llu: expected 0 to %llu: the trace has %llu steps of %u tokens "
                         "on each of %u ranks",
                         (unsigned long long)question->step,
                         (unsigned long long)answerable->steps - 1,
                         (unsigned long long)answerable->steps, tokens, ranks);
    if (!trace_view_new(trace, question->layer, question->step, ranks, tokens, &answerable->view,
                        err))
        return false;
    const struct routing routing = trace_routing(answerable->view);
    setting_use_routing(setting, &routing);
    return true;
}

static bool ask_trace(struct answerable *answerable, const struct question *question,
                      struct error *err)
{
    if (!trace_open(&answerable->trace, question->trace, err))
        return error_prefix(err, "--trace");
    if (!resolve(answerable, question, err))
        return false;
    return take_step(answerable, question, err);
}

bool ask(struct answerable *answerable, const struct question *question, enum loads_kind prefer,
         struct error *err)
{
    *answerable = (struct answerable){0};
    const bool traced = question->trace[0] != '\0';
    const enum loads_kind kind = question->loads == LOADS_AUTO ? prefer : question->loads;
    const bool ok = traced ? ask_trace(answerable, question, err)
                           : setting_resolve(&answerable->setting, question, NULL, err);
    if (!ok) {
        ask_release(answerable);
        return false;
    }
    setting_load(&answerable->setting, traced ? LOADS_COUNTED : kind);
    return true;
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
