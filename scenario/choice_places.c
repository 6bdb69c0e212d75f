#include "scenario/choice_places.h"

#include "scenario/choice.h"

// Layers go by turns, so that a stride over the steps meets all of them.
size_t choice_spread(const struct choice_grid *grid, struct choice_place *places)
{
    const uint64_t all = grid->layer_count * grid->step_count;
    const size_t count = all < CHOICE_PLACES ? (size_t)all : CHOICE_PLACES;
    for (size_t i = 0; i < count; i++) {
        const uint64_t layer = i % grid->layer_count, step = i * grid->step_count / count;
        places[i].layer = grid->layers ? grid->layers[layer] : (uint32_t)layer;
        places[i].step = grid->steps ? grid->steps[step] : step;
    }
    return count;
}

// A place that fails ends it: whoever runs the places says so, with its place.
static void add_places(struct chooser *chooser, const struct scenario *scenario,
                       const struct choice_place *places, size_t count)
{
    struct scenario visitor;
    struct error err;
    scenario_clone(&visitor, scenario);
    for (size_t i = 0; i < count; i++) {
        if (!scenario_seek(&visitor, places[i].layer, places[i].step, &err))
            break;
        chooser_add(chooser, &visitor);
        scenario_forget(&visitor, places[i].step, places[i].step + 1);
    }
    scenario_release(&visitor);
}

bool choice_over_places(struct scenario *scenario, const struct choice_place *places, size_t count,
                        uint64_t all, struct error *err)
{
    struct chooser chooser;
    struct choice choice;
    char what[80] = "";
    if (scenario->def.dispatcher[0])
        return true;
    if (!chooser_open(&chooser, &scenario->cluster, err))
        return false;
    add_places(&chooser, scenario, places, count);
    if (!count)
        chooser_add(&chooser, scenario);
    else if (chooser.added < all)
        snprintf(what, sizeof what, "%zu of %llu places of the trace", chooser.added,
                 (unsigned long long)all);
    else if (all > 1)
        snprintf(what, sizeof what, "%zu places of the trace", chooser.added);
    chooser_pick(&chooser, what, &choice);
    chooser_release(&chooser);
    return scenario_take_choice(scenario, &choice, err);
}
