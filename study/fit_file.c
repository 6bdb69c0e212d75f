// The fit file: which keys of which presets may move (study/calibrate.h).
#include "study/calibrate.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/preset.h"
#include "study/shipped_fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REACH 100 // a parameter without bounds may move by this factor either way

// But a NIC's latency, from GPU memory to GPU memory: one switch or three, InfiniBand or RoCE. What
// a fit would put there beyond is some library's start.
#define NIC_LATENCY_MIN_PS 1e6
#define NIC_LATENCY_MAX_PS 10e6

// What the measured rows are called, where the file says.
static const struct field data_field = {
    .key = "data", .kind = FIELD_TEXT, .offset = offsetof(struct calibration, data)};

// A width of 3 is a factor of 20 either way: as good as none.
static const struct field prior_field = {
    .key = "prior", .kind = FIELD_NUMBER, .min = 0.01, .max = 3};

static const char *const parts_of_one[] = {"cluster", "dispatcher", "set of kernels"};

struct fit_reading {
    struct doc *doc;
    struct calibration *calibration;
    struct error *err;
};

static const char *nearest_key(enum parameter_part part, const char *key)
{
    return part == PART_CLUSTER   ? field_nearest_key(cluster_fields, cluster_field_count, key)
           : part == PART_KERNELS ? field_nearest_key(kernels_fields, kernels_field_count, key)
                                  : cost_nearest_key(key);
}

static bool is_continuous(const struct field *field)
{
    return field->kind == FIELD_RATE || field->kind == FIELD_TIME || field->kind == FIELD_NUMBER ||
           field->kind == FIELD_FLOPS;
}

// A key that may be left out: a single value, by its field.
static bool read_optional(struct fit_reading *reading, doc_node map, const struct field *field,
                          const char *expected, void *object)
{
    const doc_node node = doc_get(reading->doc, map, field->key);
    if (node == DOC_NONE)
        return true;
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "%s: expected %s", field->key, expected);
    return doc_field(reading->doc, node, field, object, reading->err);
}

static bool read_bound(struct fit_reading *reading, doc_node item, const char *key,
                       const struct parameter *parameter, double *value)
{
    struct field field = *parameter->keys[0];
    union parameter_object object;
    field.key = key;
    if (doc_get(reading->doc, item, key) == DOC_NONE)
        return true;
    if (!read_optional(reading, item, &field, "a value", &object))
        return false;
    *value = parameter_get(&field, &object);
    return true;
}

// The cluster that `asked` stands for.
static bool load_asked(struct fit_reading *reading, struct cluster *cluster)
{
    const struct calibrate_target *asked = &reading->calibration->asked;
    if (!asked->cluster)
        return error_set(reading->err, EXIT_INPUT,
                         CALIBRATE_ASKED ": say which cluster the rows ran on (--cluster)");
    if (!cluster_load(asked->cluster, cluster, NULL, reading->err))
        return error_prefix(reading->err, "--cluster");
    if (!cluster->gpu[0])
        snprintf(cluster->gpu, sizeof cluster->gpu, "%s", asked->gpu);
    return true;
}

// Whether the variant that was loaded has the key.
static bool says_itself(const struct dispatcher *dispatcher, const struct field *key)
{
    const struct field *row = parameter_row(key, dispatcher);
    return row && dispatcher->variant[row - dispatcher->cost_model->fields];
}

// Calls a dispatcher by what it says on the cluster that was asked: by that cluster's variant.
static void name_asked(struct dispatcher *dispatcher, const struct cluster *cluster)
{
    char name[FIELD_TEXT_BYTES];
    char *variant = mem_format("%s@%s", dispatcher->name,
                               dispatcher_variant_name(VARIANT_CLUSTER, cluster, name));
    snprintf(dispatcher->name, sizeof dispatcher->name, "%s", variant);
    free(variant);
}

