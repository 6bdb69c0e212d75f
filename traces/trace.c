#include "traces/trace.h"

#include "base/doc.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define U8_DROPPED UINT8_MAX

void trace_release(struct trace *trace)
{
    npy_release(&trace->ids);
    npy_release(&trace->weights);
    npy_release(&trace->steps);
    free(trace->layer_ids);
    free(trace->source);
    free(trace->licence);
    free(trace->path);
    *trace = (struct trace){0};
}

void trace_row(const struct trace *trace, uint64_t token, uint32_t layer_index, uint16_t *ids)
{
    const uint32_t topk = trace->moe.topk;
    const uint64_t at = (token * trace->layers + layer_index) * topk;
    if (trace->ids.type == NPY_U16) {
        memcpy(ids, (const char *)trace->ids.data + 2 * at, 2 * (size_t)topk);
        return;
    }
    const uint8_t *bytes = (const uint8_t *)trace->ids.data + at;
    const bool drops = trace->moe.experts < U8_DROPPED;
    for (uint32_t k = 0; k < topk; k++)
        ids[k] = drops && bytes[k] == U8_DROPPED ? ROUTING_DROPPED : bytes[k];
}

// --- the manifest ------------------------------------------------------------------------------

static const char *const own_keys[] = {"layer_ids", "source", "licence"};
#define OWN_KEYS (sizeof own_keys / sizeof own_keys[0])

static const char *manifest_key(const void *context, size_t index)
{
    (void)context;
    return index < OWN_KEYS ? own_keys[index] : moe_fields[index - OWN_KEYS].key;
}

// object_bind cannot do this: it knows nothing of the keys that are no fields of the shape.
static bool refuse_manifest_key(const struct doc *doc, struct error *err)
{
    const doc_node root = doc_root(doc);
    const size_t known = OWN_KEYS + moe_field_count;
    for (size_t i = 0; i < doc_size(doc, root); i++) {
        const char *key = doc_key(doc, root, i);
        size_t k = 0;
        while (k < known && strcmp(key, manifest_key(NULL, k)) != 0)
            k++;
        if (k < known)
            continue;
        char quoted[ERROR_QUOTE_BYTES];
        const char *near = field_nearest(key, known, manifest_key, NULL);
        return error_set(err, EXIT_INPUT, "%s:%zu: %s: unknown key%s%s%s", doc_name(doc),
                         doc_key_line(doc, root, i), error_quote(key, quoted),
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return true;
}

static bool read_manifest_text(const struct doc *doc, const char *key, char **text,
                               struct error *err)
{
    const doc_node node = doc_get(doc, doc_root(doc), key);
    if (node != DOC_NONE && doc_kind(doc, node) != DOC_SCALAR)
        return doc_error(doc, node, err, "%s: expected text", key);
    *text = mem_copy_text(node == DOC_NONE ? "" : doc_text(doc, node));
    return true;
}

static bool read_layer_ids(const struct doc *doc, struct trace *trace, struct error *err)
{
    const doc_node list = doc_get(doc, doc_root(doc), "layer_ids");
    if (list == DOC_NONE)
        return error_set(err, EXIT_INPUT, "%s: layer_ids: missing; expected a list of layer ids",
                         doc_name(doc));
    if (doc_kind(doc, list) != DOC_LIST || doc_size(doc, list) == 0)
        return doc_error(doc, list, err, "layer_ids: expected a list of layer ids");
    const struct field field = {.key = "layer_ids", .kind = FIELD_U32};
    trace->layers = (uint32_t)doc_size(doc, list);
    trace->layer_ids = mem_alloc(trace->layers, sizeof *trace->layer_ids);
    for (uint32_t i = 0; i < trace->layers; i++) {
        const doc_node item = doc_item(doc, list, i);
        if (doc_kind(doc, item) != DOC_SCALAR)
            return doc_error(doc, item, err, "layer_ids: expected whole numbers");
        if (!field_parse(&field, doc_text(doc, item), &trace->layer_ids[i], err))
            return error_prefix(err, "%s:%zu: layer_ids", doc_name(doc), doc_line(doc, item));
        if (i > 0 && trace->layer_ids[i] <= trace->layer_ids[i - 1])
            return doc_error(doc, item, err,
                             "layer_ids: %" PRIu32 " after %" PRIu32 "; expected ascending ids",
                             trace->layer_ids[i], trace->layer_ids[i - 1]);
    }
    return true;
}

static bool stated(const bool *seen, const char *key)
{
    return seen[field_find(moe_fields, moe_field_count, key) - moe_fields];
}

// Defaults that hang on other keys, then the check. A trace need not state sizes that routing does
// not depend on: the check sees ones in their place.
static bool finish_shape(struct trace *trace, const bool *seen, struct error *err)
{
    struct moe *moe = &trace->moe;
    trace->states_layers = stated(seen, "layers") || stated(seen, "moe_layers");
    if (!trace->states_layers)
        moe->layers = trace->layers;
    moe_settle(moe, seen);
    struct moe whole = *moe;
    if (!stated(seen, "hidden"))
        whole.hidden = 1;
    if (!stated(seen, "intermediate"))
        whole.intermediate = 1;
    if (whole.shared_experts > 0 && whole.shared_intermediate == 0)
        whole.shared_intermediate = 1;
    return moe_check(&whole, err);
}

static bool read_trace_shape(const struct doc *doc, struct trace *trace, struct error *err)
{
    bool *seen = mem_alloc(moe_field_count, sizeof *seen);
    const struct object_bind bind = {.fields = moe_fields,
                                     .count = moe_field_count,
                                     .object = &trace->moe,
                                     .seen = seen,
                                     .open = true};
    trace->moe = moe_default();
    bool ok = object_bind(doc, doc_root(doc), &bind, err);
    if (ok && !finish_shape(trace, seen, err))
        ok = error_prefix(err, "%s", doc_name(doc));
    free(seen);
    return ok;
}

static bool read_manifest(const struct doc *doc, struct trace *trace, struct error *err)
{
    if (doc_kind(doc, doc_root(doc)) != DOC_MAP)
        return doc_error(doc, doc_root(doc), err, "expected 'key: value' lines");
    return refuse_manifest_key(doc, err) && read_layer_ids(doc, trace, err) &&
           read_trace_shape(doc, trace, err) &&
           read_manifest_text(doc, "source", &trace->source, err) &&
           read_manifest_text(doc, "licence", &trace->licence, err);
}

static bool load_manifest(struct trace *trace, struct error *err)
{
    char *path = mem_format("%s/trace.yaml", trace->path);
    struct doc *doc = doc_load(path, err);
    free(path);
    const bool ok = doc && read_manifest(doc, trace, err);
    doc_free(doc);
    return ok;
}

// --- the arrays --------------------------------------------------------------------------------

static bool open_array(const struct trace *trace, const char *name, bool optional, struct npy *npy,
                       struct error *err)
{
    char *path = mem_format("%s/%s", trace->path, name);
    struct stat info;
    const bool absent = stat(path, &info) != 0 && errno == ENOENT;
    const bool ok = (optional && absent) || npy_open(npy, path, err);
    free(path);
    return ok;
}

static bool type_is(const struct npy *npy, enum npy_type a, enum npy_type b, struct error *err)
{
    if (npy->type == a || npy->type == b)
        return true;
    return error_set(err, EXIT_INPUT, "%s: dtype %s; expected %s%s%s", npy->path,
                     npy_types[npy->type].name, npy_types[a].name, a == b ? "" : " or ",
                     a == b ? "" : npy_types[b].name);
}

#define SHAPE_BYTES 128
static const char *list_shape(const uint64_t *shape, size_t dims, char *text)
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < dims; i++)
        length += (size_t)snprintf(text + length, SHAPE_BYTES - length, "%s%" PRIu64, i ? ", " : "",
                                   shape[i]);
    return text;
}

