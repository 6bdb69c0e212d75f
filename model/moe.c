#include "model/moe.h"

#include "base/mem.h"
#include "base/preset.h"

#include <string.h>

static const char *const shared_names[] = {"apart", "routed", NULL};
static const char *const score_names[] = {"sigmoid", "softmax", NULL};

// clang-format off
#define ROW(member, what, low, high, text)                                                         \
    {.key = #member, .kind = what, .offset = offsetof(struct moe, member), .min = low,             \
     .max = high, .help = text}
#define U32(member, low, high, text) ROW(member, FIELD_U32, low, high, text)
#define NAMED(member, list, text)                                                                  \
    {.key = #member, .kind = FIELD_ENUM, .offset = offsetof(struct moe, member), .names = list,    \
     .help = text}

const struct field moe_fields[] = {
    ROW(name, FIELD_TEXT, 0, 0, "name of the model"),
    U32(hidden, 1, 1 << 20, "values of a token's hidden state"),
    U32(latent, 0, 1 << 20,
        "values of the rows that travel and that experts take, of a latent space (0: hidden)"),
    U32(experts, 1, MOE_MAX_EXPERTS, "routed experts of a layer"),
    U32(topk, 1, MOE_MAX_TOPK, "experts that a token goes to"),
    U32(groups, 1, MOE_MAX_EXPERTS, "groups of experts; 1: no group limit"),
    U32(topk_groups, 1, MOE_MAX_EXPERTS, "groups that a token may use (default: all)"),
    U32(shared_experts, 0, MOE_MAX_EXPERTS, "experts that every token goes to, on its own GPU"),
    NAMED(shared, shared_names,
          "shared experts run apart, or routed: fused, as choices more to a slot of the token's own "
          "rank"),
    U32(intermediate, 1, 1 << 20, "inner width of a routed expert"),
    U32(shared_intermediate, 0, 1 << 24,
        "inner width of all shared experts together (default: shared_experts x intermediate)"),
    U32(layers, 1, MODEL_MAX_LAYERS, "MoE layers of the model"),
    U32(dense_layers, 0, MODEL_MAX_LAYERS - 1, "its layers without routed experts"),
    ROW(moe_layers, FIELD_TEXT, 0, 0,
        "which of all layers, from 0, are MoE layers, as 3..60, 1..47:2 or 1,2,5 (default: those "
        "after the dense ones)"),
    ROW(gated, FIELD_BOOL, 0, 0, "experts have a gate: three matrices, else two"),
    NAMED(score, score_names, "how the router turns logits into scores"),
    ROW(normalise, FIELD_BOOL, 0, 0, "a token's weights are divided by their sum"),
    ROW(routed_scaling, FIELD_NUMBER, 1e-6, 1e6, "factor on the routed weights"),
    NAMED(dispatch_dtype, payload_names, "payload of dispatch (default: activation_dtype)"),
    NAMED(combine_dtype, payload_names, "payload of combine"),
    NAMED(weight_dtype, dtype_names, "the experts' matrices"),
    U32(weight_group, 0, 1 << 20, "weights that share a scale (0: as many as the format has)"),
    NAMED(activation_dtype, payload_names, "what experts compute in (default: by weight_dtype)"),
};
// clang-format on
#define MOE_FIELDS (sizeof moe_fields / sizeof moe_fields[0])
const size_t moe_field_count = MOE_FIELDS;

struct moe moe_default(void)
{
    struct moe moe = {
        .name = "custom",
        .groups = 1,
        .topk_groups = 1,
        .gated = true,
        .score = SCORE_SOFTMAX,
        .normalise = true,
        .routed_scaling = 1.0,
        .dispatch_dtype = DTYPE_BF16,
        .combine_dtype = DTYPE_BF16,
        .weight_dtype = DTYPE_BF16,
        .activation_dtype = DTYPE_BF16,
    };
    moe_place_layers(&moe, 0, 1);
    return moe;
}

// ---- layers -------------------------------------------------------------------------------------

uint32_t moe_model_layers(const struct moe *moe)
{
    return moe->layers + moe->dense_layers;
}

uint32_t moe_layer_id(const struct moe *moe, uint32_t index)
{
    return layer_set_nth(&moe->layer_set, index);
}

uint32_t moe_layer_of(const struct moe *moe, uint32_t layer_id)
{
    return layer_set_has(&moe->layer_set, layer_id)
               ? layer_set_count_below(&moe->layer_set, layer_id)
               : MOE_NOT_AN_MOE_LAYER;
}

