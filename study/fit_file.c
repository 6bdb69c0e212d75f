// The fit file: which keys of which presets may move (study/calibrate.h).
#include "study/calibrate.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/preset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REACH 100 // a parameter without bounds may move by this factor either way

struct fit_reading {
    struct doc *doc;
    struct calibration *calibration;
    struct error *err;
};

static const char *nearest_key(enum parameter_part part, const char *key)
{
    return part == PART_CLUSTER ? field_nearest_key(cluster_fields, cluster_field_count, key)
                                : cost_nearest_key(key);
}

static bool is_continuous(const struct field *field)
{
    return field->kind == FIELD_RATE || field->kind == FIELD_TIME || field->kind == FIELD_NUMBER ||
           field->kind == FIELD_FLOPS;
}

static bool read_bound(struct fit_reading *reading, doc_node item, const char *key,
                       const struct parameter *parameter, double *value)
{
    const doc_node node = doc_get(reading->doc, item, key);
    struct field field = *parameter->field;
    union parameter_object object;
    field.key = key;
    if (node == DOC_NONE)
        return true;
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "%s: expected a value", key);
    if (!doc_field(reading->doc, node, &field, &object, reading->err))
        return false;
    *value = parameter_get(parameter->field, &object);
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

// What a dispatcher says on the cluster that was asked, by the name of that cluster's variant.
static bool load_there(struct fit_reading *reading, const char *base, struct dispatcher *dispatcher)
{
    struct cluster cluster;
    char name[FIELD_TEXT_BYTES];
    if (!load_asked(reading, &cluster) ||
        !dispatcher_load(base, &cluster, dispatcher, NULL, reading->err))
        return false;
    char *variant = mem_format("%s@%s", dispatcher->name, dispatcher_cluster_name(&cluster, name));
    snprintf(dispatcher->name, sizeof dispatcher->name, "%s", variant);
    free(variant);
    return true;
}

static bool says_itself(const struct dispatcher *dispatcher, const struct field *key)
{
    const struct field *row = parameter_row(key, dispatcher);
    return row && dispatcher->variant[row - dispatcher->cost_model->fields];
}

// A dispatcher's preset, or NAME@VARIANT, which must say the key itself.
static bool load_variant(struct fit_reading *reading, const char *word,
                         const struct parameter *parameter, struct dispatcher *dispatcher)
{
    struct cluster cluster = cluster_default();
    const char *variant = strchr(word, '/') ? NULL : strchr(word, '@'); // a path is no variant
    char *base = variant ? mem_format("%.*s", (int)(variant - word), word) : mem_copy_text(word);
    cluster.name[0] = '\0';
    snprintf(cluster.gpu, sizeof cluster.gpu, "%s", variant ? variant + 1 : "");
    const bool loaded = dispatcher_load(base, &cluster, dispatcher, NULL, reading->err);
    free(base);
    if (!loaded)
        return false;
    const struct field *const keys[] = {parameter->field, parameter->also};
    for (size_t k = 0; variant && k < 2; k++)
        if (keys[k] && !says_itself(dispatcher, keys[k]))
            return error_set(reading->err, EXIT_INPUT, "%s: does not say %s itself", word,
                             keys[k]->key);
    if (variant)
        snprintf(dispatcher->name, sizeof dispatcher->name, "%s", word);
    return true;
}

static bool load_dispatcher(struct fit_reading *reading, const char *word,
                            struct parameter *parameter, struct dispatcher *dispatcher)
{
    const size_t length = strlen(word), tail = strlen("@" CALIBRATE_ASKED);
    if (length <= tail || strcmp(word + length - tail, "@" CALIBRATE_ASKED))
        return load_variant(reading, word, parameter, dispatcher);
    char *base = mem_format("%.*s", (int)(length - tail), word);
    const bool ok = load_there(reading, base, dispatcher);
    free(base);
    parameter->asked = true;
    return ok;
}

static bool load_cluster(struct fit_reading *reading, const char *word, struct cluster *cluster)
{
    return strcmp(word, CALIBRATE_ASKED) ? cluster_load(word, cluster, NULL, reading->err)
                                         : load_asked(reading, cluster);
}

