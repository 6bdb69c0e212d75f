// Choices of which one rank's experts take a share: the stress that moves a rank's load and nothing
// else.
#ifndef TRACES_HOT_RANK_H
#define TRACES_HOT_RANK_H

#include "model/moe.h"
#include "traces/draws.h"
#include "traces/recipe.h"

// A token's choices: each goes to the experts of rank 0 (of recipe->ranks, laid out in order) with
// probability hot_share, to one of the others otherwise, all of them alike and each once at most.
// Where top-k is more than either side has, each token has the mean number of them instead. The
// recipe has passed recipe_check. ids has moe->topk entries.
void hot_rank_choose(const struct recipe *recipe, const struct moe *moe, struct rng rng,
                     uint16_t *ids);

#endif
