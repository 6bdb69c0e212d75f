#include "model/select.h"

#include "model/moe.h"

#include <assert.h>
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

// The two best keys of a group; the second is 0 where it has one expert.
struct pair {
    uint32_t best, second;
};

static struct pair two_best(const uint32_t *keys, uint32_t size)
{
    struct pair two = {0, 0};
    for (uint32_t i = 0; i < size; i++) {
        const uint32_t lesser = keys[i] < two.best ? keys[i] : two.best;
        two.best = keys[i] > two.best ? keys[i] : two.best;
        two.second = lesser > two.second ? lesser : two.second;
    }
    return two;
}

static uint32_t select_group_worth(const struct selection *selection, struct pair two)
{
    switch (selection->worth) {
    case SELECT_BEST:
        return select_level(two.best);
    case SELECT_TWO:
        return select_level(two.best) + select_level(two.second);
    case SELECT_TWO_MAP:
        break;
    }
    return selection->map[select_level(two.best)] +
           (two.second ? selection->map[select_level(two.second)] : 0);
}

// The groups of greatest worth, and a key that topk of theirs reach, or 0: what is below need not
// be compared with the best so far.
static uint32_t choose_groups(const struct selection *selection, const uint32_t *keys,
                              uint32_t *chosen)
{
    uint64_t worth[MOE_MAX_EXPERTS];
    uint32_t seconds[MOE_MAX_EXPERTS], floor = UINT32_MAX;
    const uint32_t groups = selection->groups;
    assert(groups > 0 && selection->topk_groups <= groups);
    const uint32_t size = selection->experts / groups;
    for (uint32_t g = 0; g < groups; g++) {
        const struct pair two = two_best(keys + g * size, size);
        seconds[g] = two.second;
        worth[g] = (uint64_t)select_group_worth(selection, two) << 16 | (UINT16_MAX - g);
    }
    for (uint32_t round = 0; round < selection->topk_groups; round++) {
        uint32_t max = 0;
        for (uint32_t g = 1; g < groups; g++)
            max = worth[g] > worth[max] ? g : max;
        worth[max] = 0;
        chosen[round] = max;
        floor = seconds[max] < floor ? seconds[max] : floor;
    }
    return selection->topk <= 2 * selection->topk_groups ? floor : 0;
}

static void select_grouped(const struct selection *selection, const uint32_t *keys, uint32_t *best)
{
    uint32_t chosen[MOE_MAX_EXPERTS], near[MOE_MAX_EXPERTS], count = 0;
    const uint32_t size = selection->experts / selection->groups;
    const uint32_t floor = choose_groups(selection, keys, chosen);
    for (uint32_t c = 0; c < selection->topk_groups; c++) {
        const uint32_t *own = keys + chosen[c] * size;
        for (uint32_t i = 0; i < size; i++) {
            near[count] = own[i];
            count += own[i] >= floor; // no branch: which are is chance
        }
    }
    for (uint32_t i = 0; i < count; i++)
        keep_best(best, selection->topk, near[i]);
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
