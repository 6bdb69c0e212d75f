// Reads presets of kind "fits" (study/fitted.h).
#include "study/fitted.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/preset.h"
#include "model/version.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fitted_reading {
    const struct doc *doc;
    struct error *err;
};

// ---- pieces ------------------------------------------------------------------------------------

// The value of a key that must be there.
static bool fits_need(const struct fitted_reading *reading, doc_node map, const char *key,
                      enum doc_kind kind, doc_node *value)
{
    static const char *const kinds[] = {"a value", "a list", "a map"};
    if (doc_kind(reading->doc, map) != DOC_MAP)
        return doc_error(reading->doc, map, reading->err, "expected keys and values");
    *value = doc_get(reading->doc, map, key);
    if (*value == DOC_NONE)
        return doc_error(reading->doc, map, reading->err, "%s: missing", key);
    return doc_kind(reading->doc, *value) == kind ||
           doc_error(reading->doc, *value, reading->err, "%s: expected %s", key, kinds[kind]);
}

static const char *text_or_none(const struct fitted_reading *reading, doc_node node)
{
    return doc_kind(reading->doc, node) == DOC_SCALAR ? doc_text(reading->doc, node) : "";
}

// What reads the item of that place in a list into an object.
typedef bool fits_item(const struct fitted_reading *reading, doc_node item, size_t index,
                       void *object);

// Every item of the list that must be there.
static bool fits_list(const struct fitted_reading *reading, doc_node map, const char *key,
                      fits_item *read, void *object)
{
    doc_node list;
    if (!fits_need(reading, map, key, DOC_LIST, &list))
        return false;
    for (size_t i = 0; i < doc_size(reading->doc, list); i++)
        if (!read(reading, doc_item(reading->doc, list, i), i, object))
            return false;
    return true;
}

// A number of at least `min`.
static bool fits_number(const struct fitted_reading *reading, doc_node node, double min,
                        double *value)
{
    const char *text = text_or_none(reading, node);
    char *end;
    *value = strtod(text, &end);
    return (*text && !*end && isfinite(*value) && *value >= min) ||
           doc_error(reading->doc, node, reading->err, "expected a number of at least %g", min);
}

static bool fits_count(const struct fitted_reading *reading, doc_node node, uint64_t *value)
{
    double number;
    if (!fits_number(reading, node, 0, &number))
        return false;
    *value = (uint64_t)number;
    return (number < 0x1p63 && (double)*value == number) ||
           doc_error(reading->doc, node, reading->err, "expected a whole number");
}

static bool fits_counts(const struct fitted_reading *reading, doc_node list, size_t count,
                        uint64_t *values)
{
    if (doc_kind(reading->doc, list) != DOC_LIST || doc_size(reading->doc, list) != count)
        return doc_error(reading->doc, list, reading->err, "expected a list of %zu", count);
    for (size_t i = 0; i < count; i++)
        if (!fits_count(reading, doc_item(reading->doc, list, i), &values[i]))
            return false;
    return true;
}

// Nodes of a list's item, more than the item before it has (0: it is the first).
static bool read_nodes(const struct fitted_reading *reading, doc_node node, uint32_t before,
                       uint32_t *nodes)
{
    const struct field field = {.key = before ? "nodes, ascending" : "nodes",
                                .kind = FIELD_U32,
                                .min = before + 1.0,
                                .max = UINT32_MAX};
    return doc_field(reading->doc, node, &field, nodes, reading->err);
}

static bool fits_name(const struct fitted_reading *reading, doc_node item, size_t index,
                      void *names)
{
    (void)index;
    if (doc_kind(reading->doc, item) != DOC_SCALAR)
        return doc_error(reading->doc, item, reading->err, "expected a name");
    names_add(names, doc_text(reading->doc, item));
    return true;
}

// One of a NULL-terminated list of names.
static bool read_choice(const struct fitted_reading *reading, doc_node node,
                        const char *const *names, uint32_t *choice)
{
    char quoted[ERROR_QUOTE_BYTES];
    const char *text = text_or_none(reading, node);
    for (*choice = 0; names[*choice]; (*choice)++)
        if (!strcmp(names[*choice], text))
            return true;
    return doc_error(reading->doc, node, reading->err, "'%s': expected one such as %s",
                     error_quote(text, quoted), names[0]);
}

// ---- parameters --------------------------------------------------------------------------------

static bool fits_field(const struct fitted_reading *reading, doc_node item, const char *key,
                       enum parameter_part part, const struct field **field)
{
    doc_node node;
    char quoted[ERROR_QUOTE_BYTES];
    if (!fits_need(reading, item, key, DOC_SCALAR, &node))
        return false;
    *field = parameter_field(part, doc_text(reading->doc, node));
    return *field || doc_error(reading->doc, node, reading->err, "%s: '%s': no such key", key,
                               error_quote(doc_text(reading->doc, node), quoted));
}

