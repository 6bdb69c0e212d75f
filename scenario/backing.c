#include "scenario/backing.h"

#include "base/mem.h"
#include "base/object.h"
#include "base/preset.h"
#include "model/dispatcher.h"

#include <stdlib.h>
#include <string.h>

// clang-format off
#define TEXT(type, member, text)                                                                   \
    {.key = #member, .kind = FIELD_TEXT, .offset = offsetof(struct type, member), .help = text}
#define COUNT(member, low, high, text)                                                             \
    {.key = #member, .kind = FIELD_U32, .offset = offsetof(struct backing_row, member),            \
     .min = low, .max = high, .help = text}

const struct field backing_fields[] = {
    TEXT(backing_row, dispatcher, "name of the dispatcher"),
    TEXT(backing_row, cluster, "name of the cluster"),
    TEXT(backing_row, gpu, "model of its GPU"),
    TEXT(backing_row, architecture, "generation of its GPU"),
    COUNT(nodes, 1, CLUSTER_MAX_RANKS, "nodes of the rows"),
    COUNT(gpus_per_node, 1, CLUSTER_MAX_RANKS, "GPUs of a node"),
    COUNT(dispatch, 0, UINT32_MAX, "rows of dispatch"),
    COUNT(combine, 0, UINT32_MAX, "rows of combine"),
    COUNT(min_tokens, 0, UINT32_MAX, "fewest tokens per rank"),
    COUNT(max_tokens, 0, UINT32_MAX, "most tokens per rank"),
};
#define BACKING_FIELDS (sizeof backing_fields / sizeof backing_fields[0])
const size_t backing_field_count = BACKING_FIELDS;

static const struct field vendor_fields[] = {
    TEXT(vendor, name, "name of the vendor"),
    TEXT(vendor, architectures, "generations of its GPUs as clusters name them"),
    TEXT(vendor, unnamed, "that of a cluster which names no GPU"),
};
// clang-format on
#define VENDOR_FIELDS (sizeof vendor_fields / sizeof vendor_fields[0])

static const struct object_reader vendor_reader = {
    .kind = "vendors",
    .whose = "a vendor's",
    .fields = vendor_fields,
    .count = VENDOR_FIELDS,
    .required = (const char *const[]){"architectures", NULL},
    .needs = "a vendor needs architectures",
};

// ---- reading -----------------------------------------------------------------------------------

// What reads one preset of a kind into *backing.
typedef bool backing_reader(struct backing *backing, const char *name, struct error *err);

static bool read_vendor(struct backing *backing, const char *name, struct error *err)
{
    bool seen[VENDOR_FIELDS] = {false};
    backing->vendors =
        mem_grow(backing->vendors, backing->vendor_count + 1, sizeof *backing->vendors);
    struct vendor *vendor = &backing->vendors[backing->vendor_count++];
    *vendor = (struct vendor){0};
    struct object_reading reading = {
        .reader = &vendor_reader, .object = vendor, .seen = seen, .err = err};
    return object_load(&reading, name);
}

static bool read_backing_row(struct backing *backing, const struct doc *doc, doc_node item,
                             struct error *err)
{
    bool seen[BACKING_FIELDS] = {false};
    backing->rows = mem_grow(backing->rows, backing->count + 1, sizeof *backing->rows);
    struct backing_row *row = &backing->rows[backing->count++];
    *row = (struct backing_row){0};
    const struct object_bind bind = {
        .fields = backing_fields, .count = BACKING_FIELDS, .object = row, .seen = seen};
    if (!object_bind(doc, item, &bind, err))
        return false;
    for (size_t f = 0; f < BACKING_FIELDS; f++)
        if (!seen[f])
            return doc_error(doc, item, err, "%s: missing", backing_fields[f].key);
    return true;
}

static bool read_rows_of(struct backing *backing, const struct doc *doc, struct error *err)
{
    const doc_node root = doc_root(doc);
    const doc_node list = doc_kind(doc, root) == DOC_MAP ? doc_get(doc, root, "rows") : DOC_NONE;
    if (list == DOC_NONE || doc_kind(doc, list) != DOC_LIST)
        return doc_error(doc, root, err, "rows: expected a list of what was measured");
    for (size_t i = 0; i < doc_size(doc, list); i++)
        if (!read_backing_row(backing, doc, doc_item(doc, list, i), err))
            return false;
    return true;
}

static bool read_rows(struct backing *backing, const char *name, struct error *err)
{
    struct doc *doc = preset_load("rows", name, err);
    const bool ok = doc && read_rows_of(backing, doc, err);
    doc_free(doc);
    return ok;
}

static bool read_all(struct backing *backing, const char *kind, backing_reader *read,
                     struct error *err)
{
    size_t own, count;
    bool ok = true;
    char **names = preset_all(kind, &own, &count);
    for (size_t i = 0; i < count; i++) {
        ok = ok && read(backing, names[i], err);
        free(names[i]);
    }
    free(names);
    return ok;
}

bool backing_load(struct backing *backing, struct error *err)
{
    *backing = (struct backing){0};
    return read_all(backing, "rows", read_rows, err) &&
           read_all(backing, "vendors", read_vendor, err);
}

void backing_release(struct backing *backing)
{
    free(backing->rows);
    free(backing->vendors);
    *backing = (struct backing){0};
}

// ---- which rows stand behind what --------------------------------------------------------------

static bool has_word(const char *words, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = words; length && (at = strstr(at, word)); at += length)
        if ((at == words || at[-1] == ' ') && strchr(" ", at[length]))
            return true;
    return false;
}

