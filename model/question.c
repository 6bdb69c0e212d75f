#include "model/question.h"

#include "base/mem.h"
#include "base/units.h"
#include "model/layout_file.h"
#include "model/traffic.h"

#include <stdlib.h>
#include <string.h>

const char *const loads_kind_names[] = {"auto", "counted", "expected", NULL};

struct question question_default(void)
{
    return (struct question){.cluster = "h800-cx7",
                             .layout = "contiguous",
                             .layout_layer = -1,
                             .routing = ROUTING_V3,
                             .seed = 1};
}

static bool resolve_moe(struct setting *setting, const struct question *question,
                        const struct moe *recorded, struct error *err)
{
    const char *model = question->model[0] ? question->model : "deepseek-v3";
    if (recorded && !question->model[0]) {
        setting->moe = *recorded;
        return moe_check(&setting->moe, err) || error_prefix(err, "%s", recorded->name);
    }
    if (!moe_load(model, &setting->moe, NULL, err))
        return error_prefix(err, "--model");
    if (recorded &&
        (recorded->experts != setting->moe.experts || recorded->topk != setting->moe.topk))
        return error_set(err, EXIT_INPUT,
                         "--trace %s: top-%u of %u experts, but --model %s has top-%u of %u",
                         question->trace, recorded->topk, recorded->experts, model,
                         setting->moe.topk, setting->moe.experts);
    return true;
}

// A matrix says how many ranks there are, unless --ep did.
static bool resolve_traffic(struct setting *setting, const struct question *question,
                            struct error *err)
{
    const uint32_t known = cluster_ranks(&setting->cluster);
    uint32_t ranks = known;
    if (!traffic_load(question->traffic, setting->cluster.gpus_per_node, &setting->traffic, &ranks,
                      err))
        return error_prefix(err, "--traffic");
    if (question->ep && ranks != question->ep)
        return error_set(err, EXIT_INPUT, "--traffic %s: a matrix of %u ranks, but --ep is %u",
                         question->traffic, ranks, question->ep);
    if (ranks != known && !cluster_set_ep(&setting->cluster, ranks, err))
        return error_prefix(err, "--traffic %s", question->traffic);
    return cluster_check(&setting->cluster, err) || error_prefix(err, "--cluster");
}

static bool use_gpu(struct cluster *cluster, const char *gpu, struct error *err)
{
    if (!gpu[0] || !strcmp(cluster->gpu, gpu))
        return true;
    if (cluster->gpu[0])
        return error_set(err, EXIT_INPUT, "gpu %s: expected a cluster of that (%s has %s)", gpu,
                         cluster->name, cluster->gpu);
    return strcpy(cluster->gpu, gpu), true;
}

// The rank count: --ep, else the matrix's, else the cluster's own.
static bool resolve_shape(struct setting *setting, const struct question *question,
                          struct error *err)
{
    uint32_t ranks = question->ep;
    if (ranks && !cluster_set_ep(&setting->cluster, ranks, err))
        return error_prefix(err, "--ep");
    if (question->nodes &&
        !cluster_set_shape(&setting->cluster, question->nodes, question->gpus_per_node, err))
        return error_prefix(err, "%s", question->cluster);
    if (!question->traffic[0])
        return cluster_check(&setting->cluster, err) || error_prefix(err, "--cluster");
    return resolve_traffic(setting, question, err);
}

static bool resolve_cluster(struct setting *setting, const struct question *question,
                            struct error *err)
{
    if (!cluster_load(question->cluster, &setting->cluster, NULL, err) ||
        !use_gpu(&setting->cluster, question->gpu, err))
        return error_prefix(err, "--cluster");
    if (question->slow[0]) // of the shape that comes of it; its own may not fit that
        setting->cluster.slow[0] = '\0';
    if (!resolve_shape(setting, question, err))
        return false;
    return !question->slow[0] || cluster_set_slow(&setting->cluster, question->slow, err) ||
           error_prefix(err, "--slow");
}

static const char *default_dispatcher(const struct question *question, uint32_t tokens)
{
    if (question->traffic[0])
        return "raw";
    return tokens > QUESTION_LL_TOKENS ? "deepep-normal" : "deepep-ll";
}

static bool resolve_dispatcher(struct setting *setting, const struct question *question,
                               uint32_t tokens, struct error *err)
{
    struct dispatcher *dispatcher = &setting->dispatcher;
    const char *name =
        question->dispatcher[0] ? question->dispatcher : default_dispatcher(question, tokens);
    if (!dispatcher_load(name, &setting->cluster, dispatcher, NULL, err))
        return error_prefix(err, "--dispatcher");
    if (question->traffic[0] && dispatcher->chunk_bytes == 0)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: does not move a byte matrix; expected raw or "
                         "nccl-alltoall with --traffic",
                         name);
    if (question->traffic[0] && dispatcher->law != LAW_NCCL && dispatcher->law != LAW_STREAM)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: its law is about tokens; expected law: stream or nccl "
                         "with --traffic",
                         name);
    if (!question->traffic[0] && dispatcher->chunk_bytes != 0)
        return error_set(err, EXIT_INPUT,
                         "--dispatcher %s: moves a byte matrix only: give --traffic", name);
    if (question->sms > setting->cluster.sms)
        return error_set(err, EXIT_INPUT, "--sms: %u: expected at most %u, the GPU's",
                         question->sms, setting->cluster.sms);
    if (question->sms)
        dispatcher->sms = question->sms;
    if (dispatcher->max_tokens && tokens > dispatcher->max_tokens)
        notice("%s takes at most %u tokens a rank; %u is a what-if", dispatcher->name,
               dispatcher->max_tokens, tokens);
    return true;
}

