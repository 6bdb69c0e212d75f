#include "traces/deal.h"

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
static uint64_t below(struct rng *rng, uint64_t bound)
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
static uint64_t add_up(const uint64_t *weights, const uint64_t *counts, uint32_t experts,
                       uint64_t most, uint64_t *ends)
{
    uint64_t sum = 0;
    for (uint32_t e = 0; e < experts; e++)
        ends[e] = sum += counts[e] < most ? weights[e] : 0;
    return sum;
}

bool deal_draw(const uint64_t *weights, uint32_t experts, uint64_t total, uint64_t most,
               struct rng *rng, uint64_t *counts)
{
    uint64_t *ends = mem_alloc(experts, sizeof *ends);
    memset(counts, 0, experts * sizeof *counts);
    uint64_t sum = add_up(weights, counts, experts, most, ends);
    uint64_t drawn = 0;
    for (; drawn < total && sum > 0; drawn++) {
        const uint32_t expert = find_part(ends, experts, below(rng, sum));
        // A full expert takes no further part: what drawing again until another comes amounts to.
        if (++counts[expert] == most)
            sum = add_up(weights, counts, experts, most, ends);
    }
    free(ends);
    return drawn == total;
}

// --- dealing -----------------------------------------------------------------------------------

struct table {
    const struct deal *deal;
    uint32_t group_size;
    struct rng rng;
    uint16_t *ids; // [tokens * topk]
};

static uint16_t *row_of(const struct table *table, uint32_t token)
{
    return table->ids + (size_t)token * table->deal->topk;
}

// Every choice once, in random order (Fisher and Yates).
static void shuffle(struct table *table)
{
    const struct deal *deal = table->deal;
    const uint64_t places = (uint64_t)deal->tokens * deal->topk;
    uint64_t at = 0;
    for (uint32_t e = 0; e < deal->experts; e++)
        for (uint64_t i = 0; i < deal->counts[e]; i++)
            table->ids[at++] = (uint16_t)e;
    while (at < places)
        table->ids[at++] = ROUTING_DROPPED;
    for (uint64_t i = places; i > 1; i--) {
        const uint64_t other = below(&table->rng, i);
        const uint16_t id = table->ids[i - 1];
        table->ids[i - 1] = table->ids[other];
        table->ids[other] = id;
    }
}

static bool dropped(uint16_t id)
{
    return id == ROUTING_DROPPED;
}

static uint32_t repeats(const struct table *table, const uint16_t *row)
{
    uint32_t count = 0;
    for (uint32_t k = 1; k < table->deal->topk; k++)
        for (uint32_t j = 0; j < k && !dropped(row[k]); j++)
            if (row[j] == row[k]) {
                count++;
                break;
            }
    return count;
}

static uint32_t groups_of(const struct table *table, const uint16_t *row)
{
    uint16_t seen[MOE_MAX_TOPK];
    uint32_t count = 0;
    for (uint32_t k = 0; k < table->deal->topk; k++) {
        if (dropped(row[k]))
            continue;
        const uint16_t group = (uint16_t)(row[k] / table->group_size);
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
static uint32_t faults(const struct table *table, const uint16_t *row)
{
    const struct deal *deal = table->deal;
    const uint32_t twice = repeats(table, row);
    if (deal->topk_groups == deal->groups)
        return twice * MOE_MAX_TOPK;
    const uint32_t groups = groups_of(table, row);
    return twice * MOE_MAX_TOPK + (groups > deal->topk_groups ? groups - deal->topk_groups : 0);
}

static void swap(uint16_t *a, uint16_t *b)
{
    const uint16_t id = *a;
    *a = *b;
    *b = id;
}

// The choice to give away: one that stands twice, or any.
static uint32_t pick(struct table *table, const uint16_t *row)
{
    for (uint32_t k = 1; k < table->deal->topk; k++)
        for (uint32_t j = 0; j < k && !dropped(row[k]); j++)
            if (row[j] == row[k])
                return k;
    return (uint32_t)below(&table->rng, table->deal->topk);
}

// Swaps one choice of the token for one of another where both together break no more rules than
// before; equal is taken too, so that it walks out of dead ends. Returns the token's faults after.
static uint32_t try_swap(struct table *table, uint32_t token, uint32_t before)
{
    const struct deal *deal = table->deal;
    uint16_t *row = row_of(table, token);
    const uint64_t place = below(&table->rng, (uint64_t)deal->tokens * deal->topk);
    uint16_t *other = row_of(table, (uint32_t)(place / deal->topk));
    if (other == row)
        return before;
    uint16_t *mine = row + pick(table, row), *theirs = table->ids + place;
    const uint32_t both = before + faults(table, other);
    swap(mine, theirs);
    const uint32_t after = faults(table, row);
    if (after + faults(table, other) <= both)
        return after;
    swap(mine, theirs);
    return before;
}

// One pass over all tokens; true when it found none that breaks a rule.
static bool mend(struct table *table)
{
    bool clean = true;
    for (uint32_t t = 0; t < table->deal->tokens; t++) {
        uint32_t left = faults(table, row_of(table, t));
        clean = clean && left == 0;
        for (uint32_t i = 0; left > 0 && i < TRIES; i++)
            left = try_swap(table, t, left);
    }
    return clean;
}

bool deal_counts(const struct deal *deal, uint16_t *ids)
{
    assert(deal->topk <= MOE_MAX_TOPK && deal->groups > 0);
    struct table table = {
        .deal = deal, .group_size = deal->experts / deal->groups, .rng = deal->rng, .ids = ids};
    shuffle(&table);
    for (uint32_t sweep = 0; sweep < SWEEPS; sweep++)
        if (mend(&table))
            return true;
    return false;
}
