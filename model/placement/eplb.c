#include "model/placement/eplb.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

struct weighed {
    float weight;
    uint32_t index;
};

static int heavier_first(const void *a, const void *b)
{
    const struct weighed *x = a, *y = b;
    if (x->weight > y->weight || x->weight < y->weight)
        return x->weight > y->weight ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

uint32_t *eplb_order(const float *weight, uint32_t count)
{
    struct weighed *sorted = mem_alloc(count, sizeof *sorted);
    uint32_t *order = mem_alloc(count, sizeof *order);
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = (struct weighed){weight[i], i};
    qsort(sorted, count, sizeof *sorted, heavier_first);
    for (uint32_t i = 0; i < count; i++)
        order[i] = sorted[i].index;
    free(sorted);
    return order;
}

// Where each item goes: as many to each pack, pack by pack.
static void pack_items(const float *weight, uint32_t items, uint32_t packs, uint32_t *place)
{
    const uint32_t room = items / packs;
    if (room == 1) {
        for (uint32_t i = 0; i < items; i++)
            place[i] = i;
        return;
    }
    uint32_t *order = eplb_order(weight, items), *taken = mem_alloc(packs, sizeof *taken);
    float *sum = mem_alloc(packs, sizeof *sum);
    for (uint32_t i = 0; i < items; i++) {
        uint32_t min = packs;
        for (uint32_t p = 0; p < packs; p++)
            if (taken[p] < room && (min == packs || sum[p] < sum[min]))
                min = p;
        place[order[i]] = min * room + taken[min]++;
        sum[min] += weight[order[i]];
    }
    free(order);
    free(taken);
    free(sum);
}

void eplb_replicate(const float *load, uint32_t experts, uint32_t slots, uint32_t *slot_expert,
                    float *weight)
{
    uint32_t *replicas = mem_alloc(experts, sizeof *replicas);
    for (uint32_t e = 0; e < experts; e++) {
        slot_expert[e] = e;
        replicas[e] = 1;
    }
    for (uint32_t slot = experts; slot < slots; slot++) {
        uint32_t max = 0;
        for (uint32_t e = 1; e < experts; e++)
            if (load[e] / (float)replicas[e] > load[max] / (float)replicas[max])
                max = e;
        slot_expert[slot] = max;
        replicas[max]++;
    }
    for (uint32_t slot = 0; slot < slots; slot++)
        weight[slot] = load[slot_expert[slot]] / (float)replicas[slot_expert[slot]];
    free(replicas);
}

// Experts in the order in which nodes hold them: a group's together, groups as they were packed.
static void pack_groups(const struct placement_shape *shape, const float *load, uint32_t *held)
{
    const uint32_t size = shape->experts / shape->groups;
    float *sum = mem_alloc(shape->groups, sizeof *sum);
    uint32_t *place = mem_alloc(shape->groups, sizeof *place);
    for (uint32_t e = 0; e < shape->experts; e++)
        sum[e / size] += load[e];
    pack_items(sum, shape->groups, shape->nodes, place);
    for (uint32_t e = 0; e < shape->experts; e++)
        held[place[e / size] * size + e % size] = e;
    free(sum);
    free(place);
}

// Fills one node's slots from the experts that it holds.
static void fill_node(const struct placement_shape *shape, const float *load, const uint32_t *held,
                      uint32_t *slot_expert)
{
    const uint32_t experts = shape->experts / shape->nodes, slots = shape->slots / shape->nodes;
    float *own = mem_alloc(experts, sizeof *own), *weight = mem_alloc(slots, sizeof *weight);
    uint32_t *replica = mem_alloc(slots, sizeof *replica), *place = mem_alloc(slots, sizeof *place);
    for (uint32_t e = 0; e < experts; e++)
        own[e] = load[held[e]];
    eplb_replicate(own, experts, slots, replica, weight);
    pack_items(weight, slots, shape->ranks / shape->nodes, place);
    for (uint32_t slot = 0; slot < slots; slot++)
        slot_expert[place[slot]] = held[replica[slot]];
    free(own);
    free(weight);
    free(replica);
    free(place);
}

void eplb_hierarchical(const struct placement_shape *shape, const double *load,
                       uint32_t *slot_expert)
{
    assert(shape->groups % shape->nodes == 0 && shape->experts % shape->groups == 0);
    float *single = mem_alloc(shape->experts, sizeof *single);
    uint32_t *held = mem_alloc(shape->experts, sizeof *held);
    for (uint32_t e = 0; e < shape->experts; e++)
        single[e] = (float)load[e];
    pack_groups(shape, single, held);
    for (uint32_t node = 0; node < shape->nodes; node++)
        fill_node(shape, single, held + (size_t)node * (shape->experts / shape->nodes),
                  slot_expert + (size_t)node * (shape->slots / shape->nodes));
    free(single);
    free(held);
}