static bool shape_is(const struct npy *npy, const uint64_t *shape, size_t dims, struct error *err)
{
    if (npy->dims == dims && memcmp(npy->shape, shape, dims * sizeof *shape) == 0)
        return true;
    char found[SHAPE_BYTES], wanted[SHAPE_BYTES];
    return error_set(err, EXIT_INPUT, "%s: shape [%s]; expected [%s]", npy->path,
                     list_shape(npy->shape, npy->dims, found), list_shape(shape, dims, wanted));
}

static bool open_ids(struct trace *trace, struct error *err)
{
    struct npy *ids = &trace->ids;
    if (!open_array(trace, "expert_ids.npy", false, ids, err) ||
        !type_is(ids, NPY_U8, NPY_U16, err))
        return false;
    const uint64_t tokens = ids->dims ? ids->shape[0] : 0;
    const uint64_t shape[] = {tokens, trace->layers, trace->moe.topk};
    if (!shape_is(ids, shape, 3, err))
        return error_prefix(err, "%s/trace.yaml states %" PRIu32 " layer_ids and topk %" PRIu32,
                            trace->path, trace->layers, trace->moe.topk);
    if (tokens == 0)
        return error_set(err, EXIT_INPUT, "%s: no tokens", ids->path);
    trace->tokens = tokens;
    return true;
}

static bool refuse_row(const struct trace *trace, uint64_t token, uint32_t layer, struct error *err,
                       const char *what)
{
    uint16_t ids[MOE_MAX_TOPK];
    char list[MOE_MAX_TOPK * 7] = "";
    trace_row(trace, token, layer, ids);
    size_t length = 0;
    for (uint32_t k = 0; k < trace->moe.topk; k++)
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%" PRIu16, k ? " " : "",
                                   ids[k]);
    return error_set(err, EXIT_INPUT,
                     "%s: token %" PRIu64 ", layer %" PRIu32 ": %s: [%s]; expected distinct ids "
                     "below %" PRIu32,
                     trace->ids.path, token, trace->layer_ids[layer], what, list,
                     trace->moe.experts);
}

// Reading a file through leaves no more of it in memory than this.
#define READ_ELEMENTS (1u << 16)

