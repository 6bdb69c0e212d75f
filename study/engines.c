#include "study/engines.h"

#include <string.h>

const struct engine *const engine_table[ENGINES] = {&engine_simulate, &engine_estimate,
                                                    &engine_naive};

const struct engine *engine_find(const char *name)
{
    for (size_t e = 0; e < ENGINES; e++)
        if (!strcmp(engine_table[e]->name, name))
            return engine_table[e];
    return NULL;
}

size_t engine_index(const struct engine *engine)
{
    size_t index = 0;
    while (engine_table[index] != engine)
        index++;
    return index;
}
