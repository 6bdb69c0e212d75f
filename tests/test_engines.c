// The engines against each other, on the same counted loads: the closed form is close to the
// simulator, hardly ever above it, and both answer more work with more time.
#include "model/engine/check.h"
#include "tests/scene.h"
#include "tests/suite.h"

// Machines of DeepEP's README.
static struct spec h800(const char *dispatcher, uint32_t nodes, uint32_t tokens)
{
    return (struct spec){.dispatcher = dispatcher,
                         .nodes = nodes,
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
                         .aligned = true,
                         .nic_Bps = 46e9,
                         .nvlink_Bps = 138e9,
                         .hbm_Bps = 2.668e12,
                         .flops = 1979e12,
                         .sm_scale = 1,
                         .seed = 1};
}

static const enum phase asked[] = {PHASE_DISPATCH, PHASE_COMBINE, PHASE_COUNT};
static const char *const asked_names[] = {"dispatch", "combine", "layer"};

// How many of a case's phases the simulator ends over 3 % before the closed form; never over 15 %,
// one whole message more at a bridge.
static uint32_t count_above(const struct spec *spec)
{
    struct scene scene;
    uint32_t above = 0;
    scene_build(&scene, spec);
    for (size_t p = 0; p < SUITE_COUNT(asked); p++) {
        const double simulated = scene_us(&scene, &engine_simulate, asked[p]);
        const double estimated = scene_us(&scene, &engine_estimate, asked[p]);
        ck_assert_msg(simulated >= 0.85 * estimated, "%s: simulate %.3f us, estimate %.3f us: %s",
                      asked_names[p], simulated, estimated, scene_name(spec));
        above += simulated < 0.97 * estimated;
    }
    scenario_release(&scene.scenario);
    return above;
}

static const char *const kinds[] = {"own ports", "shared ports", "no NVLink", "bridges"};

static void make_kind(struct spec *spec, int kind, uint32_t number)
{
    const uint32_t gpus = spec->gpus_per_node;
    if (kind != 1)
        spec->oversubscription = 1;
    else if (number % 3)
        spec->oversubscription = 2.5;
    if (kind == 1 && gpus % 2 == 0 && number % 2)
        spec->nics_per_node = gpus / 2;
    if (kind == 0 || (kind == 2 && (gpus % 2 || number % 2)))
        spec->nics_per_node = 0;
    spec->no_nvlink = kind == 2;
    if (kind != 3)
        return;
    spec->bridge_Bps = spec->nvlink_Bps * (0.3 + number % 5);
    spec->bridge_gpus = number % 4;
}

// Where ranks share a NIC, an uplink or a PCIe bridge, who is served first is a matter of luck;
// without NVLink both stages of a rail pass the same NICs.
START_TEST(estimate_is_hardly_above)
{
    const uint32_t cases = SCENE_CASES(400);
    uint32_t above = 0;
    for (uint32_t i = 0; i < cases; i++) {
        struct spec spec = scene_random(1 + (uint64_t)_i, i, 4096);
        make_kind(&spec, _i, i);
        above += count_above(&spec);
    }
    ck_assert_msg(above <= (SUITE_COUNT(asked) * cases + 99) / 100, "%s: %u of %u", kinds[_i],
                  above, SUITE_COUNT(asked) * cases);
}
END_TEST

// Every byte that NVLink would carry is on the NICs instead, and none is lost.
START_TEST(nics_carry_what_nvlink_would)
{
    for (uint32_t i = 0; i < SCENE_CASES(100); i++) {
        struct spec spec = scene_random(5, i, 500);
        spec.oversubscription = 1;
        double bytes[2];
        for (int off = 0; off < 2; off++) {
            struct scene scene;
            struct timing timing;
            struct error err;
            spec.no_nvlink = off;
            scene_build(&scene, &spec);
            simulate(scene.scenario.schedule, &scene.scenario.run, &timing);
            ck_assert_msg(timing_check(scene.scenario.schedule, &timing, &err), "%s: %s", err.text,
                          scene_name(&spec));
            bytes[off] = timing.phases[PHASE_DISPATCH].bytes + timing.phases[PHASE_COMBINE].bytes;
            for (size_t p = 0; off && p < timing.port_count; p++)
                ck_assert(timing.ports[p].kind != PORT_NVLINK_TX &&
                          timing.ports[p].kind != PORT_NVLINK_RX);
            timing_release(&timing);
            scenario_release(&scene.scenario);
        }
        ck_assert_double_eq(bytes[0], bytes[1]);
    }
}
END_TEST

