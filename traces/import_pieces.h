// Pieces: what importers found in their inputs, before it is judged. Private to traces/.
#ifndef TRACES_IMPORT_PIECES_H
#define TRACES_IMPORT_PIECES_H

#include "base/error.h"
#include "base/mapped.h"
#include "model/moe.h"
#include "traces/import.h"
#include "base/formats/npy.h"

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
    const struct import_def *def;
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
    uint32_t ranks; // that share what is not by rank: as asked, or as the input says; 0: not said
    struct moe moe; // the model's from the start where one is asked; else once resolved
};

// Takes memory that pieces borrow; returns it.
void *import_own(struct import *import, void *memory);
// Likewise a file that is mapped beside the inputs.
void import_own_map(struct import *import, struct mapped mapped);

// Adds an empty piece of shape[0] layers of shape[1] elements, its layers to be filled in; NULL for
// another kind or shape than the pieces before have. The name is copied.
struct piece *import_add(struct import *import, enum import_kind kind, const char *name,
                         const uint64_t shape[2], struct error *err);

// What of an array's type and shape alone is refused by import_add_array, which needs no data.
bool import_check_array(enum import_kind kind, const struct npy *array, struct error *err);

// Adds an array of whole numbers, whatever their type: choices [tokens, layers, k] as one piece,
// counts [layers, experts] as one and [steps, layers, experts] as one a step; or with layers first,
// by the import's axes. Borrows its data.
bool import_add_array(struct import *import, enum import_kind kind, const struct npy *array,
                      struct error *err);

// The last piece goes on where the one before it ended: one request in two arrays.
void import_continue(struct import *import);

// By step, then rank.
void import_sort(struct import *import);

// Element k of a row of a layer.
int64_t piece_int(const struct piece *piece, uint32_t layer, uint64_t row, uint32_t k);

// Frees the pieces and what they borrow, beside the inputs.
void import_release(struct import *import);

#endif
