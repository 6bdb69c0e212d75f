// What files of layouts hold: rows of slots, each with its expert, as serving engines write and
// read them. Whose layers the rows are is for model/layout_file.h.
//
// TensorRT-LLM's YAML (num_slots, initial_global_assignments: {LAYER: [...]}), which vLLM's record
// eplb_initial_mapping has too, by number among MoE layers; SGLang's JSON
// (physical_to_logical_map), also as phy2log; EPLB's bare phy2log, JSON or .npy; one list for all
// layers; vLLM-Ascend's and MindIE's expert_map.json (layer_list); maps by model (model_maps).
#ifndef MODEL_FORMATS_LAYOUT_ROWS_H
#define MODEL_FORMATS_LAYOUT_ROWS_H

#include "model/moe.h"

#include <stddef.h>

enum layout_numbering {
    LAYOUT_BY_PLACE,     // rows from the first layer on: of the model, or its MoE layers alone
    LAYOUT_BY_LAYER,     // ids of model layers
    LAYOUT_BY_MOE_LAYER, // ids counted among MoE layers
    LAYOUT_FOR_ALL,      // one row, for every layer
};

struct layout_rows {
    char *name; // of the file
    enum layout_numbering numbering;
    const char *key; // that the rows stand under, for messages
    uint32_t count, slots, room;
    uint32_t *ids;   // [count]
    uint32_t *cells; // [count * slots], the expert of each
    size_t *lines;   // [count]; 0: the file has none
};

// experts: refuses ids from there on; 0: from LAYOUT_MAX_SLOTS on. moe, or NULL: of maps by model
// the one that has its number of layers. Refuses (EXIT_INPUT, "file:line: ...") what is none of
// these, rows of other lengths and ids that are none.
bool layout_rows_load(struct layout_rows *rows, const char *path, uint32_t experts,
                      const struct moe *moe, struct error *err);
void layout_rows_release(struct layout_rows *rows);

// "file:line: " before the message.
bool layout_rows_blame(const struct layout_rows *rows, uint32_t row, struct error *err);

#endif
