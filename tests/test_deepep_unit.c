// study/deepep_unit: the GB/s that DeepEP's tests print, of times that their logs have beside them.
#include "study/deepep_unit.h"

#include "scenario/scenario.h"
#include "study/engines.h"
#include "tests/near.h"
#include "tests/suite.h"

#include <string.h>

// What DeepEP's tests print of a time: their README, and logs in public issues. Two digits differ
// by the draw of the routing.
static const struct {
    const char *dispatcher;
    uint32_t nodes, tokens;
    enum dtype dtype;
    enum phase phase;
    double us, inter_GBps, intra_GBps; // 0: none
} printed[] = {
    {"deepep-normal", 2, 4096, DTYPE_FP8, PHASE_DISPATCH, 754, 80.01, 261.15},
    {"deepep-normal", 2, 4096, DTYPE_BF16, PHASE_DISPATCH, 1409, 83.09, 271.19},
    {"deepep-normal", 2, 4096, DTYPE_FP8, PHASE_COMBINE, 1813, 64.57, 210.76},
    {"uccl-normal", 2, 4096, DTYPE_FP8, PHASE_DISPATCH, 774.87, 77.84, 254.65},
    {"deepep-normal", 1, 4096, DTYPE_FP8, PHASE_DISPATCH, 499.58, 0, 320.68},
    {"deepep-normal", 1, 4096, DTYPE_BF16, PHASE_COMBINE, 965.24, 0, 321.89},
    {"deepep-ll", 2, 128, DTYPE_FP8, PHASE_DISPATCH, 259.77, 29.2, 0},
    {"uccl-ll", 2, 128, DTYPE_FP8, PHASE_COMBINE, 265.75, 55.24, 0},
};

// DeepEP's tests draw uniformly over 256 experts, of as many groups as nodes.
static void open_printed(struct scenario *scenario, int i, struct error *err)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.dispatcher, printed[i].dispatcher);
    strcpy(def.cluster, "h800-cx7");
    def.nodes = printed[i].nodes;
    def.gpus_per_node = 8;
    def.tokens = printed[i].tokens;
    def.routing = ROUTING_UNIFORM;
    def.has_shape = true;
    def.shape = moe_default();
    def.shape.hidden = 7168;
    def.shape.intermediate = 2048;
    def.shape.experts = 256;
    def.shape.topk = 8;
    def.shape.dispatch_dtype = printed[i].dtype;
    def.shape.combine_dtype = DTYPE_BF16;
    def.shape.dispatch_given = true;
    ck_assert_msg(scenario_open(scenario, &def, err), "%s", err->text);
    ck_assert_msg(scenario_prepare(scenario, &engine_estimate, err), "%s", err->text);
}

START_TEST(rates_are_those_that_tests_print)
{
    struct scenario scenario;
    struct error err = {0};
    struct deepep_unit unit;
    open_printed(&scenario, _i, &err);
    ck_assert(deepep_unit_of(&unit, scenario.schedule, printed[_i].phase));
    const double inter = deepep_unit_inter_GBps(&unit, printed[_i].us);
    const double intra = deepep_unit_intra_GBps(&unit, printed[_i].us);
    ck_assert(printed[_i].inter_GBps > 0 || isnan(inter));
    ck_assert(printed[_i].intra_GBps > 0 || isnan(intra));
    if (printed[_i].inter_GBps > 0)
        expect_near(inter, printed[_i].inter_GBps, 2e-3);
    if (printed[_i].intra_GBps > 0)
        expect_near(intra, printed[_i].intra_GBps, 4e-3);
    scenario_release(&scenario);
}
END_TEST

START_TEST(texts_name_what_is_counted)
{
    const struct deepep_unit both = {"RDMA", "NVL", 60e6, 200e6}, one = {"", NULL, 7.5e6, 0},
                             inside = {NULL, "NVL", 0, 160e6};
    char text[DEEPEP_UNIT_BYTES];
    ck_assert_str_eq(deepep_unit_text(&both, 1000, text), "60 GB/s (RDMA), 200 GB/s (NVL)");
    ck_assert_str_eq(deepep_unit_text(&one, 100, text), "75 GB/s");
    ck_assert_str_eq(deepep_unit_text(&inside, 500, text), "320 GB/s (NVL)");
    ck_assert_str_eq(deepep_unit_text(&both, 0, text), "");
}
END_TEST

START_TEST(others_do_not_count_so)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct error err = {0};
    struct deepep_unit unit;
    strcpy(def.dispatcher, "nccl-flat");
    strcpy(def.cluster, "h800-cx7");
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    ck_assert_msg(scenario_prepare(&scenario, &engine_estimate, &err), "%s", err.text);
    ck_assert(!deepep_unit_of(&unit, scenario.schedule, PHASE_DISPATCH));
    ck_assert(!deepep_unit_of(&unit, scenario.schedule, PHASE_EXPERTS));
    scenario_release(&scenario);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deepep_unit");
    TCase *units = tcase_create("units");
    tcase_set_timeout(units, 60);
    tcase_add_loop_test(units, rates_are_those_that_tests_print, 0, SUITE_COUNT(printed));
    tcase_add_test(units, texts_name_what_is_counted);
    tcase_add_test(units, others_do_not_count_so);
    suite_add_tcase(suite, units);
    return suite_run(suite);
}
