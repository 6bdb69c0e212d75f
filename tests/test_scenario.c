// scenario/: opened once, sought, cloned, moved in memory and varied, with the same answer each
// way.
#include "tests/scene.h"
#include "tests/suite.h"

#include <omp.h>
#include <stdlib.h>

#define BUNDLED "traces/minimoe-256e"

static struct scenario_def traced(uint32_t ep, uint32_t tokens)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.trace, BUNDLED);
    def.ep = ep;
    def.tokens = tokens;
    return def;
}

static void open_good(struct scenario *scenario, const struct scenario_def *def)
{
    struct error err;
    ck_assert_msg(scenario_open(scenario, def, &err), "%s", err.text);
}

static uint64_t hash_of(struct scenario *scenario, const struct engine *engine)
{
    struct timing timing;
    struct error err;
    ck_assert_msg(scenario_run(scenario, engine, &timing, &err), "%s", err.text);
    const uint64_t hash = timing_hash(&timing);
    timing_release(&timing);
    return hash;
}

static uint64_t hash_alone(const struct scenario_def *def, const struct engine *engine)
{
    struct scenario scenario;
    open_good(&scenario, def);
    const uint64_t hash = hash_of(&scenario, engine);
    scenario_release(&scenario);
    return hash;
}

// ---- payloads ----------------------------------------------------------------------------------

static const struct {
    const char *model, *dispatcher;
    int dispatch, combine; // asked, enum dtype; -1: nothing
    enum dtype dispatched;
    const char *refused; // part of the message; NULL: none
} payloads[] = {
    {"deepseek-v3", "deepep-normal", -1, -1, DTYPE_FP8, NULL},
    {"deepseek-v3", "nccl-ep-ht", -1, -1, DTYPE_BF16, NULL},
    {"deepseek-v3", "deepep-ll", DTYPE_BF16, -1, DTYPE_BF16, NULL},
    {"deepseek-v3", "deepep-ll", DTYPE_NVFP4, -1, DTYPE_NVFP4, NULL},
    {"deepseek-v2", "deepep-normal", -1, -1, DTYPE_BF16, NULL},
    {"gpt-oss-120b", "deepep-ll", -1, -1, DTYPE_BF16, NULL},
    {"deepseek-v3", "deepep-normal", DTYPE_NVFP4, -1, 0,
     "--dispatch-dtype nvfp4: deepep-normal dispatches fp8 bf16"},
    {"deepseek-v3", "deepep-ll", -1, DTYPE_FP8, 0, "--combine-dtype fp8: deepep-ll combines bf16"},
    {"deepseek-v3", "trtllm-twosided", -1, DTYPE_NVFP4_IN_KERNEL, DTYPE_FP8, NULL},
};

START_TEST(payloads_follow_the_experts)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct error err;
    strcpy(def.cluster, "h100-nvl8");
    strcpy(def.model, payloads[_i].model);
    strcpy(def.dispatcher, payloads[_i].dispatcher);
    def.tokens = 64;
    def.dispatch_dtype = (uint32_t)(payloads[_i].dispatch + 1);
    def.combine_dtype = (uint32_t)(payloads[_i].combine + 1);
    const bool ok = scenario_open(&scenario, &def, &err);
    if (payloads[_i].refused) {
        ck_assert(!ok);
        ck_assert_str_eq(err.text, payloads[_i].refused);
        return;
    }
    ck_assert_msg(ok, "%s", err.text);
    ck_assert_uint_eq(scenario.moe.dispatch_dtype, payloads[_i].dispatched);
    ck_assert_uint_eq(scenario.moe.combine_dtype,
                      payloads[_i].combine < 0 ? DTYPE_BF16 : (unsigned)payloads[_i].combine);
    scenario_release(&scenario);
}
END_TEST

// ---- which loads -------------------------------------------------------------------------------

static const struct {
    enum loads_kind asked;
    const struct engine *engine;
    bool expected;
} kinds[] = {
    {LOADS_AUTO, &engine_simulate, false},    {LOADS_AUTO, &engine_estimate, true},
    {LOADS_AUTO, &engine_naive, true},        {LOADS_COUNTED, &engine_estimate, false},
    {LOADS_EXPECTED, &engine_simulate, true},
};

