#include "study/ep/mix.h"

#include "base/mem.h"
#include "model/loads.h"

#include <math.h>
#include <stdlib.h>

#define MAX_RANKS 1024
#define MAX_NODES 64
#define NEAR 0.04 // ratios of published logs are within 1 % of the means
#define AS_NEAR 0.01

static bool can_be(const struct ep_config *config)
{
    return config->nodes && config->ranks && config->ranks <= MAX_RANKS &&
           config->ranks % config->nodes == 0 && config->experts >= config->ranks &&
           config->experts <= MOE_MAX_EXPERTS && config->topk && config->topk <= MOE_MAX_TOPK &&
           config->topk <= config->experts;
}

static bool routing_of(const struct ep_config *config, struct routing *routing)
{
    const bool limited = config->topk_groups && config->topk_groups < config->nodes;
    struct error err;
    *routing = (struct routing){.rule = limited ? ROUTING_DEEPEP : ROUTING_UNIFORM,
                                .experts = config->experts,
                                .topk = config->topk,
                                .groups = limited ? config->nodes : 1,
                                .topk_groups = limited ? config->topk_groups : 1,
                                .ranks = config->ranks,
                                .tokens = routing->tokens};
    return routing_check(routing, &err);
}

bool ep_mix_of(const struct ep_config *config, struct ep_mix *mix)
{
    struct error err;
    struct layout layout;
    if (!can_be(config))
        return false;
    uint32_t *tokens = mem_alloc(config->ranks, sizeof *tokens);
    for (uint32_t r = 0; r < config->ranks; r++)
        tokens[r] = 1;
    struct routing routing = {.tokens = tokens};
    const bool ok = routing_of(config, &routing) &&
                    layout_contiguous(&layout, config->experts, config->ranks, &err);
    if (ok) {
        struct loads loads;
        loads_expect(&loads, &routing, &layout, config->nodes);
        *mix = (struct ep_mix){loads_nodes_per_token(&loads), loads_ranks_per_token(&loads)};
        loads_release(&loads);
        layout_release(&layout);
    }
    free(tokens);
    return ok;
}

double ep_mix_copies(const struct ep_mix *mix, const struct ep_config *config, enum ep_count count)
{
    const double others = (double)(config->nodes - 1) / config->nodes;
    switch (count) {
    case EP_COUNT_NODES:
        return mix->nodes_per_token;
    case EP_COUNT_OTHER_NODES:
        return others > 0 ? mix->nodes_per_token * others : mix->nodes_per_token;
    case EP_COUNT_RANKS:
        return mix->ranks_per_token;
    case EP_COUNT_CHOICES:
        break;
    }
    return config->topk;
}

uint32_t ep_mix_default_experts(uint32_t ranks)
{
    return ranks <= 256 ? 256 / ranks * ranks : ranks;
}

// How far from `ratio` so many nodes are, relative to it; infinite where they cannot be.
static double ratio_off(const struct ep_config *config, uint32_t nodes, uint32_t gpus, double ratio)
{
    struct ep_config with = *config;
    struct ep_mix mix;
    with.nodes = nodes;
    with.ranks = nodes * gpus;
    with.experts = config->experts ? config->experts : ep_mix_default_experts(with.ranks);
    if (!ep_mix_of(&with, &mix))
        return INFINITY;
    return fabs(mix.ranks_per_token / mix.nodes_per_token / ratio - 1);
}

uint32_t ep_mix_nodes(const struct ep_config *config, uint32_t gpus_per_node, double ratio)
{
    double best = INFINITY, next = INFINITY;
    uint32_t nodes = 0;
    if (config->nodes && ratio_off(config, config->nodes, gpus_per_node, ratio) < NEAR)
        return config->nodes;
    for (uint32_t n = 2; n <= MAX_NODES && n * gpus_per_node <= MAX_RANKS; n++) {
        const double off = ratio_off(config, n, gpus_per_node, ratio);
        if (off < best) {
            next = best;
            best = off;
            nodes = n;
        } else if (off < next) {
            next = off;
        }
    }
    return best < NEAR && next - best > AS_NEAR ? nodes : 0;
}
