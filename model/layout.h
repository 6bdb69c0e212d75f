// The layout: which rank holds which expert. A slot is room for one expert on one rank; an expert
// with several slots is replicated (EPLB's redundant experts).
#ifndef MODEL_LAYOUT_H
#define MODEL_LAYOUT_H

#include "base/error.h"

#include <stdint.h>

#define LAYOUT_MAX_SLOTS 65536

struct layout {
    uint32_t experts;
    uint32_t ranks;
    uint32_t slots;
    uint32_t *slot_expert;   // [slots]
    uint32_t *slot_rank;     // [slots], not decreasing: a rank's slots stand together
    uint32_t *rank_slot;     // [ranks + 1]: rank r has slots rank_slot[r] .. rank_slot[r + 1] - 1
    uint32_t *replica_first; // [experts + 1] into replica_slot
    uint32_t *replica_slot;  // [slots]: the slots of each expert, ascending
};

// Experts in id order; each rank gets ceil or floor of experts / ranks, the larger shares first.
// Refuses fewer experts than ranks.
bool layout_contiguous(struct layout *layout, uint32_t experts, uint32_t ranks, struct error *err);

// Expert e on rank e mod ranks. Refuses fewer experts than ranks.
bool layout_round_robin(struct layout *layout, uint32_t experts, uint32_t ranks, struct error *err);

// From the expert of each slot, in slot order; slots are shared out as ceil or floor of slots /
// ranks. Refuses an expert out of range, an expert without a slot, fewer slots than ranks or than
// experts. The message names the slot.
bool layout_from_slots(struct layout *layout, const uint32_t *slot_expert, uint32_t slots,
                       uint32_t experts, uint32_t ranks, struct error *err);

// What layout_from_slots refuses of sizes alone.
bool layout_sizes_check(uint32_t slots, uint32_t experts, uint32_t ranks, struct error *err);

// `shared` slots more on every rank, behind its others, each for an expert of its own: ids from
// layout->experts on, a rank's together.
void layout_fuse_shared(struct layout *fused, const struct layout *layout, uint32_t shared);

// A copy of its own.
void layout_copy(struct layout *copy, const struct layout *layout);

void layout_release(struct layout *layout);

static inline uint32_t layout_replicas(const struct layout *layout, uint32_t expert)
{
    return layout->replica_first[expert + 1] - layout->replica_first[expert];
}

// The slot that serves an expert's token: replicas take turns by the token's index, so that each
// has its share whatever the rank (round-robin, as static EPLB dispatch does).
static inline uint32_t layout_slot(const struct layout *layout, uint32_t expert, uint32_t token)
{
    const uint32_t first = layout->replica_first[expert];
    return layout->replica_slot[first + token % layout_replicas(layout, expert)];
}

#endif
