// The dispatcher: presets and YAML over one table of fields, the combinations that cannot be, and
// the bytes of a token on the wire.
#include "model/dispatcher.h"

#include "base/mem.h"
#include "model/preset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const dedupe_names[] = {"expert", "rank", "node", "all", NULL};
const char *const route_names[] = {"direct", "rail", NULL};
const char *const reduce_names[] = {"home", "rank", "node", NULL};
const char *const counts_names[] = {"exchange", "none", "padded", NULL};
const char *const sync_names[] = {"none", "barrier", NULL};
const char *const op_names[] = {"push", "pull", NULL};

#define TOKENS_MAX (1 << 24)

struct dispatcher dispatcher_default(void)
{
    return (struct dispatcher){
        .name = "custom",
        .dedupe = DEDUPE_RANK,
        .route = ROUTE_DIRECT,
        .reduce = REDUCE_RANK,
        .inside = INSIDE_NVLINK,
        .counts = COUNTS_NONE,
        .sync = SYNC_NONE,
        .op = OP_PUSH,
        .chunk_tokens = 1,
        .combine_chunk_tokens = 1,
        .align_bytes = 1,
        .scale_bytes = 4,
        .cost_model = cost_models[0],
    };
}

void dispatcher_set_cost_model(struct dispatcher *dispatcher, const struct cost_model *model)
{
    dispatcher->cost_model = model;
    dispatcher->own = (union own_costs){0};
    if (model->defaults)
        memcpy(dispatcher->own.bytes, model->defaults, model->defaults_bytes);
}

// Copies that are made or summed in another node need somewhere there to land: the rail.
static const char *rail_fault(const struct dispatcher *d, struct error *err)
{
    const bool rail = d->route == ROUTE_RAIL;
    if (!rail && (d->dedupe == DEDUPE_NODE || d->dedupe == DEDUPE_ALL))
        return preset_fault(err, "dedupe", "%s: needs route: rail, not route: %s",
                            dedupe_names[d->dedupe], route_names[d->route]);
    if (!rail && d->reduce == REDUCE_NODE)
        return preset_fault(err, "reduce", "node: needs route: rail, not route: %s",
                            route_names[d->route]);
    if (rail && d->inside == INSIDE_NIC)
        return preset_fault(err, "route", "rail: needs inside: nvlink, not inside: nic");
    if (rail && (d->dedupe == DEDUPE_EXPERT || d->dedupe == DEDUPE_RANK))
        return preset_fault(err, "route", "rail: needs dedupe: node or all, not dedupe: %s",
                            dedupe_names[d->dedupe]);
    if (d->dedupe == DEDUPE_ALL && d->reduce != REDUCE_NODE)
        return preset_fault(err, "dedupe", "all: needs reduce: node, not reduce: %s",
                            reduce_names[d->reduce]);
    return NULL;
}

// Fixed slots are posted whole both ways: results fill the slots that their tokens came in.
static const char *padded_fault(const struct dispatcher *d, struct error *err)
{
    if (d->counts != COUNTS_PADDED)
        return NULL;
    if (d->route == ROUTE_RAIL)
        return preset_fault(err, "counts", "padded: needs route: direct, not route: rail");
    if ((d->dedupe == DEDUPE_EXPERT) != (d->reduce == REDUCE_HOME))
        return preset_fault(err, "counts",
                            "padded: needs dedupe: expert with reduce: home, or dedupe: rank with "
                            "reduce: rank, not dedupe: %s with reduce: %s",
                            dedupe_names[d->dedupe], reduce_names[d->reduce]);
    return NULL;
}

static const char *dispatcher_fault(const struct dispatcher *d, struct error *err)
{
    const char *key = rail_fault(d, err);
    if (!key)
        key = padded_fault(d, err);
    if (key)
        return key;
    if (d->chunk_tokens == 0)
        return preset_fault(err, "chunk_tokens", "0: expected at least 1");
    if (d->combine_chunk_tokens == 0)
        return preset_fault(err, "combine_chunk_tokens", "0: expected at least 1");
    if (d->align_bytes == 0)
        return preset_fault(err, "align_bytes", "0: expected at least 1");
    return NULL;
}

bool dispatcher_check(const struct dispatcher *dispatcher, struct error *err)
{
    const char *key = dispatcher_fault(dispatcher, err);
    return key ? error_prefix(err, "%s", key) : true;
}

