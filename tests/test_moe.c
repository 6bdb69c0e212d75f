// model/moe, the readers of models and base/preset: presets against published configurations, and
// every refusal.
#include "base/mem.h"
#include "model/moe.h"
#include "base/preset.h"
#include "tests/fixture.h"

static struct moe load(const char *what)
{
    struct moe moe;
    struct error err;
    ck_assert_msg(moe_load(what, &moe, NULL, &err), "%s", err.text);
    return moe;
}

static const struct {
    const char *name;
    uint32_t hidden, experts, topk, groups, topk_groups, shared, intermediate, layers, dense;
    enum dtype dispatch, weight;
} shapes[] = {
    {"deepseek-v2", 5120, 160, 6, 8, 3, 2, 1536, 59, 1, DTYPE_BF16, DTYPE_BF16},
    {"deepseek-v2-lite", 2048, 64, 6, 1, 1, 2, 1408, 26, 1, DTYPE_BF16, DTYPE_BF16},
    {"deepseek-v3", 7168, 256, 8, 8, 4, 1, 2048, 58, 3, DTYPE_FP8, DTYPE_FP8},
    {"deepseek-v3.2", 7168, 256, 8, 8, 4, 1, 2048, 58, 3, DTYPE_FP8, DTYPE_FP8},
    {"glm-4.5", 5120, 160, 8, 1, 1, 1, 1536, 89, 3, DTYPE_BF16, DTYPE_BF16},
    {"glm-4.6", 5120, 160, 8, 1, 1, 1, 1536, 89, 3, DTYPE_BF16, DTYPE_BF16},
    {"gpt-oss-120b", 2880, 128, 4, 1, 1, 0, 2880, 36, 0, DTYPE_BF16, DTYPE_MXFP4},
    {"gpt-oss-20b", 2880, 32, 4, 1, 1, 0, 2880, 24, 0, DTYPE_BF16, DTYPE_MXFP4},
    {"kimi-k2", 7168, 384, 8, 1, 1, 1, 2048, 60, 1, DTYPE_FP8, DTYPE_FP8},
    {"kimi-k2-thinking", 7168, 384, 8, 1, 1, 1, 2048, 60, 1, DTYPE_BF16, DTYPE_INT4},
    {"llama-4-maverick", 5120, 128, 1, 1, 1, 1, 8192, 24, 24, DTYPE_BF16, DTYPE_BF16},
    {"minimax-m2", 3072, 256, 8, 1, 1, 0, 1536, 62, 0, DTYPE_FP8, DTYPE_FP8},
    {"mixtral-8x7b", 4096, 8, 2, 1, 1, 0, 14336, 32, 0, DTYPE_BF16, DTYPE_BF16},
    {"olmoe", 2048, 64, 8, 1, 1, 0, 1024, 16, 0, DTYPE_BF16, DTYPE_BF16},
    {"qwen3-235b-a22b", 4096, 128, 8, 1, 1, 0, 1536, 94, 0, DTYPE_BF16, DTYPE_BF16},
    {"qwen3-30b-a3b", 2048, 128, 8, 1, 1, 0, 768, 48, 0, DTYPE_BF16, DTYPE_BF16},
    {"qwen3-next-80b-a3b", 2048, 512, 10, 1, 1, 1, 512, 48, 0, DTYPE_BF16, DTYPE_BF16},
};

START_TEST(preset_shapes)
{
    const struct moe moe = load(shapes[_i].name);
    ck_assert_str_eq(moe.name, shapes[_i].name);
    ck_assert_uint_eq(moe.hidden, shapes[_i].hidden);
    ck_assert_uint_eq(moe.experts, shapes[_i].experts);
    ck_assert_uint_eq(moe.topk, shapes[_i].topk);
    ck_assert_uint_eq(moe.groups, shapes[_i].groups);
    ck_assert_uint_eq(moe.topk_groups, shapes[_i].topk_groups);
    ck_assert_uint_eq(moe.shared_experts, shapes[_i].shared);
    ck_assert_uint_eq(moe.intermediate, shapes[_i].intermediate);
    ck_assert_uint_eq(moe.shared_intermediate, shapes[_i].shared * shapes[_i].intermediate);
    ck_assert_uint_eq(moe.layers, shapes[_i].layers);
    ck_assert_uint_eq(moe.dense_layers, shapes[_i].dense);
    ck_assert_uint_eq(moe.dispatch_dtype, shapes[_i].dispatch);
    ck_assert_uint_eq(moe.combine_dtype, DTYPE_BF16);
    ck_assert_uint_eq(moe.weight_dtype, shapes[_i].weight);
}
END_TEST

