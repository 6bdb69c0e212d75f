// Slow and late parts: what a list may say, and that both engines answer a slower part with the
// time it must take.
#include "model/engine/check.h"
#include "scenario/feasible.h"
#include "model/slow.h"
#include "tests/scene.h"
#include "tests/suite.h"

#include <stdlib.h>

// ---- lists -------------------------------------------------------------------------------------

static struct cluster cluster_of(const char *line)
{
    struct cluster cluster;
    struct error err;
    ck_assert_msg(cluster_load(line, &cluster, NULL, &err), "%s", err.text);
    return cluster;
}

#define FOUR "4x8:nvlink_effective=138GB/s,nic_effective=46GB/s"

static const struct {
    const char *list, *cluster;
    uint32_t rank;
    double nic, nvlink, compute, late_us;
} read_rows[] = {
    {"gpu=5:nic=0.5", FOUR, 5, 0.5, 1, 1, 0},
    {"gpu=5:nic=0.5", FOUR, 4, 1, 1, 1, 0},
    {"all:compute=0.5", FOUR, 0, 1, 1, 0.5, 0},
    {"all:compute=0.5", FOUR, 31, 1, 1, 0.5, 0},
    {"gpu=31:nic=0.5:nvlink=0.8:compute=0.7:late=300us", FOUR, 31, 0.5, 0.8, 0.7, 300},
    {"node=1:nic=0.25", FOUR, 8, 0.25, 1, 1, 0},
    {"node=1:nic=0.25", FOUR, 15, 0.25, 1, 1, 0},
    {"node=1:nic=0.25", FOUR, 16, 1, 1, 1, 0},
    {"node=1:nic=0.25,gpu=8:compute=0.5", FOUR, 8, 0.25, 1, 0.5, 0},
    {"node=0:late=1ms+gpu=9:late=2.5us", FOUR, 9, 1, 1, 1, 2.5},
    {"gpu=0:compute=1", FOUR, 0, 1, 1, 1, 0},
    {"gpu=0:compute=0.001", FOUR, 0, 1, 1, 0.001, 0},
    {"gpu=5:nic=0.5", FOUR ",nics_per_node=4", 4, 0.5, 1, 1, 0}, // the NIC that it shares
    {"gpu=5:nic=0.5,gpu=4:nic=0.5", FOUR ",nics_per_node=4", 5, 0.5, 1, 1, 0},
};

START_TEST(reads)
{
    const struct cluster cluster = cluster_of(read_rows[_i].cluster);
    const struct fabric healthy = fabric_from_cluster(&cluster);
    struct cluster slowed = cluster;
    struct error err;
    const uint32_t rank = read_rows[_i].rank, nic = fabric_nic(&healthy, rank);
    ck_assert_msg(cluster_set_slow(&slowed, read_rows[_i].list, &err), "%s", err.text);
    const struct fabric fabric = fabric_from_cluster(&slowed);
    for (int rx = 0; rx < 2; rx++) {
        ck_assert_double_eq(fabric_rate(&fabric, (enum port_kind)(PORT_NIC_TX + rx), nic),
                            cluster.nic_Bps * read_rows[_i].nic);
        ck_assert_double_eq(fabric_rate(&fabric, (enum port_kind)(PORT_NVLINK_TX + rx), rank),
                            cluster.nvlink_Bps * read_rows[_i].nvlink);
    }
    ck_assert_double_eq(fabric_work(&fabric, rank), 1 / read_rows[_i].compute);
    ck_assert_double_eq((double)slow_late_ps(&fabric.slow, rank), 1e6 * read_rows[_i].late_us);
    ck_assert(cluster_check(&slowed, &err));
}
END_TEST

