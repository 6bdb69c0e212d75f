// One scheme of quantisation, by the words and numbers that libraries have for it.
#include "model/formats/quantisation.h"

#include <stdlib.h>
#include <string.h>

// ASCII letters alike in both cases: modelopt writes NVFP4, compressed tensors nvfp4.
static bool scheme_has(const char *text, const char *part)
{
    const size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && text[i] &&
               ((text[i] >= 'A' && text[i] <= 'Z') ? text[i] | 0x20 : text[i]) == part[i])
            i++;
        if (i == length)
            return true;
    }
    return false;
}

// Names of schemes, the longer before those that they have in them. NVIDIA's modelopt and AMD's
// Quark: W4A8 is weights of four bits and activations of eight. MXFP4 activations have no format of
// their own here, and go as MXFP8, which is said.
static const struct {
    const char *part;
    struct quantisation is;
} named[] = {
    {"w4a16_nvfp4", {DTYPE_NVFP4, DTYPE_BF16, 0, NULL, false}},
    {"nvfp4_w4a16", {DTYPE_NVFP4, DTYPE_BF16, 0, NULL, false}},
    {"petit_nvfp4", {DTYPE_NVFP4, DTYPE_BF16, 0, NULL, false}},
    {"nvfp4a16", {DTYPE_NVFP4, DTYPE_BF16, 0, NULL, false}},
    {"w4a8_nvfp4", {DTYPE_NVFP4, DTYPE_FP8, 0, NULL, false}},
    {"w4a8_mxfp4_mxfp8", {DTYPE_MXFP4, DTYPE_MXFP8, 0, NULL, false}},
    {"w4a8_mxfp4", {DTYPE_MXFP4, DTYPE_FP8, 0, NULL, false}},
    {"w4a4_mxfp4", {DTYPE_MXFP4, DTYPE_MXFP8, 0, "mxfp4", false}},
    {"nvfp4", {DTYPE_NVFP4, DTYPE_NVFP4, 0, NULL, false}},
    {"modelopt_fp4", {DTYPE_NVFP4, DTYPE_NVFP4, 0, NULL, false}},
    {"mxfp4", {DTYPE_MXFP4, DTYPE_BF16, 0, NULL, false}},
    {"mxfp8", {DTYPE_MXFP8, DTYPE_MXFP8, 0, NULL, false}},
    {"int4fp8", {DTYPE_INT4, DTYPE_FP8, 0, NULL, false}},
    {"w4a8", {DTYPE_INT4, DTYPE_FP8, 0, NULL, false}},
    {"w4afp8", {DTYPE_INT4, DTYPE_FP8, 0, NULL, false}},
    {"w4a16", {DTYPE_INT4, DTYPE_BF16, 0, NULL, false}},
    {"w8a8_fp8", {DTYPE_FP8, DTYPE_FP8, 0, NULL, false}},
    {"w8a16_fp8", {DTYPE_FP8, DTYPE_BF16, 0, NULL, false}},
    {"fp8", {DTYPE_FP8, DTYPE_FP8, 0, NULL, false}},
    {"w8a8", {DTYPE_INT8, DTYPE_BF16, 0, "int8", false}},
    {"w8a16", {DTYPE_INT8, DTYPE_BF16, 0, NULL, false}},
    {"experts_int8", {DTYPE_INT8, DTYPE_BF16, 0, NULL, false}},
};
#define NAMED (sizeof named / sizeof named[0])

static bool scheme_named(const char *text, struct quantisation *quantisation)
{
    for (size_t i = 0; *text && i < NAMED; i++)
        if (scheme_has(text, named[i].part)) {
            *quantisation = named[i].is;
            return true;
        }
    return false;
}

// Whether a quant_method is one of vLLM's or SGLang's, rather than one that has a scheme's name in
// its own.
static bool is_known_method(const char *text)
{
    static const char *const others[] = {"fbgemm_fp8",    "ptpc_fp8",       "modelopt_mxfp8",
                                         "w8a8_int8",     "w4a8_awq",       "quark_int4fp8_moe",
                                         "deepspeedfp8",  "modelopt_fp8",   "modelopt_nvfp4",
                                         "blockwise_fp8", "fp8_per_tensor", "fp8_per_block"};
    for (size_t i = 0; i < NAMED; i++)
        if (strlen(text) == strlen(named[i].part) && scheme_has(text, named[i].part))
            return true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strlen(text) == strlen(others[i]) && scheme_has(text, others[i]))
            return true;
    return false;
}

// ---- weights and activations one by one ---------------------------------------------------------

// A tensor as compressed tensors and Quark describe it.
struct tensor {
    bool is_float;
    uint32_t bits; // 0: not quantised
    uint32_t group;
    bool shared_exponent; // scales of one byte: MX formats
};

