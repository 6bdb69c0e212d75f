#include "study/constants.h"

#include "base/mem.h"
#include "model/version.h"
#include "study/reads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Cluster, dispatcher and kernels of some rows, and which constant stands under each of their keys.
struct constant_presets {
    const char *cluster_word, *kernels_word; // "": none
    char dispatcher_word[FIELD_TEXT_BYTES];
    struct cluster cluster;
    struct dispatcher dispatcher;
    struct kernels kernels;
    int64_t *of_cluster, *of_dispatcher, *of_kernels; // by row of the field table; -1: none
    bool known;
};

struct constant_lookup {
    struct constants *constants;
    const struct row_overrides *overrides;
    struct constant_presets *presets;
    size_t count;
};

// ---- constants ----------------------------------------------------------------------------------

// "fixed" of dispatch_fixed and of combine_fixed.
static const char *key_stem(const char *key)
{
    static const char *const directions[] = {"dispatch_", "combine_"};
    for (size_t i = 0; i < sizeof directions / sizeof directions[0]; i++)
        if (!strncmp(key, directions[i], strlen(directions[i])))
            return key + strlen(directions[i]);
    return key;
}

// Whether it was fitted to the part of the rows that the judged ones are not of.
static bool is_held_out(const struct provenance *provenance, const struct row_overrides *overrides)
{
    const char *part = provenance->only ? provenance->only : provenance->except;
    char flag[sizeof overrides->held_out];
    if (!part || provenance->seed != overrides->seed)
        return false;
    snprintf(flag, sizeof flag, "--%s %.40s", provenance->only ? "only" : "except", part);
    return !strcmp(flag, overrides->held_out);
}

// The constant of a key, made when it is a new one.
static int64_t constant_of(struct constant_lookup *lookup, const struct field *field,
                           const void *object, const struct provenance *provenance)
{
    struct constants *constants = lookup->constants;
    char value[FIELD_TEXT_BYTES];
    if (!provenance->fit)
        return -1;
    field_format(field, object, value);
    for (size_t c = 0; c < constants->count; c++)
        if (!strcmp(key_stem(constants->all[c].key), key_stem(field->key)) &&
            !strcmp(constants->all[c].value, value) &&
            provenance_same(&constants->all[c].provenance, provenance))
            return (int64_t)c;
    constants->all = mem_grow(constants->all, constants->count + 1, sizeof *constants->all);
    constants->all[constants->count] =
        (struct constant){.key = field->key,
                          .value = mem_copy_text(value),
                          .provenance = provenance_copy(provenance),
                          .held_out = is_held_out(provenance, lookup->overrides)};
    return (int64_t)constants->count++;
}

// ---- presets ------------------------------------------------------------------------------------

static int64_t *constants_of(struct constant_lookup *lookup, const struct field *fields,
                             size_t count, const void *object, const struct provenance *provenance)
{
    int64_t *constants = mem_alloc(count, sizeof *constants);
    for (size_t i = 0; i < count; i++)
        constants[i] = constant_of(lookup, &fields[i], object, &provenance[i]);
    return constants;
}

static bool load_presets(struct constant_presets *presets, struct provenance *of_cluster,
                         struct provenance *of_dispatcher, struct provenance *of_kernels)
{
    struct error err = {0};
    return cluster_load(presets->cluster_word, &presets->cluster, of_cluster, &err) &&
           (!*presets->dispatcher_word ||
            dispatcher_load(presets->dispatcher_word, &presets->cluster, &presets->dispatcher,
                            of_dispatcher, &err)) &&
           (!*presets->kernels_word || kernels_load(presets->kernels_word, &presets->cluster,
                                                    &presets->kernels, of_kernels, &err));
}

static void constant_presets_load(struct constant_lookup *lookup, struct constant_presets *presets)
{
    const struct dispatcher *dispatcher = &presets->dispatcher;
    struct provenance *of_cluster = mem_alloc(cluster_field_count, sizeof *of_cluster);
    struct provenance *of_dispatcher = mem_alloc(COST_MAX_FIELDS, sizeof *of_dispatcher);
    struct provenance *of_kernels = mem_alloc(KERNELS_MAX_FIELDS, sizeof *of_kernels);
    presets->known = load_presets(presets, of_cluster, of_dispatcher, of_kernels);
    if (presets->known)
        presets->of_cluster = constants_of(lookup, cluster_fields, cluster_field_count,
                                           &presets->cluster, of_cluster);
    if (presets->known && *presets->dispatcher_word)
        presets->of_dispatcher =
            constants_of(lookup, dispatcher->cost_model->fields,
                         dispatcher->cost_model->field_count, dispatcher, of_dispatcher);
    if (presets->known && *presets->kernels_word)
        presets->of_kernels = constants_of(lookup, kernels_fields, kernels_field_count,
                                           &presets->kernels, of_kernels);
    provenance_release(of_cluster, cluster_field_count);
    provenance_release(of_dispatcher, COST_MAX_FIELDS);
    provenance_release(of_kernels, KERNELS_MAX_FIELDS);
    free(of_cluster);
    free(of_dispatcher);
    free(of_kernels);
}