START_TEST(every_preset_is_listed_in_order)
{
    size_t own, count;
    char **names = preset_all("models", &own, &count);
    ck_assert_uint_eq(own, 0);
    ck_assert_uint_eq(count, sizeof shapes / sizeof shapes[0]);
    for (size_t i = 0; i < count; i++) {
        load(names[i]);
        if (i > 0)
            ck_assert_str_lt(names[i - 1], names[i]);
    }
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}
END_TEST

// A published configuration says the same of a model as its preset, to the last field.
static const char *const published[] = {"deepseek-v3",
                                        "qwen3-235b-a22b",
                                        "mixtral-8x7b",
                                        "gpt-oss-20b",
                                        "kimi-k2",
                                        "glm-4.5",
                                        "olmoe",
                                        "deepseek-v2-lite",
                                        "deepseek-v3.2",
                                        "minimax-m2",
                                        "qwen3-next-80b-a3b",
                                        "kimi-k2-thinking",
                                        "llama-4-maverick"};

START_TEST(config_equals_preset)
{
    char *path = mem_format("tests/data/config/%s.json", published[_i]);
    const struct moe preset = load(published[_i]), config = load(path);
    free(path);
    for (size_t row = 0; row < moe_field_count; row++) {
        char a[FIELD_TEXT_BYTES], b[FIELD_TEXT_BYTES];
        ck_assert_msg(strcmp(field_format(&moe_fields[row], &preset, a),
                             field_format(&moe_fields[row], &config, b)) == 0,
                      "%s: %s: preset %s, config %s", published[_i], moe_fields[row].key, a, b);
    }
}
END_TEST

START_TEST(sources_name_their_origin)
{
    struct provenance *sources = mem_alloc(moe_field_count, sizeof *sources);
    struct moe moe;
    struct error err;
    const size_t experts =
        (size_t)(field_find(moe_fields, moe_field_count, "experts") - moe_fields);
    ck_assert(moe_load("deepseek-v3", &moe, sources, &err));
    ck_assert_str_eq(sources[experts].source,
                     "Hugging Face config.json of deepseek-ai/DeepSeek-V3: n_routed_experts");
    provenance_release(sources, moe_field_count);
    ck_assert(moe_load("tests/data/config/mixtral-8x7b.json", &moe, sources, &err));
    ck_assert_str_eq(sources[experts].source,
                     "tests/data/config/mixtral-8x7b.json: num_local_experts");
    provenance_release(sources, moe_field_count);
    free(sources);
}
END_TEST

START_TEST(config_nested_and_shared_width)
{
    const struct fixture fixture = fixture_make(
        "{\"model_type\": \"some_vl\", \"quantization_config\": {\"quant_method\": \"fp8\"},\n"
        " \"text_config\": {\"model_type\": \"qwen2_moe\", \"hidden_size\": 2048,\n"
        "  \"num_experts\": 60, \"num_experts_per_tok\": 4, \"n_group\": null,\n"
        "  \"moe_intermediate_size\": 1408, \"shared_expert_intermediate_size\": 5632,\n"
        "  \"num_hidden_layers\": 24, \"norm_topk_prob\": false}}\n",
        ".json");
    const struct moe moe = load(fixture.path);
    fixture_remove(&fixture);
    ck_assert_uint_eq(moe.experts, 60);
    ck_assert_uint_eq(moe.groups, 1);
    ck_assert_uint_eq(moe.shared_experts, 1);
    ck_assert_uint_eq(moe.shared_intermediate, 5632);
    ck_assert_uint_eq(moe.weight_dtype, DTYPE_FP8);
    ck_assert(!moe.normalise);
}
END_TEST

