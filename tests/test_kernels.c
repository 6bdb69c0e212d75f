// Compute kernels: presets, cost models of model/costs/, the CSV of kernel times, and the phases
// that rest on them.
#include "base/mem.h"
#include "base/preset.h"
#include "model/engine/compute.h"
#include "model/costs/kernels.h"
#include "study/calibrate.h"
#include "study/rows/measured.h"
#include "study/rows/power_law.h"
#include "tests/fixture.h"
#include "tests/near.h"
#include "tests/scene.h"
#include "tests/suite.h"

#include <math.h>

#define HEAD                                                                                       \
    "id,kernel,gpu,engine,kernel_source,dtype,kv_dtype,batch,seq,heads,kv_heads,head_dim,tokens,"  \
    "hidden,intermediate,topk,experts,ep,tp,distribution,m,n,k,gpus,bytes,latency_us\n"

static void load_kernels_of(const char *name, const char *gpu, struct kernels *kernels,
                            struct cluster *cluster)
{
    struct error err = {0};
    char preset[FIELD_TEXT_BYTES];
    ck_assert_msg(cluster_of_gpu(gpu, preset), "%s", gpu);
    ck_assert_msg(cluster_load(preset, cluster, NULL, &err), "%s", err.text);
    ck_assert_msg(kernels_load(name, cluster, kernels, NULL, &err), "%s", err.text);
}

// ---- cost models --------------------------------------------------------------------------------

// More of anything never takes less, up to a step of whole tiles; and twice the work at most twice
// as long.
static const struct kernel_shape small[] = {
    {KERNEL_MLA_DECODE,
     .attention = {ATTENTION_MLA_DECODE, 64, 1, 1024, 128, 1, 1, MLA_WIDTHS_V3, true, true, true}},
    {KERNEL_MLA_PREFILL, .attention = {ATTENTION_MLA_PREFILL, 4, 1024, 1024, 128, 1, 1,
                                       MLA_WIDTHS_V3, true, true, true}},
    {KERNEL_GQA_DECODE, .attention = {ATTENTION_GQA_DECODE, 64, 1, 1024, 64, 8, 128, MLA_WIDTHS_V3,
                                      false, false, false}},
    {KERNEL_GQA_PREFILL, .attention = {ATTENTION_GQA_PREFILL, 4, 1024, 1024, 64, 8, 128,
                                       MLA_WIDTHS_V3, false, false, false}},
};

START_TEST(attention_grows_with_sequences)
{
    struct kernels kernels;
    struct cluster cluster;
    load_kernels_of("sglang", "h200", &kernels, &cluster);
    const double once = kernels_ps(&kernels, &cluster, &small[_i]);
    struct kernel_shape twice = small[_i], longer = small[_i];
    twice.attention.batch *= 2;
    longer.attention.context *= 2;
    ck_assert(kernels_known(&kernels, &small[_i]));
    ck_assert_double_gt(once, 5e6);
    ck_assert_double_gt(kernels_ps(&kernels, &cluster, &twice), once);
    ck_assert_double_le(kernels_ps(&kernels, &cluster, &twice), 2 * once);
    ck_assert_double_gt(kernels_ps(&kernels, &cluster, &longer), once);
}
END_TEST

// The weights of DeepSeek-V3's attention, as its config counts them.
START_TEST(mla_weights)
{
    const struct mla_widths v3 = MLA_WIDTHS_V3;
    ck_assert_double_eq(attention_mla_weights(&v3, 128), 187105280);
}
END_TEST

// Long rows are bound by operations, few rows by the weights that they read.
START_TEST(products_have_two_bounds)
{
    struct kernels kernels;
    struct cluster cluster;
    load_kernels_of("sglang", "h100", &kernels, &cluster);
    for (enum gemm_kind kind = 0; kind < GEMM_KINDS; kind++) {
        const struct gemm_shape many = {kind, 65536, 8192, 8192, 1},
                                few = {kind, 1, 65536, 8192, 1};
        const double peak = kind == GEMM_BF16 ? cluster.bf16_flops : cluster.fp8_flops;
        const double bytes = kind == GEMM_BF16 ? 2 : 1;
        const double rate =
            2 * many.m * many.n * many.k / gemm_ps(kernels.gemm, &cluster, &many) * 1e12;
        const double memory = bytes * few.n * few.k / gemm_ps(kernels.gemm, &cluster, &few) * 1e12;
        ck_assert_double_gt(rate, 0.4 * peak);
        ck_assert_double_lt(rate, peak);
        ck_assert_double_gt(memory, 0.6 * cluster.hbm_Bps);
        ck_assert_double_lt(memory, 1.2 * cluster.hbm_Bps);
    }
}
END_TEST

