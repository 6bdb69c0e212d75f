#include "model/layout_file.h"

#include "base/doc.h"
#include "base/field.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_KEY "num_slots"
#define LAYERS_KEY "initial_global_assignments"
#define MAP_KEY "physical_to_logical_map"

const char *const layout_format_names[] = {"trtllm", "sglang", NULL};

// A file being read.
struct layout_reading {
    struct doc *doc;
    enum layout_format format;
    doc_node layers; // map by layer id, or list of layers
    uint32_t slots;
    uint32_t experts, ranks;
    struct error *err;
    uint32_t layer; // in hand
    doc_node list;  // its slots
};

// Puts "file:line: " before the message.
static bool layout_file_blame(const struct layout_reading *reading, doc_node node)
{
    return error_prefix(reading->err, "%s:%zu", doc_name(reading->doc),
                        doc_line(reading->doc, node));
}

// Reads a whole number in 0 .. max; the message has no place in it.
static bool parse_index(const char *text, uint32_t max, uint32_t *value, struct error *err)
{
    const struct field field = {.key = "count", .kind = FIELD_U32, .max = max};
    return field_parse(&field, text, value, err);
}

static bool read_index(const struct layout_reading *reading, doc_node node, uint32_t max,
                       uint32_t *value)
{
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return error_set(reading->err, EXIT_INPUT, "expected a whole number");
    return parse_index(doc_text(reading->doc, node), max, value, reading->err);
}

// ---- what is in the file -----------------------------------------------------------------------

static bool begin_trtllm(struct layout_reading *reading, doc_node slots)
{
    const struct doc *doc = reading->doc;
    const doc_node root = doc_root(doc);
    if (!read_index(reading, slots, LAYOUT_MAX_SLOTS, &reading->slots)) {
        error_prefix(reading->err, SLOTS_KEY);
        return layout_file_blame(reading, slots);
    }
    reading->format = LAYOUT_TRTLLM;
    reading->layers = doc_get(doc, root, LAYERS_KEY);
    if (reading->layers == DOC_NONE || doc_kind(doc, reading->layers) != DOC_MAP ||
        doc_size(doc, reading->layers) == 0)
        return doc_error(doc, reading->layers == DOC_NONE ? root : reading->layers, reading->err,
                         LAYERS_KEY ": expected {LAYER: [expert of each slot], ...}");
    return true;
}

static bool begin_sglang(struct layout_reading *reading, doc_node map)
{
    const struct doc *doc = reading->doc;
    reading->format = LAYOUT_SGLANG;
    reading->layers = map;
    if (doc_kind(doc, map) != DOC_LIST || doc_size(doc, map) == 0 ||
        doc_kind(doc, doc_item(doc, map, 0)) != DOC_LIST)
        return doc_error(doc, map, reading->err,
                         MAP_KEY ": expected [[expert of each slot], ...], a list a layer");
    const size_t slots = doc_size(doc, doc_item(doc, map, 0));
    if (slots == 0 || slots > LAYOUT_MAX_SLOTS)
        return doc_error(doc, map, reading->err, MAP_KEY ": %zu slots: expected 1 to %d", slots,
                         LAYOUT_MAX_SLOTS);
    reading->slots = (uint32_t)slots;
    return true;
}

static bool layout_file_begin(struct layout_reading *reading)
{
    const struct doc *doc = reading->doc;
    const doc_node root = doc_root(doc);
    const bool map = doc_kind(doc, root) == DOC_MAP;
    const doc_node rows = map ? doc_get(doc, root, MAP_KEY) : DOC_NONE;
    const doc_node slots = map ? doc_get(doc, root, SLOTS_KEY) : DOC_NONE;
    if (rows != DOC_NONE)
        return begin_sglang(reading, rows);
    if (slots != DOC_NONE)
        return begin_trtllm(reading, slots);
    return doc_error(doc, root, reading->err,
                     SLOTS_KEY ": missing; expected a load-balancer file with " SLOTS_KEY
                               " and " LAYERS_KEY ", or " MAP_KEY);
}

static size_t layer_count(const struct layout_reading *reading)
{
    return doc_size(reading->doc, reading->layers);
}

// Takes a layer of the file in hand.
static bool take_layer(struct layout_reading *reading, size_t index)
{
    const struct doc *doc = reading->doc;
    if (reading->format == LAYOUT_SGLANG) {
        reading->layer = (uint32_t)index;
        reading->list = doc_item(doc, reading->layers, index);
        return true;
    }
    reading->list = doc_value(doc, reading->layers, index);
    if (parse_index(doc_key(doc, reading->layers, index), UINT16_MAX, &reading->layer,
                    reading->err))
        return true;
    return error_prefix(reading->err, "%s:%zu: " LAYERS_KEY ": layer", doc_name(doc),
                        doc_key_line(doc, reading->layers, index));
}

