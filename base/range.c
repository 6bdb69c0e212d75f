#include "base/range.h"

#include "base/mem.h"
#include "base/units.h"

#include <stdlib.h>
#include <string.h>

#define RANGE_MAX 10000
#define RANGE_LARGEST 0x1p24 // choices of a rank are counted in 32 bits, up to top-64

// What a list is of, for its values and its messages.
struct kind {
    double min;
    bool log;
    const char *expected;
};
static const struct kind counts = {1, true,
                                   "counts from 1 to 16777216, as 128, 1,64,4096, 64..1024:64 or "
                                   "1..4096:log"};
static const struct kind indices = {0, false,
                                    "indices from 0 to 16777216, as 0, 1,2, 0..3 or 0..12:4"};

struct list {
    const struct kind *of;
    uint32_t *values;
    size_t count;
};

static bool parse_value(const struct kind *of, const char *text, size_t length, uint64_t *value,
                        struct error *err)
{
    char word[32] = "";
    double number;
    if (length < sizeof word)
        memcpy(word, text, length);
    if (!length || !units_parse(UNIT_COUNT, word, &number, err) || number < of->min ||
        number > RANGE_LARGEST)
        return error_set(err, EXIT_INPUT, "'%.*s': expected %s", (int)(length < 40 ? length : 40),
                         text, of->expected);
    *value = (uint64_t)number;
    return true;
}

static bool add(struct list *list, uint64_t value, struct error *err)
{
    if (list->count == RANGE_MAX)
        return error_set(err, EXIT_INPUT, "more than %d values", RANGE_MAX);
    list->values[list->count++] = (uint32_t)value;
    return true;
}

// "A..B", "A..B:STEP" or "A..B:log".
static bool add_range(struct list *list, const char *text, size_t length, const char *dots,
                      struct error *err)
{
    const char *colon = memchr(dots, ':', length - (size_t)(dots - text));
    const char *end = colon ? colon : text + length;
    const bool log =
        list->of->log && colon && (size_t)(text + length - colon) == 4 && !memcmp(colon, ":log", 4);
    const struct kind step_of = {1, list->of->log, list->of->expected};
    uint64_t from, to, step = 1;
    if (!parse_value(list->of, text, (size_t)(dots - text), &from, err) ||
        !parse_value(list->of, dots + 2, (size_t)(end - dots - 2), &to, err))
        return false;
    if (colon && !log &&
        !parse_value(&step_of, colon + 1, (size_t)(text + length - colon - 1), &step, err))
        return false;
    if (from > to)
        return error_set(err, EXIT_INPUT, "'%.*s': goes down: expected the smaller one first",
                         (int)length, text);
    for (uint64_t value = from; value < to; value = log ? 2 * value : value + step)
        if (!add(list, value, err))
            return false;
    return log || (to - from) % step == 0 ? add(list, to, err) : true;
}

static int range_ascends(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(struct list *list)
{
    size_t kept = 0;
    qsort(list->values, list->count, sizeof *list->values, range_ascends);
    for (size_t i = 0; i < list->count; i++)
        if (i == 0 || list->values[i] != list->values[kept - 1])
            list->values[kept++] = list->values[i];
    list->count = kept;
}

static bool range_parse_span(const struct kind *of, const char *text, uint32_t **values,
                             size_t *count, struct error *err)
{
    struct list list = {.of = of, .values = mem_alloc(RANGE_MAX, sizeof *list.values)};
    const char *item = text;
    bool ok = true;
    while (ok && item) {
        const size_t length = strcspn(item, ",");
        const char *dots = strstr(item, "..");
        uint64_t value;
        if (dots && dots < item + length)
            ok = add_range(&list, item, length, dots, err);
        else
            ok = parse_value(of, item, length, &value, err) && add(&list, value, err);
        item = item[length] ? item + length + 1 : NULL;
    }
    if (!ok) {
        free(list.values);
        return false;
    }
    sort_unique(&list);
    *values = list.values;
    *count = list.count;
    return true;
}

bool range_parse(const char *text, uint32_t **values, size_t *count, struct error *err)
{
    return range_parse_span(&counts, text, values, count, err);
}

bool range_parse_indices(const char *text, uint32_t **values, size_t *count, struct error *err)
{
    return range_parse_span(&indices, text, values, count, err);
}

bool range_parse_share(const char *text, double *from, double *to, struct error *err)
{
    const char *dots = strstr(text, "..");
    char first[32] = "";
    struct error ignored;
    if (dots && (size_t)(dots - text) < sizeof first)
        memcpy(first, text, (size_t)(dots - text));
    if (dots && units_parse(UNIT_NUMBER, first, from, &ignored) &&
        units_parse(UNIT_NUMBER, dots + 2, to, &ignored) && 0 <= *from && *from < *to && *to <= 1)
        return true;
    return error_set(err, EXIT_INPUT,
                     "'%.40s': expected shares from 0 to 1, the smaller one first, as 0..0.5",
                     text);
}