START_TEST(all_reduce_slows_with_gpus)
{
    struct kernels kernels;
    struct cluster cluster;
    load_kernels_of("sglang", "h100", &kernels, &cluster);
    double before = 0;
    for (double gpus = 2; gpus <= 8; gpus *= 2) {
        const struct all_reduce_shape shape = {65536, gpus, false}, alone = {65536, gpus, true};
        const double ps = all_reduce_ps(&kernels.all_reduce, &cluster, &shape);
        ck_assert_double_gt(ps, before);
        ck_assert_double_gt(all_reduce_ps(&kernels.all_reduce, &cluster, &alone), ps);
        before = ps;
    }
}
END_TEST

// ---- presets ------------------------------------------------------------------------------------

// A variant's keys come instead, the base's where a preset says nothing, and whose rows stand
// behind a kernel is known.
START_TEST(presets_inherit)
{
    struct kernels sglang, flashmla, blackwell;
    struct cluster h200, b300;
    load_kernels_of("sglang", "h200", &sglang, &h200);
    load_kernels_of("flashmla", "h200", &flashmla, &h200);
    load_kernels_of("sglang", "b300", &blackwell, &b300);
    ck_assert_str_eq(flashmla.base, "sglang");
    ck_assert_double_eq(flashmla.gemm[GEMM_BF16].roofline.flops,
                        sglang.gemm[GEMM_BF16].roofline.flops);
    ck_assert_double_ne(flashmla.attention.mla_decode.kv_memory,
                        sglang.attention.mla_decode.kv_memory);
    ck_assert_ptr_null(kernels_borrowed(&sglang, "h200", KERNEL_GEMM_BF16));
    ck_assert_ptr_null(kernels_borrowed(&blackwell, "b300", KERNEL_EXPERTS_DECODE));
    ck_assert_str_eq(kernels_borrowed(&blackwell, "b300", KERNEL_GEMM_BF16), "h100");
}
END_TEST

START_TEST(every_preset_says_whence)
{
    size_t own, count;
    char **names = preset_all("kernels", &own, &count);
    struct cluster cluster = cluster_default();
    ck_assert_uint_gt(count, 5);
    for (size_t i = 0; i < count; i++) {
        struct provenance provenance[KERNELS_MAX_FIELDS] = {{0}};
        struct kernels kernels;
        struct error err = {0};
        ck_assert_msg(kernels_load(names[i], &cluster, &kernels, provenance, &err), "%s", err.text);
        for (size_t f = 0; f < kernels_field_count; f++) {
            char value[FIELD_TEXT_BYTES], none[FIELD_TEXT_BYTES];
            const struct kernels nothing = kernels_default();
            field_format(&kernels_fields[f], &kernels, value);
            field_format(&kernels_fields[f], &nothing, none);
            ck_assert_msg(kernels_fields[f].kind == FIELD_TEXT || !strcmp(value, none) ||
                              provenance_given(&provenance[f]),
                          "%s: %s: expected a source", names[i], kernels_fields[f].key);
        }
        provenance_release(provenance, KERNELS_MAX_FIELDS);
        free(names[i]);
    }
    free(names);
}
END_TEST

// ---- phases of a layer --------------------------------------------------------------------------

