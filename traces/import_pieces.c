#include "traces/import_pieces.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

void *import_own(struct import *import, void *memory)
{
    import->owned = mem_grow(import->owned, import->owned_count + 1, sizeof *import->owned);
    return import->owned[import->owned_count++] = memory;
}

void import_own_map(struct import *import, struct mapped mapped)
{
    import->maps = mem_grow(import->maps, import->map_count + 1, sizeof *import->maps);
    import->maps[import->map_count++] = mapped;
}

static const char *kind_words(enum import_kind kind)
{
    return kind == IMPORT_COUNTS ? "counts of experts" : "choices of tokens";
}

static bool same_piece_shape(struct import *import, enum import_kind kind, const char *name,
                             const uint64_t shape[2], struct error *err)
{
    if (import->kind != kind)
        return error_set(err, EXIT_INPUT, "%s: %s, but %s has %s: expected one kind", name,
                         kind_words(kind), import->pieces[0].name, kind_words(import->kind));
    if (import->axis != shape[0] || import->width != shape[1])
        return error_set(err, EXIT_INPUT,
                         "%s: %" PRIu64 " layers of %" PRIu64 ", but %s has %" PRIu32 " of %" PRIu32
                         ": expected one shape",
                         name, shape[0], shape[1], import->pieces[0].name, import->axis,
                         import->width);
    return true;
}

struct piece *import_add(struct import *import, enum import_kind kind, const char *name,
                         const uint64_t shape[2], struct error *err)
{
    const uint64_t widest = kind == IMPORT_COUNTS ? MOE_MAX_EXPERTS : MOE_MAX_TOPK;
    if (shape[0] < 1 || shape[0] > 10000 || shape[1] < 1 || shape[1] > widest) {
        error_set(err, EXIT_INPUT,
                  "%s: %" PRIu64 " layers of %" PRIu64 ": expected 1 to 10,000 layers of 1 to "
                  "%" PRIu64 " (%s)",
                  name, shape[0], shape[1], widest, kind_words(kind));
        return NULL;
    }
    if (import->count == 0) {
        import->kind = kind;
        import->axis = (uint32_t)shape[0];
        import->width = (uint32_t)shape[1];
    } else if (!same_piece_shape(import, kind, name, shape, err)) {
        return NULL;
    }
    if (import->count == import->room) {
        import->room = 2 * import->room + 64;
        import->pieces = mem_grow(import->pieces, import->room, sizeof *import->pieces);
    }
    struct piece *piece = &import->pieces[import->count++];
    *piece = (struct piece){.name = mem_copy_text(name),
                            .layers = mem_alloc(shape[0], sizeof *piece->layers),
                            .request = import->requests++};
    return piece;
}

void import_continue(struct import *import)
{
    const struct piece *before = &import->pieces[import->count - 2];
    struct piece *piece = &import->pieces[import->count - 1];
    assert(import->count >= 2);
    piece->request = before->request;
    piece->first = before->first + before->rows;
    import->requests--;
}

static int piece_by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

void import_sort(struct import *import)
{
    qsort(import->pieces, import->count, sizeof *import->pieces, piece_by_place);
}

int64_t piece_int(const struct piece *piece, uint32_t layer, uint64_t row, uint32_t k)
{
    const struct npy elements = {.type = piece->type, .data = piece->layers[layer]};
    return npy_int(&elements, row * piece->stride + k);
}

// --- arrays ------------------------------------------------------------------------------------

bool import_check_array(enum import_kind kind, const struct npy *array, struct error *err)
{
    if (kind == IMPORT_COUNTS && array->dims == 2)
        return true;
    if (array->dims != 3)
        return error_set(err, EXIT_INPUT, "%s: %zu dimensions; expected %s", array->path,
                         array->dims,
                         kind == IMPORT_COUNTS ? "[layers, experts] or [steps, layers, experts]"
                                               : "[tokens, layers, k]");
    return array->shape[0] > 0 || error_set(err, EXIT_INPUT, "%s: nothing in it: 0 %s", array->path,
                                            kind == IMPORT_COUNTS ? "steps" : "tokens");
}

// Numbers written as floats become i64, which the import owns.
static bool take_whole(struct import *import, struct npy *array, struct error *err)
{
    const uint64_t count = npy_count(array);
    if (npy_is_integer(array->type))
        return true;
    int64_t *whole = import_own(import, mem_alloc(count, sizeof *whole));
    for (uint64_t i = 0; i < count; i++) {
        const double value = npy_real(array, i);
        if (!(fabs(value) < 0x1p53) || rint(value) < value || rint(value) > value)
            return error_set(err, EXIT_INPUT,
                             "%s: dtype %s: element %" PRIu64 ": %g: expected "
                             "whole numbers",
                             array->path, npy_types[array->type].name, i, value);
        whole[i] = (int64_t)value;
    }
    array->type = NPY_I64;
    array->data = whole;
    return true;
}

