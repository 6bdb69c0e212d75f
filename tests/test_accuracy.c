// study/accuracy: published rows within their tolerance, by both engines, and the rules of judging.
#include "study/accuracy.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/measured_rows.h"
#include "tests/suite.h"

#include <math.h>

#define PUBLISHED "study/measured/h800-cx7.csv"

static void judge(struct accuracy *accuracy, const struct measured *measured,
                  const struct engine *engine)
{
    const struct row_overrides overrides = {.seed = 1};
    const struct grouping grouping = grouping_default();
    accuracy_judge(accuracy, measured, engine, &overrides, NULL);
    accuracy_group(accuracy, &grouping);
}

// _i is the engine: no row has a parameter of its own.
START_TEST(published_rows)
{
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, PUBLISHED);
    ck_assert_uint_eq(measured.count, 24);
    judge(&accuracy, &measured, engine_table[_i]);
    ck_assert_uint_eq(accuracy.skipped, 0);
    for (size_t i = 0; i < accuracy.count; i++)
        ck_assert_msg(fabs(accuracy.rows[i].error_pct) <= 10, "%s by %s: %.2f us, off by %.2f %%",
                      measured.rows[i].id, engine_table[_i]->name, accuracy.rows[i].predicted_us,
                      accuracy.rows[i].error_pct);
    accuracy_release(&accuracy);
    measured_release(&measured);
}
END_TEST

// The naive engine misses by more than either of ours: what the others are for.
START_TEST(naive_is_worse)
{
    struct measured measured;
    struct accuracy ours, naive;
    load_rows(&measured, PUBLISHED);
    judge(&ours, &measured, &engine_estimate);
    judge(&naive, &measured, &engine_naive);
    ck_assert_double_gt(naive.median_abs_pct, 2 * ours.median_abs_pct);
    accuracy_release(&ours);
    accuracy_release(&naive);
    measured_release(&measured);
}
END_TEST

// Ten rows of one case, whose measured times are set so that the errors are known: prediction
// p, measured p / (1 + e). The 90th percentile of n is element floor(0.9 (n - 1)) of the sorted.
static const struct {
    size_t n;
    double median, p90;
} quantiles[] = {{1, 1, 1}, {2, 1.5, 1}, {3, 2, 2}, {10, 5.5, 9}, {11, 6, 10}, {12, 6.5, 10}};

static double row_us(void)
{
    const struct fixture file = fixture_make(
        HEADER "a,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,1,0,s\n", ".csv");
    struct measured measured;
    const struct row_overrides overrides = {.seed = 1};
    struct scenario scenario;
    struct error err = {0};
    load_rows(&measured, file.path);
    ck_assert(row_open(&scenario, &measured.rows[0], &engine_estimate, &overrides, &err));
    const double us = row_predict(&scenario, &measured.rows[0], &engine_estimate).us;
    scenario_release(&scenario);
    measured_release(&measured);
    fixture_remove(&file);
    return us;
}

START_TEST(quantiles_are_elements)
{
    char text[4096] = HEADER;
    const double us = row_us();
    const size_t n = quantiles[_i].n;
    for (size_t i = 0; i < n; i++) { // errors of 1, 2, 3, ... %, every other one negative
        const double error = (double)(i + 1) * (i % 2 ? -0.01 : 0.01);
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "r%zu,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,%.12g,0,s\n", i,
                 us / (1 + error));
    }
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, file.path);
    judge(&accuracy, &measured, &engine_estimate);
    ck_assert_double_eq_tol(accuracy.median_abs_pct, quantiles[_i].median, 1e-6);
    ck_assert_double_eq_tol(accuracy.p90_abs_pct, quantiles[_i].p90, 1e-6);
    ck_assert_uint_eq(accuracy.group_count, 1);
    ck_assert_uint_eq(accuracy.groups[0].count, n);
    ck_assert_double_eq_tol(accuracy.groups[0].p90_abs_pct, quantiles[_i].p90, 1e-6);
    ck_assert_double_eq_tol(accuracy.groups[0].worst_abs_pct, (double)n, 1e-6);
    ck_assert_double_eq_tol(accuracy.groups[0].bias_pct,
                            (n % 2 ? (double)(n + 1) / 2 : -(double)n / 2) / (double)n, 1e-6);
    accuracy_release(&accuracy);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// A row that cannot be predicted is skipped, and says why; nothing is put in its place.
