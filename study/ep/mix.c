#include "study/ep/mix.h"

#include "base/mem.h"
#include "model/loads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RANKS 1024
#define MAX_DRAWN 100
#define NEAR 0.04 // ratios of published logs are within 1 % of the means
#define AS_NEAR 0.01

static const uint32_t node_counts[EP_MIX_NODES] = {2, 3, 4, 8, 16};

static bool can_be(const struct ep_config *config)
{
    return config->nodes && config->ranks && config->ranks <= MAX_RANKS &&
           config->ranks % config->nodes == 0 && config->experts >= config->ranks &&
           config->experts <= MOE_MAX_EXPERTS && config->topk && config->topk <= MOE_MAX_TOPK &&
           config->topk <= config->experts;
}

// A token misses a group of g of E experts with probability C(E-g,k)/C(E,k).
static double hit(const struct ep_config *config, uint32_t parts)
{
    const double group = (double)config->experts / parts;
    return parts * (1 - loads_miss_probability(config->experts, config->topk, group));
}

static bool draw_mix(const struct ep_config *config, const uint32_t *tokens, struct ep_mix *mix)
{
    const struct routing routing = {.rule = ROUTING_DEEPEP,
                                    .experts = config->experts,
                                    .topk = config->topk,
                                    .groups = config->nodes,
                                    .topk_groups = config->topk_groups,
                                    .ranks = config->ranks,
                                    .tokens = tokens};
    struct layout layout;
    struct loads loads;
    struct error err;
    if (!routing_check(&routing, &err) ||
        !layout_contiguous(&layout, config->experts, config->ranks, &err))
        return false;
    loads_expect(&loads, &routing, &layout, config->nodes);
    *mix = (struct ep_mix){loads_nodes_per_token(&loads), loads_ranks_per_token(&loads)};
    loads_release(&loads);
    layout_release(&layout);
    return true;
}

static bool draw_new(struct ep_mixes *mixes, const struct ep_config *config, struct ep_mix *mix)
{
    const struct ep_config key = {.nodes = config->nodes,
                                  .ranks = config->ranks,
                                  .experts = config->experts,
                                  .topk = config->topk,
                                  .topk_groups = config->topk_groups};
    bool ok = !memcmp(&key, &mixes->last, sizeof key);
    if (!ok && mixes->drawn++ < MAX_DRAWN) {
        uint32_t *tokens = mem_alloc(config->ranks, sizeof *tokens);
        for (uint32_t r = 0; r < config->ranks; r++)
            tokens[r] = 1;
        ok = draw_mix(config, tokens, &mixes->last_mix);
        free(tokens);
        mixes->last = ok ? key : (struct ep_config){0};
    }
    *mix = mixes->last_mix;
    return ok;
}

bool ep_mix_of(struct ep_mixes *mixes, const struct ep_config *config, struct ep_mix *mix)
{
    if (!can_be(config))
        return false;
    if (config->topk_groups && config->topk_groups < config->nodes)
        return draw_new(mixes, config, mix);
    *mix = (struct ep_mix){hit(config, config->nodes), hit(config, config->ranks)};
    return true;
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

uint32_t ep_mix_default_groups(uint32_t nodes)
{
    return nodes < 4 ? nodes : 4;
}

// ---- nodes by the ratio -------------------------------------------------------------------------

// NaN where so many nodes cannot be.
static double ratio_at(struct ep_mixes *mixes, const struct ep_config *config, uint32_t nodes,
                       uint32_t gpus)
{
    struct ep_config with = *config;
    struct ep_mix mix;
    with.nodes = nodes;
    with.ranks = nodes * gpus;
    with.experts = config->experts ? config->experts : ep_mix_default_experts(with.ranks);
    with.topk_groups = config->topk_groups ? config->topk_groups : ep_mix_default_groups(nodes);
    return ep_mix_of(mixes, &with, &mix) ? mix.ranks_per_token / mix.nodes_per_token : NAN;
}

static const double *ratios_at(struct ep_mixes *mixes, const struct ep_config *config,
                               uint32_t gpus)
{
    const struct ep_config key = {.nodes = gpus,
                                  .experts = config->experts,
                                  .topk = config->topk,
                                  .topk_groups = config->topk_groups};
    if (memcmp(&key, &mixes->ratios_of, sizeof key)) {
        mixes->ratios_of = key;
        for (size_t n = 0; n < EP_MIX_NODES; n++)
            mixes->ratios[n] = ratio_at(mixes, config, node_counts[n], gpus);
    }
    return mixes->ratios;
}

// How far apart two ratios are; infinite where one is none.
static double ratio_off(double expected, double ratio)
{
    return isnan(expected) ? INFINITY : fabs(expected / ratio - 1);
}

uint32_t ep_mix_nodes(struct ep_mixes *mixes, const struct ep_config *config,
                      uint32_t gpus_per_node, double ratio)
{
    double best = INFINITY, next = INFINITY;
    uint32_t nodes = 0;
    if (!gpus_per_node || gpus_per_node > MAX_RANKS)
        return 0;
    if (config->nodes && config->nodes <= MAX_RANKS &&
        ratio_off(ratio_at(mixes, config, config->nodes, gpus_per_node), ratio) < NEAR)
        return config->nodes;
    const double *ratios = ratios_at(mixes, config, gpus_per_node);
    for (size_t n = 0; n < EP_MIX_NODES; n++) {
        const double off = ratio_off(ratios[n], ratio);
        if (off < best) {
            next = best;
            best = off;
            nodes = node_counts[n];
        } else if (off < next) {
            next = off;
        }
    }
    return best < NEAR && next - best > AS_NEAR ? nodes : 0;
}