// 0 where nothing stands; of a row for one scale ("channel") the longest.
static uint32_t group_of(const struct doc *doc, doc_node map)
{
    const char *size = config_text_in(doc, map, "group_size");
    const char *strategy = config_text_in(doc, map, "strategy");
    const char *scheme = config_text_in(doc, map, "qscheme");
    if (!*size)
        size = config_text_in(doc, map, "q_group_size");
    if (!strcmp(size, "-1") || !strcmp(strategy, "channel") || !strcmp(strategy, "tensor") ||
        !strcmp(scheme, "per_channel") || !strcmp(scheme, "per_tensor"))
        return 1 << 20;
    const unsigned long group = strtoul(size, NULL, 10);
    return *size && group <= 1 << 20 ? (uint32_t)group : 0;
}

// Quark's dtype, "fp8_e4m3", "fp4", "uint4", "int8"; of several in a list the last, which is the
// one in memory. Its fp4 is MXFP4 but in groups of 16.
static struct tensor quark_tensor(const struct doc *doc, doc_node map)
{
    const char *dtype = config_text_in(doc, map, "dtype");
    const char *digit = dtype + strcspn(dtype, "0123456789");
    const uint32_t group = group_of(doc, map);
    const bool is_float = scheme_has(dtype, "fp") || scheme_has(dtype, "float");
    const bool four = is_float && !strncmp(digit, "4", 1);
    return (struct tensor){.is_float = is_float,
                           .bits = (uint32_t)strtoul(digit, NULL, 10),
                           .group = group,
                           .shared_exponent =
                               scheme_has(config_text_in(doc, map, "scale_format"), "e8m0") ||
                               scheme_has(dtype, "mx") || (four && group != 16)};
}

static struct tensor compressed_tensor(const struct doc *doc, doc_node map)
{
    return (struct tensor){
        .is_float = scheme_has(config_text_in(doc, map, "type"), "float"),
        .bits = (uint32_t)strtoul(config_text_in(doc, map, "num_bits"), NULL, 10),
        .group = group_of(doc, map),
        .shared_exponent = scheme_has(config_text_in(doc, map, "scale_dtype"), "uint8") ||
                           scheme_has(config_text_in(doc, map, "scale_dtype"), "e8m0")};
}

static bool weights_of(const struct tensor *tensor, enum dtype *weights)
{
    const bool mx = tensor->shared_exponent || tensor->group == 32;
    if (tensor->bits == 8)
        *weights = !tensor->is_float ? DTYPE_INT8 : mx ? DTYPE_MXFP8 : DTYPE_FP8;
    else if (tensor->bits == 4)
        *weights = !tensor->is_float ? DTYPE_INT4 : mx ? DTYPE_MXFP4 : DTYPE_NVFP4;
    else if (tensor->bits == 16)
        *weights = DTYPE_BF16;
    return tensor->bits == 4 || tensor->bits == 8 || tensor->bits == 16;
}

// Formats that activations have nowhere else here go as the nearest that they have.
static void stand_in(enum dtype activations, struct quantisation *quantisation)
{
    const bool integer = activations == DTYPE_INT8 || activations == DTYPE_INT4;
    quantisation->activations = integer                      ? DTYPE_BF16
                                : activations == DTYPE_MXFP4 ? DTYPE_MXFP8
                                                             : activations;
    quantisation->unrepresented =
        activations == quantisation->activations ? NULL : dtype_names[activations];
}

// activations NULL: nothing is said of them, so that they are as engines have them with such
// weights.
static bool scheme_of_tensors(const struct tensor *weights, const struct tensor *activations,
                              struct quantisation *quantisation)
{
    enum dtype taken = DTYPE_BF16;
    if (!weights_of(weights, &quantisation->weights))
        return false;
    if (activations && activations->bits == weights->bits && activations->is_float &&
        weights->is_float && !activations->group && !activations->shared_exponent)
        taken = quantisation->weights;
    else if (activations)
        weights_of(activations, &taken);
    else
        taken = dtype_of_activations(quantisation->weights);
    stand_in(taken, quantisation);
    const bool own_group =
        quantisation->weights == DTYPE_INT4 || quantisation->weights == DTYPE_INT8;
    quantisation->group = own_group ? weights->group : 0;
    return true;
}

// A tensor beside another: absent, null (as it was) or described.
static const struct tensor *read_activations(const struct doc *doc, doc_node map, const char *key,
                                             struct tensor (*read)(const struct doc *, doc_node),
                                             struct tensor *tensor)
{
    const doc_node described = config_map_in(doc, map, key);
    *tensor = described == DOC_NONE ? (struct tensor){0} : read(doc, described);
    return doc_get(doc, map, key) == DOC_NONE ? NULL : tensor;
}