static const struct {
    const char *row, *why;
} skipped[] = {
    {"b,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,int4,dispatch,,77,0,s\n",
     "dtype int4 is not modelled"},
    {"b,f,h900-cx9,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,77,0,s\n", "h900-cx9"},
    {"b,f,h800-cx7,deepep-v9,1,8,256,8,,128,7168,fp8,dispatch,,77,0,s\n", "deepep-v9"},
    {"b,f,h800-cx7,deepep-ll,1,16,256,8,,128,7168,fp8,dispatch,,77,0,s\n", "16"},
    {"b,f,h800-cx7,deepep-ll,4,8,16,8,,128,7168,fp8,dispatch,,77,0,s\n", "16"},
    {"b,f,h800-cx7,deepep-normal,1,8,256,8,,128,7168,fp8,dispatch,500,77,0,s\n", "500"},
    {"b,f,h800-cx7,deepep-ll,1,8,4,8,,128,7168,fp8,dispatch,,77,0,s\n", "8"},
    {"b,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,experts,,77,0,s\n", "--model"},
};

START_TEST(skips)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s%s", HEADER,
             "a,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,77,0,s\n", skipped[_i].row);
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, file.path);
    judge(&accuracy, &measured, &engine_estimate);
    ck_assert_uint_eq(accuracy.skipped, 1);
    ck_assert(!accuracy.rows[0].skipped && accuracy.rows[1].skipped);
    ck_assert_msg(strstr(accuracy.rows[1].why, skipped[_i].why) != NULL, "%s",
                  accuracy.rows[1].why);
    ck_assert_uint_eq(accuracy.group_count, 1);
    ck_assert_uint_eq(accuracy.groups[0].count, 1);
    accuracy_release(&accuracy);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

#define RUN_HEADER COLUMNS ",routing,step,layer,stat,disturbed\n"

// What is predicted of one row of a run, microseconds; below 0: it is refused.
static double run_row_us(const char *row, const struct row_overrides *overrides, struct error *err)
{
    char text[1024];
    snprintf(text, sizeof text, "%s%s\n", RUN_HEADER, row);
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct scenario scenario;
    double us = -1;
    load_rows(&measured, file.path);
    if (row_open(&scenario, &measured.rows[0], &engine_estimate, overrides, err)) {
        us = row_predict(&scenario, &measured.rows[0], &engine_estimate).us;
        scenario_release(&scenario);
    }
    measured_release(&measured);
    fixture_remove(&file);
    return us;
}

#define TRACED "a,f,h200-nvl8,nccl-ep-ll,1,4,256,8,,512,7168,bf16,combine,,200,0,s,%s,0,%u,slowest,"
#define DISTURBED                                                                                  \
    "a,f,h200-nvl8,nccl-flat,1,4,256,8,,4096,7168,bf16,rmsnorm,,200,0,s,,0,0,slowest,%s"

// A row under a recorded trace needs that trace, and has its layer's loads.
START_TEST(rows_of_a_trace)
{
    char text[256];
    struct error err = {0};
    struct row_overrides overrides = {.seed = 1};
    snprintf(text, sizeof text, TRACED, "trace", 1u);
    ck_assert_double_lt(run_row_us(text, &overrides, &err), 0);
    ck_assert_msg(strstr(err.text, "--trace"), "%s", err.text);
    overrides.trace = "traces/minimoe-256e";
    const double one = run_row_us(text, &overrides, &err);
    snprintf(text, sizeof text, TRACED, "trace", 4u);
    const double four = run_row_us(text, &overrides, &err);
    snprintf(text, sizeof text, TRACED, "uniform", 0u);
    const double even = run_row_us(text, &overrides, &err);
    ck_assert_double_gt(even, 0);
    ck_assert_double_gt(one, 1.05 * even);
    ck_assert_double_ne(one, four);
    snprintf(text, sizeof text, TRACED, "trace", 9u);
    ck_assert_double_lt(run_row_us(text, &overrides, &err), 0);
}
END_TEST