static const struct {
    const char *list, *cluster;
    const char *wants[2];
} refused[] = {
    {"gpu=5", FOUR, {"gpu=5:nic=0.5"}},
    {"all=1:nic=0.5", FOUR, {"'all=1'", "gpu=N, node=N or all"}},
    {"all:nic=0.5,gpu=3:nic=0.5", FOUR, {"given twice"}},
    {"gpu=5:", FOUR, {"gpu=5:nic=0.5"}},
    {"gpu=32:nic=0.5", FOUR, {"'gpu=32'", "0 to 31"}},
    {"node=4:nic=0.5", FOUR, {"'node=4'", "0 to 3"}},
    {"gpu=-1:nic=0.5", FOUR, {"'gpu=-1'", "0 to 31"}},
    {"gpu=x:nic=0.5", FOUR, {"'gpu=x'", "0 to 31"}},
    {"gpu=99999999999999999999:nic=0.5", FOUR, {"0 to 31"}},
    {"rank=5:nic=0.5", FOUR, {"'rank=5'", "gpu=N"}},
    {"gpu=5:fan=0.5", FOUR, {"'fan'", "nic, nvlink, compute or late"}},
    {"gpu=5:nic", FOUR, {"'nic'", "nic=0.5"}},
    {"gpu=5:nic=", FOUR, {"nic", "0.001 to 1"}},
    {"gpu=5:nic=0", FOUR, {"'0'", "0.001 to 1"}},
    {"gpu=5:nic=1.1", FOUR, {"'1.1'", "0.001 to 1"}},
    {"gpu=5:nic=-0.5", FOUR, {"'-0.5'", "0.001 to 1"}},
    {"gpu=5:nic=nan", FOUR, {"'nan'", "0.001 to 1"}},
    {"gpu=5:nic=50%", FOUR, {"'50%'", "0.001 to 1"}},
    {"gpu=5:late=300", FOUR, {"late", "'300'"}},
    {"gpu=5:late=2000s", FOUR, {"late", "1000 s"}},
    {"gpu=5:nic=0.5:nic=0.5", FOUR, {"nic", "twice"}},
    {"gpu=5:nic=0.5,gpu=5:nic=0.5", FOUR, {"nic", "twice"}},
    {"gpu=9:nic=0.5,node=1:nic=0.5", FOUR, {"nic", "gpu9"}},
    {"gpu=5:nic=0.5,,gpu=6:nic=0.5", FOUR, {"''", "gpu=N"}},
    {"gpu=5:nic=0.5,gpu=4:nic=0.6", FOUR ",nics_per_node=4", {"gpu5", "one share"}},
    {"gpu=5:nic=0.5", "1x8:nvlink_effective=138GB/s", {"nic", "no NICs"}},
    {"gpu=5:nvlink=0.5", "1x8:nic_effective=46GB/s,inside=nic", {"nvlink", "no NVLink"}},
};

START_TEST(refuses)
{
    struct cluster cluster = cluster_of(refused[_i].cluster);
    struct error err;
    ck_assert_msg(!cluster_set_slow(&cluster, refused[_i].list, &err), "%s", refused[_i].list);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    for (int i = 0; i < 2 && refused[_i].wants[i]; i++)
        ck_assert_msg(strstr(err.text, refused[_i].wants[i]) != NULL, "no '%s' in: %s",
                      refused[_i].wants[i], err.text);
}
END_TEST

// A cluster's own list goes with it: in its line, and out of its shape.
START_TEST(belongs_to_the_cluster)
{
    struct cluster cluster = cluster_of(FOUR ",slow=gpu=31:nic=0.5+node=0:compute=0.8");
    struct error err;
    char *line = cluster_line(&cluster);
    ck_assert_str_eq(line, FOUR ",slow=gpu=31:nic=0.5+node=0:compute=0.8");
    free(line);
    ck_assert(cluster_set_ep(&cluster, 16, &err));
    ck_assert(!cluster_check(&cluster, &err));
    ck_assert_msg(strstr(err.text, "slow: 'gpu=31': expected 0 to 15") != NULL, "%s", err.text);
}
END_TEST

START_TEST(a_slow_cluster_is_not_the_measured_one)
{
    struct cluster cluster = cluster_of("h800-cx7");
    struct error err;
    char name[FIELD_TEXT_BYTES];
    ck_assert(cluster_set_slow(&cluster, "gpu=5:nic=0.5,gpu=6:nic=0.5", &err));
    ck_assert_str_eq(cluster.name, "h800-cx7*");
    ck_assert_str_eq(cluster.slow, "gpu=5:nic=0.5+gpu=6:nic=0.5");
    ck_assert_str_eq(dispatcher_variant_name(VARIANT_CLUSTER, &cluster, name), "h800-cx7");
}
END_TEST

