// --layout eplb and its like: planned on the counts of a trace's layer or on drawn loads, to the
// last slot.
#include "scenario/planned.h"

#include "base/mem.h"
#include "model/placement/placement.h"
#include "scenario/scenario.h"
#include "tests/suite.h"

#include <string.h>

#define EXPERTS 256
#define SLOTS 288
#define TRACE "traces/minimoe-256e"

static struct scenario_def def_of(const char *layout, const char *trace)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.layout, layout);
    strcpy(def.trace, trace);
    strcpy(def.model, "deepseek-v3");
    strcpy(def.dispatcher, "deepep-normal");
    def.ep = 32;
    def.redundant = SLOTS - EXPERTS;
    def.tokens = 64;
    return def;
}

static void check_slots(const struct scenario *scenario, enum placement_rule rule,
                        const double *load)
{
    const struct placement_shape shape = {
        .experts = EXPERTS, .groups = 8, .ranks = 32, .nodes = 4, .slots = SLOTS};
    uint32_t expected[SLOTS];
    placement_make(rule, &shape, load, 1, expected);
    ck_assert_uint_eq(scenario->layout->slots, SLOTS);
    ck_assert_mem_eq(scenario->layout->slot_expert, expected, sizeof expected);
}

static const struct {
    const char *name;
    enum placement_rule rule;
} rules[] = {
    {"eplb", PLACEMENT_EPLB}, {"eplb-global", PLACEMENT_EPLB_GLOBAL}, {"greedy", PLACEMENT_GREEDY}};

// Every layer that is sought has a layout of its own, on all that the trace has of it.
START_TEST(on_a_trace)
{
    const struct scenario_def def = def_of(rules[_i].name, TRACE);
    struct scenario scenario;
    struct error err;
    char text[PLANNED_TEXT_BYTES];
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    const struct trace *trace = scenario_trace(&scenario);
    for (uint32_t layer = 0; layer < 3; layer++) {
        double load[EXPERTS] = {0};
        uint16_t ids[8];
        for (uint64_t t = 0; t < trace->tokens; t++) {
            trace_row(trace, t, layer, ids);
            for (uint32_t k = 0; k < 8; k++)
                load[ids[k]]++;
        }
        ck_assert_msg(scenario_seek(&scenario, layer, 0, &err), "%s", err.text);
        check_slots(&scenario, rules[_i].rule, load);
    }
    ck_assert_ptr_nonnull(strstr(planned_text(&scenario.def, scenario.layout, text),
                                 "288 slots, planned on all that the trace has of a layer"));
    scenario_release(&scenario);
}
END_TEST

START_TEST(on_drawn_loads)
{
    const struct scenario_def def = def_of(rules[_i].name, "");
    struct scenario scenario;
    struct error err;
    char text[PLANNED_TEXT_BYTES];
    double load[EXPERTS] = {0};
    uint16_t ids[8];
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    for (uint32_t rank = 0; rank < 32; rank++)
        for (uint32_t t = 0; t < 64; t++) {
            routing_row(&scenario.routing, rank, t, ids);
            for (uint32_t k = 0; k < 8; k++)
                load[ids[k]]++;
        }
    check_slots(&scenario, rules[_i].rule, load);
    ck_assert_ptr_nonnull(strstr(planned_text(&scenario.def, scenario.layout, text),
                                 "planned on the loads that --routing v3 draws with seed 1"));
    scenario_release(&scenario);
}
END_TEST

static const struct {
    const char *layout;
    uint32_t redundant;
    const char *message;
} refused[] = {
    {"eplb", 3, "--redundant 3: 259 slots on 32 ranks: expected as many on each, 256 or 288 slots"},
    {"contiguous", 32, "--redundant: --layout contiguous is not planned: expected --layout eplb"},
    {"tests/data/layout/trtllm-ep32.yaml", 32, "--redundant: --layout tests/data/layout/"},
    {"search", 32, "--redundant: --layout search is not planned"},
    {"eplbb", 0, "--layout: 'eplbb': did you mean 'eplb'?"},
};

START_TEST(refuses)
{
    struct scenario_def def = def_of(refused[_i].layout, "");
    struct scenario scenario;
    struct error err;
    def.redundant = refused[_i].redundant;
    ck_assert(!scenario_open(&scenario, &def, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strncmp(err.text, refused[_i].message, strlen(refused[_i].message)) == 0,
                  "%s\nexpected %s", err.text, refused[_i].message);
}
END_TEST

int main(void)
{
    notice_quiet(true);
    Suite *suite = suite_create("planned");
    TCase *tcase = tcase_create("planned");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, on_a_trace, 0, SUITE_COUNT(rules));
    tcase_add_loop_test(tcase, on_drawn_loads, 0, SUITE_COUNT(rules));
    tcase_add_loop_test(tcase, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
