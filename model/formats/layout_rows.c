#include "model/formats/layout_rows.h"

#include "base/doc.h"
#include "base/formats/npy.h"
#include "base/mem.h"
#include "model/layout.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_KEY "num_slots"
#define LAYERS_KEY "initial_global_assignments"
#define MAP_KEY "physical_to_logical_map"
#define MODELS_KEY "model_maps"
#define ASCEND_KEY "layer_list"

// A file being read.
struct rows_reading {
    const struct doc *doc;
    struct layout_rows *rows;
    const struct moe *moe;
    uint32_t max;       // the highest expert
    const char *length; // where `slots` comes from, for messages
    struct error *err;
};

void layout_rows_release(struct layout_rows *rows)
{
    free(rows->name);
    free(rows->ids);
    free(rows->cells);
    free(rows->lines);
    *rows = (struct layout_rows){0};
}

bool layout_rows_blame(const struct layout_rows *rows, uint32_t row, struct error *err)
{
    return rows->lines[row] ? error_prefix(err, "%s:%zu", rows->name, rows->lines[row])
                            : error_prefix(err, "%s", rows->name);
}

// Room for one row more, whose id and line are set.
static uint32_t *open_row(struct layout_rows *rows, uint32_t id, size_t line)
{
    if (rows->count == rows->room) {
        rows->room = 2 * rows->room + 8;
        rows->ids = mem_grow(rows->ids, rows->room, sizeof *rows->ids);
        rows->lines = mem_grow(rows->lines, rows->room, sizeof *rows->lines);
        rows->cells = mem_grow(rows->cells, (size_t)rows->room * rows->slots, sizeof *rows->cells);
    }
    rows->ids[rows->count] = id;
    rows->lines[rows->count] = line;
    return &rows->cells[(size_t)rows->count++ * rows->slots];
}

static bool set_slots(struct rows_reading *reading, doc_node at, size_t slots)
{
    if (slots < 1 || slots > LAYOUT_MAX_SLOTS)
        return doc_error(reading->doc, at, reading->err, "%s: %zu slots: expected 1 to %d",
                         reading->rows->key, slots, LAYOUT_MAX_SLOTS);
    reading->rows->slots = (uint32_t)slots;
    return true;
}

// ---- one row -----------------------------------------------------------------------------------

// Reads a whole number in 0 .. max; the message has no place in it.
static bool parse_index(const char *text, uint32_t max, uint32_t *value, struct error *err)
{
    const struct field field = {.key = "count", .kind = FIELD_U32, .max = max};
    return field_parse(&field, text, value, err);
}

static bool read_index(const struct rows_reading *reading, doc_node node, uint32_t max,
                       uint32_t *value)
{
    if (doc_kind(reading->doc, node) != DOC_SCALAR)
        return error_set(reading->err, EXIT_INPUT, "expected a whole number");
    return parse_index(doc_text(reading->doc, node), max, value, reading->err);
}

static bool read_slot(const struct rows_reading *reading, doc_node item, uint32_t slot,
                      uint32_t layer, uint32_t *expert)
{
    if (read_index(reading, item, reading->max, expert))
        return true;
    error_prefix(reading->err, "layer %" PRIu32 ": slot %" PRIu32 ": expert", layer, slot);
    return error_prefix(reading->err, "%s:%zu", doc_name(reading->doc),
                        doc_line(reading->doc, item));
}

static bool is_nested(const struct doc *doc, doc_node row)
{
    return doc_size(doc, row) > 0 && doc_kind(doc, doc_item(doc, row, 0)) == DOC_LIST;
}

// Slots of a row: a list, or a list of ranks' lists; 0: of both kinds.
static size_t row_slots(const struct doc *doc, doc_node row)
{
    size_t slots = 0;
    if (doc_kind(doc, row) != DOC_LIST)
        return 0;
    if (!is_nested(doc, row))
        return doc_size(doc, row);
    for (size_t r = 0; r < doc_size(doc, row); r++) {
        const doc_node rank = doc_item(doc, row, r);
        if (doc_kind(doc, rank) != DOC_LIST)
            return 0;
        slots += doc_size(doc, rank);
    }
    return slots;
}

