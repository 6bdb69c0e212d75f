#include "model/formats/config_layers.h"

#include <stdlib.h>
#include <string.h>

static const char *const count_keys[] = {"num_hidden_layers", "n_layers", "n_layer", "num_layers",
                                         NULL};

struct layers_reading {
    struct config_reading *config;
    uint32_t count; // of all; 0: not said
    struct layer_set set;
    char keys[160]; // that say so
    struct config_place first;
};

// ---- lists of all layers ------------------------------------------------------------------------

static bool any_text(const char *text)
{
    return *text != '\0';
}

static bool is_moe_word(const char *text)
{
    return !strcmp(text, "moe") || !strcmp(text, "E");
}

static bool is_not_dense(const char *text)
{
    return any_text(text) && strcmp(text, "dense");
}

static bool is_not_zero(const char *text)
{
    return any_text(text) && strcmp(text, "0") && strcmp(text, "false") && strcmp(text, "null");
}

// Lists with an item a layer. only_with_moe: of other things, unless one of them is an MoE layer.
static const struct list_key {
    const char *key;
    bool (*is_moe)(const char *text);
    bool only_with_moe;
} list_keys[] = {
    {"mlp_layer_types", is_not_dense, false}, {"layers_block_type", is_moe_word, true},
    {"hybrid_override_pattern", NULL, false}, {"moe_layer_freq", is_not_zero, false},
    {"layer_types", is_moe_word, true},       {"moe_layer_pattern", is_not_zero, false},
    {"mlp_types", is_not_dense, false},       {"moe_layer_layout", is_not_zero, false},
};
#define LIST_KEYS (sizeof list_keys / sizeof list_keys[0])

static bool item_is_moe(const struct doc *doc, doc_node list, size_t index,
                        const struct list_key *key)
{
    const doc_node item = doc_item(doc, list, index);
    return doc_kind(doc, item) == DOC_SCALAR && key->is_moe(doc_text(doc, item));
}

// Layers by a list, or by a word with a letter a layer, or by a list as Python's text; false: it
// says nothing.
static bool set_of_list(const struct doc *doc, doc_node node, const struct list_key *key,
                        struct layer_set *set, size_t *count)
{
    if (doc_kind(doc, node) == DOC_SCALAR && key->is_moe == is_not_zero)
        return layer_set_parse_pattern(doc_text(doc, node), set, count);
    const bool word = doc_kind(doc, node) == DOC_SCALAR && !key->is_moe;
    if (!word && (doc_kind(doc, node) != DOC_LIST || !key->is_moe))
        return false;
    *set = (struct layer_set){{0}};
    *count = word ? strlen(doc_text(doc, node)) : doc_size(doc, node);
    for (size_t l = 0; l < *count && l < MODEL_MAX_LAYERS; l++)
        if (word ? doc_text(doc, node)[l] == 'E' : item_is_moe(doc, node, l, key))
            layer_set_add(set, (uint32_t)l);
    return *count > 0 && (!key->only_with_moe || layer_set_count(set) > 0);
}

static bool check_length(const struct layers_reading *layers, const char *key, doc_node node,
                         size_t count)
{
    return count == layers->count ||
           doc_error(layers->config->doc, node, layers->config->err,
                     "%s: %zu layers: expected one value for each of the %u layers", key, count,
                     layers->count);
}

// ---- lists of MoE layers ------------------------------------------------------------------------

static bool add_layer(struct layers_reading *layers, const char *key, doc_node node,
                      struct layer_set *set)
{
    int64_t layer;
    if (!config_number(layers->config, key, node, &layer))
        return false;
    if (layer < 0 || layer >= layers->count)
        return doc_error(layers->config->doc, node, layers->config->err,
                         "%s: layer %lld: expected one of the %u layers", key, (long long)layer,
                         layers->count);
    layer_set_add(set, (uint32_t)layer);
    return true;
}

