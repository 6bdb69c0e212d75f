#include "traces/import_write.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

// How an import's axis names its layers.
enum axis_layers {
    AXIS_MODEL_LAYERS, // by their place among all, of which dense ones hold nothing
    AXIS_MOE_LAYERS,   // by their place among MoE layers
    AXIS_IDS,          // layer_ids, of the model
    AXIS_MOE_IDS,      // layer_ids, counted among MoE layers
};

static bool refuse_dense(const struct import *import, uint32_t layer, struct error *err)
{
    return error_set(err, EXIT_INPUT,
                     "%s: layer %" PRIu32 " has choices; the model %s has MoE layers %s",
                     import->pieces[0].name, layer, import->moe.name, import->moe.moe_layers);
}

// Layers by number are the model's; but some loggers count MoE layers alone.
static bool check_ids(const struct import *import, const bool *live, enum axis_layers *layers,
                      struct error *err)
{
    const struct moe *moe = &import->moe;
    bool counted = import->axis == moe->layers;
    uint32_t dense = UINT32_MAX;
    for (uint32_t l = 0; l < import->axis; l++) {
        const uint32_t id = import->layer_ids[l];
        counted = counted && id == l;
        if (dense == UINT32_MAX && live[l] && moe_layer_of(moe, id) == MOE_NOT_AN_MOE_LAYER)
            dense = id;
    }
    if (dense == UINT32_MAX)
        return true;
    if (!counted)
        return refuse_dense(import, dense, err);
    *layers = AXIS_MOE_IDS;
    notice("%s: layers 0 to %" PRIu32 " are taken as the MoE layers of %s: %s",
           import->pieces[0].name, import->axis - 1, moe->name, moe->moe_layers);
    return true;
}

static bool check_axis(const struct import *import, const bool *live, enum axis_layers *layers,
                       struct error *err)
{
    const struct moe *moe = &import->moe;
    const uint32_t all = moe_model_layers(moe);
    *layers = import->layer_ids ? AXIS_IDS : AXIS_MODEL_LAYERS;
    if (!import->def->model[0])
        return true;
    if (import->layer_ids)
        return check_ids(import, live, layers, err);
    for (uint32_t l = 0; import->axis == all && l < all; l++)
        if (live[l] && moe_layer_of(moe, l) == MOE_NOT_AN_MOE_LAYER)
            return refuse_dense(import, l, err);
    if (import->axis != all)
        *layers = AXIS_MOE_LAYERS;
    return import->axis == all || import->axis == moe->layers ||
           error_set(err, EXIT_INPUT,
                     "%s: %" PRIu32 " layers; the model %s has %" PRIu32 " MoE layers and %" PRIu32
                     " in all",
                     import->pieces[0].name, import->axis, moe->name, moe->layers, all);
}

static uint32_t layer_at(const struct import *import, enum axis_layers layers, uint32_t place)
{
    switch (layers) {
    case AXIS_MODEL_LAYERS:
        return place;
    case AXIS_IDS:
        return import->layer_ids[place];
    case AXIS_MOE_LAYERS:
    case AXIS_MOE_IDS:
        return moe_layer_id(&import->moe, place);
    }
    assert(false && "no such axis");
    return 0;
}

bool layer_map_init(struct layer_map *map, const struct import *import, const bool *live,
                    struct error *err)
{
    enum axis_layers layers;
    *map = (struct layer_map){0};
    if (!check_axis(import, live, &layers, err))
        return false;
    map->axis = mem_alloc(import->axis, sizeof *map->axis);
    map->ids = mem_alloc(import->axis, sizeof *map->ids);
    for (uint32_t l = 0; l < import->axis; l++)
        if (live[l]) {
            map->ids[map->count] = layer_at(import, layers, l);
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