// Experts of masked rows where counts travel with the data, of contiguous ones where they are
// exchanged; epsim-real's own follow the cluster's roofline.
START_TEST(experts_follow_the_dispatcher)
{
    static const struct {
        const char *dispatcher, *kernels;
        unsigned expected;
    } cases[] = {
        {"deepep-ll", "", 1u << KERNEL_EXPERTS_DECODE | 1u << KERNEL_GEMM_FP8_BLOCK},
        {"deepep-normal", "", 1u << KERNEL_EXPERTS_PREFILL | 1u << KERNEL_GEMM_FP8_BLOCK},
        {"deepep-ll", "epsim-real", 0},
    };
    double us[SUITE_COUNT(cases)];
    for (size_t i = 0; i < SUITE_COUNT(cases); i++) {
        struct scenario_def def = SCENARIO_DEFAULT;
        struct scenario scenario;
        struct error err = {0};
        strcpy(def.cluster, "h200-nvl8");
        strcpy(def.dispatcher, cases[i].dispatcher);
        strcpy(def.kernels, cases[i].kernels);
        def.tokens = 64;
        ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
        scenario_load(&scenario, LOADS_EXPECTED);
        ck_assert_uint_eq(compute_kernels(scenario.schedule), cases[i].expected);
        us[i] = (double)compute_experts_ps(scenario.schedule, 0, 0) / 1e6;
        scenario_release(&scenario);
    }
    ck_assert_double_gt(us[1], us[0]); // launched kernel by kernel
    ck_assert_double_gt(us[2], us[0]); // an expert after another
}
END_TEST

// A phase in closed form of a model whose keys are changed, at that many tokens.
static double phase_us(const char *keys, enum phase phase, uint32_t tokens)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct error err = {0};
    char *text = mem_format("hidden: 4096\nexperts: 128\ntopk: 8\nintermediate: 2048\n"
                            "shared_experts: 1\n%s",
                            keys);
    const struct fixture fixture = fixture_make(text, ".yaml");
    free(text);
    strcpy(def.model, fixture.path);
    strcpy(def.cluster, "h200-nvl8");
    strcpy(def.dispatcher, "deepep-normal");
    def.tokens = tokens;
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    scenario_load(&scenario, LOADS_EXPECTED);
    const double ps = compute_phase_ps(scenario.schedule, phase, 0, 1);
    scenario_release(&scenario);
    fixture_remove(&fixture);
    return ps / 1e6;
}

// Of many rows: a third of the operations is the gate's; a latent space of a quarter is a quarter
// of the experts' work, and two products more beside the router, and nothing to the shared expert.
START_TEST(experts_are_as_wide_as_they_are)
{
    const uint32_t tokens = 65536;
    const double gated = phase_us("", PHASE_EXPERTS, tokens),
                 ungated = phase_us("gated: false\n", PHASE_EXPERTS, tokens),
                 latent = phase_us("latent: 1024\n", PHASE_EXPERTS, tokens);
    expect_near(ungated / gated, 2.0 / 3, 0.1);
    expect_near(latent / gated, 1.0 / 4, 0.25);
    expect_near(phase_us("gated: false\n", PHASE_SHARED, tokens) /
                    phase_us("", PHASE_SHARED, tokens),
                2.0 / 3, 0.1);
    expect_near(phase_us("latent: 1024\n", PHASE_SHARED, tokens),
                phase_us("", PHASE_SHARED, tokens), 1e-9);
    const double more =
        phase_us("latent: 1024\n", PHASE_ROUTER, tokens) - phase_us("", PHASE_ROUTER, tokens);
    ck_assert_double_gt(more, 2 * 2.0 * tokens * 4096 * 1024 / 989.4e12 * 1e6);
}
END_TEST

// Few rows: the weights are read, as many bytes as their format and the size of a group say.
START_TEST(weights_take_their_bytes)
{
    static const char *const lighter[] = {
        "weight_dtype: bf16\n",
        "weight_dtype: bf16\nactivation_dtype: fp8\n",
        "weight_dtype: int4\nweight_group: 4\nactivation_dtype: fp8\n",
        "weight_dtype: nvfp4\nactivation_dtype: fp8\n",
        "weight_dtype: int4\nactivation_dtype: fp8\n",
    };
    for (size_t i = 1; i < SUITE_COUNT(lighter); i++)
        ck_assert_double_lt(phase_us(lighter[i], PHASE_EXPERTS, 16),
                            phase_us(lighter[i - 1], PHASE_EXPERTS, 16));
}
END_TEST

