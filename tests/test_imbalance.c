// Even loads, and what imbalance costs against them.
#include "model/engine/check.h"
#include "study/imbalance.h"
#include "tests/scene.h"
#include "tests/suite.h"

#include <stdlib.h>

static const struct engine *const engines[] = {&engine_simulate, &engine_estimate};

static void set_slow(struct scene *scene, const char *list)
{
    struct error err;
    ck_assert_msg(cluster_set_slow(&scene->scenario.cluster, list, &err), "%s", err.text);
    scene_reschedule(&scene->scenario);
}

static struct spec random_spec(uint64_t suite, uint32_t number, uint32_t tokens)
{
    struct spec spec = scene_random(suite, number, tokens);
    spec.expected = number % 4 == 3;
    return spec;
}

// ---- balanced loads
// --------------------------------------------------------------------------------

static double sum_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

static void expect_total(const double *a, const double *b, size_t count, const char *what,
                         const struct spec *spec)
{
    const double x = sum_of(a, count), y = sum_of(b, count);
    ck_assert_msg(fabs(x - y) <= 1e-9 * y, "%s: %.17g, even %.17g: %s", what, y, x,
                  scene_name(spec));
}

// Of a column or a row of pairs, the sums of any two ranks differ by no more than one a kind.
static void expect_level(const double *pairs, uint32_t ranks, const struct spec *spec)
{
    double min[2] = {INFINITY, INFINITY}, max[2] = {0};
    for (size_t a = 0; a < ranks; a++) {
        double sums[2] = {0};
        for (size_t b = 0; b < ranks; b++) {
            sums[0] += pairs[a * ranks + b];
            sums[1] += pairs[b * ranks + a];
        }
        for (int rx = 0; rx < 2; rx++) {
            min[rx] = fmin(min[rx], sums[rx]);
            max[rx] = fmax(max[rx], sums[rx]);
        }
    }
    for (int rx = 0; rx < 2; rx++)
        ck_assert_msg(max[rx] - min[rx] <= 4 + 1e-9 * max[rx], "%g to %g: %s", min[rx], max[rx],
                      scene_name(spec));
}

START_TEST(balanced_loads_are_the_same_traffic)
{
    for (uint32_t i = 0; i < SCENE_CASES(200); i++) {
        const struct spec spec = random_spec(41, i, 2000);
        struct scene scene;
        struct loads balanced;
        scene_build(&scene, &spec);
        const struct loads *loads = scene.scenario.loads;
        const size_t ranks = loads->ranks;
        loads_balanced(&balanced, loads, scene.scenario.layout);
        expect_total(balanced.tokens, loads->tokens, ranks, "tokens", &spec);
        expect_total(balanced.expert_copies, loads->expert_copies, ranks * ranks, "choices", &spec);
        expect_total(balanced.rank_copies, loads->rank_copies, ranks * ranks, "rank copies", &spec);
        expect_total(balanced.slot_tokens, loads->slot_tokens, loads->slots, "slots", &spec);
        expect_level(balanced.expert_copies, loads->ranks, &spec);
        expect_level(balanced.rank_copies, loads->ranks, &spec);
        if (loads->expected || spec.tokens > 200)
            ck_assert_double_eq_tol(loads_nodes_per_token(&balanced), loads_nodes_per_token(loads),
                                    1e-2);
        loads_release(&balanced);
        scenario_release(&scene.scenario);
    }
}
END_TEST

// The engines may run on them: conserved, above the bound, whole tokens.
START_TEST(balanced_loads_are_sound)
{
    for (uint32_t i = 0; i < SCENE_CASES(200); i++) {
        const struct spec spec =
            random_spec(42, i, i % 2 ? 4 : 500); // tiny ones: mostly remainders
        struct scene scene;
        struct loads balanced;
        struct error err;
        scene_build(&scene, &spec);
        loads_balanced(&balanced, scene.scenario.loads, scene.scenario.layout);
        struct schedule schedule;
        schedule_layer(&schedule, &scene.scenario.moe, &scene.scenario.cluster,
                       &scene.scenario.dispatcher, &balanced, scene.scenario.layout);
        for (int e = 0; e < 2; e++) {
            struct timing timing;
            engines[e]->run(&schedule, &scene.scenario.run, &timing);
            ck_assert_msg(timing_check(&schedule, &timing, &err), "%s: %s", err.text,
                          scene_name(&spec));
            timing_release(&timing);
        }
        schedule_release(&schedule);
        loads_release(&balanced);
        scenario_release(&scene.scenario);
    }
}
END_TEST

