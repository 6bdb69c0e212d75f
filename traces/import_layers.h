// Which layers of an import's axis a trace keeps, and which of the model's they are. Private to
// traces/.
#ifndef TRACES_IMPORT_LAYERS_H
#define TRACES_IMPORT_LAYERS_H

#include "traces/import_pieces.h"

struct layer_map {
    uint32_t count;
    uint32_t *axis; // [count] places on the import's axis
    uint32_t *ids;  // [count] of the model
};

// `live` says which layers of the axis hold anything. Refuses none, and an axis that cannot be the
// model's.
bool layer_map_init(struct layer_map *map, const struct import *import, const bool *live,
                    struct error *err);
void layer_map_release(struct layer_map *map);

#endif