// What quantization_config says of the experts' weights, and what dispatch moves to them.
static const struct {
    const char *quantization;
    enum dtype weights, dispatch;
} quantised[] = {
    {"{\"quant_method\": \"fp8\", \"fmt\": \"e4m3\"}", DTYPE_FP8, DTYPE_FP8},
    {"{\"quant_method\": \"fbgemm_fp8\"}", DTYPE_FP8, DTYPE_FP8},
    {"{\"quant_method\": \"mxfp4\"}", DTYPE_MXFP4, DTYPE_BF16},
    {"{\"quant_method\": \"awq\", \"bits\": 4}", DTYPE_INT4, DTYPE_BF16},
    {"{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 128}", DTYPE_INT4, DTYPE_BF16},
    {"{\"quant_method\": \"gptq\", \"bits\": 8}", DTYPE_INT8, DTYPE_BF16},
    {"{\"quant_method\": \"modelopt\", \"quant_algo\": \"NVFP4\"}", DTYPE_NVFP4, DTYPE_NVFP4},
    {"{\"quant_method\": \"modelopt\", \"quant_algo\": \"FP8\"}", DTYPE_FP8, DTYPE_FP8},
    {"{\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\", "
     "\"config_groups\": "
     "{\"group_0\": {\"weights\": {\"num_bits\": 4, \"type\": \"int\", \"group_size\": 32}}}}",
     DTYPE_INT4, DTYPE_BF16},
    {"{\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\", "
     "\"config_groups\": "
     "{\"group_0\": {\"weights\": {\"num_bits\": 8, \"type\": \"float\"}}}}",
     DTYPE_FP8, DTYPE_FP8},
    {"{\"quant_method\": \"compressed-tensors\", \"format\": \"nvfp4-pack-quantized\", "
     "\"config_groups\": {\"group_0\": {\"weights\": {\"num_bits\": 4, \"type\": \"float\", "
     "\"group_size\": 16}}}}",
     DTYPE_NVFP4, DTYPE_NVFP4},
    {"{\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true}", DTYPE_INT4, DTYPE_BF16},
    {"{\"quant_method\": \"own\"}", DTYPE_BF16, DTYPE_BF16},
    {"null", DTYPE_BF16, DTYPE_BF16},
};

START_TEST(config_quantisation)
{
    char *text = mem_format("{\"model_type\": \"deepseek_v3\", \"hidden_size\": 2048, "
                            "\"n_routed_experts\": 64, \"num_experts_per_tok\": 4, "
                            "\"moe_intermediate_size\": 1408, \"num_hidden_layers\": 24, "
                            "\"quantization_config\": %s}",
                            quantised[_i].quantization);
    const struct fixture fixture = fixture_make(text, ".json");
    const struct moe moe = load(fixture.path);
    fixture_remove(&fixture);
    free(text);
    ck_assert_str_eq(dtype_names[moe.weight_dtype], dtype_names[quantised[_i].weights]);
    ck_assert_str_eq(dtype_names[moe.dispatch_dtype], dtype_names[quantised[_i].dispatch]);
    ck_assert(!moe.dispatch_given);
    ck_assert_uint_eq(moe.combine_dtype, DTYPE_BF16);
}
END_TEST

START_TEST(weight_bytes)
{
    ck_assert_double_eq(dtype_weight_bytes(DTYPE_BF16, 0), 2);
    ck_assert_double_eq(dtype_weight_bytes(DTYPE_FP8, 0), 1);
    ck_assert_double_eq(dtype_weight_bytes(DTYPE_NVFP4, 0), 0.5625);
    ck_assert_double_eq(dtype_weight_bytes(DTYPE_MXFP4, 0), 0.53125);
    ck_assert_double_eq(dtype_weight_bytes(DTYPE_INT4, 32), 0.5625);
    ck_assert_double_eq(dtype_weight_bytes(DTYPE_BF16, 32), 2);
    for (enum dtype d = 0; dtype_names[d]; d++)
        ck_assert(dtype_weight_bytes(d, 0) >= 0.5 && dtype_weight_bytes(d, 0) <= 4);
}
END_TEST

