// The flags of a question, for every program that asks one. Offsets count from a struct question
// that stands first in the program's own struct.
#ifndef MODEL_QUESTION_OPTIONS_H
#define MODEL_QUESTION_OPTIONS_H

#include "base/options.h"
#include "model/question.h"

// Rows fall into parts; a program says which of its subcommands take each part.
enum question_part {
    QUESTION_CLUSTER, // cluster, ep
    QUESTION_LAYOUT,
    QUESTION_LAYER, // model, dispatcher, sms, trace
    QUESTION_RULE,  // routing
    QUESTION_PLACE, // layer, step: one of each
    QUESTION_TRAFFIC,
    QUESTION_SEED,
    QUESTION_RUN,    // slow, skew_us, overlap
    QUESTION_ENGINE, // aligned
    QUESTION_LOADS,
    QUESTION_PARTS,
};

#define QUESTION_OPTIONS 17

// Writes the rows; commands[part] is the set of subcommand bits that take it.
void question_options(struct option_row out[QUESTION_OPTIONS],
                      const uint32_t commands[QUESTION_PARTS]);

#endif