static bool read_list(const struct rows_reading *reading, doc_node list, uint32_t layer,
                      uint32_t *cells)
{
    const struct doc *doc = reading->doc;
    const bool nested = is_nested(doc, list);
    uint32_t slot = 0;
    for (size_t i = 0; i < doc_size(doc, list); i++) {
        const doc_node item = doc_item(doc, list, i);
        for (size_t j = 0; j < (nested ? doc_size(doc, item) : 1); j++, slot++)
            if (!read_slot(reading, nested ? doc_item(doc, item, j) : item, slot, layer,
                           &cells[slot]))
                return false;
    }
    return true;
}

static bool add_slot_row(struct rows_reading *reading, doc_node list, uint32_t id)
{
    const struct doc *doc = reading->doc;
    struct layout_rows *rows = reading->rows;
    const size_t slots = row_slots(doc, list);
    if (doc_kind(doc, list) != DOC_LIST)
        return doc_error(doc, list, reading->err,
                         "layer %" PRIu32 ": expected the list of each slot's expert", id);
    if (slots != rows->slots)
        return doc_error(doc, list, reading->err,
                         "layer %" PRIu32 ": %zu slots: expected %s %" PRIu32, id, slots,
                         reading->length, rows->slots);
    return read_list(reading, list, id, open_row(rows, id, doc_line(doc, list)));
}

// ---- rows by layer id --------------------------------------------------------------------------

static bool read_by_id(struct rows_reading *reading, doc_node slots)
{
    const struct doc *doc = reading->doc;
    const doc_node root = doc_root(doc), layers = doc_get(doc, root, LAYERS_KEY);
    reading->rows->key = LAYERS_KEY;
    reading->length = "the " SLOTS_KEY;
    if (!read_index(reading, slots, LAYOUT_MAX_SLOTS, &reading->rows->slots)) {
        error_prefix(reading->err, SLOTS_KEY);
        return error_prefix(reading->err, "%s:%zu", doc_name(doc), doc_line(doc, slots));
    }
    if (layers == DOC_NONE || doc_kind(doc, layers) != DOC_MAP || doc_size(doc, layers) == 0)
        return doc_error(doc, layers == DOC_NONE ? root : layers, reading->err,
                         LAYERS_KEY ": expected {LAYER: [expert of each slot], ...}");
    for (size_t l = 0; l < doc_size(doc, layers); l++) {
        uint32_t id;
        if (!parse_index(doc_key(doc, layers, l), UINT16_MAX, &id, reading->err))
            return error_prefix(reading->err, "%s:%zu: " LAYERS_KEY ": layer", doc_name(doc),
                                doc_key_line(doc, layers, l));
        if (!add_slot_row(reading, doc_value(doc, layers, l), id))
            return false;
    }
    return true;
}

// ---- rows by place -----------------------------------------------------------------------------

static bool read_by_place(struct rows_reading *reading, doc_node map)
{
    const struct doc *doc = reading->doc;
    const bool list = doc_kind(doc, map) == DOC_LIST && doc_size(doc, map) > 0;
    reading->length = "the first row's";
    if (!list || doc_kind(doc, doc_item(doc, map, 0)) != DOC_LIST)
        return doc_error(doc, map, reading->err,
                         "%s: expected [[expert of each slot], ...], a list a layer",
                         reading->rows->key);
    if (!set_slots(reading, map, row_slots(doc, doc_item(doc, map, 0))))
        return false;
    for (size_t l = 0; l < doc_size(doc, map); l++)
        if (!add_slot_row(reading, doc_item(doc, map, l), (uint32_t)l))
            return false;
    return true;
}