// A list of layers, or one as text: "3,4,5".
static bool read_layer_list(struct layers_reading *layers, const char *key, doc_node node,
                            struct layer_set *set)
{
    const struct doc *doc = layers->config->doc;
    if (doc_kind(doc, node) == DOC_SCALAR) {
        char list[FIELD_TEXT_BYTES * 16];
        size_t length = 0;
        for (const char *c = doc_text(doc, node); *c && length + 1 < sizeof list; c++)
            if (*c != ' ')
                list[length++] = *c;
        list[length] = '\0';
        return layer_set_parse(list, set, layers->config->err)
                   ? true
                   : error_prefix(layers->config->err, "%s:%zu: %s", doc_name(doc),
                                  doc_line(doc, node), key);
    }
    if (doc_kind(doc, node) != DOC_LIST)
        return doc_error(doc, node, layers->config->err, "%s: expected a list of layers", key);
    for (size_t i = 0; i < doc_size(doc, node); i++)
        if (!add_layer(layers, key, doc_item(doc, node, i), set))
            return false;
    return true;
}

// ---- rules --------------------------------------------------------------------------------------

// What a rule says of a layer, from the number beside its key.
static bool from_layer(uint32_t layer, int64_t k)
{
    return layer >= k;
}

static bool until(uint32_t layer, int64_t k)
{
    return k < 0 || layer <= k;
}

static bool each_from_first(uint32_t layer, int64_t k)
{
    return k > 0 && layer % k == 0;
}

static bool each_to_last(uint32_t layer, int64_t k)
{
    return k > 0 && (layer + 1) % k == 0;
}

static const struct rule_key {
    const char *key;
    bool (*holds)(uint32_t layer, int64_t k);
} rule_keys[] = {
    {"first_k_dense_replace", from_layer},
    {"moe.first_k_dense_replace", from_layer},
    {"num_dense_layers", from_layer},
    {"n_dense_layers", from_layer},
    {"num_first_dense_layers", from_layer},
    {"n_dense_first_layers", from_layer},
    {"num_leading_dense_layers", from_layer},
    {"moe_layer_num_skipped", from_layer},
    {"moe_layer_start_index", from_layer},
    {"moe_layer_end_index", until},
    {"moe_layer_interval", each_to_last},
    {"moe_layer_freq", each_from_first},
    {"moe.route_every_n", each_from_first},
    {"moe_layer_frequency", each_to_last},
    {"interleave_moe_layer_step", each_to_last},
    {"decoder_sparse_step", each_to_last},
};
#define RULE_KEYS (sizeof rule_keys / sizeof rule_keys[0])

static void note_key(struct layers_reading *layers, const char *key, doc_node node)
{
    const size_t length = strlen(layers->keys);
    snprintf(layers->keys + length, sizeof layers->keys - length, "%s%s", length ? ", " : "", key);
    if (!layers->first.key)
        layers->first = (struct config_place){key, node};
    config_took(layers->config, node);
}

static void keep_where(struct layers_reading *layers, bool (*holds)(uint32_t, int64_t), int64_t k)
{
    struct layer_set kept = {{0}};
    for (uint32_t l = 0; l < layers->count; l++)
        if (layer_set_has(&layers->set, l) && holds(l, k))
            layer_set_add(&kept, l);
    layers->set = kept;
}

// The one number of a rule; of a list (a value for text, one for images) the first.
static bool rule_number(const struct layers_reading *layers, const char *key, doc_node node,
                        int64_t *k)
{
    const struct doc *doc = layers->config->doc;
    const bool list = doc_kind(doc, node) == DOC_LIST && doc_size(doc, node) > 0;
    return config_number(layers->config, key, list ? doc_item(doc, node, 0) : node, k);
}

static bool apply_rule(struct layers_reading *layers, const struct rule_key *rule)
{
    struct config_reading *config = layers->config;
    const doc_node node = config_get(config, rule->key);
    int64_t k;
    if (node == DOC_NONE || config_was_taken(config, node))
        return true;
    if (!rule_number(layers, rule->key, node, &k))
        return false;
    if (rule->holds == from_layer && k >= layers->count)
        return doc_error(config->doc, node, config->err,
                         "%s: %lld: expected fewer than the %u layers", rule->key, (long long)k,
                         layers->count);
    keep_where(layers, rule->holds, k);
    note_key(layers, rule->key, node);
    return true;
}