START_TEST(loads_are_the_engines_unless_asked)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct error err;
    def.tokens = 32;
    def.loads = kinds[_i].asked;
    open_good(&scenario, &def);
    ck_assert_ptr_null(scenario.loads);
    ck_assert(scenario_prepare(&scenario, kinds[_i].engine, &err));
    ck_assert_int_eq(scenario.loads->expected, kinds[_i].expected);
    scenario_release(&scenario);
}
END_TEST

START_TEST(two_engines_have_loads_of_their_own)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    def.tokens = 64;
    open_good(&scenario, &def);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(hash_of(&scenario, &engine_simulate), hash_alone(&def, &engine_simulate));
        ck_assert_uint_eq(hash_of(&scenario, &engine_estimate), hash_alone(&def, &engine_estimate));
    }
    scenario_release(&scenario);
}
END_TEST

START_TEST(a_trace_is_counted)
{
    struct scenario_def def = traced(8, 64);
    struct scenario scenario;
    struct error err;
    def.loads = LOADS_EXPECTED;
    open_good(&scenario, &def);
    ck_assert(scenario_prepare(&scenario, &engine_estimate, &err));
    ck_assert(!scenario.loads->expected);
    scenario_release(&scenario);
}
END_TEST

// ---- along a trace -----------------------------------------------------------------------------

START_TEST(seeking_is_as_opening)
{
    static const uint32_t places[][2] = {{0, 0}, {3, 5}, {3, 6}, {1, 0}, {5, 11}, {0, 0}};
    struct scenario_def def = traced(16, 128);
    struct scenario scenario;
    struct error err;
    open_good(&scenario, &def);
    for (size_t i = 0; i < SUITE_COUNT(places); i++) {
        def.layer = places[i][0];
        def.step = places[i][1];
        ck_assert_msg(scenario_seek(&scenario, def.layer, def.step, &err), "%s", err.text);
        ck_assert_uint_eq(scenario.def.layer, def.layer);
        ck_assert_uint_eq(hash_of(&scenario, &engine_simulate), hash_alone(&def, &engine_simulate));
    }
    scenario_release(&scenario);
}
END_TEST

START_TEST(a_failed_seek_may_be_mended)
{
    const struct scenario_def def = traced(8, 64);
    struct scenario scenario, clone;
    struct error err;
    open_good(&scenario, &def);
    const uint64_t before = hash_of(&scenario, &engine_estimate);
    ck_assert(!scenario_seek(&scenario, 99, 0, &err));
    ck_assert_str_eq(err.text, "--layer: 99: expected 0 to 5, the trace's layers");
    scenario_clone(&clone, &scenario); // of no layer and step: to be sought too
    ck_assert(scenario_seek(&clone, 0, 0, &err));
    ck_assert_uint_eq(hash_of(&clone, &engine_estimate), before);
    scenario_release(&clone);
    ck_assert(!scenario_seek(&scenario, 0, 1 << 30, &err));
    ck_assert(scenario_seek(&scenario, 0, 0, &err));
    ck_assert_uint_eq(hash_of(&scenario, &engine_estimate), before);
    scenario_release(&scenario);
}
END_TEST

// A scenario goes on with a part of its trace, and that part's first step is the trace's middle.
START_TEST(a_part_has_steps_of_its_own)
{
    struct scenario_def def = traced(8, 64);
    struct scenario scenario, whole;
    struct error err;
    open_good(&scenario, &def);
    struct recorded *half = recorded_part(scenario.recorded, 0.5, 1, &err);
    ck_assert_ptr_nonnull(half);
    const uint64_t first = recorded_trace(half)->tokens / (8 * 64);
    scenario_use_part(&scenario, half);
    recorded_release(half); // the scenario holds it, and it the whole
    ck_assert_uint_eq(scenario.steps, first);
    ck_assert(scenario_seek(&scenario, 2, 0, &err));
    def.layer = 2;
    def.step = first;
    open_good(&whole, &def);
    ck_assert_uint_eq(hash_of(&scenario, &engine_simulate), hash_of(&whole, &engine_simulate));
    scenario_release(&whole);
    scenario_release(&scenario);
}
END_TEST

// ---- clones ------------------------------------------------------------------------------------

