// Pieces as a native trace: choices as they were recorded, or tokens drawn to have the counts.
// Private to traces/.
#ifndef TRACES_IMPORT_WRITE_H
#define TRACES_IMPORT_WRITE_H

#include "traces/import_pieces.h"
#include "traces/writer.h"

// Which layers of an import's axis a trace keeps, and which of the model's they are.
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

// Judges every piece of the import, then writes the folder; fills plan and report with what came of
// it. Refuses ids out of range or twice in a token, and an order of tokens that the input has not.
bool import_write_choices(struct import *import, struct trace_plan *plan,
                          struct import_report *report, struct error *err);

// The same of counts: tokens are drawn to have those very counts. Refuses counts that no tokens can
// have, and those of more than 2^20 tokens a step where no fewer are asked.
bool import_write_counts(struct import *import, struct trace_plan *plan,
                         struct import_report *report, struct error *err);

#endif
