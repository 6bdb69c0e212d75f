#include "model/placement/placement.h"

#include "base/mem.h"
#include "base/rng.h"

#include <assert.h>
#include <stdlib.h>

const char *const placement_rule_names[] = {"contiguous",  "random", "greedy", "eplb",
                                            "eplb-global", "search", NULL};

bool placement_check(const struct placement_shape *shape, struct error *err)
{
    if (shape->slots % shape->ranks)
        return error_set(err, EXIT_INPUT,
                         "%u slots on %u ranks: expected as many on each, %u or %u slots",
                         shape->slots, shape->ranks, shape->slots / shape->ranks * shape->ranks,
                         (shape->slots / shape->ranks + 1) * shape->ranks);
    if (shape->slots < shape->ranks || shape->slots < shape->experts)
        return error_set(err, EXIT_INPUT,
                         "%u slots: expected at least one for each of %u experts and %u ranks",
                         shape->slots, shape->experts, shape->ranks);
    return true;
}

static void shuffle_slots(uint32_t *items, uint32_t count, struct rng *rng)
{
    for (uint32_t i = count; i > 1; i--) {
        const uint32_t other = rng_below(rng, i), held = items[i - 1];
        items[i - 1] = items[other];
        items[other] = held;
    }
}

// Redundant slots go around the experts in an order of their own.
static void place_random(const struct placement_shape *shape, uint64_t seed, uint32_t *slot_expert)
{
    struct rng rng = rng_stream(seed, shape->experts, shape->slots, 0);
    uint32_t *order = mem_alloc(shape->experts, sizeof *order);
    for (uint32_t e = 0; e < shape->experts; e++)
        order[e] = e;
    shuffle_slots(order, shape->experts, &rng);
    for (uint32_t slot = 0; slot < shape->slots; slot++)
        slot_expert[slot] = order[slot % shape->experts];
    shuffle_slots(slot_expert, shape->slots, &rng);
    free(order);
}

// Ranks being filled.
struct filling {
    uint32_t ranks, room; // slots a rank
    uint32_t *taken;      // [ranks]
    float *sum;           // [ranks]
    float *weight;        // [ranks * room] of what stands in a slot
    uint32_t *slot_expert;
};

static bool rank_holds(const struct filling *filling, uint32_t rank, uint32_t expert)
{
    for (uint32_t i = 0; i < filling->taken[rank]; i++)
        if (filling->slot_expert[rank * filling->room + i] == expert)
            return true;
    return false;
}

// The least loaded rank that has room; with `apart`, and not the expert. `ranks` when there is
// none.
static uint32_t min_loaded(const struct filling *filling, uint32_t expert, bool apart)
{
    uint32_t min = filling->ranks;
    for (uint32_t r = 0; r < filling->ranks; r++)
        if (filling->taken[r] < filling->room &&
            (min == filling->ranks || filling->sum[r] < filling->sum[min]) &&
            !(apart && rank_holds(filling, r, expert)))
            min = r;
    return min;
}

static void put_slot(struct filling *filling, uint32_t rank, uint32_t expert, float weight)
{
    const uint32_t slot = rank * filling->room + filling->taken[rank]++;
    filling->slot_expert[slot] = expert;
    filling->weight[slot] = weight;
    filling->sum[rank] += weight;
}

// Puts the expert into a slot of another rank that has it not, and what stood there on `rank`.
// There is such a slot as long as ranks hold no expert twice and the expert has fewer replicas than
// there are ranks: a full rank has more experts than one with room.
static bool trade(struct filling *filling, uint32_t rank, uint32_t expert, float weight)
{
    for (uint32_t other = 0; other < filling->ranks; other++)
        for (uint32_t i = 0; i < filling->taken[other] && !rank_holds(filling, other, expert);
             i++) {
            const uint32_t slot = other * filling->room + i;
            if (rank_holds(filling, rank, filling->slot_expert[slot]))
                continue;
            put_slot(filling, rank, filling->slot_expert[slot], filling->weight[slot]);
            filling->sum[other] += weight - filling->weight[slot];
            filling->slot_expert[slot] = expert;
            filling->weight[slot] = weight;
            return true;
        }
    return false;
}

static void fill_slot(struct filling *filling, uint32_t expert, float weight)
{
    uint32_t rank = min_loaded(filling, expert, true);
    if (rank == filling->ranks) {
        rank = min_loaded(filling, expert, false);
        if (trade(filling, rank, expert, weight))
            return;
    }
    put_slot(filling, rank, expert, weight);
}

static void place_greedy(const struct placement_shape *shape, const double *load,
                         uint32_t *slot_expert)
{
    float *single = mem_alloc(shape->experts, sizeof *single);
    float *weight = mem_alloc(shape->slots, sizeof *weight);
    uint32_t *replica = mem_alloc(shape->slots, sizeof *replica);
    for (uint32_t e = 0; e < shape->experts; e++)
        single[e] = (float)load[e];
    eplb_replicate(single, shape->experts, shape->slots, replica, weight);
    uint32_t *order = eplb_order(weight, shape->slots);
    struct filling filling = {.ranks = shape->ranks,
                              .room = shape->slots / shape->ranks,
                              .taken = mem_alloc(shape->ranks, sizeof(uint32_t)),
                              .sum = mem_alloc(shape->ranks, sizeof(float)),
                              .weight = mem_alloc(shape->slots, sizeof(float)),
                              .slot_expert = slot_expert};
    for (uint32_t i = 0; i < shape->slots; i++)
        fill_slot(&filling, replica[order[i]], weight[order[i]]);
    free(single);
    free(weight);
    free(replica);
    free(order);
    free(filling.taken);
    free(filling.sum);
    free(filling.weight);
}

void placement_make(enum placement_rule rule, const struct placement_shape *shape,
                    const double *load, uint64_t seed, uint32_t *slot_expert)
{
    struct placement_shape flat = *shape;
    assert(rule < PLACEMENT_SEARCH && shape->experts > 0 && shape->ranks > 0);
    switch (rule) {
    case PLACEMENT_RANDOM:
        place_random(shape, seed, slot_expert);
        return;
    case PLACEMENT_GREEDY:
        place_greedy(shape, load, slot_expert);
        return;
    case PLACEMENT_EPLB:
    case PLACEMENT_EPLB_GLOBAL:
        if (rule == PLACEMENT_EPLB_GLOBAL || shape->groups % shape->nodes)
            flat.groups = flat.nodes = 1;
        eplb_hierarchical(&flat, load, slot_expert);
        return;
    default:
        for (uint32_t slot = 0; slot < shape->slots; slot++)
            slot_expert[slot] = slot % shape->experts;
    }
}
