// One request's JSON: a list of steps, each {"layer": [[ids] a token], ...} with null for a dense
// layer; the first step has the prompt's tokens, each later one the token it made.
#include "base/mem.h"
#include "traces/importer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct request {
    const char *path;
    const json_t *steps;
    uint32_t layers;
    uint32_t *layer_ids; // [layers], ascending
    uint32_t width;
    uint64_t tokens;
    int32_t *ids; // [tokens * layers * width]
};

// A layer's number from its key; false when it is none.
static bool layer_number(const char *key, uint32_t *layer)
{
    char *end;
    if (*key < '0' || *key > '9' || strlen(key) > 5)
        return false;
    *layer = (uint32_t)strtoul(key, &end, 10);
    return *end == '\0';
}

static bool recognise_requests(const struct input *input)
{
    const json_t *first = json_array_get(input->json, 0);
    void *pair = json_object_iter((json_t *)(uintptr_t)first);
    uint32_t layer;
    return pair && layer_number(json_object_iter_key(pair), &layer);
}

static int layer_order(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

// Layers that are not null in the first step, and how many experts their tokens take.
static bool read_request_layers(struct request *request, struct error *err)
{
    const char *key;
    json_t *value;
    json_t *first = json_array_get(request->steps, 0);
    request->layer_ids = mem_alloc(json_object_size(first), sizeof *request->layer_ids);
    json_object_foreach(first, key, value)
    {
        uint32_t layer;
        char quoted[ERROR_QUOTE_BYTES];
        if (!layer_number(key, &layer))
            return error_set(err, EXIT_INPUT, "%s: [0]: '%s': expected a layer's number",
                             request->path, error_quote(key, quoted));
        if (json_is_null(value))
            continue;
        request->layer_ids[request->layers++] = layer;
        request->width = (uint32_t)json_array_size(json_array_get(value, 0));
    }
    if (request->layers == 0)
        return error_set(err, EXIT_INPUT, "%s: [0]: no layer has any choices", request->path);
    if (request->width < 1 || request->width > MOE_MAX_TOPK)
        return error_set(err, EXIT_INPUT, "%s: [0]: tokens of %" PRIu32 " ids; expected 1 to %d",
                         request->path, request->width, MOE_MAX_TOPK);
    qsort(request->layer_ids, request->layers, sizeof *request->layer_ids, layer_order);
    return true;
}

static const json_t *layer_of(const struct request *request, size_t step, uint32_t l)
{
    char key[16];
    snprintf(key, sizeof key, "%" PRIu32, request->layer_ids[l]);
    return json_object_get(json_array_get(request->steps, step), key);
}

static bool refuse_step(const struct request *request, size_t step, uint32_t l, struct error *err,
                        const char *expected)
{
    return error_set(err, EXIT_INPUT, "%s: [%zu].%" PRIu32 ": expected %s", request->path, step,
                     request->layer_ids[l], expected);
}

static bool read_token(struct request *request, const json_t *row, int32_t *ids)
{
    if (json_array_size(row) != request->width)
        return false;
    for (uint32_t k = 0; k < request->width; k++) {
        const json_t *id = json_array_get(row, k);
        const int64_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < -1 || value >= MOE_MAX_EXPERTS)
            return false;
        ids[k] = (int32_t)value;
    }
    return true;
}

static bool read_step(struct request *request, size_t step, struct error *err)
{
    const size_t tokens = json_array_size(layer_of(request, step, 0));
    const size_t row = (size_t)request->layers * request->width;
    if (tokens == 0)
        return refuse_step(request, step, 0, err, "a list of tokens");
    request->ids = mem_grow(request->ids, (request->tokens + tokens) * row, sizeof *request->ids);
    for (uint32_t l = 0; l < request->layers; l++) {
        const json_t *layer = layer_of(request, step, l);
        if (json_array_size(layer) != tokens)
            return refuse_step(request, step, l, err, "as many tokens as the other layers");
        for (size_t t = 0; t < tokens; t++)
            if (!read_token(request, json_array_get(layer, t),
                            request->ids + (request->tokens + t) * row + l * request->width))
                return refuse_step(request, step, l, err, "as many expert ids for every token");
    }
    request->tokens += tokens;
    return true;
}

// All requests of an import have the same layers.
static bool take_request_layers(struct import *import, struct request *request, struct error *err)
{
    const size_t bytes = request->layers * sizeof *request->layer_ids;
    if (!import->layer_ids) {
        import->layer_ids = request->layer_ids;
        request->layer_ids = NULL;
        return true;
    }
    return (request->layers == import->axis &&
            !memcmp(request->layer_ids, import->layer_ids, bytes)) ||
           error_set(err, EXIT_INPUT, "%s: other layers than %s has: expected the same",
                     request->path, import->pieces[0].name);
}

static bool read_steps(struct import *import, struct request *request, struct error *err)
{
    if (!read_request_layers(request, err))
        return false;
    for (size_t step = 0; step < json_array_size(request->steps); step++)
        if (!read_step(request, step, err))
            return false;
    const struct npy array = {.path = (char *)(uintptr_t)request->path,
                              .type = NPY_I32,
                              .dims = 3,
                              .shape = {request->tokens, request->layers, request->width},
                              .data = request->ids};
    return take_request_layers(import, request, err) &&
           import_add_array(import, IMPORT_CHOICES, &array, err);
}

static bool read_request(struct import *import, const struct input *input, struct error *err)
{
    struct request request = {.path = input->path, .steps = input->json};
    const bool ok = read_steps(import, &request, err);
    free(request.layer_ids);
    import_own(import, request.ids);
    return ok;
}

const struct importer importer_requests = {"per-request JSON", recognise_requests, read_request};