// A preset whose cost model does not read a key cannot tell it.
static bool check_has_key(struct fit_reading *reading, doc_node node, const struct field *key,
                          const struct dispatcher *dispatcher)
{
    return !key || parameter_row(key, dispatcher) ||
           doc_error(reading->doc, node, reading->err, "%s: law %s has no key %s", dispatcher->name,
                     dispatcher->cost_model->name, key->key);
}

static double preset_value(const struct parameter *parameter, const union parameter_object *object)
{
    return parameter->part == PART_CLUSTER
               ? parameter_get(parameter->field, &object->cluster)
               : parameter_get(parameter_row(parameter->field, &object->dispatcher),
                               &object->dispatcher);
}

// Loads one preset of the list; its name and, for the first, its value as the start.
static bool read_preset(struct fit_reading *reading, doc_node node, struct parameter *parameter)
{
    union parameter_object object;
    const size_t at = parameter->preset_count;
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "expected a preset's name or file");
    const char *word = doc_text(reading->doc, node);
    const bool cluster = parameter->part == PART_CLUSTER;
    if (!(cluster ? load_cluster(reading, word, &object.cluster)
                  : load_dispatcher(reading, word, parameter, &object.dispatcher)))
        return error_prefix(reading->err, "%s:%zu", doc_name(reading->doc),
                            doc_line(reading->doc, node));
    if (!cluster && (!check_has_key(reading, node, parameter->field, &object.dispatcher) ||
                     !check_has_key(reading, node, parameter->also, &object.dispatcher)))
        return false;
    parameter->presets[at] = mem_copy_text(cluster ? object.cluster.name : object.dispatcher.name);
    parameter->words[at] = mem_copy_text(
        cluster && !strcmp(word, CALIBRATE_ASKED) ? reading->calibration->asked.cluster : word);
    parameter->preset_count++;
    if (at == 0)
        parameter->start = preset_value(parameter, &object);
    return true;
}

static bool read_presets(struct fit_reading *reading, doc_node list, struct parameter *parameter)
{
    if (doc_kind(reading->doc, list) != DOC_LIST || doc_size(reading->doc, list) == 0)
        return doc_error(reading->doc, list, reading->err, "expected a list of presets");
    const size_t count = doc_size(reading->doc, list);
    parameter->presets = mem_alloc(count, sizeof *parameter->presets);
    parameter->words = mem_alloc(count, sizeof *parameter->words);
    for (size_t i = 0; i < count; i++)
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
                         error_quote(text, quoted),
                         parameter->part == PART_CLUSTER ? "cluster" : "dispatcher",
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
    const doc_node key = doc_get(reading->doc, item, "key");
    const doc_node also = doc_get(reading->doc, item, "also");
    if (key == DOC_NONE)
        return doc_error(reading->doc, item, reading->err, "key: missing: expected the key to fit");
    if (!read_moved_key(reading, key, "key", parameter, &parameter->field))
        return false;
    if (also == DOC_NONE)
        return true;
    return read_moved_key(reading, also, "also", parameter, &parameter->also) &&
           ((parameter->also->kind == parameter->field->kind &&
             parameter->also != parameter->field) ||
            doc_error(reading->doc, also, reading->err,
                      "also: expected another key of the same kind as %s", parameter->field->key));
}

static bool read_range(struct fit_reading *reading, doc_node item, struct parameter *parameter)
{
    if (!read_bound(reading, item, "start", parameter, &parameter->start))
        return false;
    if (!(parameter->start > 0))
        return doc_error(reading->doc, item, reading->err,
                         "%s: starts at 0: give start, above zero", parameter->field->key);
    parameter->min = parameter->start / REACH;
    parameter->max = parameter->start * REACH;
    if (parameter->field->max > 0)
        parameter->max = fmin(parameter->max, parameter->field->max);
    if (!read_bound(reading, item, "min", parameter, &parameter->min) ||
        !read_bound(reading, item, "max", parameter, &parameter->max))
        return false;
    if (parameter->min > 0 && parameter->min <= parameter->start &&
        parameter->start <= parameter->max && parameter->min < parameter->max)
        return true;
    return doc_error(reading->doc, item, reading->err,
                     "%s: expected 0 < min <= start <= max, and min < max", parameter->field->key);
}

