// The layout: built from the expert of each slot; every maker ends in layout_from_slots.
#include "model/layout.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

void layout_release(struct layout *layout)
{
    free(layout->slot_expert);
    free(layout->slot_rank);
    free(layout->rank_slot);
    free(layout->replica_first);
    free(layout->replica_slot);
    *layout = (struct layout){0};
}

// Ranks take ceil(slots / ranks) slots until the rest divides evenly, then floor.
static void share_slots(struct layout *layout)
{
    const uint32_t floor = layout->slots / layout->ranks, extra = layout->slots % layout->ranks;
    for (uint32_t rank = 0; rank < layout->ranks; rank++)
        layout->rank_slot[rank + 1] = layout->rank_slot[rank] + floor + (rank < extra);
    for (uint32_t rank = 0; rank < layout->ranks; rank++)
        for (uint32_t slot = layout->rank_slot[rank]; slot < layout->rank_slot[rank + 1]; slot++)
            layout->slot_rank[slot] = rank;
}

// Counting sort of the slots by expert.
static void index_replicas(struct layout *layout)
{
    for (uint32_t slot = 0; slot < layout->slots; slot++)
        layout->replica_first[layout->slot_expert[slot] + 1]++;
    for (uint32_t expert = 0; expert < layout->experts; expert++)
        layout->replica_first[expert + 1] += layout->replica_first[expert];
    uint32_t *next = mem_copy(layout->replica_first, layout->experts * sizeof *next);
    for (uint32_t slot = 0; slot < layout->slots; slot++)
        layout->replica_slot[next[layout->slot_expert[slot]]++] = slot;
    free(next);
}

bool layout_sizes_check(uint32_t slots, uint32_t experts, uint32_t ranks, struct error *err)
{
    if (experts == 0 || ranks == 0)
        return error_set(err, EXIT_INPUT, "%u experts on %u ranks: expected at least 1 of each",
                         experts, ranks);
    if (slots < ranks)
        return error_set(err, EXIT_INPUT, "%u slots: expected at least one for each of %u ranks",
                         slots, ranks);
    if (slots < experts)
        return error_set(err, EXIT_INPUT, "%u slots: expected at least one for each of %u experts",
                         slots, experts);
    if (slots > LAYOUT_MAX_SLOTS)
        return error_set(err, EXIT_INPUT, "%u slots: expected at most %d", slots, LAYOUT_MAX_SLOTS);
    return true;
}

static bool experts_check(const uint32_t *slot_expert, uint32_t slots, uint32_t experts,
                          struct error *err)
{
    for (uint32_t slot = 0; slot < slots; slot++)
        if (slot_expert[slot] >= experts)
            return error_set(err, EXIT_INPUT, "slot %u: expert %u: expected 0 to %u", slot,
                             slot_expert[slot], experts - 1);
    bool *placed = mem_alloc(experts, sizeof *placed);
    for (uint32_t slot = 0; slot < slots; slot++)
        placed[slot_expert[slot]] = true;
    uint32_t expert = 0;
    while (expert < experts && placed[expert])
        expert++;
    free(placed);
    if (expert < experts)
        return error_set(err, EXIT_INPUT,
                         "slots 0 to %u: expert %u has none; expected each expert in a slot",
                         slots - 1, expert);
    return true;
}

bool layout_from_slots(struct layout *layout, const uint32_t *slot_expert, uint32_t slots,
                       uint32_t experts, uint32_t ranks, struct error *err)
{
    *layout = (struct layout){0};
    if (!layout_sizes_check(slots, experts, ranks, err) ||
        !experts_check(slot_expert, slots, experts, err))
        return false;
    *layout = (struct layout){.experts = experts, .ranks = ranks, .slots = slots};
    layout->slot_expert = mem_copy(slot_expert, slots * sizeof *slot_expert);
    layout->slot_rank = mem_alloc(slots, sizeof *layout->slot_rank);
    layout->rank_slot = mem_alloc(ranks + 1, sizeof *layout->rank_slot);
    layout->replica_first = mem_alloc(experts + 1, sizeof *layout->replica_first);
    layout->replica_slot = mem_alloc(slots, sizeof *layout->replica_slot);
    share_slots(layout);
    index_replicas(layout);
    return true;
}

void layout_copy(struct layout *copy, const struct layout *layout)
{
    struct error none; // what was made of these slots once can be made again
    layout_from_slots(copy, layout->slot_expert, layout->slots, layout->experts, layout->ranks,
                      &none);
}

// In turns of every `step`-th expert: 1 leaves them in id order; by the number of ranks, rank r has
// experts r, r + ranks, ..., as many as the contiguous shares give it.
static bool deal_experts(struct layout *layout, uint32_t experts, uint32_t ranks, uint32_t step,
                         struct error *err)
{
    *layout = (struct layout){0};
    if (ranks == 0 || experts < ranks)
        return error_set(err, EXIT_INPUT,
                         "%u experts on %u ranks: expected at least one expert a rank", experts,
                         ranks);
    uint32_t *slot_expert = mem_alloc(experts, sizeof *slot_expert);
    uint32_t slot = 0;
    for (uint32_t first = 0; first < step; first++)
        for (uint32_t expert = first; expert < experts; expert += step)
            slot_expert[slot++] = expert;
    const bool done = layout_from_slots(layout, slot_expert, experts, experts, ranks, err);
    free(slot_expert);
    return done;
}

bool layout_contiguous(struct layout *layout, uint32_t experts, uint32_t ranks, struct error *err)
{
    return deal_experts(layout, experts, ranks, 1, err);
}

bool layout_round_robin(struct layout *layout, uint32_t experts, uint32_t ranks, struct error *err)
{
    return deal_experts(layout, experts, ranks, ranks, err);
}

void layout_fuse_shared(struct layout *fused, const struct layout *layout, uint32_t shared)
{
    const uint32_t more = layout->ranks * shared;
    uint32_t *slot_expert = mem_alloc(layout->slots + more, sizeof *slot_expert);
    uint32_t slot = 0;
    struct error none;
    for (uint32_t r = 0; r < layout->ranks; r++) {
        for (uint32_t s = layout->rank_slot[r]; s < layout->rank_slot[r + 1]; s++)
            slot_expert[slot++] = layout->slot_expert[s];
        for (uint32_t s = 0; s < shared; s++)
            slot_expert[slot++] = layout->experts + r * shared + s;
    }
    const bool ok =
        layout_from_slots(fused, slot_expert, slot, layout->experts + more, layout->ranks, &none);
    assert(ok); // every rank has as many more, so shares stay as they were
    (void)ok;
    free(slot_expert);
}
