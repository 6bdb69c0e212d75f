// Published configurations: every kind of key, nest, list and layer pattern, what is said of the
// rest, and what is refused. Models here are made up; quotes are single ones, for legibility.
#include "base/mem.h"
#include "model/moe.h"
#include "tests/fixture.h"
#include "tests/scratch.h"
#include "tests/suite.h"

#include <sys/stat.h>

#define NOTICES_BYTES 4096

static char *doubled(const char *text)
{
    char *copy = mem_copy_text(text);
    for (char *c = copy; *c; c++)
        if (*c == '\'')
            *c = '"';
    return copy;
}

// Loads a model and takes down what was said on standard error.
static bool load_said(const char *path, struct moe *moe, char *notices, struct error *err)
{
    FILE *said = tmpfile();
    fflush(stderr);
    const int kept = dup(STDERR_FILENO);
    dup2(fileno(said), STDERR_FILENO);
    const bool ok = moe_load(path, moe, NULL, err);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(said);
    notices[fread(notices, 1, NOTICES_BYTES - 1, said)] = '\0';
    fclose(said);
    return ok;
}

// "hidden=64 experts=8": each must be as the model has it.
static void expect_values(const struct moe *moe, const char *expected)
{
    char *copy = mem_copy_text(expected), *rest = copy;
    for (char *pair; (pair = strsep(&rest, " "));) {
        char *value = strchr(pair, '='), found[FIELD_TEXT_BYTES];
        if (!value)
            continue;
        *value++ = '\0';
        const struct field *field = field_find(moe_fields, moe_field_count, pair);
        ck_assert_msg(field != NULL, "no key %s", pair);
        ck_assert_msg(!strcmp(field_format(field, moe, found), value), "%s: %s, expected %s", pair,
                      found, value);
    }
    free(copy);
}

static void expect_loaded(const char *path, const char *expected, const char *said)
{
    struct moe moe;
    struct error err;
    char notices[NOTICES_BYTES];
    ck_assert_msg(load_said(path, &moe, notices, &err), "%s", err.text);
    expect_values(&moe, expected);
    if (said)
        ck_assert_msg(strstr(notices, said) != NULL, "said '%s', expected '%s'", notices, said);
    else
        ck_assert_msg(notices[0] == '\0', "said '%s', expected nothing", notices);
}

static void expect_text(const char *text, const char *expected, const char *said)
{
    char *json = doubled(text);
    const struct fixture fixture = fixture_make(json, ".json");
    free(json);
    expect_loaded(fixture.path, expected, said);
    fixture_remove(&fixture);
}

// ---- shapes -------------------------------------------------------------------------------------

#define SIZES "'hidden_size': 64, 'num_hidden_layers': 8, "
#define MOE "'num_experts': 16, 'num_experts_per_tok': 2, 'moe_intermediate_size': 32"