// ---- rows ---------------------------------------------------------------------------------------

static const struct {
    const char *row;
    enum kernel_kind kind;
    const char *kernels;
} rows[] = {
    {"a,mla-decode-module,h100,E,fa3,fp8_block,fp8,8,1024,128,,,,,,,,,,,,,,,,50", KERNEL_MLA_DECODE,
     "sglang"},
    {"a,mla-prefill-module,h200,E,flashinfer,fp8_block,fp8,1,1024,128,,,,,,,,,,,,,,,,50",
     KERNEL_MLA_PREFILL, "flashinfer"},
    {"a,gqa-decode,h100,E,fa3,bfloat16,fp8,1,1024,64,8,128,,,,,,,,,,,,,,50", KERNEL_GQA_DECODE_FP8,
     "sglang"},
    {"a,gqa-prefill,h100,E,triton,bfloat16,bfloat16,1,1024,64,8,512,,,,,,,,,,,,,,50",
     KERNEL_GQA_PREFILL, "triton"},
    {"a,moe-decode,b200,E,deepepmoe,fp8_block,,,,,,,256,7168,2048,8,256,8,1,power_law_1.2,,,,,,50",
     KERNEL_EXPERTS_DECODE, "sglang"},
    {"a,moe-prefill,h100,E,deepepmoe,fp8_block,,,,,,,4096,7168,2048,8,256,8,1,uniform,,,,,,50",
     KERNEL_EXPERTS_PREFILL, "sglang"},
    {"a,moe-fused,h100,E,sglang_marlin_moe,int4_wo,,,,,,,64,7168,2048,8,256,8,2,balanced,,,,,,50",
     KERNEL_EXPERTS_FUSED, "marlin-moe"},
    {"a,gemm,h100,E,sglang_torch_linear,bfloat16,,,,,,,,,,,,,,,128,4096,7168,,,50",
     KERNEL_GEMM_BF16, "sglang"},
    {"a,all-reduce,h100,E,NCCL,half,,,,,,,,,,,,,,,,,,4,65536,50", KERNEL_ALL_REDUCE_4, "trtllm"},
};

static void load_row(const char *row, struct measured *measured)
{
    char text[2048];
    struct error err = {0};
    snprintf(text, sizeof text, HEAD "%s\n", row);
    const struct fixture file = fixture_make(text, ".csv");
    ck_assert_msg(measured_load(measured, file.path, &err), "%s", err.text);
    fixture_remove(&file);
}

START_TEST(reads_rows)
{
    const struct row_overrides overrides = {.seed = 1};
    struct measured measured;
    struct scenario scenario;
    struct error err = {0};
    load_row(rows[_i].row, &measured);
    ck_assert_uint_eq(measured.count, 1);
    ck_assert_int_eq(measured.rows->phase, PHASE_KERNEL);
    ck_assert_int_eq(measured.rows->kernel.kind, rows[_i].kind);
    ck_assert_str_eq(measured.rows->kernels, rows[_i].kernels);
    ck_assert_msg(row_open(&scenario, measured.rows, &engine_estimate, &overrides, &err), "%s",
                  err.text);
    ck_assert_double_gt(row_predict(&scenario, measured.rows, &engine_estimate).us, 1);
    scenario_release(&scenario);
    measured_release(&measured);
}
END_TEST

// Read, and left out of what is predicted.
static const struct {
    const char *row, *why;
} unpredicted[] = {
    {"a,gemm,h100,E,sglang_torch_linear,nvfp4,,,,,,,,,,,,,,,128,4096,7168,,,50", "dtype nvfp4 is "},
    {"a,gemm,h100,E,sglang_torch_linear,int4_wo,,,,,,,,,,,,,,,1,4096,7168,,,50", "dtype int4_wo "},
    {"a,moe-decode,h100,E,deepepmoe,nvfp4,,,,,,,256,7168,2048,8,256,8,1,uniform,,,,,,50",
     "dtype nvfp4 is not modelled"},
    {"a,gqa-decode,h100,E,fa3,bfloat16,int4,1,1024,64,8,128,,,,,,,,,,,,,,50", "dtype int4 is "},
    {"a,all-reduce,h100,E,NCCL,float,,,,,,,,,,,,,,,,,,4,65536,50", "dtype float is not modelled"},
    {"a,all-reduce,h100,E,NCCL,half,,,,,,,,,,,,,,,,,,3,65536,50", "all-reduce of 3 GPUs has no "},
    {"a,all-reduce,h100,E,NCCL,half,,,,,,,,,,,,,,,,,,16,65536,50", "all-reduce of 16 GPUs has no "},
};