// EPLB's phy2log.tolist(), or one row for all layers.
static bool read_bare(struct rows_reading *reading, doc_node root)
{
    const struct doc *doc = reading->doc;
    reading->rows->key = "phy2log";
    if (doc_size(doc, root) > 0 && doc_kind(doc, doc_item(doc, root, 0)) == DOC_LIST)
        return read_by_place(reading, root);
    reading->rows->numbering = LAYOUT_FOR_ALL;
    reading->length = "as many as";
    return set_slots(reading, root, doc_size(doc, root)) && add_slot_row(reading, root, 0);
}

// ---- maps by model -----------------------------------------------------------------------------

static doc_node map_of(const struct doc *doc, doc_node maps, size_t index)
{
    const doc_node entry = doc_value(doc, maps, index);
    return doc_kind(doc, entry) == DOC_MAP ? doc_get(doc, entry, MAP_KEY) : entry;
}

static bool fits_model(const struct rows_reading *reading, doc_node map)
{
    const size_t rows = doc_kind(reading->doc, map) == DOC_LIST ? doc_size(reading->doc, map) : 0;
    return reading->moe && (rows == reading->moe->layers || rows == moe_model_layers(reading->moe));
}

// The only one, or the one that fits the model: others are of drafts.
static bool read_of_model(struct rows_reading *reading, doc_node maps)
{
    const struct doc *doc = reading->doc;
    size_t fitting = 0, at = 0;
    char quoted[ERROR_QUOTE_BYTES];
    if (doc_kind(doc, maps) != DOC_MAP || doc_size(doc, maps) == 0)
        return doc_error(doc, maps, reading->err, MODELS_KEY ": expected {MODEL: {" MAP_KEY "}}");
    const size_t count = doc_size(doc, maps);
    for (size_t m = 0; m < count; m++) {
        const doc_node map = map_of(doc, maps, m);
        if (map != DOC_NONE && (count == 1 || fits_model(reading, map))) {
            fitting++;
            at = m;
        }
    }
    if (fitting != 1 && !reading->moe)
        return doc_error(doc, maps, reading->err,
                         MODELS_KEY ": %zu maps: expected --model, whose layers tell which", count);
    if (fitting != 1)
        return doc_error(doc, maps, reading->err,
                         MODELS_KEY ": %zu of %zu maps fit %s: expected one", fitting, count,
                         reading->moe->name);
    if (count > 1)
        notice("%s: the map of %s, of %zu", reading->rows->name,
               error_quote(doc_key(doc, maps, at), quoted), count);
    return read_by_place(reading, map_of(doc, maps, at));
}

// ---- vLLM-Ascend's and MindIE's expert maps ----------------------------------------------------

static bool refuse_ascend(const struct rows_reading *reading, doc_node node, const char *expected)
{
    return doc_error(reading->doc, node, reading->err, ASCEND_KEY ": expected %s", expected);
}

static doc_node ascend_list(const struct rows_reading *reading, doc_node entry, const char *key)
{
    const struct doc *doc = reading->doc;
    const doc_node list = doc_kind(doc, entry) == DOC_MAP ? doc_get(doc, entry, key) : DOC_NONE;
    return list != DOC_NONE && doc_kind(doc, list) == DOC_LIST ? list : DOC_NONE;
}

static bool ascend_number(const struct rows_reading *reading, doc_node entry, const char *key,
                          uint32_t max, uint32_t *value)
{
    const struct doc *doc = reading->doc;
    const doc_node number = doc_kind(doc, entry) == DOC_MAP ? doc_get(doc, entry, key) : DOC_NONE;
    return (number != DOC_NONE && read_index(reading, number, max, value)) ||
           refuse_ascend(reading, entry, key);
}

// One device's experts, behind those of the devices before it: devices come in order.
static bool read_ascend_device(const struct rows_reading *reading, doc_node device, size_t index,
                               uint32_t layer, uint32_t *cells)
{
    const struct doc *doc = reading->doc;
    const doc_node experts = ascend_list(reading, device, "device_expert");
    uint32_t id;
    if (!ascend_number(reading, device, "device_id", UINT16_MAX, &id))
        return false;
    if (id != index)
        return refuse_ascend(reading, device, "devices in order, from device_id 0");
    if (experts == DOC_NONE)
        return refuse_ascend(reading, device, "device_expert, a list");
    for (size_t i = 0; i < doc_size(doc, experts); i++)
        if (!read_slot(reading, doc_item(doc, experts, i), (uint32_t)i, layer, &cells[i]))
            return false;
    return true;
}