void moe_place_layers(struct moe *moe, uint32_t dense_layers, uint32_t layers)
{
    moe->layer_set = (struct layer_set){{0}};
    for (uint32_t l = dense_layers; l < dense_layers + layers && l < MODEL_MAX_LAYERS; l++)
        layer_set_add(&moe->layer_set, l);
    moe->dense_layers = dense_layers;
    moe->layers = layers;
    layer_set_format(&moe->layer_set, moe->moe_layers, sizeof moe->moe_layers);
}

// The two counts, where they are not said, by the set; a set that cannot be is left to the check.
static void settle_layers(struct moe *moe, bool layers_said, bool dense_said)
{
    struct error none;
    if (!layer_set_parse(moe->moe_layers, &moe->layer_set, &none))
        return;
    const uint32_t count = layer_set_count(&moe->layer_set);
    if (!layers_said)
        moe->layers = count;
    if (!dense_said)
        moe->dense_layers = moe_layer_id(moe, count - 1) + 1 - count;
}

static const char *layers_fault(struct moe *moe, struct error *err)
{
    const uint32_t all = moe_model_layers(moe);
    if (all > MODEL_MAX_LAYERS)
        return preset_fault(err, "layers", "%u, and %u others: expected at most %d", moe->layers,
                            moe->dense_layers, MODEL_MAX_LAYERS);
    if (!layer_set_parse(moe->moe_layers, &moe->layer_set, err))
        return "moe_layers";
    const uint32_t count = layer_set_count(&moe->layer_set);
    if (count != moe->layers)
        return preset_fault(err, "moe_layers", "%u layers: expected as many as layers, %u", count,
                            moe->layers);
    const uint32_t last = moe_layer_id(moe, count - 1);
    if (last >= all)
        return preset_fault(err, "moe_layers", "layer %u: expected layers of a model of %u", last,
                            all);
    return NULL;
}

uint32_t moe_expert_hidden(const struct moe *moe)
{
    return moe->latent ? moe->latent : moe->hidden;
}

double moe_weight_bytes(const struct moe *moe)
{
    return dtype_weight_bytes(moe->weight_dtype, moe->weight_group);
}

void moe_set_weights(struct moe *moe, enum dtype weights)
{
    moe->weight_dtype = weights;
    moe->activation_dtype = dtype_of_activations(weights);
}

uint64_t moe_payload_bytes(uint32_t hidden, enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FP8:
        return hidden + 4 * (((uint64_t)hidden + 127) / 128);
    case DTYPE_BF16:
        return 2 * (uint64_t)hidden;
    case DTYPE_MXFP8:
        return hidden + ((uint64_t)hidden + 31) / 32;
    case DTYPE_NVFP4:
        return ((uint64_t)hidden + 1) / 2 + ((uint64_t)hidden + 15) / 16;
    case DTYPE_NVFP4_IN_KERNEL: // and one fp32 scale of the row
        return ((uint64_t)hidden + 1) / 2 + ((uint64_t)hidden + 15) / 16 + 4;
    default:
        break;
    }
    return 4 * (uint64_t)hidden;
}

// Of counts that are 1 at least by the table.
static const char *zero_fault(const struct moe *moe, struct error *err)
{
    for (size_t row = 0; row < MOE_FIELDS; row++) {
        const struct field *field = &moe_fields[row];
        const uint32_t *value = (const void *)((const char *)moe + field->offset);
        if (field->kind == FIELD_U32 && field->min >= 1 && *value == 0)
            return preset_fault(err, field->key, "0: expected at least 1");
    }
    if (moe->shared_experts && moe->shared_intermediate == 0)
        return preset_fault(err, "shared_intermediate",
                            "0: expected at least 1 with shared experts");
    return NULL;
}

static const char *group_fault(const struct moe *moe, struct error *err)
{
    if (moe->experts % moe->groups)
        return preset_fault(err, "groups", "%u: expected a divisor of the %u experts", moe->groups,
                            moe->experts);
    if (moe->topk_groups > moe->groups)
        return preset_fault(err, "topk_groups", "%u: expected at most the %u groups",
                            moe->topk_groups, moe->groups);
    const uint32_t allowed = moe->experts / moe->groups * moe->topk_groups;
    if (moe->topk > allowed)
        return preset_fault(err, "topk", "%u: expected at most the %u experts of %u groups",
                            moe->topk, allowed, moe->topk_groups);
    return NULL;
}

