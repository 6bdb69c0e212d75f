// Top-k of scored experts under a group limit, in integers only: no library function and no
// rounding can decide an order. What draws the scores is the caller's: rules of routing, or a
// recipe's traces.
#ifndef MODEL_SELECT_H
#define MODEL_SELECT_H

#include <stdint.h>

#define SELECT_LEVELS 65536

// An expert with the level of its score, 0 to SELECT_LEVELS - 1, as one integer that sorts by
// score, then by lower id.
static inline uint32_t select_key(uint32_t level, uint32_t expert)
{
    return level << 16 | (UINT16_MAX - expert);
}

static inline uint16_t select_expert(uint32_t key)
{
    return (uint16_t)(UINT16_MAX - (key & UINT16_MAX));
}

static inline uint32_t select_level(uint32_t key)
{
    return key >> 16;
}

// What a group is worth when only the topk_groups best may be used.
enum select_worth {
    SELECT_BEST,    // its best level (DeepEP's test)
    SELECT_TWO,     // the sum of its two best levels
    SELECT_TWO_MAP, // the sum of what `map` says of its two best (DeepSeek-V3: sigmoids)
};

struct selection {
    uint32_t experts, topk;
    uint32_t groups, topk_groups; // equal: no limit
    enum select_worth worth;
    const uint32_t *map; // [SELECT_LEVELS]
};

// best[topk]: the keys chosen among keys[experts], descending. Equally worthy groups: the lower
// one.
void select_experts(const struct selection *selection, const uint32_t *keys, uint32_t *best);

#endif