static const struct {
    const char *text, *expected, *said;
} shapes[] = {
    // experts in a latent space, without a gate, in layers by letter
    {"{'model_type': 'nemotron_h', 'hidden_size': 96, 'intermediate_size': 40, "
     "'num_hidden_layers': 9, 'moe_intermediate_size': 40, 'n_routed_experts': 24, "
     "'num_experts_per_tok': 3, 'n_group': 1, 'topk_group': 1, 'n_shared_experts': 1, "
     "'routed_scaling_factor': 4.0, 'hybrid_override_pattern': 'MEM*EMEM*', "
     "'moe_latent_size': 16, 'moe_shared_expert_intermediate_size': 80, "
     "'mlp_hidden_act': 'relu2', 'moe_shared_expert_overlap': true}",
     "hidden=96 latent=16 gated=false experts=24 topk=3 intermediate=40 shared_experts=1 "
     "shared_intermediate=80 layers=3 dense_layers=6 moe_layers=1,4,6 score=sigmoid "
     "routed_scaling=4",
     NULL},
    // the number of layers from the list of their types
    {"{'model_type': 'nemotron_h', 'hidden_size': 96, 'moe_intermediate_size': 40, "
     "'n_routed_experts': 24, 'num_experts_per_tok': 3, 'layers_block_type': ['mamba', 'moe', "
     "'attention', 'moe', 'mamba'], 'routed_expert_hidden_size': 48, 'hidden_act': 'relu'}",
     "layers=2 dense_layers=3 moe_layers=1,3 latent=48 gated=false", NULL},
    {"{'model_type': 'llama4', 'text_config': {'model_type': 'llama4_text', 'hidden_size': 80, "
     "'intermediate_size': 56, 'intermediate_size_mlp': 112, 'num_hidden_layers': 6, "
     "'num_local_experts': 12, 'num_experts_per_tok': 1, 'interleave_moe_layer_step': 3, "
     "'hidden_act': 'silu', 'moe_layers': null}}",
     "shared_experts=1 shared_intermediate=56 intermediate=56 moe_layers=2,5 dense_layers=4 "
     "score=sigmoid normalise=false topk=1",
     NULL},
    {"{'model_type': 'mimo_v2_flash', " SIZES MOE ", 'moe_layer_freq': [0, 0, 1, 1, 1, 1, 1, 1], "
     "'n_shared_experts': null, 'routed_scaling_factor': null}",
     "layers=6 dense_layers=2 moe_layers=2..7 shared_experts=0 routed_scaling=1 score=sigmoid",
     NULL},
    {"{'model_type': 'ernie4_5_moe', " SIZES "'moe_num_experts': 20, 'moe_k': 5, "
     "'moe_intermediate_size': 24, 'moe_num_shared_experts': 2, 'moe_layer_start_index': 1, "
     "'moe_layer_end_index': 6, 'moe_layer_interval': 2, 'moe_use_aux_free': true}",
     "experts=20 topk=5 moe_layers=1..5:2 shared_experts=2 shared_intermediate=48", NULL},
    {"{'model_type': 'ernie4_5_moe_vl', " SIZES "'moe_num_experts': [20, 20], 'moe_k': 5, "
     "'moe_intermediate_size': [24, 8], 'moe_layer_start_index': [2, 2], "
     "'moe_layer_end_index': [7, 6]}",
     "intermediate=24 moe_layers=2..7", "moe_intermediate_size: that of text is taken"},
    {"{'model_type': 'lfm2_moe', " SIZES MOE ", 'num_dense_layers': 3}",
     "moe_layers=3..7 score=sigmoid", NULL},
    {"{'model_type': 'mine', " SIZES MOE ", 'use_expert_bias': true}", "score=sigmoid", NULL},
    {"{'model_type': 'laguna', " SIZES MOE ", 'mlp_only_layers': [0, 4], 'decoder_sparse_step': 1, "
     "'mlp_layer_types': ['dense', 'sparse', 'sparse', 'sparse', 'dense', 'sparse', 'sparse', "
     "'sparse'], 'moe_routed_scaling_factor': 1.5, 'shared_expert_intermediate_size': 24}",
     "layers=6 dense_layers=2 moe_layers=1..3,5..7 routed_scaling=1.5 shared_experts=1 "
     "shared_intermediate=24",
     NULL},
    {"{'model_type': 'bailing_moe', " SIZES MOE ", 'n_group': 4, 'topk_group': 2, "
     "'num_shared_experts': 2, 'first_k_dense_replace': 1, 'score_function': 'sigmoid', "
     "'moe_shared_expert_intermediate_size': 48, 'moe_router_enable_expert_bias': true}",
     "groups=4 topk_groups=2 shared_experts=2 shared_intermediate=96 score=sigmoid "
     "moe_layers=1..7",
     NULL},
    {"{'model_type': 'step3p7', " SIZES MOE ", 'share_expert_dim': 40, "
     "'moe_router_scaling_factor': 3.0, 'scoring_func': 'sigmoid', 'use_moe_router_bias': true}",
     "shared_experts=1 shared_intermediate=40 routed_scaling=3 score=sigmoid", NULL},
    {"{'model_type': 'step3p7', 'text_config': {'model_type': 'step3p5', 'hidden_size': 64, "
     "'num_hidden_layers': 8, 'moe_num_experts': 16, 'moe_top_k': 2, 'moe_intermediate_size': 32, "
     "'moe_layers_enum': '3, 4,5,7', 'moe_router_activation': 'sigmoid', "
     "'norm_expert_weight': false}}",
     "moe_layers=3..5,7 score=sigmoid normalise=false topk=2", NULL},
    {"{'model_type': 'gemma4', 'text_config': {'model_type': 'gemma4_text', " SIZES
     "'num_experts': 16, 'top_k_experts': 3, 'moe_intermediate_size': 20, "
     "'intermediate_size': 60, 'enable_moe_block': true, 'num_kv_shared_layers': 0}}",
     "topk=3 intermediate=20 shared_experts=1 shared_intermediate=60", NULL},
    {"{'model_type': 'kimi_linear', " SIZES "'num_experts': 16, 'num_experts_per_token': 4, "
     "'moe_intermediate_size': 32, 'moe_layer_freq': 2, 'first_k_dense_replace': 1, "
     "'moe_router_activation_func': 'sigmoid', 'moe_renormalize': false, 'num_expert_group': 2}",
     "topk=4 moe_layers=2..6:2 score=sigmoid normalise=false groups=2 topk_groups=2", NULL},
    {"{'model_type': 'hunyuan_v1_moe', 'hidden_size': 64, 'num_hidden_layers': 3, "
     "'num_experts': 16, 'moe_topk': [1, 4, 4], 'moe_intermediate_size': [32, 32, 32], "
     "'num_shared_expert': [0, 1, 1], 'moe_layer_num_skipped': 1, 'intermediate_size': 96}",
     "moe_layers=1,2 topk=4 intermediate=32 shared_experts=1 shared_intermediate=32", NULL},
    {"{'model_type': 'dbrx', 'd_model': 72, 'n_layers': 5, 'ffn_config': {'ffn_hidden_size': 36, "
     "'moe_num_experts': 6, 'moe_top_k': 2, 'moe_jitter_eps': 0, 'moe_loss_weight': 0.05, "
     "'moe_normalize_expert_weights': 1, 'ffn_act_fn': {'name': 'silu'}}}",
     "hidden=72 experts=6 topk=2 intermediate=36 layers=5 normalise=true", NULL},
    {"{'dim': 88, 'hidden_dim': 300, 'n_layers': 7, 'moe': {'expert_hidden_dim': 44, "
     "'expert_parallel': 1, 'expert_model_parallel': 1, 'first_k_dense_replace': 2, "
     "'num_experts': 10, 'num_experts_per_tok': 3, 'num_shared_experts': 1, 'route_every_n': 1, "
     "'routed_scale': 2.0, 'num_expert_groups': 1, 'num_expert_groups_per_tok': 1}}",
     "hidden=88 intermediate=44 experts=10 topk=3 moe_layers=2..6 shared_intermediate=44 "
     "routed_scaling=2 score=softmax",
     NULL},
    {"{'dim': 88, 'hidden_dim': 300, 'n_layers': 7, "
     "'moe': {'num_experts': 10, 'num_experts_per_tok': 3}}",
     "intermediate=300 layers=7", NULL},
    {"{'dim': 88, 'inter_dim': 300, 'moe_inter_dim': 44, 'n_layers': 7, 'n_dense_layers': 1, "
     "'n_routed_experts': 12, 'n_shared_experts': 1, 'n_activated_experts': 3, "
     "'n_expert_groups': 4, 'n_limited_groups': 2, 'route_scale': 2.5, 'score_func': 'sigmoid', "
     "'dtype': 'fp8'}",
     "hidden=88 intermediate=44 topk=3 groups=4 topk_groups=2 moe_layers=1..6 score=sigmoid "
     "routed_scaling=2.5 weight_dtype=fp8 dispatch_dtype=fp8",
     NULL},
    {"{'model_type': 'some_vl', 'vision_config': {'hidden_size': 5}, 'llm_config': {" SIZES MOE
     ", 'mlp_only_layers': [], 'decoder_sparse_step': 1}}",
     "hidden=64 experts=16 layers=8", NULL},
    {"{'model_type': 'some_vl', 'language_config': {" SIZES MOE "}}", "hidden=64", NULL},
    {"{'model_type': 'omni', 'thinker_config': {'audio_config': {}, 'text_config': {" SIZES MOE
     "}}, 'talker_config': {'text_config': {'num_experts': 4}}}",
     "hidden=64 experts=16", NULL},
    {"{'model_type': 'jamba', " SIZES "'num_experts': 16, 'num_experts_per_tok': 2, "
     "'intermediate_size': 44, 'expert_layer_period': 3, 'expert_layer_offset': 1}",
     "moe_layers=1..7:3 intermediate=44", NULL},
    {"{'model_type': 'longcat', 'hidden_size': 64, 'num_layers': 4, 'n_routed_experts': 16, "
     "'moe_topk': 2, 'expert_ffn_hidden_size': 28, 'ffn_hidden_size': 99}",
     "intermediate=28 layers=4 topk=2", NULL},
    {"{'model_type': 'arctic', " SIZES "'num_local_experts': 16, 'num_experts_per_tok': 2, "
     "'intermediate_size': 44, 'moe_layer_frequency': 2}",
     "moe_layers=1..7:2", NULL},
    {"{'architectures': ['DeepseekV3ForCausalLM'], " SIZES MOE "}", "score=sigmoid", NULL},
    {"{'model_type': 'deepseek_v2', " SIZES MOE ", 'n_group': 4, 'topk_group': 2, "
     "'topk_method': 'greedy'}",
     "groups=1 topk_groups=1", NULL},
    {"{'model_type': 'x', " SIZES "'num_experts_per_tok': 2, 'moe_intermediate_size': 32, "
     "'num_experts': [0, 16, 0, 16, 0, 16, 0, 16]}",
     "experts=16 moe_layers=1..7:2", NULL},
    {"{'model_type': 'x', " SIZES "'num_experts': 16, 'num_experts_per_tok': 2, "
     "'intermediate_size': 44, 'shared_expert_intermediate_size': 0, 'moe_latent_size': 0}",
     "shared_experts=0 intermediate=44 latent=0", NULL},
    {"{'model_type': 'motif', " SIZES "'num_experts': 16, 'experts_top_k': 3, "
     "'moe_intermediate_size': 32, 'n_dense_first_layers': 2, 'interleave_moe_layer_step': 1, "
     "'route_norm': true, 'route_scale': 2.0, 'score_func': 'sigmoid', 'num_shared_experts': 1, "
     "'load_balance_coeff': 0.1, 'score_before_experts': false, 'hidden_act': 'silu'}",
     "topk=3 moe_layers=2..7 routed_scaling=2 score=sigmoid normalise=true", NULL},
    {"{'model_type': 'cohere2_moe', " SIZES "'num_experts': 16, 'num_experts_per_tok': 2, "
     "'intermediate_size': 24, 'num_shared_experts': 2, 'expert_selection_fn': 'sigmoid', "
     "'first_k_dense_replace': 1, 'prefix_dense_intermediate_size': 99, "
     "'shared_expert_combination_strategy': 'average', 'use_gated_activation': false}",
     "score=sigmoid gated=false moe_layers=1..7 shared_intermediate=48", NULL},
    {"{'model_type': 'git', " SIZES MOE ", 'intermediate_size': 48, 'residual_moe': true}",
     "shared_experts=1 shared_intermediate=48 intermediate=32", NULL},
    {"{'model_type': 'arctic', " SIZES "'num_local_experts': 16, 'num_experts_per_tok': 2, "
     "'intermediate_size': 44, 'moe_layer_frequency': 2, 'parallel_attn_mlp_res': true}",
     "shared_experts=1 shared_intermediate=64 intermediate=44", NULL},
    {"{'num_layers': 8, 'hidden_size': 64, 'num_experts': 16, 'moe_router_topk': 2, "
     "'moe_ffn_hidden_size': 32, 'moe_layer_freq': '([0]*2+[0, 1]*3)', 'moe_router_num_groups': 4, "
     "'moe_router_group_topk': 2, 'moe_router_topk_scaling_factor': 1.5, 'swiglu': false}",
     "moe_layers=3..7:2 dense_layers=5 groups=4 topk_groups=2 routed_scaling=1.5 gated=false",
     NULL},
    {"{'model_type': 'smallthinker', " SIZES "'moe_num_primary_experts': 16, "
     "'moe_num_active_primary_experts': 3, 'moe_ffn_hidden_size': 24, "
     "'moe_layer_layout': [0, 1, 1, 1, 1, 1, 1, 1], 'moe_primary_router_apply_softmax': false}",
     "experts=16 topk=3 intermediate=24 moe_layers=1..7 score=sigmoid", NULL},
    // said: what contradicts, and what was not read
    {"{'model_type': 'x', " SIZES MOE ", 'num_local_experts': 32}", "experts=16",
     "num_local_experts: 32, but num_experts says 16, which is taken"},
    {"{'model_type': 'x', " SIZES MOE ", 'num_local_experts': 16}", "experts=16", NULL},
    {"{'model_type': 'x', " SIZES MOE ", 'n_layers': 6}", "layers=8",
     "n_layers: 6, but num_hidden_layers says 8, which is taken"},
    {"{'model_type': 'x', " SIZES MOE ", 'num_layers': 8}", "layers=8", NULL},
    {"{'model_type': 'x', " SIZES MOE ", 'use_residual': true}", "shared_experts=0",
     "not read, and may change the answer: use_residual\n"},
    {"{'model_type': 'x', " SIZES MOE ", 'torch_dtype': 'float32'}", "weight_dtype=bf16",
     "torch_dtype: weights of 'float32' are not known; they are taken as bf16"},
    {"{'model_type': 'x', " SIZES MOE ", 'torch_dtype': 'float16'}", "weight_dtype=bf16", NULL},
    {"{'model_type': 'x', " SIZES MOE ", 'first_k_dense_replace': 2, "
     "'mlp_layer_types': ['dense', 'sparse', 'sparse', 'sparse', 'sparse', 'sparse', 'sparse', "
     "'sparse']}",
     "moe_layers=1..7", "first_k_dense_replace: MoE layers 2..7, where mlp_layer_types says 1..7"},
    {"{'model_type': 'x', " SIZES MOE ", 'n_shared_experts': 0, 'shared_intermediate_size': 9}",
     "shared_experts=0 shared_intermediate=0", "9, but there are no shared experts"},
    {"{'model_type': 'x', " SIZES MOE ", 'zero_expert_num': 4, 'moe_own_gate': true, "
     "'router_aux_loss_coef': 0.1, 'shared_nothing': null, 'index_topk': 8}",
     "experts=16", "not read, and may change the answer: zero_expert_num, moe_own_gate\n"},
    {"{'model_type': 'x', " SIZES MOE ", 'fp8': 'e4m3', 'fp8_recipe': 'own', 'fp4': false}",
     "weight_dtype=bf16", "not read, and may change the answer: fp8, fp8_recipe\n"},
    {"{'model_type': 'x', 'expert_thing': 1, 'text_config': {" SIZES MOE ", 'latent_thing': 1}}",
     "experts=16", "not read, and may change the answer: latent_thing, expert_thing\n"},
    {"{'model_type': 'x', " SIZES MOE ", 'scoring_func': 'cosine'}", "score=softmax",
     "scoring_func 'cosine' is unknown"},
    {"{'model_type': 'x', " SIZES MOE ", 'hidden_act': 'warp'}", "gated=true",
     "hidden_act 'warp' is unknown"},
    {"{'model_type': 'kimi_k25', 'text_config': {'model_type': 'kimi_k2', " SIZES MOE "}}",
     "weight_dtype=int4 weight_group=32 dispatch_dtype=bf16", "was published in int4"},
};

