// One dispatcher for places of a trace, where nobody asked for one.
#ifndef SCENARIO_CHOICE_PLACES_H
#define SCENARIO_CHOICE_PLACES_H

#include "scenario/scenario.h"

// A layer of a step of a trace.
struct choice_place {
    uint32_t layer;
    uint64_t step;
};

// As many places are enough to choose by.
#define CHOICE_PLACES 32

// Layers and steps of a trace, each one with each: listed, or from 0 where the list is NULL.
struct choice_grid {
    const uint32_t *layers, *steps;
    uint64_t layer_count, step_count;
};

// Up to CHOICE_PLACES places of it, spread evenly. Returns how many.
size_t choice_spread(const struct choice_grid *grid, struct choice_place *places);

// Gives a scenario on a trace that was opened undecided (struct scenario_def) the dispatcher whose
// layers at these places, of `all`, are shortest in sum; at its own where there are none.
// Nothing where one was asked. Its own place stays.
bool choice_over_places(struct scenario *scenario, const struct choice_place *places, size_t count,
                        uint64_t all, struct error *err);

#endif
