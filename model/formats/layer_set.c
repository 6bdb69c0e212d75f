#include "model/formats/layer_set.h"

#include "base/range.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void layer_set_add(struct layer_set *set, uint32_t layer)
{
    assert(layer < MODEL_MAX_LAYERS);
    set->bits[layer / 64] |= UINT64_C(1) << layer % 64;
}

bool layer_set_has(const struct layer_set *set, uint32_t layer)
{
    return layer < MODEL_MAX_LAYERS && (set->bits[layer / 64] >> layer % 64 & 1);
}

uint32_t layer_set_count_below(const struct layer_set *set, uint32_t layer)
{
    uint32_t count = 0;
    for (uint32_t l = 0; l < layer && l < MODEL_MAX_LAYERS; l++)
        count += layer_set_has(set, l);
    return count;
}

uint32_t layer_set_count(const struct layer_set *set)
{
    return layer_set_count_below(set, MODEL_MAX_LAYERS);
}

uint32_t layer_set_nth(const struct layer_set *set, uint32_t index)
{
    uint32_t layer = 0;
    for (uint32_t left = index + 1; layer < MODEL_MAX_LAYERS; layer++)
        if (layer_set_has(set, layer) && --left == 0)
            break;
    assert(layer < MODEL_MAX_LAYERS);
    return layer;
}

bool layer_set_parse(const char *text, struct layer_set *set, struct error *err)
{
    uint32_t *layers;
    size_t count;
    *set = (struct layer_set){{0}};
    if (!range_parse_indices(text, &layers, &count, err))
        return false;
    const uint32_t last = layers[count - 1];
    for (size_t i = 0; i < count && last < MODEL_MAX_LAYERS; i++)
        layer_set_add(set, layers[i]);
    free(layers);
    return last < MODEL_MAX_LAYERS ||
           error_set(err, EXIT_INPUT, "layer %u: expected at most %d", last, MODEL_MAX_LAYERS - 1);
}

// The last layer of the longest run of equal steps from the index-th layer on, and its step.
static uint32_t run_end(const struct layer_set *set, uint32_t index, uint32_t *step)
{
    const uint32_t count = layer_set_count(set);
    uint32_t end = index;
    *step = 0;
    while (end + 1 < count) {
        const uint32_t gap = layer_set_nth(set, end + 1) - layer_set_nth(set, end);
        if (*step && gap != *step)
            break;
        *step = gap;
        end++;
    }
    return end;
}

// One run of the set as text, or its first layer where the run is too short to be one.
static uint32_t format_run(const struct layer_set *set, uint32_t index, char *text, size_t bytes)
{
    uint32_t step;
    const uint32_t end = run_end(set, index, &step), first = layer_set_nth(set, index);
    if (end < index + 2) {
        snprintf(text, bytes, "%u", first);
        return index + 1;
    }
    const uint32_t last = layer_set_nth(set, end);
    if (step == 1)
        snprintf(text, bytes, "%u..%u", first, last);
    else
        snprintf(text, bytes, "%u..%u:%u", first, last, step);
    return end + 1;
}

bool layer_set_format(const struct layer_set *set, char *text, size_t bytes)
{
    const uint32_t count = layer_set_count(set);
    size_t length = 0;
    text[0] = '\0';
    for (uint32_t index = 0; index < count;) {
        char run[48];
        index = format_run(set, index, run, sizeof run);
        if (length + strlen(run) + 2 > bytes)
            return false;
        length += (size_t)snprintf(text + length, bytes - length, "%s%s", length ? "," : "", run);
    }
    return true;
}

// ---- patterns -----------------------------------------------------------------------------------

// The text without blanks and parentheses around it; false: it does not fit.
static bool bare_pattern(const char *text, char *bare, size_t bytes)
{
    size_t length = 0;
    for (; *text; text++) {
        if (*text == ' ' || (*text == '(' && !length))
            continue;
        if (length + 1 >= bytes)
            return false;
        bare[length++] = *text;
    }
    if (length && bare[length - 1] == ')')
        length--;
    bare[length] = '\0';
    return true;
}

// "[0,1]*4": a list, so many times; NULL: it is none.
static const char *add_repeated(const char *text, struct layer_set *set, size_t *count)
{
    bool items[MODEL_MAX_LAYERS];
    size_t size = 0;
    for (const char *c = text; c == text || *c == ','; c += 2) {
        if (*c != (c == text ? '[' : ',') || (c[1] != '0' && c[1] != '1') ||
            size == MODEL_MAX_LAYERS)
            return NULL;
        items[size++] = c[1] == '1';
    }
    text += 2 * size;
    if (*text++ != ']')
        return NULL;
    char *end = NULL;
    const unsigned long times = *text == '*' ? strtoul(text + 1, &end, 10) : 1;
    if (times > MODEL_MAX_LAYERS || *count + times * size > MODEL_MAX_LAYERS)
        return NULL;
    for (size_t i = 0; i < times * size; i++)
        if (items[i % size])
            layer_set_add(set, (uint32_t)(*count + i));
    *count += times * size;
    return end ? end : text;
}

bool layer_set_parse_pattern(const char *text, struct layer_set *set, size_t *count)
{
    char bare[4 * MODEL_MAX_LAYERS];
    *set = (struct layer_set){{0}};
    *count = 0;
    if (!bare_pattern(text, bare, sizeof bare))
        return false;
    const char *at = add_repeated(bare, set, count);
    while (at && *at == '+')
        at = add_repeated(at + 1, set, count);
    return at && *at == '\0' && *count > 0;
}