static bool add_ascend_layer(struct rows_reading *reading, doc_node entry)
{
    const struct doc *doc = reading->doc;
    const doc_node devices = ascend_list(reading, entry, "device_list");
    uint32_t id;
    if (devices == DOC_NONE || doc_size(doc, devices) == 0)
        return refuse_ascend(reading, entry, "layers with device_list");
    if (!ascend_number(reading, entry, "layer_id", UINT16_MAX, &id))
        return false;
    const size_t count = doc_size(doc, devices);
    const doc_node first = ascend_list(reading, doc_item(doc, devices, 0), "device_expert");
    const size_t each = first == DOC_NONE ? 0 : doc_size(doc, first);
    if (!reading->rows->slots && !set_slots(reading, entry, each * count))
        return false;
    for (size_t d = 0; d < count; d++) {
        const doc_node experts = ascend_list(reading, doc_item(doc, devices, d), "device_expert");
        if ((experts == DOC_NONE ? 0 : doc_size(doc, experts)) != each ||
            each * count != reading->rows->slots)
            return refuse_ascend(reading, entry, "as many experts on every device of every layer");
    }
    uint32_t *cells = open_row(reading->rows, id, doc_line(doc, entry));
    for (size_t d = 0; d < count; d++)
        if (!read_ascend_device(reading, doc_item(doc, devices, d), d, id, cells + d * each))
            return false;
    return true;
}

static bool read_ascend(struct rows_reading *reading, doc_node layers)
{
    const struct doc *doc = reading->doc;
    reading->rows->key = ASCEND_KEY;
    reading->rows->numbering = LAYOUT_BY_MOE_LAYER;
    if (doc_kind(doc, layers) != DOC_LIST || doc_size(doc, layers) == 0)
        return refuse_ascend(reading, layers, "a list of layers");
    for (size_t l = 0; l < doc_size(doc, layers); l++)
        if (!add_ascend_layer(reading, doc_item(doc, layers, l)))
            return false;
    return true;
}

// ---- which of them it is -----------------------------------------------------------------------

static doc_node first_map(const struct doc *doc, doc_node root, const char **key)
{
    static const char *const keys[] = {MAP_KEY, "phy2log", "p2l_map", NULL};
    for (size_t i = 0; keys[i]; i++) {
        const doc_node map = doc_get(doc, root, keys[i]);
        *key = keys[i];
        if (map != DOC_NONE)
            return map;
    }
    return DOC_NONE;
}

static bool read_map(struct rows_reading *reading, doc_node root)
{
    const struct doc *doc = reading->doc;
    struct layout_rows *rows = reading->rows;
    const doc_node slots = doc_get(doc, root, SLOTS_KEY), models = doc_get(doc, root, MODELS_KEY);
    const doc_node ascend = doc_get(doc, root, ASCEND_KEY);
    const doc_node map = first_map(doc, root, &rows->key);
    if (map != DOC_NONE)
        return read_by_place(reading, map);
    rows->key = MAP_KEY;
    if (models != DOC_NONE)
        return read_of_model(reading, models);
    if (ascend != DOC_NONE)
        return read_ascend(reading, ascend);
    if (slots == DOC_NONE)
        return doc_error(doc, root, reading->err,
                         SLOTS_KEY ": missing; expected a load-balancer file with " SLOTS_KEY
                                   " and " LAYERS_KEY ", or " MAP_KEY ", " MODELS_KEY
                                   ", " ASCEND_KEY " or a list of phy2log");
    // vLLM's record numbers MoE layers alone.
    rows->numbering =
        doc_get(doc, root, "record_type") == DOC_NONE ? LAYOUT_BY_LAYER : LAYOUT_BY_MOE_LAYER;
    return read_by_id(reading, slots);
}