// Finds the wanted layer; a negative one takes the first listed.
static bool find_layer(struct layout_reading *reading, int layer)
{
    const size_t count = layer_count(reading);
    for (size_t index = 0; index < count; index++) {
        if (!take_layer(reading, index))
            return false;
        if (layer < 0 || reading->layer == (uint32_t)layer)
            return true;
    }
    if (reading->format == LAYOUT_SGLANG)
        return doc_error(reading->doc, reading->layers, reading->err,
                         MAP_KEY ": no layer %d; expected one of the %zu rows", layer, count);
    return doc_error(reading->doc, reading->layers, reading->err,
                     LAYERS_KEY ": no layer %d; expected one of the %zu listed, %s to %s", layer,
                     count, doc_key(reading->doc, reading->layers, 0),
                     doc_key(reading->doc, reading->layers, count - 1));
}

// ---- a layer in hand ---------------------------------------------------------------------------

static bool check_list(const struct layout_reading *reading)
{
    const struct doc *doc = reading->doc;
    if (doc_kind(doc, reading->list) != DOC_LIST)
        return doc_error(doc, reading->list, reading->err,
                         "layer %u: expected the list of each slot's expert", reading->layer);
    if (doc_size(doc, reading->list) != reading->slots)
        return doc_error(doc, reading->list, reading->err, "layer %u: %zu slots: expected %s %u",
                         reading->layer, doc_size(doc, reading->list),
                         reading->format == LAYOUT_SGLANG ? "the first row's" : "the " SLOTS_KEY,
                         reading->slots);
    return true;
}

static bool read_slots(const struct layout_reading *reading, uint32_t max, uint32_t *slot_expert)
{
    if (!check_list(reading))
        return false;
    for (size_t slot = 0; slot < reading->slots; slot++) {
        const doc_node item = doc_item(reading->doc, reading->list, slot);
        if (read_index(reading, item, max, &slot_expert[slot]))
            continue;
        error_prefix(reading->err, "layer %u: slot %zu: expert", reading->layer, slot);
        return layout_file_blame(reading, item);
    }
    return true;
}

static bool read_layout(const struct layout_reading *reading, struct layout *layout)
{
    if (!check_list(reading))
        return false;
    if (!layout_sizes_check(reading->slots, reading->experts, reading->ranks, reading->err)) {
        error_prefix(reading->err, "layer %u", reading->layer);
        return layout_file_blame(reading, reading->list);
    }
    uint32_t *slot_expert = mem_alloc(reading->slots, sizeof *slot_expert);
    bool done = read_slots(reading, reading->experts - 1, slot_expert);
    if (done && !layout_from_slots(layout, slot_expert, reading->slots, reading->experts,
                                   reading->ranks, reading->err)) {
        error_prefix(reading->err, "layer %u", reading->layer);
        done = layout_file_blame(reading, reading->list);
    }
    free(slot_expert);
    return done;
}

static bool open_layout_file(struct layout_reading *reading, const char *path)
{
    reading->doc = doc_load(path, reading->err);
    return reading->doc && layout_file_begin(reading);
}

bool layout_from_file(struct layout *layout, const char *path, int layer, uint32_t experts,
                      uint32_t ranks, struct error *err)
{
    struct layout_reading reading = {.experts = experts, .ranks = ranks, .err = err};
    *layout = (struct layout){0};
    const bool done = open_layout_file(&reading, path) && find_layer(&reading, layer) &&
                      read_layout(&reading, layout);
    doc_free(reading.doc);
    return done;
}

#define LAYOUTS_TEXT "contiguous, round-robin or a file"
static const char *const layout_rules[] = {"contiguous", "round-robin"};

static const char *layout_rule_name(const void *context, size_t index)
{
    return ((const char *const *)context)[index];
}

bool layout_is_rule(const char *what)
{
    return strcmp(what, layout_rules[0]) == 0 || strcmp(what, layout_rules[1]) == 0;
}

bool layout_load(struct layout *layout, const char *what, int layer, uint32_t experts,
                 uint32_t ranks, struct error *err)
{
    *layout = (struct layout){0};
    if (strcmp(what, layout_rules[0]) == 0)
        return layout_contiguous(layout, experts, ranks, err);
    if (strcmp(what, layout_rules[1]) == 0)
        return layout_round_robin(layout, experts, ranks, err);
    if (strpbrk(what, "/.") || (*what && access(what, F_OK) == 0))
        return layout_from_file(layout, what, layer, experts, ranks, err);
    char quoted[ERROR_QUOTE_BYTES];
    const char *near = field_nearest(what, 2, layout_rule_name, layout_rules);
    error_quote(what, quoted);
    if (near)
        return error_set(err, EXIT_INPUT, "'%s': did you mean '%s'? Expected %s", quoted, near,
                         LAYOUTS_TEXT);
    return error_set(err, EXIT_INPUT, "'%s': expected %s", quoted, LAYOUTS_TEXT);
}