// The bridge carries what its GPUs send each other, and is what binds where it is slow: eight GPUs
// that send each 7 x 64 KiB through 10 GB/s.
START_TEST(bridges_bind)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    const double bytes = 56 * 65536.0;
    strcpy(def.cluster, "1x8:nvlink_effective=25GB/s,bridge_effective=10GB/s");
    strcpy(def.dispatcher, "raw");
    strcpy(def.traffic, "uniform:64KiB");
    for (int e = 0; e < 2; e++) {
        const struct engine *engine = e ? &engine_estimate : &engine_simulate;
        struct scenario scenario;
        struct timing timing;
        struct error err;
        ck_assert_msg(scenario_open(&scenario, &def, &err), "%s", err.text);
        ck_assert(scenario_run(&scenario, engine, &timing, &err));
        const struct phase_timing *phase = &timing.phases[PHASE_ALLTOALL];
        ck_assert_double_eq_tol(phase->bound_ps, bytes / 10e9 * 1e12, 1);
        ck_assert_str_eq(phase->busiest, "node0.bridge0.up");
        ck_assert(timing_check(scenario.schedule, &timing, &err));
        const double us = timing_span(&timing, PHASE_ALLTOALL).latency_ps / 1e6;
        ck_assert_msg(us >= bytes / 10e3 && us < 1.1 * bytes / 10e3, "%g us", us);
        timing_release(&timing);
        scenario_release(&scenario);
    }
}
END_TEST

// Ranks that share GPUs and cores: each has its share, and no share is above a whole one.
START_TEST(sharing_slows_in_proportion)
{
    struct spec spec = h800("nccl-flat", 2, 512);
    struct scene scene;
    scene_build(&scene, &spec);
    struct scenario *scenario = &scene.scenario;
    struct timing alone, shared;
    // Packing is a GPU's work, and is shared as computing is.
    scene_scale(&scenario->dispatcher, "dispatch_hbm_share", 0);
    scene_scale(&scenario->dispatcher, "combine_hbm_share", 0);
    scene_scale(&scenario->dispatcher, "dispatch_kernels", 0);
    scene_scale(&scenario->dispatcher, "combine_kernels", 0);
    scene_reschedule(scenario);
    estimate(scenario->schedule, &scenario->run, &alone);
    scenario->cluster.shared_gpus = 2;
    scenario->cluster.shared_cores = 4;
    scene_reschedule(scenario);
    estimate(scenario->schedule, &scenario->run, &shared);
    for (int p = PHASE_RMSNORM; p <= PHASE_COMBINE; p++) {
        const enum phase phase = (enum phase)p;
        const bool moves = phase == PHASE_DISPATCH || phase == PHASE_COMBINE;
        const double factor = moves || phase == PHASE_NOTIFY ? 4 : 8;
        // Latency of the wire is nobody's work, and is not slowed.
        ck_assert_double_eq_tol(timing_span(&shared, phase).latency_mean_ps /
                                    timing_span(&alone, phase).latency_mean_ps,
                                factor, moves ? 0.05 : 1e-6);
    }
    const struct cluster enough = {.nodes = 1, .gpus_per_node = 4, .shared_gpus = 8};
    const struct cluster turns = {
        .nodes = 1, .gpus_per_node = 4, .shared_gpus = 2, .time_slice_ps = 100};
    ck_assert_double_eq(cluster_computed_ps(&enough, 1234), 1234);
    ck_assert_double_eq(cluster_computed_ps(&turns, 70), 70);
    ck_assert_double_eq(cluster_computed_ps(&turns, 1234), 100 + 2 * 1134);
    timing_release(&alone);
    timing_release(&shared);
    scenario_release(scenario);
}
END_TEST

