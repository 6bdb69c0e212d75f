// Layout files: the expert of every slot, layer by layer, as serving engines load them. Slots are
// numbered over ranks in order, as many on each.
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
// Which of both a file is, its keys say. Other keys are ignored. SGLang does not say which layers
// are dense: every row counts as a layout.
#ifndef MODEL_LAYOUT_FILE_H
#define MODEL_LAYOUT_FILE_H

#include "model/layout.h"

#include <stdio.h>

enum layout_format { LAYOUT_TRTLLM, LAYOUT_SGLANG };
extern const char *const layout_format_names[]; // "trtllm", "sglang"

// Layouts of several model layers, alike in experts, ranks and slots.
struct layouts {
    uint32_t count;
    uint32_t *layer_ids; // [count] of the model, ascending
    struct layout *of;   // [count]
};

// One layer of a file; `layer` is the model layer id, -1 takes the first one listed. Refuses, with
// file:line: what is neither format, a layer that is not there, another number of slots than the
// file's, and what layout_from_slots refuses.
bool layout_from_file(struct layout *layout, const char *path, int layer, uint32_t experts,
                      uint32_t ranks, struct error *err);

// All layers of a file, in order of their ids. experts 0: one more than the highest id named.
bool layouts_load(struct layouts *layouts, const char *path, uint32_t experts, uint32_t ranks,
                  struct error *err);

// Writes the keys that the engine knows and no other, for both refuse a file with more. Where a
// layer is missing among ids, SGLang's row has experts in id order, around again. `comment` (lines
// beginning with '#', or NULL) goes before YAML; JSON has no comments.
void layouts_write(const struct layouts *layouts, enum layout_format format, const char *comment,
                   FILE *out);

void layouts_release(struct layouts *layouts);

#endif