START_TEST(reads_shapes)
{
    expect_text(shapes[_i].text, shapes[_i].expected, shapes[_i].said);
}
END_TEST

// ---- quantisation -------------------------------------------------------------------------------

#define GROUP(weights, inputs) "{'weights': {" weights "}, 'input_activations': " inputs "}"
#define FLOAT8 "{'num_bits': 8, 'type': 'float'}"
#define CT "'quant_method': 'compressed-tensors', "
#define MODELOPT "'quant_method': 'modelopt', "

static const struct {
    const char *config, *expected, *said;
} schemes[] = {
    {CT "'format': 'pack-quantized', 'config_groups': {'group_0': " GROUP(
         "'num_bits': 4, 'type': 'int', 'group_size': 32", "null") "}",
     "weight_dtype=int4 weight_group=32 activation_dtype=bf16", NULL},
    {CT "'config_groups': {'group_0': " GROUP("'num_bits': 8, 'type': 'float'", FLOAT8) "}",
     "weight_dtype=fp8 activation_dtype=fp8 dispatch_dtype=fp8", NULL},
    {CT "'config_groups': {'group_0': " GROUP("'num_bits': 8, 'type': 'float'", "null") "}",
     "weight_dtype=fp8 activation_dtype=bf16 dispatch_dtype=bf16", NULL},
    {CT "'config_groups': {'group_0': " GROUP("'num_bits': 4, 'type': 'int', 'group_size': 128",
                                              FLOAT8) "}",
     "weight_dtype=int4 weight_group=128 activation_dtype=fp8", NULL},
    {CT "'config_groups': {'group_0': " GROUP("'num_bits': 8, 'type': 'int', 'strategy': 'channel'",
                                              "{'num_bits': 8, 'type': 'int'}") "}",
     "weight_dtype=int8 activation_dtype=bf16",
     "activations of int8 have no format here; they are taken as bf16"},
    {CT "'config_groups': {'group_0': " GROUP("'num_bits': 4, 'type': 'float', 'group_size': 32, "
                                              "'scale_dtype': 'torch.uint8'",
                                              "null") "}",
     "weight_dtype=mxfp4 activation_dtype=bf16", NULL},
    // two groups: that whose targets are the experts
    {CT "'config_groups': {'a': {'targets': ['re:.*self_attn.*'], 'weights': " FLOAT8
        "}, 'b': {'targets': ['re:.*mlp\\\\.experts\\\\.\\\\d+.*'], 'weights': {'num_bits': 4, "
        "'type': "
        "'int', 'group_size': 64}}}",
     "weight_dtype=int4 weight_group=64", NULL},
    {CT "'config_groups': {'a': {'targets': ['Linear'], 'weights': " FLOAT8
        "}, 'b': {'targets': ['re:.*experts.*'], 'weights': {'num_bits': 4, 'type': 'float', "
        "'group_size': 16}}}",
     "weight_dtype=nvfp4 activation_dtype=nvfp4", NULL},
    {CT "'config_groups': {'a': {'targets': ['re:.*self_attn.*'], 'weights': " FLOAT8 "}}",
     "weight_dtype=bf16", NULL},
    // exempt experts, dense layers, other modules
    {CT "'ignore': ['lm_head', 're:.*experts.*'], 'config_groups': {'a': {'targets': ['Linear'], "
        "'weights': " FLOAT8 "}}",
     "weight_dtype=bf16", NULL},
    {"'quant_method': 'fp8', 'modules_to_not_convert': ['gate', 'lm_head', 'mlp.gate']",
     "weight_dtype=fp8", NULL},
    {"'quant_method': 'fp8', 'modules_to_not_convert': ['model.layers.0.mlp', "
     "'model.layers.1.mlp.experts']",
     "weight_dtype=fp8", "experts of 1 of 7 MoE layers are not quantised"},
    {"'quant_method': 'fp8', 'modules_to_not_convert': ['experts']", "weight_dtype=bf16", NULL},
    {"'quant_method': 'fp8', 'ignored_layers': ['model.layers.*.mlp.experts']", "weight_dtype=bf16",
     NULL},
    {"'quant_method': 'awq', 'bits': 4, 'group_size': 64, 'modules_to_not_convert': "
     "['shared_experts']",
     "weight_dtype=int4 weight_group=64", "shared experts are not quantised"},
    {CT "'ignore': ['re:(?!x)y'], 'config_groups': {'a': {'targets': ['Linear'], 'weights': " FLOAT8
        "}}",
     "weight_dtype=fp8", "pattern 're:(?!x)y' is not understood"},
    {"'quant_method': 'fp8', 'ignore': ['re:(a{1,9999}){1,9999}']", "weight_dtype=fp8",
     "pattern 're:(a{1,9999}){1,9999}' is not understood"},
    {"'quant_method': 'fp8', 'ignore': ['re:(.*)\\\\1']", "weight_dtype=fp8", "is not understood"},
    {"'quant_method': 'fp8', 'ignore': ['*a*a*a*a*a*a*a*a*a*a*a*a*']", "weight_dtype=fp8",
     "is not understood"},
    {"'quant_method': 'fp8', 'ignore': ['re:.*layers\\\\.3\\\\..*', '*layers.4.*', "
     "'*layers.5*', '*layers.99999.*']",
     "weight_dtype=fp8", "experts of 3 of 7 MoE layers are not quantised"},
    {MODELOPT "'quant_algo': 'FP8'", "weight_dtype=fp8 activation_dtype=fp8", NULL},
    {MODELOPT "'quant_algo': 'NVFP4', 'ignore': ['model.layers.0*', '*self_attn*']",
     "weight_dtype=nvfp4 dispatch_dtype=nvfp4", NULL},
    {MODELOPT "'quant_algo': 'NVFP4', 'exclude_modules': ['*.mlp.experts.*']", "weight_dtype=bf16",
     NULL},
    {MODELOPT "'quant_algo': 'W4A16_NVFP4'", "weight_dtype=nvfp4 activation_dtype=bf16", NULL},
    {MODELOPT "'quant_algo': 'W4A8_NVFP4_FP8'", "weight_dtype=nvfp4 activation_dtype=fp8", NULL},
    {MODELOPT "'quant_algo': 'W4A8_MXFP4_FP8'", "weight_dtype=mxfp4 activation_dtype=fp8", NULL},
    {MODELOPT "'quant_algo': 'W4A8_AWQ', 'group_size': 128",
     "weight_dtype=int4 weight_group=128 activation_dtype=fp8", NULL},
    {MODELOPT "'quant_algo': 'MIXED_PRECISION', 'quantized_layers': {"
              "'model.layers.1.mlp.experts': {'quant_algo': 'NVFP4'}, "
              "'model.layers.2.mlp.experts': {'quant_algo': 'FP8'}}",
     "weight_dtype=nvfp4", "experts of 1 of 7 MoE layers are nvfp4"},
    {MODELOPT "'quant_algo': 'MIXED_PRECISION', 'quantized_layers': {"
              "'model.layers.*.mlp.experts.*': {'quant_algo': 'W4A16_NVFP4'}}",
     "weight_dtype=nvfp4 activation_dtype=bf16", NULL},
    {MODELOPT "'quant_algo': 'MIXED_PRECISION', 'quantized_layers': {"
              "'model.layers.1.self_attn.o_proj': {'quant_algo': 'FP8'}}",
     "weight_dtype=bf16", NULL},
    {MODELOPT "'quant_algo': 'MIXED_PRECISION', 'quantized_layers': {"
              "'model.layers.1.mlp.experts.0.up_proj': {'quant_algo': 'NVFP4'}, "
              "'model.layers.1.mlp.experts.1.up_proj': {'quant_algo': 'NVFP4'}}",
     "weight_dtype=bf16",
     "quantized_layers: 2 that name experts are not understood, and not taken"},
    {"'quant_method': 'quark', 'global_quant_config': {'weight': {'dtype': 'fp4', 'group_size': "
     "32, 'scale_format': 'e8m0'}, 'input_tensors': {'dtype': 'fp4', 'group_size': 32}}",
     "weight_dtype=mxfp4 activation_dtype=mxfp8",
     "activations of mxfp4 have no format here; they are taken as mxfp8"},
    {"'quant_method': 'quark', 'layer_quant_config': {'*experts*': {'weight': {'dtype': 'fp4', "
     "'group_size': 32}, 'input_tensors': {'dtype': 'fp4'}}}",
     "weight_dtype=mxfp4 activation_dtype=mxfp8", "activations of mxfp4 have no format here"},
    {"'quant_method': 'quark', 'global_quant_config': {'weight': {'dtype': 'fp4', 'group_size': "
     "16}, 'input_tensors': {'dtype': 'fp4', 'group_size': 16}}",
     "weight_dtype=nvfp4 activation_dtype=nvfp4", NULL},
    {"'quant_method': 'auto-round', 'bits': 4, 'group_size': 32, 'data_type': 'mx_fp', "
     "'act_bits': 4",
     "weight_dtype=mxfp4 activation_dtype=mxfp8", "activations of mxfp4 have no format here"},
    {"'quant_method': 'auto-round', 'bits': 8, 'group_size': 32, 'data_type': 'mx_fp', "
     "'act_bits': 8",
     "weight_dtype=mxfp8 activation_dtype=mxfp8", NULL},
    {"'quant_method': 'auto-round', 'bits': 4, 'group_size': 16, 'data_type': 'nv_fp', "
     "'act_bits': 4, 'act_data_type': 'nv_fp4_with_static_gs'",
     "weight_dtype=nvfp4 activation_dtype=nvfp4", NULL},
    {"'quant_method': 'auto-round', 'bits': 4, 'group_size': 64, 'data_type': 'int', "
     "'act_bits': 16",
     "weight_dtype=int4 weight_group=64 activation_dtype=bf16", NULL},
    {"'quant_method': 'petit_nvfp4'", "weight_dtype=nvfp4 activation_dtype=bf16", NULL},
    {"'quant_method': 'quark_int4fp8_moe'", "weight_dtype=int4 activation_dtype=fp8", NULL},
    {"'quant_method': 'own_nvfp4'", "weight_dtype=nvfp4 activation_dtype=nvfp4",
     "quant_method 'own_nvfp4' is unknown; by its name, weights are taken as nvfp4"},
    {"'quant_method': 'quark', 'global_quant_config': {'weight': {'dtype': 'fp8_e4m3'}, "
     "'input_tensors': null}, 'exclude': ['lm_head']",
     "weight_dtype=fp8 activation_dtype=bf16", NULL},
    {"'quant_method': 'gptq', 'bits': 4, 'group_size': -1",
     "weight_dtype=int4 weight_group=1048576", NULL},
    {"'quant_method': 'gptq', 'bits': 4, 'dynamic': {'-:.*\\\\.experts\\\\..*': {}}",
     "weight_dtype=bf16", NULL},
    {"'quant_method': 'auto-round', 'bits': 4, 'group_size': 128, 'extra_config': {"
     "'.*experts.*': {'bits': 8}, 're:.*experts.*': {'bits': 8, 'group_size': 64}}",
     "weight_dtype=int8 weight_group=64", NULL},
    {"'quant_method': 'w4afp8'", "weight_dtype=int4 activation_dtype=fp8", NULL},
    {"'quant_method': 'bitsandbytes', 'load_in_4bit': true, 'bnb_4bit_quant_type': 'nf4'",
     "weight_dtype=int4 weight_group=64", NULL},
    {"'quant_method': 'bitsandbytes', 'load_in_8bit': true", "weight_dtype=int8", NULL},
    {"'quant_method': 'fp8', 'expert_dtype': 'fp4'", "weight_dtype=mxfp4 activation_dtype=fp8",
     NULL},
    {"'quant_method': 'higgs'", "weight_dtype=bf16", "quant_method 'higgs' is unknown"},
};