// Jamba's: of every `period` layers the one at `offset`.
static bool apply_period(struct layers_reading *layers)
{
    struct config_reading *config = layers->config;
    const doc_node period = config_get(config, "expert_layer_period");
    const doc_node offset = config_get(config, "expert_layer_offset");
    int64_t step, first = 0;
    if (period == DOC_NONE)
        return true;
    if (!config_number(config, "expert_layer_period", period, &step) ||
        (offset != DOC_NONE && !config_number(config, "expert_layer_offset", offset, &first)))
        return false;
    struct layer_set kept = {{0}};
    for (uint32_t l = 0; l < layers->count; l++)
        if (step > 0 && l % step == first && layer_set_has(&layers->set, l))
            layer_set_add(&kept, l);
    layers->set = kept;
    note_key(layers, "expert_layer_period", period);
    config_took(config, offset);
    return true;
}

static bool drop_dense_list(struct layers_reading *layers)
{
    const doc_node node = config_get(layers->config, "mlp_only_layers");
    struct layer_set dense = {{0}}, kept = {{0}};
    config_took(layers->config, node);
    if (node == DOC_NONE || (doc_kind(layers->config->doc, node) == DOC_LIST &&
                             doc_size(layers->config->doc, node) == 0))
        return true;
    if (!read_layer_list(layers, "mlp_only_layers", node, &dense))
        return false;
    for (uint32_t l = 0; l < layers->count; l++)
        if (layer_set_has(&layers->set, l) && !layer_set_has(&dense, l))
            layer_set_add(&kept, l);
    layers->set = kept;
    note_key(layers, "mlp_only_layers", node);
    return true;
}

static bool apply_rules(struct layers_reading *layers)
{
    layers->set = (struct layer_set){{0}};
    for (uint32_t l = 0; l < layers->count; l++)
        layer_set_add(&layers->set, l);
    for (size_t i = 0; i < RULE_KEYS; i++)
        if (!apply_rule(layers, &rule_keys[i]))
            return false;
    return apply_period(layers) && drop_dense_list(layers);
}

// ---- lists against rules ------------------------------------------------------------------------

// A list that contradicts what was found before gives way to it, and that is said.
static void compare_list(struct layers_reading *layers, const struct layer_set *set,
                         struct config_place place)
{
    char own[FIELD_TEXT_BYTES] = "", other[FIELD_TEXT_BYTES] = "";
    if (!memcmp(set, &layers->set, sizeof *set))
        return;
    layer_set_format(&layers->set, own, sizeof own);
    layer_set_format(set, other, sizeof other);
    notice("%s:%zu: %s: MoE layers %s, where %s says %s: those of %s are taken",
           doc_name(layers->config->doc), doc_line(layers->config->doc, place.node), place.key,
           other, layers->keys, own, layers->keys);
}

// What rules say, beside a list that was found first.
static bool compare_rules(struct layers_reading *layers)
{
    struct layers_reading rules = {.config = layers->config, .count = layers->count};
    if (!apply_rules(&rules))
        return false;
    if (layer_set_count(&rules.set) <
        rules.count) // a rule that leaves none out contradicts nothing
        compare_list(layers, &rules.set, rules.first);
    return true;
}

static bool take_list(struct layers_reading *layers, const struct list_key *key)
{
    struct layer_set set;
    size_t count;
    const doc_node node = config_get(layers->config, key->key);
    if (node == DOC_NONE || !set_of_list(layers->config->doc, node, key, &set, &count))
        return true;
    if (!check_length(layers, key->key, node, count))
        return false;
    config_took(layers->config, node);
    if (layers->first.key) {
        compare_list(layers, &set, (struct config_place){key->key, node});
        return true;
    }
    layers->set = set;
    note_key(layers, key->key, node);
    return true;
}

static bool take_layer_list(struct layers_reading *layers, const char *key)
{
    const doc_node node = config_get(layers->config, key);
    struct layer_set set = {{0}};
    if (node == DOC_NONE || config_was_taken(layers->config, node) ||
        (doc_kind(layers->config->doc, node) == DOC_LIST && !doc_size(layers->config->doc, node)))
        return true;
    if (!read_layer_list(layers, key, node, &set))
        return false;
    config_took(layers->config, node);
    if (layers->first.key) {
        compare_list(layers, &set, (struct config_place){key, node});
        return true;
    }
    layers->set = set;
    note_key(layers, key, node);
    return true;
}

// An expert count a layer, 0 of those that are dense.
static bool take_expert_counts(struct layers_reading *layers, const char *experts_key)
{
    static const struct list_key counts = {"experts", is_not_zero, false};
    const doc_node node = config_get(layers->config, experts_key);
    struct layer_set set;
    size_t count;
    if (layers->first.key || node == DOC_NONE ||
        !set_of_list(layers->config->doc, node, &counts, &set, &count) || count != layers->count ||
        layer_set_count(&set) == count)
        return true;
    layers->set = set;
    note_key(layers, experts_key, node);
    return true;
}