// A dispatcher's preset, NAME@asked, or NAME@VARIANT, which must say the keys itself.
static bool load_dispatcher(struct fit_reading *reading, const char *word,
                            struct parameter *parameter, struct dispatcher *dispatcher)
{
    const size_t length = strlen(word), tail = strlen("@" CALIBRATE_ASKED);
    const bool asked = length > tail && !strcmp(word + length - tail, "@" CALIBRATE_ASKED);
    const char *variant = asked               ? word + length - tail
                          : strchr(word, '/') ? NULL // a path is no variant
                                              : strchr(word, '@');
    char *base = variant ? mem_format("%.*s", (int)(variant - word), word) : mem_copy_text(word);
    struct cluster cluster = cluster_default();
    cluster.name[0] = '\0';
    snprintf(cluster.gpu, sizeof cluster.gpu, "%s", variant ? variant + 1 : "");
    const bool loaded = (!asked || load_asked(reading, &cluster)) &&
                        dispatcher_load(base, &cluster, dispatcher, NULL, reading->err);
    free(base);
    parameter->asked |= asked;
    if (!loaded)
        return false;
    for (int k = 0; variant && !asked && k < PARAMETER_KEYS; k++)
        if (parameter->keys[k] && !says_itself(dispatcher, parameter->keys[k]))
            return error_set(reading->err, EXIT_INPUT, "%s: does not say %s itself", word,
                             parameter->keys[k]->key);
    if (asked)
        name_asked(dispatcher, &cluster);
    else if (variant)
        snprintf(dispatcher->name, sizeof dispatcher->name, "%s", word);
    return true;
}

// A preset whose cost model does not read a key cannot tell it.
static bool check_has_keys(struct fit_reading *reading, doc_node node,
                           const struct parameter *parameter, const struct dispatcher *dispatcher)
{
    for (int k = 0; k < PARAMETER_KEYS; k++)
        if (parameter->keys[k] && !parameter_row(parameter->keys[k], dispatcher))
            return doc_error(reading->doc, node, reading->err, "%s: law %s has no key %s",
                             dispatcher->name, dispatcher->cost_model->name,
                             parameter->keys[k]->key);
    return true;
}

// A preset of kernels, or NAME@GPU, which must say the key itself.
static bool load_kernels(struct fit_reading *reading, const char *word,
                         const struct parameter *parameter, struct kernels *kernels)
{
    const char *at = strchr(word, '/') ? NULL : strchr(word, '@'); // a path is no variant
    char *name = at ? mem_format("%.*s", (int)(at - word), word) : mem_copy_text(word);
    struct cluster cluster = cluster_default();
    snprintf(cluster.gpu, sizeof cluster.gpu, "%s", at ? at + 1 : "");
    const bool loaded = kernels_load(name, &cluster, kernels, NULL, reading->err);
    free(name);
    if (!loaded)
        return false;
    for (int k = 0; at && k < PARAMETER_KEYS; k++)
        if (parameter->keys[k] && !kernels->variant[parameter->keys[k] - kernels_fields])
            return error_set(reading->err, EXIT_INPUT, "%s: does not say %s itself", word,
                             parameter->keys[k]->key);
    if (at)
        snprintf(kernels->name, sizeof kernels->name, "%s", word);
    return true;
}

static bool load_parameter_preset(struct fit_reading *reading, const char *word,
                                  struct parameter *parameter, union parameter_object *object)
{
    if (parameter->part == PART_DISPATCHER)
        return load_dispatcher(reading, word, parameter, &object->dispatcher);
    if (parameter->part == PART_KERNELS)
        return load_kernels(reading, word, parameter, &object->kernels);
    return strcmp(word, CALIBRATE_ASKED) ? cluster_load(word, &object->cluster, NULL, reading->err)
                                         : load_asked(reading, &object->cluster);
}

// Loads one preset of the list; its name and, for the first, its value as the start.
static bool read_preset(struct fit_reading *reading, doc_node node, struct parameter *parameter)
{
    union parameter_object object;
    const struct field *key = parameter->keys[0];
    const bool dispatcher = parameter->part == PART_DISPATCHER;
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "expected a preset's name or file");
    const char *word = doc_text(reading->doc, node);
    const bool asked = parameter->part == PART_CLUSTER && !strcmp(word, CALIBRATE_ASKED);
    if (!load_parameter_preset(reading, word, parameter, &object))
        return error_prefix(reading->err, "%s:%zu", doc_name(reading->doc),
                            doc_line(reading->doc, node));
    if (dispatcher && !check_has_keys(reading, node, parameter, &object.dispatcher))
        return false;
    if (!parameter->presets.count)
        parameter->start =
            parameter_get(dispatcher ? parameter_row(key, &object.dispatcher) : key, &object);
    const char *const names[PARAMETER_PARTS] = {[PART_CLUSTER] = object.cluster.name,
                                                [PART_DISPATCHER] = object.dispatcher.name,
                                                [PART_KERNELS] = object.kernels.name};
    names_add(&parameter->presets, names[parameter->part]);
    names_add(&parameter->words, asked ? reading->calibration->asked.cluster : word);
    return true;
}

