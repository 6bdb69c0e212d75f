// Layout files: the expert of every slot, layer by layer, as serving engines load them
// (model/formats/layout_rows.h lists what is read). Slots are numbered over ranks in order, as many
// on each. Two formats are written:
//
// TensorRT-LLM, a load balancer's YAML:
//
//     num_slots: 288
//     layer_updates_per_iter: 0
//     initial_global_assignments:
//       3: [0, 1, ...]              # model layer id: expert of each slot
//
// SGLang, JSON for --init-expert-location; a row a model layer from 0 on, dense ones too:
//
//     {"physical_to_logical_map": [[0, 1, ...], ...]}
//
// Rows may be those of all model layers or of its MoE layers alone: the model tells by their
// number.
#ifndef MODEL_LAYOUT_FILE_H
#define MODEL_LAYOUT_FILE_H

#include "model/layout.h"
#include "model/moe.h"

#include <stdio.h>

enum layout_format { LAYOUT_TRTLLM, LAYOUT_SGLANG };
extern const char *const layout_format_names[]; // "trtllm", "sglang"

// Layouts of several model layers, alike in experts, ranks and slots.
struct layouts {
    uint32_t count;
    uint32_t *layer_ids;   // [count] of the model, ascending
    struct layout *of;     // [count]
    uint32_t model_layers; // of the model, dense ones too; 0: not known
};

// What a layout is wanted for.
struct layout_wanted {
    uint32_t experts, ranks; // experts 0: one more than the highest id named
    int layer;               // of the model; -1: the first that is listed, of MoE layers if any is
    const struct moe *moe;   // whose layers they are; NULL: not known, and rows count from layer 0
};

// Whether layout_load takes it for "contiguous" or "round-robin".
bool layout_is_rule(const char *what);

// "contiguous", "round-robin" or the path of a file (layout_from_file).
bool layout_load(struct layout *layout, const char *what, const struct layout_wanted *wanted,
                 struct error *err);

// One layer of a file. Refuses, with file:line: what layout_rows_load refuses, another number of
// rows than the model has layers or MoE layers, a layer that is not there, and what
// layout_from_slots refuses. Notices slots that hold an expert which their rank has already.
bool layout_from_file(struct layout *layout, const char *path, const struct layout_wanted *wanted,
                      struct error *err);

// All layers of a file, in order of their ids; the wanted layer is not read. Of a known model,
// dense layers are left out.
bool layouts_load(struct layouts *layouts, const char *path, const struct layout_wanted *wanted,
                  struct error *err);

// Writes the keys that the engine knows and no other, for both refuse a file with more. SGLang's
// has a row for every model layer, or, where their number is not known, up to the last id; a layer
// that is missing has experts in id order, around again. `comment` (lines beginning with '#', or
// NULL) goes before YAML; JSON has no comments.
void layouts_write(const struct layouts *layouts, enum layout_format format, const char *comment,
                   FILE *out);

void layouts_release(struct layouts *layouts);

#endif