// After element `done`, with those before `*gone` gone already.
static void forget_read(const struct npy *npy, uint64_t done, uint64_t *gone)
{
    if (done - *gone < READ_ELEMENTS && done < npy_count(npy))
        return;
    npy_forget(npy, *gone, done);
    *gone = done;
}

// Of each expert the row, counted from 1, that last had it: tells a repetition without clearing
// anything between rows.
struct last_rows {
    uint64_t row;
    uint64_t of[MOE_MAX_EXPERTS];
};

static bool check_row_ids(const struct trace *trace, uint64_t token, uint32_t layer,
                          struct last_rows *last, struct error *err)
{
    uint16_t ids[MOE_MAX_TOPK];
    trace_row(trace, token, layer, ids);
    last->row++;
    for (uint32_t k = 0; k < trace->moe.topk; k++) {
        if (ids[k] == ROUTING_DROPPED)
            continue;
        if (ids[k] >= trace->moe.experts)
            return refuse_row(trace, token, layer, err, "an id out of range");
        if (last->of[ids[k]] == last->row)
            return refuse_row(trace, token, layer, err, "an expert twice");
        last->of[ids[k]] = last->row;
    }
    return true;
}

static bool check_trace_ids(const struct trace *trace, struct error *err)
{
    struct last_rows last = {0};
    const uint64_t per_token = (uint64_t)trace->layers * trace->moe.topk;
    uint64_t gone = 0;
    for (uint64_t token = 0; token < trace->tokens; token++) {
        forget_read(&trace->ids, token * per_token, &gone);
        for (uint32_t layer = 0; layer < trace->layers; layer++)
            if (!check_row_ids(trace, token, layer, &last, err))
                return false;
    }
    forget_read(&trace->ids, trace->tokens * per_token, &gone);
    return true;
}

// Finite and not negative, by its bits: conversion of every half would take longer than the rest
// of opening. Minus zero passes.
static bool weight_ok(const struct npy *weights, uint64_t index)
{
    if (weights->type == NPY_F16) {
        uint16_t half;
        memcpy(&half, (const char *)weights->data + index * sizeof half, sizeof half);
        return half < 0x7c00u || half == 0x8000u;
    }
    uint32_t bits;
    memcpy(&bits, (const char *)weights->data + index * sizeof bits, sizeof bits);
    return bits < 0x7f800000u || bits == 0x80000000u;
}

static bool open_weights(struct trace *trace, struct error *err)
{
    struct npy *weights = &trace->weights;
    if (!open_array(trace, "weights.npy", true, weights, err))
        return false;
    if (!weights->data)
        return true;
    if (!type_is(weights, NPY_F16, NPY_F32, err) ||
        !shape_is(weights, trace->ids.shape, trace->ids.dims, err))
        return false;
    const uint64_t row = trace->moe.topk;
    const uint64_t count = npy_count(weights);
    uint64_t gone = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (i % READ_ELEMENTS == 0)
            forget_read(weights, i, &gone);
        if (!weight_ok(weights, i))
            return error_set(err, EXIT_INPUT,
                             "%s: token %" PRIu64 ", layer %" PRIu32 ": weight %g; expected "
                             "finite weights, not negative",
                             weights->path, i / row / trace->layers,
                             trace->layer_ids[i / row % trace->layers], npy_real(weights, i));
    }
    forget_read(weights, count, &gone);
    return true;
}

// In order and without gaps, so that a step is found by bisection and none is empty.
static bool open_steps(struct trace *trace, struct error *err)
{
    struct npy *steps = &trace->steps;
    if (!open_array(trace, "steps.npy", true, steps, err))
        return false;
    if (!steps->data)
        return true;
    const uint64_t shape[] = {trace->tokens, 2};
    if (!type_is(steps, NPY_U32, NPY_U32, err) || !shape_is(steps, shape, 2, err))
        return false;
    uint32_t last = 0;
    uint64_t gone = 0;
    for (uint64_t token = 0; token < trace->tokens; token++) {
        forget_read(steps, 2 * token, &gone);
        const uint32_t step = (uint32_t)npy_int(steps, 2 * token);
        if (step < last || step - last > (token > 0))
            return error_set(err, EXIT_INPUT,
                             "%s: token %" PRIu64 ": step %" PRIu32 " after step %" PRId64
                             "; expected steps from 0, in order, without gaps",
                             steps->path, token, step, token ? (int64_t)last : INT64_C(-1));
        last = step;
    }
    forget_read(steps, 2 * trace->tokens, &gone);
    return true;
}

static bool check_folder(const char *folder, struct error *err)
{
    struct stat info;
    if (stat(folder, &info) != 0)
        return error_set(err, EXIT_INPUT, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return error_set(err, EXIT_INPUT, "%s: not a folder; expected a folder with trace.yaml",
                         folder);
    return true;
}

bool trace_open(struct trace *trace, const char *folder, struct error *err)
{
    *trace = (struct trace){.path = mem_copy_text(folder)};
    if (check_folder(folder, err) && load_manifest(trace, err) && open_ids(trace, err) &&
        check_trace_ids(trace, err) && open_weights(trace, err) && open_steps(trace, err))
        return true;
    trace_release(trace);
    return false;
}