START_TEST(balancing_again_changes_nothing)
{
    for (uint32_t i = 0; i < SCENE_CASES(50); i++) {
        const struct spec spec = random_spec(43, i, 2000);
        struct scene scene;
        struct loads once, twice;
        scene_build(&scene, &spec);
        const size_t ranks = scene.scenario.loads->ranks;
        loads_balanced(&once, scene.scenario.loads, scene.scenario.layout);
        loads_balanced(&twice, &once, scene.scenario.layout);
        for (size_t p = 0; p < ranks * ranks; p++)
            ck_assert_double_eq_tol(twice.rank_copies[p], once.rank_copies[p],
                                    1e-9 * (1 + once.rank_copies[p]));
        loads_release(&once);
        loads_release(&twice);
        scenario_release(&scene.scenario);
    }
}
END_TEST

START_TEST(balanced_bytes)
{
    const uint64_t bytes[] = {0, 8, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0};
    // 8 bytes over the four pairs of a node, none by rail, 4 + 3 over the four other pairs.
    const double wants[] = {0, 2, 0, 2, 2, 0, 2, 0, 0, 2, 0, 2, 1, 0, 2, 0};
    struct loads loads, balanced;
    loads_from_bytes(&loads, bytes, 4, 2);
    loads_balanced(&balanced, &loads, NULL);
    for (size_t p = 0; p < 16; p++)
        ck_assert_double_eq(balanced.rank_copies[p], wants[p]);
    loads_release(&loads);
    loads_release(&balanced);
}
END_TEST

// ---- what it costs -----------------------------------------------------------------------------

static struct imbalance find(const struct scene *scene, const struct engine *engine,
                             double *layer_ps)
{
    struct imbalance imbalance;
    struct timing asked;
    engine->run(scene->scenario.schedule, &scene->scenario.run, &asked);
    imbalance_find(&imbalance, &scene->scenario, engine, &asked);
    *layer_ps = timing_layer_ps(&asked);
    timing_release(&asked);
    return imbalance;
}

// Rows and causes are the layer, to the picosecond; a cause that is not there adds nothing.
START_TEST(adds_up)
{
    static const char *const lists[] = {"", "gpu=0:compute=0.6", "gpu=0:late=40us",
                                        "gpu=0:compute=0.6:late=40us"};
    for (uint32_t i = 0; i < SCENE_CASES(120); i++) {
        const struct spec spec = random_spec(44, i, 300);
        const char *list = lists[i % SUITE_COUNT(lists)];
        struct scene scene;
        scene_build(&scene, &spec);
        if (*list)
            set_slow(&scene, list);
        for (int e = 0; e < 2; e++) {
            double layer_ps;
            const struct imbalance imbalance = find(&scene, engines[e], &layer_ps);
            const double all = imbalance_balanced_ps(&imbalance) + imbalance_cost_ps(&imbalance);
            ck_assert_msg(fabs(all - layer_ps) < 1, "%s: %.3f of %.3f ps: %s", engines[e]->name,
                          all, layer_ps, scene_name(&spec));
            if (!strstr(list, "compute"))
                ck_assert_double_eq(imbalance_cause_ps(&imbalance, CAUSE_SLOW), 0);
            if (!strstr(list, "late") && spec.skew_us <= 0)
                ck_assert_double_eq(imbalance_cause_ps(&imbalance, CAUSE_ARRIVAL), 0);
            if (strstr(list, "late") && spec.skew_us <= 0 && !spec.aligned)
                ck_assert_msg( // order anomalies
                    imbalance_cause_ps(&imbalance, CAUSE_ARRIVAL) >= -0.01 * layer_ps, "%s: %s",
                    engines[e]->name, scene_name(&spec));
        }
        scenario_release(&scene.scenario);
    }
}
END_TEST

static struct spec layer_spec(enum routing_rule rule, double hot)
{
    return (struct spec){.dispatcher = "deepep-normal",
                         .nodes = 2,
                         .gpus_per_node = 8,
                         .rails = true,
                         .oversubscription = 1,
                         .rule = rule,
                         .hot = hot,
                         .tokens = 512,
                         .hidden = 7168,
                         .experts = 64,
                         .topk = 8,
                         .groups = 8,
                         .topk_groups = 4,
                         .nic_Bps = 48e9,
                         .nvlink_Bps = 142e9,
                         .hbm_Bps = 2.668e12,
                         .flops = 1979e12,
                         .sm_scale = 1,
                         .seed = 1};
}

// What is named and priced, by both engines.
static const struct {
    enum routing_rule rule;
    double hot;
    const char *slow;
    enum imbalance_cause max; // cause of most of the cost
    const char *worst;        // begins the straggler's name
} priced[] = {
    {ROUTING_TRACE, 2.5, "", CAUSE_ROUTING, "gpu"}, // hot experts are on gpu0
    {ROUTING_UNIFORM, 1, "gpu=5:nic=0.3", CAUSE_SLOW, "gpu5.nic."},
    {ROUTING_UNIFORM, 1, "gpu=9:nvlink=0.1", CAUSE_SLOW, "gpu9.nvlink."},
    {ROUTING_UNIFORM, 1, "gpu=3:compute=0.2", CAUSE_SLOW, "gpu3"},
    {ROUTING_UNIFORM, 1, "gpu=12:late=5ms", CAUSE_ARRIVAL, "gpu12"},
};

