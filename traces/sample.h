// From how often each expert was chosen to who chose it: tokens drawn at random that have exactly
// those counts, and keep the router's rules. What counts alone cannot say (which experts go
// together, which token follows which) is chance.
#ifndef TRACES_SAMPLE_H
#define TRACES_SAMPLE_H

#include "base/rng.h"

#include <stdbool.h>

struct sampling {
    const uint64_t *counts; // [experts], none above tokens, their sum at most tokens * topk
    uint32_t experts, topk;
    uint32_t groups, topk_groups; // equal: no group limit
    uint32_t tokens;
    struct rng rng;
};

// Fills ids[tokens * topk]: each expert `counts` times, never twice in a token, no token in more
// than topk_groups groups; places that are left over are ROUTING_DROPPED. Uniform over all orders
// of the choices, then mended by swaps where a token breaks a rule. False where no such tokens were
// found: the counts cannot have come from a router with that group limit, or all but.
bool sample_with_counts(const struct sampling *sampling, uint16_t *ids);

// Choices drawn by the odds of weights[experts], no expert more than `max` times.
struct count_odds {
    const uint64_t *weights; // [experts]
    uint32_t experts;
    uint64_t total, max; // choices of all experts, of any one
};

// Draws counts[experts]: a multinomial, cut at `max` by drawing again. False where the experts that
// have any weight cannot take so many. In whole numbers alone, so the same on every machine.
bool sample_counts(const struct count_odds *odds, struct rng *rng, uint64_t *counts);

#endif
