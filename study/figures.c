#include "study/figures.h"

#include "base/mem.h"
#include "study/reads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Cluster and dispatcher of some rows, and which figure stands under each of their keys.
struct pair {
    const char *cluster_word, *dispatcher_word;
    struct cluster cluster;
    struct dispatcher dispatcher;
    int64_t *of_cluster, *of_dispatcher; // by row of the field table; -1: none
    bool known;
};

struct lookup {
    struct figures *figures;
    const char *held_out; // "--only 1/3", or ""
    const char *seed;     // "--seed 1"
    struct pair *pairs;
    size_t count;
};

size_t figures_source_rows(const char *source)
{
    static const char begin[] = "fitted to ";
    char *end;
    if (!source || strncmp(source, begin, sizeof begin - 1) != 0)
        return 0;
    const unsigned long rows = strtoul(source + sizeof begin - 1, &end, 10);
    return strncmp(end, " row", 4) == 0 ? rows : 0;
}

// ---- figures ----------------------------------------------------------------------------------

// "fixed" of dispatch_fixed and of combine_fixed.
static const char *stem(const char *key)
{
    static const char *const directions[] = {"dispatch_", "combine_"};
    for (size_t i = 0; i < sizeof directions / sizeof directions[0]; i++)
        if (!strncmp(key, directions[i], strlen(directions[i])))
            return key + strlen(directions[i]);
    return key;
}

// Whether a command line in a source has those words.
static bool says(const char *source, const char *words)
{
    const char *at = strstr(source, words);
    return at && strchr(" ;", at[strlen(words)]);
}

// The figure of a key, made when it is a new one.
static int64_t figure_of(struct lookup *lookup, const struct field *field, const void *object,
                         const char *source)
{
    struct figures *figures = lookup->figures;
    const size_t rows = figures_source_rows(source);
    char value[FIELD_TEXT_BYTES];
    if (rows == 0)
        return -1;
    field_format(field, object, value);
    for (size_t f = 0; f < figures->count; f++)
        if (!strcmp(stem(figures->all[f].key), stem(field->key)) &&
            !strcmp(figures->all[f].value, value) && !strcmp(figures->all[f].source, source))
            return (int64_t)f;
    figures->all = mem_grow(figures->all, figures->count + 1, sizeof *figures->all);
    figures->all[figures->count] =
        (struct figure){.key = field->key,
                        .value = mem_copy_text(value),
                        .source = mem_copy_text(source),
                        .rows = rows,
                        .held_out = lookup->held_out[0] && says(source, lookup->held_out) &&
                                    says(source, lookup->seed)};
    return (int64_t)figures->count++;
}

// ---- pairs ------------------------------------------------------------------------------------

static int64_t *figures_of(struct lookup *lookup, const struct field *fields, size_t count,
                           const void *object, char *const *sources)
{
    int64_t *figures = mem_alloc(count, sizeof *figures);
    for (size_t i = 0; i < count; i++)
        figures[i] = figure_of(lookup, &fields[i], object, sources[i]);
    return figures;
}

static void sources_free(char **sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(sources[i]);
    free(sources);
}

static void load_pair(struct lookup *lookup, struct pair *pair)
{
    struct error err = {0};
    struct dispatcher *dispatcher = &pair->dispatcher;
    char **of_cluster = mem_alloc(cluster_field_count, sizeof *of_cluster);
    char **of_dispatcher = mem_alloc(COST_MAX_FIELDS, sizeof *of_dispatcher);
    pair->known =
        cluster_load(pair->cluster_word, &pair->cluster, of_cluster, &err) &&
        dispatcher_load(pair->dispatcher_word, &pair->cluster, dispatcher, of_dispatcher, &err);
    if (pair->known) {
        pair->of_cluster =
            figures_of(lookup, cluster_fields, cluster_field_count, &pair->cluster, of_cluster);
        pair->of_dispatcher =
            figures_of(lookup, dispatcher->cost_model->fields, dispatcher->cost_model->field_count,
                       dispatcher, of_dispatcher);
    }
    sources_free(of_cluster, cluster_field_count);
    sources_free(of_dispatcher, COST_MAX_FIELDS);
}

