#include "model/formats/confess.h"

#include <string.h>

#define NAMED_MOST 12 // keys that a notice names

// Keys that say nothing of what a layer costs, by why.
static const char *const harmless[] = {
    // training: losses, noise, what routing is regularised by
    "router_aux_loss_coef",
    "aux_loss_alpha",
    "moe_aux_loss_coeff",
    "router_z_loss_coef",
    "moe_loss_weight",
    "moe_jitter_eps",
    "router_jitter_noise",
    "moe_router_jitter_noise",
    "input_jitter_noise",
    "router_z_loss",
    "moe_z_loss_coeff",
    "moe_aux_loss_coef",
    "router_ignore_padding_tokens",
    "moe_dropout",
    "moe_router_load_balancing_type",
    "load_balance_coeff",
    "moe_drop_tokens",
    "moe_random_routing_dropped_token",
    "router_dropout",
    "scale_router_input",
    "score_before_experts",
    "shared_expert_combination_strategy",
    "shared_moe_mode",
    "moe_train_capacity_factor",
    "expert_dropout",
    "router_aux_loss_factor",
    "moe_router_bias_update_rate",
    "aux_loss_factor",
    "moe_aux_loss",
    "router_entropy_coef",
    "moe_expert_capacity_factor",
    "moe_router_aux_loss_coef",
    "moe_seq_aux",
    // outputs
    "output_router_logits",
    "output_scores",
    "return_router_logits",
    // a bias that is added in choosing experts alone
    "use_expert_bias",
    "use_moe_router_bias",
    "use_routing_bias",
    "moe_router_enable_expert_bias",
    "use_router_bias",
    "moe_use_aux_free",
    "router_bias",
    "moe_router_use_bias",
    "norm_topk_prob_for_router",
    "moe_use_router_bias",
    "e_score_correction_bias",
    // formats of the router's own product, biases of experts
    "moe_router_dtype",
    "router_dtype",
    "router_fp32",
    "moe_router_fp32",
    "use_fp32_router",
    "moe_gate_dtype",
    "moe_use_gate_bias",
    "router_compute_dtype",
    // how one implementation runs it, and on how many GPUs it was trained
    "moe_implementation",
    "experts_implementation",
    "moe_impl",
    "moe_backend",
    "moe_kernel",
    "moe_shared_expert_overlap",
    "expert_parallel",
    "expert_model_parallel",
    "moe_group",
    "moe_world_size",
    "moe_use_hard_gate",
    "fuse_shared_experts",
    "moe_multimodal_dispatch_use_allgather",
    "moe_router_fusion",
    "moe_grouped_gemm",
    "moe_permute_fusion",
    "moe_token_dispatcher_type",
    "num_fused_shared_experts",
    "moe_dense_experts_token_type_id",
    // what is not an MoE layer's: dense layers, attention, caches of keys and values, embeddings
    "prefix_dense_intermediate_size",
    "prefix_dense_sliding_window_pattern",
    "dense_intermediate_size",
    "num_kv_shared_layers",
    "dense_ffn_hidden_size",
    "ffn_dense_size",
    "attention_shared",
    "shared_kv_layers",
    "kv_shared_layer_index",
    "num_shared_layers",
    "sparse_score_type",
    "attention_score_function",
    "shared_head_dim",
    "share_kv_layers",
    "shared_attention",
    "use_shared_attention",
    "num_attention_shared",
    "dense_attention_layers",
    "quantization_status",
    "kv_cache_quant_algo",
    "kv_cache_scheme",
    "num_denses",
    "index_score_scale",
    "use_shared_attention_adapter",
    "latent_attention",
    "kv_latent_dim",
    "q_latent_dim",
    "num_latents",
    "attn_latent_dim",
    "mla_latent_dim",
    "embedding_shared",
    "shared_embedding",
    "dense_init_std",
    "moe_layer_type",
    "use_qk_norm_shared",
    // words for what the other keys say in numbers
    "moe_layer_use_swiglu",
    "use_moe",
    "is_moe",
    "moe",
    "enable_moe",
    "router_type",
    "moe_type",
    "use_mixed_mlp_moe",
    "moe_gate",
    "moe_router_type",
    "gate_type_moe",
    "expert_type",
    "num_experts_total",
    "swiglu_limits_shared",
    "expert_swiglu_limit_list",
    "share_expert_swiglu_limit_list",
    "router_init_std",
    "expert_init_std",
};
#define HARMLESS (sizeof harmless / sizeof harmless[0])

static bool is_harmless(const char *key)
{
    for (size_t i = 0; i < HARMLESS; i++)
        if (!strcmp(key, harmless[i]))
            return true;
    return false;
}

static bool looks_relevant(const char *key)
{
    static const char *const words[] = {"expert", "moe",   "shared", "dense", "quant",
                                        "latent", "route", "score",  "hash"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(key, words[i]))
            return true;
    return false;
}

// Megatron's fp8 and fp4, with what they have beside them, and an MLP beside experts; switched off,
// they are not there.
static bool is_switched_on(const struct doc *doc, const char *key, doc_node node)
{
    const bool off = doc_kind(doc, node) == DOC_SCALAR && !strcmp(doc_text(doc, node), "false");
    return !off && (!strncmp(key, "fp8", 3) || !strncmp(key, "fp4", 3) ||
                    !strcmp(key, "use_residual") || !strcmp(key, "parallel_attn_mlp_res"));
}

static bool says_nothing(const struct doc *doc, doc_node node)
{
    return doc_kind(doc, node) == DOC_SCALAR
               ? doc_is_null(doc, node)
               : doc_kind(doc, node) == DOC_LIST && doc_size(doc, node) == 0;
}

struct confession {
    char keys[640];
    size_t count;
};

static void confess_key(struct confession *confession, const char *key)
{
    char quoted[ERROR_QUOTE_BYTES];
    const size_t length = strlen(confession->keys);
    if (confession->count++ < NAMED_MOST)
        snprintf(confession->keys + length, sizeof confession->keys - length, "%s%s",
                 length ? ", " : "", error_quote(key, quoted));
}

static void look_in(const struct config_reading *config, doc_node map,
                    struct confession *confession)
{
    const struct doc *doc = config->doc;
    for (size_t i = 0; i < doc_size(doc, map); i++) {
        const doc_node node = doc_value(doc, map, i);
        const char *key = doc_key(doc, map, i);
        if ((!looks_relevant(key) && !is_switched_on(doc, key, node)) || is_harmless(key) ||
            config_was_taken(config, node) || says_nothing(doc, node))
            continue;
        confess_key(confession, key);
    }
}

void confess(const struct config_reading *config)
{
    static const char *const inner[] = {"ffn_config", "moe"};
    struct confession confession = {0};
    look_in(config, config->map, &confession);
    if (config->root != config->map)
        look_in(config, config->root, &confession);
    for (size_t i = 0; i < sizeof inner / sizeof inner[0]; i++) {
        const doc_node map = config_map_in(config->doc, config->map, inner[i]);
        if (map != DOC_NONE)
            look_in(config, map, &confession);
    }
    if (!confession.count)
        return;
    char more[48] = "";
    if (confession.count > NAMED_MOST)
        snprintf(more, sizeof more, " and %zu more", confession.count - NAMED_MOST);
    notice("%s: not read, and may change the answer: %s%s", doc_name(config->doc), confession.keys,
           more);
}
