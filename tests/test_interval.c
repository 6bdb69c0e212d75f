// study/interval, study/extrapolate and the fits that they read: intervals cover what they say
// where the truth is known, widen where rows are far, and what leaves the rows is named.
#include "base/rng.h"
#include "model/engine/estimate.h"
#include "base/preset.h"
#include "study/accuracy.h"
#include "study/extrapolate.h"
#include "study/interval.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/measured_rows.h"
#include "tests/sanitized.h"
#include "tests/scratch.h"
#include "tests/suite.h"
#include "scenario/scenario.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

// A machine that is not the preset: what a fit should find.
#define TRUTH "h800-cx7:nic_effective=31GB/s,nvlink_effective=101GB/s,nic_latency=6us"
#define MOVES                                                                                      \
    "prior: 0.5\n"                                                                                 \
    "parameters:\n"                                                                                \
    "  - {key: nic, clusters: [h800-cx7]}\n"                                                       \
    "  - {key: nvlink, clusters: [h800-cx7]}\n"                                                    \
    "  - {key: nic_latency, clusters: [h800-cx7]}\n"                                               \
    "  - {key: dispatch_per_node, also: combine_per_node, dispatchers: [deepep-normal]}\n"

static const uint32_t tokens[] = {1, 16, 64, 128, 256, 512, 1024, 2048, 4096, 6144};

// ---- rows whose truth is known ------------------------------------------------------------------

static double normal(uint64_t seed, uint32_t row)
{
    struct rng rng = rng_stream(seed, row, 0, 0);
    return gsl_cdf_ugaussian_Pinv((rng_below(&rng, 1u << 20) + 0.5) / (1u << 20));
}

// latency_us NULL: ones. Rows of 1 to `nodes` nodes, powers of two.
static struct fixture rows_file(uint32_t nodes, const double *latency_us)
{
    char *text = NULL;
    size_t length, n = 0;
    FILE *out = open_memstream(&text, &length);
    fputs(HEADER, out);
    for (uint32_t node = 1; node <= nodes; node *= 2)
        for (int t = 0; t < SUITE_COUNT(tokens); t++)
            for (int combine = 0; combine < 2; combine++) {
                fprintf(out, "r%zu,f,h800-cx7,deepep-normal,%u,8,256,8,,%u,7168,%s,,%.9g,0,made\n",
                        n, node, tokens[t], combine ? "bf16,combine" : "fp8,dispatch",
                        latency_us ? latency_us[n] : 1);
                n++;
            }
    fclose(out);
    struct fixture file = fixture_make(text, ".csv");
    free(text);
    return file;
}

static double noise_between_nodes = 1; // over that of one node

// What the closed form says of TRUTH, the same for every noise.
#define MAX_ROWS 128
static struct truth {
    double us[MAX_ROWS];
    uint32_t nodes[MAX_ROWS]; // of each row
    size_t count;
} truths[9]; // of rows of 1 to so many nodes

static const struct truth *truth_of(uint32_t nodes)
{
    const struct row_overrides overrides = {.cluster = TRUTH, .seed = 1};
    struct truth *truth = &truths[nodes];
    struct measured measured;
    struct scenario scenario;
    struct error err = {0};
    if (truth->count)
        return truth;
    struct fixture plain = rows_file(nodes, NULL);
    ck_assert_msg(measured_load(&measured, plain.path, &err), "%s", err.text);
    for (size_t r = 0; r < measured.count; r++) {
        ck_assert(row_open(&scenario, &measured.rows[r], &engine_estimate, &overrides, &err));
        truth->us[r] = row_predict(&scenario, &measured.rows[r], &engine_estimate).us;
        truth->nodes[r] = measured.rows[r].nodes;
        scenario_release(&scenario);
    }
    truth->count = measured.count;
    measured_release(&measured);
    fixture_remove(&plain);
    return truth;
}

// TRUTH, times exp(noise z).
static struct fixture noisy_rows(uint32_t nodes, double noise, uint64_t seed)
{
    const struct truth *truth = truth_of(nodes);
    double latency_us[MAX_ROWS];
    for (size_t r = 0; r < truth->count; r++)
        latency_us[r] = truth->us[r] * exp(noise * (truth->nodes[r] > 1 ? noise_between_nodes : 1) *
                                           normal(seed, (uint32_t)r));
    return rows_file(nodes, latency_us);
}

