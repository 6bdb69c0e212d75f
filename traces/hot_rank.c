#include "traces/hot_rank.h"

#include <gsl/gsl_randist.h>
#include <math.h>

// `count` different ones of first .. first + from - 1, in the order drawn.
static void draw_experts(struct rng *rng, uint32_t first, uint32_t from, uint32_t count,
                         uint16_t *ids)
{
    for (uint32_t i = 0; i < count; i++) {
        bool taken = true;
        while (taken) {
            ids[i] = (uint16_t)(first + rng_below(rng, from));
            taken = false;
            for (uint32_t j = 0; j < i; j++)
                taken |= ids[j] == ids[i];
        }
    }
}

// How many of a token's choices fall on the hot rank. Where either side may be too small for what
// is drawn, every token has the mean, rounded either way, so that the share holds.
static uint32_t hot_choices(const struct recipe *recipe, const struct moe *moe, uint32_t hot,
                            gsl_rng *rng)
{
    if (moe->topk <= hot && moe->topk <= moe->experts - hot)
        return gsl_ran_binomial(rng, recipe->hot_share, moe->topk);
    const double mean = recipe->hot_share * moe->topk;
    return (uint32_t)floor(mean + gsl_rng_uniform(rng));
}

void hot_rank_choose(const struct recipe *recipe, const struct moe *moe, struct rng rng,
                     uint16_t *ids)
{
    const uint32_t hot = moe->experts / recipe->ranks, cold = moe->experts - hot;
    struct draws draws;
    draws_init(&draws, rng);
    uint32_t count = hot_choices(recipe, moe, hot, &draws.gsl);
    count = count > hot ? hot : count;
    count = moe->topk - count > cold ? moe->topk - cold : count;
    draw_experts(&draws.rng, 0, hot, count, ids);
    draw_experts(&draws.rng, hot, cold, moe->topk - count, ids + count);
}
