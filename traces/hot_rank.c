#include "traces/hot_rank.h"

#include <gsl/gsl_randist.h>

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

void hot_rank_choose(const struct recipe *recipe, const struct moe *moe, struct rng rng,
                     uint16_t *ids)
{
    const uint32_t hot = moe->experts / recipe->ranks, cold = moe->experts - hot;
    struct draws draws;
    draws_init(&draws, rng);
    uint32_t count = gsl_ran_binomial(&draws.gsl, recipe->hot_share, moe->topk);
    count = count > hot ? hot : count;
    count = moe->topk - count > cold ? moe->topk - cold : count;
    draw_experts(&draws.rng, 0, hot, count, ids);
    draw_experts(&draws.rng, hot, cold, moe->topk - count, ids + count);
}
