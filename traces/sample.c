#include "traces/sample.h"

#include "base/mem.h"
#include "model/moe.h"
#include "model/routing.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// Sweeps over the tokens that break a rule, and swaps tried for each in one sweep.
#define SWEEPS 400
#define TRIES 24

__extension__ typedef unsigned __int128 product;

// Uniform in 0 .. bound - 1 for any bound, by the high half of a product.
static uint64_t draw_below(struct rng *rng, uint64_t bound)
{
    return (uint64_t)(((product)rng_next(rng) * bound) >> 64);
}

// --- drawing counts ----------------------------------------------------------------------------

// The expert whose part of the cumulative weights holds `at`.
static uint32_t find_part(const uint64_t *ends, uint32_t experts, uint64_t at)
{
    uint32_t low = 0, high = experts - 1;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (ends[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// Cumulative weights of the experts that still have room; the last is their sum.
static uint64_t sum_weights(const struct count_odds *odds, const uint64_t *counts, uint64_t *ends)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < odds->experts; e++)
        ends[e] = sum += counts[e] < odds->max ? odds->weights[e] : 0;
    return sum;
}

bool sample_counts(const struct count_odds *odds, struct rng *rng, uint64_t *counts)
{
    uint64_t *ends = mem_alloc(odds->experts, sizeof *ends);
    memset(counts, 0, odds->experts * sizeof *counts);
    uint64_t sum = sum_weights(odds, counts, ends);
    uint64_t drawn = 0;
    for (; drawn < odds->total && sum > 0; drawn++) {
        const uint32_t expert = find_part(ends, odds->experts, draw_below(rng, sum));
        // A full expert takes no further part: what drawing again until another comes amounts to.
        if (++counts[expert] == odds->max)
            sum = sum_weights(odds, counts, ends);
    }
    free(ends);
    return drawn == odds->total;
}

// --- tokens with those counts ------------------------------------------------------------------

struct draft {
    const struct sampling *sampling;
    uint32_t group_size;
    struct rng rng;
    uint16_t *ids; // [tokens * topk]
};

static uint16_t *draft_row(const struct draft *draft, uint32_t token)
{
    return draft->ids + (size_t)token * draft->sampling->topk;
}

static void swap_ids(uint16_t *a, uint16_t *b)
{
    const uint16_t id = *a;
    *a = *b;
    *b = id;
}

// Every choice once, in random order (Fisher and Yates).
static void draft_shuffle(struct draft *draft)
{
    const struct sampling *sampling = draft->sampling;
    const uint64_t places = (uint64_t)sampling->tokens * sampling->topk;
    uint64_t at = 0;
    for (uint32_t e = 0; e < sampling->experts; e++)
        for (uint64_t i = 0; i < sampling->counts[e]; i++)
            draft->ids[at++] = (uint16_t)e;
    while (at < places)
        draft->ids[at++] = ROUTING_DROPPED;
    for (uint64_t i = places; i > 1; i--)
        swap_ids(&draft->ids[i - 1], &draft->ids[draw_below(&draft->rng, i)]);
}

static bool stands_before(const uint16_t *row, uint32_t k)
{
    for (uint32_t j = 0; j < k && row[k] != ROUTING_DROPPED; j++)
        if (row[j] == row[k])
            return true;
    return false;
}

static uint32_t repeats(const struct draft *draft, const uint16_t *row)
{
    uint32_t count = 0;
    for (uint32_t k = 1; k < draft->sampling->topk; k++)
        count += stands_before(row, k);
    return count;
}

static uint32_t groups_of(const struct draft *draft, const uint16_t *row)
{
    uint16_t seen[MOE_MAX_TOPK];
    uint32_t count = 0;
    for (uint32_t k = 0; k < draft->sampling->topk; k++) {
        if (row[k] == ROUTING_DROPPED)
            continue;
        const uint16_t group = (uint16_t)(row[k] / draft->group_size);
        uint32_t j = 0;
        while (j < count && seen[j] != group)
            j++;
        if (j == count)
            seen[count++] = group;
    }
    return count;
}

// How far a token is from the rules: experts twice weigh more than groups too many, so that mending
// the one never brings the other.
static uint32_t faults(const struct draft *draft, const uint16_t *row)
{
    const struct sampling *sampling = draft->sampling;
    const uint32_t twice = repeats(draft, row);
    if (sampling->topk_groups == sampling->groups)
        return twice * MOE_MAX_TOPK;
    const uint32_t groups = groups_of(draft, row);
    return twice * MOE_MAX_TOPK +
           (groups > sampling->topk_groups ? groups - sampling->topk_groups : 0);
}

// The choice to give away: one that stands twice, or any.
static uint32_t pick(struct draft *draft, const uint16_t *row)
{
    for (uint32_t k = 1; k < draft->sampling->topk; k++)
        if (stands_before(row, k))
            return k;
    return (uint32_t)draw_below(&draft->rng, draft->sampling->topk);
}

// Swaps one choice of the token for one of another where both together break no more rules than
// before; equal is taken too, so that it walks out of dead ends. Returns the token's faults after.
static uint32_t try_swap(struct draft *draft, uint32_t token, uint32_t before)
{
    const struct sampling *sampling = draft->sampling;
    uint16_t *row = draft_row(draft, token);
    const uint64_t place = draw_below(&draft->rng, (uint64_t)sampling->tokens * sampling->topk);
    uint16_t *other = draft_row(draft, (uint32_t)(place / sampling->topk));
    if (other == row)
        return before;
    uint16_t *mine = row + pick(draft, row), *theirs = draft->ids + place;
    const uint32_t both = before + faults(draft, other);
    swap_ids(mine, theirs);
    const uint32_t after = faults(draft, row);
    if (after + faults(draft, other) <= both)
        return after;
    swap_ids(mine, theirs);
    return before;
}

// One pass over all tokens; true when it found none that breaks a rule.
static bool draft_mend(struct draft *draft)
{
    bool clean = true;
    for (uint32_t t = 0; t < draft->sampling->tokens; t++) {
        uint32_t left = faults(draft, draft_row(draft, t));
        clean = clean && left == 0;
        for (uint32_t i = 0; left > 0 && i < TRIES; i++)
            left = try_swap(draft, t, left);
    }
    return clean;
}

bool sample_with_counts(const struct sampling *sampling, uint16_t *ids)
{
    assert(sampling->topk <= MOE_MAX_TOPK && sampling->groups > 0);
    struct draft draft = {.sampling = sampling,
                          .group_size = sampling->experts / sampling->groups,
                          .rng = sampling->rng,
                          .ids = ids};
    draft_shuffle(&draft);
    for (uint32_t sweep = 0; sweep < SWEEPS; sweep++)
        if (draft_mend(&draft))
            return true;
    return false;
}