static const struct pair *pair_of(struct lookup *lookup, const char *cluster,
                                  const char *dispatcher)
{
    for (size_t i = 0; i < lookup->count; i++)
        if (!strcmp(lookup->pairs[i].cluster_word, cluster) &&
            !strcmp(lookup->pairs[i].dispatcher_word, dispatcher))
            return &lookup->pairs[i];
    lookup->pairs = mem_grow(lookup->pairs, lookup->count + 1, sizeof *lookup->pairs);
    struct pair *pair = &lookup->pairs[lookup->count++];
    *pair = (struct pair){.cluster_word = cluster, .dispatcher_word = dispatcher};
    load_pair(lookup, pair);
    return pair;
}

// ---- rows -------------------------------------------------------------------------------------

static void add_figure(struct figure_row *row, int64_t figure)
{
    if (figure < 0)
        return;
    for (size_t i = 0; i < row->count; i++)
        if (row->figures[i] == figure)
            return;
    row->figures[row->count++] = (uint32_t)figure;
}

static void read_row(struct figure_row *row, const struct pair *pair,
                     const struct measured_row *measured)
{
    const struct reads reads = {
        .row = measured, .cluster = &pair->cluster, .dispatcher = &pair->dispatcher};
    const struct cost_model *model = pair->dispatcher.cost_model;
    row->figures = mem_alloc(cluster_field_count + COST_MAX_FIELDS, sizeof *row->figures);
    for (size_t i = 0; pair->known && i < cluster_field_count; i++)
        if (reads_cluster(&reads, &cluster_fields[i]))
            add_figure(row, pair->of_cluster[i]);
    for (size_t i = 0; pair->known && i < model->field_count; i++)
        if (reads_dispatcher(&reads, &model->fields[i]))
            add_figure(row, pair->of_dispatcher[i]);
}

void figures_none(struct figures *figures, const struct measured *measured)
{
    *figures = (struct figures){.rows = mem_alloc(measured->count, sizeof *figures->rows),
                                .row_count = measured->count};
}

void figures_init(struct figures *figures, const struct measured *measured,
                  const struct row_overrides *overrides)
{
    char seed[32];
    struct lookup lookup = {.figures = figures, .held_out = overrides->held_out, .seed = seed};
    snprintf(seed, sizeof seed, "--seed %llu", (unsigned long long)overrides->seed);
    figures_none(figures, measured);
    for (size_t r = 0; r < measured->count; r++) {
        const struct measured_row *row = &measured->rows[r];
        read_row(&figures->rows[r],
                 pair_of(&lookup, overrides->cluster ? overrides->cluster : row->cluster, row->dispatcher),
                 row);
    }
    for (size_t i = 0; i < lookup.count; i++) {
        free(lookup.pairs[i].of_cluster);
        free(lookup.pairs[i].of_dispatcher);
    }
    free(lookup.pairs);
}

void figures_release(struct figures *figures)
{
    for (size_t f = 0; f < figures->count; f++) {
        free(figures->all[f].value);
        free(figures->all[f].source);
    }
    for (size_t r = 0; r < figures->row_count; r++)
        free(figures->rows[r].figures);
    free(figures->all);
    free(figures->rows);
    *figures = (struct figures){0};
}

// ---- support ----------------------------------------------------------------------------------

static void add_support(struct support *support, const struct figure *figure, size_t readers)
{
    if (readers == 0)
        return;
    support->parameters++;
    if (support->fitted_rows == 0 || figure->rows < support->fitted_rows)
        support->fitted_rows = figure->rows;
    if (!figure->held_out)
        support->own_parameters += fmin(1, (double)readers / (double)figure->rows);
}

struct support figures_support(const struct figures *figures, const bool *taken)
{
    struct support support = {0};
    size_t *readers = mem_alloc(figures->count, sizeof *readers);
    for (size_t r = 0; r < figures->row_count; r++) {
        support.rows += taken[r];
        for (size_t i = 0; taken[r] && i < figures->rows[r].count; i++)
            readers[figures->rows[r].figures[i]]++;
    }
    for (size_t f = 0; f < figures->count; f++)
        add_support(&support, &figures->all[f], readers[f]);
    free(readers);
    return support;
}

bool support_proves_nothing(const struct support *support)
{
    return support->own_parameters * SUPPORT_LEAST_ROWS >= (double)support->rows &&
           support->parameters > 0;
}