// One row of chunk_by_ep.
struct chunk_row {
    uint32_t ep, dispatch, combine;
};
static const struct field chunk_fields[] = {
    {.key = "ep",
     .kind = FIELD_U32,
     .offset = offsetof(struct chunk_row, ep),
     .min = 1,
     .max = 65536,
     .help = "up to this many ranks"},
    {.key = "dispatch",
     .kind = FIELD_U32,
     .offset = offsetof(struct chunk_row, dispatch),
     .min = 1,
     .max = TOKENS_MAX,
     .help = "tokens of a message"},
    {.key = "combine",
     .kind = FIELD_U32,
     .offset = offsetof(struct chunk_row, combine),
     .min = 1,
     .max = TOKENS_MAX,
     .help = "tokens of a message"},
};
#define CHUNK_FIELDS (sizeof chunk_fields / sizeof chunk_fields[0])
#define CHUNK_KEY "chunk_by_ep"

// A document being read.
struct reading {
    const struct doc *doc;
    doc_node root;
    struct dispatcher *dispatcher;
    char **sources;
    struct error *err;
    const struct cost_model *model; // the dispatcher's: its rows are the keys
    bool seen[COST_MAX_FIELDS];
};

static size_t dispatcher_row(const struct reading *reading, const char *key)
{
    const struct cost_model *model = reading->model;
    return (size_t)(field_find(model->fields, model->field_count, key) - model->fields);
}

static bool read_chunk_row(const struct reading *reading, doc_node item, uint32_t last_ep,
                           struct chunk_row *row)
{
    bool seen[CHUNK_FIELDS] = {false};
    const struct doc_bind bind = {
        .fields = chunk_fields, .count = CHUNK_FIELDS, .object = row, .seen = seen};
    if (doc_kind(reading->doc, item) != DOC_MAP)
        return doc_error(reading->doc, item, reading->err,
                         CHUNK_KEY ": expected {ep: N, dispatch: N, combine: N}");
    if (!doc_bind(reading->doc, item, &bind, reading->err))
        return false;
    for (size_t i = 0; i < CHUNK_FIELDS; i++)
        if (!seen[i])
            return doc_error(reading->doc, item, reading->err, CHUNK_KEY ": %s: missing",
                             chunk_fields[i].key);
    if (row->ep <= last_ep)
        return doc_error(reading->doc, item, reading->err,
                         CHUNK_KEY ": ep: %u: expected more than the %u before it", row->ep,
                         last_ep);
    return true;
}

// The list itself, with its source kept for both figures that come from it.
static doc_node chunk_list(struct reading *reading, doc_node node)
{
    const struct doc *doc = reading->doc;
    if (doc_kind(doc, node) != DOC_MAP)
        return node;
    const doc_node source = doc_get(doc, node, "source");
    if (reading->sources && source != DOC_NONE && doc_kind(doc, source) == DOC_SCALAR) {
        reading->sources[dispatcher_row(reading, "chunk_tokens")] =
            mem_copy_text(doc_text(doc, source));
        reading->sources[dispatcher_row(reading, "combine_chunk_tokens")] =
            mem_copy_text(doc_text(doc, source));
    }
    return doc_get(doc, node, "value");
}

// Chunk sizes of the first row with ep or more ranks; above the last row, of the last.
static bool read_chunks(struct reading *reading, uint32_t ep)
{
    const doc_node node = doc_get(reading->doc, reading->root, CHUNK_KEY);
    if (node == DOC_NONE)
        return true;
    if (reading->seen[dispatcher_row(reading, "chunk_tokens")] ||
        reading->seen[dispatcher_row(reading, "combine_chunk_tokens")])
        return doc_error(reading->doc, node, reading->err,
                         CHUNK_KEY ": expected either this or chunk_tokens, not both");
    const doc_node list = chunk_list(reading, node);
    if (list == DOC_NONE || doc_kind(reading->doc, list) != DOC_LIST ||
        doc_size(reading->doc, list) == 0)
        return doc_error(reading->doc, node, reading->err,
                         CHUNK_KEY ": expected a list of {ep: N, dispatch: N, combine: N}");
    struct chunk_row row = {0};
    for (size_t i = 0; i < doc_size(reading->doc, list); i++) {
        const uint32_t last_ep = row.ep;
        if (!read_chunk_row(reading, doc_item(reading->doc, list, i), last_ep, &row))
            return false;
        if (i == 0 || last_ep < ep) {
            reading->dispatcher->chunk_tokens = row.dispatch;
            reading->dispatcher->combine_chunk_tokens = row.combine;
        }
    }
    return true;
}

