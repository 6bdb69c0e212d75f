#include "traces/import_pieces.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
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

static bool add_array_part(struct import *import, enum import_kind kind, const struct npy *array,
                           const char *name, uint64_t step, struct error *err)
{
    const size_t bytes = npy_types[array->type].bytes;
    const uint64_t *shape = &array->shape[array->dims - 2];
    struct piece *piece = import_add(import, kind, name, shape, err);
    if (!piece)
        return false;
    piece->type = array->type;
    piece->rows = kind == IMPORT_CHOICES ? array->shape[0] : 1;
    piece->stride = shape[0] * shape[1];
    const char *data = (const char *)array->data + step * piece->stride * bytes;
    for (uint64_t l = 0; l < shape[0]; l++)
        piece->layers[l] = data + l * shape[1] * bytes;
    return true;
}

static bool add_steps(struct import *import, const struct npy *array, struct error *err)
{
    bool ok = true;
    for (uint64_t step = 0; ok && step < array->shape[0]; step++) {
        char *name = mem_format("%s: [%" PRIu64 "]", array->path, step);
        ok = add_array_part(import, IMPORT_COUNTS, array, name, step, err);
        free(name);
    }
    return ok;
}

bool import_add_array(struct import *import, enum import_kind kind, const struct npy *array,
                      struct error *err)
{
    if (!npy_is_integer(array->type))
        return error_set(err, EXIT_INPUT, "%s: dtype %s; expected integers", array->path,
                         npy_types[array->type].name);
    if (kind == IMPORT_COUNTS && array->dims == 2)
        return add_array_part(import, kind, array, array->path, 0, err);
    if (array->dims != 3)
        return error_set(err, EXIT_INPUT, "%s: %zu dimensions; expected %s", array->path,
                         array->dims,
                         kind == IMPORT_COUNTS ? "[layers, experts] or [steps, layers, experts]"
                                               : "[tokens, layers, k]");
    if (array->shape[0] == 0)
        return error_set(err, EXIT_INPUT, "%s: nothing in it: 0 %s", array->path,
                         kind == IMPORT_COUNTS ? "steps" : "tokens");
    return kind == IMPORT_COUNTS ? add_steps(import, array, err)
                                 : add_array_part(import, kind, array, array->path, 0, err);
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