#define EIGHT                                                                                      \
    "{'model_type': 'x', 'first_k_dense_replace': 1, 'n_shared_experts': 1, " SIZES MOE ", "

START_TEST(reads_schemes)
{
    char *text = mem_format(EIGHT "'quantization_config': {%s}}", schemes[_i].config);
    expect_text(text, schemes[_i].expected, schemes[_i].said);
    free(text);
}
END_TEST

START_TEST(reads_expert_dtype)
{
    expect_text(EIGHT "'quantization_config': {'quant_method': 'fp8'}, 'expert_dtype': 'fp4'}",
                "weight_dtype=mxfp4 activation_dtype=fp8", NULL);
    expect_text(EIGHT "'expert_dtype': 'wood'}", "weight_dtype=bf16",
                "expert_dtype 'wood' is unknown");
    expect_text("{'model_type': 'v', 'quantization_config': {'quant_method': 'fp8'}, "
                "'text_config': {" SIZES MOE "}}",
                "weight_dtype=fp8", NULL);
}
END_TEST

// ---- folders and names --------------------------------------------------------------------------

static void write_json(const char *name, const char *text)
{
    char *json = doubled(text);
    scratch_write(name, json, strlen(json));
    free(json);
}

static void make_folder(const char *name)
{
    ck_assert_msg(mkdir(scratch_path(name), 0755) == 0, "%s", name);
}