// ---- counting -----------------------------------------------------------------------------------

// Other counts than that of the first key, which is taken.
static void compare_counts(const struct layers_reading *layers, size_t first)
{
    struct config_reading *config = layers->config;
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t i = first + 1; count_keys[i]; i++) {
        const char *text = config_text(config, count_keys[i]);
        if (*text && strtoul(text, NULL, 10) != layers->count)
            notice("%s:%zu: %s: %s, but %s says %u, which is taken", doc_name(config->doc),
                   doc_line(config->doc, config_get(config, count_keys[i])), count_keys[i],
                   error_quote(text, quoted), count_keys[first], layers->count);
    }
}

// As many layers as said, or as the first list of all layers has items.
static bool count_layers(struct layers_reading *layers)
{
    struct config_reading *config = layers->config;
    struct layer_set set;
    int64_t number = 0;
    size_t items = 0;
    for (size_t i = 0; count_keys[i] && !layers->count; i++) {
        const doc_node node = config_get(config, count_keys[i]);
        if (node == DOC_NONE)
            continue;
        if (!config_number(config, count_keys[i], node, &number))
            return false;
        if (number < 1 || number > MODEL_MAX_LAYERS)
            return doc_error(config->doc, node, config->err, "%s: %lld: expected 1 to %d layers",
                             count_keys[i], (long long)number, MODEL_MAX_LAYERS);
        layers->count = (uint32_t)number;
        config_took(config, node);
        compare_counts(layers, i);
    }
    for (size_t i = 0; i < LIST_KEYS && !layers->count; i++) {
        const doc_node node = config_get(config, list_keys[i].key);
        if (node != DOC_NONE && set_of_list(config->doc, node, &list_keys[i], &set, &items) &&
            items <= MODEL_MAX_LAYERS)
            layers->count = (uint32_t)items;
    }
    return layers->count || doc_error(config->doc, config->map, config->err,
                                      "num_hidden_layers: missing; expected num_hidden_layers, "
                                      "n_layers, num_layers or a list of layers");
}

static bool store_layers(struct layers_reading *layers)
{
    struct config_reading *config = layers->config;
    struct moe *moe = config->moe;
    const uint32_t count = layer_set_count(&layers->set);
    const doc_node node = layers->first.key ? layers->first.node : config->map;
    if (!count)
        return doc_error(config->doc, node, config->err,
                         "%s: none of the %u layers is an MoE layer: expected some",
                         layers->keys[0] ? layers->keys : "num_hidden_layers", layers->count);
    moe->layer_set = layers->set;
    moe->layers = count;
    moe->dense_layers = layers->count - count;
    if (!layer_set_format(&layers->set, moe->moe_layers, sizeof moe->moe_layers))
        return doc_error(config->doc, node, config->err,
                         "%s: MoE layers in too many pieces to be written down", layers->keys);
    struct config_place place = layers->first;
    if (!place.key)
        place = (struct config_place){"num_hidden_layers", node};
    else
        place.key = layers->keys;
    config_say(config, "layers", place);
    config_say(config, "dense_layers", place);
    config_say(config, "moe_layers", place);
    config->place[config_row("layers")].key = config->place[config_row("dense_layers")].key =
        config->place[config_row("moe_layers")].key = "num_hidden_layers";
    return true;
}

bool config_layers(struct config_reading *config, const char *experts_key)
{
    static const char *const layer_lists[] = {"moe_layers", "moe_layers_enum", "moe_layer_indices"};
    struct layers_reading layers = {.config = config};
    if (!count_layers(&layers))
        return false;
    for (size_t i = 0; i < LIST_KEYS; i++)
        if (!take_list(&layers, &list_keys[i]))
            return false;
    for (size_t i = 0; i < sizeof layer_lists / sizeof layer_lists[0]; i++)
        if (!take_layer_list(&layers, layer_lists[i]))
            return false;
    if (!take_expert_counts(&layers, experts_key))
        return false;
    if (!(layers.first.key ? compare_rules(&layers) : apply_rules(&layers)))
        return false;
    return store_layers(&layers);
}
