// What rows of DeepEP's kernels showed of their cost models (stream, staged): few senders, shared
// SMs, a later start on Blackwell, SM sweeps, growth with nodes.
#include "model/costs/kernel_costs.h"
#include "model/engine/estimate.h"
#include "scenario/scenario.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

static struct scenario_def asked(const char *cluster, uint32_t ep, const char *dispatcher,
                                 uint32_t tokens)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.cluster, cluster);
    strcpy(def.dispatcher, dispatcher);
    def.ep = ep;
    def.routing = ROUTING_UNIFORM;
    def.tokens = tokens;
    def.aligned = true;
    return def;
}

static void open_expected(struct scenario *scenario, const struct scenario_def *def)
{
    struct error err = {0};
    ck_assert_msg(scenario_open(scenario, def, &err), "%s", err.text);
    scenario_load(scenario, LOADS_EXPECTED);
}

static double phase_us(const struct scenario_def *def, enum phase phase)
{
    struct scenario scenario;
    struct timing timing;
    open_expected(&scenario, def);
    estimate(scenario.schedule, &scenario.run, &timing);
    const double us = timing_span(&timing, phase).latency_mean_ps / 1e6;
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

static struct scenario_def of_experts(uint32_t experts, uint32_t tokens)
{
    struct scenario_def def = asked("h100-nvl8", 8, "deepep-ll", tokens);
    def.has_shape = true;
    def.shape = moe_default();
    def.shape.experts = experts;
    def.shape.topk = 2;
    def.shape.hidden = def.shape.intermediate = 4096;
    return def;
}

// 1 / rate = 1 / (share x NVLink) + 1 / (SMs x store rate).
START_TEST(few_senders_store_slower)
{
    static const uint32_t experts[] = {8, 128};
    double share[2];
    for (int i = 0; i < 2; i++) {
        const struct scenario_def def = of_experts(experts[i], 64);
        struct scenario scenario;
        struct kernel_costs costs;
        open_expected(&scenario, &def);
        const struct schedule *schedule = scenario.schedule;
        kernel_costs_init(&costs, schedule, schedule_transfer(schedule, PHASE_COMBINE));
        const struct common_costs *common = &schedule->dispatcher.combine;
        share[i] = 1 / (1 / common->nvlink_share +
                        schedule->cluster.nvlink_Bps / (experts[i] * common->store_Bps));
        ck_assert_double_eq_tol(costs.nvlink_share, share[i], 1e-12);
        scenario_release(&scenario);
    }
    ck_assert_double_gt(share[1], 1.2 * share[0]);
}
END_TEST

// One token: 132 SMs serve 128 experts one each, more in turn.
START_TEST(shared_sms_start_combine_once_later)
{
    struct scenario scenario;
    const struct scenario_def one = of_experts(128, 1), two = of_experts(256, 1),
                              four = of_experts(512, 1);
    open_expected(&scenario, &one);
    const struct common_costs common = scenario.dispatcher.combine;
    scenario_release(&scenario);
    const double per_expert_us = (double)common.per_expert_ps / 1e6;
    const double once = phase_us(&two, PHASE_COMBINE) - phase_us(&one, PHASE_COMBINE);
    const double again = phase_us(&four, PHASE_COMBINE) - phase_us(&two, PHASE_COMBINE);
    ck_assert_double_gt(once, 128 * per_expert_us + 0.5);
    ck_assert_double_lt(again, 256 * per_expert_us + 0.3);
}
END_TEST

START_TEST(blackwell_starts_later)
{
    const struct scenario_def hopper = asked("h100-nvl8", 8, "deepep-ll", 1),
                              eight = asked("b300-nvl8", 8, "deepep-ll", 1),
                              four = asked("gb300-nvl8", 4, "deepep-ll", 1),
                              normal = asked("gb300-nvl8", 4, "deepep-normal", 1),
                              hopper_normal = asked("h100-nvl8", 4, "deepep-normal", 1);
    ck_assert_double_gt(phase_us(&eight, PHASE_DISPATCH), 5 + phase_us(&hopper, PHASE_DISPATCH));
    ck_assert_double_gt(phase_us(&eight, PHASE_DISPATCH), 3 + phase_us(&four, PHASE_DISPATCH));
    ck_assert_double_gt(phase_us(&normal, PHASE_DISPATCH),
                        4 + phase_us(&hopper_normal, PHASE_DISPATCH));
}
END_TEST

// With S SMs a rank's copies take A / S and something that no SM makes faster.
START_TEST(more_sms_pay_less_each)
{
    static const uint32_t sms[] = {4, 8, 24};
    double us[3];
    for (int i = 0; i < 3; i++) {
        struct scenario_def def = asked("gb300-nvl8", 4, "deepep-normal", 65536);
        def.sms = sms[i];
        us[i] = phase_us(&def, PHASE_DISPATCH);
    }
    ck_assert_double_gt(us[0], us[1]);
    ck_assert_double_gt(us[1], us[2]);
    ck_assert_double_lt(us[0] * 4, us[1] * 8);
    ck_assert_double_lt(us[1] * 8, us[2] * 24);
}
END_TEST

// Bound by SMs, four nodes over two take as copies grow, (N + C) of a token: 1.28 for 8 of 256.
START_TEST(nodes_cost_copies)
{
    struct scenario_def two = asked("hopper-cx7", 16, "deepep-normal", 4096), four = two;
    two.sms = four.sms = 4;
    four.ep = 32;
    const double growth = phase_us(&four, PHASE_DISPATCH) / phase_us(&two, PHASE_DISPATCH);
    ck_assert_double_gt(growth, 1.2);
    ck_assert_double_lt(growth, 1.33);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deepep");
    TCase *tests = tcase_create("deepep");
    tcase_add_test(tests, few_senders_store_slower);
    tcase_add_test(tests, shared_sms_start_combine_once_later);
    tcase_add_test(tests, blackwell_starts_later);
    tcase_add_test(tests, more_sms_pay_less_each);
    tcase_add_test(tests, nodes_cost_copies);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