START_TEST(native_defaults)
{
    const struct fixture fixture = fixture_make("hidden: 1024\n"
                                                "experts: {value: 64, source: \"mine\"}\n"
                                                "topk: 4\n"
                                                "intermediate: 512\n"
                                                "groups: 8\n"
                                                "shared_experts: 2\n"
                                                "dispatch_dtype: fp8\n",
                                                ".yaml");
    const struct moe moe = load(fixture.path);
    fixture_remove(&fixture);
    ck_assert_uint_eq(moe.topk_groups, 8);
    ck_assert_uint_eq(moe.shared_intermediate, 1024);
    ck_assert_uint_eq(moe.dispatch_dtype, DTYPE_FP8);
    ck_assert(moe.dispatch_given);
    ck_assert(moe.normalise);
    ck_assert_uint_eq(strlen(moe.name), strlen("epsim-XXXXXX"));
}
END_TEST

// Which layers are MoE layers, as a file of ours says it.
static const struct {
    const char *keys, *moe_layers;
    uint32_t layers, dense, first, last;
} placed[] = {
    {"layers: 58\ndense_layers: 3\n", "3..60", 58, 3, 3, 60},
    {"", "0", 1, 0, 0, 0},
    {"dense_layers: 2\n", "2", 1, 2, 2, 2},
    {"moe_layers: 3..60\n", "3..60", 58, 3, 3, 60},
    {"moe_layers: 1..47:2\n", "1..47:2", 24, 24, 1, 47},
    {"moe_layers: \"1,3,5\"\nlayers: 3\ndense_layers: 5\n", "1,3,5", 3, 5, 1, 5},
};

START_TEST(native_layers)
{
    char *text =
        mem_format("hidden: 1024\nexperts: 64\ntopk: 4\nintermediate: 512\n%s", placed[_i].keys);
    const struct fixture fixture = fixture_make(text, ".yaml");
    const struct moe moe = load(fixture.path);
    fixture_remove(&fixture);
    free(text);
    ck_assert_str_eq(moe.moe_layers, placed[_i].moe_layers);
    ck_assert_uint_eq(moe.layers, placed[_i].layers);
    ck_assert_uint_eq(moe_model_layers(&moe), placed[_i].layers + placed[_i].dense);
    ck_assert_uint_eq(moe_layer_id(&moe, 0), placed[_i].first);
    ck_assert_uint_eq(moe_layer_id(&moe, moe.layers - 1), placed[_i].last);
    uint32_t seen = 0;
    for (uint32_t l = 0; l < MODEL_MAX_LAYERS; l++)
        if (moe_layer_of(&moe, l) != MOE_NOT_AN_MOE_LAYER)
            ck_assert_uint_eq(moe_layer_of(&moe, l), seen++);
    ck_assert_uint_eq(seen, moe.layers);
}
END_TEST

// NAME:key=value: what hangs on a changed key follows, and what was said stays.
static const struct {
    const char *what, *key, *value;
} changed[] = {
    {"deepseek-v3:topk=4", "topk", "4"},
    {"deepseek-v3:topk=4", "name", "deepseek-v3*"},
    {"deepseek-v3:topk=4", "topk_groups", "4"},
    {"deepseek-v3:shared_experts=2", "shared_intermediate", "4096"},
    {"deepseek-v3:intermediate=1024", "shared_intermediate", "1024"},
    {"deepseek-v3:shared_experts=0", "shared_intermediate", "0"},
    {"deepseek-v3:shared_intermediate=100", "shared_intermediate", "100"},
    {"deepseek-v3:weight_dtype=nvfp4", "activation_dtype", "nvfp4"},
    {"deepseek-v3:weight_dtype=nvfp4", "dispatch_dtype", "nvfp4"},
    {"deepseek-v3:weight_dtype=int4,weight_group=32", "activation_dtype", "bf16"},
    {"deepseek-v3:weight_dtype=int4,activation_dtype=fp8", "dispatch_dtype", "fp8"},
    {"deepseek-v3:layers=10", "moe_layers", "3..12"},
    {"deepseek-v3:dense_layers=1", "moe_layers", "1..58"},
    {"deepseek-v3:moe_layers=1..59:2", "layers", "30"},
    {"deepseek-v3:moe_layers=1..59:2", "dense_layers", "30"},
    {"deepseek-v3:moe_layers=1..59:2,dense_layers=31", "moe_layers", "1..59:2"},
    {"qwen3-30b-a3b:groups=4", "topk_groups", "4"},
    {"tests/data/config/mixtral-8x7b.json:latent=512", "latent", "512"},
    {"tests/data/config/mixtral-8x7b.json:gated=false", "name", "mixtral-8x7b*"},
    {"deepseek-r1", "name", "deepseek-v3"},
    {"deepseek-r1:topk=4", "name", "deepseek-v3*"},
    {"qwen3-next", "experts", "512"},
    {"kimi-k2.5", "weight_group", "32"},
};