static bool read_presets(struct fit_reading *reading, doc_node list, struct parameter *parameter)
{
    if (doc_kind(reading->doc, list) != DOC_LIST || doc_size(reading->doc, list) == 0)
        return doc_error(reading->doc, list, reading->err, "expected a list of presets");
    for (size_t i = 0; i < doc_size(reading->doc, list); i++)
        if (!read_preset(reading, doc_item(reading->doc, list, i), parameter))
            return false;
    return true;
}

// The field that a parameter's "key" or "also" names.
static bool read_moved_key(struct fit_reading *reading, doc_node node, const char *key,
                           const struct parameter *parameter, const struct field **field)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "%s: expected a key", key);
    const char *text = doc_text(reading->doc, node);
    *field = parameter_field(parameter->part, text);
    if (!*field) {
        const char *near = nearest_key(parameter->part, text);
        return doc_error(reading->doc, node, reading->err, "%s: '%s': no such key of a %s%s%s", key,
                         error_quote(text, quoted), parts_of_one[parameter->part],
                         near ? "; did you mean " : "", near ? near : "");
    }
    return is_continuous(*field) ||
           doc_error(reading->doc, node, reading->err,
                     "%s: '%s' is a count or a choice: expected a rate, a time or a ratio", key,
                     text);
}

static bool read_moved_fields(struct fit_reading *reading, doc_node item,
                              struct parameter *parameter)
{
    const struct field **keys = parameter->keys;
    const doc_node key = doc_get(reading->doc, item, "key");
    const doc_node also = doc_get(reading->doc, item, "also");
    if (key == DOC_NONE)
        return doc_error(reading->doc, item, reading->err, "key: missing: expected the key to fit");
    if (!read_moved_key(reading, key, "key", parameter, &keys[0]))
        return false;
    if (also == DOC_NONE)
        return true;
    return read_moved_key(reading, also, "also", parameter, &keys[1]) &&
           ((keys[1]->kind == keys[0]->kind && keys[1] != keys[0]) ||
            doc_error(reading->doc, also, reading->err,
                      "also: expected another key of the same kind as %s", keys[0]->key));
}

static void set_default_range(struct parameter *parameter)
{
    const double start = parameter->start;
    parameter->min = start / REACH;
    parameter->max = start * REACH;
    if (parameter->keys[0]->max > 0)
        parameter->max = fmin(parameter->max, parameter->keys[0]->max);
    if (parameter->part == PART_CLUSTER &&
        parameter->keys[0]->offset == offsetof(struct cluster, nic_latency_ps) &&
        start >= NIC_LATENCY_MIN_PS && start <= NIC_LATENCY_MAX_PS) {
        parameter->min = NIC_LATENCY_MIN_PS;
        parameter->max = NIC_LATENCY_MAX_PS;
    }
}

static bool read_range(struct fit_reading *reading, doc_node item, struct parameter *parameter)
{
    if (!read_bound(reading, item, "start", parameter, &parameter->start))
        return false;
    if (!(parameter->start > 0))
        return doc_error(reading->doc, item, reading->err,
                         "%s: starts at 0: give start, above zero", parameter->keys[0]->key);
    set_default_range(parameter);
    if (!read_bound(reading, item, "min", parameter, &parameter->min) ||
        !read_bound(reading, item, "max", parameter, &parameter->max))
        return false;
    if (parameter->min > 0 && parameter->min <= parameter->start &&
        parameter->start <= parameter->max && parameter->min < parameter->max)
        return true;
    return doc_error(reading->doc, item, reading->err,
                     "%s: expected 0 < min <= start <= max, and min < max",
                     parameter->keys[0]->key);
}

