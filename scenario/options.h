// The flags of a scenario, for every program that asks one. Offsets count from a struct scenario_def
// that stands first in the program's own struct.
#ifndef SCENARIO_OPTIONS_H
#define SCENARIO_OPTIONS_H

#include "base/options.h"
#include "scenario/scenario_def.h"

// Rows fall into parts; a program says which of its subcommands take each part.
enum scenario_part {
    SCENARIO_PART_CLUSTER, // cluster, ep
    SCENARIO_PART_LAYOUT,
    SCENARIO_PART_LAYER, // model, dispatcher, sms, trace
    SCENARIO_PART_RULE,  // routing
    SCENARIO_PART_PLACE, // layer, step: one of each
    SCENARIO_PART_TRAFFIC,
    SCENARIO_PART_SEED,
    SCENARIO_PART_RUN,    // slow, skew_us, overlap
    SCENARIO_PART_ENGINE, // aligned
    SCENARIO_PART_LOADS,
    SCENARIO_PART_PARTS,
};

#define SCENARIO_OPTIONS 17

// Writes the rows; commands[part] is the set of subcommand bits that take it.
void scenario_options(struct option_row out[SCENARIO_OPTIONS],
                      const uint32_t commands[SCENARIO_PART_PARTS]);

#endif
