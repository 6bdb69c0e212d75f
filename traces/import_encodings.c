#include "traces/importer.h"

#include "base/mem.h"
#include "traces/base64.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RAW_BYTES sizeof(int32_t)

// --- raw int32 ---------------------------------------------------------------------------------

// "LAYERS,TOPK" or "TOKENS,LAYERS,TOPK"; tokens 0: as many as there are.
static bool parse_raw_shape(const char *text, uint64_t shape[3], struct error *err)
{
    uint64_t parts[3];
    size_t count = 0;
    const char *at = text;
    bool more = true;
    while (more && count < 3 && *at >= '0' && *at <= '9') {
        char *end;
        parts[count++] = strtoull(at, &end, 10);
        more = *end == ',';
        at = more ? end + 1 : end;
    }
    if (more || *at != '\0' || count < 2)
        return error_set(err, EXIT_INPUT,
                         "--shape: '%.40s': expected LAYERS,TOPK or TOKENS,LAYERS,TOPK, such as "
                         "61,8",
                         text);
    shape[0] = count == 3 ? parts[0] : 0;
    shape[1] = parts[count - 2];
    shape[2] = parts[count - 1];
    if (shape[1] < 1 || shape[1] > 10000 || shape[2] < 1 || shape[2] > MOE_MAX_TOPK)
        return error_set(err, EXIT_INPUT,
                         "--shape: '%.40s': expected 1 to 10,000 layers and top-1 to top-%d", text,
                         MOE_MAX_TOPK);
    return true;
}

static bool add_raw(struct import *import, const char *name, const void *bytes, size_t length,
                    struct error *err)
{
    uint64_t shape[3] = {0};
    if (!import->def->shape[0])
        return error_set(err, EXIT_INPUT,
                         "%s: raw int32 ids have no shape: expected --shape LAYERS,TOPK", name);
    if (!parse_raw_shape(import->def->shape, shape, err))
        return false;
    const uint64_t row = shape[1] * shape[2] * RAW_BYTES;
    assert(row > 0);
    const uint64_t tokens = length / row;
    if (tokens == 0 || length % row || (shape[0] && shape[0] != tokens))
        return error_set(err, EXIT_INPUT,
                         "%s: %zu bytes; expected --shape %s of int32: %s%" PRIu64 " bytes", name,
                         length, import->def->shape, shape[0] ? "" : "a multiple of ",
                         shape[0] ? shape[0] * row : row);
    const struct npy array = {.path = (char *)(uintptr_t)name,
                              .type = NPY_I32,
                              .dims = 3,
                              .shape = {tokens, shape[1], shape[2]},
                              .data = bytes};
    return import_add_array(import, IMPORT_CHOICES, &array, err);
}

bool import_add_bytes(struct import *import, const char *name, const void *bytes, size_t length,
                      struct error *err)
{
    struct npy array;
    if (!npy_begins(bytes, length))
        return add_raw(import, name, bytes, length, err);
    if (import->def->shape[0])
        return error_set(err, EXIT_INPUT, "--shape: %s is a .npy file, which says its own", name);
    if (!npy_parse(&array, name, bytes, length, err))
        return false;
    const bool ok = import_add_array(import, IMPORT_CHOICES, &array, err);
    npy_release(&array);
    return ok;
}

bool import_add_base64(struct import *import, const char *name, const char *text, size_t length,
                       struct error *err)
{
    unsigned char *bytes;
    size_t count, at;
    if (!base64_decode(text, length, &bytes, &count, &at))
        return error_set(err, EXIT_INPUT, "%s: character %zu: expected base64%s", name, at,
                         at == length ? ", whole bytes of it" : "");
    import_own(import, bytes);
    return import_add_bytes(import, name, bytes, count, err);
}

// --- JSON lists --------------------------------------------------------------------------------

struct lists {
    const char *name;
    size_t dims;
    uint64_t shape[3];
    uint64_t at[3]; // the place in hand
    int64_t *values;
    size_t used, room;
};

// Grows as numbers are met: what lists claim of their lengths is no reason to take memory.
static void keep_value(struct lists *lists, int64_t value)
{
    if (lists->used == lists->room) {
        lists->room = 2 * lists->room + 1024;
        lists->values = mem_grow(lists->values, lists->room, sizeof *lists->values);
    }
    lists->values[lists->used++] = value;
}

static bool refuse_place(const struct lists *lists, size_t depth, struct error *err,
                         const char *expected)
{
    char place[96] = "";
    size_t length = 0;
    for (size_t i = 0; i < depth; i++)
        length +=
            (size_t)snprintf(place + length, sizeof place - length, "[%" PRIu64 "]", lists->at[i]);
    return error_set(err, EXIT_INPUT, "%s%s: expected %s", lists->name, place, expected);
}

// 3, or 3.0 as PyTorch's floats are written.
static bool is_whole_number(const json_t *item)
{
    const double value = json_real_value(item);
    return json_is_integer(item) || (json_is_real(item) && fabs(value) < 0x1p53 &&
                                     !(rint(value) < value) && !(rint(value) > value));
}

static bool read_json_list(struct lists *lists, const json_t *list, size_t depth, struct error *err)
{
    char expected[64];
    if (!json_is_array(list) || json_array_size(list) != lists->shape[depth]) {
        snprintf(expected, sizeof expected, "a list of %" PRIu64 ", as the first",
                 lists->shape[depth]);
        return refuse_place(lists, depth, err, expected);
    }
    for (uint64_t i = 0; i < lists->shape[depth]; i++) {
        const json_t *item = json_array_get(list, i);
        lists->at[depth] = i;
        if (depth + 1 < lists->dims) {
            if (!read_json_list(lists, item, depth + 1, err))
                return false;
            continue;
        }
        if (!is_whole_number(item))
            return refuse_place(lists, depth + 1, err, "a whole number");
        keep_value(lists, json_is_integer(item) ? json_integer_value(item)
                                                : (int64_t)json_real_value(item));
    }
    return true;
}

// The shape by the first item of every list; how deep they go.
static size_t measure_lists(const json_t *list, uint64_t shape[3])
{
    size_t dims = 0;
    for (; json_is_array(list) && dims < 3; list = json_array_get(list, 0))
        shape[dims++] = json_array_size(list);
    return json_is_array(list) ? 4 : dims;
}

bool import_json_array(struct import *import, const json_t *list, const char *name,
                       struct npy *array, struct error *err)
{
    struct lists lists = {.name = name};
    lists.dims = measure_lists(list, lists.shape);
    if (lists.dims < 1 || lists.dims > 3)
        return error_set(err, EXIT_INPUT, "%s: expected lists of whole numbers", name);
    const bool ok = read_json_list(&lists, list, 0, err);
    import_own(import, lists.values);
    *array = (struct npy){.path = (char *)(uintptr_t)name,
                          .type = NPY_I64,
                          .dims = lists.dims,
                          .shape = {lists.shape[0], lists.shape[1], lists.shape[2]},
                          .data = lists.values};
    return ok;
}

bool import_add_json(struct import *import, enum import_kind kind, const json_t *list,
                     const char *name, struct error *err)
{
    struct npy array;
    uint64_t shape[3];
    if (measure_lists(list, shape) < 2)
        return error_set(err, EXIT_INPUT, "%s: expected lists of whole numbers, %s", name,
                         kind == IMPORT_COUNTS ? "[layers][experts] or [steps][layers][experts]"
                                               : "[tokens][layers][k]");
    return import_json_array(import, list, name, &array, err) &&
           import_add_array(import, kind, &array, err);
}