static void set_groups(struct setting *setting)
{
    struct routing *routing = &setting->routing;
    const struct moe *moe = &setting->moe;
    routing->groups = routing->topk_groups = 1;
    if (routing->rule == ROUTING_V3) {
        routing->groups = moe->groups;
        routing->topk_groups = moe->topk_groups;
    } else if (routing->rule == ROUTING_DEEPEP) {
        const uint32_t nodes = setting->cluster.nodes;
        routing->groups = nodes;
        routing->topk_groups =
            moe->groups > 1 && moe->topk_groups < nodes ? moe->topk_groups : nodes;
    }
}

static bool resolve_routing(struct setting *setting, const struct question *question,
                            uint32_t tokens, struct error *err)
{
    const uint32_t ranks = cluster_ranks(&setting->cluster);
    setting->tokens = mem_alloc(ranks, sizeof(uint32_t));
    for (uint32_t r = 0; r < ranks; r++)
        setting->tokens[r] = tokens;
    setting->routing = (struct routing){.rule = question->routing,
                                        .experts = setting->moe.experts,
                                        .topk = setting->moe.topk,
                                        .ranks = ranks,
                                        .seed = question->seed,
                                        .layer = question->layer,
                                        .tokens = setting->tokens};
    if (setting->routing.rule == ROUTING_TRACE)
        return true;
    set_groups(setting);
    // Both rules are about ranks and nodes, and draw expert ids that stand for them in id order.
    if ((question->routing == ROUTING_BALANCED || question->routing == ROUTING_DEEPEP) &&
        strcmp(question->layout, "contiguous"))
        return error_set(err, EXIT_INPUT, "--routing %s: needs --layout contiguous",
                         routing_rule_names[question->routing]);
    return routing_check(&setting->routing, err) || error_prefix(err, "--routing");
}

static bool resolve_parts(struct setting *setting, const struct question *question,
                          const struct moe *recorded, struct error *err)
{
    const uint32_t tokens = question->tokens ? question->tokens : QUESTION_TOKENS;
    if (!resolve_cluster(setting, question, err) ||
        !resolve_dispatcher(setting, question, tokens, err))
        return false;
    if (question->traffic[0])
        return true;
    const uint32_t ranks = cluster_ranks(&setting->cluster);
    if (!resolve_moe(setting, question, recorded, err))
        return false;
    if (!question->unplaced &&
        !layout_load(&setting->layout, question->layout, question->layout_layer,
                     setting->moe.experts, ranks, err))
        return error_prefix(err, "--layout");
    return resolve_routing(setting, question, tokens, err);
}

bool setting_resolve(struct setting *setting, const struct question *question,
                     const struct moe *recorded, struct error *err)
{
    *setting = (struct setting){.run = {.seed = question->seed,
                                        .skew_ps = units_ps_from_us(question->skew_us),
                                        .aligned = question->aligned,
                                        .overlap = question->overlap}};
    if (resolve_parts(setting, question, recorded, err))
        return true;
    setting_release(setting);
    return false;
}

void setting_use_routing(struct setting *setting, const struct routing *routing)
{
    memcpy(setting->tokens, routing->tokens, routing->ranks * sizeof *setting->tokens);
    setting->routing = *routing;
    setting->routing.tokens = setting->tokens;
}

bool setting_set_tokens(struct setting *setting, const struct question *question, uint32_t tokens,
                        struct error *err)
{
    schedule_release(&setting->schedule);
    loads_release(&setting->loads);
    for (uint32_t r = 0; r < setting->routing.ranks; r++)
        setting->tokens[r] = tokens;
    return question->dispatcher[0] ||
           !strcmp(setting->dispatcher.name, default_dispatcher(question, tokens)) ||
           resolve_dispatcher(setting, question, tokens, err);
}

bool setting_set_layout(struct setting *setting, const struct question *question, int layer,
                        struct error *err)
{
    struct layout layout;
    if (!layout_load(&layout, question->layout, layer, setting->moe.experts, setting->layout.ranks,
                     err))
        return error_prefix(err, "--layout");
    layout_release(&setting->layout);
    setting->layout = layout;
    return true;
}

void setting_schedule(struct setting *setting)
{
    if (setting->traffic)
        schedule_traffic(&setting->schedule, &setting->cluster, &setting->dispatcher,
                         &setting->loads);
    else
        schedule_layer(&setting->schedule, &setting->moe, &setting->cluster, &setting->dispatcher,
                       &setting->loads, &setting->layout);
}

void setting_load(struct setting *setting, enum loads_kind kind)
{
    const uint32_t nodes = setting->cluster.nodes;
    if (setting->traffic)
        loads_from_bytes(&setting->loads, setting->traffic, cluster_ranks(&setting->cluster),
                         nodes);
    else if (kind == LOADS_EXPECTED)
        loads_expect(&setting->loads, &setting->routing, &setting->layout, nodes);
    else
        loads_count(&setting->loads, &setting->routing, &setting->layout, nodes);
    setting_schedule(setting);
}

void setting_release(struct setting *setting)
{
    schedule_release(&setting->schedule);
    loads_release(&setting->loads);
    layout_release(&setting->layout);
    free(setting->tokens);
    free(setting->traffic);
    *setting = (struct setting){0};
}
