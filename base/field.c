#include "base/field.h"

#include "base/units.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define WORD_LONGEST 64      // a longer word is no slip of a name
#define BEGINNING_SHORTEST 3 // letters that tell which name was begun

// How a numeric kind is read, and the largest value that its member holds.
static const struct numeric {
    enum unit unit;
    double largest;
    const char *suffix; // behind a double of the base unit; NULL: a whole number
} numerics[] = {
    [FIELD_U32] = {UNIT_COUNT, UINT32_MAX, NULL},    [FIELD_U64] = {UNIT_COUNT, INFINITY, NULL},
    [FIELD_NUMBER] = {UNIT_NUMBER, INFINITY, ""},    [FIELD_BYTES] = {UNIT_BYTES, INFINITY, NULL},
    [FIELD_RATE] = {UNIT_RATE, INFINITY, "B/s"},     [FIELD_TIME] = {UNIT_TIME, INFINITY, NULL},
    [FIELD_FLOPS] = {UNIT_FLOPS, INFINITY, "FLOPS"}, [FIELD_NAMED] = {UNIT_NUMBER, 0, NULL},
};

static void *member_of(const struct field *field, const void *object)
{
    return (char *)(uintptr_t)object + field->offset;
}

static bool parse_bool(const char *text, bool *member, struct error *err)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *member = i % 2 == 1;
            return true;
        }
    }
    char quoted[ERROR_QUOTE_BYTES];
    return error_set(err, EXIT_INPUT, "'%s': expected true or false", error_quote(text, quoted));
}

static bool refuse_range(const struct field *field, const char *text, double max, struct error *err)
{
    const enum unit unit = numerics[field->kind].unit;
    char quoted[ERROR_QUOTE_BYTES], low[32], high[32];
    error_quote(text, quoted);
    units_format(unit, fmax(field->min, 0), low);
    if (isinf(max))
        return error_set(err, EXIT_INPUT, "'%s': out of range; expected at least %s", quoted, low);
    units_format(unit, max, high);
    return error_set(err, EXIT_INPUT, "'%s': out of range; expected %s to %s", quoted, low, high);
}

static void store_number(const struct field *field, double value, void *member)
{
    if (numerics[field->kind].suffix)
        *(double *)member = value;
    else if (field->kind == FIELD_U32)
        *(uint32_t *)member = (uint32_t)value;
    else
        *(uint64_t *)member = (uint64_t)value;
}

static bool parse_number(const struct field *field, const char *text, void *member,
                         struct error *err)
{
    const struct numeric *numeric = &numerics[field->kind];
    double value;
    if (!units_parse(numeric->unit, text, &value, err))
        return false;
    const bool limited = field->min != 0 || field->max != 0;
    const double max = limited ? fmin(field->max, numeric->largest) : numeric->largest;
    if (value < field->min || value > max)
        return refuse_range(field, text, max, err);
    store_number(field, value, member);
    return true;
}

static bool parse_text(const char *text, char *member, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const size_t length = strlen(text);
    if (length >= FIELD_TEXT_BYTES) {
        return error_set(err, EXIT_INPUT, "'%s': %zu bytes long; expected at most %d",
                         error_quote(text, quoted), length, FIELD_TEXT_BYTES - 1);
    }
    // A newline in a name would break every "# key: value" line that repeats it.
    for (const char *at = text; *at != '\0'; at++) {
        if (iscntrl((unsigned char)*at)) {
            return error_set(err, EXIT_INPUT, "'%s': holds a control character; expected text",
                             error_quote(text, quoted));
        }
    }
    memset(member, 0, FIELD_TEXT_BYTES);
    memcpy(member, text, length);
    return true;
}

static const char *choice_at(const void *names, size_t index)
{
    return ((const char *const *)names)[index];
}

static const char *object_at(const void *objects, size_t index)
{
    return *(const char *const *)((const void *const *)objects)[index];
}