static const struct scenario_def *clone_def(int which)
{
    static struct scenario_def defs[4];
    for (int i = 0; i < 4; i++)
        defs[i] = (struct scenario_def)SCENARIO_DEFAULT;
    defs[0].tokens = 96;
    strcpy(defs[1].traffic, "ring:1MiB");
    defs[2] = traced(8, 100);
    defs[2].layer = 4;
    defs[3].tokens = 200;
    strcpy(defs[3].layout, "round-robin");
    strcpy(defs[3].slow, "gpu=3:nic=0.5,node=1:late=50us");
    return &defs[which];
}

START_TEST(a_clone_outlives_its_origin)
{
    struct scenario *origin = mem_alloc(1, sizeof *origin), clone, moved;
    open_good(origin, clone_def(_i));
    const uint64_t before = hash_of(origin, &engine_simulate);
    scenario_clone(&clone, origin);
    scenario_release(origin);
    free(origin);
    ck_assert_uint_eq(hash_of(&clone, &engine_simulate), before);
    memcpy(&moved, &clone, sizeof moved); // moved: nothing in it points into it
    memset(&clone, 0xa5, sizeof clone);
    scenario_touch(&moved);
    ck_assert_uint_eq(hash_of(&moved, &engine_simulate), before);
    scenario_release(&moved);
}
END_TEST

START_TEST(a_changed_clone_leaves_its_origin)
{
    struct scenario origin, clone;
    open_good(&origin, clone_def(_i));
    const uint64_t before = hash_of(&origin, &engine_simulate);
    scenario_clone(&clone, &origin);
    clone.cluster.nic_Bps /= 3;
    clone.cluster.nvlink_Bps /= 3;
    scenario_touch(&clone);
    ck_assert_uint_ne(hash_of(&clone, &engine_simulate), before);
    scenario_release(&clone);
    scenario_touch(&origin);
    ck_assert_uint_eq(hash_of(&origin, &engine_simulate), before);
    scenario_release(&origin);
}
END_TEST

START_TEST(threads_each_have_a_clone)
{
    struct scenario_def def = traced(8, 64);
    struct scenario origin;
    uint64_t hashes[12], wanted[12];
    open_good(&origin, &def);
    for (uint32_t step = 0; step < 12; step++) {
        def.step = step;
        wanted[step] = hash_alone(&def, &engine_estimate);
    }
#pragma omp parallel for num_threads(4)
    for (uint32_t step = 0; step < 12; step++) {
        struct scenario clone;
        struct error err;
        scenario_clone(&clone, &origin);
        hashes[step] = scenario_seek(&clone, 0, step, &err) ? hash_of(&clone, &engine_estimate) : 0;
        scenario_release(&clone);
    }
    ck_assert_mem_eq(hashes, wanted, sizeof wanted);
    scenario_release(&origin);
}
END_TEST

// ---- without causes ----------------------------------------------------------------------------

static double without_ps(const struct scenario *scenario, unsigned causes)
{
    struct timing timing;
    scenario_run_without(scenario, causes, &engine_estimate, &timing);
    const double ps = timing_layer_ps(&timing);
    timing_release(&timing);
    return ps;
}

// Taking slow parts or late ranks away is as opening the scenario without them.
START_TEST(without_causes_is_as_never_asked)
{
    struct scenario_def def = SCENARIO_DEFAULT, healthy;
    struct scenario slow, other;
    struct error err;
    def.tokens = 512;
    def.loads = LOADS_COUNTED;
    healthy = def;
    strcpy(def.slow, "gpu=3:nic=0.5,node=1:compute=0.7");
    def.skew_us = 40;
    open_good(&slow, &def);
    ck_assert(scenario_prepare(&slow, &engine_estimate, &err));
    open_good(&other, &healthy);
    ck_assert(scenario_prepare(&other, &engine_estimate, &err));
    ck_assert_double_eq(without_ps(&slow, SCENARIO_SLOW | SCENARIO_ARRIVAL), without_ps(&other, 0));
    ck_assert_double_gt(without_ps(&slow, 0), without_ps(&slow, SCENARIO_SLOW));
    ck_assert_double_gt(without_ps(&slow, 0), without_ps(&slow, SCENARIO_ARRIVAL));
    ck_assert_double_gt(without_ps(&other, 0), without_ps(&other, SCENARIO_ROUTING));
    scenario_release(&other);
    scenario_release(&slow);
}
END_TEST

// ---- what is refused ---------------------------------------------------------------------------