// Fits a file's parameters to the rows and puts what is found before the built-in presets.
static void fit_moves(const char *rows_path, const char *moves_text)
{
    const struct row_overrides overrides = {.seed = 1};
    const struct provenance origin = {.fit = (char *)"a test"};
    struct fixture moves = fixture_make(moves_text, ".yaml");
    struct calibration calibration;
    struct measured measured;
    struct error err = {0};
    ck_assert(preset_folder(NULL, &err));
    ck_assert_msg(calibration_load(&calibration, moves.path, &(struct calibrate_target){0}, &err),
                  "%s", err.text);
    ck_assert_msg(measured_load(&measured, rows_path, &err), "%s", err.text);
    ck_assert_msg(calibration_run(&calibration, &measured, &overrides, false, &err), "%s",
                  err.text);
    strcpy(calibration.name, "own");
    ck_assert_msg(calibration_write(&calibration, scratch_folder, &origin, &err), "%s", err.text);
    ck_assert(preset_folder(scratch_folder, &err));
    calibration_release(&calibration);
    measured_release(&measured);
    fixture_remove(&moves);
}

static void fit_rows(uint32_t nodes, double noise, uint64_t seed)
{
    struct fixture rows = noisy_rows(nodes, noise, seed);
    fit_moves(rows.path, MOVES);
    fixture_remove(&rows);
}

// Share of fresh measurements of the truth inside their interval.
static double coverage(uint32_t nodes, double noise, uint64_t seed, double pct)
{
    const struct row_overrides overrides = {.seed = 1};
    struct fixture rows = noisy_rows(nodes, noise, seed);
    struct measured measured;
    struct accuracy accuracy;
    struct fits fits;
    struct error err = {0};
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    ck_assert(measured_load(&measured, rows.path, &err));
    const struct accuracy_intervals asked = {.fits = &fits, .pct = pct};
    accuracy_judge(&accuracy, &measured, &engine_estimate, &overrides, &asked);
    const double inside = accuracy.inside_pct;
    accuracy_release(&accuracy);
    measured_release(&measured);
    fits_release(&fits);
    fixture_remove(&rows);
    return inside;
}

static struct uncertainties uncertainties_at(const char *cluster, uint32_t ep, uint32_t size,
                                             const char *dispatcher, const struct engine *engine)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct uncertainties uncertainties;
    struct fits fits;
    struct error err = {0};
    snprintf(def.cluster, sizeof def.cluster, "%s", cluster);
    snprintf(def.dispatcher, sizeof def.dispatcher, "%s", dispatcher);
    def.ep = ep;
    def.tokens = size;
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    ck_assert_msg(scenario_prepare(&scenario, &engine_estimate, &err), "%s", err.text);
    uncertainties_find(&uncertainties, &fits, &scenario, engine);
    scenario_release(&scenario);
    fits_release(&fits);
    return uncertainties;
}

// ---- coverage ----------------------------------------------------------------------------------

#define MEASUREMENTS (SANITIZED ? 1 : 4)

// 60 rows fitted, 240 fresh ones: a binomial of 0.9 leaves 80 to 97 once in a million.
START_TEST(covers_what_it_says)
{
    double inside = 0, half = 0;
    fit_rows(4, 0.04, 7);
    for (uint64_t seed = 20; seed < 20 + MEASUREMENTS; seed++) {
        inside += coverage(4, 0.04, seed, 90) / MEASUREMENTS;
        half += coverage(4, 0.04, seed, 50) / MEASUREMENTS;
    }
    ck_assert_double_ge(inside, 80);
    ck_assert_double_le(inside, 97);
    ck_assert_double_ge(half, 35);
    ck_assert_double_le(half, 65);
}
END_TEST

// The same where no row was: eight nodes from four.
START_TEST(covers_beyond_its_rows)
{
    double inside = 0;
    fit_rows(4, 0.04, 9);
    for (uint64_t seed = 30; seed < 30 + MEASUREMENTS; seed++)
        inside += coverage(8, 0.04, seed, 90) / MEASUREMENTS;
    ck_assert_double_ge(inside, 80);
}
END_TEST

START_TEST(exact_rows_leave_little_uncertainty)
{
    fit_rows(4, 0, 1);
    const struct uncertainties uncertainties =
        uncertainties_at("h800-cx7", 32, 4096, "deepep-normal", &engine_estimate);
    ck_assert(uncertainties.mean[PHASE_DISPATCH].known);
    ck_assert_double_lt(uncertainties.mean[PHASE_DISPATCH].constants, 1e-3);
    ck_assert_double_lt(uncertainties.mean[PHASE_DISPATCH].spread, 1e-3);
    ck_assert_double_lt(uncertainties.layer.spread, 1e-3);
}
END_TEST