START_TEST(takes_folders)
{
    struct moe moe;
    struct error err;
    make_folder("Own-9B");
    write_json("Own-9B/config.json", EIGHT "'dtype': 'bfloat16'}");
    expect_loaded(scratch_path("Own-9B"), "name=Own-9B weight_dtype=bf16 experts=16", NULL);
    write_json("Own-9B/hf_quant_config.json",
               "{'producer': {'name': 'modelopt'}, 'quantization': {'quant_algo': 'NVFP4', "
               "'exclude_modules': ['model.layers.0*']}}");
    expect_loaded(scratch_path("Own-9B/"), "name=Own-9B weight_dtype=nvfp4", NULL);
    expect_loaded(scratch_path("Own-9B/config.json"), "name=Own-9B weight_dtype=nvfp4", NULL);
    write_json("Own-9B/hf_quant_config.json", "{'quantization': {");
    ck_assert(!moe_load(scratch_path("Own-9B"), &moe, NULL, &err));
    ck_assert_msg(strstr(err.text, "hf_quant_config.json:") != NULL, "%s", err.text);
}
END_TEST

START_TEST(takes_folders_of_mistral)
{
    make_folder("Own-9B");
    write_json("Own-9B/params.json", "{'dim': 8, 'hidden_dim': 16, 'n_layers': 2, 'moe': "
                                     "{'num_experts': 4, 'num_experts_per_tok': 2}}");
    expect_loaded(scratch_path("Own-9B"), "name=Own-9B hidden=8", NULL);
}
END_TEST

