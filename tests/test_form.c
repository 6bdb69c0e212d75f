// The closed form keeps causality and its bound, whatever is asked: random questions, the first of
// those that `make check-form` asks more of.
#include "tests/form_judge.h"
#include "tests/scene.h"
#include "tests/suite.h"

#define CASES SCENE_CASES(300)

START_TEST(holds_and_is_near)
{
    uint32_t asked = 0, outside = 0;
    for (uint32_t i = 0; i < CASES; i++) {
        const struct question question = question_random(1, i);
        const struct form_verdict verdict = form_judge(&question);
        ck_assert_msg(!verdict.broken[0], "%s: %s", verdict.broken, question_text(&question));
        for (int span = 0; verdict.asked && span < FORM_SPANS; span++, asked++)
            outside += !form_is_near(&verdict, span);
    }
    ck_assert_msg(outside <= (asked + 99) / 100, "%u of %u", outside, asked);
}
END_TEST

static struct scenario_def decode(const char *cluster, const char *slow)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    snprintf(def.cluster, sizeof def.cluster, "%s", cluster);
    snprintf(def.dispatcher, sizeof def.dispatcher, "deepep-ll");
    snprintf(def.slow, sizeof def.slow, "%s", slow);
    def.ep = 16;
    def.tokens = 128;
    return def;
}

static void run(const struct scenario_def *def, const struct engine *engine, struct timing *timing)
{
    struct scenario scenario;
    struct error err;
    ck_assert_msg(scenario_open(&scenario, def, &err), "%s", err.text);
    ck_assert_msg(scenario_run(&scenario, engine, timing, &err), "%s", err.text);
    scenario_release(&scenario);
}

// Eight ranks of one NIC take turns at it: each is done when nearly all are.
START_TEST(sharers_of_a_nic_end_together)
{
    const struct scenario_def def = decode("2x8:nvlink=313GB/s,nic=48GB/s,nics_per_node=1", "");
    struct timing estimated, simulated;
    run(&def, &engine_estimate, &estimated);
    run(&def, &engine_simulate, &simulated);
    for (enum phase p = PHASE_DISPATCH; p <= PHASE_COMBINE; p += PHASE_COMBINE - PHASE_DISPATCH) {
        const double mean = timing_span(&estimated, p).latency_mean_ps;
        ck_assert_double_ge(mean, estimated.phases[p].bound_ps);
        ck_assert_double_eq_tol(timing_span(&simulated, p).latency_mean_ps / mean, 1, 0.02);
    }
    timing_release(&estimated);
    timing_release(&simulated);
}
END_TEST

// Without a barrier nobody is done before a late rank that sends to it has come.
START_TEST(all_wait_for_a_late_rank)
{
    const struct scenario_def def = decode("h800-cx7", "gpu=5:late=300us");
    struct timing timing;
    run(&def, &engine_estimate, &timing);
    const struct phase_timing *dispatch = &timing.phases[PHASE_DISPATCH];
    for (uint32_t r = 0; r < timing.ranks; r++)
        ck_assert_uint_ge(dispatch->end_ps[r], dispatch->start_ps[5]);
    timing_release(&timing);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("form");
    TCase *tests = tcase_create("form");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, holds_and_is_near);
    tcase_add_test(tests, sharers_of_a_nic_end_together);
    tcase_add_test(tests, all_wait_for_a_late_rank);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