// A width of 3 is a factor of 20 either way: as good as none.
static bool read_prior(struct fit_reading *reading, doc_node map, double *width)
{
    static const struct field field = {.key = "prior", .kind = FIELD_NUMBER, .min = 0.01, .max = 3};
    const doc_node node = doc_get(reading->doc, map, field.key);
    if (node == DOC_NONE)
        return true;
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "prior: expected a number");
    return doc_field(reading->doc, node, &field, width, reading->err);
}

static bool check_keys(struct fit_reading *reading, doc_node item)
{
    static const char *const known[] = {"key",   "also", "clusters", "dispatchers",
                                        "start", "min",  "max",      "prior"};
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; i < doc_size(reading->doc, item); i++) {
        const char *key = doc_key(reading->doc, item, i);
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] && strcmp(key, known[k]))
            k++;
        if (k == sizeof known / sizeof known[0])
            return doc_error(
                reading->doc, doc_value(reading->doc, item, i), reading->err,
                "%s: unknown: expected key, also, clusters or dispatchers, start, min, "
                "max, prior",
                error_quote(key, quoted));
    }
    return true;
}

static bool read_moved(struct fit_reading *reading, doc_node item)
{
    struct calibration *calibration = reading->calibration;
    struct parameter *parameter = &calibration->parameters[calibration->parameter_count];
    if (doc_kind(reading->doc, item) != DOC_MAP)
        return doc_error(reading->doc, item, reading->err, "expected {key: ..., clusters: [...]}");
    const doc_node clusters = doc_get(reading->doc, item, "clusters");
    const doc_node dispatchers = doc_get(reading->doc, item, "dispatchers");
    if (!check_keys(reading, item))
        return false;
    if ((clusters == DOC_NONE) == (dispatchers == DOC_NONE))
        return doc_error(reading->doc, item, reading->err,
                         "expected one of clusters and dispatchers");
    calibration->parameter_count++; // from here on it is released with the rest
    parameter->part = clusters != DOC_NONE ? PART_CLUSTER : PART_DISPATCHER;
    return read_moved_fields(reading, item, parameter) &&
           read_presets(reading, clusters != DOC_NONE ? clusters : dispatchers, parameter) &&
           read_range(reading, item, parameter) && read_prior(reading, item, &parameter->prior);
}

static bool same_key(const struct parameter *a, const struct parameter *b)
{
    return a->field == b->field || a->field == b->also || (a->also && a->also == b->field) ||
           (a->also && a->also == b->also);
}

// A preset that both have the key of, or NULL.
static const char *common_preset(const struct parameter *a, const struct parameter *b)
{
    for (size_t i = 0; i < a->preset_count && same_key(a, b); i++)
        if (parameter_has(b, a->presets[i]))
            return a->presets[i];
    return NULL;
}

// One key of one preset has one parameter.
static bool check_twice(struct fit_reading *reading, doc_node item)
{
    const struct calibration *calibration = reading->calibration;
    const size_t last = calibration->parameter_count - 1;
    const struct parameter *mine = &calibration->parameters[last];
    for (size_t p = 0; p < last; p++) {
        const char *preset = common_preset(mine, &calibration->parameters[p]);
        if (preset)
            return doc_error(reading->doc, item, reading->err, "%s of %s stands twice",
                             mine->field->key, preset);
    }
    return true;
}

// What the measured rows are called, where the file says.
static bool read_data(struct fit_reading *reading, doc_node root)
{
    static const struct field field = {
        .key = "data", .kind = FIELD_TEXT, .offset = offsetof(struct calibration, data)};
    const doc_node node = doc_get(reading->doc, root, field.key);
    if (node == DOC_NONE)
        return true;
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return doc_error(reading->doc, node, reading->err, "data: expected a name");
    return doc_field(reading->doc, node, &field, reading->calibration, reading->err);
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
    if (!read_prior(reading, root, &prior) || !read_data(reading, root))
        return false;
    reading->calibration->parameters = mem_alloc(count, sizeof *reading->calibration->parameters);
    for (size_t i = 0; i < count; i++) {
        reading->calibration->parameters[i].prior = prior;
        const doc_node item = doc_item(reading->doc, list, i);
        if (!read_moved(reading, item) || !check_twice(reading, item))
            return false;
    }
    return true;
}

bool calibration_load(struct calibration *calibration, const char *path,
                      const struct calibrate_target *asked, struct error *err)
{
    *calibration = (struct calibration){.asked = *asked};
    struct doc *doc = doc_load(path, err);
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
