// The one-line form of a cluster, and keys changed behind a preset's name. Who writes a line has
// the datasheet at hand: its `nic` and `nvlink` are nominal rates, and what a good implementation
// sustains is `nic_effective`. In files, where both stand with their sources, the effective ones
// have the short names.
#include "model/cluster.h"

#include "base/mem.h"
#include "base/preset.h"
#include "base/units.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 64 // above those of cluster_fields

// clang-format off
#define LINK(name)                                                                                 \
    {#name, #name "_effective", #name "_nominal", offsetof(struct cluster, name##_Bps),            \
     offsetof(struct cluster, name##_nominal_Bps)}

// A link's two rates. The nominal one's key in a line is the effective one's in a file.
static const struct link {
    const char *key, *line_effective, *file_nominal;
    size_t effective, nominal; // offsets of the rates
} links[] = {LINK(nvlink), LINK(nic), LINK(bridge)};
// clang-format on
#define LINKS (sizeof links / sizeof links[0])

static size_t line_row(const char *file_key)
{
    return (size_t)(field_find(cluster_fields, cluster_field_count, file_key) - cluster_fields);
}

static double *rate_at(const struct cluster *cluster, size_t offset)
{
    return (double *)(void *)((char *)cluster + offset);
}

// The rows of cluster_fields under a line's keys.
struct line_fields {
    struct field rows[ROWS_MAX];
};

static struct line_fields fields_of_line(void)
{
    struct line_fields fields = {0};
    assert(cluster_field_count <= ROWS_MAX);
    memcpy(fields.rows, cluster_fields, cluster_field_count * sizeof *fields.rows);
    for (size_t l = 0; l < LINKS; l++) {
        fields.rows[line_row(links[l].key)].key = links[l].line_effective;
        fields.rows[line_row(links[l].file_nominal)].key = links[l].key;
    }
    return fields;
}

// ---- presets to compare with --------------------------------------------------------------------

// A preset, and how many rows each of its effective rates was fitted to.
struct known_cluster {
    char name[FIELD_TEXT_BYTES]; // of the preset
    struct cluster cluster;
    size_t rows[LINKS];
};

static void read_known(struct known_cluster *known, const char *name)
{
    struct provenance *from = mem_alloc(cluster_field_count, sizeof *from);
    struct error err;
    snprintf(known->name, sizeof known->name, "%s", name);
    if (cluster_load(name, &known->cluster, from, &err))
        for (size_t l = 0; l < LINKS; l++)
            known->rows[l] = from[line_row(links[l].key)].rows;
    else {
        notice("cluster %s is left out of those to compare with: %s", name, err.text);
        known->cluster = (struct cluster){0};
    }
    provenance_release(from, cluster_field_count);
    free(from);
}

// All presets, read once in a process.
static const struct known_cluster *known_clusters(size_t *count)
{
    static struct known_cluster *known;
    static size_t known_count;
#pragma omp critical(epsim_known_clusters)
    if (!known) {
        size_t own;
        char **names = preset_all("clusters", &own, &known_count);
        known = mem_alloc(known_count, sizeof *known);
        for (size_t i = 0; i < known_count; i++) {
            read_known(&known[i], names[i]);
            free(names[i]);
        }
        free(names);
    }
    *count = known_count;
    return known;
}

// ---- what a GPU brings -------------------------------------------------------------------------

static const char *const gpu_keys[] = {"architecture", "sms",  "hbm",
                                       "fp8",          "bf16", "gemm_efficiency"};
#define GPU_KEYS (sizeof gpu_keys / sizeof gpu_keys[0])

// The first preset that has a cluster's GPU; NULL: none, or the GPU is not named.
static const struct known_cluster *known_of_gpu(const char *gpu)
{
    size_t count;
    const struct known_cluster *known = known_clusters(&count);
    for (size_t i = 0; *gpu && i < count; i++)
        if (known[i].cluster.name[0] && !strcmp(known[i].cluster.gpu, gpu))
            return &known[i];
    return NULL;
}

bool cluster_of_gpu(const char *gpu, char *name)
{
    const struct known_cluster *known = known_of_gpu(gpu);
    if (known)
        memcpy(name, known->name, FIELD_TEXT_BYTES);
    return known != NULL;
}

static bool says_alike(const struct field *field, const struct cluster *a, const struct cluster *b)
{
    char mine[FIELD_TEXT_BYTES], theirs[FIELD_TEXT_BYTES];
    return !strcmp(field_format(field, a, mine), field_format(field, b, theirs));
}

static void take_value(const struct field *field, struct cluster *to, const struct cluster *from)
{
    char text[FIELD_TEXT_BYTES];
    struct error none;
    const bool ok = field_parse(field, field_exact(field, from, text), to, &none);
    assert(ok); // a value that another cluster has
    (void)ok;
}

// Appends "key" to a list of at most `bytes`.
static void list_key(char *list, size_t bytes, const char *key)
{
    const size_t length = strlen(list);
    snprintf(list + length, bytes - length, "%s%s", length ? ", " : "", key);
}

// A line that names a GPU means its figures where it says none; and tells which it took.
static void take_gpu(const struct object_reading *reading)
{
    struct cluster *cluster = reading->object;
    char taken[80] = "", unsaid[80] = "";
    if (!reading->seen[line_row("gpu")])
        return;
    const struct known_cluster *known = known_of_gpu(cluster->gpu);
    for (size_t k = 0; k < GPU_KEYS; k++) {
        const struct field *field = &cluster_fields[line_row(gpu_keys[k])];
        if (reading->seen[line_row(gpu_keys[k])])
            continue;
        list_key(unsaid, sizeof unsaid, gpu_keys[k]);
        if (known && !says_alike(field, cluster, &known->cluster)) {
            take_value(field, cluster, &known->cluster);
            list_key(taken, sizeof taken, gpu_keys[k]);
        }
    }
    if (*taken)
        notice("gpu=%s: %s as %s says", cluster->gpu, taken, known->name);
    else if (!known && *unsaid && cluster->gpu[0])
        notice("gpu=%s: no preset has it; %s as where no GPU is named", cluster->gpu, unsaid);
}

// ---- nominal rates -----------------------------------------------------------------------------

// The preset whose link is most like: of NVLink that of the same GPU; else the nearest by nominal
// rate; of several the one whose effective rate rests on most rows. Its name is "" where none has
// such a link.
static struct cluster cluster_like(const struct cluster *cluster, size_t l)
{
    const double asked = *rate_at(cluster, links[l].nominal);
    struct cluster best = {0};
    double best_off = INFINITY;
    size_t count, rows = 0;
    const struct known_cluster *known = known_clusters(&count);
    for (size_t i = 0; i < count; i++) {
        const struct cluster *like = &known[i].cluster;
        const double nominal = *rate_at(like, links[l].nominal);
        const bool same = l == 0 && cluster->gpu[0] && !strcmp(cluster->gpu, like->gpu);
        const double off = same ? 0 : nominal > asked ? nominal / asked : asked / nominal;
        if (!(nominal > 0) || !(*rate_at(like, links[l].effective) > 0) || off > best_off ||
            (!(off < best_off) && known[i].rows[l] <= rows))
            continue;
        best = *like;
        best_off = off;
        rows = known[i].rows[l];
    }
    return best;
}

static void scale_nominal(struct cluster *cluster, const struct cluster *like, size_t l)
{
    char nominal[32];
    const double asked = *rate_at(cluster, links[l].nominal);
    const double sustained = *rate_at(like, links[l].effective);
    const double sold = *rate_at(like, links[l].nominal);
    *rate_at(cluster, links[l].effective) = asked * (sustained / sold);
    notice("%s=%s is nominal: %.4g GB/s effective, as %s sustains %.4g of its %.4g (%s= gives it "
           "itself)",
           links[l].key, units_format(UNIT_RATE, asked, nominal), asked * (sustained / sold) / 1e9,
           like->name, sustained / 1e9, sold / 1e9, links[l].line_effective);
}

// After a line has changed keys: what its GPU brings; rates that were given as nominal alone, by
// those of the preset that was changed (the reading's context), or of the preset most like.
static void settle_line(struct object_reading *reading)
{
    const struct cluster *base = reading->context;
    struct cluster *cluster = reading->object;
    take_gpu(reading);
    for (size_t l = 0; l < LINKS; l++) {
        if (!reading->seen[line_row(links[l].file_nominal)] ||
            reading->seen[line_row(links[l].key)])
            continue;
        if (!(*rate_at(cluster, links[l].nominal) > 0)) {
            *rate_at(cluster, links[l].effective) = 0;
            continue;
        }
        const bool has = base && *rate_at(base, links[l].effective) > 0;
        const struct cluster like = has ? *base : cluster_like(cluster, l);
        if (like.name[0])
            scale_nominal(cluster, &like, l);
        else
            *rate_at(cluster, links[l].effective) = *rate_at(cluster, links[l].nominal);
    }
}

// ---- reading -----------------------------------------------------------------------------------

static bool shape_changes(const struct field_change *change, char *shape, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    char *cross = strchr(shape, 'x');
    if (!cross || cross == shape || cross[1] == '\0')
        return error_set(err, EXIT_INPUT,
                         "'%s': expected NODESxGPUS, such as 4x8, then :key=value,key=value",
                         error_quote(shape, quoted));
    *cross = '\0';
    return field_set(change, "nodes", shape, err) &&
           field_set(change, "gpus_per_node", cross + 1, err);
}

// The one-line form of a cluster of no preset: "4x8", then ":key=value,key=value".
static bool load_shape(struct object_reading *reading, char *shape, char *items)
{
    const struct line_fields fields = fields_of_line();
    struct cluster *cluster = reading->object;
    const struct field_change change = {fields.rows, cluster_field_count, cluster, reading->seen};
    if (!shape_changes(&change, shape, reading->err) ||
        (items && !field_assign(&change, items, reading->err)))
        return false;
    settle_line(reading);
    reading->reader->settle(reading);
    return cluster_check(cluster, reading->err);
}

static bool begins_with_shape(const char *text)
{
    const char *end = text;
    while (isdigit((unsigned char)*end))
        end++;
    return end != text && *end == 'x';
}

// A preset or file, of which a line changes keys.
static bool load_changed_cluster(struct object_reading *reading, const char *name, char *items)
{
    const struct line_fields fields = fields_of_line();
    if (!object_load(reading, name))
        return false;
    struct cluster base = *(struct cluster *)reading->object;
    reading->fields = fields.rows;
    reading->context = &base;
    const bool ok = object_change(reading, items);
    reading->fields = cluster_fields;
    reading->context = NULL;
    return ok;
}

static bool load_line(struct object_reading *reading, const char *what)
{
    char *items, quoted[ERROR_QUOTE_BYTES];
    char *text = object_split(what, &items);
    const bool done = begins_with_shape(text) || !items
                          ? load_shape(reading, text, items)
                          : load_changed_cluster(reading, text, items);
    free(text);
    return done || error_prefix(reading->err, "'%s'", error_quote(what, quoted));
}

bool cluster_load(const char *what, struct cluster *cluster, struct provenance *provenance,
                  struct error *err)
{
    bool seen[ROWS_MAX] = {false};
    struct object_reader reader = cluster_reader;
    struct object_reading reading = {
        .reader = &reader, .object = cluster, .provenance = provenance, .seen = seen, .err = err};
    reader.changed = settle_line;
    *cluster = cluster_default();
    const bool line = begins_with_shape(what) || object_says_changes(what);
    return line ? load_line(&reading, what) : object_load(&reading, what);
}

// ---- writing -----------------------------------------------------------------------------------

// Whether a line that does not say the key means what the cluster has: by default, and of its GPU.
static bool goes_unsaid(const struct field *field, const struct cluster *cluster,
                        const struct cluster *base)
{
    const struct known_cluster *known = known_of_gpu(cluster->gpu);
    bool of_gpu = false;
    for (size_t k = 0; k < GPU_KEYS; k++)
        of_gpu = of_gpu || !strcmp(field->key, gpu_keys[k]);
    return says_alike(field, cluster, base) &&
           (!of_gpu || !known || says_alike(field, cluster, &known->cluster));
}

// The line with the glue and a key more; the old one is freed.
static char *line_with(char *line, char glue, const struct field *field,
                       const struct cluster *cluster)
{
    char text[FIELD_TEXT_BYTES];
    char *longer =
        mem_format("%s%c%s=%s", line, glue, field->key, field_format(field, cluster, text));
    free(line);
    return longer;
}

char *cluster_line(const struct cluster *cluster)
{
    const struct line_fields fields = fields_of_line();
    const size_t nodes = line_row("nodes"), gpus = line_row("gpus_per_node");
    struct cluster base = cluster_default();
    for (size_t l = 0; l < LINKS; l++)
        *rate_at(&base, links[l].nominal) = *rate_at(cluster, links[l].effective);
    char *line = mem_format("%ux%u", cluster->nodes, cluster->gpus_per_node);
    char glue = ':';
    for (size_t row = 0; row < cluster_field_count; row++) {
        const struct field *field = &fields.rows[row];
        if (row == nodes || row == gpus || goes_unsaid(field, cluster, &base))
            continue;
        line = line_with(line, glue, field, cluster);
        glue = ',';
    }
    return line;
}

char *cluster_line_changes(const struct cluster *from, const struct cluster *to)
{
    const struct line_fields fields = fields_of_line();
    char *line = mem_copy_text("");
    for (size_t row = 0; row < cluster_field_count; row++) {
        const struct field *field = &fields.rows[row];
        if (!says_alike(field, from, to))
            line = line_with(line, ',', field, to);
    }
    if (*line)
        memmove(line, line + 1, strlen(line));
    return line;
}
