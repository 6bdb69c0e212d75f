// A generated trace, written as a native one.
#ifndef TRACES_MAKE_H
#define TRACES_MAKE_H

#include "traces/generator.h"

struct make_def {
    struct generator_def generator;
    // With ranks, steps.npy says of each token its step and source rank; 0: there is none.
    uint32_t ranks, tokens_per_rank;
    const char *source; // what made it
};

// Writes a folder that is there whole or not at all (EXIT_INPUT where it exists and is not empty).
bool trace_make(const struct make_def *def, const char *folder, struct error *err);

#endif
