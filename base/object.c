#include "base/object.h"

#include "base/mem.h"
#include "base/preset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- where a value comes from -------------------------------------------------------------------

void provenance_release(struct provenance *provenance, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(provenance[i].source);
        free(provenance[i].fit);
        free(provenance[i].only);
        free(provenance[i].except);
        provenance[i] = (struct provenance){0};
    }
}

static char *copy_if_said(const char *text)
{
    return text ? mem_copy_text(text) : NULL;
}

struct provenance provenance_copy(const struct provenance *provenance)
{
    struct provenance copy = *provenance;
    copy.source = copy_if_said(provenance->source);
    copy.fit = copy_if_said(provenance->fit);
    copy.only = copy_if_said(provenance->only);
    copy.except = copy_if_said(provenance->except);
    return copy;
}

static bool says_same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

bool provenance_same(const struct provenance *a, const struct provenance *b)
{
    return says_same(a->source, b->source) && says_same(a->fit, b->fit) && a->rows == b->rows &&
           a->stderr_pct == b->stderr_pct && says_same(a->only, b->only) &&
           says_same(a->except, b->except) && a->seed == b->seed;
}

static void print_data_part(const struct provenance *provenance, FILE *out)
{
    if (provenance->only)
        fprintf(out, " (only %s, seed %llu)", provenance->only,
                (unsigned long long)provenance->seed);
    if (provenance->except)
        fprintf(out, " (except %s, seed %llu)", provenance->except,
                (unsigned long long)provenance->seed);
}

char *provenance_text(const struct provenance *provenance)
{
    char *text = NULL;
    size_t length;
    if (!provenance->fit)
        return copy_if_said(provenance->source);
    FILE *out = open_memstream(&text, &length);
    fprintf(out, "fitted to %zu row%s of %s", provenance->rows, provenance->rows == 1 ? "" : "s",
            provenance->fit);
    print_data_part(provenance, out);
    if (provenance->stderr_pct > 0)
        fprintf(out, "; standard error %.2g %%", provenance->stderr_pct);
    if (provenance->source)
        fprintf(out, "; %s", provenance->source);
    fclose(out);
    return text;
}

static void print_said(const char *key, const char *text, FILE *out)
{
    if (!text)
        return;
    fprintf(out, ", %s: ", key);
    field_print_quoted(text, out);
}

void provenance_print(const struct provenance *provenance, FILE *out)
{
    print_said("fit", provenance->fit, out);
    if (provenance->fit)
        fprintf(out, ", rows: %zu", provenance->rows);
    if (provenance->stderr_pct > 0)
        fprintf(out, ", stderr_pct: %.2g", provenance->stderr_pct);
    print_said("only", provenance->only, out);
    print_said("except", provenance->except, out);
    if (provenance->only || provenance->except)
        fprintf(out, ", seed: %llu", (unsigned long long)provenance->seed);
    print_said("source", provenance->source, out);
}

// ---- a value and what stands beside it ----------------------------------------------------------

// clang-format off
#define BESIDE(member, kind_of, low, high)                                                         \
    {.key = #member, .field = {.key = #member, .kind = kind_of,                                    \
                               .offset = offsetof(struct provenance, member),                      \
                               .min = low, .max = high}}
#define BESIDE_TEXT(member) {.key = #member, .text = offsetof(struct provenance, member)}
// clang-format on

// The keys beside a value; numbers by fields, texts of any length.
static const struct beside {
    const char *key;
    size_t text;        // offset of a text, where there is no field
    struct field field; // of a number
} besides[] = {
    BESIDE_TEXT(source),
    BESIDE_TEXT(fit),
    BESIDE_TEXT(only),
    BESIDE_TEXT(except),
    BESIDE(rows, FIELD_U64, 1, 1e15),
    BESIDE(stderr_pct, FIELD_NUMBER, 0, 0),
    BESIDE(seed, FIELD_U64, 0, 0),
};
#define BESIDES (sizeof besides / sizeof besides[0])
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "rows are read as a 64-bit count");

// A key's map being taken apart.
struct opening {
    const struct doc *doc;
    const char *key; // whose value it is
    doc_node value;  // DOC_NONE until it is met
    struct provenance *provenance;
    struct error *err;
};

