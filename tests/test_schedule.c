// model/schedule: wire bytes as published, the port bound, and loads that add up at every port.
#include "tests/scene.h"
#include "tests/suite.h"

#include <stdlib.h>

// Wire bytes a token, hidden 7168 (DeepEP csrc/kernels/legacy/internode.cu:47 and internode_ll.cu).
static const struct {
    const char *dispatcher;
    enum dtype dtype;
    bool weights; // combined too
    uint64_t dispatch, combine;
} wires[] = {
    {"deepep-normal", DTYPE_FP8, false, 7472, 14352},
    {"deepep-normal", DTYPE_BF16, true, 14416, 14384},
    {"deepep-ll", DTYPE_FP8, false, 7408, 14336},
    {"deepep-ll", DTYPE_BF16, false, 14352, 14336},
    {"deepep-ll-rdma", DTYPE_FP8, false, 7408, 14336},
};

START_TEST(wire_bytes)
{
    struct dispatcher dispatcher;
    struct moe moe = moe_default();
    struct error err;
    moe.hidden = 7168;
    moe.experts = 256;
    moe.topk = 8;
    moe.dispatch_dtype = wires[_i].dtype;
    const struct cluster cluster = {.nodes = 4, .gpus_per_node = 8};
    ck_assert(dispatcher_load(wires[_i].dispatcher, &cluster, &dispatcher, NULL, &err));
    dispatcher.combine_choice_bytes = wires[_i].weights ? 4 : 0;
    ck_assert_uint_eq(dispatcher_dispatch_bytes(&dispatcher, &moe, 64), wires[_i].dispatch);
    ck_assert_uint_eq(dispatcher_combine_bytes(&dispatcher, &moe), wires[_i].combine);
}
END_TEST

static struct spec decode(uint32_t nodes)
{
    return (struct spec){.dispatcher = "deepep-ll",
                         .nodes = nodes,
                         .gpus_per_node = 8,
                         .rails = true,
                         .oversubscription = 1,
                         .rule = ROUTING_UNIFORM,
                         .tokens = 128,
                         .hidden = 7168,
                         .experts = 256,
                         .topk = 8,
                         .groups = 8,
                         .topk_groups = 4,
                         .nic_Bps = 46e9,
                         .nvlink_Bps = 138e9,
                         .hbm_Bps = 2.668e12,
                         .flops = 1979e12,
                         .sm_scale = 1,
                         .seed = 1};
}

// DeepEP's README counts 7.586 MB in 77 us as its 98 GB/s: every copy, the own rank's too.
START_TEST(low_latency_identity)
{
    const struct spec spec = decode(1);
    struct scene scene;
    scene_build(&scene, &spec);
    const struct transfer *dispatch = &scene.scenario.schedule->transfers[0];
    for (uint32_t s = 0; s < 8; s++) {
        double copies = 0;
        for (uint32_t r = 0; r < 8; r++)
            copies += dispatch->pair[s * 8 + r];
        ck_assert_double_eq(copies * (double)dispatch->token_bytes, 7585792); // 128 x 8 x 7408
    }
    scenario_release(&scene.scenario);
}
END_TEST

static double bound_us(const char *cluster, const uint64_t *bytes, char *busiest)
{
    struct scenario scenario = {0};
    struct error err;
    ck_assert_msg(cluster_load(cluster, &scenario.cluster, NULL, &err), "%s", err.text);
    scene_exchange(&scenario, bytes);
    const double ps = scene_bound_ps(scenario.schedule, &scenario.schedule->transfers[0], busiest);
    scenario_release(&scenario);
    return ps / 1e6;
}

// "Insights into DeepSeek-V3" (arXiv 2505.09343): (1 byte + 2 bytes) x 32 tokens x 9 copies x 7K
// over 50 GB/s = 120.96 us a layer; on GB200 NVL72's 900 GB/s, 6.72 us.
START_TEST(deepseek_v3_bound)
{
    const uint64_t out[] = {0, 32 * 9 * 7000 * 1, 0, 0}, back[] = {0, 0, 32 * 9 * 7000 * 2, 0};
    const char *infiniband = "2x1:nvlink_effective=160GB/s,nic_effective=50GB/s", *nvl72 = "1x2:nvlink_effective=900GB/s";
    char busiest[48];
    ck_assert_double_eq_tol(bound_us(infiniband, out, busiest), 40.32, 1e-9);
    ck_assert_str_eq(busiest, "gpu0.nic.tx");
    ck_assert_double_eq_tol(bound_us(infiniband, back, busiest), 80.64, 1e-9);
    ck_assert_double_eq_tol(
        bound_us(infiniband, out, busiest) + bound_us(infiniband, back, busiest), 120.96, 1e-9);
    ck_assert_double_eq_tol(bound_us(nvl72, out, busiest) + bound_us(nvl72, back, busiest), 6.72,
                            1e-9);
    ck_assert_str_eq(busiest, "gpu1.nvlink.tx");
}
END_TEST

