// The dispatcher: presets and YAML over one table of fields, the combinations that cannot be, and
// the bytes of a token on the wire.
#include "model/dispatcher.h"

#include "base/object.h"
#include "base/preset.h"
#include "model/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const dedupe_names[] = {"expert", "rank", "node", "all", NULL};
const char *const route_names[] = {"direct", "rail", NULL};
const char *const reduce_names[] = {"home", "rank", "node", NULL};
const char *const counts_names[] = {"exchange", "none", "padded", NULL};
const char *const sync_names[] = {"none", "barrier", NULL};
const char *const op_names[] = {"push", "pull", NULL};
const char *const backend_names[] = {"calls", "nccl-ep-ll", "nccl-ep-ht", "none", NULL};

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
        .cost_model = &cost_stream,
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

static const char *words_fault(const char *key, const char *words, struct error *err)
{
    char word[32], quoted[ERROR_QUOTE_BYTES];
    return dtype_unknown_word(words, word)
               ? preset_fault(err, key, "'%s': expected words such as \"fp8 bf16 nvfp4\"",
                              error_quote(word, quoted))
               : NULL;
}

static const char *dispatcher_fault(const struct dispatcher *d, struct error *err)
{
    const char *key = rail_fault(d, err);
    if (!key)
        key = padded_fault(d, err);
    if (!key)
        key = words_fault("dispatch_dtypes", d->dispatch_dtypes, err);
    if (!key)
        key = words_fault("combine_dtypes", d->combine_dtypes, err);
    const char *zero = d->chunk_tokens == 0           ? "chunk_tokens"
                       : d->combine_chunk_tokens == 0 ? "combine_chunk_tokens"
                       : d->align_bytes == 0          ? "align_bytes"
                                                      : NULL;
    return key || !zero ? key : preset_fault(err, zero, "0: expected at least 1");
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
// clang-format off
#define CHUNK_ROW(member, high, text)                                                              \
    {.key = #member, .kind = FIELD_U32, .offset = offsetof(struct chunk_row, member), .min = 1,    \
     .max = high, .help = text}
static const struct field chunk_fields[] = {
    CHUNK_ROW(ep, 65536, "up to this many ranks"),
    CHUNK_ROW(dispatch, TOKENS_MAX, "tokens of a message"),
    CHUNK_ROW(combine, TOKENS_MAX, "tokens of a message"),
};
// clang-format on
#define CHUNK_FIELDS (sizeof chunk_fields / sizeof chunk_fields[0])
#define CHUNK_KEY "chunk_by_ep"

// What a dispatcher is read for, and what its preset turned out to be.
struct dispatcher_context {
    uint32_t ep;
    const struct cost_model *cost_model;
};

static bool read_chunk_row(const struct object_reading *reading, doc_node item, uint32_t last_ep,
                           struct chunk_row *row)
{
    const struct doc *doc = reading->doc;
    bool seen[CHUNK_FIELDS] = {false};
    const struct object_bind bind = {
        .fields = chunk_fields, .count = CHUNK_FIELDS, .object = row, .seen = seen};
    if (doc_kind(doc, item) != DOC_MAP)
        return doc_error(doc, item, reading->err,
                         CHUNK_KEY ": expected {ep: N, dispatch: N, combine: N}");
    if (!object_bind(doc, item, &bind, reading->err))
        return false;
    for (size_t i = 0; i < CHUNK_FIELDS; i++)
        if (!seen[i])
            return doc_error(doc, item, reading->err, CHUNK_KEY ": %s: missing",
                             chunk_fields[i].key);
    if (row->ep <= last_ep)
        return doc_error(doc, item, reading->err,
                         CHUNK_KEY ": ep: %u: expected more than the %u before it", row->ep,
                         last_ep);
    return true;
}

// Sizes of the first row with ep or more ranks; above the last row, of the last.
static bool read_chunk_list(const struct object_reading *reading, doc_node list)
{
    const struct dispatcher_context *context = reading->context;
    struct dispatcher *dispatcher = reading->object;
    struct chunk_row row = {0};
    for (size_t i = 0; i < doc_size(reading->doc, list); i++) {
        const uint32_t last_ep = row.ep;
        if (!read_chunk_row(reading, doc_item(reading->doc, list, i), last_ep, &row))
            return false;
        if (i == 0 || last_ep < context->ep) {
            dispatcher->chunk_tokens = row.dispatch;
            dispatcher->combine_chunk_tokens = row.combine;
        }
    }
    return true;
}

// The list itself, out of {value: ..., source: ...} where it stands in one.
static bool open_chunks(const struct object_reading *reading, doc_node *list)
{
    const struct doc *doc = reading->doc;
    const doc_node node = *list;
    struct provenance provenance = {0};
    const bool bare = doc_kind(doc, node) == DOC_MAP && doc_get(doc, node, "value") == DOC_NONE;
    const bool ok = bare || object_open(doc, CHUNK_KEY, list, &provenance, reading->err);
    if (reading->provenance && provenance_given(&provenance)) {
        // Both sizes come from the list, and so from where it comes.
        reading->provenance[object_row(reading, "chunk_tokens")] = provenance_copy(&provenance);
        reading->provenance[object_row(reading, "combine_chunk_tokens")] =
            provenance_copy(&provenance);
    }
    provenance_release(&provenance, 1);
    if (ok && (bare || doc_kind(doc, *list) != DOC_LIST || doc_size(doc, *list) == 0))
        return doc_error(doc, node, reading->err,
                         CHUNK_KEY ": expected a list of {ep: N, dispatch: N, combine: N}");
    return ok;
}

static bool read_chunks(struct object_reading *reading)
{
    const struct doc *doc = reading->doc;
    const doc_node node = doc_get(doc, reading->root, CHUNK_KEY);
    doc_node list = node;
    if (node == DOC_NONE)
        return true;
    if (reading->seen[object_row(reading, "chunk_tokens")] ||
        reading->seen[object_row(reading, "combine_chunk_tokens")])
        return doc_error(doc, node, reading->err,
                         CHUNK_KEY ": expected either this or chunk_tokens, not both");
    return open_chunks(reading, &list) && read_chunk_list(reading, list);
}

// Key `law` comes first, wherever it stands: it says which other keys there are.
static bool read_cost_model(struct object_reading *reading)
{
    static const struct field law = DISPATCHER_COST_MODEL_ROW;
    struct dispatcher *dispatcher = reading->object;
    struct dispatcher_context *context = reading->context;
    const struct object_bind bind = {
        .fields = &law, .count = 1, .object = dispatcher, .open = true};
    if (!object_bind(reading->doc, reading->root, &bind, reading->err))
        return false;
    dispatcher_set_cost_model(dispatcher, dispatcher->cost_model);
    context->cost_model = dispatcher->cost_model;
    reading->fields = dispatcher->cost_model->fields;
    reading->count = dispatcher->cost_model->field_count;
    return true;
}

// A variant has the keys of its preset's cost model, and cannot have another.
static bool check_cost_model(struct object_reading *reading)
{
    const struct dispatcher *dispatcher = reading->object;
    const struct dispatcher_context *context = reading->context;
    return dispatcher->cost_model == context->cost_model ||
           doc_error(reading->doc, doc_get(reading->doc, reading->root, "law"), reading->err,
                     "law: %s: expected the preset's, %s", dispatcher->cost_model->name,
                     context->cost_model->name);
}

static const char *dispatcher_object_fault(void *object, struct error *err)
{
    return dispatcher_fault(object, err);
}

static const struct object_reader dispatcher_reader = {
    .kind = "dispatchers",
    .whose = "a dispatcher's",
    .required = (const char *const[]){"dedupe", "route", "reduce", NULL},
    .needs = "a dispatcher needs dedupe, route and reduce",
    .others = (const char *const[]){CHUNK_KEY, NULL},
    .begin = read_cost_model,
    .read_others = read_chunks,
    .check_variant = check_cost_model,
    .fault = dispatcher_object_fault,
};

const char *dispatcher_variant_name(enum dispatcher_variant which, const struct cluster *cluster,
                                    char *buffer)
{
    const char *name = which == VARIANT_ARCHITECTURE ? cluster->architecture
                       : which == VARIANT_GPU        ? cluster->gpu
                       : which == VARIANT_NETWORK    ? cluster->network
                       : which == VARIANT_CLUSTER    ? cluster->name
                                                     : "";
    snprintf(buffer, FIELD_TEXT_BYTES, "%s", name);
    buffer[strcspn(buffer, "*/")] = '\0';
    return buffer;
}

// Takes a variant's keys instead of the preset's own; "": there is no such variant.
static bool read_variant(struct object_reading *reading, const char *what, const char *variant,
                         enum dispatcher_variant which)
{
    struct dispatcher *dispatcher = reading->object;
    if (!*variant)
        return true;
    memset(reading->seen, 0, reading->count * sizeof *reading->seen);
    if (!object_load_variant(reading, what, variant))
        return false;
    for (size_t i = 0; i < reading->count; i++)
        if (reading->seen[i])
            dispatcher->variant[i] = (uint8_t)which;
    return true;
}

static bool read_version(struct object_reading *reading, const char *name, const char *asked)
{
    struct dispatcher *dispatcher = reading->object;
    char *variant = dispatcher->version_variant;
    if (!asked)
        return true;
    if (!version_variant(name, dispatcher->version, asked, variant, reading->err))
        return error_prefix(reading->err, "%s", name);
    if (!read_variant(reading, name, variant, VARIANT_VERSION))
        return false;
    snprintf(dispatcher->version, sizeof dispatcher->version, "%s", asked);
    return true;
}

// The preset or file, and what its variants for the version and the cluster say.
static bool load_named(struct object_reading *reading, const char *what,
                       const struct cluster *cluster)
{
    char name[FIELD_TEXT_BYTES], variant[FIELD_TEXT_BYTES];
    const char *version = version_split(what, name), *base = version ? name : what;
    bool ok = object_load(reading, base) && read_version(reading, name, version);
    for (unsigned which = VARIANT_ARCHITECTURE; ok && which <= VARIANT_CLUSTER; which++)
        ok = read_variant(reading, base, dispatcher_variant_name(which, cluster, variant), which);
    return ok;
}

static bool change_keys(struct object_reading *reading, char *items)
{
    const struct dispatcher *dispatcher = reading->object;
    const struct dispatcher_context *context = reading->context;
    return object_change(reading, items) &&
           (dispatcher->cost_model == context->cost_model ||
            error_set(reading->err, EXIT_INPUT, "law: %s: expected the preset's, %s",
                      dispatcher->cost_model->name, context->cost_model->name));
}

static bool load_changed(struct object_reading *reading, const char *what,
                         const struct cluster *cluster)
{
    char *items, quoted[ERROR_QUOTE_BYTES];
    char *name = object_split(what, &items);
    const bool ok = load_named(reading, name, cluster) && (!items || change_keys(reading, items));
    free(name);
    return ok || error_prefix(reading->err, "'%s'", error_quote(what, quoted));
}

const char *dispatcher_base_name(const struct dispatcher *dispatcher, char *buffer)
{
    snprintf(buffer, FIELD_TEXT_BYTES, "%s", dispatcher->name);
    buffer[strcspn(buffer, "*")] = '\0';
    return buffer;
}

bool dispatcher_load(const char *what, const struct cluster *cluster, struct dispatcher *dispatcher,
                     struct provenance *provenance, struct error *err)
{
    bool seen[COST_MAX_FIELDS] = {false};
    struct dispatcher_context context = {.ep = cluster_ranks(cluster)};
    struct object_reading reading = {.reader = &dispatcher_reader,
                                     .object = dispatcher,
                                     .provenance = provenance,
                                     .seen = seen,
                                     .context = &context,
                                     .err = err};
    *dispatcher = dispatcher_default();
    return object_says_changes(what) ? load_changed(&reading, what, cluster)
                                     : load_named(&reading, what, cluster);
}

// Whole units of alignment, and where lines of 128 bytes carry flags, those beside.
static uint64_t on_wire(const struct dispatcher *dispatcher, uint64_t bytes)
{
    const uint32_t align = dispatcher->align_bytes;
    const uint64_t aligned = (bytes + align - 1) / align * align;
    const uint32_t line = dispatcher->line_payload_bytes;
    return line ? (aligned * 128 + line - 1) / line : aligned;
}

uint64_t dispatcher_dispatch_bytes(const struct dispatcher *dispatcher, const struct moe *moe,
                                   uint32_t node_slots)
{
    const uint64_t blocks = (moe_expert_hidden(moe) + 127) / 128;
    const uint64_t saved =
        moe->dispatch_dtype == DTYPE_FP8 ? (4 - dispatcher->scale_bytes) * blocks : 0;
    const uint64_t payload = moe_payload_bytes(moe_expert_hidden(moe), moe->dispatch_dtype) - saved;
    const uint64_t choices = (uint64_t)moe->topk * dispatcher->choice_bytes;
    const uint64_t slots = (uint64_t)node_slots * dispatcher->slot_bytes;
    return on_wire(dispatcher, payload + dispatcher->header_bytes + choices + slots);
}

uint64_t dispatcher_combine_bytes(const struct dispatcher *dispatcher, const struct moe *moe)
{
    const uint64_t payload = moe_payload_bytes(moe_expert_hidden(moe), moe->combine_dtype);
    const uint64_t choices = (uint64_t)moe->topk * dispatcher->combine_choice_bytes;
    return on_wire(dispatcher, payload + dispatcher->combine_header_bytes + choices);
}

// NCCL EP's high-throughput kernels copy their maps by 16 bytes (ht_ep_adapter.cu), whole fours of
// tokens whatever the number of ranks.
uint32_t dispatcher_capacity(const struct dispatcher *dispatcher, uint32_t tokens)
{
    const uint32_t capacity = dispatcher->capacity_tokens;
    const uint32_t max_tokens = capacity > tokens ? capacity : tokens > 0 ? tokens : 1;
    return (max_tokens + 3) / 4 * 4;
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