START_TEST(changed_keys)
{
    const struct moe moe = load(changed[_i].what);
    char value[FIELD_TEXT_BYTES];
    ck_assert_str_eq(
        field_format(field_find(moe_fields, moe_field_count, changed[_i].key), &moe, value),
        changed[_i].value);
}
END_TEST

START_TEST(changed_values_have_no_source)
{
    struct provenance *sources = mem_alloc(moe_field_count, sizeof *sources);
    struct moe moe;
    struct error err;
    ck_assert(moe_load("deepseek-v3:shared_experts=2,dense_layers=1", &moe, sources, &err));
    for (size_t row = 0; row < moe_field_count; row++)
        if (!strcmp(moe_fields[row].key, "shared_experts") ||
            !strcmp(moe_fields[row].key, "shared_intermediate") ||
            !strcmp(moe_fields[row].key, "dense_layers"))
            ck_assert(!provenance_given(&sources[row]));
        else if (!strcmp(moe_fields[row].key, "hidden"))
            ck_assert(provenance_given(&sources[row]));
    provenance_release(sources, moe_field_count);
    free(sources);
}
END_TEST

START_TEST(payload_bytes)
{
    ck_assert_uint_eq(moe_payload_bytes(7168, DTYPE_FP8), 7392);
    ck_assert_uint_eq(moe_payload_bytes(7168, DTYPE_BF16), 14336);
    ck_assert_uint_eq(moe_payload_bytes(7168, DTYPE_FP32), 28672);
    ck_assert_uint_eq(moe_payload_bytes(2880, DTYPE_FP8), 2880 + 4 * 23);
    ck_assert_uint_eq(moe_payload_bytes(1, DTYPE_FP8), 5);
}
END_TEST

#define SHAPE "hidden: 1024\nexperts: 64\ntopk: 4\nintermediate: 512\n"
#define CONFIG "{\"model_type\": \"x\",\n\"hidden_size\": 64, \"num_hidden_layers\": 4,\n"

