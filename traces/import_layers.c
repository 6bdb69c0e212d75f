#include "traces/import_write.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

// Layers by their place: all of the model's, of which dense ones hold nothing, or its MoE layers
// alone.
static bool check_axis(const struct import *import, const bool *live, struct error *err)
{
    const struct moe *moe = &import->moe;
    const uint32_t all = moe_model_layers(moe);
    if (import->layer_ids || !import->def->model[0])
        return true;
    for (uint32_t l = 0; import->axis == all && l < all; l++)
        if (live[l] && moe_layer_of(moe, l) == MOE_NOT_AN_MOE_LAYER)
            return error_set(err, EXIT_INPUT,
                             "%s: layer %" PRIu32 " has choices; the model %s has MoE layers %s",
                             import->pieces[0].name, l, moe->name, moe->moe_layers);
    return import->axis == all || import->axis == moe->layers ||
           error_set(err, EXIT_INPUT,
                     "%s: %" PRIu32 " layers; the model %s has %" PRIu32 " MoE layers and %" PRIu32
                     " in all",
                     import->pieces[0].name, import->axis, moe->name, moe->layers, all);
}

// Which of the model's layers stands at that place of the axis.
static uint32_t layer_at(const struct import *import, uint32_t place)
{
    if (import->layer_ids)
        return import->layer_ids[place];
    const bool moe_layers_alone =
        import->def->model[0] && import->axis != moe_model_layers(&import->moe);
    return moe_layers_alone ? moe_layer_id(&import->moe, place) : place;
}

bool layer_map_init(struct layer_map *map, const struct import *import, const bool *live,
                    struct error *err)
{
    *map = (struct layer_map){0};
    if (!check_axis(import, live, err))
        return false;
    map->axis = mem_alloc(import->axis, sizeof *map->axis);
    map->ids = mem_alloc(import->axis, sizeof *map->ids);
    for (uint32_t l = 0; l < import->axis; l++)
        if (live[l]) {
            map->ids[map->count] = layer_at(import, l);
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
