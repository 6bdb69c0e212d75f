// The dispatcher: presets and YAML over one table of fields, the combinations that cannot be, and
// the bytes of a token on the wire.
#include "model/dispatcher.h"

#include "base/mem.h"
#include "base/object.h"
#include "base/preset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const dedupe_names[] = {"expert", "rank", "node", "all", NULL};
static const char *const route_names[] = {"direct", "rail", NULL};
static const char *const reduce_names[] = {"home", "rank", "node", NULL};
static const char *const inside_names[] = {"nvlink", "nic", NULL};
static const char *const counts_names[] = {"exchange", "none", "padded", NULL};
static const char *const sync_names[] = {"none", "barrier", NULL};
static const char *const op_names[] = {"push", "pull", NULL};
static const char *const law_names[] = {"stream", "staged", "nccl", "warps", "waves", NULL};

#define TOKENS_MAX (1 << 24)
#define TIME_MAX 1e12 // picoseconds: a second

#define CHOICE(member, text)                                                                       \
    {                                                                                              \
        .key = #member, .kind = FIELD_ENUM, .offset = offsetof(struct dispatcher, member),         \
        .names = member##_names, .help = text                                                      \
    }
#define COUNT(member, low, high, text)                                                             \
    {                                                                                              \
        .key = #member, .kind = FIELD_U32, .offset = offsetof(struct dispatcher, member),          \
        .min = (low), .max = (high), .help = text                                                  \
    }
#define TIME(name, member, text)                                                                   \
    {                                                                                              \
        .key = name, .kind = FIELD_TIME, .offset = offsetof(struct dispatcher, member),            \
        .max = TIME_MAX, .help = text                                                              \
    }
#define RATE(name, member, text)                                                                   \
    {                                                                                              \
        .key = name, .kind = FIELD_RATE, .offset = offsetof(struct dispatcher, member),            \
        .max = 1e15, .help = text                                                                  \
    }
#define NUMBER(name, member, text)                                                                 \
    {                                                                                              \
        .key = name, .kind = FIELD_NUMBER, .offset = offsetof(struct dispatcher, member),          \
        .max = 1e9, .help = text                                                                   \
    }
#define SHARE(name, member, text)                                                                  \
    {                                                                                              \
        .key = name, .kind = FIELD_NUMBER, .offset = offsetof(struct dispatcher, member),          \
        .max = 1, .help = text                                                                     \
    }
#define BYTES(name, member, text)                                                                  \
    {                                                                                              \
        .key = name, .kind = FIELD_BYTES, .offset = offsetof(struct dispatcher, member),           \
        .max = 1e12, .help = text                                                                  \
    }