static bool open_beside_value(const struct opening *opening, const struct beside *beside,
                              doc_node node)
{
    const struct doc *doc = opening->doc;
    if (doc_kind(doc, node) != DOC_SCALAR)
        return doc_error(doc, node, opening->err, "%s: %s: found %s; expected text", opening->key,
                         beside->key, doc_kind_name(doc_kind(doc, node)));
    if (beside->field.key) {
        char key[FIELD_TEXT_BYTES];
        struct field field = beside->field;
        snprintf(key, sizeof key, "%s: %s", opening->key, beside->key);
        field.key = key;
        return doc_field(doc, node, &field, opening->provenance, opening->err);
    }
    char *text = mem_copy_text(doc_text(doc, node));
    memcpy((char *)opening->provenance + beside->text, &text, sizeof text);
    return true;
}

static bool open_part(struct opening *opening, const char *part, doc_node node)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (strcmp(part, "value") == 0) {
        opening->value = node;
        return true;
    }
    for (size_t i = 0; i < BESIDES; i++)
        if (strcmp(part, besides[i].key) == 0)
            return open_beside_value(opening, &besides[i], node);
    return doc_error(opening->doc, node, opening->err,
                     "%s: unknown key '%s'; expected value and source", opening->key,
                     error_quote(part, quoted));
}

// How surely, and of which rows, says nothing without what was fitted to.
static bool check_fit(const struct opening *opening, doc_node map)
{
    const struct provenance *said = opening->provenance;
    if (said->fit && !said->rows)
        return doc_error(opening->doc, map, opening->err,
                         "%s: fit: expected rows beside it, how many", opening->key);
    if (!said->fit && (said->rows || said->stderr_pct > 0 || said->only || said->except))
        return doc_error(opening->doc, map, opening->err,
                         "%s: expected fit beside it, the name of the data", opening->key);
    return !(said->only && said->except) ||
           doc_error(opening->doc, map, opening->err, "%s: only and except: expected one of them",
                     opening->key);
}

bool object_open(const struct doc *doc, const char *key, doc_node *node,
                 struct provenance *provenance, struct error *err)
{
    const doc_node map = *node;
    struct opening opening = {.doc = doc, .key = key, .provenance = provenance, .err = err};
    if (doc_kind(doc, map) != DOC_MAP)
        return true;
    for (size_t i = 0; i < doc_size(doc, map); i++)
        if (!open_part(&opening, doc_key(doc, map, i), doc_value(doc, map, i)))
            return false;
    if (opening.value == DOC_NONE)
        return doc_error(doc, map, err, "%s: a map without 'value'; expected value and source",
                         key);
    *node = opening.value;
    return check_fit(&opening, map);
}

// ---- a map by its table -------------------------------------------------------------------------

// The keys that a table and the list beside it have, for the nearest one.
static const char *known_key(const void *context, size_t index)
{
    const struct object_bind *bind = context;
    return index < bind->count ? bind->fields[index].key : bind->others[index - bind->count];
}

static size_t others_count(const struct object_bind *bind)
{
    size_t count = 0;
    while (bind->others && bind->others[count])
        count++;
    return count;
}

static bool is_other(const struct object_bind *bind, const char *key)
{
    for (size_t i = 0; bind->others && bind->others[i]; i++)
        if (strcmp(bind->others[i], key) == 0)
            return true;
    return bind->open;
}

// A map being read.
struct binding {
    const struct doc *doc;
    doc_node map;
    const struct object_bind *bind;
    bool *seen; // [count] of this map
    struct error *err;
};