static bool refuse_name(const struct field *field, size_t count, const char *text,
                        struct error *err)
{
    const bool named = field->kind == FIELD_NAMED;
    const char *(*name)(const void *, size_t) = named ? object_at : choice_at;
    const void *names = named ? (const void *)field->objects : field->names;
    char list[512] = "", quoted[ERROR_QUOTE_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                                 name(names, i));
    error_quote(text, quoted);
    const char *near = field_nearest(text, count, name, names);
    if (near)
        return error_set(err, EXIT_INPUT, "'%s': did you mean '%s'? Expected one of %s", quoted,
                         near, list);
    return error_set(err, EXIT_INPUT, "'%s': expected one of %s", quoted, list);
}

static bool parse_enum(const struct field *field, const char *text, void *member, struct error *err)
{
    uint32_t index = 0;
    for (; field->names[index]; index++)
        if (strcmp(field->names[index], text) == 0)
            return memcpy(member, &index, sizeof index), true;
    return refuse_name(field, index, text, err);
}

static bool parse_named(const struct field *field, const char *text, void *member,
                        struct error *err)
{
    size_t index = 0;
    for (; field->objects[index]; index++)
        if (strcmp(object_at(field->objects, index), text) == 0)
            return memcpy(member, &field->objects[index], sizeof field->objects[index]), true;
    return refuse_name(field, index, text, err);
}

bool field_parse(const struct field *field, const char *text, void *object, struct error *err)
{
    void *member = member_of(field, object);
    switch (field->kind) {
    case FIELD_BOOL:
        return parse_bool(text, member, err);
    case FIELD_TEXT:
        return parse_text(text, member, err);
    case FIELD_ENUM:
        return parse_enum(field, text, member, err);
    case FIELD_NAMED:
        return parse_named(field, text, member, err);
    default:
        return parse_number(field, text, member, err);
    }
}

static void format_number(const struct field *field, const void *member, char *buffer)
{
    const struct numeric *numeric = &numerics[field->kind];
    const uint64_t whole = numeric->suffix            ? 0
                           : field->kind == FIELD_U32 ? *(const uint32_t *)member
                                                      : *(const uint64_t *)member;
    const double real = numeric->suffix ? *(const double *)member : (double)whole;
    if (numeric->unit == UNIT_COUNT)
        snprintf(buffer, FIELD_TEXT_BYTES, "%" PRIu64, whole);
    else if (!(real >= 0) || isinf(real)) // never parsed, but a caller may hold one
        snprintf(buffer, FIELD_TEXT_BYTES, "%g", real);
    else
        units_format(numeric->unit, real, buffer);
}

char *field_format(const struct field *field, const void *object, char *buffer)
{
    const void *member = member_of(field, object), *named;
    uint32_t index;
    switch (field->kind) {
    case FIELD_BOOL:
        strcpy(buffer, *(const bool *)member ? "true" : "false");
        break;
    case FIELD_TEXT:
        memcpy(buffer, member, FIELD_TEXT_BYTES);
        break;
    case FIELD_ENUM:
        memcpy(&index, member, sizeof index);
        snprintf(buffer, FIELD_TEXT_BYTES, "%s", field->names[index]);
        break;
    case FIELD_NAMED:
        memcpy(&named, member, sizeof named);
        snprintf(buffer, FIELD_TEXT_BYTES, "%s", *(const char *const *)named);
        break;
    default:
        format_number(field, member, buffer);
    }
    return buffer;
}

// One spelling for all that count as the same letter of a key.
static int folded(char letter)
{
    return letter == '-' ? '_' : tolower((unsigned char)letter);
}

char *field_exact(const struct field *field, const void *object, char *buffer)
{
    const struct numeric *numeric = &numerics[field->kind];
    struct error err;
    double back;
    field_format(field, object, buffer);
    if (!numeric->suffix)
        return buffer;
    const double real = *(const double *)member_of(field, object);
    for (int digits = 6; digits <= 17; digits++) {
        if (units_parse(numeric->unit, buffer, &back, &err) && back == real)
            break;
        snprintf(buffer, FIELD_TEXT_BYTES, "%.*g%s", digits, real, numeric->suffix);
    }
    return buffer;
}