START_TEST(nothing_moves_at_no_time)
{
    const uint64_t diagonal[] = {7, 0, 0, 7};
    char busiest[48];
    ck_assert_double_eq(bound_us("2x1:nvlink_effective=160GB/s,nic_effective=50GB/s", diagonal, busiest), 0);
    ck_assert_str_eq(busiest, "none");
}
END_TEST

static double sum_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

// What goes into a wire comes out of it.
static void expect_balance(const struct fabric *fabric, const struct port_loads *loads)
{
    for (int tx = PORT_NIC_TX; tx < PORT_LINKS; tx += 2) {
        const double sent = sum_of(loads->bytes[tx], fabric->count[tx]);
        ck_assert_double_eq(sent, sum_of(loads->bytes[tx + 1], fabric->count[tx + 1]));
        ck_assert_double_eq(sent, sum_of(loads->own_bytes[tx], fabric->ranks));
        ck_assert_double_eq(sent, sum_of(loads->own_bytes[tx + 1], fabric->ranks));
    }
}

// The ports of the pair matrix, entry by entry.
static void expect_pairs(const struct schedule *schedule, const struct transfer *transfer,
                         const struct port_loads *loads)
{
    const struct fabric *fabric = &schedule->fabric;
    const uint32_t ranks = fabric->ranks;
    double *pairs = schedule_pair_bytes(schedule, transfer);
    double *nic = mem_alloc(ranks, sizeof *nic), *nvlink = mem_alloc(ranks, sizeof *nvlink);
    double spine = 0, bridge = 0;
    for (uint32_t from = 0; from < ranks; from++) {
        for (uint32_t to = 0; to < ranks; to++) {
            const double bytes = pairs[(size_t)from * ranks + to];
            const bool inside = fabric_node(fabric, from) == fabric_node(fabric, to);
            struct trunk trunk;
            if (fabric_trunk(fabric, from, to, transfer->inside_nic, &trunk))
                *(trunk.up == PORT_SPINE_UP ? &spine : &bridge) += bytes;
            if (inside && !transfer->inside_nic)
                nvlink[to] += bytes;
            else
                nic[fabric_nic(fabric, to)] += bytes;
        }
        ck_assert_double_eq(pairs[(size_t)from * ranks + from], 0);
    }
    ck_assert_mem_eq(nvlink, loads->bytes[PORT_NVLINK_RX], ranks * sizeof *nvlink);
    ck_assert_mem_eq(nic, loads->bytes[PORT_NIC_RX], fabric->count[PORT_NIC_RX] * sizeof *nic);
    ck_assert_double_eq(spine, sum_of(loads->bytes[PORT_SPINE_UP], fabric->count[PORT_SPINE_UP]));
    ck_assert_double_eq(bridge,
                        sum_of(loads->bytes[PORT_BRIDGE_UP], fabric->count[PORT_BRIDGE_UP]));
    free(pairs);
    free(nic);
    free(nvlink);
}

static void expect_sound(const struct schedule *schedule, const struct transfer *transfer)
{
    struct port_loads loads;
    char busiest[48];
    double bound = 0;
    scene_port_loads(schedule, transfer, &loads);
    expect_balance(&schedule->fabric, &loads);
    expect_pairs(schedule, transfer, &loads);
    for (int kind = 0; kind < PORT_LINKS; kind++)
        for (uint32_t p = 0; p < schedule->fabric.count[kind]; p++)
            bound = fmax(bound, loads.bytes[kind][p] /
                                    fabric_rate(&schedule->fabric, (enum port_kind)kind, p) * 1e12);
    ck_assert_double_eq(scene_bound_ps(schedule, transfer, busiest), bound);
    port_loads_release(&loads);
}

START_TEST(ports_add_up)
{
    const uint32_t cases = SCENE_CASES(400);
    for (uint32_t i = 0; i < cases; i++) {
        const struct spec spec = scene_random(21, i, 200);
        struct scene scene;
        scene_build(&scene, &spec);
        for (uint32_t t = 0; t < scene.scenario.schedule->transfer_count; t++)
            expect_sound(scene.scenario.schedule, &scene.scenario.schedule->transfers[t]);
        scenario_release(&scene.scenario);
    }
}
END_TEST

