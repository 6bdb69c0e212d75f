#include "study/ep/place.h"

#include <math.h>
#include <stdio.h>

#define NAME_IT "name them: --cluster NODESxGPUS:..., or PRESET:nodes=N"

#define MAX_TOKENS 10000000
#define MAX_HIDDEN 1000000 // as measurements CSV has it

// Bytes that a rate says, over those that the run moves: figures have three digits and more, and
// one rank's draw is within a few percent of the mean.
#define SAME_BYTES 0.05

// Choices that test_low_latency.py masks of a rank's, at most.
#define MASKED_CHOICES 10

double ep_result_copy_bytes(const struct ep_result *result, uint32_t hidden, uint32_t topk)
{
    return (double)moe_payload_bytes(hidden, result->dtype) + result->extra_bytes +
           (double)result->extra_choice_bytes * topk;
}

static uint32_t or_else(uint32_t said, uint32_t otherwise)
{
    return said ? said : otherwise;
}

// ---- nodes and ranks ----------------------------------------------------------------------------

// GPUs of a node: NCCL's log, the cluster that was named, or what the test starts.
static uint32_t gpus_of(const struct ep_group *group, const struct log *log)
{
    const struct log_job *job = &log->job;
    if (job->nodes && job->ranks && job->ranks % job->nodes == 0)
        return job->ranks / job->nodes;
    return log->shape.said ? log->shape.gpus_per_node : group->bench->default_gpus;
}

static uint32_t nodes_said(const struct ep_group *group, const struct log *log)
{
    if (group->config.nodes)
        return group->config.nodes;
    return log->job.nodes ? log->job.nodes : log->shape.said ? log->shape.nodes : 0;
}

// Several nodes, whose ratio of NVLink to RDMA tells how many; believed before what is said.
static bool place_by_ratio(const struct ep_group *group, struct log *log, struct ep_mixes *mixes,
                           struct ep_run *run)
{
    const double ratio = ep_mean(group->ratio);
    const uint32_t said = nodes_said(group, log);
    struct ep_config config = run->config;
    config.nodes = said;
    const uint32_t nodes =
        ratio > 0 ? ep_mix_nodes(mixes, &config, run->gpus_per_node, ratio) : said;
    run->config.nodes = nodes;
    run->config.ranks = nodes * run->gpus_per_node;
    if (!nodes)
        log_leave_out(log, "left out: nothing says how many nodes ran it: " NAME_IT);
    else if (said && nodes != said)
        log_leave_out(log,
                      "left out: its ratio of NVL to RDMA, %.2f, is that of %u nodes, and the log "
                      "or --cluster says %u: " NAME_IT,
                      ratio, nodes, said);
    return nodes && (!said || nodes == said);
}

static bool place_in_node(struct log *log, struct ep_run *run)
{
    run->config.nodes = 1;
    run->config.ranks = or_else(run->config.ranks, run->gpus_per_node);
    run->gpus_per_node = run->config.ranks;
    if (!run->config.ranks)
        log_leave_out(log, "left out: nothing says how many GPUs ran it: " NAME_IT);
    return run->config.ranks;
}

// Every rank prints: where all are there, they are as many; of a part the cluster says.
static uint32_t ranks_said(const struct ep_group *group, const struct log *log)
{
    if (group->config.ranks)
        return group->config.ranks;
    if (log->job.ranks)
        return log->job.ranks;
    if (log->shape.said)
        return log->shape.nodes * log->shape.gpus_per_node;
    return ep_group_is_whole(group) && group->ranks % 4 == 0 ? group->ranks : 0;
}

static const char *why_no_place(const struct ep_group *group, uint32_t ranks, uint32_t gpus)
{
    return !ranks                 ? "nothing says how many ranks ran it"
           : ranks < group->ranks ? "more ranks printed than the cluster has"
           : !gpus                ? "nothing says how many nodes ran it"
           : ranks % gpus         ? "its ranks do not fill nodes"
                                  : NULL;
}

static bool place_by_ranks(const struct ep_group *group, struct log *log, struct ep_run *run)
{
    const uint32_t ranks = ranks_said(group, log), nodes = group->config.nodes;
    uint32_t gpus = nodes ? ranks / nodes : run->gpus_per_node;
    gpus = gpus > ranks ? ranks : gpus;
    const char *why = why_no_place(group, ranks, gpus);
    if (why) {
        log_leave_out(log, "left out: %s: " NAME_IT, why);
        return false;
    }
    run->config.ranks = ranks;
    run->config.nodes = ranks / gpus;
    run->gpus_per_node = gpus;
    return true;
}