START_TEST(uncertainty_grows_beyond_the_rows)
{
    fit_rows(2, 0.04, 3); // per_node is what two nodes cannot tell
    const struct uncertainties near =
        uncertainties_at("h800-cx7", 16, 1, "deepep-normal", &engine_estimate);
    const struct uncertainties far =
        uncertainties_at("h800-cx7", 64, 1, "deepep-normal", &engine_estimate);
    ck_assert_double_gt(far.mean[PHASE_DISPATCH].constants,
                        2 * near.mean[PHASE_DISPATCH].constants);
    ck_assert_double_gt(far.mean[PHASE_DISPATCH].constants, 0.05);
}
END_TEST

// Rows of one node are no promise for rows of several, nor the other way round.
START_TEST(spread_is_apart_between_nodes)
{
    noise_between_nodes = 4;
    fit_rows(4, 0.01, 5);
    const struct uncertainties one =
        uncertainties_at("h800-cx7", 8, 64, "deepep-normal", &engine_estimate);
    const struct uncertainties many =
        uncertainties_at("h800-cx7", 32, 64, "deepep-normal", &engine_estimate);
    noise_between_nodes = 1;
    ck_assert_uint_eq(one.mean[PHASE_DISPATCH].rows, SUITE_COUNT(tokens));
    ck_assert_uint_eq(many.mean[PHASE_DISPATCH].rows, 2 * SUITE_COUNT(tokens));
    ck_assert_double_gt(many.mean[PHASE_DISPATCH].spread, 2 * one.mean[PHASE_DISPATCH].spread);
}
END_TEST

START_TEST(more_noise_more_uncertainty)
{
    fit_rows(4, 0.02, 5);
    const struct uncertainties little =
        uncertainties_at("h800-cx7", 32, 64, "deepep-normal", &engine_estimate);
    fit_rows(4, 0.04, 5);
    const struct uncertainties more =
        uncertainties_at("h800-cx7", 32, 64, "deepep-normal", &engine_estimate);
    const enum phase phase = PHASE_DISPATCH;
    ck_assert_double_eq_tol(more.mean[phase].spread / little.mean[phase].spread, 2, 0.2);
    ck_assert_double_eq_tol(more.mean[phase].constants / little.mean[phase].constants, 2, 0.4);
}
END_TEST

// ---- the routing's draw ------------------------------------------------------------------------

// Standard deviation over seeds of ln of the slowest rank's time, counted.
static double over_seeds(uint32_t size, const char *dispatcher, enum phase phase)
{
    enum { SEEDS = 24 };
    double sum = 0, squares = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct scenario_def def = SCENARIO_DEFAULT;
        struct scenario scenario;
        struct timing timing;
        struct error err = {0};
        strcpy(def.dispatcher, dispatcher);
        def.tokens = size;
        def.seed = seed;
        def.loads = LOADS_COUNTED;
        ck_assert(scenario_open(&scenario, &def, &err));
        ck_assert(scenario_run(&scenario, &engine_estimate, &timing, &err));
        const double log_ps = log(timing_span(&timing, phase).latency_ps);
        sum += log_ps / SEEDS;
        squares += log_ps * log_ps / SEEDS;
        timing_release(&timing);
        scenario_release(&scenario);
    }
    return sqrt(fmax(squares - sum * sum, 0));
}

START_TEST(routing_is_as_seeds_are)
{
    static const struct {
        uint32_t tokens;
        const char *dispatcher;
    } cases[] = {{16, "deepep-ll"}, {128, "deepep-ll"}, {256, "nccl-flat"}};
    for (int i = 0; i < SUITE_COUNT(cases); i++) {
        const struct uncertainties uncertainties = uncertainties_at(
            "h800-cx7", 32, cases[i].tokens, cases[i].dispatcher, &engine_estimate);
        const double seen = over_seeds(cases[i].tokens, cases[i].dispatcher, PHASE_DISPATCH);
        const double said = uncertainties.slowest[PHASE_DISPATCH].routing;
        ck_assert_msg(said > seen / 2.5 && said < seen * 2.5, "%s, %u tokens: %g said, %g seen",
                      cases[i].dispatcher, cases[i].tokens, said, seen);
    }
}
END_TEST

// ---- what is in force --------------------------------------------------------------------------