// doc_bind, told that the map is open, leaves chunk_by_ep aside; the rest is refused here.
static bool refuse_dispatcher_key(const struct reading *reading, size_t index)
{
    const struct doc *doc = reading->doc;
    const struct cost_model *model = reading->model;
    const char *key = doc_key(doc, reading->root, index);
    if (strcmp(key, CHUNK_KEY) == 0)
        return true;
    if (field_find(model->fields, model->field_count, key)) {
        const doc_node value = doc_value(doc, reading->root, index);
        return !doc_is_null(doc, value) ||
               doc_error(doc, value, reading->err, "%s: no value given", key);
    }
    char quoted[ERROR_QUOTE_BYTES];
    const char *near = field_nearest_key(model->fields, model->field_count, key);
    return error_set(reading->err, EXIT_INPUT, "%s:%zu: unknown key '%s'%s%s%s", doc_name(doc),
                     doc_key_line(doc, reading->root, index), error_quote(key, quoted),
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool refuse_keys(const struct reading *reading)
{
    for (size_t i = 0; i < doc_size(reading->doc, reading->root); i++)
        if (!refuse_dispatcher_key(reading, i))
            return false;
    return true;
}

// Key `law` comes first, wherever it stands: it says which other keys there are.
static bool read_law(struct reading *reading)
{
    static const struct field law = DISPATCHER_LAW_ROW;
    struct dispatcher *dispatcher = reading->dispatcher;
    const struct doc_bind bind = {.fields = &law, .count = 1, .object = dispatcher, .open = true};
    if (!doc_bind(reading->doc, reading->root, &bind, reading->err))
        return false;
    dispatcher_set_cost_model(dispatcher, dispatcher->cost_model);
    reading->model = dispatcher->cost_model;
    return true;
}

static bool read_fields(struct reading *reading)
{
    const struct doc_bind bind = {.fields = reading->model->fields,
                                  .count = reading->model->field_count,
                                  .object = reading->dispatcher,
                                  .sources = reading->sources,
                                  .seen = reading->seen,
                                  .open = true};
    preset_title(reading->doc, reading->dispatcher->name);
    if (!refuse_keys(reading) || !doc_bind(reading->doc, reading->root, &bind, reading->err))
        return false;
    static const char *const needed[] = {"dedupe", "route", "reduce"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!reading->seen[dispatcher_row(reading, needed[i])])
            return doc_error(reading->doc, reading->root, reading->err,
                             "%s: missing; a dispatcher needs dedupe, route and reduce", needed[i]);
    return true;
}

static bool read_dispatcher_doc(struct reading *reading, uint32_t ep)
{
    if (doc_kind(reading->doc, reading->root) != DOC_MAP)
        return doc_error(reading->doc, reading->root, reading->err,
                         "expected a dispatcher's keys and values");
    if (!read_law(reading) || !read_fields(reading) || !read_chunks(reading, ep))
        return false;
    const char *key = dispatcher_fault(reading->dispatcher, reading->err);
    return key ? preset_blame(reading->doc, key, reading->err) : true;
}

// Binds a variant's keys. It has the keys of its preset's cost model, and cannot have another.
static bool bind_variant(const struct doc *doc, struct dispatcher *dispatcher, bool *seen,
                         char **sources, struct error *err)
{
    const struct cost_model *model = dispatcher->cost_model;
    const doc_node root = doc_root(doc);
    const struct doc_bind bind = {.fields = model->fields,
                                  .count = model->field_count,
                                  .object = dispatcher,
                                  .sources = sources,
                                  .seen = seen};
    if (doc_kind(doc, root) != DOC_MAP)
        return doc_error(doc, root, err, "expected keys and values");
    if (!doc_bind(doc, root, &bind, err))
        return false;
    if (dispatcher->cost_model != model)
        return doc_error(doc, doc_get(doc, root, "law"), err, "law: %s: expected the preset's, %s",
                         dispatcher->cost_model->name, model->name);
    const char *fault = dispatcher_fault(dispatcher, err);
    return fault ? preset_blame(doc, fault, err) : true;
}

// Takes a variant's keys instead of the preset's own.
static bool read_variant(const char *what, const char *variant, enum dispatcher_variant which,
                         struct dispatcher *dispatcher, char **sources, struct error *err)
{
    char *own[COST_MAX_FIELDS] = {NULL};
    bool seen[COST_MAX_FIELDS] = {false};
    err->text[0] = '\0';
    struct doc *doc = preset_load_variant("dispatchers", what, variant, err);
    if (!doc)
        return !err->text[0];
    const bool ok = bind_variant(doc, dispatcher, seen, own, err);
    for (size_t i = 0; i < COST_MAX_FIELDS; i++) {
        if (seen[i])
            dispatcher->variant[i] = (uint8_t)which;
        if (sources && seen[i]) {
            free(sources[i]);
            sources[i] = own[i];
        } else {
            free(own[i]);
        }
    }
    doc_free(doc);
    return ok;
}

const char *dispatcher_cluster_name(const struct cluster *cluster, char *buffer)
{
    snprintf(buffer, FIELD_TEXT_BYTES, "%s", cluster->name);
    buffer[strcspn(buffer, "*/")] = '\0';
    return buffer;
}

static bool read_variants(const char *what, const struct cluster *cluster,
                          struct dispatcher *dispatcher, char **sources, struct error *err)
{
    char name[FIELD_TEXT_BYTES];
    return (!cluster->gpu[0] ||
            read_variant(what, cluster->gpu, VARIANT_GPU, dispatcher, sources, err)) &&
           (!dispatcher_cluster_name(cluster, name)[0] ||
            read_variant(what, name, VARIANT_CLUSTER, dispatcher, sources, err));
}

bool dispatcher_load(const char *what, const struct cluster *cluster, struct dispatcher *dispatcher,
                     char **sources, struct error *err)
{
    *dispatcher = dispatcher_default();
    struct doc *doc = preset_load("dispatchers", what, err);
    if (!doc)
        return false;
    struct reading reading = {.doc = doc,
                              .root = doc_root(doc),
                              .dispatcher = dispatcher,
                              .sources = sources,
                              .err = err};
    const bool done = read_dispatcher_doc(&reading, cluster_ranks(cluster));
    doc_free(doc);
    return done && read_variants(what, cluster, dispatcher, sources, err);
}

static uint64_t round_up(uint64_t bytes, uint32_t multiple)
{
    return (bytes + multiple - 1) / multiple * multiple;
}

// Whole units of alignment, and where lines of 128 bytes carry flags, those beside.
static uint64_t on_wire(const struct dispatcher *dispatcher, uint64_t bytes)
{
    const uint64_t aligned = round_up(bytes, dispatcher->align_bytes);
    const uint32_t line = dispatcher->line_payload_bytes;
    return line ? (aligned * 128 + line - 1) / line : aligned;
}

uint64_t dispatcher_dispatch_bytes(const struct dispatcher *dispatcher, const struct moe *moe)
{
    const uint64_t blocks = (moe->hidden + 127) / 128;
    const uint64_t saved =
        moe->dispatch_dtype == DTYPE_FP8 ? (4 - dispatcher->scale_bytes) * blocks : 0;
    const uint64_t payload = moe_payload_bytes(moe->hidden, moe->dispatch_dtype) - saved;
    const uint64_t choices = (uint64_t)moe->topk * dispatcher->choice_bytes;
    return on_wire(dispatcher, payload + dispatcher->header_bytes + choices);
}

uint64_t dispatcher_combine_bytes(const struct dispatcher *dispatcher, const struct moe *moe)
{
    const uint64_t payload = moe_payload_bytes(moe->hidden, moe->combine_dtype);
    const uint64_t choices = (uint64_t)moe->topk * dispatcher->combine_choice_bytes;
    return on_wire(dispatcher, payload + dispatcher->combine_header_bytes + choices);
}

uint32_t dispatcher_sms(const struct dispatcher *dispatcher, uint32_t gpu_sms)
{
    const uint32_t sms = dispatcher->sms;
    return sms == 0 || sms > gpu_sms ? gpu_sms : sms;
}

uint32_t dispatcher_channels(const struct dispatcher *dispatcher, uint32_t gpu_sms)
{
    if (dispatcher->channels)
        return dispatcher->channels;
    const uint32_t sms = dispatcher_sms(dispatcher, gpu_sms);
    return sms < 2 ? 1 : sms / 2;
}