START_TEST(names_snapshots)
{
    make_folder("models--someone--Some-Model");
    make_folder("models--someone--Some-Model/snapshots");
    make_folder("models--someone--Some-Model/snapshots/0a1b2c");
    write_json("models--someone--Some-Model/snapshots/0a1b2c/config.json", EIGHT "'z': 0}");
    expect_loaded(scratch_path("models--someone--Some-Model/snapshots/0a1b2c"),
                  "name=Some-Model experts=16", NULL);
}
END_TEST

// ---- properties ---------------------------------------------------------------------------------

static const char *const pairs[] = {
    "'model_type': 'x'",
    "'hidden_size': 64",
    "'num_hidden_layers': 8",
    "'num_experts': 16",
    "'num_experts_per_tok': 2",
    "'moe_intermediate_size': 32",
    "'intermediate_size': 99",
    "'n_shared_experts': 2",
    "'n_group': 4",
    "'topk_group': 2",
    "'first_k_dense_replace': 1",
    "'moe_layer_freq': 2",
    "'scoring_func': 'sigmoid'",
    "'routed_scaling_factor': 1.5",
    "'hidden_act': 'relu2'",
    "'quantization_config': {'quant_method': 'fp8'}",
};
#define PAIRS SUITE_COUNT(pairs)

