// Loggers of MoE layers as JSON: a record a token and layer, or a layer's batch of tokens, with the
// ids of the experts taken; among them records of metadata and of other kinds.
#include "base/mem.h"
#include "traces/records.h"
#include "traces/token_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const json_t *first_of(const json_t *record, const char *const *names)
{
    for (; *names; names++)
        if (json_object_get(record, *names))
            return json_object_get(record, *names);
    return NULL;
}

// A layer's number, or a module's name with one in it ("model.layers.3.mlp").
static bool read_layer(const json_t *value, uint64_t *layer)
{
    const char *text = json_string_value(value);
    const char *digits = text ? strpbrk(text, "0123456789") : NULL;
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        *layer = (uint64_t)json_integer_value(value);
    else if (digits)
        *layer = strtoull(digits, NULL, 10);
    else
        return false;
    return true;
}

static bool is_route(const json_t *record)
{
    const json_t *ids = first_of(record, token_ids_names);
    const json_t *id = json_array_get(ids, 0);
    uint64_t layer;
    return read_layer(first_of(record, token_layer_names), &layer) &&
           (json_is_integer(id) || json_is_integer(json_array_get(id, 0)));
}

// Metadata may come first.
#define LOOK_AHEAD 64

static bool recognise_logger(const struct input *input)
{
    struct records records;
    struct error none;
    bool known = false;
    if (!input->lines && !input->json)
        return false;
    records_begin(&records, input);
    for (int i = 0; i < LOOK_AHEAD && !known && records_next(&records, &none) && records.record;
         i++)
        known = is_route(records.record);
    records_end(&records);
    return known;
}

// What a logger's file holds beside its rows.
struct logger {
    struct token_rows rows;
    uint64_t others; // records of other kinds
    bool weights;
};

static uint32_t small_number(const json_t *record, const char *const *names, uint32_t max)
{
    const json_int_t value = json_integer_value(first_of(record, names));
    return value > 0 && value <= max ? (uint32_t)value : 0;
}

static void take_logger_meta(struct logger *logger, struct import *import, const json_t *record)
{
    static const char *const expert_names[] = {"num_experts", "n_routed_experts",
                                               "num_logical_experts", "num_local_experts", NULL};
    const uint32_t experts = small_number(record, expert_names, MOE_MAX_EXPERTS);
    if (experts)
        import->experts = experts;
    logger->others += !experts;
}

// A request's name, or any other key's number.
static bool read_key(struct token_rows *rows, enum token_key key, const json_t *value,
                     uint64_t *number)
{
    char text[24];
    if (key == TOKEN_REQUEST && (json_is_string(value) || json_is_integer(value))) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        *number = token_rows_request(rows, json_is_string(value) ? json_string_value(value) : text);
        return true;
    }
    *number = (uint64_t)json_integer_value(value);
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           (key != TOKEN_RANK || *number < 1024);
}

static bool read_keys(struct token_rows *rows, const json_t *record, const char *name,
                      struct token_row *row, struct error *err)
{
    for (int key = 0; key < TOKEN_KEYS; key++) {
        const json_t *value = first_of(record, token_key_names[key]);
        if (json_is_null(value))
            value = NULL;
        if (rows->count == 0)
            rows->has[key] = value != NULL;
        if (rows->has[key] != (value != NULL))
            return error_set(err, EXIT_INPUT, "%s: %s: %s, unlike in the first", name,
                             token_key_names[key][0], value ? "said" : "missing");
        if (value && !read_key(rows, (enum token_key)key, value, &row->keys[key]))
            return error_set(err, EXIT_INPUT, "%s: %s: expected a whole number%s", name,
                             token_key_names[key][0], key == TOKEN_RANK ? " below 1,024" : "");
    }
    return true;
}

static bool add_ids(struct token_rows *rows, const json_t *list, const struct token_row *row,
                    const char *name, struct error *err)
{
    int64_t ids[MOE_MAX_TOPK] = {0};
    const size_t width = json_array_size(list);
    for (size_t k = 0; k < width && k < MOE_MAX_TOPK; k++) {
        const json_t *id = json_array_get(list, k);
        if (!json_is_integer(id))
            return error_set(err, EXIT_INPUT, "%s: id %zu: expected a whole number", name, k);
        ids[k] = json_integer_value(id);
    }
    return token_rows_add(rows, row, ids, width, err);
}

// One token's ids, or those of as many tokens as there are lists, numbered on.
static bool add_route(struct token_rows *rows, const json_t *record, const char *name,
                      struct token_row *row, struct error *err)
{
    const json_t *ids = first_of(record, token_ids_names);
    if (!json_is_array(json_array_get(ids, 0)))
        return add_ids(rows, ids, row, name, err);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        if (!add_ids(rows, json_array_get(ids, i), row, name, err))
            return false;
        row->keys[TOKEN_NUMBER] += rows->has[TOKEN_NUMBER];
    }
    return true;
}

static bool read_route(struct logger *logger, struct import *import, const struct records *records,
                       struct error *err)
{
    static const char *const weight_names[] = {"topk_weights", "weights", "router_weights",
                                               "expert_weights", NULL};
    const json_t *record = records->record;
    const uint64_t place = records->input->lines ? records->line - 1 : records->item;
    struct token_row row = {.line = place};
    uint64_t layer = 0;
    if (!is_route(record)) {
        take_logger_meta(logger, import, record);
        return true;
    }
    logger->weights = logger->weights || first_of(record, weight_names);
    read_layer(first_of(record, token_layer_names), &layer);
    row.layer = layer < UINT32_MAX ? (uint32_t)layer : UINT32_MAX;
    return read_keys(&logger->rows, record, records->name, &row, err) &&
           add_route(&logger->rows, record, records->name, &row, err);
}

static bool read_logger(struct import *import, const struct input *input, struct error *err)
{
    struct logger logger = {0};
    struct records records;
    bool ok;
    token_rows_init(&logger.rows, input->path);
    records_begin(&records, input);
    while ((ok = records_next(&records, err)) && records.record)
        if (!(ok = read_route(&logger, import, &records, err)))
            break;
    records_end(&records);
    ok = ok && token_rows_import(&logger.rows, import, err);
    if (ok && logger.others)
        notice("%s: %" PRIu64 " records of other kinds left out", input->path, logger.others);
    if (ok && logger.weights)
        notice("%s: weights of the choices are left out", input->path);
    token_rows_release(&logger.rows);
    return ok;
}

const struct importer importer_logger = {"MoE layer log", recognise_logger, read_logger};