static bool fits_value(const struct fitted_reading *reading, doc_node item,
                       struct parameter *parameter)
{
    doc_node node;
    union parameter_object object;
    if (!fits_need(reading, item, "value", DOC_SCALAR, &node))
        return false;
    struct field field = *parameter->keys[0];
    field.key = "value";
    if (!doc_field(reading->doc, node, &field, &object, reading->err))
        return false;
    parameter->start = parameter_get(&field, &object);
    return parameter->start > 0 ||
           doc_error(reading->doc, node, reading->err, "value: expected one above zero");
}

static bool fits_parameter(const struct fitted_reading *reading, doc_node item, size_t index,
                           void *object)
{
    struct fitted *fitted = object;
    if (doc_kind(reading->doc, item) != DOC_MAP)
        return doc_error(reading->doc, item, reading->err, "expected {key: ..., value: ...}");
    enum parameter_part part = PART_DISPATCHER;
    for (enum parameter_part p = 0; p < PARAMETER_PARTS; p++)
        part = doc_get(reading->doc, item, parameter_part_names[p]) != DOC_NONE ? p : part;
    fitted->parameters = mem_grow(fitted->parameters, index + 1, sizeof *fitted->parameters);
    struct parameter *parameter = &fitted->parameters[fitted->parameter_count++];
    *parameter = (struct parameter){.part = part};
    return fits_field(reading, item, "key", part, &parameter->keys[0]) &&
           (doc_get(reading->doc, item, "also") == DOC_NONE ||
            fits_field(reading, item, "also", part, &parameter->keys[1])) &&
           fits_list(reading, item, parameter_part_names[part], fits_name, &parameter->presets) &&
           fits_value(reading, item, parameter);
}

// The numbers 0 to a of row a, in both triangles.
static bool read_covariance_row(const struct fitted_reading *reading, doc_node node, size_t a,
                                void *object)
{
    const struct fitted *fitted = object;
    const size_t n = fitted->parameter_count;
    double *matrix = fitted->covariance;
    const char *text = text_or_none(reading, node);
    bool good = true;
    for (size_t b = 0; b <= a; b++) {
        char *end;
        const double value = strtod(text, &end);
        good = good && end != text && isfinite(value);
        matrix[a * n + b] = matrix[b * n + a] = value;
        text = end;
    }
    return (good && !*text && matrix[a * n + a] >= 0) ||
           doc_error(reading->doc, node, reading->err,
                     "covariance: expected %zu numbers, the last not below zero", a + 1);
}

static bool read_covariance(const struct fitted_reading *reading, doc_node root,
                            struct fitted *fitted)
{
    const size_t n = fitted->parameter_count;
    doc_node list;
    if (!fits_need(reading, root, "covariance", DOC_LIST, &list))
        return false;
    if (doc_size(reading->doc, list) != n)
        return doc_error(reading->doc, list, reading->err,
                         "covariance: expected a row for each of %zu parameters", n);
    fitted->covariance = mem_alloc(n * n, sizeof *fitted->covariance);
    return fits_list(reading, root, "covariance", read_covariance_row, fitted);
}

// ---- groups ------------------------------------------------------------------------------------

static bool read_spread(const struct fitted_reading *reading, doc_node item, size_t index,
                        void *object)
{
    struct fitted_group *group = object;
    struct fitted_spread *spread = &group->spreads[index];
    const uint32_t before = index ? group->spreads[index - 1].nodes : 0;
    doc_node nodes, rows, freedom;
    uint64_t count;
    if (!fits_need(reading, item, "nodes", DOC_SCALAR, &nodes) ||
        !read_nodes(reading, nodes, before, &spread->nodes) ||
        !fits_need(reading, item, "rows", DOC_SCALAR, &rows) ||
        !fits_count(reading, rows, &count) ||
        !fits_need(reading, item, "freedom", DOC_SCALAR, &freedom) ||
        !fits_number(reading, freedom, 1, &spread->freedom))
        return false;
    spread->rows = (size_t)count;
    for (size_t e = 0; e < ENGINES; e++) {
        char *key = mem_format("%s_spread", engine_table[e]->name);
        const doc_node node = doc_get(reading->doc, item, key);
        free(key);
        if (node != DOC_NONE && !fits_number(reading, node, 0, &spread->of[e]))
            return false;
    }
    return true;
}

static bool read_spreads(const struct fitted_reading *reading, doc_node item,
                         struct fitted_group *group)
{
    doc_node list;
    if (!fits_need(reading, item, "spreads", DOC_LIST, &list))
        return false;
    const size_t count = doc_size(reading->doc, list);
    if (count < 1 || count > FITTED_SPREADS)
        return doc_error(reading->doc, list, reading->err, "spreads: expected 1 to %d",
                         FITTED_SPREADS);
    group->spread_count = count;
    return fits_list(reading, item, "spreads", read_spread, group);
}