// What no engine can put times to is refused each time it is asked.
START_TEST(refusals_last)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario, clone;
    struct error err;
    struct timing timing;
    strcpy(def.cluster, "1x8:nvlink_effective=1B/s");
    def.tokens = 4096;
    open_good(&scenario, &def);
    for (int i = 0; i < 2; i++) {
        ck_assert(!scenario_prepare(&scenario, &engine_estimate, &err));
        ck_assert_ptr_nonnull(strstr(err.text, "busy"));
    }
    scenario_clone(&clone, &scenario);
    ck_assert(!scenario_run(&clone, &engine_simulate, &timing, &err));
    scenario_release(&clone);
    scenario_release(&scenario);
}
END_TEST

START_TEST(a_trace_and_a_matrix_exclude_each_other)
{
    struct scenario_def def = traced(8, 64);
    struct scenario scenario;
    struct error err;
    strcpy(def.traffic, "ring:1MiB");
    ck_assert(!scenario_open(&scenario, &def, &err));
    ck_assert_str_eq(err.text, "--trace has no meaning with --traffic");
}
END_TEST

// ---- what a layer and its tokens decide ---------------------------------------------------------

START_TEST(a_layout_that_was_set_stays)
{
    struct scenario_def def = traced(8, 64);
    struct scenario scenario;
    struct error err;
    struct layout *layout = mem_alloc(1, sizeof *layout);
    ck_assert(layout_round_robin(layout, 256, 8, &err));
    open_good(&scenario, &def);
    scenario_set_layout(&scenario, layout);
    ck_assert(scenario_seek(&scenario, 3, 0, &err));
    ck_assert_ptr_eq(scenario.layout, layout);
    strcpy(def.layout, "round-robin");
    def.layer = 3;
    ck_assert_uint_eq(hash_of(&scenario, &engine_simulate), hash_alone(&def, &engine_simulate));
    scenario_release(&scenario);
}
END_TEST

// A place that is open already gives the scenario that opening gives.
START_TEST(opening_at_a_place_is_as_opening)
{
    for (int which = 0; which < 4; which++) {
        const struct scenario_def *def = clone_def(which);
        struct place place;
        struct scenario scenario;
        struct error err;
        ck_assert(place_open(&place, def, &err));
        ck_assert_msg(scenario_open_at(&scenario, def, &place, &err), "%s", err.text);
        place_release(&place);
        ck_assert_uint_eq(hash_of(&scenario, &engine_estimate), hash_alone(def, &engine_estimate));
        scenario_release(&scenario);
    }
}
END_TEST

// What was changed in a dispatcher by hand lasts along a trace, as long as the default is the same.
START_TEST(a_changed_dispatcher_lasts)
{
    const struct scenario_def def = traced(8, 64);
    struct scenario scenario;
    struct error err;
    open_good(&scenario, &def);
    ck_assert_str_eq(scenario.dispatcher.name, "deepep-ll");
    scenario.dispatcher.window_tokens = 3;
    strcat(scenario.dispatcher.name, "*");
    ck_assert(scenario_seek(&scenario, 0, 2, &err));
    ck_assert_uint_eq(scenario.dispatcher.window_tokens, 3);
    scenario_release(&scenario);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scenario");
    TCase *tests = tcase_create("scenario");
    tcase_set_timeout(tests, 90);
    tcase_add_loop_test(tests, payloads_follow_the_experts, 0, SUITE_COUNT(payloads));
    tcase_add_loop_test(tests, loads_are_the_engines_unless_asked, 0, SUITE_COUNT(kinds));
    tcase_add_test(tests, two_engines_have_loads_of_their_own);
    tcase_add_test(tests, a_trace_is_counted);
    tcase_add_test(tests, seeking_is_as_opening);
    tcase_add_test(tests, a_failed_seek_may_be_mended);
    tcase_add_test(tests, a_part_has_steps_of_its_own);
    tcase_add_loop_test(tests, a_clone_outlives_its_origin, 0, 4);
    tcase_add_loop_test(tests, a_changed_clone_leaves_its_origin, 0, 4);
    tcase_add_test(tests, threads_each_have_a_clone);
    tcase_add_test(tests, without_causes_is_as_never_asked);
    tcase_add_test(tests, refusals_last);
    tcase_add_test(tests, a_trace_and_a_matrix_exclude_each_other);
    tcase_add_test(tests, a_layout_that_was_set_stays);
    tcase_add_test(tests, opening_at_a_place_is_as_opening);
    tcase_add_test(tests, a_changed_dispatcher_lasts);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