// A row that was measured beside another job needs to be told how slow that made its GPUs.
START_TEST(disturbed_rows)
{
    char text[256];
    struct error err = {0};
    struct row_overrides overrides = {.seed = 1};
    snprintf(text, sizeof text, DISTURBED, "3");
    ck_assert_double_lt(run_row_us(text, &overrides, &err), 0);
    ck_assert_msg(strstr(err.text, "--slow"), "%s", err.text);
    overrides.slow = "gpu=3:compute=0.5";
    const double disturbed = run_row_us(text, &overrides, &err);
    snprintf(text, sizeof text, DISTURBED, "");
    const double healthy = run_row_us(text, &overrides, &err);
    ck_assert_double_gt(healthy, 0);
    ck_assert_double_eq_tol(disturbed, 2 * healthy, 1e-3 * healthy);
}
END_TEST

START_TEST(all_skipped_is_no_figure)
{
    char text[2048];
    snprintf(text, sizeof text, "%s%s", HEADER, skipped[0].row);
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, file.path);
    judge(&accuracy, &measured, &engine_simulate);
    ck_assert(isnan(accuracy.median_abs_pct) && isnan(accuracy.p90_abs_pct));
    ck_assert_uint_eq(accuracy.group_count, 0);
    accuracy_release(&accuracy);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// Families in order of first appearance: one a (family, cluster, dispatcher, nodes, phase).
START_TEST(families)
{
    struct measured measured;
    struct accuracy accuracy;
    size_t rows = 0;
    load_rows(&measured, PUBLISHED);
    judge(&accuracy, &measured, &engine_estimate);
    for (size_t f = 0; f < accuracy.group_count; f++) {
        const struct accuracy_group *group = &accuracy.groups[f];
        rows += group->count;
        ck_assert_double_le(group->median_abs_pct, group->worst_abs_pct);
        ck_assert_double_le(fabs(group->bias_pct), group->worst_abs_pct);
        for (size_t g = 0; g < f; g++)
            ck_assert(accuracy.groups[g].first < group->first);
    }
    ck_assert_uint_eq(rows, 24);
    ck_assert_uint_eq(accuracy.group_count, 22);
    accuracy_release(&accuracy);
    measured_release(&measured);
}
END_TEST

// By phase alone: the same rows in two groups; by token bands: what a band holds.
START_TEST(other_groups)
{
    struct measured measured;
    struct accuracy accuracy;
    struct grouping grouping;
    struct error err = {0};
    char text[FIELD_TEXT_BYTES];
    load_rows(&measured, PUBLISHED);
    judge(&accuracy, &measured, &engine_estimate);
    ck_assert(grouping_parse(&grouping, "phase", &err));
    accuracy_group(&accuracy, &grouping);
    ck_assert_uint_eq(accuracy.group_count, 2);
    ck_assert_uint_eq(accuracy.groups[0].count + accuracy.groups[1].count, 24);
    ck_assert(grouping_parse(&grouping, "tokens", &err));
    accuracy_group(&accuracy, &grouping);
    ck_assert_uint_eq(accuracy.group_count, 2);
    ck_assert_str_eq(group_key_text(GROUP_TOKENS, accuracy.groups[0].first, text), "4096-32767");
    ck_assert_str_eq(group_key_text(GROUP_TOKENS, accuracy.groups[1].first, text), "64-511");
    ck_assert(!grouping_parse(&grouping, "phase,phase", &err));
    ck_assert_str_eq(err.text, "'phase' stands twice");
    ck_assert(!grouping_parse(&grouping, "phases", &err));
    ck_assert_msg(strstr(err.text, "'phases': expected family, ") != NULL, "%s", err.text);
    accuracy_release(&accuracy);
    measured_release(&measured);
}
END_TEST

