// study/compare: which layers and steps are asked, and which measured rows belong.
#include "study/compare.h"
#include "study/rows/measured.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

#define ROWS "tests/data/measured-steps.csv"

static struct scenario_def steps_def(void)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.trace, "traces/minimoe-256e");
    def.ep = 8;
    def.tokens = 32;
    return def;
}

// "layer/step:phase:stat:id" of every row, a space between.
static void describe(const struct comparison *comparison, char *text, size_t bytes)
{
    text[0] = '\0';
    for (size_t i = 0; i < comparison->count; i++) {
        const struct compared *row = &comparison->rows[i];
        const size_t used = strlen(text);
        snprintf(text + used, bytes - used, "%s%u/%llu:%s:%s:%s", i ? " " : "", row->layer,
                 (unsigned long long)row->step, phase_names[row->phase],
                 row->slowest ? "slowest" : "mean", row->measured ? row->measured->id : "-");
    }
}

#define ALL(place)                                                                                 \
    place ":rmsnorm:mean:- " place ":rmsnorm:slowest:- " place ":router:mean:- " place             \
          ":router:slowest:- " place ":dispatch:mean:- " place ":dispatch:slowest:- " place        \
          ":experts:mean:- " place ":experts:slowest:- " place ":combine:mean:- " place            \
          ":combine:slowest:- " place ":shared:mean:- " place ":shared:slowest:-"
#define L1S0                                                                                       \
    "1/0:dispatch:mean:l1s0-dispatch 1/0:dispatch:slowest:l1s0-dispatch-slowest "                  \
    "1/0:experts:mean:l1s0-experts"
#define L1S2 "1/2:combine:mean:l1s2-combine"
#define L2S0 "2/0:shared:slowest:l2s0-shared"

static const struct {
    bool measured;
    uint32_t layers[3], steps[3];
    size_t layer_count, step_count;
    const char *rows;
} places[] = {
    {false, {0}, {0}, 0, 0, ALL("0/0")},
    {false, {1, 2}, {3}, 2, 1, ALL("1/3") " " ALL("2/3")},
    {true, {0}, {0}, 0, 0, L1S0 " " L1S2 " " L2S0},
    {true, {2}, {0}, 1, 0, L2S0},
    {true, {0}, {2}, 0, 1, L1S2},
    {true, {1}, {0, 2}, 1, 2, L1S0 " " L1S2},
    {true, {1}, {0, 1}, 1, 2, L1S0 " " ALL("1/1")}, // asked by name: not measured, and shown
    {true, {0}, {0}, 1, 0, ALL("0/0")},             // nothing was measured of layer 0
    {true, {0}, {1, 3}, 0, 2, ALL("0/1") " " ALL("0/3")},
};

START_TEST(lays_beside)
{
    const struct scenario_def def = steps_def();
    const struct compare_places asked = {.layers = places[_i].layers,
                                         .steps = places[_i].steps,
                                         .layer_count = places[_i].layer_count,
                                         .step_count = places[_i].step_count};
    struct comparison comparison = {0};
    struct measured measured = {0};
    struct error err = {0};
    char text[4096];
    ck_assert_msg(measured_load(&measured, ROWS, &err), "%s", err.text);
    ck_assert_msg(
        compare_steps(&def, &asked, places[_i].measured ? &measured : NULL, &comparison, &err),
        "%s", err.text);
    describe(&comparison, text, sizeof text);
    ck_assert_str_eq(text, places[_i].rows);
    comparison_release(&comparison);
    measured_release(&measured);
}
END_TEST

// A step's row is what simulating that very step alone gives.
START_TEST(asks_that_step)
{
    const struct scenario_def def = steps_def();
    const uint32_t steps[] = {0, 5};
    const struct compare_places asked = {.steps = steps, .step_count = 2};
    struct comparison all = {0}, one = {0};
    struct error err = {0};
    ck_assert_msg(compare_steps(&def, &asked, NULL, &all, &err), "%s", err.text);
    const struct compare_places last = {.steps = steps + 1, .step_count = 1};
    ck_assert_msg(compare_steps(&def, &last, NULL, &one, &err), "%s", err.text);
    ck_assert_uint_eq(all.count, 2 * one.count);
    bool differs = false;
    for (size_t i = 0; i < one.count; i++) {
        ck_assert_double_eq(all.rows[one.count + i].simulate_us, one.rows[i].simulate_us);
        ck_assert_double_eq(all.rows[one.count + i].estimate_us, one.rows[i].estimate_us);
        ck_assert_double_ge(one.rows[i | 1].simulate_us, one.rows[i & ~(size_t)1].simulate_us);
        differs = differs || all.rows[i].simulate_us != one.rows[i].simulate_us;
    }
    ck_assert(differs);
    comparison_release(&all);
    comparison_release(&one);
}
END_TEST

// What may differ in a row, one column at a time, and whether it still belongs.
static const struct {
    const char *what;
    size_t offset;
    const char *text;
    bool belongs;
} changed[] = {
    {"cluster", offsetof(struct measured_row, cluster), "elsewhere", false},
    {"dispatcher", offsetof(struct measured_row, dispatcher), "nccl-flat", false},
    {"layout", offsetof(struct measured_row, layout), "round-robin", false},
    {"layout", offsetof(struct measured_row, layout), "", true},
    {"routing", offsetof(struct measured_row, routing), "uniform", false},
    {"stage", offsetof(struct measured_row, stage), "inter", false},
    {"stat", offsetof(struct measured_row, stat), "", true},
    {"stat", offsetof(struct measured_row, stat), "least", false},
    {"dtype", offsetof(struct measured_row, other_dtype), "fp6", false},
};

START_TEST(belongs)
{
    const struct scenario_def def = steps_def();
    const struct compare_places none = {0};
    struct comparison comparison = {0};
    struct measured measured = {0};
    struct error err = {0};
    ck_assert_msg(measured_load(&measured, ROWS, &err), "%s", err.text);
    for (size_t i = 0; i < measured.count; i++) // l1s0-dispatch alone stays
        if (!strcmp(measured.rows[i].id, "l1s0-dispatch"))
            measured.rows[0] = measured.rows[i];
    measured.count = 1;
    strcpy((char *)&measured.rows[0] + changed[_i].offset, changed[_i].text);
    ck_assert_msg(compare_steps(&def, &none, &measured, &comparison, &err), "%s", err.text);
    ck_assert_msg((comparison.rows[0].measured != NULL) == changed[_i].belongs, "%s '%s'",
                  changed[_i].what, changed[_i].text);
    comparison_release(&comparison);
    measured_release(&measured);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compare");
    TCase *tests = tcase_create("compare");
    tcase_add_loop_test(tests, lays_beside, 0, SUITE_COUNT(places));
    tcase_add_test(tests, asks_that_step);
    tcase_add_loop_test(tests, belongs, 0, SUITE_COUNT(changed));
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
