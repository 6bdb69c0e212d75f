#include "traces/token_rows.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const char *const step_names[] = {"step", "step_id", "step_idx", "iteration", "iter", "forward",
    "forward_id", "forward_idx", "forward_pass", "forward_pass_id", "engine_step", NULL};
static const char *const rank_names[] = {"rank", "ep_rank", "dp_rank", "source_rank", "src_rank",
    "global_rank", "rank_id", NULL};
static const char *const request_names[] = {"req_id", "request_id", "request", "rid", "req", "seq_id",
    "sequence_id", "prompt_id", NULL};
static const char *const number_names[] = {"token_idx", "token_index", "token_pos", "token_position",
    "token_number", "position", "pos", "token", NULL};
const char *const token_layer_names[] = {"layer", "layer_id", "layer_idx", "layer_index",
    "layer_number", "layer_name", "moe_layer", NULL};
const char *const token_ids_names[] = {"topk_ids", "top_k_ids", "expert_ids", "topk_experts",
    "selected_experts", "routed_experts", "chosen_experts", "topk_indices", "topk_idx", "expert_indices",
    "experts", "ids", NULL};
const char *const *const token_key_names[TOKEN_KEYS] = {step_names, rank_names, request_names,
    number_names};
// clang-format on

void token_rows_init(struct token_rows *rows, const char *path)
{
    *rows = (struct token_rows){.path = path, .requests = json_object()};
}

void token_rows_release(struct token_rows *rows)
{
    free(rows->rows);
    free(rows->ids);
    json_decref(rows->requests);
}

uint64_t token_rows_request(struct token_rows *rows, const char *name)
{
    const json_t *number = json_object_get(rows->requests, name);
    const size_t next = json_object_size(rows->requests);
    if (number)
        return (uint64_t)json_integer_value(number);
    json_object_set_new_nocheck(rows->requests, name, json_integer((json_int_t)next));
    return next;
}

static bool refuse_token(const struct token_rows *rows, const struct token_row *row,
                         struct error *err, const char *what)
{
    return error_set(err, EXIT_INPUT, "%s:%" PRIu64 ": layer %" PRIu32 ": %s", rows->path,
                     row->line, row->layer, what);
}

bool token_rows_add(struct token_rows *rows, const struct token_row *row, const int64_t *ids,
                    size_t width, struct error *err)
{
    if (rows->count == 0)
        rows->width = (uint32_t)width;
    if (width != rows->width || width < 1 || width > MOE_MAX_TOPK)
        return error_set(err, EXIT_INPUT,
                         "%s:%" PRIu64 ": %zu ids: expected %" PRIu32 ", as the first row has, and "
                         "1 to %d",
                         rows->path, row->line, width, rows->width, MOE_MAX_TOPK);
    if (row->layer >= 10000)
        return refuse_token(rows, row, err, "expected one below 10,000");
    rows->rows = mem_room(rows->rows, rows->count, sizeof *rows->rows);
    rows->rows[rows->count] = *row;
    rows->rows[rows->count++].ids = rows->id_count;
    for (size_t k = 0; k < width; k++) {
        if (ids[k] < -1 || ids[k] >= MOE_MAX_EXPERTS)
            return refuse_token(rows, row, err, "an id that is no expert's");
        rows->ids = mem_room(rows->ids, rows->id_count, sizeof *rows->ids);
        rows->ids[rows->id_count++] = (int32_t)ids[k];
    }
    return true;
}

// --- the order of rows -------------------------------------------------------------------------

