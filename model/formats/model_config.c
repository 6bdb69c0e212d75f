#include "model/formats/model_config.h"

#include "base/mem.h"
#include "base/preset.h"
#include "model/formats/config_family.h"
#include "model/formats/config_layers.h"
#include "model/formats/confess.h"
#include "model/formats/quantisation.h"

#include <stdlib.h>
#include <string.h>

// ---- keys ---------------------------------------------------------------------------------------

#define ROW_KEYS 14

// The keys of published configurations, the first present taken. Mixtral, gpt-oss and OLMoE call an
// expert's width intermediate_size, which elsewhere is the width of dense layers: it comes last,
// and those from `others` on contradict nothing.
struct config_row {
    const char *field;
    bool required, zero_is_absent;
    size_t others;
    const char *keys[ROW_KEYS];
};
// clang-format off
static const struct config_row experts_row = {"experts", true, true, ROW_KEYS,
    {"n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts", "num_moe_experts",
     "moe_num_primary_experts", "ffn_config.moe_num_experts", "moe.num_experts", "num_routed_experts"}};
static const struct config_row config_rows[] = {
    {"hidden", true, false, ROW_KEYS, {"hidden_size", "d_model", "dim", "n_embd"}},
    {"latent", false, true, ROW_KEYS, {"moe_latent_size", "routed_expert_hidden_size"}},
    {"topk", true, true, ROW_KEYS,
     {"num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_top_k",
      "top_k_experts", "experts_top_k", "moe_router_topk", "moe_k", "n_activated_experts",
      "ffn_config.moe_top_k", "moe.num_experts_per_tok", "num_activated_experts",
      "moe_num_active_primary_experts"}},
    {"groups", false, true, ROW_KEYS,
     {"n_group", "num_expert_group", "num_expert_groups", "n_expert_groups",
      "moe.num_expert_groups", "moe_router_num_groups"}},
    {"topk_groups", false, true, ROW_KEYS,
     {"topk_group", "num_limited_groups", "n_limited_groups", "moe.num_expert_groups_per_tok",
      "moe_router_group_topk"}},
    {"shared_experts", false, false, ROW_KEYS,
     {"n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts",
      "moe.num_shared_experts"}},
    {"intermediate", true, true, 6,
     {"moe_intermediate_size", "expert_ffn_hidden_size", "moe_inter_dim", "moe_ffn_hidden_size",
      "expert_intermediate_size", "ffn_config.ffn_hidden_size", "moe.expert_hidden_dim",
      "intermediate_size", "hidden_dim", "ffn_hidden_size"}},
    {"shared_intermediate", false, true, ROW_KEYS,
     {"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size",
      "shared_intermediate_size", "share_expert_dim", "shared_expert_ffn_hidden_size"}},
    {"normalise", false, false, ROW_KEYS,
     {"norm_topk_prob", "moe_renormalize", "route_norm", "norm_expert_weight",
      "ffn_config.moe_normalize_expert_weights", "moe_norm_topk_prob"}},
    {"routed_scaling", false, true, ROW_KEYS,
     {"routed_scaling_factor", "route_scale", "moe_router_scaling_factor",
      "moe_routed_scaling_factor", "moe.routed_scale", "router_scaling_factor",
      "moe_router_topk_scaling_factor"}},
};
// clang-format on
#define CONFIG_ROWS (sizeof config_rows / sizeof config_rows[0])

// The value of a key that says something: not null, nor 0 where that is as good as nothing.
static doc_node row_node(struct config_reading *config, const struct config_row *row, size_t key)
{
    const doc_node node = config_get(config, row->keys[key]);
    const bool zero = row->zero_is_absent && node != DOC_NONE &&
                      doc_kind(config->doc, node) == DOC_SCALAR &&
                      !strcmp(doc_text(config->doc, node), "0");
    if (zero)
        config_took(config, node);
    return zero ? DOC_NONE : node;
}

static size_t row_first(struct config_reading *config, const struct config_row *row)
{
    size_t key = 0;
    while (key < ROW_KEYS && row->keys[key] && row_node(config, row, key) == DOC_NONE)
        key++;
    return key < ROW_KEYS && row->keys[key] ? key : ROW_KEYS;
}

