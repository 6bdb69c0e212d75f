// The engines, listed once. Studies and commands choose one by name; nothing asks which one it has.
#ifndef STUDY_ENGINES_H
#define STUDY_ENGINES_H

#include "model/engine/engine.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"

#include <stddef.h>

enum { ENGINES = 3 };

// simulate, estimate, naive.
extern const struct engine *const engine_table[ENGINES];

// The engine of that name, or NULL.
const struct engine *engine_find(const char *name);

// Its place in engine_table[], for arrays that have one value per engine.
size_t engine_index(const struct engine *engine);

#endif