const struct vendor *backing_vendor(const struct backing *backing, const char *architecture)
{
    for (size_t v = 0; v < backing->vendor_count; v++)
        if (has_word(backing->vendors[v].architectures, architecture))
            return &backing->vendors[v];
    return NULL;
}

const char *backing_architecture(const struct backing *backing, const struct cluster *cluster)
{
    if (cluster->architecture[0])
        return cluster->architecture;
    for (size_t r = 0; cluster->gpu[0] && r < backing->count; r++)
        if (!strcmp(backing->rows[r].gpu, cluster->gpu))
            return backing->rows[r].architecture;
    for (size_t v = 0; !cluster->gpu[0] && v < backing->vendor_count; v++)
        if (backing->vendors[v].unnamed[0])
            return backing->vendors[v].unnamed;
    return "";
}

static bool is_of_cluster(const struct backing_row *row, const struct cluster *cluster)
{
    char name[FIELD_TEXT_BYTES];
    return !strcmp(row->cluster, dispatcher_variant_name(VARIANT_CLUSTER, cluster, name));
}

// assumption: a third, for 32 say something of 72 (the most measured in a GB200 rack), and two
// nothing of eight. How many nodes is left open; what leaves the rows is said with the prediction.
static bool is_near(const struct backing_row *row, const struct cluster *cluster)
{
    return 3 * row->gpus_per_node >= cluster->gpus_per_node;
}

static bool is_same_node(const struct backing_row *row, const struct cluster *cluster)
{
    return cluster->nodes == 1 && cluster->gpu[0] && !strcmp(row->gpu, cluster->gpu);
}

static bool is_same_vendor(const struct backing *backing, const char *a, const char *b)
{
    const struct vendor *first = backing_vendor(backing, a);
    return first && first == backing_vendor(backing, b);
}

bool backing_holds(const struct backing *backing, const struct backing_row *row,
                   const struct cluster *cluster, enum backing_reach reach)
{
    const char *asked = backing_architecture(backing, cluster);
    if (!row->dispatch || !row->combine || (row->nodes > 1) != (cluster->nodes > 1))
        return false;
    if (is_of_cluster(row, cluster) || !is_near(row, cluster))
        return is_of_cluster(row, cluster);
    switch (reach) {
    case BACKING_CLUSTER:
        return is_same_node(row, cluster);
    case BACKING_ARCHITECTURE:
        return *asked && !strcmp(asked, row->architecture);
    case BACKING_VENDOR:
        return is_same_vendor(backing, asked, row->architecture);
    default:
        return true;
    }
}