// The furthest off first, equal ones in file order, skipped ones never; no more than there are.
START_TEST(worst_rows)
{
    char text[4096] = HEADER;
    static const double errors[] = {0.02, -0.3, 0.05, 0.3, -0.01};
    static const size_t order[] = {1, 4, 3, 0, 5};
    const double us = row_us();
    for (size_t i = 0; i < SUITE_COUNT(errors); i++) {
        if (i == 2)
            strcat(text, skipped[0].row);
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "r%zu,f,h800-cx7,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,%.17g,0,s\n", i,
                 us / (1 + errors[i]));
    }
    const struct fixture file = fixture_make(text, ".csv");
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, file.path);
    judge(&accuracy, &measured, &engine_estimate);
    for (size_t max = 1; max <= 7; max++) {
        size_t count;
        size_t *worst = accuracy_worst(&accuracy, max, &count);
        ck_assert_uint_eq(count, max < 5 ? max : 5);
        for (size_t i = 0; i < count; i++)
            if (i > 1) // the first two are equally far off but for the last bit
                ck_assert_uint_eq(worst[i], order[i]);
            else
                ck_assert_double_eq_tol(fabs(accuracy.rows[worst[i]].error_pct), 30, 1e-9);
        free(worst);
    }
    ck_assert_str_eq(accuracy.rows[0].bottleneck, "gpu0.nvlink.tx");
    accuracy_release(&accuracy);
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// A group rests on the figures of its rows, once each; naive on none.
START_TEST(groups_have_support)
{
    struct measured measured;
    struct accuracy ours, naive;
    load_rows(&measured, PUBLISHED);
    judge(&ours, &measured, &engine_estimate);
    judge(&naive, &measured, &engine_naive);
    for (size_t g = 0; g < ours.group_count; g++) {
        const struct support *support = &ours.groups[g].support;
        ck_assert_uint_eq(support->rows, ours.groups[g].count);
        ck_assert_uint_gt(support->parameters, 0);
        ck_assert_uint_gt(support->fitted_rows, 0);
        ck_assert_double_gt(support->effective_parameters, 0);
        ck_assert_double_le(support->effective_parameters, (double)support->parameters);
        ck_assert_uint_eq(naive.groups[g].support.parameters, 0);
        ck_assert(!support_overfitted(&naive.groups[g].support));
    }
    accuracy_release(&ours);
    accuracy_release(&naive);
    measured_release(&measured);
}
END_TEST

// A layer is predicted as simulate and estimate say it of the whole: without the phases that it ran
// without, with the shared expert where it ran.
#define LAYER "h800-cx7,nccl-flat,1,8,256,8,4,64,7168,fp8,layer,,1,0,s"
static const struct {
    const char *row;
    enum overlap overlap;
    unsigned left_out;
    bool slowest;
} layers[] = {
    {LAYER ",slowest,router,,", OVERLAP_NONE, 0, true},
    {LAYER ",mean,router,none,", OVERLAP_NONE, 0, false},
    {LAYER ",slowest,router,,notify", OVERLAP_NONE, 1 << PHASE_NOTIFY, true},
    {LAYER ",slowest,router,dispatch,notify", OVERLAP_DISPATCH, 1 << PHASE_NOTIFY, true},
    {LAYER ",slowest,v3,combine,router+notify", OVERLAP_COMBINE,
     1 << PHASE_ROUTER | 1 << PHASE_NOTIFY, true},
};

static double layer_us(size_t i, const struct engine *engine)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct timing timing;
    struct error err = {0};
    double us = 0;
    strcpy(def.dispatcher, "nccl-flat");
    strcpy(def.model, "deepseek-v3");
    def.ep = 8;
    strcpy(def.kernels, "epsim-real"); // who measures layers
    def.tokens = 64;
    def.overlap = layers[i].overlap;
    def.left_out = layers[i].left_out;
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    ck_assert_msg(scenario_run(&scenario, engine, &timing, &err), "%s", err.text);
    for (uint32_t r = 0; r < timing.ranks; r++) {
        uint64_t last = 0;
        for (enum phase p = 0; p < PHASE_COUNT; p++)
            if (timing.phases[p].present && timing.phases[p].end_ps[r] > last)
                last = timing.phases[p].end_ps[r];
        us += (double)last / 1e6 / timing.ranks;
    }
    us = layers[i].slowest ? timing_layer_ps(&timing) / 1e6 : us;
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