START_TEST(leaves_rows_out)
{
    const struct row_overrides overrides = {.seed = 1};
    struct measured measured;
    struct scenario scenario;
    struct error err = {0};
    load_row(unpredicted[_i].row, &measured);
    ck_assert(!row_open(&scenario, measured.rows, &engine_estimate, &overrides, &err));
    ck_assert_msg(strstr(err.text, unpredicted[_i].why) != NULL, "%s", err.text);
    measured_release(&measured);
}
END_TEST

#define MOE "a,moe-decode,h100,E,x,fp8,,,,,,,"

static const struct {
    const char *row, *why;
} refused[] = {
    {"a,softmax,h100,E,fa3,fp8,fp8,8,1,1,,,,,,,,,,,,,,,,50", ":2: kernel: 'softmax'"},
    {"a,mla-decode-module,h100,E,fa3,fp8,fp8,,1024,128,,,,,,,,,,,,,,,,50",
     ":2: expected batch, seq and heads"},
    {"a,gemm,h100,E,x,bfloat16,,,,,,,,,,,,,,,-1,4096,7168,,,50", ":2: m: "},
    {"a,gemm,h100,E,x,bfloat16,,,,,,,,,,,,,,,1,4096,7168,,,",
     ":2: expected id, gpu, dtype and latency_us"},
    {"a,gemm,h100,E,x,,,,,,,,,,,,,,,,1,4096,7168,,,50", ":2: expected id, gpu, dtype and"},
    {"a,moe-decode,h100,E,x,fp8,,,,,,,256,7168,2048,8,256,7,1,uniform,,,,,,50",
     ":2: ep: 7: expected a "},
    {MOE "256,7168,2048,8,256,4294967296,1,uniform,,,,,,50", ":2: ep: '4294967296'"},
    {MOE "256,7168,2048,8,256,1e15,1,uniform,,,,,,50", ":2: ep: '1e15'"},
    {MOE "1.5,7168,2048,8,256,8,1,uniform,,,,,,50", ":2: tokens: '1.5': not a whole number"},
    {MOE "100000001,7168,2048,8,256,8,1,uniform,,,,,,50", ":2: tokens: '100000001'"},
    {MOE "256,7168,2048,65,256,8,1,uniform,,,,,,50", ":2: topk: '65'"},
    {MOE "256,7168,2048,16,8,8,1,uniform,,,,,,50", ":2: topk: 16: expected at most "},
    {MOE "256,7168,2048,8,4097,1,1,uniform,,,,,,50", ":2: experts: '4097'"},
    {MOE "256,7168,2048,8,256,8,0.5,uniform,,,,,,50", ":2: tp: '0.5'"},
    {MOE "256,7168,2048,8,256,8,1,power_law_1.2abc,,,,,,50",
     ":2: distribution: 'power_law_1.2abc'"},
    {MOE "256,7168,2048,8,256,8,1,power_law_nan,,,,,,50", ":2: distribution: 'power_law_nan'"},
    {MOE "256,7168,2048,8,256,8,1,power_law_0,,,,,,50", ":2: distribution: 'power_law_0'"},
    {MOE "256,7168,2048,8,256,8,1,power_law_1e300,,,,,,50", ":2: distribution: "},
    {"a,moe-decode,h100,E,x,fp8,,,,,,,256,7168,2048,8,256,8,1,zipf,,,,,,50", ":2: distribution: "},
};

