// A set of a model's layers, by their number from 0: which of them are MoE layers.
#ifndef MODEL_FORMATS_LAYER_SET_H
#define MODEL_FORMATS_LAYER_SET_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_MAX_LAYERS 1024

// All zero: empty.
struct layer_set {
    uint64_t bits[MODEL_MAX_LAYERS / 64];
};

void layer_set_add(struct layer_set *set, uint32_t layer);
bool layer_set_has(const struct layer_set *set, uint32_t layer);
uint32_t layer_set_count(const struct layer_set *set);
// Its layers below that one.
uint32_t layer_set_count_below(const struct layer_set *set, uint32_t layer);
// The index-th of its layers, ascending; asserts that there is one.
uint32_t layer_set_nth(const struct layer_set *set, uint32_t index);

// Reads "3..60", "1,3,5" or "1..47:2". The message has no place in it.
bool layer_set_parse(const char *text, struct layer_set *set, struct error *err);
// The same as text of at most `bytes`, runs of three and more as ranges; false: it does not fit.
bool layer_set_format(const struct layer_set *set, char *text, size_t bytes);

// Reads Megatron's "([0]*3+[1]*58)": a 0 or 1 for each of `count` layers, those of 1 in the set.
// False: it is something else, or has no layers.
bool layer_set_parse_pattern(const char *text, struct layer_set *set, size_t *count);

#endif