// A rate that a person sets is no fitted one, and nothing is unsure of it.
START_TEST(changed_keys_add_no_uncertainty)
{
    const struct uncertainties as_is =
        uncertainties_at("h800-cx7", 32, 4096, "deepep-ll", &engine_estimate);
    const struct uncertainties set =
        uncertainties_at("h800-cx7:nic_effective=46GB/s", 32, 4096, "deepep-ll", &engine_estimate);
    ck_assert_double_lt(set.mean[PHASE_DISPATCH].constants,
                        0.8 * as_is.mean[PHASE_DISPATCH].constants);
    ck_assert_double_eq(set.mean[PHASE_DISPATCH].spread, as_is.mean[PHASE_DISPATCH].spread);
}
END_TEST

START_TEST(no_rows_no_interval)
{
    const struct uncertainties uncertainties = uncertainties_at(
        "h800-cx7", 32, 512, "tests/data/dispatcher/unmeasured.yaml", &engine_estimate);
    const struct uncertainties fitted =
        uncertainties_at("h800-cx7", 32, 512, "deepep-normal", &engine_simulate);
    ck_assert(!uncertainties.slowest[PHASE_DISPATCH].known);
    ck_assert(!uncertainties.layer.known);
    ck_assert(isnan(interval_of(&uncertainties.layer, 100, 90).low));
    ck_assert(fitted.layer.known);
    ck_assert(!fitted.slowest[PHASE_EXPERTS].known);
    ck_assert_double_gt(fitted.slowest[PHASE_COMBINE].spread, 0.005);
}
END_TEST

START_TEST(same_twice)
{
    const struct uncertainties a =
        uncertainties_at("h800-cx7", 32, 4096, "deepep-normal", &engine_simulate);
    const struct uncertainties b =
        uncertainties_at("h800-cx7", 32, 4096, "deepep-normal", &engine_simulate);
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        ck_assert(a.slowest[phase].constants == b.slowest[phase].constants);
        ck_assert(a.slowest[phase].routing == b.slowest[phase].routing);
    }
    ck_assert(a.layer.constants == b.layer.constants && a.layer.spread == b.layer.spread);
}
END_TEST

// Nine in ten of a normal are within 1.645 of its deviations; a wider share is a wider interval.
START_TEST(bounds)
{
    const struct uncertainty uncertainty = {
        .known = true, .constants = 0.03, .spread = 0.04, .freedom = INFINITY};
    const struct interval ninety = interval_of(&uncertainty, 100, 90),
                          half = interval_of(&uncertainty, 100, 50);
    ck_assert_double_eq_tol(ninety.high, 100 * exp(1.6448536 * 0.05), 1e-4);
    ck_assert_double_eq_tol(ninety.low * ninety.high, 10000, 1e-6);
    ck_assert_double_eq_tol(half.high, 100 * exp(0.6744898 * 0.05), 1e-4);
    const struct uncertainty bound = {
        .known = true, .spread = 0.05, .freedom = INFINITY, .floor_us = 97};
    ck_assert_double_eq(interval_of(&bound, 100, 90).low, 97);
    ck_assert_double_eq_tol(interval_of(&bound, 100, 90).high, 100 * exp(1.6448536 * 0.05), 1e-4);
    ck_assert_double_eq(interval_of(&bound, 96, 90).low, 96);
    const struct uncertainty few = {.known = true, .spread = 0.05, .freedom = 2};
    ck_assert_double_eq_tol(interval_of(&few, 100, 90).high, 100 * exp(2.9199856 * 0.05), 1e-4);
}
END_TEST

// At the datasheet's rates nothing is sooner.
START_TEST(no_interval_passes_the_datasheet)
{
    const struct uncertainties within =
        uncertainties_at("h800-cx7", 32, 4096, "deepep-normal", &engine_estimate);
    const struct uncertainties slower =
        uncertainties_at("h800-cx7:nic=200Gbps", 32, 4096, "deepep-normal", &engine_estimate);
    const struct uncertainty *dispatch = &within.slowest[PHASE_DISPATCH];
    ck_assert_double_gt(dispatch->floor_us, 1000);
    ck_assert_double_eq(interval_of(dispatch, 1.001 * dispatch->floor_us, 99).low,
                        dispatch->floor_us);
    ck_assert_double_eq_tol(slower.slowest[PHASE_COMBINE].floor_us,
                            2 * within.slowest[PHASE_COMBINE].floor_us, 1e-6);
    ck_assert_double_ge(within.layer.floor_us, within.slowest[PHASE_COMBINE].floor_us);
}
END_TEST

// ---- what leaves the rows ----------------------------------------------------------------------