START_TEST(refuses_rows)
{
    char text[2048];
    snprintf(text, sizeof text, HEAD "%s\n", refused[_i].row);
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load(&measured, file.path, &err));
    ck_assert_msg(strstr(err.text, refused[_i].why) != NULL, "%s", err.text);
    fixture_remove(&file);
}
END_TEST

// A steeper law loads the fullest rank more, and touches fewer of its experts; one rank has all.
START_TEST(power_laws_load_one_rank)
{
    struct power_law law = {.tokens = 4096, .experts = 256, .topk = 8, .ranks = 32, .tile = 64};
    double before = balanced_load(&law).rows;
    ck_assert_double_eq(before, 1024);
    for (law.alpha = 0.6; law.alpha < 1.3; law.alpha += 0.2) {
        const struct expert_load load = power_law_load(&law);
        ck_assert_double_gt(load.rows, before);
        ck_assert_double_le(load.touched, 8);
        ck_assert_double_ge(load.padded, load.rows);
        before = load.rows;
    }
    law.ranks = 1;
    ck_assert_double_eq_tol(power_law_load(&law).rows, 32768, 1e-6);
}
END_TEST

// Times made by other constants are met by those constants again.
START_TEST(finds_constants_again)
{
    static const char fit[] = "parameters:\n"
                              "  - {key: gemm_bf16_start, kernels: [sglang]}\n"
                              "  - {key: gemm_bf16_flops, kernels: [sglang]}\n";
    const struct fixture fit_file = fixture_make(fit, ".yaml");
    const struct calibrate_target nothing = {0};
    const struct row_overrides overrides = {.seed = 1};
    struct kernels kernels;
    struct cluster cluster;
    struct calibration calibration;
    struct measured measured;
    struct error err = {0};
    char *text = mem_copy_text(HEAD);
    load_kernels_of("sglang", "h100", &kernels, &cluster);
    kernels.gemm[GEMM_BF16].roofline.start_ps = 9000000;
    kernels.gemm[GEMM_BF16].roofline.flops = 0.5;
    for (unsigned m = 1; m <= 65536; m *= 4) {
        const struct gemm_shape shape = {GEMM_BF16, m, 4096, 7168, 1};
        char *longer = mem_format(
            "%sr%u,gemm,h100,E,sglang_torch_linear,bfloat16,,,,,,,,,,,,,,,%u,4096,7168,,,%.9g\n",
            text, m, m, gemm_ps(kernels.gemm, &cluster, &shape) / 1e6);
        free(text);
        text = longer;
    }
    const struct fixture file = fixture_make(text, ".csv");
    free(text);
    ck_assert_msg(measured_load(&measured, file.path, &err), "%s", err.text);
    ck_assert_msg(calibration_load(&calibration, fit_file.path, &nothing, &err), "%s", err.text);
    ck_assert_msg(calibration_run(&calibration, &measured, &overrides, false, &err), "%s",
                  err.text);
    ck_assert_double_eq_tol(calibration.fit.values[0], 9e6, 2e4);
    ck_assert_double_eq_tol(calibration.fit.values[1], 0.5, 1e-3);
    calibration_release(&calibration);
    measured_release(&measured);
    fixture_remove(&file);
    fixture_remove(&fit_file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernels");
    TCase *tests = tcase_create("kernels");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, attention_grows_with_sequences, 0, SUITE_COUNT(small));
    tcase_add_test(tests, mla_weights);
    tcase_add_test(tests, products_have_two_bounds);
    tcase_add_test(tests, all_reduce_slows_with_gpus);
    tcase_add_test(tests, presets_inherit);
    tcase_add_test(tests, every_preset_says_whence);
    tcase_add_test(tests, experts_follow_the_dispatcher);
    tcase_add_test(tests, experts_are_as_wide_as_they_are);
    tcase_add_test(tests, weights_take_their_bytes);
    tcase_add_loop_test(tests, reads_rows, 0, SUITE_COUNT(rows));
    tcase_add_loop_test(tests, leaves_rows_out, 0, SUITE_COUNT(unpredicted));
    tcase_add_loop_test(tests, refuses_rows, 0, SUITE_COUNT(refused));
    tcase_add_test(tests, power_laws_load_one_rank);
    tcase_add_test(tests, finds_constants_again);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