static bool read_spans(const struct fitted_reading *reading, doc_node item,
                       struct fitted_group *group)
{
    for (enum span_key key = 0; key < SPAN_KEYS; key++) {
        doc_node node;
        uint64_t ends[2];
        if (!fits_need(reading, item, span_keys[key], DOC_LIST, &node) ||
            !fits_counts(reading, node, 2, ends))
            return false;
        group->spans[key] = (struct span){ends[0], ends[1]};
    }
    return true;
}

static bool fits_place(const struct fitted_reading *reading, doc_node item, size_t index,
                       void *object)
{
    struct fitted_group *group = object;
    uint64_t values[3];
    uint32_t nodes;
    if (!fits_counts(reading, item, 3, values) ||
        !read_nodes(reading, doc_item(reading->doc, item, 0),
                    index ? group->places[index - 1].nodes : 0, &nodes))
        return false;
    group->places = mem_grow(group->places, index + 1, sizeof *group->places);
    group->places[group->place_count++] = (struct fitted_place){nodes, {values[1], values[2]}};
    return true;
}

static bool fits_version(const struct fitted_reading *reading, doc_node item, size_t index,
                         void *object)
{
    struct fitted_group *group = object;
    doc_node node;
    char quoted[ERROR_QUOTE_BYTES];
    if (!fits_need(reading, item, "version", DOC_SCALAR, &node))
        return false;
    group->versions = mem_grow(group->versions, index + 1, sizeof *group->versions);
    struct fitted_version *version = &group->versions[group->version_count++];
    *version = (struct fitted_version){0};
    if (!version_release(doc_text(reading->doc, node), version->version))
        return doc_error(reading->doc, node, reading->err,
                         "version: '%s': expected a library and version such as nccl-2.29",
                         error_quote(doc_text(reading->doc, node), quoted));
    return fits_list(reading, item, "clusters", fits_name, &version->clusters);
}

static bool fits_dtype(const struct fitted_reading *reading, doc_node item, size_t index,
                       void *dtypes)
{
    uint32_t dtype;
    (void)index;
    if (!read_choice(reading, item, dtype_names, &dtype))
        return false;
    *(uint32_t *)dtypes |= 1u << dtype;
    return true;
}

static bool fits_read_group(const struct fitted_reading *reading, doc_node item, size_t index,
                            void *object)
{
    static const struct field field = {.key = "dispatcher",
                                       .kind = FIELD_TEXT,
                                       .offset = offsetof(struct fitted_group, dispatcher)};
    struct fitted *fitted = object;
    fitted->groups = mem_grow(fitted->groups, index + 1, sizeof *fitted->groups);
    struct fitted_group *group = &fitted->groups[fitted->group_count++];
    *group = (struct fitted_group){0};
    doc_node dispatcher, phase;
    uint32_t choice;
    if (!fits_need(reading, item, "dispatcher", DOC_SCALAR, &dispatcher) ||
        !doc_field(reading->doc, dispatcher, &field, group, reading->err) ||
        !fits_need(reading, item, "phase", DOC_SCALAR, &phase) ||
        !read_choice(reading, phase, phase_names, &choice))
        return false;
    group->phase = (enum phase)choice;
    return fits_list(reading, item, "clusters", fits_name, &group->clusters) &&
           (doc_get(reading->doc, item, "versions") == DOC_NONE ||
            fits_list(reading, item, "versions", fits_version, group)) &&
           read_spreads(reading, item, group) && read_spans(reading, item, group) &&
           fits_list(reading, item, "places", fits_place, group) &&
           (group->place_count || doc_error(reading->doc, doc_get(reading->doc, item, "places"),
                                            reading->err, "places: expected some")) &&
           fits_list(reading, item, "dtypes", fits_dtype, &group->dtypes);
}

// ---- all of them -------------------------------------------------------------------------------

static bool read_fit(struct fitted *fitted, const char *name, struct error *err)
{
    struct doc *doc = preset_load("fits", name, err);
    if (!doc)
        return false;
    const struct fitted_reading reading = {.doc = doc, .err = err};
    const doc_node root = doc_root(doc);
    const bool ok = fits_list(&reading, root, "parameters", fits_parameter, fitted) &&
                    read_covariance(&reading, root, fitted) &&
                    fits_list(&reading, root, "groups", fits_read_group, fitted);
    doc_free(doc);
    return ok;
}

bool fits_load(struct fits *fits, struct error *err)
{
    size_t own, count;
    bool ok = true;
    char **names = preset_all("fits", &own, &count);
    *fits = (struct fits){.all = mem_alloc(count, sizeof *fits->all), .own = own};
    for (size_t i = 0; i < count; i++) {
        if (ok)
            ok = read_fit(&fits->all[fits->count++], names[i], err);
        free(names[i]);
    }
    free(names);
    if (!ok)
        fits_release(fits);
    return ok;
}
