// Generates routing by a recipe, window by window in the order of tokens: memory does not grow with
// the trace. Token, layer and choice are a pure function of the order but for `tokens`: n tokens
// are the first n of n + 1, whatever the number of threads, and a layer is the same whichever
// others are made with it.
#ifndef TRACES_GENERATOR_H
#define TRACES_GENERATOR_H

#include "base/error.h"
#include "model/moe.h"
#include "traces/recipe.h"

struct generator_def {
    const struct recipe *recipe;
    const struct moe *moe;
    const uint32_t *layer; // [layers] of the model's MoE layers, from 0
    uint32_t layers;
    uint64_t tokens;
    uint64_t seed;
};

struct generator; // borrows all that its order points to

// Solves for the popularity that gives the recipe's loads: about a quarter of a second a layer and
// core for 256 experts. Gives a notice when a layer's loads stay off. Refuses a recipe that the
// shape cannot serve.
struct generator *generator_new(const struct generator_def *def, struct error *err);
void generator_free(struct generator *generator);

// The tokens of one window, valid until the next call.
struct generated {
    uint64_t first, count;
    const uint16_t *ids;     // [count][layers][topk], by descending score
    const uint16_t *weights; // binary16, likewise; a token's sum to the model's routed_scaling
};

// False when all tokens have been made.
bool generator_next(struct generator *generator, struct generated *window);

// ---- written as a native trace ------------------------------------------------------------------

struct make_def {
    struct generator_def generator;
    // With ranks, steps.npy says of each token its step and source rank; 0: there is none.
    uint32_t ranks, tokens_per_rank;
    const char *source; // what made it
};

// Writes a folder that is there whole or not at all (EXIT_INPUT where it exists and is not empty).
bool trace_make(const struct make_def *def, const char *folder, struct error *err);

#endif