#define KEYS_NAMED 4 // in a message

// "a", "a or b", "a, b, c, d or the like".
static void list_keys(const struct config_row *row, char *text, size_t bytes)
{
    size_t length = 0, count = 0;
    while (count < ROW_KEYS && row->keys[count])
        count++;
    for (size_t i = 0; i < count && i < KEYS_NAMED && length < bytes; i++) {
        const char *glue = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        length += (size_t)snprintf(text + length, bytes - length, "%s%s", glue, row->keys[i]);
    }
    if (count > KEYS_NAMED && length < bytes)
        snprintf(text + length, bytes - length, " or the like");
}

static bool refuse_missing(const struct config_reading *config, const struct config_row *row)
{
    char keys[256];
    list_keys(row, keys, sizeof keys);
    if (row == &experts_row)
        return doc_error(config->doc, config->map, config->err, "not an MoE model: none of %s",
                         keys);
    for (size_t i = 0; i < ROW_KEYS && row->keys[i]; i++)
        if (config_get(config, row->keys[i]) != DOC_NONE)
            return doc_error(config->doc, config_get(config, row->keys[i]), config->err,
                             "%s: 0: expected at least 1", row->keys[i]);
    return doc_error(config->doc, config->map, config->err, "%s: missing; expected %s",
                     row->keys[0], keys);
}

// ---- a value a layer ----------------------------------------------------------------------------

// Of ERNIE's lists with a value for text and one for images, that for text.
static doc_node value_for_text(const struct config_reading *config, const char *key, doc_node list)
{
    const struct doc *doc = config->doc;
    if (doc_size(doc, list) != 2 || !config_is_family(config, "ernie4_5"))
        return DOC_NONE;
    notice("%s:%zu: %s: that of text is taken, and images' left out", doc_name(doc),
           doc_line(doc, list), key);
    return doc_item(doc, list, 0);
}

// The one value of a list in all MoE layers; DOC_NONE: refused.
static doc_node value_of_list(const struct config_reading *config, const char *key, doc_node list)
{
    const struct doc *doc = config->doc;
    const struct moe *moe = config->moe;
    const size_t size = doc_size(doc, list);
    const bool by_layer = size == moe_model_layers(moe);
    doc_node value = DOC_NONE;
    for (size_t i = 0; i < size; i++) {
        const doc_node item = doc_item(doc, list, i);
        if (by_layer && moe_layer_of(moe, (uint32_t)i) == MOE_NOT_AN_MOE_LAYER)
            continue;
        if (doc_kind(doc, item) != DOC_SCALAR)
            return doc_error(doc, item, config->err, "%s: expected one value", key), DOC_NONE;
        if (value == DOC_NONE)
            value = item;
        if (strcmp(doc_text(doc, value), doc_text(doc, item))) {
            const doc_node of_text = value_for_text(config, key, list);
            char a[ERROR_QUOTE_BYTES], b[ERROR_QUOTE_BYTES];
            if (of_text == DOC_NONE)
                doc_error(doc, item, config->err,
                          "%s: '%s' and '%s': expected the same in all %u MoE layers", key,
                          error_quote(doc_text(doc, value), a), error_quote(doc_text(doc, item), b),
                          moe->layers);
            return of_text;
        }
    }
    if (value == DOC_NONE)
        doc_error(doc, list, config->err, "%s: an empty list: expected one value", key);
    return value;
}

// ---- rows ---------------------------------------------------------------------------------------

// Keys behind the first that say the same thing otherwise.
static void compare_others(struct config_reading *config, const struct config_row *row,
                           size_t first, doc_node value)
{
    const struct doc *doc = config->doc;
    char a[ERROR_QUOTE_BYTES], b[ERROR_QUOTE_BYTES];
    for (size_t i = first + 1; i < ROW_KEYS && row->keys[i] && i < row->others; i++) {
        const doc_node other = row_node(config, row, i);
        config_took(config, other);
        if (other != DOC_NONE && doc_kind(doc, other) == DOC_SCALAR &&
            strcmp(doc_text(doc, other), doc_text(doc, value)))
            notice("%s:%zu: %s: %s, but %s says %s, which is taken", doc_name(doc),
                   doc_line(doc, other), row->keys[i], error_quote(doc_text(doc, other), a),
                   row->keys[first], error_quote(doc_text(doc, value), b));
    }
}

