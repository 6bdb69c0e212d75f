// A placement search of our own: from EPLB's layout on, slots swap experts and redundant slots
// change theirs, as long as the layer's cost falls (study/layout_cost.h). It sees what EPLB does
// not: which experts the same tokens choose. Those come together in a rank or node, so that fewer
// copies travel, as far as the busiest rank's load allows.
//
// Threshold accepting (Dueck and Scheuer, J. Comp. Physics 90, 1990): a step may cost up to a
// threshold that falls to nothing; the cheapest layout seen is kept. Bounded by steps, not by time;
// the same seed gives the same layout.
#ifndef STUDY_LAYOUT_SEARCH_H
#define STUDY_LAYOUT_SEARCH_H

#include "study/layout_cost.h"
#include "model/placement/placement.h"

#define LAYOUT_SEARCH_STEPS 100000

struct layout_search {
    const struct placement_shape *shape;
    const struct layout_cost *cost;
    const uint16_t *ids; // [tokens * topk] experts of the tokens planned on; ROUTING_DROPPED: none
    uint32_t tokens, topk;
    uint32_t steps;
    uint64_t seed;
};

// Improves slot_expert[slots], which is a whole layout. Returns the cost that it ends with.
double layout_search(const struct layout_search *search, uint32_t *slot_expert);

#endif
