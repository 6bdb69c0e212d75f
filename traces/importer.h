// What importers share: an input, what one found in it, and the table of importers. Private to
// traces/.
#ifndef TRACES_IMPORTER_H
#define TRACES_IMPORTER_H

#include "base/mapped.h"
#include "model/moe.h"
#include "traces/import.h"
#include "traces/npy.h"

#include <jansson.h>
#include <stdbool.h>

// One input: a folder, or a file's bytes with what its text holds.
struct input {
    const char *path;
    bool folder;
    struct mapped file;
    json_t *json; // the document, when the file is one
};

// The largest JSON text that is read. As a tree it takes some ten times its size in memory.
#define IMPORT_JSON_LIMIT ((size_t)256 << 20)

// Rows of one request, or of one rank in one step: the choices of tokens, or, one row, the counts
// of experts. Row r of layer l stands at layers[l] + r * stride elements and has `width` of them.
struct piece {
    char *name; // for messages: "a.npy", "a.json: [3]", ...
    enum npy_type type;
    uint64_t rows;
    uint64_t stride;
    const void **layers; // [axis]
    uint64_t step;       // as recorded, of a placed import
    uint32_t rank;       // of a ranked one
    size_t request;      // that its tokens belong to, and the position of the first there
    uint64_t first;
};

enum import_kind { IMPORT_NOTHING, IMPORT_CHOICES, IMPORT_COUNTS };

struct import {
    const struct import_ask *ask;
    enum import_kind kind;
    bool placed;            // pieces know their step
    bool ranked;            // and their source rank
    uint32_t axis, width;   // layers of every piece, elements of a row
    uint32_t *layer_ids;    // [axis] of the model; NULL: by their place
    uint32_t experts, topk; // as far as the input states them; 0: not
    struct piece *pieces;
    size_t count, room, requests;
    void **owned; // memory that pieces borrow, beside that of the inputs
    struct mapped *maps;
    size_t owned_count, map_count;
    struct moe moe; // once resolved
};

struct importer {
    const char *name;
    bool (*claims)(const struct import_ask *ask, const struct input *input);
    // Adds what the input holds to the import. The input outlives the import's pieces.
    bool (*read)(struct import *import, const struct input *input, struct error *err);
};

extern const struct importer importer_npy, importer_npz, importer_trtllm, importer_base64,
    importer_response, importer_history, importer_location, importer_requests, importer_raw;

// Takes memory that pieces borrow; returns it.
void *import_own(struct import *import, void *memory);
// Likewise a file that is mapped beside the inputs.
void import_own_map(struct import *import, struct mapped mapped);

// Adds an empty piece of shape[0] layers of shape[1] elements, its layers to be filled in; NULL for
// another kind or shape than the pieces before have. The name is copied.
struct piece *import_add(struct import *import, enum import_kind kind, const char *name,
                         const uint64_t shape[2], struct error *err);

// Adds an array of integers: choices [tokens, layers, k] as one piece, counts [layers, experts] as
// one and [steps, layers, experts] as one a step. Borrows its data.
bool import_add_array(struct import *import, enum import_kind kind, const struct npy *array,
                      struct error *err);

// Adds the choices of a .npy file in memory or, where it is none, of raw little-endian int32 by
// --shape. Borrows the bytes.
bool import_add_bytes(struct import *import, const char *name, const void *bytes, size_t length,
                      struct error *err);

// The last piece goes on where the one before it ended: one request in two arrays.
void import_continue(struct import *import);

// Adds choices or counts of nested JSON lists of whole numbers, as import_add_array takes them. The
// message has the place in it ("a.json: key[3][5]: ...").
bool import_add_json(struct import *import, enum import_kind kind, const json_t *list,
                     const char *name, struct error *err);

// Adds the choices of base64 text: a .npy file or raw int32, as above.
bool import_add_base64(struct import *import, const char *name, const char *text, size_t length,
                       struct error *err);

// By step, then rank.
void import_sort(struct import *import);

// Element k of a row of a layer.
int64_t piece_int(const struct piece *piece, uint32_t layer, uint64_t row, uint32_t k);

// --- what is done with it ----------------------------------------------------------------------

struct trace_plan;

// The layers of the axis that the trace keeps, with their ids.
struct kept {
    uint32_t count;
    uint32_t *axis; // [count]
    uint32_t *ids;  // [count]
};
// `live` says which layers of the axis hold anything. Refuses none, and an axis that cannot be the
// model's.
bool import_keep(const struct import *import, const bool *live, struct kept *kept,
                 struct error *err);
void kept_release(struct kept *kept);

bool import_write_choices(struct import *import, struct trace_plan *plan,
                          struct import_report *report, struct error *err);
bool import_write_counts(struct import *import, struct trace_plan *plan,
                         struct import_report *report, struct error *err);

#endif