START_TEST(slices_add_up)
{
    struct rng rng = rng_stream(1, 0, 0, 0);
    for (int i = 0; i < 2000; i++) {
        const uint32_t channels = 1 + rng_below(&rng, 40), home = rng_below(&rng, 64);
        const uint64_t tokens = rng_below(&rng, 5000), part = rng_below(&rng, (uint32_t)tokens + 1);
        uint64_t sum = 0;
        for (uint32_t c = 0; c < channels; c++) {
            const uint64_t slice = schedule_slice(tokens, home, c, channels);
            ck_assert(slice == tokens / channels || slice == tokens / channels + 1);
            ck_assert_uint_le(schedule_slice(part, home, c, channels), slice);
            sum += slice;
        }
        ck_assert_uint_eq(sum, tokens);
    }
}
END_TEST

// The spine is met by what changes its rail, or node where there are no rails, and only when it is
// narrower than the NICs below it.
static const struct {
    const char *dispatcher;
    bool rails;
    double oversubscription;
    bool meets;
} spines[] = {
    {"deepep-ll", true, 1, false},      {"deepep-ll", true, 2, true},
    {"deepep-ll", false, 2, true},      {"deepep-normal", true, 2, false},
    {"deepep-normal", false, 2, true},  {"deepep-normal", false, 1, false},
    {"deepep-ll-rdma", false, 2, true}, {"nccl-agrs", true, 4, false},
};

START_TEST(spine_is_met)
{
    struct spec spec = decode(4);
    struct scene scene;
    struct port_loads loads;
    spec.dispatcher = spines[_i].dispatcher;
    spec.rails = spines[_i].rails;
    spec.oversubscription = spines[_i].oversubscription;
    scene_build(&scene, &spec);
    const struct schedule *schedule = scene.scenario.schedule;
    for (uint32_t t = 0; t < 2; t++) {
        scene_port_loads(schedule, &schedule->transfers[t], &loads);
        ck_assert(spines[_i].meets ==
                  (sum_of(loads.bytes[PORT_SPINE_UP], schedule->fabric.count[PORT_SPINE_UP]) > 0));
        port_loads_release(&loads);
    }
    scenario_release(&scene.scenario);
}
END_TEST

// Messages are each channel's slices in pieces.
START_TEST(messages_are_counted)
{
    const uint64_t bytes[] = {0, 150000, 1, 0};
    struct scenario scenario = {0};
    struct port_loads loads;
    struct error err;
    ck_assert(cluster_load("2x1:nvlink_effective=160GB/s,nic_effective=50GB/s", &scenario.cluster, NULL, &err));
    scene_exchange(&scenario, bytes); // chunks of 64 KiB
    scene_port_loads(scenario.schedule, &scenario.schedule->transfers[0], &loads);
    ck_assert_double_eq(loads.messages[PORT_NIC_TX][0], 3);
    ck_assert_double_eq(loads.messages[PORT_NIC_TX][1], 1);
    ck_assert_double_eq(loads.messages[PORT_NIC_RX][1], 0);
    port_loads_release(&loads);
    scenario_release(&scenario);
}
END_TEST

START_TEST(only_one_phase_is_kept)
{
    const struct spec spec = decode(1);
    struct scene scene;
    scene_build(&scene, &spec);
    struct schedule schedule = *scene.scenario.schedule;
    ck_assert(schedule.present[PHASE_EXPERTS] && schedule.present[PHASE_DISPATCH]);
    schedule_keep_only(&schedule, PHASE_DISPATCH);
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        ck_assert(schedule.present[p] == (p == PHASE_DISPATCH));
    schedule_keep_only(&schedule, PHASE_NOTIFY); // absent before, so nothing is left
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        ck_assert(!schedule.present[p]);
    scenario_release(&scene.scenario);
}
END_TEST

START_TEST(phases_are_left_out)
{
    const struct spec spec = decode(1);
    struct scene scene;
    scene_build(&scene, &spec);
    const bool *before = scene.scenario.schedule->present;
    struct schedule schedule = *scene.scenario.schedule;
    schedule_leave_out(&schedule, 1 << PHASE_ROUTER | 1 << PHASE_COMBINE);
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        ck_assert(schedule.present[p] == (before[p] && p != PHASE_ROUTER && p != PHASE_COMBINE));
    ck_assert(!before[PHASE_LAYER]);
    scenario_release(&scene.scenario);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedule");
    TCase *tests = tcase_create("schedule");
    tcase_set_timeout(tests, 90);
    tcase_add_loop_test(tests, wire_bytes, 0, SUITE_COUNT(wires));
    tcase_add_test(tests, low_latency_identity);
    tcase_add_test(tests, deepseek_v3_bound);
    tcase_add_test(tests, nothing_moves_at_no_time);
    tcase_add_test(tests, phases_are_left_out);
    tcase_add_test(tests, ports_add_up);
    tcase_add_test(tests, slices_add_up);
    tcase_add_loop_test(tests, spine_is_met, 0, SUITE_COUNT(spines));
    tcase_add_test(tests, messages_are_counted);
    tcase_add_test(tests, only_one_phase_is_kept);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
