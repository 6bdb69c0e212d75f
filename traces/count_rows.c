#include "traces/count_rows.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LAYERS 10000
#define MAX_COUNTS (UINT64_C(1) << 28) // of all pieces together

void count_rows_release(struct count_rows *rows)
{
    free(rows->rows);
}

bool count_rows_add(struct count_rows *rows, const struct count_row *row, struct error *err)
{
    if (row->layer >= MAX_LAYERS || row->expert >= MOE_MAX_EXPERTS)
        return error_set(
            err, EXIT_INPUT,
            "%s:%" PRIu64 ": layer %" PRIu32 ", expert %" PRIu32 ": expected them below %d and %d",
            rows->path, row->line, row->layer, row->expert, MAX_LAYERS, MOE_MAX_EXPERTS);
    rows->rows = mem_room(rows->rows, rows->count, sizeof *rows->rows);
    rows->rows[rows->count++] = *row;
    return true;
}

static int by_count_piece(const struct count_row *a, const struct count_row *b)
{
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

static int count_row_order(const void *a, const void *b)
{
    const struct count_row *x = a, *y = b;
    const int order = by_count_piece(x, y);
    if (order || x->layer != y->layer)
        return order ? order : x->layer < y->layer ? -1 : 1;
    if (x->expert != y->expert)
        return x->expert < y->expert ? -1 : 1;
    return (x->line > y->line) - (x->line < y->line);
}

struct count_shape {
    uint32_t layers, experts;
    uint64_t pieces;
    uint32_t *layer_ids; // [MAX_LAYERS]
    uint32_t *place;     // [MAX_LAYERS] of a layer
};

static void measure_rows(const struct count_rows *rows, struct count_shape *shape)
{
    bool *there = mem_alloc(MAX_LAYERS, sizeof *there);
    for (size_t i = 0; i < rows->count; i++) {
        const struct count_row *row = &rows->rows[i];
        there[row->layer] = true;
        if (row->expert >= shape->experts)
            shape->experts = row->expert + 1;
        shape->pieces += i == 0 || by_count_piece(row - 1, row) != 0;
    }
    for (uint32_t layer = 0; layer < MAX_LAYERS; layer++)
        if (there[layer]) {
            shape->place[layer] = shape->layers;
            shape->layer_ids[shape->layers++] = layer;
        }
    free(there);
}

static bool take_count_layers(const struct count_rows *rows, struct import *import,
                              const struct count_shape *shape, struct error *err)
{
    const size_t bytes = shape->layers * sizeof *shape->layer_ids;
    if (!import->layer_ids) {
        import->layer_ids = mem_copy(shape->layer_ids, bytes);
        return true;
    }
    return (shape->layers == import->axis && !memcmp(shape->layer_ids, import->layer_ids, bytes)) ||
           error_set(err, EXIT_INPUT, "%s: other layers than %s has: expected the same", rows->path,
                     import->pieces[0].name);
}

// Rows [first, first + count) of one step and rank.
static bool add_count_piece(const struct count_rows *rows, struct import *import,
                            const struct count_shape *shape, size_t first, size_t *end,
                            struct error *err)
{
    const struct count_row *begin = &rows->rows[first];
    int64_t *counts =
        import_own(import, mem_alloc((size_t)shape->layers * shape->experts, sizeof *counts));
    size_t i = first;
    for (; i < rows->count && by_count_piece(begin, &rows->rows[i]) == 0; i++) {
        const struct count_row *row = &rows->rows[i];
        if (i > first && row->layer == row[-1].layer && row->expert == row[-1].expert)
            return error_set(err, EXIT_INPUT,
                             "%s:%" PRIu64 ": layer %" PRIu32 ", expert %" PRIu32
                             " stands twice: expected a step that tells them apart",
                             rows->path, row->line, row->layer, row->expert);
        counts[(size_t)shape->place[row->layer] * shape->experts + row->expert] = row->count;
    }
    *end = i;
    char *name = mem_format("%s:%" PRIu64, rows->path, begin->line);
    struct piece *piece = import_add(import, IMPORT_COUNTS, name,
                                     (const uint64_t[]){shape->layers, shape->experts}, err);
    free(name);
    if (!piece)
        return false;
    piece->type = NPY_I64;
    piece->rows = 1;
    piece->step = begin->step;
    piece->rank = begin->rank;
    for (uint32_t l = 0; l < shape->layers; l++)
        piece->layers[l] = counts + (size_t)l * shape->experts;
    return true;
}

static bool add_count_pieces(const struct count_rows *rows, struct import *import,
                             struct count_shape *shape, struct error *err)
{
    shape->experts = import->moe.experts;
    measure_rows(rows, shape);
    const uint64_t counts = (uint64_t)shape->layers * shape->experts * shape->pieces;
    if (counts > MAX_COUNTS)
        return error_set(err, EXIT_INPUT,
                         "%s: %" PRIu64 " steps and ranks of %" PRIu32 " layers of %" PRIu32
                         " experts: expected a smaller file",
                         rows->path, shape->pieces, shape->layers, shape->experts);
    bool ok = take_count_layers(rows, import, shape, err);
    for (size_t i = 0; ok && i < rows->count;)
        ok = add_count_piece(rows, import, shape, i, &i, err);
    return ok;
}

bool count_rows_import(struct count_rows *rows, struct import *import, struct error *err)
{
    struct count_shape shape = {.layer_ids = mem_alloc(MAX_LAYERS, sizeof *shape.layer_ids),
                                .place = mem_alloc(MAX_LAYERS, sizeof *shape.place)};
    bool ok = rows->count > 0 || error_set(err, EXIT_INPUT, "%s: no rows of counts", rows->path);
    if (ok) {
        qsort(rows->rows, rows->count, sizeof *rows->rows, count_row_order);
        ok = add_count_pieces(rows, import, &shape, err);
    }
    import->placed = import->placed || rows->has_step;
    import->ranked = import->ranked || rows->has_rank;
    free(shape.layer_ids);
    free(shape.place);
    return ok;
}