// Fused shared experts are of the routed ones' shape.
static const char *fused_fault(const struct moe *moe, struct error *err)
{
    const uint32_t fused = moe_fused_experts(moe);
    if (moe->shared == SHARED_ROUTED && !fused)
        return preset_fault(err, "shared", "routed: expected shared_experts");
    if (fused && moe->latent)
        return preset_fault(err, "shared",
                            "routed: expected experts of the hidden state's width, "
                            "not of a latent space");
    if (fused && moe->shared_intermediate != fused * moe->intermediate)
        return preset_fault(err, "shared",
                            "routed: expected shared experts as wide as routed ones, "
                            "%u of %u",
                            fused, moe->intermediate);
    if (fused && moe->topk + fused > MOE_MAX_TOPK)
        return preset_fault(err, "shared",
                            "routed: top-%u and %u more: expected at most %d choices", moe->topk,
                            fused, MOE_MAX_TOPK);
    return NULL;
}

const char *moe_fault(void *object, struct error *err)
{
    struct moe *moe = object;
    const char *key = zero_fault(moe, err);
    key = key ? key : fused_fault(moe, err);
    if (key)
        return key;
    if (moe->weight_dtype == DTYPE_NVFP4_IN_KERNEL)
        return preset_fault(err, "weight_dtype", "%s: expected a format of weights, such as nvfp4",
                            dtype_names[moe->weight_dtype]);
    if (moe->activation_dtype == DTYPE_NVFP4_IN_KERNEL)
        return preset_fault(err, "activation_dtype",
                            "%s: expected what products take, such as nvfp4",
                            dtype_names[moe->activation_dtype]);
    if (moe->experts > MOE_MAX_EXPERTS)
        return preset_fault(err, "experts", "%u: expected at most %d", moe->experts,
                            MOE_MAX_EXPERTS);
    if (moe->topk > MOE_MAX_TOPK)
        return preset_fault(err, "topk", "%u: expected at most %d", moe->topk, MOE_MAX_TOPK);
    if (moe->topk > moe->experts)
        return preset_fault(err, "topk", "%u: expected at most the %u experts", moe->topk,
                            moe->experts);
    key = group_fault(moe, err);
    return key ? key : layers_fault(moe, err);
}

bool moe_check(const struct moe *moe, struct error *err)
{
    struct moe copy = *moe;
    const char *key = moe_fault(&copy, err);
    return key ? error_prefix(err, "%s", key) : true;
}

// ---- epsim's own files --------------------------------------------------------------------------

static size_t moe_row(const char *key)
{
    return (size_t)(field_find(moe_fields, MOE_FIELDS, key) - moe_fields);
}

void moe_settle(struct moe *moe, const bool *seen)
{
    if (!seen[moe_row("topk_groups")])
        moe->topk_groups = moe->groups;
    if (!seen[moe_row("shared_intermediate")])
        moe->shared_intermediate = moe->shared_experts * moe->intermediate;
    if (seen[moe_row("moe_layers")])
        settle_layers(moe, seen[moe_row("layers")], seen[moe_row("dense_layers")]);
    else
        moe_place_layers(moe, moe->dense_layers, moe->layers);
    moe->dispatch_given = seen[moe_row("dispatch_dtype")];
    if (!seen[moe_row("activation_dtype")])
        moe->activation_dtype = dtype_of_activations(moe->weight_dtype);
    if (!moe->dispatch_given)
        moe->dispatch_dtype = moe->activation_dtype;
}

bool moe_key_follows(const struct moe *moe, const char *key)
{
    struct moe settled = *moe;
    moe_place_layers(&settled, moe->dense_layers, moe->layers);
    if (!strcmp(key, "topk_groups"))
        return moe->topk_groups == moe->groups;
    if (!strcmp(key, "shared_intermediate"))
        return moe->shared_intermediate == moe->shared_experts * moe->intermediate;
    if (!strcmp(key, "activation_dtype"))
        return moe->activation_dtype == dtype_of_activations(moe->weight_dtype);
    if (!strcmp(key, "moe_layers"))
        return !strcmp(moe->moe_layers, settled.moe_layers);
    return !strcmp(key, "dispatch_dtype") && !moe->dispatch_given;
}

void moe_settle_object(struct object_reading *reading)
{
    struct moe *moe = reading->object;
    moe_settle(moe, reading->seen);
    if (!moe->dispatch_given && reading->provenance)
        reading->provenance[moe_row("dispatch_dtype")].source =
            mem_copy_text("as engines do: what the experts compute in, where the dispatcher can");
}

const struct object_reader moe_reader = {
    .kind = "models",
    .whose = "a model's",
    .fields = moe_fields,
    .count = MOE_FIELDS,
    .required = (const char *const[]){"hidden", "experts", "topk", "intermediate", NULL},
    .needs = "a model needs hidden, experts, topk and intermediate",
    .settle = moe_settle_object,
    .fault = moe_fault,
};
