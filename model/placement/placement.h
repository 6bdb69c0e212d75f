// Placements: which expert goes into which slot, made from loads. Every rule fills every slot and
// leaves no expert out.
#ifndef MODEL_PLACEMENT_PLACEMENT_H
#define MODEL_PLACEMENT_PLACEMENT_H

#include "base/error.h"
#include "model/placement/eplb.h"

#include <stdint.h>

enum placement_rule {
    PLACEMENT_CONTIGUOUS, // in id order, and around again
    PLACEMENT_RANDOM,     // by seed; redundant slots go to different experts where they can
    PLACEMENT_GREEDY,     // EPLB's replicas, then longest first onto the least loaded rank that has
                          // room; an expert's replicas on different ranks, if there are enough
    PLACEMENT_EPLB, // as deepseek-ai/EPLB: hierarchical where nodes divide groups, else global
    PLACEMENT_EPLB_GLOBAL, // its global policy
    PLACEMENT_SEARCH,      // study/layout_search.h, which needs more than loads
    PLACEMENT_RULES,
};
extern const char *const placement_rule_names[]; // "contiguous", ..., "search"

// Refuses slots that ranks do not divide, or fewer than ranks or experts; the message has no place
// in it.
bool placement_check(const struct placement_shape *shape, struct error *err);

// Fills slot_expert[slots], slots of a rank together. `load` of each expert in any unit, not
// negative. Every rule but search.
void placement_make(enum placement_rule rule, const struct placement_shape *shape,
                    const double *load, uint64_t seed, uint32_t *slot_expert);

#endif