static bool refuse_unknown_key(const struct binding *binding, size_t index)
{
    const struct object_bind *bind = binding->bind;
    const char *key = doc_key(binding->doc, binding->map, index);
    const char *near = field_nearest(key, bind->count + others_count(bind), known_key, bind);
    char quoted[ERROR_QUOTE_BYTES];
    return error_set(binding->err, EXIT_INPUT, "%s:%zu: unknown key '%s'%s%s%s",
                     doc_name(binding->doc), doc_key_line(binding->doc, binding->map, index),
                     error_quote(key, quoted), near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

static bool bind_value(const struct binding *binding, doc_node value, const struct field *field)
{
    const struct doc *doc = binding->doc;
    if (doc_kind(doc, value) != DOC_SCALAR)
        return doc_error(doc, value, binding->err, "%s: found %s; expected a single value",
                         field->key, doc_kind_name(doc_kind(doc, value)));
    if (doc_is_null(doc, value))
        return doc_error(doc, value, binding->err, "%s: no value given", field->key);
    return doc_field(doc, value, field, binding->bind->object, binding->err);
}

// Binds one known key; it is seen unless it was passed over for its null.
static bool bind_field(const struct binding *binding, doc_node value, const struct field *field)
{
    const size_t row = (size_t)(field - binding->bind->fields);
    struct provenance *kept = binding->bind->provenance, provenance = {0};
    bool good = object_open(binding->doc, field->key, &value, &provenance, binding->err);
    const bool null = good && binding->bind->open && doc_is_null(binding->doc, value);
    good = good && (null || bind_value(binding, value, field));
    binding->seen[row] = good && !null;
    if (good && !null && kept && provenance_given(&provenance)) {
        provenance_release(&kept[row], 1);
        kept[row] = provenance;
    } else {
        provenance_release(&provenance, 1);
    }
    return good;
}

static bool bind_pair(const struct binding *binding, size_t index)
{
    const struct object_bind *bind = binding->bind;
    const char *key = doc_key(binding->doc, binding->map, index);
    const struct field *field = field_find(bind->fields, bind->count, key);
    if (field == NULL)
        return is_other(bind, key) || refuse_unknown_key(binding, index);
    if (binding->seen[field - bind->fields]) // 'nic-rate' and 'nic_rate', no duplicates by text
        return error_set(binding->err, EXIT_INPUT, "%s:%zu: %s: given twice",
                         doc_name(binding->doc), doc_key_line(binding->doc, binding->map, index),
                         field->key);
    return bind_field(binding, doc_value(binding->doc, binding->map, index), field);
}

bool object_bind(const struct doc *doc, doc_node map, const struct object_bind *bind,
                 struct error *err)
{
    if (doc_kind(doc, map) != DOC_MAP)
        return doc_error(doc, map, err, "found %s; expected a map, 'key: value' lines",
                         doc_kind_name(doc_kind(doc, map)));
    const struct binding binding = {.doc = doc,
                                    .map = map,
                                    .bind = bind,
                                    .seen = mem_alloc(bind->count, sizeof(bool)),
                                    .err = err};
    bool good = true;
    for (size_t i = 0; good && i < doc_size(doc, map); i++)
        good = bind_pair(&binding, i);
    for (size_t row = 0; bind->seen != NULL && row < bind->count; row++)
        bind->seen[row] = bind->seen[row] || binding.seen[row];
    free(binding.seen);
    return good;
}

// ---- whole objects ------------------------------------------------------------------------------

size_t object_row(const struct object_reading *reading, const char *key)
{
    const struct field *field = field_find(reading->fields, reading->count, key);
    assert(field);
    return (size_t)(field - reading->fields);
}

static char *name_of(const struct object_reading *reading)
{
    return (char *)reading->object + reading->fields[object_row(reading, "name")].offset;
}

static bool bind_document(struct object_reading *reading, struct provenance *provenance,
                          const char *const *others)
{
    const struct object_bind bind = {.fields = reading->fields,
                                     .count = reading->count,
                                     .object = reading->object,
                                     .provenance = provenance,
                                     .seen = reading->seen,
                                     .others = others};
    return object_bind(reading->doc, reading->root, &bind, reading->err);
}

static bool check_required(const struct object_reading *reading)
{
    const char *const *required = reading->reader->required;
    for (size_t i = 0; required && required[i]; i++)
        if (!reading->seen[object_row(reading, required[i])])
            return doc_error(reading->doc, reading->root, reading->err, "%s: missing; %s",
                             required[i], reading->reader->needs);
    return true;
}

// What cannot be is blamed on the line of its key.
static bool check_document(const struct object_reading *reading)
{
    const char *key =
        reading->reader->fault ? reading->reader->fault(reading->object, reading->err) : NULL;
    return !key || preset_blame(reading->doc, key, reading->err);
}

static bool read_document(struct object_reading *reading)
{
    const struct object_reader *reader = reading->reader;
    if (doc_kind(reading->doc, reading->root) != DOC_MAP)
        return doc_error(reading->doc, reading->root, reading->err, "expected %s keys and values",
                         reader->whose);
    reading->fields = reader->fields;
    reading->count = reader->count;
    if (reader->begin && !reader->begin(reading))
        return false;
    preset_title(reading->doc, name_of(reading));
    if (reader->is_foreign && reader->is_foreign(reading->doc, reading->root))
        return reader->read_foreign(reading);
    if (!bind_document(reading, reading->provenance, reader->others) || !check_required(reading) ||
        (reader->read_others && !reader->read_others(reading)))
        return false;
    if (reader->settle)
        reader->settle(reading);
    return check_document(reading);
}

bool object_load(struct object_reading *reading, const char *what)
{
    struct doc *doc = preset_load(reading->reader->kind, what, reading->err);
    if (!doc)
        return false;
    reading->doc = doc;
    reading->root = doc_root(doc);
    const bool done = read_document(reading);
    doc_free(doc);
    reading->doc = NULL;
    return done;
}

static bool read_variant_keys(struct object_reading *reading, struct provenance *own)
{
    if (doc_kind(reading->doc, reading->root) != DOC_MAP)
        return doc_error(reading->doc, reading->root, reading->err, "expected keys and values");
    bool (*check)(struct object_reading *) = reading->reader->check_variant;
    return bind_document(reading, own, NULL) && (!check || check(reading)) &&
           check_document(reading);
}

static void take_provenance(struct object_reading *reading, struct provenance *own)
{
    for (size_t row = 0; reading->provenance && row < reading->count; row++)
        if (reading->seen[row]) {
            provenance_release(&reading->provenance[row], 1);
            reading->provenance[row] = own[row];
            own[row] = (struct provenance){0};
        }
    provenance_release(own, reading->count);
    free(own);
}

bool object_load_variant(struct object_reading *reading, const char *what, const char *variant)
{
    reading->err->text[0] = '\0';
    struct doc *doc = preset_load_variant(reading->reader->kind, what, variant, reading->err);
    if (!doc)
        return !reading->err->text[0];
    reading->doc = doc;
    reading->root = doc_root(doc);
    memset(reading->seen, 0, reading->count * sizeof *reading->seen);
    struct provenance *own = mem_alloc(reading->count, sizeof *own);
    const bool done = read_variant_keys(reading, own);
    take_provenance(reading, own);
    doc_free(doc);
    reading->doc = NULL;
    return done;
}

bool object_says_changes(const char *what)
{
    return strchr(what, '=') && access(what, F_OK) != 0;
}

char *object_split(const char *what, char **items)
{
    char *name = mem_copy_text(what);
    *items = name;
    strsep(items, ":");
    return name;
}

void object_mark_changed(char *name)
{
    const size_t length = strlen(name);
    if (length + 1 < FIELD_TEXT_BYTES && (length == 0 || name[length - 1] != '*'))
        strcpy(name + length, "*");
}

bool object_change(struct object_reading *reading, char *items)
{
    const struct object_reader *reader = reading->reader;
    const struct field_change change = {reading->fields, reading->count, reading->object,
                                        reading->seen};
    memset(reading->seen, 0, reading->count * sizeof *reading->seen);
    if (!field_assign(&change, items, reading->err))
        return false;
    object_mark_changed(name_of(reading));
    for (size_t row = 0; reading->provenance && row < reading->count; row++)
        if (reading->seen[row])
            provenance_release(&reading->provenance[row], 1);
    if (reader->changed)
        reader->changed(reading);
    const char *key = reader->fault ? reader->fault(reading->object, reading->err) : NULL;
    return !key || error_prefix(reading->err, "%s", key);
}

// ---- printing -----------------------------------------------------------------------------------

static void print_value(const struct field *field, const void *object, FILE *out)
{
    char text[FIELD_TEXT_BYTES];
    field_exact(field, object, text);
    if (field->kind == FIELD_TEXT)
        field_print_quoted(text, out);
    else
        fputs(text, out);
}

void object_print(FILE *out, const struct object_text *text)
{
    for (size_t i = 0; i < text->count; i++) {
        char *line = provenance_text(&text->provenance[i]);
        fprintf(out, "%s: %s", text->fields[i].key, line ? "{value: " : "");
        print_value(&text->fields[i], text->object, out);
        if (line && text->exact)
            provenance_print(&text->provenance[i], out);
        else
            print_said("source", line, out);
        fputs(line ? "}\n" : "\n", out);
        free(line);
    }
}