// DBRX has the power of a norm where others have a switch: any is a normalisation.
static bool take_switch(struct config_reading *config, const char *key, doc_node value)
{
    char *end;
    const char *text = doc_text(config->doc, value);
    const double number = strtod(text, &end);
    if (*text == '\0' || *end)
        return config_take(config, "normalise", key, value);
    config->moe->normalise = number < 0 || number > 0;
    config_say(config, "normalise", (struct config_place){key, value});
    return true;
}

static bool read_config_row(struct config_reading *config, const struct config_row *row)
{
    const size_t first = row_first(config, row);
    if (first == ROW_KEYS)
        return !row->required || refuse_missing(config, row);
    const char *key = row->keys[first];
    const doc_node node = config_get(config, key);
    const bool list = doc_kind(config->doc, node) == DOC_LIST;
    const doc_node value = list ? value_of_list(config, key, node) : node;
    config_took(config, node);
    if (value == DOC_NONE)
        return false;
    if (doc_kind(config->doc, value) != DOC_SCALAR)
        return doc_error(config->doc, value, config->err, "%s: expected one value", key);
    compare_others(config, row, first, value);
    return !strcmp(row->field, "normalise") ? take_switch(config, key, value)
                                            : config_take(config, row->field, key, value);
}

// ---- names --------------------------------------------------------------------------------------

// The part of a path before `end`, up to the slash before it; its length 0: there is none.
static const char *part_before(const char *path, const char *end, int *length)
{
    const char *start = end;
    while (start > path && start[-1] != '/')
        start--;
    *length = (int)(end - start);
    return start;
}

// Named by the folder that holds the file, by the repository of a hub's snapshot
// (models--ORGANISATION--NAME/snapshots/HASH), else by the kind of model.
static void read_name(struct config_reading *config)
{
    const char *path = doc_name(config->doc), *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path, *type = config_text(config, "model_type");
    const char *snapshots = strstr(path, "/snapshots/");
    char *name = config->moe->name;
    int length = 0;
    if (strcmp(file, "config.json") && strcmp(file, "params.json"))
        return;
    const char *folder = slash ? part_before(path, snapshots ? snapshots : slash, &length) : "";
    if (length > 0 && folder[0] != '.') {
        snprintf(name, FIELD_TEXT_BYTES, "%.*s", length, folder);
        const char *last = strstr(name, "models--") == name ? strstr(name + 8, "--") : NULL;
        if (last)
            memmove(name, last + 2, strlen(last + 2) + 1);
    } else if (*type)
        snprintf(name, FIELD_TEXT_BYTES, "%s", type);
}

// ---- all ----------------------------------------------------------------------------------------

static bool has_experts(struct config_reading *config, doc_node map)
{
    const doc_node before = config->map;
    config->map = map;
    const bool has = row_first(config, &experts_row) < ROW_KEYS;
    config->map = before;
    return has;
}

// The first part that has experts, of models that see and hear too.
static void find_language_model(struct config_reading *config)
{
    static const char *const nests[] = {"text_config", "llm_config",     "language_config",
                                        "lm_config",   "thinker_config", "language_model"};
    const struct doc *doc = config->doc;
    const doc_node root = config->root;
    for (size_t i = 0; i < sizeof nests / sizeof nests[0]; i++) {
        const doc_node nest = config_map_in(doc, root, nests[i]);
        const doc_node inner = config_map_in(doc, nest, "text_config");
        config->root = config->map = inner == DOC_NONE ? nest : inner;
        const bool found = nest != DOC_NONE && has_experts(config, config->map);
        config->root = root;
        if (found)
            return;
    }
    config->map = root;
}