// ---- engines -----------------------------------------------------------------------------------

static const struct engine *const engines[] = {&engine_simulate, &engine_estimate};

static void set_slow(struct scene *scene, const char *list)
{
    struct error err;
    ck_assert_msg(cluster_set_slow(&scene->scenario.cluster, list, &err), "%s", err.text);
    scene_reschedule(&scene->scenario);
}

static uint64_t hash_of(const struct scene *scene, const struct engine *engine)
{
    struct timing timing;
    engine->run(scene->scenario.schedule, &scene->scenario.run, &timing);
    const uint64_t hash = timing_hash(&timing);
    timing_release(&timing);
    return hash;
}

// A random part of the cluster at a share, and the text that says so.
static const char *random_list(const struct spec *spec, struct rng *rng, double share)
{
    static char list[FIELD_TEXT_BYTES];
    const bool node = rng_below(rng, 3) == 0, inside_nic = spec->no_nvlink;
    const uint32_t places = node ? spec->nodes : spec->nodes * spec->gpus_per_node;
    static const char *const keys[] = {"nic", "compute", "nvlink"};
    const char *key = keys[rng_below(rng, inside_nic ? 2 : 3)];
    snprintf(list, sizeof list, "%s=%u:%s=%g", node ? "node" : "gpu", rng_below(rng, places), key,
             share);
    return list;
}

static struct spec random_spec(uint64_t suite, uint32_t number, uint32_t tokens)
{
    struct spec spec = scene_random(suite, number, tokens);
    spec.expected = number % 4 == 3;
    return spec;
}

START_TEST(a_share_of_one_changes_nothing)
{
    for (uint32_t i = 0; i < SCENE_CASES(40); i++) {
        const struct spec spec = random_spec(31, i, 500);
        struct scene scene;
        uint64_t before[2];
        scene_build(&scene, &spec);
        for (int e = 0; e < 2; e++)
            before[e] = hash_of(&scene, engines[e]);
        set_slow(&scene, spec.nodes > 1 ? "node=1:nic=1:nvlink=1:compute=1:late=0us"
                                        : "gpu=0:nvlink=1:compute=1:late=0us");
        for (int e = 0; e < 2; e++)
            ck_assert_msg(hash_of(&scene, engines[e]) == before[e], "%s: %s", engines[e]->name,
                          scene_name(&spec));
        scenario_release(&scene.scenario);
    }
}
END_TEST

START_TEST(a_node_is_all_of_its_gpus)
{
    static const char *const lists[][2] = {
        {"node=1:nic=0.5", "gpu=2:nic=0.5,gpu=3:nic=0.5"},
        {"node=0:nvlink=0.7:compute=0.9", "gpu=0:nvlink=0.7:compute=0.9,gpu=1:nvlink=0.7,"
                                          "gpu=1:compute=0.9"},
        {"node=1:late=30us", "gpu=2:late=30us,gpu=3:late=30us"},
    };
    for (uint32_t i = 0; i < SCENE_CASES(40); i++) {
        struct spec spec = random_spec(32, i, 500);
        struct scene scene;
        spec.nodes = spec.gpus_per_node = 2;
        spec.nics_per_node = i % 2; // 0: one each; 1: shared
        spec.experts = 64;
        spec.rule = ROUTING_UNIFORM;
        scene_build(&scene, &spec);
        for (int e = 0; e < 2; e++) {
            set_slow(&scene, lists[i % 3][0]);
            const uint64_t node = hash_of(&scene, engines[e]);
            set_slow(&scene, lists[i % 3][1]);
            ck_assert_msg(hash_of(&scene, engines[e]) == node, "%s: %s", engines[e]->name,
                          scene_name(&spec));
        }
        scenario_release(&scene.scenario);
    }
}
END_TEST

