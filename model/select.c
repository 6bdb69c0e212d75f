#include "model/select.h"

#include "model/moe.h"

#include <string.h>

// Keeps the `count` largest of the keys offered so far in best[], descending.
static inline void keep_best(uint32_t *best, uint32_t count, uint32_t key)
{
    if (key <= best[count - 1])
        return;
    uint32_t at = count - 1;
    for (; at > 0 && best[at - 1] < key; at--)
        best[at] = best[at - 1];
    best[at] = key;
}

static uint32_t group_worth(const struct selection *selection, const uint32_t *keys, uint32_t size)
{
    uint32_t best = 0, second = 0;
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t lesser = keys[i] < best ? keys[i] : best;
        best = keys[i] > best ? keys[i] : best;
        second = lesser > second ? lesser : second;
    }
    switch (selection->worth) {
    case SELECT_BEST:
        return select_level(best);
    case SELECT_TWO:
        return select_level(best) + select_level(second);
    case SELECT_TWO_MAP:
        break;
    }
    return selection->map[select_level(best)] +
           (size > 1 ? selection->map[select_level(second)] : 0);
}

static void select_grouped(const struct selection *selection, const uint32_t *keys, uint32_t *best)
{
    uint64_t worth[MOE_MAX_EXPERTS];
    const uint32_t groups = selection->groups, size = selection->experts / groups;
    for (uint32_t g = 0; g < groups; g++)
        worth[g] = (uint64_t)group_worth(selection, keys + g * size, size) << 16 | (UINT16_MAX - g);
    for (uint32_t round = 0; round < selection->topk_groups; round++) {
        uint32_t chosen = 0;
        for (uint32_t g = 1; g < groups; g++)
            if (worth[g] > worth[chosen])
                chosen = g;
        worth[chosen] = 0;
        for (uint32_t i = 0; i < size; i++)
            keep_best(best, selection->topk, keys[chosen * size + i]);
    }
}

void select_experts(const struct selection *selection, const uint32_t *keys, uint32_t *best)
{
    memset(best, 0, selection->topk * sizeof *best);
    if (selection->topk_groups < selection->groups) {
        select_grouped(selection, keys, best);
        return;
    }
    for (uint32_t e = 0; e < selection->experts; e++)
        keep_best(best, selection->topk, keys[e]);
}
