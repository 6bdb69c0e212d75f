#include "base/range.h"

#include "base/mem.h"
#include "base/units.h"

#include <stdlib.h>
#include <string.h>

#define RANGE_MAX 10000
#define RANGE_LARGEST 0x1p24 // choices of a rank are counted in 32 bits, up to top-64

struct list {
    uint32_t *values;
    size_t count;
};

static bool parse_count(const char *text, size_t length, uint64_t *value, struct error *err)
{
    char word[32] = "";
    double number;
    if (length < sizeof word)
        memcpy(word, text, length);
    if (!length || !units_parse(UNIT_COUNT, word, &number, err) || number < 1 ||
        number > RANGE_LARGEST)
        return error_set(err, EXIT_INPUT,
                         "'%.*s': expected counts from 1 to 16777216, as 128, 1,64,4096, "
                         "64..1024:64 or 1..4096:log",
                         (int)(length < 40 ? length : 40), text);
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
    const bool log = colon && (size_t)(text + length - colon) == 4 && !memcmp(colon, ":log", 4);
    uint64_t from, to, step = 1;
    if (!parse_count(text, (size_t)(dots - text), &from, err) ||
        !parse_count(dots + 2, (size_t)(end - dots - 2), &to, err))
        return false;
    if (colon && !log && !parse_count(colon + 1, (size_t)(text + length - colon - 1), &step, err))
        return false;
    if (from > to)
        return error_set(err, EXIT_INPUT, "'%.*s': goes down: expected the smaller count first",
                         (int)length, text);
    for (uint64_t value = from; value < to; value = log ? 2 * value : value + step)
        if (!add(list, value, err))
            return false;
    return log || (to - from) % step == 0 ? add(list, to, err) : true;
}

static int ascending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_unique(struct list *list)
{
    size_t kept = 0;
    qsort(list->values, list->count, sizeof *list->values, ascending);
    for (size_t i = 0; i < list->count; i++)
        if (i == 0 || list->values[i] != list->values[kept - 1])
            list->values[kept++] = list->values[i];
    list->count = kept;
}

bool range_parse(const char *text, uint32_t **values, size_t *count, struct error *err)
{
    struct list list = {.values = mem_alloc(RANGE_MAX, sizeof *list.values)};
    const char *item = text;
    bool ok = true;
    while (ok && item) {
        const size_t length = strcspn(item, ",");
        const char *dots = strstr(item, "..");
        uint64_t value;
        if (dots && dots < item + length)
            ok = add_range(&list, item, length, dots, err);
        else
            ok = parse_count(item, length, &value, err) && add(&list, value, err);
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