// Of chunks in another order a simulated phase may end earlier, as in any list schedule.
static void expect_slower(const struct spec *spec, struct rng *rng, double tolerance[2])
{
    struct scene scene;
    double before[2], after[2];
    scene_build(&scene, spec);
    for (int e = 0; e < 2; e++)
        before[e] = scene_us(&scene, engines[e], PHASE_COUNT);
    const char *list = random_list(spec, rng, 0.3 + 0.6 * rng_unit(rng));
    set_slow(&scene, list);
    for (int e = 0; e < 2; e++) {
        after[e] = scene_us(&scene, engines[e], PHASE_COUNT);
        ck_assert_msg(after[e] >= before[e] * (1 - tolerance[e]), "%s: %.6f us, slow %.6f: %s, %s",
                      engines[e]->name, before[e], after[e], list, scene_name(spec));
    }
    scenario_release(&scene.scenario);
}

START_TEST(slower_parts_take_no_less)
{
    for (uint32_t i = 0; i < SCENE_CASES(80); i++) {
        struct rng rng = rng_stream(33, i, 0, 0);
        const struct spec spec = random_spec(33, i, 600);
        expect_slower(&spec, &rng, (double[]){0.01, 1e-9});
    }
}
END_TEST

// Every run is sound, and the closed form stays a floor of the simulator: ends of counted loads
// are never more than 1 % under it.
START_TEST(sound_and_a_floor)
{
    for (uint32_t i = 0; i < SCENE_CASES(80); i++) {
        struct rng rng = rng_stream(34, i, 0, 0);
        struct spec spec = scene_random(34, i, 1000);
        struct scene scene;
        struct error err;
        double us[2];
        spec.nics_per_node = 0;
        spec.oversubscription = 1;
        scene_build(&scene, &spec);
        const char *list = random_list(&spec, &rng, 0.2 + 0.7 * rng_unit(&rng));
        set_slow(&scene, list);
        ck_assert_msg(schedule_feasible(scene.scenario.schedule, &err), "%s", err.text);
        for (int e = 0; e < 2; e++) {
            struct timing timing;
            engines[e]->run(scene.scenario.schedule, &scene.scenario.run, &timing);
            ck_assert_msg(timing_check(scene.scenario.schedule, &timing, &err), "%s: %s, %s",
                          err.text, list, scene_name(&spec));
            us[e] = timing_layer_ps(&timing) / 1e6;
            timing_release(&timing);
        }
        ck_assert_msg(us[0] >= 0.97 * us[1], "simulate %.3f us, estimate %.3f us: %s, %s", us[0],
                      us[1], list, scene_name(&spec));
        scenario_release(&scene.scenario);
    }
}
END_TEST

