// Expected loads stand for the mean over seeds, by every dispatcher: the first of what `make
// check-form` asks more of; and the parts of which that is made.
#include "model/engine/compute.h"
#include "tests/expected_judge.h"
#include "tests/scene.h"
#include "tests/suite.h"

static const struct expected_cell cells[] = {
    {"h800-cx7", 1, 8, 8, ROUTING_UNIFORM, false, false},
    {"h800-cx7", 1, 8, 8, ROUTING_V3, true, true},
    {"h800-cx7", 2, 8, 8, ROUTING_UNIFORM, true, false},
    {"h800-cx7", 2, 8, 32, ROUTING_V3, false, false},
    {"h800-cx7", 4, 4, 128, ROUTING_UNIFORM, false, true},
};

START_TEST(stands_for_the_mean_of_seeds)
{
    const struct expected_cell *cell = &cells[_i];
    struct expected_verdict verdicts[EXPECTED_DISPATCHERS];
    uint32_t asked = 0;
    expected_judge_cell(cell, SCENE_CASES(expected_seeds(cell)), verdicts);
    for (size_t d = 0; d < EXPECTED_DISPATCHERS; d++)
        for (int span = 0; verdicts[d].asked && span < EXPECTED_SPANS; span++) {
            asked++;
            ck_assert_msg(expected_is_near(&verdicts[d], span),
                          "%s, %u tokens, %s: %.2f us, mean of seeds %.2f (standard error %.2f)",
                          question_dispatchers[d], cell->tokens, expected_span_names[span],
                          verdicts[d].expected.us[span], verdicts[d].counted.us[span],
                          verdicts[d].error.us[span]);
        }
    ck_assert_uint_gt(asked, 3 * EXPECTED_DISPATCHERS / 2);
}
END_TEST

// Each of n alike: the known maximum of normals. One that has more to do than all others by far:
// that one's mean.
START_TEST(latest_of_unequal_ranks)
{
    const double means[] = {10, 10, 10, 10, 20}, sds[] = {2, 2, 2, 2, 0.1}, none[5] = {0};
    ck_assert_double_eq_tol(loads_expected_latest(means, sds, 1), 10, 0.05);
    ck_assert_double_eq_tol(loads_expected_latest(means, sds, 4), 10 + 2 * 1.0294, 0.05);
    ck_assert_double_eq_tol(loads_expected_latest(means, sds, 5), 20, 0.05);
    ck_assert_double_eq(loads_expected_latest(means, none, 5), 20);
}
END_TEST

START_TEST(chance_of_any_token)
{
    const struct loads counted = {0}, expected = {.expected = true};
    ck_assert_double_eq(loads_chance_of_any(&counted, 0, 8), 0);
    ck_assert_double_eq(loads_chance_of_any(&counted, 3, 8), 1);
    ck_assert_double_eq_tol(loads_chance_of_any(&expected, 4, 8), 1 - pow(0.5, 8), 1e-12);
    ck_assert_double_eq(loads_chance_of_any(&expected, 8, 8), 1);
    ck_assert_double_eq(loads_chance_of_any(&expected, 0, 8), 0);
}
END_TEST

// Choices that go together (all k of a token on one rank, or none) vary more than those that come
// one by one.
START_TEST(choices_vary_by_what_goes_together)
{
    double tokens = 16, alone = 4, together = 1, choices = 4;
    struct loads loads = {.ranks = 1, .topk = 4, .expected = true, .tokens = &tokens};
    loads.expert_copies = &choices;
    loads.rank_copies = &alone;
    ck_assert_double_eq_tol(loads_choices_variance(&loads, 0, 0), 4 * 0.75, 1e-12);
    loads.rank_copies = &together;
    ck_assert_double_eq_tol(loads_choices_variance(&loads, 0, 0), 3 + 16.0 * 15 / 16, 1e-12);
    together = 0;
    ck_assert_double_eq(loads_choices_variance(&loads, 0, 0), 0);
}
END_TEST

// The unluckiest rank's experts take longer than the mean one's, those of more ranks longer still,
// and no longer than if all experts had a token.
START_TEST(late_experts_grow_with_ranks)
{
    struct scenario scenario;
    ck_assert(expected_open(&cells[0], "deepep-ll", &scenario));
    const double mean = compute_phase_ps(scenario.schedule, PHASE_EXPERTS, 0, 1);
    double before = mean;
    for (uint32_t ranks = 2; ranks <= 64; ranks *= 2) {
        const struct late_experts late = compute_late_experts(scenario.schedule, 0, ranks);
        ck_assert_double_gt((double)late.late_ps, before);
        ck_assert_double_gt(late.sd_ps, 0);
        before = (double)late.late_ps;
    }
    scenario_release(&scenario);
    struct expected_cell many = cells[0];
    many.tokens = 4096;
    ck_assert(expected_open(&many, "deepep-normal", &scenario));
    const double all = compute_phase_ps(scenario.schedule, PHASE_EXPERTS, 0, 1);
    const struct late_experts late = compute_late_experts(scenario.schedule, 0, 64);
    ck_assert_double_lt((double)late.late_ps, 1.1 * all);
    scenario_release(&scenario);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("expected");
    TCase *tests = tcase_create("expected");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, stands_for_the_mean_of_seeds, 0, SUITE_COUNT(cells));
    tcase_add_test(tests, latest_of_unequal_ranks);
    tcase_add_test(tests, chance_of_any_token);
    tcase_add_test(tests, choices_vary_by_what_goes_together);
    tcase_add_test(tests, late_experts_grow_with_ranks);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