static bool check_keys(struct fit_reading *reading, doc_node item)
{
    static const char *const known[] = {"key",   "also", "clusters", "dispatchers", "kernels",
                                        "start", "min",  "max",      "prior",       NULL};
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; i < doc_size(reading->doc, item); i++) {
        const char *key = doc_key(reading->doc, item, i);
        size_t k = 0;
        while (known[k] && strcmp(key, known[k]))
            k++;
        if (!known[k])
            return doc_error(
                reading->doc, doc_value(reading->doc, item, i), reading->err,
                "%s: unknown: expected key, also, clusters, dispatchers or kernels, start, min, "
                "max, prior",
                error_quote(key, quoted));
    }
    return true;
}

// Which presets are listed, and where: one list of the three.
static bool read_part(struct fit_reading *reading, doc_node item, enum parameter_part *part,
                      doc_node *presets)
{
    int lists = 0;
    for (enum parameter_part p = 0; p < PARAMETER_PARTS; p++) {
        const doc_node list = doc_get(reading->doc, item, parameter_part_names[p]);
        if (list == DOC_NONE)
            continue;
        *part = p;
        *presets = list;
        lists++;
    }
    return lists == 1 || doc_error(reading->doc, item, reading->err,
                                   "expected one of clusters, dispatchers and kernels");
}

static bool read_moved(struct fit_reading *reading, doc_node item)
{
    struct calibration *calibration = reading->calibration;
    struct parameter *parameter = &calibration->parameters[calibration->parameter_count];
    doc_node presets = DOC_NONE;
    if (doc_kind(reading->doc, item) != DOC_MAP)
        return doc_error(reading->doc, item, reading->err, "expected {key: ..., clusters: [...]}");
    if (!check_keys(reading, item) || !read_part(reading, item, &parameter->part, &presets))
        return false;
    calibration->parameter_count++; // from here on it is released with the rest
    return read_moved_fields(reading, item, parameter) &&
           read_presets(reading, presets, parameter) && read_range(reading, item, parameter) &&
           read_optional(reading, item, &prior_field, "a number", &parameter->prior);
}

// One key of one preset has one parameter.
static bool check_twice(struct fit_reading *reading, doc_node item)
{
    const struct parameter *others = reading->calibration->parameters;
    const struct parameter *mine = &others[reading->calibration->parameter_count - 1];
    for (const struct parameter *other = others; other < mine; other++)
        for (size_t i = 0; i < mine->presets.count && parameter_same_key(mine, other); i++)
            if (names_have(&other->presets, mine->presets.of[i]))
                return doc_error(reading->doc, item, reading->err, "%s of %s stands twice",
                                 mine->keys[0]->key, mine->presets.of[i]);
    return true;
}

static bool read_fit_file(struct fit_reading *reading)
{
    const doc_node root = doc_root(reading->doc);
    const doc_node list = doc_kind(reading->doc, root) == DOC_MAP
                              ? doc_get(reading->doc, root, "parameters")
                              : DOC_NONE;
    if (list == DOC_NONE || doc_kind(reading->doc, list) != DOC_LIST ||
        doc_size(reading->doc, list) == 0)
        return doc_error(reading->doc, root, reading->err,
                         "parameters: expected a list of parameters");
    const size_t count = doc_size(reading->doc, list);
    double prior = 0;
    if (!read_optional(reading, root, &prior_field, "a number", &prior) ||
        !read_optional(reading, root, &data_field, "a name", reading->calibration))
        return false;
    reading->calibration->parameters = mem_alloc(count, sizeof *reading->calibration->parameters);
    reading->calibration->left_alone = mem_alloc(count, sizeof *reading->calibration->left_alone);
    for (size_t i = 0; i < count; i++) {
        reading->calibration->parameters[i].prior = prior;
        const doc_node item = doc_item(reading->doc, list, i);
        if (!read_moved(reading, item) || !check_twice(reading, item))
            return false;
    }
    return true;
}

bool calibration_load(struct calibration *calibration, const char *what,
                      const struct calibrate_target *asked, struct error *err)
{
    *calibration = (struct calibration){.asked = *asked};
    struct doc *doc = fit_doc_load(what, err);
    if (!doc)
        return false;
    preset_title(doc, calibration->name);
    struct fit_reading reading = {.doc = doc, .calibration = calibration, .err = err};
    const bool done = read_fit_file(&reading);
    doc_free(doc);
    if (!done)
        calibration_release(calibration);
    return done;
}