static const struct {
    const char *dispatcher;
    uint32_t nodes, tokens;
    enum routing_rule rule;
} published[] = {
    {"deepep-normal", 1, 4096, ROUTING_DEEPEP},  {"deepep-normal", 2, 4096, ROUTING_DEEPEP},
    {"deepep-normal", 4, 4096, ROUTING_DEEPEP},  {"deepep-normal", 8, 4096, ROUTING_DEEPEP},
    {"deepep-ll", 1, 128, ROUTING_UNIFORM},      {"deepep-ll", 2, 128, ROUTING_UNIFORM},
    {"deepep-ll", 4, 128, ROUTING_UNIFORM},      {"deepep-ll-rdma", 1, 128, ROUTING_UNIFORM},
    {"deepep-ll-rdma", 2, 128, ROUTING_UNIFORM}, {"deepep-ll-rdma", 4, 128, ROUTING_UNIFORM},
    {"deepep-ll-rdma", 8, 128, ROUTING_UNIFORM},
};

START_TEST(near_on_published_cases)
{
    struct spec spec = h800(published[_i].dispatcher, published[_i].nodes, published[_i].tokens);
    struct scene scene;
    spec.rule = published[_i].rule;
    scene_build(&scene, &spec);
    for (size_t p = 0; p < 3; p++) {
        const double simulated = scene_us(&scene, &engine_simulate, asked[p]);
        const double estimated = scene_us(&scene, &engine_estimate, asked[p]);
        ck_assert_msg(fabs(simulated / estimated - 1) <= 0.05,
                      "%s: simulate %.2f us, estimate %.2f us: %s", asked_names[p], simulated,
                      estimated, scene_name(&spec));
    }
    scenario_release(&scene.scenario);
}
END_TEST

static void expect_near(const struct spec *spec, enum phase phase, double within)
{
    struct scene scene;
    scene_build(&scene, spec);
    const double simulated = scene_us(&scene, &engine_simulate, phase);
    const double estimated = scene_us(&scene, &engine_estimate, phase);
    ck_assert_msg(fabs(simulated / estimated - 1) < within,
                  "simulate %.2f us, estimate %.2f us: %s", simulated, estimated, scene_name(spec));
    scenario_release(&scene.scenario);
}

// Hot experts on the first ranks, 64 tokens a GPU. A combine's chunk crosses the NIC only when
// every rank of the node that has a part of it has sent that part to the rail peer. The hottest
// rank has part of nearly all, so chunks for the other nodes all wait for its NVLink port, and then
// leave together.
START_TEST(a_gather_waits_for_the_hottest)
{
    struct spec spec = h800("deepep-normal", 4, 64);
    spec.rule = ROUTING_TRACE;
    spec.hot = 1.5;
    expect_near(&spec, PHASE_COMBINE, 0.05);
}
END_TEST

// A dispatcher whose message is all that a rank has for the other node: not one of its tokens is
// forwarded before the whole message is there, so the stages do not overlap. Under an uplink of
// half the NICs' rate eight ranks' messages queue there besides.
START_TEST(whole_messages_do_not_overlap)
{
    struct spec spec = h800("nccl-two-stage", 2, 500);
    spec.rails = false;
    expect_near(&spec, PHASE_DISPATCH, 0.05);
    expect_near(&spec, PHASE_COMBINE, 0.05);
    spec.oversubscription = 2;
    expect_near(&spec, PHASE_DISPATCH, 0.1);
    expect_near(&spec, PHASE_COMBINE, 0.1);
}
END_TEST

// One step of one parameter. More tokens and bytes are more work; higher rates are less.
static const char *const knobs[] = {"tokens", "hidden", "nic", "nvlink", "hbm", "flops", "sm"};
#define KNOBS (sizeof knobs / sizeof knobs[0])