static char *reasons_of_def(const struct scenario_def *def)
{
    struct scenario scenario;
    struct extrapolation extrapolation = {0};
    struct fits fits;
    struct error err = {0};
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    ck_assert_msg(scenario_open(&scenario, def, &err), "%s", err.text);
    ck_assert_msg(scenario_prepare(&scenario, &engine_estimate, &err), "%s", err.text);
    extrapolation_find(&extrapolation, &fits, &scenario, 1);
    char *text = extrapolation_text(&extrapolation);
    extrapolation_release(&extrapolation);
    scenario_release(&scenario);
    fits_release(&fits);
    return text;
}

static char *reasons_of(const char *cluster, uint32_t ep, uint32_t size, const char *dispatcher,
                        uint32_t sms)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    snprintf(def.cluster, sizeof def.cluster, "%s", cluster);
    snprintf(def.dispatcher, sizeof def.dispatcher, "%s", dispatcher);
    def.ep = ep;
    def.tokens = size;
    def.sms = sms;
    return reasons_of_def(&def);
}

START_TEST(says_what_leaves_the_rows)
{
    static const struct {
        const char *cluster;
        uint32_t ep, tokens;
        const char *dispatcher;
        uint32_t sms;
        const char *reasons; // NULL: none
    } cases[] = {
        {"h800-cx7", 32, 4096, "deepep-normal", 0, NULL},
        {"h800-cx7", 64, 4096, "deepep-normal", 0, NULL},
        {"h800-cx7", 128, 4096, "deepep-normal", 0, "16 nodes, fitted on 1 to 8"},
        {"h800-cx7", 32, 8192, "deepep-normal", 0, NULL},
        {"h800-cx7", 64, 8192, "deepep-normal", 0,
         "8192 tokens a GPU on 8 nodes, fitted on 4096 on 8 or more"},
        {"h800-cx7", 64, 16, "deepep-normal", 0,
         "16 tokens a GPU on 8 nodes, fitted on 4096 on 8 or more"},
        {"h800-cx7", 32, 4096, "deepep-normal", 64, "64 SMs, fitted on 4 to 24"},
        {"h800-cx7:nic_effective=23GB/s", 32, 4096, "deepep-normal", 0, "hardware changed: nic"},
        {"h800-cx7:nics_per_node=1", 32, 4096, "deepep-normal", 0,
         "1 NICs for 8 GPUs of a node, where h800-cx7 has 8 for 8"},
        {"4x8:nvlink_effective=300GB/s,nic_effective=46GB/s,slow=gpu=5:nic=0.5", 32, 4096,
         "deepep-normal", 0,
         "cluster custom, fitted on h800-cx7, h100-cx7, hopper-cx7, h100-nvl8, h200-nvl8, "
         "b300-nvl8, gb200-nvl8, gb300-nvl8; experts-prefill by the ratio of datasheets to h100; "
         "gemm-fp8-block by the ratio of datasheets to h100"},
        {"h800-cx7", 32, 4096, "deepep-normal:window_tokens=64,notify=1us", 0,
         "dispatcher changed: window_tokens, notify"},
        {"h800-cx7", 32, 4096, "deepep-normal:window_tokens=64,name=deepep-normal", 0,
         "dispatcher changed: window_tokens"},
        {"h800-cx7:nic_effective=23GB/s,hbm=1TB/s", 32, 4096, "deepep-normal", 0,
         "hardware changed: nic, hbm"},
        {"h800-cx7", 32, 512, "tests/data/dispatcher/unmeasured.yaml", 0,
         "no measured rows stand behind dispatcher unmeasured"},
    };
    for (int i = 0; i < SUITE_COUNT(cases); i++) {
        char *reasons = reasons_of(cases[i].cluster, cases[i].ep, cases[i].tokens,
                                   cases[i].dispatcher, cases[i].sms);
        ck_assert_pstr_eq(reasons, cases[i].reasons);
        free(reasons);
    }
}
END_TEST

// Kernels of a file: edited under the preset's name or another, edited where the layer does not
// read them, of nobody.
START_TEST(says_what_kernels_are_changed)
{
    static const struct {
        const char *text, *reasons; // NULL: none
    } cases[] = {
        {"base: sglang\n", NULL},
        {"base: sglang\nname: sglang\nexperts_prefill_start: 100us\n",
         "kernels changed: experts_prefill_start"},
        {"base: sglang\nname: mine\nexperts_prefill_start: 100us\n",
         "kernels changed: experts_prefill_start"},
        {"base: sglang\nname: sglang\nexperts_decode_start: 1us\n", NULL},
        {"experts_prefill_start: 100us\nexperts_prefill_memory: 1\nexperts_prefill_flops: 1\n"
         "experts_prefill_norm: 2\nexperts_prefill_launch_norm: 2\nname: mine\n",
         "no measured rows stand behind kernels mine"},
    };
    for (int i = 0; i < SUITE_COUNT(cases); i++) {
        struct fixture file = fixture_make(cases[i].text, ".yaml");
        struct scenario_def def = SCENARIO_DEFAULT;
        strcpy(def.cluster, "h800-cx7");
        strcpy(def.dispatcher, "deepep-normal");
        snprintf(def.kernels, sizeof def.kernels, "%s", file.path);
        char *reasons = reasons_of_def(&def);
        ck_assert_pstr_eq(reasons, cases[i].reasons);
        free(reasons);
        fixture_remove(&file);
    }
}
END_TEST