// The same keys, those from `first` on before the others, and others null.
static char *rotated(int first, const char *nulls)
{
    char *text = mem_format("{%s", nulls);
    for (int i = 0; i < PAIRS; i++) {
        char *longer = mem_format("%s%s, ", text, pairs[(first + i) % PAIRS]);
        free(text);
        text = longer;
    }
    char *whole = mem_format("%s'z': 0}", text);
    free(text);
    return whole;
}

START_TEST(order_and_nulls_change_nothing)
{
    static const char *const nulls[] = {
        "", "'n_routed_experts': null, 'moe_topk': null, 'moe_layers': null, ",
        "'text_config': null, 'shared_expert_intermediate_size': null, 'expert_dtype': null, ",
        "'mlp_layer_types': null, 'moe_latent_size': null, 'num_expert_group': null, "};
    for (int n = 0; n < SUITE_COUNT(nulls); n++) {
        char *text = rotated(_i, nulls[n]);
        expect_text(text,
                    "hidden=64 experts=16 topk=2 intermediate=32 shared_experts=2 "
                    "shared_intermediate=64 groups=4 topk_groups=2 moe_layers=2..6:2 layers=3 "
                    "dense_layers=5 score=sigmoid routed_scaling=1.5 gated=false weight_dtype=fp8",
                    NULL);
        free(text);
    }
}
END_TEST

