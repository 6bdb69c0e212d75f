#include "model/formats/model_config.h"

#include "base/mem.h"
#include "base/preset.h"
#include "model/moe.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_FIELDS 32 // at least those of moe_fields

static size_t config_field(const char *key)
{
    return (size_t)(field_find(moe_fields, moe_field_count, key) - moe_fields);
}

// A config.json being read: what its keys are called, and where they stand.
struct config_reading {
    struct object_reading *reading;
    const struct doc *doc;
    doc_node map;
    struct moe *moe;
    struct error *err;
    const char *key[CONFIG_FIELDS]; // as the document calls it
    doc_node node[CONFIG_FIELDS];
};

static bool config_seen(const struct config_reading *config, const char *key)
{
    return config->reading->seen[config_field(key)];
}

// What cannot be is blamed on the key that the document has for it.
static bool config_finish(struct config_reading *config)
{
    moe_settle_object(config->reading);
    const char *key = moe_fault(config->moe, config->err);
    if (!key)
        return true;
    const size_t row = config_field(key);
    if (!config->reading->seen[row])
        return preset_blame(config->doc, key, config->err);
    return error_prefix(config->err, "%s:%zu: %s", doc_name(config->doc),
                        doc_line(config->doc, config->node[row]), config->key[row]);
}

