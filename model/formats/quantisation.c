#include "model/formats/quantisation.h"

#include "base/mem.h"
#include "model/formats/module_match.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A configuration's quantisation being read: maybe of a file beside it.
struct quant_reading {
    struct config_reading *config;
    const struct doc *doc;
    doc_node map;
    struct module_kind routed, shared;
    struct quantisation found;
    bool known; // found says something
};

static void tell_pattern(const struct quant_reading *quant, const char *pattern)
{
    char quoted[ERROR_QUOTE_BYTES];
    notice("%s: pattern '%s' is not understood, and taken to mean no experts", doc_name(quant->doc),
           error_quote(pattern, quoted));
}

static void match(const struct quant_reading *quant, const char *pattern, struct module_kind kind,
                  struct layer_set *matched)
{
    if (!module_match(pattern, kind, &quant->config->moe->layer_set, matched))
        tell_pattern(quant, pattern);
}

// Adds the layers whose experts a list of patterns means.
static void match_list(const struct quant_reading *quant, doc_node list, struct module_kind kind,
                       struct layer_set *matched)
{
    const struct doc *doc = quant->doc;
    for (size_t i = 0; i < doc_size(doc, list); i++) {
        const doc_node item = doc_item(doc, list, i);
        if (doc_kind(doc, item) == DOC_SCALAR)
            match(quant, doc_text(doc, item), kind, matched);
    }
}

// ---- groups of compressed tensors ---------------------------------------------------------------

// Whether a group is about experts: by name, or by a class that they are of.
enum target { TARGET_NONE, TARGET_CLASS, TARGET_NAMED };

static enum target target_of(const struct quant_reading *quant, doc_node group)
{
    const struct doc *doc = quant->doc;
    const doc_node list = doc_get(doc, group, "targets");
    enum target best = TARGET_NONE;
    if (list == DOC_NONE || doc_kind(doc, list) != DOC_LIST || !doc_size(doc, list))
        return TARGET_CLASS;
    for (size_t i = 0; i < doc_size(doc, list); i++) {
        const doc_node item = doc_item(doc, list, i);
        struct layer_set matched = {{0}};
        if (doc_kind(doc, item) != DOC_SCALAR)
            continue;
        const char *text = doc_text(doc, item);
        match(quant, text, quant->routed, &matched);
        if (!layer_set_count(&matched))
            continue;
        const enum target target = strpbrk(text, ".:*") ? TARGET_NAMED : TARGET_CLASS;
        best = target > best ? target : best;
    }
    return best;
}

// Of several groups that which names experts, else the first of a class that they are of; none of
// them: the experts are not quantised.
static bool read_groups(struct quant_reading *quant)
{
    const struct doc *doc = quant->doc;
    const doc_node groups = config_map_in(doc, quant->map, "config_groups");
    enum target best = TARGET_NONE;
    if (groups == DOC_NONE || !doc_size(doc, groups))
        return false;
    quant->known = true;
    quant->found = (struct quantisation){.weights = DTYPE_BF16, .activations = DTYPE_BF16};
    for (size_t i = 0; i < doc_size(doc, groups); i++) {
        const doc_node group = doc_value(doc, groups, i);
        struct quantisation of_group;
        if (doc_kind(doc, group) != DOC_MAP)
            continue;
        const enum target target = target_of(quant, group);
        if (target > best) {
            best = target;
            quant->known = quantisation_of(doc, group, &of_group);
            if (quant->known)
                quant->found = of_group;
        }
    }
    return true;
}

// ---- layers with schemes of their own -----------------------------------------------------------

static bool same_scheme(const struct quantisation *a, const struct quantisation *b)
{
    return a->weights == b->weights && a->activations == b->activations && a->group == b->group;
}