static int by_number(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

// Of one piece: of the same step and rank, which come with steps alone, or of the same request.
static int by_piece(const struct token_row *a, const struct token_row *b, bool steps)
{
    const enum token_key major = steps ? TOKEN_STEP : TOKEN_REQUEST;
    const int order = by_number(a->keys[major], b->keys[major]);
    return order || !steps ? order : by_number(a->keys[TOKEN_RANK], b->keys[TOKEN_RANK]);
}

static int by_token(const struct token_row *a, const struct token_row *b)
{
    const int order = by_number(a->keys[TOKEN_REQUEST], b->keys[TOKEN_REQUEST]);
    return order ? order : by_number(a->keys[TOKEN_NUMBER], b->keys[TOKEN_NUMBER]);
}

static int row_order(const struct token_row *a, const struct token_row *b, bool steps)
{
    int order = by_piece(a, b, steps);
    order = order ? order : by_number(a->layer, b->layer);
    order = order ? order : by_token(a, b);
    return order ? order : by_number(a->ids, b->ids); // as they were added
}

static int order_in_steps(const void *a, const void *b)
{
    return row_order(a, b, true);
}

static int order_in_requests(const void *a, const void *b)
{
    return row_order(a, b, false);
}

static int order_tokens(const void *a, const void *b)
{
    const struct token_row *const *x = a, *const *y = b;
    return by_token(*x, *y);
}

// --- layers ------------------------------------------------------------------------------------

static uint32_t list_layers(const struct token_rows *rows, uint32_t *ids)
{
    bool *there = mem_alloc(10000, sizeof *there);
    uint32_t count = 0;
    for (size_t i = 0; i < rows->count; i++)
        there[rows->rows[i].layer] = true;
    for (uint32_t layer = 0; layer < 10000; layer++)
        if (there[layer])
            ids[count++] = layer;
    free(there);
    return count;
}

static uint32_t layer_place(const struct import *import, uint32_t count, uint32_t layer)
{
    uint32_t place = 0;
    while (place < count && import->layer_ids[place] != layer)
        place++;
    return place;
}

// All inputs of an import have the same layers.
static bool take_row_layers(const struct token_rows *rows, struct import *import, uint32_t *count,
                            struct error *err)
{
    uint32_t *ids = mem_alloc(10000, sizeof *ids);
    *count = list_layers(rows, ids);
    if (!import->layer_ids) {
        import->layer_ids = ids;
        return true;
    }
    const bool same =
        *count == import->axis && !memcmp(ids, import->layer_ids, *count * sizeof *ids);
    free(ids);
    return same || error_set(err, EXIT_INPUT, "%s: other layers than %s has: expected the same",
                             rows->path, import->pieces[0].name);
}

// --- one piece ---------------------------------------------------------------------------------

struct gathering {
    const struct token_rows *rows;
    struct import *import;
    uint32_t layers;
    const struct token_row *first; // of the piece in hand
    size_t count;
    uint64_t tokens; // of it
    int32_t *ids;    // [tokens][layers][width]
};

// Which rows are of the same token: numbered ones by number, others by their place in the layer.
static void number_rows(const struct gathering *gathering, uint64_t *token)
{
    const size_t count = gathering->count;
    const struct token_row **sorted = mem_alloc(count, sizeof *sorted);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &gathering->first[i];
    qsort(sorted, count, sizeof *sorted, order_tokens);
    for (size_t i = 0; i < count; i++) {
        next += i > 0 && by_token(sorted[i - 1], sorted[i]) != 0;
        token[sorted[i] - gathering->first] = next;
    }
    free(sorted);
}

static void count_rows(const struct gathering *gathering, uint64_t *token)
{
    for (size_t i = 0; i < gathering->count; i++)
        token[i] = i > 0 && gathering->first[i].layer == gathering->first[i - 1].layer
                       ? token[i - 1] + 1
                       : 0;
}

// Without numbers, only the place in the layer says whose row it is.
static bool check_even(const struct gathering *gathering, const uint64_t *token, struct error *err)
{
    const struct token_row *rows = gathering->first;
    uint32_t layers = 0;
    for (size_t i = 0; i < gathering->count; i++) {
        const bool last = i + 1 == gathering->count || rows[i + 1].layer != rows[i].layer;
        layers += last;
        if (last && token[i] + 1 != gathering->tokens)
            return refuse_token(
                gathering->rows, &rows[i], err,
                "another number of tokens than in other layers, and no token numbers");
    }
    return layers == gathering->layers ||
           refuse_token(gathering->rows, rows, err,
                        "layers without a row of these tokens, and no token numbers");
}

static bool check_once(const struct gathering *gathering, const uint64_t *token, struct error *err)
{
    char what[96];
    for (size_t i = 1; i < gathering->count; i++) {
        const struct token_row *row = &gathering->first[i];
        if (row->layer != row[-1].layer || token[i] != token[i - 1])
            continue;
        snprintf(what, sizeof what,
                 "token %" PRIu64 " stands twice: expected a step or a request that tells them "
                 "apart",
                 row->keys[TOKEN_NUMBER]);
        return refuse_token(gathering->rows, row, err, what);
    }
    return true;
}

static void copy_ids(struct gathering *gathering, const uint64_t *token)
{
    const size_t width = gathering->rows->width, row = gathering->layers * width;
    gathering->ids = mem_alloc(gathering->tokens * row, sizeof *gathering->ids);
    memset(gathering->ids, 0xff, gathering->tokens * row * sizeof *gathering->ids);
    for (size_t i = 0; i < gathering->count; i++) {
        const struct token_row *from = &gathering->first[i];
        const uint32_t place = layer_place(gathering->import, gathering->layers, from->layer);
        memcpy(gathering->ids + token[i] * row + place * width, gathering->rows->ids + from->ids,
               width * sizeof *gathering->ids);
    }
}

static bool gather_piece(struct gathering *gathering, struct error *err)
{
    const bool numbered = gathering->rows->has[TOKEN_NUMBER];
    uint64_t *token = mem_alloc(gathering->count, sizeof *token);
    (numbered ? number_rows : count_rows)(gathering, token);
    gathering->tokens = 0;
    for (size_t i = 0; i < gathering->count; i++)
        gathering->tokens = token[i] >= gathering->tokens ? token[i] + 1 : gathering->tokens;
    const bool ok =
        numbered ? check_once(gathering, token, err) : check_even(gathering, token, err);
    if (ok)
        copy_ids(gathering, token);
    free(token);
    return ok;
}

static bool add_token_piece(struct gathering *gathering, struct error *err)
{
    struct import *import = gathering->import;
    const uint32_t width = gathering->rows->width;
    if (!gather_piece(gathering, err))
        return false;
    import_own(import, gathering->ids);
    char *name = mem_format("%s:%" PRIu64, gathering->rows->path, gathering->first->line);
    struct piece *piece =
        import_add(import, IMPORT_CHOICES, name, (const uint64_t[]){gathering->layers, width}, err);
    free(name);
    if (!piece)
        return false;
    piece->type = NPY_I32;
    piece->rows = gathering->tokens;
    piece->stride = (uint64_t)gathering->layers * width;
    piece->step = gathering->first->keys[TOKEN_STEP];
    piece->rank = (uint32_t)gathering->first->keys[TOKEN_RANK];
    for (uint32_t l = 0; l < gathering->layers; l++)
        piece->layers[l] = gathering->ids + (size_t)l * width;
    return true;
}

// --- all pieces --------------------------------------------------------------------------------

// Without steps a rank says little: which tokens were together in a step is not known.
static void tell_lone_rank(const struct token_rows *rows)
{
    if (rows->has[TOKEN_RANK] && !rows->has[TOKEN_STEP])
        notice("%s: no steps: ranks are left out, and --tokens cuts the tokens into steps",
               rows->path);
}

bool token_rows_import(struct token_rows *rows, struct import *import, struct error *err)
{
    const bool steps = rows->has[TOKEN_STEP];
    struct gathering gathering = {.rows = rows, .import = import};
    bool ok = true;
    if (rows->count == 0)
        return error_set(err, EXIT_INPUT, "%s: no rows of tokens", rows->path);
    tell_lone_rank(rows);
    if (!take_row_layers(rows, import, &gathering.layers, err))
        return false;
    qsort(rows->rows, rows->count, sizeof *rows->rows, steps ? order_in_steps : order_in_requests);
    for (size_t from = 0, to; ok && from < rows->count; from = to) {
        for (to = from + 1; to < rows->count; to++)
            if (by_piece(&rows->rows[from], &rows->rows[to], steps) != 0)
                break;
        gathering.first = &rows->rows[from];
        gathering.count = to - from;
        ok = add_token_piece(&gathering, err);
    }
    import->placed = import->placed || steps;
    import->ranked = import->ranked || (steps && rows->has[TOKEN_RANK]);
    return ok;
}