// ---- refusals -----------------------------------------------------------------------------------

static const struct {
    const char *text, *message;
} refused[] = {
    {"{'model_type': 'x', " SIZES MOE ", 'moe_layer_freq': [0, 1]}",
     ":1: moe_layer_freq: 2 layers: expected one value for each of the 8 layers"},
    {"{'model_type': 'x', " SIZES MOE ", 'hybrid_override_pattern': 'MMMMMMMM'}",
     ":1: hybrid_override_pattern: none of the 8 layers is an MoE layer: expected some"},
    {"{'model_type': 'x', " SIZES MOE ", 'moe_layer_freq': '[0]*3+[1]*4'}",
     ":1: moe_layer_freq: 7 layers: expected one value for each of the 8 layers"},
    {"{'model_type': 'x', " SIZES MOE ", 'moe_layer_freq': '[0]*3+[1]*'}", ":1: moe_layer_freq: "},
    {"{'model_type': 'x', " SIZES "'num_experts': 16, 'moe_intermediate_size': 32, "
     "'num_experts_per_tok': 0}",
     ":1: num_experts_per_tok: 0: expected at least 1"},
    {"{'model_type': 'x', " SIZES MOE ", 'moe_layers': [1, 9]}",
     ":1: moe_layers: layer 9: expected one of the 8 layers"},
    {"{'model_type': 'x', " SIZES MOE ", 'moe_layers_enum': '1,,3'}", ":1: moe_layers_enum: "},
    {"{'model_type': 'x', " SIZES MOE ", 'interleave_moe_layer_step': 0}",
     ":1: interleave_moe_layer_step: none of the 8 layers is an MoE layer"},
    {"{'model_type': 'x', " SIZES MOE ", 'first_k_dense_replace': 'two'}",
     ":1: first_k_dense_replace: 'two': "},
    {"{'model_type': 'x', " SIZES "'num_experts': 16, 'moe_intermediate_size': 32,\n"
     "'moe_topk': [2, 2, 2, 2, 2, 2, 2, 4]}",
     ":2: moe_topk: '2' and '4': expected the same in all 8 MoE layers"},
    {"{'model_type': 'x', " SIZES "'num_experts': 16, 'moe_intermediate_size': 32,\n"
     "'moe_topk': []}",
     ":2: moe_topk: an empty list: expected one value"},
    {"{'model_type': 'switch', 'is_encoder_decoder': true, " SIZES MOE "}",
     ":1: is_encoder_decoder: true: expected a model of one stack of layers"},
    {"{'model_type': 'x', 'num_hidden_layers': 2000, 'hidden_size': 8, " MOE "}",
     ":1: num_hidden_layers: 2000: expected 1 to 1024 layers"},
    {"{'model_type': 'gemma4', 'text_config': {" SIZES "'enable_moe_block': false, "
     "'num_experts': null}}",
     ":1: not an MoE model: none of n_routed_experts, num_experts, num_local_experts, "},
    {"{'model_type': 'x', " SIZES "'num_experts': 16, 'num_experts_per_tok': 17, "
     "'moe_intermediate_size': 8}",
     ":1: num_experts_per_tok: 17: expected at most the 16 experts"},
    {"{'model_type': 'x', " SIZES MOE ", 'n_shared_experts': 4096, "
     "'moe_shared_expert_intermediate_size': 16777216}",
     ":1: moe_shared_expert_intermediate_size: 16777216 x 4096 shared experts: expected at most"},
};

START_TEST(refuses)
{
    char *json = doubled(refused[_i].text), notices[NOTICES_BYTES];
    const struct fixture fixture = fixture_make(json, ".json");
    struct moe moe;
    struct error err;
    free(json);
    ck_assert_msg(!load_said(fixture.path, &moe, notices, &err), "accepted: %s", refused[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)),
                  "%s\nexpected %s", message, refused[_i].message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model_config");
    TCase *tcase = tcase_create("model_config");
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, reads_shapes, 0, SUITE_COUNT(shapes));
    tcase_add_loop_test(tcase, reads_schemes, 0, SUITE_COUNT(schemes));
    tcase_add_test(tcase, reads_expert_dtype);
    TCase *folders = tcase_create("folders");
    tcase_add_checked_fixture(folders, scratch_make, scratch_clear);
    tcase_add_test(folders, takes_folders);
    tcase_add_test(folders, takes_folders_of_mistral);
    tcase_add_test(folders, names_snapshots);
    suite_add_tcase(suite, folders);
    tcase_add_loop_test(tcase, order_and_nulls_change_nothing, 0, PAIRS);
    tcase_add_loop_test(tcase, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
