// The default dispatcher: of those that measured rows stand behind (scenario/backing.h), the one
// whose layer the closed form says is shortest, summed over all that is asked.
//
// One scenario chooses for itself when it is opened. Who asks of several at once, token counts or
// places of a trace, adds up their layers and then gives all of them the same dispatcher:
//
//     chooser_open(&chooser, &scenario.cluster, err); ... chooser_add(&chooser, &scenario) ...
//     chooser_pick(&chooser, what, &choice); chooser_release(&chooser);
#ifndef SCENARIO_CHOICE_H
#define SCENARIO_CHOICE_H

#include "scenario/backing.h"
#include "scenario/parts.h"

#include <stdbool.h>
#include <stddef.h>

// A dispatcher that rows stand behind.
struct candidate {
    char name[FIELD_TEXT_BYTES];
    struct dispatcher dispatcher;
    double layers_ps; // summed over what was added
    bool impossible;  // no engine can put times to some of it
    bool beyond;      // more tokens than its library takes
};

struct chooser {
    struct candidate *candidates; // by name
    size_t count;
    size_t added;                      // layers summed up
    char behind[FIELD_TEXT_BYTES];     // whose rows those are, for people
    char beside[2 * FIELD_TEXT_BYTES]; // why not those of the cluster alone; "": they are
};

// The candidates for the cluster in its shape of now: those that its own rows stand behind; where
// there are none, or within one node none of few or none of many tokens, those of its GPU's
// generation, then of its vendor, then any. The cluster's own do not count there, and stand alone
// where there are no others. Rows of a dispatcher that is no preset are noticed and left out.
// Errors are of presets.
bool chooser_open(struct chooser *chooser, const struct cluster *cluster, struct error *err);
void chooser_release(struct chooser *chooser);

// Adds the layer of a scenario at its place, by the closed form, under each candidate. What the
// scenario has of a dispatcher does not matter, and stays. Nothing is added where there is neither
// a layout nor a contiguous one: fewer experts than ranks.
void chooser_add(struct chooser *chooser, const struct scenario *scenario);

// The first of the shortest sums; of those that the library's own limits allow where any is. What
// was summed up is called `what` in its words ("", "13 token counts"). Where nothing was added, or
// there is no candidate that the cluster could run: deepep-normal, and its words say which.
void chooser_pick(const struct chooser *chooser, const char *what, struct choice *choice);

#endif