// The keys of published configurations, the first present taken. Mixtral, gpt-oss and OLMoE call
// an expert's width intermediate_size, which elsewhere is the width of dense layers.
struct config_row {
    const char *field;
    bool required;
    bool zero_is_absent;
    const char *keys[5];
};
#define CONFIG_ROW(field, ...)                                                                     \
    {                                                                                              \
#field, false, false,                                                                      \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define CONFIG_REQUIRED(field, ...)                                                                \
    {                                                                                              \
#field, true, false,                                                                       \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define CONFIG_NOT_ZERO(field, ...)                                                                \
    {                                                                                              \
#field, false, true,                                                                       \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
// clang-format off
static const struct config_row config_rows[] = {
    CONFIG_NOT_ZERO(experts, "n_routed_experts", "num_experts", "num_local_experts",
                    "moe_num_experts"),
    CONFIG_REQUIRED(hidden, "hidden_size"),
    CONFIG_REQUIRED(topk, "num_experts_per_tok", "experts_per_token", "moe_topk", "moe_k"),
    CONFIG_NOT_ZERO(groups, "n_group"),
    CONFIG_NOT_ZERO(topk_groups, "topk_group"),
    CONFIG_ROW(shared_experts, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts"),
    CONFIG_REQUIRED(intermediate, "moe_intermediate_size", "intermediate_size"),
    CONFIG_NOT_ZERO(shared_intermediate, "shared_expert_intermediate_size"),
    CONFIG_REQUIRED(layers, "num_hidden_layers"),
    CONFIG_ROW(dense_layers, "first_k_dense_replace"),
    CONFIG_ROW(normalise, "norm_topk_prob"),
    CONFIG_ROW(routed_scaling, "routed_scaling_factor"),
};
// clang-format on

// The node of a key, or DOC_NONE when absent or null.
static doc_node config_get(const struct config_reading *config, const char *key)
{
    const doc_node node = doc_get(config->doc, config->map, key);
    return node != DOC_NONE && doc_is_null(config->doc, node) ? DOC_NONE : node;
}

// Text of a scalar key, or "".
static const char *config_text(const struct config_reading *config, const char *key)
{
    const doc_node node = config_get(config, key);
    if (node == DOC_NONE || doc_kind(config->doc, node) != DOC_SCALAR)
        return "";
    return doc_text(config->doc, node);
}

// Takes the value of a field from a node of the configuration.
static bool config_take(struct config_reading *config, const char *field, const char *key,
                        doc_node node)
{
    const size_t row = config_field(field);
    if (doc_kind(config->doc, node) != DOC_SCALAR)
        return doc_error(config->doc, node, config->err, "%s: expected one value", key);
    struct field called = moe_fields[row];
    called.key = key;
    if (!doc_field(config->doc, node, &called, config->moe, config->err))
        return false;
    config->reading->seen[row] = true;
    config->key[row] = key;
    config->node[row] = node;
    if (config->reading->provenance)
        config->reading->provenance[row].source = mem_format("%s: %s", doc_name(config->doc), key);
    return true;
}

// "a", "a or b", "a, b or c".
static void list_keys(const struct config_row *row, char *text, size_t bytes)
{
    size_t length = 0;
    for (size_t i = 0; row->keys[i] && length < bytes; i++) {
        const char *glue = i == 0 ? "" : row->keys[i + 1] ? ", " : " or ";
        length += (size_t)snprintf(text + length, bytes - length, "%s%s", glue, row->keys[i]);
    }
}

static bool config_row_read(struct config_reading *config, const struct config_row *row)
{
    for (size_t i = 0; row->keys[i]; i++) {
        const doc_node node = config_get(config, row->keys[i]);
        if (node == DOC_NONE)
            continue;
        if (row->zero_is_absent && strcmp(config_text(config, row->keys[i]), "0") == 0)
            continue;
        return config_take(config, row->field, row->keys[i], node);
    }
    char keys[256];
    list_keys(row, keys, sizeof keys);
    if (row == &config_rows[0])
        return doc_error(config->doc, config->map, config->err, "not an MoE model: none of %s",
                         keys);
    return !row->required || doc_error(config->doc, config->map, config->err,
                                       "%s: missing; expected %s", row->keys[0], keys);
}

// Families whose router takes sigmoids though their configuration may not say so.
static bool scores_by_sigmoid(const struct config_reading *config)
{
    static const char *const types[] = {"deepseek_v3", "kimi_k2", "glm4_moe", "minimax_m2"};
    const char *type = config_text(config, "model_type");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return strcmp(config_text(config, "topk_method"), "noaux_tc") == 0;
}

static void config_score(struct config_reading *config)
{
    const char *text = config_text(config, "scoring_func");
    char quoted[ERROR_QUOTE_BYTES];
    if (strcmp(text, "sigmoid") == 0 || (*text == '\0' && scores_by_sigmoid(config)))
        config->moe->score = SCORE_SIGMOID;
    else if (*text && strcmp(text, "softmax") != 0)
        notice("%s: scoring_func '%s' is unknown; weights are made by softmax",
               doc_name(config->doc), error_quote(text, quoted));
}

// A scalar's text in a map, or "".
static const char *text_in(const struct doc *doc, doc_node map, const char *key)
{
    const doc_node node =
        map != DOC_NONE && doc_kind(doc, map) == DOC_MAP ? doc_get(doc, map, key) : DOC_NONE;
    return node != DOC_NONE && doc_kind(doc, node) == DOC_SCALAR ? doc_text(doc, node) : "";
}

// The weights of the first group of compressed tensors.
static doc_node first_weights(const struct doc *doc, doc_node quantization)
{
    const doc_node groups = doc_get(doc, quantization, "config_groups");
    if (groups == DOC_NONE || doc_kind(doc, groups) != DOC_MAP || doc_size(doc, groups) == 0)
        return DOC_NONE;
    const doc_node group = doc_value(doc, groups, 0);
    return doc_kind(doc, group) == DOC_MAP ? doc_get(doc, group, "weights") : DOC_NONE;
}

static struct quantisation read_quantisation(const struct doc *doc, doc_node map)
{
    static const char *const bit_keys[] = {"bits", "w_bit", "weight_bits"};
    const doc_node weights = first_weights(doc, map);
    const char *algo = text_in(doc, map, "quant_algo");
    struct quantisation quantisation = {
        .method = text_in(doc, map, "quant_method"),
        .algo = *algo ? algo : text_in(doc, map, "format"),
        .type = text_in(doc, weights, "type"),
        .bits = (uint32_t)strtoul(text_in(doc, weights, "num_bits"), NULL, 10),
        .group_size = (uint32_t)strtoul(text_in(doc, weights, "group_size"), NULL, 10)};
    for (size_t i = 0; i < sizeof bit_keys / sizeof bit_keys[0] && !quantisation.bits; i++)
        quantisation.bits = (uint32_t)strtoul(text_in(doc, map, bit_keys[i]), NULL, 10);
    if (!quantisation.bits)
        quantisation.bits = !strcmp(text_in(doc, map, "load_in_4bit"), "true")   ? 4
                            : !strcmp(text_in(doc, map, "load_in_8bit"), "true") ? 8
                                                                                 : 0;
    return quantisation;
}

static void config_dtypes(struct config_reading *config)
{
    const struct doc *doc = config->doc;
    char quoted[ERROR_QUOTE_BYTES];
    doc_node map = config_get(config, "quantization_config");
    if (map == DOC_NONE) // beside a nested text_config
        map = doc_get(doc, doc_root(doc), "quantization_config");
    if (map == DOC_NONE || doc_kind(doc, map) != DOC_MAP)
        return;
    const struct quantisation quantisation = read_quantisation(doc, map);
    if (!dtype_of_quantisation(&quantisation, &config->moe->weight_dtype))
        notice("%s: quantization_config: quant_method '%s' is unknown; experts are taken as %s",
               doc_name(doc), error_quote(quantisation.method, quoted),
               dtype_names[config->moe->weight_dtype]);
}

// Named by the folder that holds the config.json, else by the kind of model.
static void config_name(struct config_reading *config)
{
    const char *path = doc_name(config->doc);
    const char *slash = strrchr(path, '/');
    const char *start = slash;
    while (start && start > path && start[-1] != '/')
        start--;
    const bool folder =
        slash && slash > start && *start != '.' && strcmp(slash, "/config.json") == 0;
    const char *type = config_text(config, "model_type");
    if (folder)
        snprintf(config->moe->name, FIELD_TEXT_BYTES, "%.*s", (int)(slash - start), start);
    else if (*type && strcmp(slash ? slash + 1 : path, "config.json") == 0)
        snprintf(config->moe->name, FIELD_TEXT_BYTES, "%s", type);
}

// The model counts all its layers; an MoE layer is one after the leading dense ones.
static bool config_layers(struct config_reading *config)
{
    struct moe *moe = config->moe;
    if (moe->dense_layers >= moe->layers)
        return doc_error(config->doc, config->node[config_field("dense_layers")], config->err,
                         "first_k_dense_replace: %u: expected fewer than the %u layers",
                         moe->dense_layers, moe->layers);
    moe->layers -= moe->dense_layers;
    return true;
}

bool model_config_read(struct object_reading *reading)
{
    struct config_reading config = {.reading = reading,
                                    .doc = reading->doc,
                                    .map = reading->root,
                                    .moe = reading->object,
                                    .err = reading->err};
    const doc_node text = doc_get(config.doc, config.map, "text_config");
    if (text != DOC_NONE && doc_kind(config.doc, text) == DOC_MAP)
        config.map = text;
    for (size_t i = 0; i < sizeof config_rows / sizeof config_rows[0]; i++)
        if (!config_row_read(&config, &config_rows[i]))
            return false;
    if (!config_layers(&config))
        return false;
    config_score(&config);
    config_dtypes(&config);
    config_name(&config);
    if (config_seen(&config, "shared_intermediate") && !config_seen(&config, "shared_experts"))
        config.moe->shared_experts = 1;
    return config_finish(&config);
}

// Published configurations name their architecture; epsim's own files have none of these keys.
bool model_config_is(const struct doc *doc, doc_node root)
{
    static const char *const marks[] = {"hidden_size", "text_config", "model_type",
                                        "num_hidden_layers", "architectures"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (doc_get(doc, root, marks[i]) != DOC_NONE)
            return true;
    return false;
}