// What --show prints of a GPU with rows of its own is that preset, no other GPU's.
START_TEST(shown_kernels_are_of_their_gpu)
{
    struct provenance none[KERNELS_MAX_FIELDS] = {0};
    struct scenario_def def = SCENARIO_DEFAULT;
    struct cluster cluster;
    struct kernels kernels;
    struct error err;
    strcpy(def.cluster, "h200-cx7");
    strcpy(def.dispatcher, "deepep-normal");
    ck_assert(cluster_load(def.cluster, &cluster, NULL, &err));
    ck_assert(kernels_load(KERNELS_DEFAULT, &cluster, &kernels, NULL, &err));
    char *as_preset = reasons_of_def(&def);
    snprintf(def.kernels, sizeof def.kernels, "%s", scratch_path("shown.yaml"));
    FILE *out = fopen(def.kernels, "w");
    object_print(out, &(struct object_text){.fields = kernels_fields,
                                            .count = kernels_field_count,
                                            .object = &kernels,
                                            .provenance = none});
    fclose(out);
    char *as_file = reasons_of_def(&def);
    ck_assert(!as_preset || !strstr(as_preset, "by the ratio"));
    ck_assert_pstr_eq(as_file, as_preset);
    free(as_preset);
    free(as_file);
}
END_TEST

START_TEST(says_that_nvfp4_borrows_a_rate)
{
    struct error err = {0};
    char *preset = preset_text("models", "deepseek-v3", &err);
    char *key = strstr(preset, "weight_dtype:");
    ck_assert_ptr_nonnull(key);
    strcpy(key, "weight_dtype: nvfp4\n");
    struct fixture file = fixture_make(preset, ".yaml");
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.cluster, "h800-cx7");
    strcpy(def.dispatcher, "deepep-normal");
    snprintf(def.model, sizeof def.model, "%s", file.path);
    char *reasons = reasons_of_def(&def);
    ck_assert_ptr_nonnull(reasons);
    ck_assert_ptr_nonnull(strstr(reasons, "experts in nvfp4, at the rate of fp8"));
    free(reasons);
    fixture_remove(&file);
    free(preset);
}
END_TEST

// A fit of one's own has its own ranges, and they count.
START_TEST(own_fits_come_first)
{
    fit_rows(2, 0.01, 3);
    char *inside = reasons_of("h800-cx7", 16, 4096, "deepep-normal", 0);
    char *outside = reasons_of("h800-cx7", 32, 8192, "deepep-normal", 0);
    ck_assert_ptr_null(inside);
    ck_assert_str_eq(outside, "4 nodes, fitted on 1 to 2; 8192 tokens a GPU, fitted on 1 to 6144");
    free(inside);
    free(outside);
}
END_TEST