static bool read_doc(struct rows_reading *reading)
{
    const doc_node root = doc_root(reading->doc);
    switch (doc_kind(reading->doc, root)) {
    case DOC_MAP:
        return read_map(reading, root);
    case DOC_LIST:
        return read_bare(reading, root);
    case DOC_SCALAR:
        break;
    }
    return doc_error(reading->doc, root, reading->err,
                     SLOTS_KEY ": missing; expected a layout's map or list");
}

// ---- NumPy -------------------------------------------------------------------------------------

static bool read_array(struct rows_reading *reading, const struct npy *array)
{
    struct layout_rows *rows = reading->rows;
    const uint64_t count = array->dims > 1 ? array->shape[0] : 1, all = npy_count(array);
    rows->key = "phy2log";
    rows->numbering = array->dims > 1 ? LAYOUT_BY_PLACE : LAYOUT_FOR_ALL;
    if (!npy_is_integer(array->type) || array->dims < 1 || array->dims > 3 || all == 0 ||
        count > UINT16_MAX || all / count > LAYOUT_MAX_SLOTS)
        return error_set(reading->err, EXIT_INPUT,
                         "%s: %s of %zu dimensions; expected integers [layers, slots] or [layers, "
                         "ranks, slots]",
                         array->path, npy_types[array->type].name, array->dims);
    rows->slots = (uint32_t)(all / count);
    for (uint64_t l = 0; l < count; l++) {
        uint32_t *cells = open_row(rows, (uint32_t)l, 0);
        for (uint64_t slot = 0; slot < rows->slots; slot++) {
            const int64_t expert = npy_int(array, l * rows->slots + slot);
            if (expert < 0 || expert > reading->max)
                return error_set(reading->err, EXIT_INPUT,
                                 "%s: layer %" PRIu64 ": slot %" PRIu64 ": expert: %" PRId64
                                 ": expected 0 to %" PRIu32,
                                 array->path, l, slot, expert, reading->max);
            cells[slot] = (uint32_t)expert;
        }
    }
    return true;
}

// ---- the file ----------------------------------------------------------------------------------

static bool read_npy_layout(struct rows_reading *reading, const char *path)
{
    struct npy array;
    if (!npy_open(&array, path, reading->err))
        return false;
    const bool ok = read_array(reading, &array);
    npy_release(&array);
    return ok;
}

static bool read_text_layout(struct rows_reading *reading, const char *path)
{
    struct doc *doc = doc_load(path, reading->err);
    reading->doc = doc;
    const bool ok = doc && read_doc(reading);
    doc_free(doc);
    return ok;
}

static bool read_layout_file(struct rows_reading *reading, const char *path)
{
    struct mapped file;
    if (!mapped_open(&file, path, reading->err))
        return false;
    const bool array = npy_begins(file.bytes, file.length);
    const bool packed =
        (file.length > 4 && !memcmp(file.bytes, "PK\3\4", 4)) || file.bytes[0] == 0x80;
    mapped_release(&file);
    if (packed)
        return error_set(
            reading->err, EXIT_INPUT,
            "%s: a PyTorch file, a pickle or an archive: save its map as JSON or .npy: "
            "numpy.save('map.npy', phy2log.numpy())",
            path);
    return array ? read_npy_layout(reading, path) : read_text_layout(reading, path);
}

bool layout_rows_load(struct layout_rows *rows, const char *path, uint32_t experts,
                      const struct moe *moe, struct error *err)
{
    *rows = (struct layout_rows){.name = mem_copy_text(path)};
    struct rows_reading reading = {
        .rows = rows, .moe = moe, .max = experts ? experts - 1 : LAYOUT_MAX_SLOTS - 1, .err = err};
    if (read_layout_file(&reading, path))
        return true;
    layout_rows_release(rows);
    return false;
}