void field_scale(const struct field *field, void *object, double factor)
{
    uint64_t *time_ps = member_of(field, object);
    double *rate = member_of(field, object);
    if (field->kind == FIELD_TIME)
        *time_ps = (uint64_t)ceil((double)*time_ps * factor);
    else if (field->kind == FIELD_RATE)
        *rate /= factor;
}

void field_print_quoted(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else
            fprintf(out, "%s%c", byte == '"' || byte == '\\' ? "\\" : "", byte);
    }
    fputc('"', out);
}

const struct field *field_find(const struct field *fields, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        const char *a = fields[i].key, *b = key;
        while (*a != '\0' && (*a == *b || (*a == '_' && *b == '-'))) {
            a++;
            b++;
        }
        if (*a == '\0' && *b == '\0')
            return &fields[i];
    }
    return NULL;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Optimal string alignment distance: insert, delete, replace and swap of neighbours cost 1 each.
static size_t word_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t rows[3][WORD_LONGEST + 1];
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            const bool same = folded(a[i - 1]) == folded(b[j - 1]);
            row[j] = min_size(min_size(above[j], row[j - 1]) + 1, above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) &&
                folded(a[i - 2]) == folded(b[j - 1])) {
                row[j] = min_size(row[j], second[j - 2] + 1);
            }
        }
    }
    return rows[a_length % 3][b_length];
}

static bool begins(const char *name, const char *word)
{
    while (*word != '\0' && folded(*name) == folded(*word)) {
        name++;
        word++;
    }
    return *word == '\0';
}

// The one name that begins with the word, "nics" of nics_per_node, or NULL.
static const char *field_completed(const char *word, size_t count,
                                   const char *(*name)(const void *context, size_t index),
                                   const void *context)
{
    const char *completed = NULL;
    if (strlen(word) < BEGINNING_SHORTEST)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *candidate = name(context, i);
        if (!begins(candidate, word))
            continue;
        if (completed != NULL && strcmp(completed, candidate) != 0)
            return NULL;
        completed = candidate;
    }
    return completed;
}

const char *field_nearest(const char *word, size_t count,
                          const char *(*name)(const void *context, size_t index),
                          const void *context)
{
    const size_t length = strlen(word);
    if (length > WORD_LONGEST)
        return NULL;
    const char *nearest = field_completed(word, count, name, context);
    if (nearest != NULL)
        return nearest;
    size_t best = length / 3 + 1; // the first distance that is too far
    for (size_t i = 0; i < count; i++) {
        const char *candidate = name(context, i);
        const size_t candidate_length = strlen(candidate);
        if (candidate_length > WORD_LONGEST)
            continue;
        const size_t d = word_distance(word, length, candidate, candidate_length);
        if (d < best) {
            best = d;
            nearest = candidate;
        }
    }
    return nearest;
}

static const char *key_at(const void *fields, size_t index)
{
    return ((const struct field *)fields)[index].key;
}

const char *field_nearest_key(const struct field *fields, size_t count, const char *word)
{
    return field_nearest(word, count, key_at, fields);
}

bool field_set(const struct field_change *change, const char *key, const char *value,
               struct error *err)
{
    const struct field *field = field_find(change->fields, change->count, key);
    if (!field) {
        const char *near = field_nearest_key(change->fields, change->count, key);
        char quoted[ERROR_QUOTE_BYTES];
        return error_set(err, EXIT_INPUT, "%s: unknown key%s%s%s", error_quote(key, quoted),
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    bool *seen = &change->seen[field - change->fields];
    if (*seen)
        return error_set(err, EXIT_INPUT, "%s: given twice", field->key);
    *seen = true;
    return field_parse(field, value, change->object, err) || error_prefix(err, "%s", field->key);
}

bool field_assign(const struct field_change *change, char *items, struct error *err)
{
    for (char *item = items, *next; item; item = next) {
        next = strchr(item, ',');
        if (next)
            *next++ = '\0';
        char *equals = strchr(item, '=');
        char quoted[ERROR_QUOTE_BYTES];
        if (!equals || equals == item)
            return error_set(err, EXIT_INPUT, "'%s': expected key=value",
                             error_quote(item, quoted));
        *equals = '\0';
        if (!field_set(change, item, equals + 1, err))
            return false;
    }
    return true;
}
