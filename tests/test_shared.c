// Shared experts that are fused into the routed ones (shared: routed): one more choice of every
// token, served on its own rank.
#include "model/engine/check.h"
#include "model/engine/estimate.h"
#include "scenario/scenario.h"
#include "sim/simulate.h"
#include "tests/suite.h"

#include <string.h>

#define RANKS 16
#define TOKENS 48

static struct scenario_def def_of(const char *model, const char *dispatcher)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.model, model);
    strcpy(def.dispatcher, dispatcher);
    def.ep = RANKS;
    def.tokens = TOKENS;
    return def;
}

static void load(struct scenario *scenario, const char *model, enum loads_kind kind)
{
    const struct scenario_def def = def_of(model, "deepep-ll");
    struct error err;
    ck_assert_msg(scenario_open(scenario, &def, &err), "%s", err.text);
    scenario_load(scenario, kind);
}

// What a token's own rank has more, and that nothing else is other than it was.
static void check_pair(const struct loads *apart, const struct loads *fused, size_t source,
                       size_t rank)
{
    const size_t pair = source * RANKS + rank;
    const bool own = source == rank;
    ck_assert_double_eq(fused->expert_copies[pair],
                        apart->expert_copies[pair] + (own ? TOKENS : 0));
    ck_assert_double_eq(fused->rank_copies[pair], own ? TOKENS : apart->rank_copies[pair]);
}

static void check_loads(enum loads_kind kind)
{
    struct scenario apart, fused;
    load(&apart, "deepseek-v3", kind);
    load(&fused, "deepseek-v3:shared=routed", kind);
    const struct loads *a = apart.loads, *f = fused.loads;
    ck_assert_uint_eq(f->topk, a->topk + 1);
    ck_assert_uint_eq(f->slots, a->slots + RANKS);
    for (size_t source = 0; source < RANKS; source++) {
        for (size_t rank = 0; rank < RANKS; rank++)
            check_pair(a, f, source, rank);
        for (size_t node = 0; node < 2; node++)
            ck_assert_double_eq(f->node_copies[source * 2 + node],
                                node == source / 8 ? TOKENS : a->node_copies[source * 2 + node]);
        const size_t slots = 256 / RANKS; // of a rank, and one more
        for (size_t s = 0; s <= slots; s++)
            ck_assert_double_eq(f->slot_tokens[source * (slots + 1) + s],
                                s < slots ? a->slot_tokens[source * slots + s] : TOKENS);
    }
    scenario_release(&apart);
    scenario_release(&fused);
}

START_TEST(loads)
{
    check_loads(LOADS_COUNTED);
    check_loads(LOADS_EXPECTED);
}
END_TEST

static const struct engine *const engines[] = {&engine_estimate, &engine_simulate};
static const char *const dispatchers[] = {"deepep-ll", "deepep-normal", "nccl-flat"};

// Engines hold to conservation and bounds, no phase is the shared experts', the experts take longer
// and, where nothing crosses that did not before, dispatch moves the same bytes.
START_TEST(engines_run)
{
    const struct engine *engine = engines[_i / 3];
    struct scenario scenarios[2];
    struct timing timings[2];
    struct error err;
    for (int fused = 0; fused < 2; fused++) {
        const struct scenario_def def =
            def_of(fused ? "deepseek-v3:shared=routed" : "deepseek-v3", dispatchers[_i % 3]);
        ck_assert_msg(scenario_open(&scenarios[fused], &def, &err), "%s", err.text);
        ck_assert(scenario_run(&scenarios[fused], engine, &timings[fused], &err));
        ck_assert_msg(timing_check(scenarios[fused].schedule, &timings[fused], &err), "%s",
                      err.text);
    }
    ck_assert(scenarios[0].schedule->present[PHASE_SHARED]);
    ck_assert(!scenarios[1].schedule->present[PHASE_SHARED]);
    ck_assert_double_gt(timing_span(&timings[1], PHASE_EXPERTS).latency_ps,
                        timing_span(&timings[0], PHASE_EXPERTS).latency_ps);
    for (int fused = 0; fused < 2; fused++) {
        timing_release(&timings[fused]);
        scenario_release(&scenarios[fused]);
    }
}
END_TEST

// A layout that is set, with replicas, keeps its slots and has one more a rank.
START_TEST(layout_with_replicas)
{
    struct scenario_def def = def_of("deepseek-v3:shared=routed", "deepep-ll");
    struct scenario scenario, clone;
    struct error err;
    strcpy(def.layout, "eplb");
    def.redundant = 32;
    notice_quiet(true);
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    scenario_clone(&clone, &scenario);
    const struct layout *base = clone.layout, *served = parts_served_layout(&clone);
    ck_assert_uint_eq(served->slots, 288 + RANKS);
    for (uint32_t r = 0; r < RANKS; r++) {
        const uint32_t slots = base->rank_slot[r + 1] - base->rank_slot[r];
        ck_assert_uint_eq(served->rank_slot[r + 1] - served->rank_slot[r], slots + 1);
        ck_assert_mem_eq(served->slot_expert + served->rank_slot[r],
                         base->slot_expert + base->rank_slot[r], slots * sizeof(uint32_t));
        ck_assert_uint_eq(served->slot_expert[served->rank_slot[r + 1] - 1], 256 + r);
    }
    scenario_release(&scenario);
    scenario_release(&clone);
}
END_TEST

static const struct {
    const char *model, *message;
} refused[] = {
    {"mixtral-8x7b:shared=routed", "shared: routed: expected shared_experts"},
    {"deepseek-v3:shared=routed,shared_intermediate=4096",
     "shared: routed: expected shared experts as wide as routed ones, 1 of 2048"},
    {"deepseek-v3:shared=fused", "shared: 'fused': expected one of apart, routed"},
    {"deepseek-v3:shared=routed,latent=1024", "shared: routed: expected experts of the hidden"},
};

START_TEST(refuses)
{
    struct moe moe;
    struct error err;
    ck_assert(!moe_load(refused[_i].model, &moe, NULL, &err));
    ck_assert_msg(strstr(err.text, refused[_i].message), "%s\nexpected %s", err.text,
                  refused[_i].message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared");
    TCase *tcase = tcase_create("shared");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, loads);
    tcase_add_loop_test(tcase, engines_run, 0, 6);
    tcase_add_test(tcase, layout_with_replicas);
    tcase_add_loop_test(tcase, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
