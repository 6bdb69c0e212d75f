#include "real/workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A cluster for so many ranks where none was asked: nodes of eight, or one node.
static void default_cluster(struct question *question, uint32_t ranks)
{
    if (question->cluster[0])
        return;
    if (ranks % 8 == 0)
        snprintf(question->cluster, sizeof question->cluster, "%ux8:nvlink=1GB/s,nic=1GB/s",
                 ranks / 8);
    else
        snprintf(question->cluster, sizeof question->cluster, "1x%u:nvlink=1GB/s", ranks);
}

// "8/0/3": tokens of ranks 0, 1, 2, and again from the first.
static bool spread_tokens(struct setting *setting, const char *text, uint32_t ranks,
                          struct error *err)
{
    uint32_t given[1024], count = 0;
    const char *at = text;
    while (count < 1024) {
        char *end;
        const unsigned long value = strtoul(at, &end, 10);
        if (end == at || value > 1u << 24 || (*end && *end != '/'))
            return error_set(err, EXIT_INPUT, "--tokens: '%.60s': expected counts, as 8/0/3", text);
        given[count++] = (uint32_t)value;
        if (!*end)
            break;
        at = end + 1;
    }
    for (uint32_t r = 0; r < ranks; r++)
        setting->tokens[r] = given[r % count];
    return true;
}

// What is asked, of the job's ranks.
static bool fit_question(const struct world *world, struct question *question, struct error *err)
{
    if (question->ep && question->ep != world->ranks)
        return error_set(err, EXIT_INPUT, "--ep %u: the job has %u ranks", question->ep,
                         world->ranks);
    question->ep = world->ranks;
    default_cluster(question, world->ranks);
    return true;
}

// Formats that the kernels here neither make nor read, though the engines put times to them.
static bool check_formats(const struct setting *setting, struct error *err)
{
    const enum dtype dtypes[] = {setting->moe.dispatch_dtype, setting->moe.combine_dtype};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (dtypes[i] > DTYPE_FP32)
            return error_set(err, EXIT_INPUT, "--model: %s: expected fp8, bf16 or fp32 to run",
                             dtype_names[dtypes[i]]);
    return (setting->dispatcher.line_payload_bytes == 0 && setting->dispatcher.scale_bytes == 4) ||
           error_set(err, EXIT_INPUT,
                     "--dispatcher %s: its wire format (lines with flags, other scales) is not run "
                     "here; expected another",
                     setting->dispatcher.name);
}

bool workload_open(const struct world *world, const struct real_invocation *invocation,
                   struct answerable *answerable, struct error *err)
{
    struct question question = invocation->question;
    if (!fit_question(world, &question, err))
        return false;
    if (!ask_resolve(answerable, &question, err))
        return false;
    if (check_formats(&answerable->setting, err) &&
        (!strchr(invocation->tokens, '/') ||
         spread_tokens(&answerable->setting, invocation->tokens, world->ranks, err)))
        return true;
    ask_release(answerable);
    return false;
}

void workload_release(struct answerable *answerable)
{
    ask_release(answerable);
}

static void recorded_weights(const void *context, uint32_t rank, uint32_t token, float *weights)
{
    trace_view_weights(context, rank, token, weights);
}

struct layer_setup workload_setup(const struct world *world,
                                  const struct real_invocation *invocation,
                                  const struct answerable *answerable)
{
    const bool recorded = answerable->view && answerable->trace.weights.data;
    return (struct layer_setup){.setting = &answerable->setting,
                                .rank = world->rank,
                                .router = !real_given(invocation, "routing") &&
                                          !invocation->question.trace[0],
                                .weights = recorded ? recorded_weights : NULL,
                                .weights_context = recorded ? answerable->view : NULL,
                                .device = world->device,
                                .transport = world->transport};
}

bool workload_cluster(const struct world *world, const struct real_invocation *invocation,
                      struct cluster *cluster, struct error *err)
{
    struct question question = invocation->question;
    if (!fit_question(world, &question, err))
        return false;
    return (cluster_load(question.cluster, cluster, NULL, err) &&
            cluster_set_ep(cluster, world->ranks, err)) ||
           error_prefix(err, "--cluster");
}