static const struct constant_presets *constant_presets_of(struct constant_lookup *lookup,
                                                          const struct measured_row *row)
{
    const char *cluster = lookup->overrides->cluster ? lookup->overrides->cluster : row->cluster;
    char dispatcher[FIELD_TEXT_BYTES];
    version_word(row->dispatcher, row->source, dispatcher);
    for (size_t i = 0; i < lookup->count; i++)
        if (!strcmp(lookup->presets[i].cluster_word, cluster) &&
            !strcmp(lookup->presets[i].dispatcher_word, dispatcher) &&
            !strcmp(lookup->presets[i].kernels_word, row->kernels))
            return &lookup->presets[i];
    lookup->presets = mem_grow(lookup->presets, lookup->count + 1, sizeof *lookup->presets);
    struct constant_presets *presets = &lookup->presets[lookup->count++];
    *presets = (struct constant_presets){.cluster_word = cluster, .kernels_word = row->kernels};
    strcpy(presets->dispatcher_word, dispatcher);
    constant_presets_load(lookup, presets);
    return presets;
}

// ---- rows -------------------------------------------------------------------------------------

static void add_constant(struct constant_row *row, int64_t constant)
{
    if (constant < 0)
        return;
    for (size_t i = 0; i < row->count; i++)
        if (row->constants[i] == constant)
            return;
    row->constants[row->count++] = (uint32_t)constant;
}

static void constant_row_read(struct constant_row *row, const struct constant_presets *presets,
                              const struct measured_row *measured)
{
    const struct reads reads = {
        .row = measured, .cluster = &presets->cluster, .dispatcher = &presets->dispatcher};
    const struct cost_model *model = presets->dispatcher.cost_model;
    row->constants = mem_alloc(cluster_field_count + COST_MAX_FIELDS + KERNELS_MAX_FIELDS,
                               sizeof *row->constants);
    for (size_t i = 0; presets->of_cluster && i < cluster_field_count; i++)
        if (reads_cluster(&reads, &cluster_fields[i]))
            add_constant(row, presets->of_cluster[i]);
    for (size_t i = 0; presets->of_dispatcher && i < model->field_count; i++)
        if (reads_dispatcher(&reads, &model->fields[i]))
            add_constant(row, presets->of_dispatcher[i]);
    for (size_t i = 0; presets->of_kernels && i < kernels_field_count; i++)
        if (reads_kernels(&reads, &kernels_fields[i]))
            add_constant(row, presets->of_kernels[i]);
}

void constants_none(struct constants *constants, const struct measured *measured)
{
    *constants = (struct constants){.rows = mem_alloc(measured->count, sizeof *constants->rows),
                                    .row_count = measured->count};
}

void constants_init(struct constants *constants, const struct measured *measured,
                    const struct row_overrides *overrides)
{
    struct constant_lookup lookup = {.constants = constants, .overrides = overrides};
    constants_none(constants, measured);
    for (size_t r = 0; r < measured->count; r++) {
        const struct measured_row *row = &measured->rows[r];
        constant_row_read(&constants->rows[r], constant_presets_of(&lookup, row), row);
    }
    for (size_t i = 0; i < lookup.count; i++) {
        free(lookup.presets[i].of_cluster);
        free(lookup.presets[i].of_dispatcher);
        free(lookup.presets[i].of_kernels);
    }
    free(lookup.presets);
}

void constants_release(struct constants *constants)
{
    for (size_t c = 0; c < constants->count; c++) {
        free(constants->all[c].value);
        provenance_release(&constants->all[c].provenance, 1);
    }
    for (size_t r = 0; r < constants->row_count; r++)
        free(constants->rows[r].constants);
    free(constants->all);
    free(constants->rows);
    *constants = (struct constants){0};
}

// ---- support ----------------------------------------------------------------------------------

static void add_support(struct support *support, const struct constant *constant, size_t readers)
{
    if (readers == 0)
        return;
    support->parameters++;
    if (support->fitted_rows == 0 || constant->provenance.rows < support->fitted_rows)
        support->fitted_rows = constant->provenance.rows;
    if (!constant->held_out)
        support->effective_parameters +=
            fmin(1, (double)readers / (double)constant->provenance.rows);
}

struct support constants_support(const struct constants *constants, const bool *taken)
{
    struct support support = {0};
    size_t *readers = mem_alloc(constants->count, sizeof *readers);
    for (size_t r = 0; r < constants->row_count; r++) {
        support.rows += taken[r];
        for (size_t i = 0; taken[r] && i < constants->rows[r].count; i++)
            readers[constants->rows[r].constants[i]]++;
    }
    for (size_t c = 0; c < constants->count; c++)
        add_support(&support, &constants->all[c], readers[c]);
    free(readers);
    return support;
}

bool support_overfitted(const struct support *support)
{
    return support->effective_parameters * SUPPORT_MIN_ROWS >= (double)support->rows &&
           support->parameters > 0;
}