static const struct {
    const char *suffix, *text, *message;
} bad_files[] = {
    {".yaml", "hidden: 1024\nexperts: 64\ntopk: 4\n",
     ":1: intermediate: missing; a model needs hidden, experts, topk and intermediate"},
    {".yaml", SHAPE "exprts: 2\n", ":5: unknown key 'exprts'; did you mean 'experts'?"},
    {".yaml", SHAPE "topk: 2\n", ":5: topk: given twice; first on line 3"},
    {".yaml", "hidden: -1\n", ":1: hidden: '-1': must not be negative"},
    {".yaml", "hidden: 7168B\n", ":1: hidden: '7168B': "},
    {".yaml", "hidden: 0\n", ":1: hidden: '0': out of range; expected 1 to 1048576"},
    {".yaml", "hidden: 1.5\n", ":1: hidden: '1.5': not a whole number"},
    {".yaml", "experts: 4097\n", ":1: experts: '4097': out of range; expected 1 to 4096"},
    {".yaml", "topk: 65\n", ":1: topk: '65': out of range; expected 1 to 64"},
    {".yaml", "hidden:\n", ":1: hidden: no value given"},
    {".yaml", "- a\n", ":1: expected a model's keys and values"},
    {".yaml", SHAPE "score: sigmoidal\n", ":5: score: 'sigmoidal': "},
    {".yaml", SHAPE "dispatch_dtype: fp16\n",
     ":5: dispatch_dtype: 'fp16': expected one of fp8, bf16, fp32"},
    {".yaml", SHAPE "groups: 7\n", ":5: groups: 7: expected a divisor of the 64 experts"},
    {".yaml", SHAPE "groups: 4\ntopk_groups: 5\n",
     ":6: topk_groups: 5: expected at most the 4 groups"},
    {".yaml", SHAPE "groups: 32\ntopk_groups: 1\n",
     ":3: topk: 4: expected at most the 2 experts of 1 groups"},
    {".yaml", "hidden: 8\nexperts: 4\ntopk: 5\nintermediate: 8\n",
     ":3: topk: 5: expected at most the 4 experts"},
    {".yaml", SHAPE "shared_experts: 1\nshared_intermediate: 0\n",
     ":6: shared_intermediate: 0: expected at least 1 with shared experts"},
    {".yaml", SHAPE "moe_layers: 3-60\n", ":5: moe_layers: '3-60': expected indices"},
    {".yaml", SHAPE "moe_layers: 1..1024\n", ":5: moe_layers: layer 1024: expected at most 1023"},
    {".yaml", SHAPE "layers: 3\nmoe_layers: 1,3\n",
     ":6: moe_layers: 2 layers: expected as many as layers, 3"},
    {".yaml", SHAPE "dense_layers: 1\nmoe_layers: 1,3\n",
     ":6: moe_layers: layer 3: expected layers of a model of 3"},
    {".yaml", SHAPE "layers: 1000\ndense_layers: 100\n",
     ":5: layers: 1000, and 100 others: expected at most 1024"},
    {".json", CONFIG "\"intermediate_size\": 8}\n",
     ":1: not an MoE model: none of n_routed_experts, num_experts, num_local_experts, "
     "moe_num_experts or the like"},
    {".json", CONFIG "\"num_experts\": null}\n", ":1: not an MoE model: "},
    {".json", CONFIG "\"num_experts\": 0}\n", ":1: not an MoE model: "},
    {".json", CONFIG "\"num_experts\": 8, \"intermediate_size\": 8}\n",
     ":1: num_experts_per_tok: missing; expected num_experts_per_tok, num_experts_per_token, "
     "experts_per_token, moe_topk or the like"},
    {".json", CONFIG "\"num_experts\": 8, \"num_experts_per_tok\": 2}\n",
     ":1: moe_intermediate_size: missing; expected moe_intermediate_size, expert_ffn_hidden_size"},
    {".json", "{\"model_type\": \"x\", \"num_experts\": 8}\n", ":1: num_hidden_layers: missing"},
    {".json", "{\"model_type\": \"x\", \"num_experts\": 8, \"n_layers\": 4}\n",
     ":1: hidden_size: missing; expected hidden_size, d_model, dim or n_embd"},
    {".json", CONFIG "\"num_experts\": {\"a\": 8}}\n", ":3: num_experts: expected one value"},
    {".json", CONFIG "\"num_experts\": \"many\"}\n", ":3: num_experts: 'many': expected "},
    {".json", CONFIG "\"num_experts\": 8, \"intermediate_size\": 8,\n\"num_experts_per_tok\": 9}\n",
     ":4: num_experts_per_tok: 9: expected at most the 8 experts"},
    {".json",
     CONFIG "\"num_experts\": 8, \"intermediate_size\": 8,\n\"num_experts_per_tok\": 2,\n"
            "\"first_k_dense_replace\": 4}\n",
     ":5: first_k_dense_replace: 4: expected fewer than the 4 layers"},
    {".json", "{\"hidden_size\": 1,, }\n", ":1: "},
};