START_TEST(names_the_cause)
{
    const struct spec spec = layer_spec(priced[_i].rule, priced[_i].hot);
    struct scene scene;
    scene_build(&scene, &spec);
    if (priced[_i].slow[0])
        set_slow(&scene, priced[_i].slow);
    double cost[2];
    for (int e = 0; e < 2; e++) {
        double layer_ps;
        const struct imbalance imbalance = find(&scene, engines[e], &layer_ps);
        cost[e] = imbalance_cost_ps(&imbalance) / layer_ps;
        ck_assert_msg(cost[e] > 0.1, "%s: %.3f", engines[e]->name, cost[e]);
        ck_assert_msg(imbalance_cause_ps(&imbalance, priced[_i].max) >
                          0.8 * imbalance_cost_ps(&imbalance),
                      "%s: %s", engines[e]->name, priced[_i].slow);
        ck_assert_msg(!strncmp(imbalance.worst.name, priced[_i].worst, strlen(priced[_i].worst)),
                      "%s: %s: %s", engines[e]->name, priced[_i].slow, imbalance.worst.name);
    }
    ck_assert_msg(fabs(cost[0] - cost[1]) < 0.035, "simulate %.3f, estimate %.3f", cost[0], cost[1]);
    scenario_release(&scene.scenario);
}
END_TEST

// 5 ms late: all of it is the arrival's.
START_TEST(lateness_is_all_in_the_arrival)
{
    const struct spec spec = layer_spec(ROUTING_UNIFORM, 1);
    struct scene scene;
    scene_build(&scene, &spec);
    set_slow(&scene, "gpu=12:late=5ms");
    for (int e = 0; e < 2; e++) {
        double layer_ps;
        const struct imbalance imbalance = find(&scene, engines[e], &layer_ps);
        ck_assert_double_eq(imbalance.cause_ps[CAUSE_ARRIVAL][IMBALANCE_ARRIVAL], 5e9);
        ck_assert_double_eq_tol(imbalance_cause_ps(&imbalance, CAUSE_ARRIVAL), 5e9, 1);
        ck_assert_double_eq_tol(imbalance.wait_mean_ps[IMBALANCE_ARRIVAL], 5e9 * 15 / 16, 1);
    }
    scenario_release(&scene.scenario);
}
END_TEST

// Balanced routing has nothing to even out but what does not divide.
START_TEST(balanced_costs_nothing)
{
    const struct spec spec = layer_spec(ROUTING_BALANCED, 1);
    struct scene scene;
    scene_build(&scene, &spec);
    for (int e = 0; e < 2; e++) {
        double layer_ps;
        const struct imbalance imbalance = find(&scene, engines[e], &layer_ps);
        ck_assert_msg(fabs(imbalance_cost_ps(&imbalance)) < 0.02 * layer_ps, "%s: %g of %g",
                      engines[e]->name, imbalance_cost_ps(&imbalance), layer_ps);
    }
    scenario_release(&scene.scenario);
}
END_TEST

START_TEST(says_it)
{
    const struct spec spec = layer_spec(ROUTING_UNIFORM, 1);
    struct scene scene;
    double layer_ps;
    scene_build(&scene, &spec);
    set_slow(&scene, "gpu=5:nic=0.3");
    const struct imbalance imbalance = find(&scene, &engine_estimate, &layer_ps);
    char *text = imbalance_sentences(&imbalance);
    static const char *const wants[] = {"Imbalance costs ", "combine ",
                                        "by cause: ",       "slow parts ",
                                        "spread evenly",    "at 0.3 of its healthy"};
    for (size_t i = 0; i < SUITE_COUNT(wants); i++)
        ck_assert_msg(strstr(text, wants[i]) != NULL, "no '%s' in: %s", wants[i], text);
    free(text);
    scenario_release(&scene.scenario);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("imbalance");
    TCase *tests = tcase_create("even");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, balanced_loads_are_the_same_traffic);
    tcase_add_test(tests, balanced_loads_are_sound);
    tcase_add_test(tests, balancing_again_changes_nothing);
    tcase_add_test(tests, balanced_bytes);
    suite_add_tcase(suite, tests);
    tests = tcase_create("cost");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, adds_up);
    tcase_add_loop_test(tests, names_the_cause, 0, SUITE_COUNT(priced));
    tcase_add_test(tests, lateness_is_all_in_the_arrival);
    tcase_add_test(tests, balanced_costs_nothing);
    tcase_add_test(tests, says_it);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
