#include "model/formats/config_family.h"

#include <string.h>

static const struct family {
    const char *type;
    unsigned traits;
} families[] = {
    {"deepseek_v3", CONFIG_SIGMOID},
    {"kimi_k2", CONFIG_SIGMOID},
    {"kimi_linear", CONFIG_SIGMOID},
    {"glm4_moe", CONFIG_SIGMOID},
    {"glm4v_moe", CONFIG_SIGMOID},
    {"glm_moe_dsa", CONFIG_SIGMOID},
    {"minimax_m2", CONFIG_SIGMOID},
    {"nemotron_h", CONFIG_SIGMOID},
    {"lfm2_moe", CONFIG_SIGMOID},
    {"afmoe", CONFIG_SIGMOID},
    {"dots1", CONFIG_SIGMOID},
    {"exaone_moe", CONFIG_SIGMOID},
    {"solar_open", CONFIG_SIGMOID},
    {"mimo_v2", CONFIG_SIGMOID},
    {"llama4", CONFIG_SIGMOID | CONFIG_RAW | CONFIG_DENSE_FFN},
    {"gemma4", CONFIG_DENSE_FFN | CONFIG_OUTSIDE},
};

unsigned config_traits(const struct config_reading *config)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (config_is_family(config, families[i].type))
            return families[i].traits;
    return 0;
}

// Of the router: how it makes scores, and what a group limit is worth.
void config_read_router(struct config_reading *config, unsigned traits)
{
    static const char *const keys[] = {"scoring_func",
                                       "score_func",
                                       "score_function",
                                       "expert_selection_fn",
                                       "moe_router_activation_func",
                                       "moe_router_activation",
                                       "moe_router_score_function",
                                       "router_score_function",
                                       "moe_score_func"};
    struct moe *moe = config->moe;
    const char *text = "", *method = config_text(config, "topk_method");
    char quoted[ERROR_QUOTE_BYTES];
    size_t key = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *said = config_text(config, keys[i]);
        config_took(config, config_get(config, keys[i]));
        if (*said && !*text) {
            text = said;
            key = i;
        }
    }
    const bool bias = !strcmp(config_text(config, "use_expert_bias"), "true") ||
                      !strcmp(config_text(config, "moe_router_use_sigmoid"), "true") ||
                      !strcmp(config_text(config, "moe_primary_router_apply_softmax"), "false");
    config_took(config, config_get(config, "moe_primary_router_apply_softmax"));
    config_took(config, config_get(config, "moe_router_use_sigmoid"));
    config_took(config, config_get(config, "topk_method"));
    if (!strcmp(text, "sigmoid") ||
        (!*text && ((traits & CONFIG_SIGMOID) || bias || !strcmp(method, "noaux_tc"))))
        moe->score = SCORE_SIGMOID;
    else if (*text && strcmp(text, "softmax"))
        notice("%s: %s '%s' is unknown; weights are made by softmax", doc_name(config->doc),
               keys[key], error_quote(text, quoted));
    if (*text)
        config_say(config, "score", (struct config_place){keys[key], DOC_NONE});
    if (!strcmp(method, "greedy"))
        moe->groups = moe->topk_groups = 1;
    if ((traits & CONFIG_RAW) && !config_said(config, "normalise"))
        moe->normalise = false;
}

// A switch that says whether there is a gate, whatever the activation.
static bool read_gate_switch(struct config_reading *config)
{
    static const char *const keys[] = {
        "use_gated_activation", "is_gated_act", "moe_gated", "gated_mlp",
        "gated_linear_unit",    "swiglu"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text = config_text(config, keys[i]);
        if (strcmp(text, "true") && strcmp(text, "false"))
            continue;
        config->moe->gated = !strcmp(text, "true");
        config_say(config, "gated", (struct config_place){keys[i], config_get(config, keys[i])});
        return true;
    }
    return false;
}

// An activation that takes one matrix's product is of an expert without a gate.
void config_read_gate(struct config_reading *config)
{
    static const char *const keys[] = {"moe_hidden_act", "mlp_hidden_act", "ffn_config.ffn_act_fn",
                                       "hidden_act", "hidden_activation"};
    static const char *const gated[] = {"silu", "swish", "swiglu", "gelu", "geglu", "situ"};
    char quoted[ERROR_QUOTE_BYTES];
    if (read_gate_switch(config))
        return;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text = config_text(config, keys[i]);
        if (!*text)
            continue;
        config->moe->gated = strncmp(text, "relu", 4) && strcmp(text, "squared_relu");
        config_say(config, "gated", (struct config_place){keys[i], config_get(config, keys[i])});
        for (size_t g = 0; g < sizeof gated / sizeof gated[0]; g++)
            if (!config->moe->gated || strstr(text, gated[g]))
                return;
        notice("%s: %s '%s' is unknown; experts are taken to have a gate", doc_name(config->doc),
               keys[i], error_quote(text, quoted));
        return;
    }
}

// Arctic's MLP beside the experts, which is as wide as a token.
static bool has_parallel_mlp(struct config_reading *config)
{
    static const char *const keys[] = {"parallel_attn_mlp_res", "use_residual"};
    bool has = false;
    for (size_t i = 0; config_is_family(config, "arctic") && i < sizeof keys / sizeof keys[0];
         i++) {
        has |= !strcmp(config_text(config, keys[i]), "true");
        config_took(config, config_get(config, keys[i]));
    }
    return has;
}

// One width of all shared experts together, but where the key's is that of each.
bool config_settle_shared(struct config_reading *config, unsigned traits)
{
    struct moe *moe = config->moe;
    const bool counted = config_said(config, "shared_experts");
    const doc_node residual = config_get(config, "residual_moe"); // Grok's
    const bool parallel = has_parallel_mlp(config);
    const bool beside = !strcmp(config_text(config, "residual_moe"), "true");
    config_took(config, residual);
    if ((beside || parallel || (traits & CONFIG_DENSE_FFN)) && !counted &&
        !config_said(config, "shared_intermediate")) {
        const char *key = parallel ? "hidden_size" : "intermediate_size";
        const doc_node width = config_get(config, key);
        moe->shared_experts = 1;
        config_say(config, "shared_experts", (struct config_place){"model_type", DOC_NONE});
        return width == DOC_NONE || config_take(config, "shared_intermediate", key, width);
    }
    if (!config_said(config, "shared_intermediate"))
        return true;
    const struct config_place *width = &config->place[config_row("shared_intermediate")];
    if (!counted)
        moe->shared_experts = 1;
    else if (moe->shared_experts == 0) {
        notice("%s:%zu: %s: %u, but there are no shared experts", doc_name(config->doc),
               doc_line(config->doc, width->node), width->key, moe->shared_intermediate);
        moe->shared_intermediate = 0;
    } else if (!strcmp(width->key, "moe_shared_expert_intermediate_size")) {
        if (moe->shared_intermediate > (1u << 24) / moe->shared_experts)
            return doc_error(config->doc, width->node, config->err,
                             "%s: %u x %u shared experts: expected at most %u in all", width->key,
                             moe->shared_intermediate, moe->shared_experts, 1u << 24);
        moe->shared_intermediate *= moe->shared_experts;
    }
    return true;
}