// Maps from modules to schemes: the one of the first MoE layer is taken, those that differ from it
// are counted.
static void read_scheme_map(struct quant_reading *quant, doc_node map, struct layer_set *covered,
                            struct layer_set *others)
{
    const struct doc *doc = quant->doc;
    uint32_t first = UINT32_MAX;
    struct quantisation scheme, best = {0};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < doc_size(doc, map); i++) {
            const doc_node value = doc_value(doc, map, i);
            struct layer_set matched = {{0}};
            if (doc_kind(doc, value) != DOC_MAP || !quantisation_of(doc, value, &scheme))
                continue;
            match(quant, doc_key(doc, map, i), quant->routed, &matched);
            if (!layer_set_count(&matched))
                continue;
            const uint32_t layer = layer_set_nth(&matched, 0);
            if (pass == 0 && layer < first) {
                first = layer;
                best = scheme;
            }
            for (uint32_t l = layer; pass == 1 && l < MODEL_MAX_LAYERS; l++)
                if (layer_set_has(&matched, l))
                    layer_set_add(same_scheme(&scheme, &best) ? covered : others, l);
        }
    if (first == UINT32_MAX)
        return;
    quant->known = true;
    quant->found = best;
}

// Schemes of experts' matrices that are not among those looked for, none of which the map has.
static void tell_unread_schemes(const struct quant_reading *quant, doc_node map,
                                const char *map_key)
{
    char quoted[ERROR_QUOTE_BYTES];
    size_t count = 0, first = 0;
    for (size_t i = 0; i < doc_size(quant->doc, map); i++) {
        const char *key = doc_key(quant->doc, map, i);
        const doc_node value = doc_value(quant->doc, map, i);
        const bool scheme = doc_kind(quant->doc, value) == DOC_MAP && doc_size(quant->doc, value);
        if (!scheme || !strstr(key, "experts") || strstr(key, "shared_expert"))
            continue;
        first = count++ ? first : i;
    }
    if (count)
        notice("%s: %s: %zu that name experts are not understood, and not taken: '%s' is the first",
               doc_name(quant->doc), map_key, count,
               error_quote(doc_key(quant->doc, map, first), quoted));
}

// True where a map says all of it, as that of mixed precision does: what is not in it stays BF16.
static void read_overrides(struct quant_reading *quant)
{
    static const char *const keys[] = {"quantized_layers", "layer_quant_config", "extra_config",
                                       "dynamic"};
    const uint32_t layers = quant->config->moe->layers;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct layer_set covered = {{0}}, others = {{0}};
        const doc_node map = config_map_in(quant->doc, quant->map, keys[i]);
        if (map == DOC_NONE)
            continue;
        read_scheme_map(quant, map, &covered, &others);
        const uint32_t count = layer_set_count(&covered);
        if (!count)
            tell_unread_schemes(quant, map, keys[i]);
        if (layer_set_count(&others) || (count && count < layers))
            notice("%s: %s: experts of %u of %u MoE layers are %s; the others, kept otherwise, are "
                   "taken as those",
                   doc_name(quant->doc), keys[i], count, layers, dtype_names[quant->found.weights]);
    }
}

// ---- what is left out ---------------------------------------------------------------------------

static const char *const exempt_keys[] = {"ignore",
                                          "ignored_layers",
                                          "exclude",
                                          "exclude_modules",
                                          "modules_to_not_convert",
                                          "modules_to_not_quantize",
                                          "llm_int8_skip_modules",
                                          NULL};

static struct layer_set exempt_layers(const struct quant_reading *quant, struct module_kind kind)
{
    struct layer_set exempt = {{0}};
    const struct doc *doc = quant->doc;
    for (size_t i = 0; exempt_keys[i]; i++) {
        const doc_node list = doc_get(doc, quant->map, exempt_keys[i]);
        if (list != DOC_NONE && doc_kind(doc, list) == DOC_LIST)
            match_list(quant, list, kind, &exempt);
    }
    const doc_node dynamic = config_map_in(doc, quant->map, "dynamic");
    for (size_t i = 0; dynamic != DOC_NONE && i < doc_size(doc, dynamic); i++)
        if (!strncmp(doc_key(doc, dynamic, i), "-:", 2))
            match(quant, doc_key(doc, dynamic, i), kind, &exempt);
    return exempt;
}