START_TEST(bad_file)
{
    const struct fixture fixture = fixture_make(bad_files[_i].text, bad_files[_i].suffix);
    struct moe moe;
    struct error err;
    ck_assert_msg(!moe_load(fixture.path, &moe, NULL, &err), "accepted: %s", bad_files[_i].text);
    fixture_remove(&fixture);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&fixture, &err);
    ck_assert_msg(strncmp(message, bad_files[_i].message, strlen(bad_files[_i].message)) == 0,
                  "%s\nexpected %s", message, bad_files[_i].message);
}
END_TEST

static const struct {
    const char *what, *message;
} bad_names[] = {
    {"deepsek-v3", "'deepsek-v3': no such model; did you mean 'deepseek-v3'? Expected a file or "
                   "one of deepseek-v2, "},
    {"glm-4.55", "'glm-4.55': no such model; did you mean 'glm-4.5'? "},
    {"nothing-like-it", "'nothing-like-it': no such model; expected a file or one of "},
    {"", "'': no such model; "},
    {"absent.yaml", "absent.yaml: "},
    {"./deepseek-v3", "./deepseek-v3: "},
    {"tests/data", "tests/data: a folder with neither config.json nor params.json in it"},
    {"deepseek-v3:top=4", "'deepseek-v3:top=4': top: unknown key; did you mean 'topk'?"},
    {"deepseek-v3:groups=7", "'deepseek-v3:groups=7': groups: 7: expected a divisor of"},
    {"deepseek-v3:layers=", "'deepseek-v3:layers=': layers: ''"},
    {"deepsek-v3:topk=4", "'deepsek-v3': no such model; did you mean 'deepseek-v3'?"},
    {"=", "'=': no such model; "},
    {"qwen3-30b-a3b:moe_layers=0..60,layers=48",
     "'qwen3-30b-a3b:moe_layers=0..60,layers=48': moe_layers: 61 layers: expected as many as"},
};

START_TEST(bad_name)
{
    struct moe moe;
    struct error err;
    ck_assert(!moe_load(bad_names[_i].what, &moe, NULL, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strncmp(err.text, bad_names[_i].message, strlen(bad_names[_i].message)) == 0,
                  "%s\nexpected %s", err.text, bad_names[_i].message);
}
END_TEST

START_TEST(check_names_the_key)
{
    struct error err;
    struct moe moe = load("deepseek-v3");
    ck_assert(moe_check(&moe, &err));
    moe.layers = 0;
    ck_assert(!moe_check(&moe, &err));
    ck_assert_str_eq(err.text, "layers: 0: expected at least 1");
    moe.layers = 58;
    moe.experts = MOE_MAX_EXPERTS + 1;
    ck_assert(!moe_check(&moe, &err));
    ck_assert_str_eq(err.text, "experts: 4097: expected at most 4096");
    moe.experts = 256;
    moe.topk = MOE_MAX_TOPK + 1;
    ck_assert(!moe_check(&moe, &err));
    ck_assert_str_eq(err.text, "topk: 65: expected at most 64");
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof(table)[0])

int main(void)
{
    Suite *suite = suite_create("moe");
    TCase *tcase = tcase_create("moe");
    tcase_add_loop_test(tcase, preset_shapes, 0, COUNT(shapes));
    tcase_add_test(tcase, every_preset_is_listed_in_order);
    tcase_add_loop_test(tcase, config_equals_preset, 0, COUNT(published));
    tcase_add_test(tcase, sources_name_their_origin);
    tcase_add_test(tcase, config_nested_and_shared_width);
    tcase_add_loop_test(tcase, config_quantisation, 0,
                        (int)(sizeof quantised / sizeof quantised[0]));
    tcase_add_test(tcase, weight_bytes);
    tcase_add_test(tcase, native_defaults);
    tcase_add_loop_test(tcase, native_layers, 0, COUNT(placed));
    tcase_add_loop_test(tcase, changed_keys, 0, COUNT(changed));
    tcase_add_test(tcase, changed_values_have_no_source);
    tcase_add_test(tcase, payload_bytes);
    tcase_add_loop_test(tcase, bad_file, 0, COUNT(bad_files));
    tcase_add_loop_test(tcase, bad_name, 0, COUNT(bad_names));
    tcase_add_test(tcase, check_names_the_key);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