static bool find_place(const struct ep_group *group, struct log *log, struct ep_mixes *mixes,
                       struct ep_run *run)
{
    run->gpus_per_node = gpus_of(group, log);
    if (!group->bench->tells_nodes_by_rates)
        return place_by_ranks(group, log, run);
    return group->like.count == EP_COUNT_NODES ? place_by_ratio(group, log, mixes, run)
                                               : place_in_node(log, run);
}

// ---- tokens -------------------------------------------------------------------------------------

// Bytes that the mean line counts; 0: no line says them.
static double bytes_counted(const struct ep_group *group)
{
    const double bytes = ep_mean(group->bytes), slowness = ep_mean(group->slowness);
    return bytes > 0 ? bytes : slowness > 0 ? ep_mean(group->us) * 1e3 / slowness : 0;
}

double ep_tokens_of_choices(double choices, uint32_t topk)
{
    const double least = ceil(choices * (1 - 5e-4) / topk - 1e-6);
    const double most = floor((choices + MASKED_CHOICES) / topk);
    const double even = ceil(least / 8) * 8;
    return even <= most ? even : least;
}

// One rank's draw tells no more than two digits and a half: 2,049 is 2,048.
static double tokens_of_copies(double tokens)
{
    double step = 1;
    while (step * 2 <= tokens / 128)
        step *= 2;
    return round(tokens / step) * step;
}

static bool is_as_known(const struct ep_group *group, const struct ep_run *run, double tokens,
                        double known)
{
    const double gpus = run->gpus_per_node;
    const double others = group->bench->may_leave_out_own && gpus > 1 ? (gpus - 1) / gpus : 1;
    return fabs(tokens / known - 1) <= SAME_BYTES ||
           fabs(tokens / (others * known) - 1) <= SAME_BYTES;
}

static bool find_tokens(const struct ep_group *group, struct log *log, struct ep_run *run)
{
    const uint32_t known = or_else(run->config.tokens, group->bench->defaults.tokens);
    const double bytes = bytes_counted(group);
    const double copies = ep_mix_copies(&run->mix, &run->config, group->like.count);
    double tokens = bytes / (copies * run->copy_bytes);
    if (!(bytes > 0) || is_as_known(group, run, tokens, known)) {
        run->config.tokens = known;
        return true;
    }
    if (run->config.tokens) {
        log_leave_out(
            log,
            "left out: its GB/s and us are of %.4g MB, and %u tokens as its configuration "
            "has them move %.4g MB",
            bytes / 1e6, known, known * copies * run->copy_bytes / 1e6);
        return false;
    }
    tokens = group->bench->masks_choices
                 ? ep_tokens_of_choices(bytes / run->copy_bytes, run->config.topk)
                 : tokens_of_copies(tokens);
    run->config.tokens = tokens > 0.5 && tokens < MAX_TOKENS ? (uint32_t)lround(tokens) : 0;
    run->tokens_told = true;
    if (!run->config.tokens)
        log_leave_out(log, "left out: its GB/s and us are of %.4g bytes: less than a token's",
                      bytes);
    return run->config.tokens;
}

// ---- both ---------------------------------------------------------------------------------------

bool ep_run_of(const struct ep_group *group, struct log *log, struct ep_mixes *mixes,
               struct ep_run *run)
{
    const struct ep_config *defaults = &group->bench->defaults;
    *run = (struct ep_run){.config = group->config};
    struct ep_config *config = &run->config;
    config->hidden = or_else(config->hidden, defaults->hidden);
    config->topk = or_else(config->topk, defaults->topk);
    config->experts = or_else(config->experts, defaults->experts);
    if (!find_place(group, log, mixes, run))
        return false;
    config->experts = or_else(config->experts, group->bench->experts_per_rank * config->ranks);
    config->experts = or_else(config->experts, ep_mix_default_experts(config->ranks));
    if (group->bench->tells_nodes_by_rates)
        config->topk_groups = or_else(config->topk_groups, ep_mix_default_groups(config->nodes));
    if (config->nodes == 1)
        config->topk_groups = 0;
    if (config->tokens > MAX_TOKENS || config->hidden > MAX_HIDDEN ||
        !ep_mix_of(mixes, config, &run->mix)) {
        log_leave_out(log,
                      "left out: top-%u of %u experts on %u nodes and %u ranks is not modelled",
                      config->topk, config->experts, config->nodes, config->ranks);
        return false;
    }
    run->copy_bytes = ep_result_copy_bytes(&group->like, config->hidden, config->topk);
    return find_tokens(group, log, run);
}
