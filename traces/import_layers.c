#include "traces/import_write.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

// Layers by their place: all of the model's, of which dense ones hold nothing, or its MoE layers
// alone.
static bool place_layers(const struct import *import, const bool *live, uint32_t *first,
                         struct error *err)
{
    const struct moe *moe = &import->moe;
    const bool whole = import->axis == moe->layers + moe->dense_layers;
    if (import->layer_ids || !import->def->model[0])
        return true;
    for (uint32_t l = 0; whole && l < moe->dense_layers; l++)
        if (live[l])
            return error_set(err, EXIT_INPUT,
                             "%s: layer %" PRIu32 " has choices; the model %s begins with %" PRIu32
                             " dense layers",
                             import->pieces[0].name, l, moe->name, moe->dense_layers);
    *first = whole ? 0 : moe->dense_layers;
    return whole || import->axis == moe->layers ||
           error_set(err, EXIT_INPUT,
                     "%s: %" PRIu32 " layers; the model %s has %" PRIu32 " MoE layers and %" PRIu32
                     " in all",
                     import->pieces[0].name, import->axis, moe->name, moe->layers,
                     moe->layers + moe->dense_layers);
}

bool layer_map_init(struct layer_map *map, const struct import *import, const bool *live,
                    struct error *err)
{
    uint32_t first = 0;
    *map = (struct layer_map){0};
    if (!place_layers(import, live, &first, err))
        return false;
    map->axis = mem_alloc(import->axis, sizeof *map->axis);
    map->ids = mem_alloc(import->axis, sizeof *map->ids);
    for (uint32_t l = 0; l < import->axis; l++)
        if (live[l]) {
            map->ids[map->count] = import->layer_ids ? import->layer_ids[l] : first + l;
            map->axis[map->count++] = l;
        }
    if (map->count)
        return true;
    layer_map_release(map);
    return error_set(err, EXIT_INPUT, "%s: no layer has any choices", import->pieces[0].name);
}

void layer_map_release(struct layer_map *map)
{
    free(map->axis);
    free(map->ids);
    *map = (struct layer_map){0};
}
