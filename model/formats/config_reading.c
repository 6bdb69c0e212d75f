#include "model/formats/config_reading.h"

#include "base/mem.h"

#include <ctype.h>
#include <string.h>

size_t config_row(const char *field)
{
    return (size_t)(field_find(moe_fields, moe_field_count, field) - moe_fields);
}

// ---- where keys stand ---------------------------------------------------------------------------

doc_node config_map_in(const struct doc *doc, doc_node map, const char *key)
{
    const doc_node node =
        map != DOC_NONE && doc_kind(doc, map) == DOC_MAP ? doc_get(doc, map, key) : DOC_NONE;
    return node != DOC_NONE && doc_kind(doc, node) == DOC_MAP ? node : DOC_NONE;
}

const char *config_text_in(const struct doc *doc, doc_node map, const char *key)
{
    const doc_node node =
        map != DOC_NONE && doc_kind(doc, map) == DOC_MAP ? doc_get(doc, map, key) : DOC_NONE;
    if (node == DOC_NONE || doc_kind(doc, node) != DOC_SCALAR || doc_is_null(doc, node))
        return "";
    return doc_text(doc, node);
}

static doc_node get_in(const struct doc *doc, doc_node map, const char *key)
{
    char outer[64];
    const char *dot = strchr(key, '.');
    if (dot) {
        snprintf(outer, sizeof outer, "%.*s", (int)(dot - key), key);
        map = config_map_in(doc, map, outer);
        key = dot + 1;
    }
    const doc_node node = map == DOC_NONE ? DOC_NONE : doc_get(doc, map, key);
    const bool null =
        node != DOC_NONE && doc_kind(doc, node) == DOC_SCALAR && doc_is_null(doc, node);
    return null ? DOC_NONE : node;
}

doc_node config_get(const struct config_reading *config, const char *key)
{
    const doc_node node = get_in(config->doc, config->map, key);
    return node == DOC_NONE && config->map != config->root ? get_in(config->doc, config->root, key)
                                                           : node;
}

const char *config_text(const struct config_reading *config, const char *key)
{
    const doc_node node = config_get(config, key);
    return node == DOC_NONE || doc_kind(config->doc, node) != DOC_SCALAR
               ? ""
               : doc_text(config->doc, node);
}

// ---- what was read ------------------------------------------------------------------------------

void config_took(struct config_reading *config, doc_node node)
{
    if (node != DOC_NONE && config->taken_count < CONFIG_MAX_TAKEN)
        config->taken[config->taken_count++] = node;
}

bool config_was_taken(const struct config_reading *config, doc_node node)
{
    for (size_t i = 0; i < config->taken_count; i++)
        if (config->taken[i] == node)
            return true;
    return false;
}

void config_say(struct config_reading *config, const char *field, struct config_place place)
{
    const size_t row = config_row(field);
    struct provenance *provenance = config->reading->provenance;
    config->reading->seen[row] = true;
    config->place[row] = place;
    config_took(config, place.node);
    if (provenance) {
        provenance_release(&provenance[row], 1);
        provenance[row].source = mem_format("%s: %s", doc_name(config->doc), place.key);
    }
}

bool config_said(const struct config_reading *config, const char *field)
{
    return config->reading->seen[config_row(field)];
}

bool config_take(struct config_reading *config, const char *field, const char *key, doc_node node)
{
    if (doc_kind(config->doc, node) != DOC_SCALAR)
        return doc_error(config->doc, node, config->err, "%s: expected one value", key);
    struct field called = moe_fields[config_row(field)];
    called.key = key;
    if (!doc_field(config->doc, node, &called, config->moe, config->err))
        return false;
    config_say(config, field, (struct config_place){key, node});
    return true;
}

bool config_number(const struct config_reading *config, const char *key, doc_node node,
                   int64_t *value)
{
    static const struct field whole = {.key = "value", .kind = FIELD_U32};
    struct field called = whole;
    uint32_t number = 0;
    called.key = key;
    if (doc_kind(config->doc, node) != DOC_SCALAR)
        return doc_error(config->doc, node, config->err, "%s: expected one value", key);
    if (!strcmp(doc_text(config->doc, node), "-1")) {
        *value = -1;
        return true;
    }
    if (!doc_field(config->doc, node, &called, &number, config->err))
        return false;
    *value = number;
    return true;
}

// ---- families -----------------------------------------------------------------------------------

// Whether a name of a class, "DeepseekV3ForCausalLM", begins with a type, "deepseek_v3".
static bool is_class_of(const char *name, const char *type)
{
    for (; *type; type++) {
        if (*type == '_')
            continue;
        if (tolower((unsigned char)*name++) != *type)
            return false;
    }
    return true;
}

bool config_is_family(const struct config_reading *config, const char *type)
{
    const char *said = config_text(config, "model_type");
    if (*said)
        return strncmp(said, type, strlen(type)) == 0;
    const doc_node list = config_get(config, "architectures");
    if (list == DOC_NONE || doc_kind(config->doc, list) != DOC_LIST || !doc_size(config->doc, list))
        return false;
    const doc_node first = doc_item(config->doc, list, 0);
    return doc_kind(config->doc, first) == DOC_SCALAR &&
           is_class_of(doc_text(config->doc, first), type);
}