static void turn(struct spec *easy, struct spec *hard, size_t knob, struct rng *rng)
{
    const double factor = 1 + rng_unit(rng) * (rng_below(rng, 2) ? 0.02 : 1); // slight or bold
    double *const rates[] = {&easy->nic_Bps, &easy->nvlink_Bps, &easy->hbm_Bps, &easy->flops,
                             &easy->sm_scale};
    if (knob == 0)
        hard->tokens += 1 + (uint32_t)((factor - 1) * hard->tokens);
    else if (knob == 1)
        hard->hidden += 128 * (1 + rng_below(rng, 4));
    else
        *rates[knob - 2] *= factor;
}

// A phase is asked alone: within a layer its ranks start when the phase before lets them, so that
// it may last longer and yet end sooner.
static void all_times(const struct spec *spec, const struct engine *engine, double *us)
{
    struct scene scene;
    scene_build(&scene, spec);
    for (size_t p = 0; p < 3; p++)
        us[p] = scene_us(&scene, engine, asked[p]);
    scenario_release(&scene.scenario);
}

static void expect_monotone(const struct engine *engine, uint32_t number, bool expected,
                            double tolerance)
{
    struct rng rng = rng_stream(3, number, 0, 0);
    struct spec easy = scene_random(3, number, 1000);
    const size_t knob = number % KNOBS;
    double less[3], more[3];
    easy.expected = expected;
    struct spec hard = easy;
    turn(&easy, &hard, knob, &rng);
    all_times(&easy, engine, less);
    all_times(&hard, engine, more);
    for (size_t p = 0; p < 3; p++)
        ck_assert_msg(more[p] >= less[p] * (1 - tolerance), "%s, %s: %.6f us, then %.6f us: %s",
                      knobs[knob], asked_names[p], less[p], more[p], scene_name(&easy));
}

#define CONFIGURATIONS SCENE_CASES(1000)

START_TEST(estimate_is_monotone)
{
    for (uint32_t i = 0; i < CONFIGURATIONS; i++)
        expect_monotone(&engine_estimate, i, _i, 0);
}
END_TEST

START_TEST(simulate_is_monotone)
{
    for (uint32_t i = 0; i < CONFIGURATIONS; i++)
        expect_monotone(&engine_simulate, i, false, 0.01);
}
END_TEST

// What the shared expert has not done beside a transfer it does on all SMs: never later than after
// the whole layer, whatever SMs the transfer takes.
START_TEST(overlap_is_no_slower)
{
    static const char *const dispatchers[] = {"nccl-ep-ll", "nccl-flat", "deepep-normal",
                                              "deepep-ll"};
    for (size_t i = 0; i < SUITE_COUNT(dispatchers); i++)
        for (uint32_t tokens = 8; tokens <= 512; tokens *= 8) {
            struct spec spec = h800(dispatchers[i], 1, tokens);
            struct scene scene;
            spec.aligned = false;
            scene_build(&scene, &spec);
            for (size_t e = 0; e < 2; e++) {
                struct run *run = &scene.scenario.run;
                run->overlap = OVERLAP_NONE;
                const double series = scene_us(&scene, engine_table[e], PHASE_COUNT);
                for (run->overlap = OVERLAP_DISPATCH; overlap_names[run->overlap]; run->overlap++)
                    ck_assert_double_lt(scene_us(&scene, engine_table[e], PHASE_COUNT), series);
            }
            scenario_release(&scene.scenario);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engines");
    TCase *tests = tcase_create("engines");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, overlap_is_no_slower);
    tcase_add_loop_test(tests, estimate_is_hardly_above, 0, SUITE_COUNT(kinds));
    tcase_add_test(tests, bridges_bind);
    tcase_add_test(tests, nics_carry_what_nvlink_would);
    tcase_add_test(tests, sharing_slows_in_proportion);
    tcase_add_loop_test(tests, near_on_published_cases, 0, SUITE_COUNT(published));
    tcase_add_test(tests, a_gather_waits_for_the_hottest);
    tcase_add_test(tests, whole_messages_do_not_overlap);
    tcase_add_loop_test(tests, estimate_is_monotone, 0, 2); // counted, expected loads
    tcase_add_test(tests, simulate_is_monotone);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