// What cannot be is blamed on the key that the document has for it.
static bool finish(struct config_reading *config)
{
    moe_settle_object(config->reading);
    const char *key = moe_fault(config->moe, config->err);
    if (!key)
        return true;
    const struct config_place *place = &config->place[config_row(key)];
    if (!place->key || place->node == DOC_NONE)
        return preset_blame(config->doc, key, config->err);
    return error_prefix(config->err, "%s:%zu: %s", doc_name(config->doc),
                        doc_line(config->doc, place->node), place->key);
}

// Of a model that was published in INT4 alone (groups of 32), a configuration that says nothing of
// it has lost it more likely than it is of weights made wider.
static void read_published(struct config_reading *config)
{
    const char *type = config_text_in(config->doc, config->root, "model_type");
    if (config_said(config, "weight_dtype") || strcmp(type, "kimi_k25"))
        return;
    moe_set_weights(config->moe, DTYPE_INT4);
    config->moe->weight_group = 32;
    config_say(config, "weight_dtype", (struct config_place){"model_type", DOC_NONE});
    config_say(config, "weight_group", (struct config_place){"model_type", DOC_NONE});
    notice("%s: no quantization_config, but %s was published in int4, which is taken "
           "(:weight_dtype=bf16 behind the name says otherwise)",
           doc_name(config->doc), type);
}

// The inference code's own word for what its weights are in; that of transformers, which is of
// weights that are not quantised: of 16 bits, or it is said.
static void read_inference_dtype(struct config_reading *config)
{
    const char *key = *config_text(config, "dtype") ? "dtype" : "torch_dtype";
    const char *text = config_text(config, key);
    char quoted[ERROR_QUOTE_BYTES];
    if (config_said(config, "weight_dtype") || !*text || strstr(text, "16") ||
        !strcmp(text, "auto"))
        return;
    if (strcmp(key, "dtype") || strcmp(text, "fp8")) {
        notice("%s: %s: weights of '%s' are not known; they are taken as %s", doc_name(config->doc),
               key, error_quote(text, quoted), dtype_names[config->moe->weight_dtype]);
        return;
    }
    moe_set_weights(config->moe, DTYPE_FP8);
    config_say(config, "weight_dtype", (struct config_place){"dtype", config_get(config, "dtype")});
}

static bool read_experts(struct config_reading *config)
{
    const size_t first = row_first(config, &experts_row);
    if (first == ROW_KEYS || !strcmp(config_text(config, "enable_moe_block"), "false"))
        return refuse_missing(config, &experts_row);
    const doc_node both = config_get(config, "is_encoder_decoder");
    if (!strcmp(config_text(config, "is_encoder_decoder"), "true"))
        return doc_error(config->doc, both, config->err,
                         "is_encoder_decoder: true: expected a model of one stack of layers");
    config_took(config, config_get(config, "enable_moe_block"));
    return config_layers(config, experts_row.keys[first]) && read_config_row(config, &experts_row);
}

bool model_config_read(struct object_reading *reading)
{
    struct config_reading config = {.reading = reading,
                                    .doc = reading->doc,
                                    .root = reading->root,
                                    .moe = reading->object,
                                    .err = reading->err};
    find_language_model(&config);
    const unsigned traits = config_traits(&config);
    if (!read_experts(&config))
        return false;
    for (size_t i = 0; i < CONFIG_ROWS; i++)
        if (!read_config_row(&config, &config_rows[i]))
            return false;
    config_read_router(&config, traits);
    config_read_gate(&config);
    if (!config_settle_shared(&config, traits) ||
        !quantisation_read(&config, traits & CONFIG_OUTSIDE))
        return false;
    read_inference_dtype(&config);
    read_published(&config);
    read_name(&config);
    if (!finish(&config))
        return false;
    confess(&config);
    return true;
}

bool model_config_is(const struct doc *doc, doc_node root)
{
    static const char *const marks[] = {
        "hidden_size",         "text_config", "model_type", "num_hidden_layers",  "architectures",
        "llm_config",          "dim",         "n_layers",   "language_config",    "thinker_config",
        "n_activated_experts", "ffn_config",  "d_model",    "num_experts_per_tok"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (doc_get(doc, root, marks[i]) != DOC_NONE)
            return true;
    return false;
}