START_TEST(layers_are_predicted_whole)
{
    char text[512];
    snprintf(text, sizeof text, "%s\na,f,%s\n", COLUMNS ",stat,routing,overlap,without",
             layers[_i].row);
    const struct fixture file = fixture_make(text, ".csv");
    const struct row_overrides overrides = {.seed = 1, .model = "deepseek-v3"};
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, file.path);
    for (size_t e = 0; e < 2; e++) {
        accuracy_judge(&accuracy, &measured, engine_table[e], &overrides, NULL);
        ck_assert_msg(!accuracy.rows[0].skipped, "%s", accuracy.rows[0].why);
        ck_assert_double_eq_tol(accuracy.rows[0].predicted_us,
                                layer_us((size_t)_i, engine_table[e]), 1e-9);
        ck_assert_msg(strchr(accuracy.rows[0].bottleneck, ':') != NULL, "%s",
                      accuracy.rows[0].bottleneck);
        accuracy_release(&accuracy);
    }
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

// Notify is in the layer, or it is not; the shared expert beside dispatch saves time.
START_TEST(layers_differ)
{
    const double whole = layer_us(0, &engine_estimate), without = layer_us(2, &engine_estimate);
    ck_assert_double_gt(whole, without + 40); // of nccl-flat on one node: 48 us
    ck_assert_double_gt(without, layer_us(3, &engine_estimate));
}
END_TEST

// A layer asks for its model, and one without a shared expert has none beside anything.
START_TEST(layers_are_refused)
{
    static const struct {
        const char *model, *why;
    } cases[] = {{NULL, "phase layer: name the model that ran (--model)"},
                 {"qwen3-235b-a22b", "overlap dispatch: the layer has no shared expert"}};
    const struct fixture file = fixture_make(
        COLUMNS ",overlap\na,f,h800-cx7,nccl-flat,1,8,128,8,,64,4096,fp8,layer,,1,0,s,dispatch\n",
        ".csv");
    struct measured measured;
    struct accuracy accuracy;
    load_rows(&measured, file.path);
    for (size_t i = 0; i < SUITE_COUNT(cases); i++) {
        const struct row_overrides overrides = {.seed = 1, .model = cases[i].model};
        accuracy_judge(&accuracy, &measured, &engine_estimate, &overrides, NULL);
        ck_assert_uint_eq(accuracy.skipped, 1);
        ck_assert_str_eq(accuracy.rows[0].why, cases[i].why);
        accuracy_release(&accuracy);
    }
    measured_release(&measured);
    fixture_remove(&file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("accuracy");
    TCase *tests = tcase_create("accuracy");
    tcase_set_timeout(tests, 90);
    tcase_add_loop_test(tests, published_rows, 0, 2);
    tcase_add_test(tests, naive_is_worse);
    tcase_add_loop_test(tests, quantiles_are_elements, 0, SUITE_COUNT(quantiles));
    tcase_add_test(tests, rows_of_a_trace);
    tcase_add_test(tests, disturbed_rows);
    tcase_add_loop_test(tests, skips, 0, SUITE_COUNT(skipped));
    tcase_add_test(tests, all_skipped_is_no_figure);
    tcase_add_test(tests, families);
    tcase_add_test(tests, other_groups);
    tcase_add_test(tests, worst_rows);
    tcase_add_test(tests, groups_have_support);
    tcase_add_loop_test(tests, layers_are_predicted_whole, 0, SUITE_COUNT(layers));
    tcase_add_test(tests, layers_differ);
    tcase_add_test(tests, layers_are_refused);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