#define COSTS(side)                                                                                \
    TIME(#side "_fixed", side.fixed_ps, "a rank's " #side " kernel with no tokens, one node"),     \
        TIME(#side "_fixed_inter", side.fixed_inter_ps, "added with more than one node"),          \
        TIME(#side "_per_peer", side.per_peer_ps, "at the sender, a peer it has something for"),   \
        TIME(#side "_per_message", side.per_message_ps, "at the port, a message"),                 \
        RATE(#side "_sm_rate", side.sm_Bps, "bytes that one SM moves in " #side "; 0: no limit"),  \
        TIME(#side "_per_node", side.per_node_ps, "a node beyond the second"),                     \
        TIME(#side "_per_node_doubling", side.per_node_doubling_ps, "times log2 of the nodes"),    \
        TIME(#side "_per_rank_doubling", side.per_rank_doubling_ps, "times log2 of the ranks"),    \
        TIME(#side "_per_expert", side.per_expert_ps, "an expert: its counter and flag"),          \
        TIME(#side "_per_expert_group", side.per_expert_group_ps, "an expert of one SM"),          \
        TIME(#side "_per_warp", side.per_warp_ps, "law warps: a warp of a block"),                 \
        TIME(#side "_copy", side.copy_ps, "SM time of a copy, whatever its size"),                 \
        TIME(#side "_token", side.token_ps, "SM time of a token that a stage handles"),            \
        RATE(#side "_token_rate", side.token_Bps, "and the rate of its bytes; 0: no limit"),       \
        TIME(#side "_sum", side.sum_ps, "SM time of a choice summed at its expert's rank"),        \
        RATE(#side "_row_rate", side.row_Bps, "law stream: a row through one warp"),               \
        NUMBER(#side "_ramp_tokens", side.ramp_tokens, "rows of a channel that do not overlap"),   \
        NUMBER(#side "_ramp_half", side.ramp_half_tokens, "rows of a channel at half of that"),    \
        NUMBER(#side "_large_work", side.large_work, "growth of SM time with gigabytes received"), \
        NUMBER(#side "_inter_work", side.inter_work, "SM time across nodes over that of one"),     \
        SHARE(#side "_nvlink_share", side.nvlink_share, "of NVLink's rate; 0: all"),               \
        NUMBER(#side "_idle_sm_loss", side.idle_sm_loss, "of NVLink's rate with few SMs"),         \
        SHARE(#side "_hbm_share", side.hbm_share, "of memory's rate: sums, packing; 0: no bound"), \
        NUMBER(#side "_kernels", side.kernels, "launched around it: packing, summing"),            \
        TIME(#side "_least", side.least_ps,                                                        \
             "laws stream (one node) and waves: from the first byte on, whatever moves"),          \
        TIME(#side "_least_tray", side.least_tray_ps, "law waves: added above four ranks"),        \
        TIME(#side "_wave", side.wave_ps, "law waves: tail of later waves"),                       \
        TIME(#side "_scales", side.scales_ps, "law warps: the scales of nvfp4"),                   \
        TIME(#side "_quantise", side.quantise_ps, "law warps: nvfp4 made in the kernel"),          \
        TIME(#side "_quantise_copy", side.quantise_copy_ps, "and its SM time a copy")

const struct field dispatcher_fields[] = {
    {.key = "name",
     .kind = FIELD_TEXT,
     .offset = offsetof(struct dispatcher, name),
     .help = "name of the dispatcher"},
    CHOICE(dedupe, "copies of a token that leave its rank: one an expert, rank or node, or to all"),
    CHOICE(route, "between nodes: direct, or to the same index (rail), then over NVLink"),
    CHOICE(reduce, "where a token's results are first summed"),
    CHOICE(inside, "links that carry traffic inside a node"),
    CHOICE(counts, "how receivers learn what comes"),
    CHOICE(sync, "barrier: every rank waits for the slowest before data moves"),
    CHOICE(op, "who moves the data, sender or receiver"),
    CHOICE(law, "how kernels share time between SMs and wires"),
    {.key = "one_stage_inside",
     .kind = FIELD_BOOL,
     .offset = offsetof(struct dispatcher, one_stage_inside),
     .help = "rail: in one node tokens go straight to the ranks, by another kernel"},
    COUNT(sms, 0, 4096, "SMs that move data; 0: all of the GPU"),
    {.key = "hook",
     .kind = FIELD_BOOL,
     .offset = offsetof(struct dispatcher, hook),
     .help = "the network works without SMs between the send and the receive kernel"},
    COUNT(channels, 0, 4096, "parallel slices of a rank's tokens; 0: sms / 2"),
    COUNT(chunk_tokens, 1, TOKENS_MAX, "tokens of a message in dispatch"),
    COUNT(combine_chunk_tokens, 1, TOKENS_MAX, "tokens of a message in combine"),
    COUNT(window_tokens, 0, TOKENS_MAX, "tokens under way of a channel and peer; 0: no limit"),
    {.key = "chunk_bytes",
     .kind = FIELD_BYTES,
     .offset = offsetof(struct dispatcher, chunk_bytes),
     .min = 0,
     .max = 1e12,
     .help = "bytes of a message where a byte matrix is moved; 0: moves none"},
    COUNT(header_bytes, 0, 65536, "metadata bytes of a token in dispatch"),
    COUNT(combine_header_bytes, 0, 65536, "metadata bytes of a token in combine"),
    COUNT(choice_bytes, 0, 65536, "metadata bytes of a chosen expert in dispatch"),
    COUNT(combine_choice_bytes, 0, 65536, "metadata bytes of a chosen expert in combine"),
    COUNT(align_bytes, 1, 65536, "a token's bytes are rounded up to a multiple of this"),
    {.key = "no_home_copy",
     .kind = FIELD_BOOL,
     .offset = offsetof(struct dispatcher, no_home_copy),
     .help = "rail: NICs take tokens where they are; no SM copies them first"},
    COUNT(scale_bytes, 0, 4, "of a block of 128 fp8 values in dispatch"),
    COUNT(line_payload_bytes, 0, 128, "payload of 128 bytes on the wire, the rest flags; 0: all"),
    COUNT(max_tokens, 0, TOKENS_MAX, "tokens of a rank that the library takes; 0: no limit"),
    TIME("notify", notify_ps, "exchange of counts, one node, without waiting for late ranks"),
    TIME("notify_inter", notify_inter_ps, "added to notify with more than one node"),
    COSTS(dispatch),
    COSTS(combine),
    NUMBER("nccl_channels", nccl.channels, "law nccl: channels of all peers, an SM each"),
    BYTES("nccl_part", nccl.part_bytes, "least that a channel is given"),
    BYTES("nccl_ll_limit", nccl.ll_limit_bytes, "largest message of protocol LL"),
    BYTES("nccl_ll_chunk", nccl.ll_chunk_bytes, "chunk of protocol LL"),
    RATE("nccl_ll_channel_rate", nccl.ll_channel_Bps, "one channel, protocol LL"),
    RATE("nccl_ll_rate", nccl.ll_Bps, "all of a rank's bytes with its own, protocol LL"),
    NUMBER("nccl_simple_start", nccl.simple_start, "start of protocol Simple over that of LL"),
    BYTES("nccl_chunk", nccl.chunk_bytes, "chunk of protocol Simple"),
    RATE("nccl_channel_rate", nccl.channel_Bps, "one channel, protocol Simple"),
    NUMBER("nccl_fill", nccl.fill_share, "share of the first chunk that nothing overlaps"),
    BYTES("nccl_cached", nccl.cached_bytes, "of a rank's bytes that caches serve"),
    NUMBER("nccl_cache_boost", nccl.cache_boost, "rate from caches over that from memory"),
};
#define DISPATCHER_FIELDS (sizeof dispatcher_fields / sizeof dispatcher_fields[0])
const size_t dispatcher_field_count = DISPATCHER_FIELDS;
_Static_assert(DISPATCHER_FIELDS <= DISPATCHER_MAX_FIELDS, "a variant's mark for every key");

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
        .nccl = {.channels = 32, .part_bytes = 65536, .simple_start = 1},
    };
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
    struct provenance *sources;
    struct error *err;
    bool seen[DISPATCHER_FIELDS];
};

static size_t row_of(const char *key)
{
    return (size_t)(field_find(dispatcher_fields, DISPATCHER_FIELDS, key) - dispatcher_fields);
}

static bool read_chunk_row(const struct reading *reading, doc_node item, uint32_t last_ep,
                           struct chunk_row *row)
{
    bool seen[CHUNK_FIELDS] = {false};
    const struct object_bind bind = {
        .fields = chunk_fields, .count = CHUNK_FIELDS, .object = row, .seen = seen};
    if (doc_kind(reading->doc, item) != DOC_MAP)
        return doc_error(reading->doc, item, reading->err,
                         CHUNK_KEY ": expected {ep: N, dispatch: N, combine: N}");
    if (!object_bind(reading->doc, item, &bind, reading->err))
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
        reading->sources[row_of("chunk_tokens")].source = mem_copy_text(doc_text(doc, source));
        reading->sources[row_of("combine_chunk_tokens")].source =
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
    if (reading->seen[row_of("chunk_tokens")] || reading->seen[row_of("combine_chunk_tokens")])
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

// object_bind, told that the map is open, leaves chunk_by_ep aside; the rest is refused here.
static bool refuse_key(const struct reading *reading, size_t index)
{
    const struct doc *doc = reading->doc;
    const char *key = doc_key(doc, reading->root, index);
    if (strcmp(key, CHUNK_KEY) == 0)
        return true;
    if (field_find(dispatcher_fields, DISPATCHER_FIELDS, key)) {
        const doc_node value = doc_value(doc, reading->root, index);
        return !doc_is_null(doc, value) ||
               doc_error(doc, value, reading->err, "%s: no value given", key);
    }
    char quoted[ERROR_QUOTE_BYTES];
    const char *near = field_nearest_key(dispatcher_fields, DISPATCHER_FIELDS, key);
    return error_set(reading->err, EXIT_INPUT, "%s:%zu: unknown key '%s'%s%s%s", doc_name(doc),
                     doc_key_line(doc, reading->root, index), error_quote(key, quoted),
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static bool refuse_keys(const struct reading *reading)
{
    for (size_t i = 0; i < doc_size(reading->doc, reading->root); i++)
        if (!refuse_key(reading, i))
            return false;
    return true;
}

static bool read_fields(struct reading *reading)
{
    const struct object_bind bind = {.fields = dispatcher_fields,
                                     .count = DISPATCHER_FIELDS,
                                     .object = reading->dispatcher,
                                     .provenance = reading->sources,
                                     .seen = reading->seen,
                                     .open = true};
    preset_title(reading->doc, reading->dispatcher->name);
    if (!refuse_keys(reading) || !object_bind(reading->doc, reading->root, &bind, reading->err))
        return false;
    static const char *const needed[] = {"dedupe", "route", "reduce"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!reading->seen[row_of(needed[i])])
            return doc_error(reading->doc, reading->root, reading->err,
                             "%s: missing; a dispatcher needs dedupe, route and reduce", needed[i]);
    return true;
}

static bool read_doc(struct reading *reading, uint32_t ep)
{
    if (doc_kind(reading->doc, reading->root) != DOC_MAP)
        return doc_error(reading->doc, reading->root, reading->err,
                         "expected a dispatcher's keys and values");
    if (!read_fields(reading) || !read_chunks(reading, ep))
        return false;
    const char *key = dispatcher_fault(reading->dispatcher, reading->err);
    return key ? preset_blame(reading->doc, key, reading->err) : true;
}

// Takes a variant's keys instead of the preset's own.
static bool read_variant(const char *what, const char *variant, enum dispatcher_variant which,
                         struct dispatcher *dispatcher, struct provenance *sources,
                         struct error *err)
{
    struct provenance own[DISPATCHER_FIELDS] = {0};
    bool seen[DISPATCHER_FIELDS] = {false};
    err->text[0] = '\0';
    struct doc *doc = preset_load_variant("dispatchers", what, variant, err);
    if (!doc)
        return !err->text[0];
    const struct object_bind bind = {.fields = dispatcher_fields,
                                     .count = DISPATCHER_FIELDS,
                                     .object = dispatcher,
                                     .provenance = own,
                                     .seen = seen};
    const bool ok = doc_kind(doc, doc_root(doc)) != DOC_MAP
                        ? doc_error(doc, doc_root(doc), err, "expected keys and values")
                        : object_bind(doc, doc_root(doc), &bind, err);
    const char *fault = ok ? dispatcher_fault(dispatcher, err) : NULL;
    if (fault)
        preset_blame(doc, fault, err);
    for (size_t i = 0; i < DISPATCHER_FIELDS; i++) {
        if (seen[i])
            dispatcher->variant[i] = (uint8_t)which;
        if (sources && seen[i]) {
            provenance_release(&sources[i], 1);
            sources[i] = own[i];
        } else {
            provenance_release(&own[i], 1);
        }
    }
    doc_free(doc);
    return ok && !fault;
}

const char *dispatcher_cluster_name(const struct cluster *cluster, char *buffer)
{
    snprintf(buffer, FIELD_TEXT_BYTES, "%s", cluster->name);
    buffer[strcspn(buffer, "*/")] = '\0';
    return buffer;
}

static bool read_variants(const char *what, const struct cluster *cluster,
                          struct dispatcher *dispatcher, struct provenance *sources,
                          struct error *err)
{
    char name[FIELD_TEXT_BYTES];
    return (!cluster->gpu[0] ||
            read_variant(what, cluster->gpu, VARIANT_GPU, dispatcher, sources, err)) &&
           (!dispatcher_cluster_name(cluster, name)[0] ||
            read_variant(what, name, VARIANT_CLUSTER, dispatcher, sources, err));
}

bool dispatcher_load(const char *what, const struct cluster *cluster, struct dispatcher *dispatcher,
                     struct provenance *sources, struct error *err)
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
    const bool done = read_doc(&reading, cluster_ranks(cluster));
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