static void leave_out_exempt(struct quant_reading *quant)
{
    const struct moe *moe = quant->config->moe;
    const struct layer_set routed = exempt_layers(quant, quant->routed);
    const struct layer_set shared = exempt_layers(quant, quant->shared);
    const uint32_t count = layer_set_count(&routed);
    const bool quantised = quant->found.weights != DTYPE_BF16;
    if (count && count < moe->layers && quantised)
        notice("%s: experts of %u of %u MoE layers are not quantised; they are taken as %s, too",
               doc_name(quant->doc), count, moe->layers, dtype_names[quant->found.weights]);
    if (count == moe->layers)
        quant->found = (struct quantisation){.weights = DTYPE_BF16, .activations = DTYPE_BF16};
    else if (layer_set_count(&shared) && moe->shared_experts && quantised)
        notice("%s: shared experts are not quantised, as routed ones are; their time is of %s here",
               doc_name(quant->doc), dtype_names[quant->found.weights]);
}

// ---- all ----------------------------------------------------------------------------------------

// What a configuration says of experts alone, whatever the rest is in.
static void read_expert_dtype(struct quant_reading *quant)
{
    static const struct {
        const char *text;
        struct quantisation is;
    } named[] = {
        {"fp4", {DTYPE_MXFP4, DTYPE_FP8, 0, NULL, false}},
        {"mxfp4", {DTYPE_MXFP4, DTYPE_BF16, 0, NULL, false}},
        {"nvfp4", {DTYPE_NVFP4, DTYPE_NVFP4, 0, NULL, false}},
        {"fp8", {DTYPE_FP8, DTYPE_FP8, 0, NULL, false}},
        {"bf16", {DTYPE_BF16, DTYPE_BF16, 0, NULL, false}},
        {"bfloat16", {DTYPE_BF16, DTYPE_BF16, 0, NULL, false}},
        {"int4", {DTYPE_INT4, DTYPE_BF16, 0, NULL, false}},
        {"int8", {DTYPE_INT8, DTYPE_BF16, 0, NULL, false}},
    };
    struct config_reading *config = quant->config;
    const char *text = config_text(config, "expert_dtype");
    char quoted[ERROR_QUOTE_BYTES];
    if (!*text)
        text = config_text_in(quant->doc, quant->map, "expert_dtype");
    const bool four_bits =
        quant->found.weights == DTYPE_NVFP4 || quant->found.weights == DTYPE_MXFP4;
    config_took(config, config_get(config, "expert_dtype"));
    if (!*text || (!strcmp(text, "fp4") && quant->known && four_bits))
        return;
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        if (!strcmp(text, named[i].text)) {
            quant->known = true;
            quant->found = named[i].is;
            return;
        }
    notice("%s: expert_dtype '%s' is unknown, and not taken", doc_name(config->doc),
           error_quote(text, quoted));
}

static const char *method_of(const struct quant_reading *quant)
{
    static const char *const keys[] = {"quant_algo", "quant_method", "qformat_weight"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text = config_text_in(quant->doc, quant->map, keys[i]);
        if (*text)
            return text;
    }
    return "";
}

static bool says_mixed(const struct quant_reading *quant)
{
    return !strcmp(config_text_in(quant->doc, quant->map, "quant_algo"), "MIXED_PRECISION");
}

// By the groups where an algorithm's name does not say it, else by the name.
static void read_scheme(struct quant_reading *quant)
{
    const char *algo = config_text_in(quant->doc, quant->map, "quant_algo");
    const char *of_experts = config_text_in(quant->doc, quant->map, "moe_quant_algo");
    if ((*algo && !says_mixed(quant)) || !read_groups(quant))
        quant->known = quantisation_of(quant->doc, quant->map, &quant->found);
    if (says_mixed(quant) && !*of_experts && !quant->known) {
        quant->known = true;
        quant->found = (struct quantisation){.weights = DTYPE_BF16, .activations = DTYPE_BF16};
    }
    read_overrides(quant);
}