// What a dimension may stand for.
static bool fits_layers(const struct import *import, uint64_t extent)
{
    return extent == import->moe.layers || extent == moe_model_layers(&import->moe);
}

static bool refuse_axes(const struct import *import, const struct npy *array, struct error *err)
{
    return error_set(err, EXIT_INPUT,
                     "%s: [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]: both of the first two may be "
                     "the layers of %s: expected --axes steps-first or layers-first",
                     array->path, array->shape[0], array->shape[1], array->shape[2],
                     import->moe.name);
}

// Choices that fit both ways are taken as engines write them.
static bool pick_axes(const struct import *import, enum import_kind kind, const struct npy *array,
                      bool *layers_first, struct error *err)
{
    *layers_first = import->def->axes == IMPORT_LAYERS_FIRST && array->dims == 3;
    if (import->def->axes != IMPORT_AXES_AUTO || !import->def->model[0] || array->dims != 3)
        return true;
    const bool first = fits_layers(import, array->shape[0]);
    const bool second = fits_layers(import, array->shape[1]);
    *layers_first = first && !second;
    if (first && second && kind == IMPORT_COUNTS)
        return refuse_axes(import, array, err);
    if (first)
        notice("%s: read as [%s, ...]: --axes %s is the other reading", array->path,
               second                  ? "tokens, layers"
               : kind == IMPORT_COUNTS ? "layers, steps"
                                       : "layers, tokens",
               second ? "layers-first" : "steps-first");
    return true;
}

// A part of an array, its strides and where it begins in elements.
struct array_part {
    uint64_t layers, width, rows;
    uint64_t begin, layer_stride, row_stride;
};

static bool add_array_part(struct import *import, enum import_kind kind, const struct npy *array,
                           const char *name, const struct array_part *part, struct error *err)
{
    const size_t bytes = npy_types[array->type].bytes;
    struct piece *piece =
        import_add(import, kind, name, (const uint64_t[]){part->layers, part->width}, err);
    if (!piece)
        return false;
    piece->type = array->type;
    piece->rows = part->rows;
    piece->stride = part->row_stride;
    for (uint64_t l = 0; l < part->layers; l++)
        piece->layers[l] =
            (const char *)array->data + (part->begin + l * part->layer_stride) * bytes;
    return true;
}

static bool add_choices(struct import *import, const struct npy *array, bool layers_first,
                        struct error *err)
{
    const uint64_t *shape = array->shape, width = shape[2];
    const struct array_part part = {.layers = shape[!layers_first],
                                    .width = width,
                                    .rows = shape[layers_first],
                                    .layer_stride = layers_first ? shape[1] * width : width,
                                    .row_stride = layers_first ? width : shape[1] * width};
    return add_array_part(import, IMPORT_CHOICES, array, array->path, &part, err);
}

static bool add_counts(struct import *import, const struct npy *array, bool layers_first,
                       struct error *err)
{
    const uint64_t *shape = &array->shape[array->dims - 2], width = shape[1];
    if (array->dims == 2)
        return add_array_part(import, IMPORT_COUNTS, array, array->path,
                              &(struct array_part){shape[0], width, 1, 0, width, 0}, err);
    const uint64_t steps = array->shape[layers_first], layers = array->shape[!layers_first];
    bool ok = true;
    for (uint64_t step = 0; ok && step < steps; step++) {
        const struct array_part part = {.layers = layers,
                                        .width = width,
                                        .rows = 1,
                                        .begin = step * width * (layers_first ? 1 : layers),
                                        .layer_stride = width * (layers_first ? steps : 1)};
        char *name = mem_format("%s: [%" PRIu64 "]", array->path, step);
        ok = add_array_part(import, IMPORT_COUNTS, array, name, &part, err);
        free(name);
    }
    return ok;
}

bool import_add_array(struct import *import, enum import_kind kind, const struct npy *array,
                      struct error *err)
{
    struct npy whole = *array;
    bool layers_first;
    if (!import_check_array(kind, array, err) || !take_whole(import, &whole, err) ||
        !pick_axes(import, kind, array, &layers_first, err))
        return false;
    return kind == IMPORT_COUNTS ? add_counts(import, &whole, layers_first, err)
                                 : add_choices(import, &whole, layers_first, err);
}

void import_release(struct import *import)
{
    for (size_t i = 0; i < import->count; i++) {
        free(import->pieces[i].name);
        free(import->pieces[i].layers);
    }
    for (size_t i = 0; i < import->owned_count; i++)
        free(import->owned[i]);
    for (size_t i = 0; i < import->map_count; i++)
        mapped_release(&import->maps[i]);
    free(import->owned);
    free(import->maps);
    free(import->pieces);
    free(import->layer_ids);
}