// Of a library's releases those count that rows are of, each on its clusters; rows that name none
// are of the preset's own.
START_TEST(tells_versions_without_rows)
{
    static const char rows[] =
        HEADER "a,f,h200-nvl8,nccl-alltoall,1,8,,,,bytes:1048576,,bf16,alltoall,,30,0,NCCL 2.23.4\n"
               "b,f,h200-nvl8,nccl-alltoall,1,8,,,,bytes:67108864,,bf16,alltoall,,260,0,NCCL "
               "2.23.1\n"
               "c,f,h100-nvl8,nccl-alltoall,1,8,,,,bytes:67108864,,bf16,alltoall,,255,0,made\n";
    static const struct {
        const char *cluster, *dispatcher, *reasons; // NULL: none
    } cases[] = {
        {"h200-nvl8", "nccl-alltoall@nccl-2.23", NULL},
        {"h200-nvl8", "nccl-alltoall@nccl-2.23.9", NULL},
        {"h200-nvl8", "nccl-alltoall@nccl-2.20", "nccl-2.20, fitted on nccl-2.23, nccl-2.29"},
        {"h200-nvl8", "nccl-alltoall@nccl-2.27", "nccl-2.27, fitted on nccl-2.23, nccl-2.29"},
        {"h200-nvl8", "nccl-alltoall@nccl-2.31", "nccl-2.31, fitted on nccl-2.23, nccl-2.29"},
        {"h200-nvl8", "nccl-alltoall", "nccl-2.29 on cluster h200-nvl8, fitted on h100-nvl8"},
        {"h100-nvl8", "nccl-alltoall", NULL},
        {"h100-nvl8", "nccl-alltoall@nccl-2.23.4",
         "nccl-2.23 on cluster h100-nvl8, fitted on h200-nvl8"},
    };
    struct fixture file = fixture_make(rows, ".csv");
    fit_moves(file.path, "parameters:\n  - {key: nvlink, clusters: [h200-nvl8, h100-nvl8]}\n");
    fixture_remove(&file);
    const bool quiet = notice_quiet(true);
    for (int i = 0; i < SUITE_COUNT(cases); i++) {
        struct scenario_def def = SCENARIO_DEFAULT;
        strcpy(def.cluster, cases[i].cluster);
        strcpy(def.dispatcher, cases[i].dispatcher);
        strcpy(def.traffic, "uniform:1MiB");
        char *reasons = reasons_of_def(&def);
        ck_assert_pstr_eq(reasons, cases[i].reasons);
        free(reasons);
    }
    notice_quiet(quiet);
}
END_TEST

// A preset of one's own that says another figure than the fit of that name found.
START_TEST(tells_an_edited_preset)
{
    struct error err = {0};
    char *text = preset_text("clusters", "h800-cx7", &err);
    fit_rows(4, 0.01, 3);
    FILE *out = fopen(scratch_path("clusters/h800-cx7.yaml"), "w");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        fprintf(out, "%s\n", strncmp(line, "nic:", 4) ? line : "nic: 12GB/s");
    fclose(out);
    char *reasons = reasons_of("h800-cx7", 16, 4096, "deepep-normal", 0);
    ck_assert_ptr_nonnull(reasons);
    ck_assert_ptr_nonnull(strstr(reasons, "hardware changed: nic"));
    free(reasons);
    free(text);
}
END_TEST

// ---- files -------------------------------------------------------------------------------------

#define GOOD_PARAMETERS "parameters:\n  - {key: nic, clusters: [h800-cx7], value: 40GB/s}\n"
#define GOOD_BEFORE GOOD_PARAMETERS "covariance:\n  - \"1\"\n"
#define GROUP_OF(spreads, places) GROUP(spreads, "", places)
#define GROUP_WITH(versions) GROUP("{nodes: 1, rows: 4, freedom: 2}", versions, "[1, 1, 8]")
#define GROUP(spreads, versions, places)                                                           \
    GOOD_BEFORE "groups:\n  - {dispatcher: deepep-normal, phase: dispatch, spreads: [" spreads     \
                "],\n"                                                                             \
                "     clusters: [h800-cx7], " versions " dtypes: [fp8],\n     gpus_per_node: "     \
                "[8, 8],\n"                                                                        \
                "     experts: [8, 8],\n     topk: [2, 2], hidden: [64, 64], sms: [4, 4],\n"       \
                "     places: [" places "]}\n"
#define NAME_64 "a-name-of-sixty-four-letters-that-is-four-times-as-long-as-this-"
#define NAME_256 NAME_64 NAME_64 NAME_64 NAME_64