// ---- all layers --------------------------------------------------------------------------------

void layouts_release(struct layouts *layouts)
{
    for (uint32_t l = 0; l < layouts->count; l++)
        layout_release(&layouts->of[l]);
    free(layouts->of);
    free(layouts->layer_ids);
    *layouts = (struct layouts){0};
}

// One more than the highest id that any layer names.
static bool count_experts(struct layout_reading *reading)
{
    uint32_t *slot_expert = mem_alloc(reading->slots, sizeof *slot_expert);
    bool ok = true;
    for (size_t l = 0; ok && l < layer_count(reading); l++) {
        ok = take_layer(reading, l) && read_slots(reading, LAYOUT_MAX_SLOTS - 1, slot_expert);
        for (uint32_t slot = 0; ok && slot < reading->slots; slot++)
            if (slot_expert[slot] >= reading->experts)
                reading->experts = slot_expert[slot] + 1;
    }
    free(slot_expert);
    return ok;
}

// Keeps the ids ascending; a file's keys may come in any order, but never twice.
static void insert_layout(struct layouts *layouts, uint32_t layer, const struct layout *layout)
{
    uint32_t at = layouts->count++;
    for (; at > 0 && layouts->layer_ids[at - 1] > layer; at--) {
        layouts->layer_ids[at] = layouts->layer_ids[at - 1];
        layouts->of[at] = layouts->of[at - 1];
    }
    layouts->layer_ids[at] = layer;
    layouts->of[at] = *layout;
}

static bool read_layouts(struct layout_reading *reading, struct layouts *layouts)
{
    const size_t count = layer_count(reading);
    if (!reading->experts && !count_experts(reading))
        return false;
    layouts->layer_ids = mem_alloc(count, sizeof *layouts->layer_ids);
    layouts->of = mem_alloc(count, sizeof *layouts->of);
    for (size_t l = 0; l < count; l++) {
        struct layout layout;
        if (!take_layer(reading, l) || !read_layout(reading, &layout))
            return false;
        insert_layout(layouts, reading->layer, &layout);
    }
    return true;
}

bool layouts_load(struct layouts *layouts, const char *path, uint32_t experts, uint32_t ranks,
                  struct error *err)
{
    *layouts = (struct layouts){0};
    struct layout_reading reading = {.experts = experts, .ranks = ranks, .err = err};
    const bool done = open_layout_file(&reading, path) && read_layouts(&reading, layouts);
    doc_free(reading.doc);
    if (!done)
        layouts_release(layouts);
    return done;
}

// ---- writing -----------------------------------------------------------------------------------

// The expert of each slot; `plain`: in id order, around again.
static void write_slots(const struct layout *layout, bool plain, FILE *out)
{
    for (uint32_t slot = 0; slot < layout->slots; slot++)
        fprintf(out, "%s%u", slot ? ", " : "[",
                plain ? slot % layout->experts : layout->slot_expert[slot]);
    fputc(']', out);
}

static void write_trtllm(const struct layouts *layouts, FILE *out)
{
    fprintf(out, SLOTS_KEY ": %u\nlayer_updates_per_iter: 0\n" LAYERS_KEY ":\n",
            layouts->of[0].slots);
    for (uint32_t l = 0; l < layouts->count; l++) {
        fprintf(out, "  %u: ", layouts->layer_ids[l]);
        write_slots(&layouts->of[l], false, out);
        fputc('\n', out);
    }
}

static void write_sglang(const struct layouts *layouts, FILE *out)
{
    uint32_t next = 0;
    fputs("{\"" MAP_KEY "\": [\n", out);
    for (uint32_t l = 0; l < layouts->count; l++)
        for (; next <= layouts->layer_ids[l]; next++) {
            fputs(next ? ",\n " : " ", out);
            write_slots(&layouts->of[l], next < layouts->layer_ids[l], out);
        }
    fputs("\n]}\n", out);
}

void layouts_write(const struct layouts *layouts, enum layout_format format, const char *comment,
                   FILE *out)
{
    if (format == LAYOUT_SGLANG) {
        write_sglang(layouts, out);
        return;
    }
    if (comment)
        fputs(comment, out);
    write_trtllm(layouts, out);
}