// DeepSeek-V3's layer on four H800 nodes.
static struct spec prefill(uint32_t tokens)
{
    return (struct spec){.dispatcher = "deepep-normal",
                         .nodes = 4,
                         .gpus_per_node = 8,
                         .rails = true,
                         .oversubscription = 1,
                         .rule = ROUTING_UNIFORM,
                         .hot = 1,
                         .tokens = tokens,
                         .hidden = 7168,
                         .experts = 256,
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

static double bound_of(const struct scene *scene, size_t transfer, char *busiest)
{
    return scene_bound_ps(scene->scenario.schedule, &scene->scenario.schedule->transfers[transfer],
                          busiest);
}

START_TEST(half_a_nic_doubles_its_bound)
{
    static const enum phase phases[] = {PHASE_DISPATCH, PHASE_COMBINE};
    struct spec spec = prefill(1024);
    struct scene scene;
    char busiest[48];
    spec.aligned = true;
    scene_build(&scene, &spec);
    for (size_t t = 0; t < 2; t++) {
        double healthy_us[2];
        set_slow(&scene, "gpu=5:nic=1");
        const double healthy = bound_of(&scene, t, busiest);
        for (int e = 0; e < 2; e++)
            healthy_us[e] = scene_us(&scene, engines[e], phases[t]);
        set_slow(&scene, "gpu=5:nic=0.5");
        const double bound = bound_of(&scene, t, busiest);
        ck_assert_msg(!strncmp(busiest, "gpu5.nic.", 9), "%s", busiest);
        ck_assert_msg(fabs(bound / healthy - 2) < 0.05, "bound %.3f times", bound / healthy);
        for (int e = 0; e < 2; e++) {
            const double us = scene_us(&scene, engines[e], phases[t]);
            ck_assert_msg(us >= bound / 1e6 && us < 2.05 * healthy_us[e] &&
                              us > 1.7 * healthy_us[e],
                          "%s: %s %.1f us healthy, %.1f us slow", engines[e]->name,
                          phase_names[phases[t]], healthy_us[e], us);
        }
    }
    scenario_release(&scene.scenario);
}
END_TEST

// Where all wait for the last, all are late by exactly as much: nothing before is long enough to
// hide it.
START_TEST(a_late_rank_delays_a_barrier_by_its_lateness)
{
    for (uint32_t i = 0; i < SCENE_CASES(40); i++) {
        struct spec spec = random_spec(35, i, 300);
        struct scene scene;
        spec.dispatcher = "deepep-normal"; // notify is where ranks meet
        spec.skew_us = 0;
        spec.uneven = false;
        spec.aligned = false; // where a layer begins when all are there
        scene_build(&scene, &spec);
        for (int e = 0; e < 2; e++) {
            set_slow(&scene, "gpu=0:late=0us");
            const double before = scene_us(&scene, engines[e], PHASE_COUNT);
            set_slow(&scene, "gpu=0:late=123.456us");
            const double after = scene_us(&scene, engines[e], PHASE_COUNT);
            const bool alone = spec.nodes * spec.gpus_per_node == 1;
            ck_assert_msg(fabs(after - before - (alone ? 0 : 123.456)) < 1e-6,
                          "%s: %.6f us, late %.6f: %s", engines[e]->name, before, after,
                          scene_name(&spec));
        }
        scenario_release(&scene.scenario);
    }
}
END_TEST

// How far the engines are apart with one slow part, in per cent of simulate: of counted loads.
static const struct {
    const char *list;
    double within_pct;
} apart[] = {
    {"gpu=5:nic=0.5", 2},    {"gpu=5:nvlink=0.5", 2},  {"gpu=5:compute=0.5", 4},
    {"node=1:nic=0.5", 3},   {"node=1:nvlink=0.4", 5}, {"node=2:compute=0.7", 4},
    {"gpu=5:late=300us", 3},
};

START_TEST(engines_are_near)
{
    const struct spec spec = prefill(1024);
    struct scene scene;
    scene_build(&scene, &spec);
    set_slow(&scene, apart[_i].list);
    const double simulated = scene_us(&scene, &engine_simulate, PHASE_COUNT);
    const double estimated = scene_us(&scene, &engine_estimate, PHASE_COUNT);
    const double pct = 100 * (1 - estimated / simulated);
    ck_assert_msg(fabs(pct) < apart[_i].within_pct,
                  "%s: simulate %.1f us, estimate %.1f us: %.2f%%", apart[_i].list, simulated,
                  estimated, pct);
    scenario_release(&scene.scenario);
}
END_TEST

// Everyone whose rail peer has a slow link waits for it: means over ranks, in per cent.
static const struct {
    const char *list;
    double within_pct[2]; // dispatch, combine
} means[] = {{"gpu=5:nic=0.5", {5, 8}}, {"gpu=5:nvlink=0.5", {8, 35}}, {"node=1:nic=0.5", {5, 8}}};

START_TEST(means_are_near)
{
    struct spec spec = prefill(1024);
    struct scene scene;
    double us[2][2];
    spec.aligned = true;
    scene_build(&scene, &spec);
    set_slow(&scene, means[_i].list);
    for (int e = 0; e < 2; e++) {
        struct timing timing;
        engines[e]->run(scene.scenario.schedule, &scene.scenario.run, &timing);
        us[e][0] = timing_span(&timing, PHASE_DISPATCH).latency_mean_ps / 1e6;
        us[e][1] = timing_span(&timing, PHASE_COMBINE).latency_mean_ps / 1e6;
        timing_release(&timing);
    }
    for (int p = 0; p < 2; p++)
        ck_assert_msg(fabs(us[1][p] / us[0][p] - 1) < means[_i].within_pct[p] / 100,
                      "%s %s: simulate %.1f us, estimate %.1f us", means[_i].list,
                      p ? "combine" : "dispatch", us[0][p], us[1][p]);
    scenario_release(&scene.scenario);
}
END_TEST

// From means, one slow port is not the unluckiest of all as well.
START_TEST(expected_loads_tell_the_slow_from_the_unlucky)
{
    static const char *const lists[] = {"gpu=5:nic=0.5", "gpu=5:nvlink=0.4", "gpu=5:compute=0.5"};
    for (size_t i = 0; i < SUITE_COUNT(lists); i++) {
        struct spec spec = prefill(1024);
        struct scene scene;
        double us[2] = {0};
        for (int k = 0; k < 2; k++) {
            spec.expected = k;
            scene_build(&scene, &spec);
            set_slow(&scene, lists[i]);
            us[k] = scene_us(&scene, &engine_estimate, PHASE_COUNT);
            scenario_release(&scene.scenario);
        }
        ck_assert_msg(fabs(us[1] / us[0] - 1) < 0.025, "%s: counted %.1f us, expected %.1f us",
                      lists[i], us[0], us[1]);
    }
}
END_TEST

static double expected_layer_us(const char *dispatcher, const char *slow)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct scenario scenario;
    struct timing timing;
    struct error err;
    snprintf(def.dispatcher, sizeof def.dispatcher, "%s", dispatcher);
    snprintf(def.slow, sizeof def.slow, "%s", slow);
    def.tokens = 128;
    ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
    scenario_load(&scenario, LOADS_EXPECTED);
    estimate(scenario.schedule, &scenario.run, &timing);
    const double us = timing_layer_ps(&timing) / 1e6;
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

static const char *const of_layers[] = {"deepep-ll", "nccl-flat", "nccl-two-stage", "deepep-normal",
                                        "ll-slots"};

// From expected loads a part that is hardly slow is hardly told from chance, and helps nobody.
START_TEST(a_little_slower_is_no_faster)
{
    static const char *const lists[] = {"gpu=0:nic=0.999", "gpu=0:nic=0.99", "gpu=0:nic=0.95",
                                        "gpu=0:nic=0.5"};
    static const char *const computes[] = {"gpu=0:compute=0.999", "gpu=0:compute=0.9"};
    const double healthy = expected_layer_us(of_layers[_i], "");
    double last = healthy;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const double us = expected_layer_us(of_layers[_i], lists[i]);
        ck_assert_msg(us >= last, "%s, %s: %.3f us after %.3f", of_layers[_i], lists[i], us, last);
        last = us;
    }
    for (size_t i = 0; i < sizeof computes / sizeof computes[0]; i++)
        ck_assert_double_ge(expected_layer_us(of_layers[_i], computes[i]), healthy);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slow");
    TCase *tests = tcase_create("lists");
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(read_rows));
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_loop_test(tests, a_little_slower_is_no_faster, 0, SUITE_COUNT(of_layers));
    tcase_add_test(tests, belongs_to_the_cluster);
    tcase_add_test(tests, a_slow_cluster_is_not_the_measured_one);
    suite_add_tcase(suite, tests);
    tests = tcase_create("engines");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_share_of_one_changes_nothing);
    tcase_add_test(tests, a_node_is_all_of_its_gpus);
    tcase_add_test(tests, slower_parts_take_no_less);
    tcase_add_test(tests, sound_and_a_floor);
    tcase_add_test(tests, half_a_nic_doubles_its_bound);
    tcase_add_test(tests, a_late_rank_delays_a_barrier_by_its_lateness);
    tcase_add_loop_test(tests, engines_are_near, 0, SUITE_COUNT(apart));
    tcase_add_loop_test(tests, means_are_near, 0, SUITE_COUNT(means));
    tcase_add_test(tests, expected_loads_tell_the_slow_from_the_unlucky);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