// Of a group of compressed tensors, or of Quark's.
static bool scheme_described(const struct doc *doc, doc_node map, struct quantisation *quantisation)
{
    const doc_node weights = config_map_in(doc, map, "weights");
    struct tensor inputs;
    if (weights != DOC_NONE) {
        const struct tensor of_weights = compressed_tensor(doc, weights);
        return scheme_of_tensors(
            &of_weights,
            read_activations(doc, map, "input_activations", compressed_tensor, &inputs),
            quantisation);
    }
    doc_node weight = map == DOC_NONE ? DOC_NONE : doc_get(doc, map, "weight");
    if (weight != DOC_NONE && doc_kind(doc, weight) == DOC_LIST && doc_size(doc, weight))
        weight = doc_item(doc, weight, doc_size(doc, weight) - 1);
    if (weight == DOC_NONE || doc_kind(doc, weight) != DOC_MAP)
        return false;
    const struct tensor of_weight = quark_tensor(doc, weight);
    return scheme_of_tensors(&of_weight,
                             read_activations(doc, map, "input_tensors", quark_tensor, &inputs),
                             quantisation);
}

// AutoRound's words for a type, "mx_fp", "nv_fp4_with_static_gs", "int": the bits stand elsewhere.
static struct tensor auto_round_tensor(const char *type, const char *bits, const char *group)
{
    const bool nv = scheme_has(type, "nv");
    return (struct tensor){.is_float = scheme_has(type, "fp"),
                           .bits = (uint32_t)strtoul(bits, NULL, 10),
                           .group = nv ? 16 : (uint32_t)strtoul(group, NULL, 10),
                           .shared_exponent = scheme_has(type, "mx")};
}

// Of integers alone it says no more than bits do. Activations without bits stay of 16.
static bool scheme_of_auto_round(const struct doc *doc, doc_node map,
                                 struct quantisation *quantisation)
{
    const char *type = config_text_in(doc, map, "data_type");
    const char *act_type = config_text_in(doc, map, "act_data_type");
    const char *act_bits = config_text_in(doc, map, "act_bits");
    if (!*type || (!scheme_has(type, "fp") && !*act_bits))
        return false;
    struct tensor weights = auto_round_tensor(type, config_text_in(doc, map, "bits"), "");
    weights.group = weights.group ? weights.group : group_of(doc, map);
    const struct tensor activations =
        auto_round_tensor(*act_type ? act_type : type, *act_bits ? act_bits : "16",
                          config_text_in(doc, map, "act_group_size"));
    return scheme_of_tensors(&weights, &activations, quantisation);
}

// ---- by bits ------------------------------------------------------------------------------------

static uint32_t bits_of(const struct doc *doc, doc_node map)
{
    static const char *const keys[] = {"bits", "w_bit", "weight_bits", "nbits", "num_bits"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const unsigned long bits = strtoul(config_text_in(doc, map, keys[i]), NULL, 10);
        if (bits && bits <= 32)
            return (uint32_t)bits;
    }
    return !strcmp(config_text_in(doc, map, "load_in_4bit"), "true")   ? 4
           : !strcmp(config_text_in(doc, map, "load_in_8bit"), "true") ? 8
                                                                       : 0;
}

// Weights of integers, in groups; bitsandbytes' of four bits are in groups of 64.
static bool scheme_of_bits(const struct doc *doc, doc_node map, struct quantisation *quantisation)
{
    const char *method = config_text_in(doc, map, "quant_method");
    const uint32_t bits = bits_of(doc, map);
    const bool four =
        scheme_has(method, "awq") || scheme_has(method, "gptq") || scheme_has(method, "int4");
    if (bits != 4 && bits != 8 && bits != 16 && (bits || !four))
        return false;
    *quantisation = (struct quantisation){.weights = bits == 16  ? DTYPE_BF16
                                                     : bits == 8 ? DTYPE_INT8
                                                                 : DTYPE_INT4,
                                          .activations = DTYPE_BF16,
                                          .group = group_of(doc, map)};
    if (scheme_has(method, "bitsandbytes") && bits == 4)
        quantisation->group = 64;
    return true;
}

static bool scheme_of_any(const struct doc *doc, doc_node map, struct quantisation *quantisation)
{
    static const char *const keys[] = {"format", "quant_method", "qformat_weight"};
    const doc_node global = config_map_in(doc, map, "global_quant_config");
    if (scheme_named(config_text_in(doc, map, "quant_algo"), quantisation) ||
        scheme_described(doc, map, quantisation) || scheme_described(doc, global, quantisation) ||
        scheme_of_auto_round(doc, map, quantisation))
        return true;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text = config_text_in(doc, map, keys[i]);
        if (!scheme_named(text, quantisation))
            continue;
        quantisation->guessed = !strcmp(keys[i], "quant_method") && !is_known_method(text);
        return true;
    }
    return scheme_of_bits(doc, map, quantisation);
}

bool quantisation_of(const struct doc *doc, doc_node map, struct quantisation *quantisation)
{
    *quantisation = (struct quantisation){0};
    if (!scheme_of_any(doc, map, quantisation))
        return false;
    if (!quantisation->group &&
        (quantisation->weights == DTYPE_INT4 || quantisation->weights == DTYPE_INT8))
        quantisation->group = group_of(doc, map);
    return true;
}
