// Choices of which one rank's experts take a share: the stress that moves a rank's load and nothing
// else.
#ifndef TRACES_HOT_RANK_H
#define TRACES_HOT_RANK_H

#include "model/moe.h"
#include "traces/draws.h"
#include "traces/recipe.h"

// A token's choices: each goes to the experts of rank 0 (of recipe->ranks, laid out in order) with
// probability hot_share, to one of the others otherwise, all of them alike and each once at most;
// what one side cannot hold goes to the other. ids has moe->topk entries.
void hot_rank_choose(const struct recipe *recipe, const struct moe *moe, struct rng rng,
                     uint16_t *ids);

#endif