START_TEST(refuses_bad_fits)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"covariance: []\n", "parameters: missing"},
        {"parameters: 3\n", "parameters: expected a list"},
        {"parameters:\n  - {key: nick, clusters: [h800-cx7], value: 40GB/s}\n",
         "key: 'nick': no such key"},
        {"parameters:\n  - {key: nic, clusters: [h800-cx7], value: 40}\n", "value: "},
        {"parameters:\n  - {key: nic, clusters: [h800-cx7]}\n", "value: missing"},
        {GOOD_PARAMETERS "covariance: [\"1\", \"2\"]\n", "a row for each of 1 parameters"},
        {GOOD_PARAMETERS "covariance: [\"x\"]\n", "expected 1 numbers"},
        {GOOD_PARAMETERS "covariance: [\"-1\"]\n", "not below zero"},
        {GOOD_PARAMETERS "covariance: [\"1\"]\n", "groups: missing"},
        {GOOD_PARAMETERS "covariance: [\"1\"]\ngroups:\n  - {dispatcher: x, phase: lunch}\n",
         "'lunch': expected one such as rmsnorm"},
        {GOOD_PARAMETERS "covariance: [\"1\"]\ngroups:\n  - {dispatcher: x, phase: dispatch, "
                         "clusters: [a], spreads: [{nodes: 1, rows: 3, freedom: 0.5}]}\n",
         "at least 1"},
        {GOOD_BEFORE "groups:\n  - {dispatcher: \"" NAME_256 "\", phase: dispatch}\n",
         "bad.yaml:6: dispatcher: "},
        {GOOD_BEFORE "groups:\n  - {dispatcher: \"a\\nb\", phase: dispatch}\n",
         "bad.yaml:6: dispatcher: 'a\\nb': holds a control character"},
        {GROUP_OF("{nodes: 4294967297, rows: 4, freedom: 2}", "[1, 1, 8]"),
         "bad.yaml:6: nodes: '4294967297': out of range; expected 1 to 4294967295"},
        {GROUP_OF("{nodes: 0, rows: 4, freedom: 2}", "[1, 1, 8]"), "bad.yaml:6: nodes: '0': out"},
        {GROUP_OF("{nodes: 2, rows: 4, freedom: 2}, {nodes: 2, rows: 4, freedom: 2}", "[1, 1, 8]"),
         "bad.yaml:6: nodes, ascending: '2': out of range; expected 3 to 4294967295"},
        {GROUP_OF("{nodes: 1, rows: 4, freedom: 2}", "[4294967298, 1, 8]"),
         "bad.yaml:11: nodes: '4294967298': out of range; expected 1 to 4294967295"},
        {GROUP_OF("{nodes: 1, rows: 4, freedom: 2}", "[4, 1, 8], [2, 1, 8]"),
         "bad.yaml:11: nodes, ascending: '2': out of range; expected 5 to 4294967295"},
        {GROUP_WITH("versions: [{version: 2.29, clusters: [a]}],"),
         "bad.yaml:7: version: '2.29': "},
        {GROUP_WITH("versions: [{clusters: [a]}],"), "bad.yaml:7: version: missing"},
        {GROUP_WITH("versions: [{version: nccl-2.29}],"), "bad.yaml:7: clusters: missing"},
    };
    struct error err = {0};
    struct fits fits;
    mkdir(scratch_path("fits"), 0777);
    for (int i = 0; i < SUITE_COUNT(cases); i++) {
        scratch_write("fits/bad.yaml", cases[i].text, strlen(cases[i].text));
        ck_assert(preset_folder(scratch_folder, &err));
        ck_assert(!fits_load(&fits, &err));
        ck_assert_msg(strstr(err.text, cases[i].why) && strstr(err.text, "bad.yaml:"), "%s",
                      err.text);
        ck_assert_int_eq(err.code, EXIT_INPUT);
    }
    const char good[] = GROUP_OF("{nodes: 1, rows: 4, freedom: 2}", "[1, 1, 8], [2, 1, 8]");
    scratch_write("fits/bad.yaml", good, strlen(good));
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    ck_assert_uint_eq(fits_group(&fits, "deepep-normal", PHASE_DISPATCH)->spreads[0].rows, 4);
    fits_release(&fits);
}
END_TEST

static void own_folder_off(void)
{
    struct error err;
    preset_folder(NULL, &err);
    scratch_clear();
}

int main(void)
{
    Suite *suite = suite_create("interval");
    TCase *tests = tcase_create("interval");
    tcase_add_checked_fixture(tests, scratch_make, own_folder_off);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, covers_what_it_says);
    tcase_add_test(tests, covers_beyond_its_rows);
    tcase_add_test(tests, exact_rows_leave_little_uncertainty);
    tcase_add_test(tests, uncertainty_grows_beyond_the_rows);
    tcase_add_test(tests, spread_is_apart_between_nodes);
    tcase_add_test(tests, more_noise_more_uncertainty);
    tcase_add_test(tests, routing_is_as_seeds_are);
    tcase_add_test(tests, changed_keys_add_no_uncertainty);
    tcase_add_test(tests, no_rows_no_interval);
    tcase_add_test(tests, same_twice);
    tcase_add_test(tests, bounds);
    tcase_add_test(tests, no_interval_passes_the_datasheet);
    tcase_add_test(tests, says_what_leaves_the_rows);
    tcase_add_test(tests, says_what_kernels_are_changed);
    tcase_add_test(tests, shown_kernels_are_of_their_gpu);
    tcase_add_test(tests, says_that_nvfp4_borrows_a_rate);
    tcase_add_test(tests, own_fits_come_first);
    tcase_add_test(tests, tells_versions_without_rows);
    tcase_add_test(tests, tells_an_edited_preset);
    tcase_add_test(tests, refuses_bad_fits);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