static void tell_stand_ins(const struct quant_reading *quant, const char *key)
{
    const struct quantisation *found = &quant->found;
    const char *activations = dtype_names[found->activations];
    char quoted[ERROR_QUOTE_BYTES];
    if (found->unrepresented)
        notice("%s: %s: activations of %s have no format here; they are taken as %s",
               doc_name(quant->doc), key, found->unrepresented, activations);
    if (found->guessed)
        notice("%s: %s: quant_method '%s' is unknown; by its name, weights are taken as %s and "
               "activations as %s",
               doc_name(quant->doc), key, error_quote(method_of(quant), quoted),
               dtype_names[found->weights], activations);
}

static void store(struct quant_reading *quant, const char *key)
{
    struct config_reading *config = quant->config;
    struct moe *moe = config->moe;
    const struct config_place place = {key, DOC_NONE};
    moe->weight_dtype = quant->found.weights;
    moe->weight_group = quant->found.group;
    moe->activation_dtype = quant->found.activations;
    config_say(config, "weight_dtype", place);
    config_say(config, "weight_group", place);
    config_say(config, "activation_dtype", place);
    tell_stand_ins(quant, key);
}

static void read_in(struct quant_reading *quant, const char *key)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (quant->map != DOC_NONE) {
        read_scheme(quant);
        if (quant->known)
            leave_out_exempt(quant);
    }
    read_expert_dtype(quant);
    if (quant->known)
        store(quant, key);
    else if (quant->map != DOC_NONE)
        notice("%s: %s: quant_method '%s' is unknown; experts are taken as %s",
               doc_name(quant->doc), key, error_quote(method_of(quant), quoted),
               dtype_names[quant->config->moe->weight_dtype]);
}

// "DIR/hf_quant_config.json" for "DIR/config.json", which modelopt writes beside it; NULL: there is
// none. Freed by the caller.
static char *file_beside(const char *path)
{
    static const char end[] = "config.json";
    const size_t length = strlen(path);
    if (length < strlen(end) || strcmp(path + length - strlen(end), end))
        return NULL;
    char *beside = mem_format("%.*shf_quant_config.json", (int)(length - strlen(end)), path);
    if (access(beside, F_OK) == 0)
        return beside;
    free(beside);
    return NULL;
}

static bool read_beside(struct quant_reading *quant, const char *path)
{
    struct doc *doc = doc_load(path, quant->config->err);
    if (!doc)
        return false;
    quant->doc = doc;
    quant->map = config_map_in(doc, doc_root(doc), "quantization");
    if (quant->map == DOC_NONE && doc_kind(doc, doc_root(doc)) == DOC_MAP)
        quant->map = doc_root(doc);
    read_in(quant, "hf_quant_config.json");
    doc_free(doc);
    return true;
}

bool quantisation_read(struct config_reading *config, bool outside)
{
    static const char *const keys[] = {"quantization_config", "compression_config", "quantization"};
    struct quant_reading quant = {.config = config,
                                  .doc = config->doc,
                                  .map = DOC_NONE,
                                  .routed = {false, outside},
                                  .shared = {true, outside}};
    const char *key = "expert_dtype";
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && quant.map == DOC_NONE; i++) {
        const doc_node node = config_get(config, keys[i]);
        if (node == DOC_NONE || doc_kind(config->doc, node) != DOC_MAP)
            continue;
        key = keys[i];
        const doc_node inner = config_map_in(config->doc, node, "quantization");
        quant.map = inner == DOC_NONE ? node : inner;
        config_took(config, node);
    }
    char *beside = quant.map == DOC_NONE ? file_beside(doc_name(config->doc)) : NULL;
    bool ok = true;
    if (beside)
        ok = read_beside(&quant, beside);
    else
        read_in(&quant, key);
    free(beside);
    return ok;
}
