// model/costs: grids of SMs, variants by GPU, no cliffs over tokens, and a protocol switch that
// never steps down.
#include "model/engine/compute.h"
#include "model/engine/estimate.h"
#include "model/costs/kernel_costs.h"
#include "scenario/scenario.h"
#include "sim/simulate.h"
#include "tests/scene.h"
#include "tests/suite.h"

#include <math.h>
#include <string.h>

typedef void engine_run(const struct schedule *schedule, const struct run *run,
                        struct timing *timing);

static void resolve(struct scenario *scenario, const struct scenario_def *def,
                    enum loads_kind loads)
{
    struct error err = {0};
    ck_assert_msg(scenario_open(scenario, def, &err), "%s", err.text);
    scenario_load(scenario, loads);
}

static struct scenario_def ask(const char *cluster, uint32_t ep, const char *dispatcher)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    strcpy(def.cluster, cluster);
    strcpy(def.dispatcher, dispatcher);
    def.ep = ep;
    def.routing = ROUTING_UNIFORM;
    def.tokens = 128;
    def.aligned = true;
    return def;
}

// DeepEP csrc/kernels/internode_ll.cu on 132 SMs: ceil(E / 132) experts an SM.
static const struct {
    uint32_t experts, sms;
} grids[] = {{8, 8}, {16, 16}, {128, 128}, {160, 80}, {256, 128}, {288, 96}, {512, 128}};

START_TEST(sms_of_low_latency_kernels)
{
    const struct schedule schedule = {.moe = {.experts = grids[_i].experts},
                                      .cluster = {.sms = 132},
                                      .dispatcher = {.cost_model = &cost_staged}};
    ck_assert_uint_eq(kernel_sms(&schedule), grids[_i].sms);
}
END_TEST

static size_t member_bytes(const struct field *field)
{
    switch (field->kind) {
    case FIELD_BOOL:
        return sizeof(bool);
    case FIELD_U32:
    case FIELD_ENUM:
        return sizeof(uint32_t);
    case FIELD_TEXT:
        return FIELD_TEXT_BYTES;
    default:
        return sizeof(uint64_t);
    }
}

// A key means the same in every cost model that reads it, wherever its member is.
static void check_same_key(const struct field *any, const struct field *field)
{
    ck_assert_ptr_nonnull(any);
    ck_assert_msg(any->kind == field->kind && any->names == field->names, "%s", field->key);
    ck_assert_double_eq(any->min, field->min);
    ck_assert_double_eq(any->max, field->max);
}

// Every cost model's table: a key once, read in one phase or direction, kept inside a dispatcher
// and apart from every other's member.
START_TEST(tables_are_sound)
{
    const unsigned phases = COST_MOVES | COST_NOTIFY | COST_DISPATCH | COST_COMBINE;
    for (size_t m = 0; cost_models[m]; m++) {
        const struct cost_model *model = cost_models[m];
        for (size_t i = 0; i < model->field_count; i++) {
            const struct field *field = &model->fields[i];
            const unsigned phase = field->tag & phases;
            ck_assert_msg(phase && !(phase & (phase - 1)), "%s: %s", model->name, field->key);
            ck_assert_uint_le(field->offset + member_bytes(field), sizeof(struct dispatcher));
            ck_assert_ptr_eq(field_find(model->fields, model->field_count, field->key), field);
            check_same_key(cost_key(field->key), field);
            for (size_t j = 0; j < i; j++)
                ck_assert_msg(model->fields[j].offset != field->offset, "%s: %s and %s",
                              model->name, model->fields[j].key, field->key);
        }
    }
}
END_TEST

static uint64_t token_ps(const struct dispatcher *dispatcher)
{
    const struct cost_model *model = dispatcher->cost_model;
    const struct field *field = field_find(model->fields, model->field_count, "dispatch_token");
    return *(const uint64_t *)(const void *)((const char *)dispatcher + field->offset);
}

// H200's kernels start sooner; a cluster of no GPU's name takes the preset as it is.
START_TEST(variants_by_gpu)
{
    struct scenario_def h100 = ask("h100-nvl8", 8, "deepep-ll"),
                        h200 = ask("h200-nvl8", 8, "deepep-ll");
    struct scenario_def plain = ask("1x8:nvlink_effective=300GB/s", 8, "deepep-ll");
    struct scenario a, b, c;
    resolve(&a, &h100, LOADS_EXPECTED);
    resolve(&b, &h200, LOADS_EXPECTED);
    resolve(&c, &plain, LOADS_EXPECTED);
    ck_assert_uint_lt(token_ps(&b.dispatcher), token_ps(&a.dispatcher));
    ck_assert_uint_eq(token_ps(&c.dispatcher), token_ps(&a.dispatcher));
    scenario_release(&a);
    scenario_release(&b);
    scenario_release(&c);
}
END_TEST

static void phases_us(const struct scenario_def *def, engine_run *engine, enum loads_kind loads,
                      double us[2])
{
    struct scenario scenario;
    struct timing timing;
    resolve(&scenario, def, loads);
    engine(scenario.schedule, &scenario.run, &timing);
    us[0] = timing_span(&timing, PHASE_DISPATCH).latency_mean_ps / 1e6;
    us[1] = timing_span(&timing, PHASE_COMBINE).latency_mean_ps / 1e6;
    timing_release(&timing);
    scenario_release(&scenario);
}

static const struct {
    const char *cluster, *dispatcher;
    uint32_t ep, max;
} smooth[] = {
    {"h800-cx7", "deepep-normal", 8, 131072},      {"h800-cx7", "deepep-normal", 32, 131072},
    {"hopper-cx7", "deepep-normal", 16, 131072},   {"h200-nvl8", "deepep-normal", 8, 131072},
    {"h800-cx7", "deepep-ll", 32, 1024},           {"h200-nvl8", "deepep-ll", 8, 1024},
    {"hopper-cx7", "deepep-ll", 16, 1024},         {"h800-cx7", "deepep-ll-rdma", 64, 1024},
    {"gb200-nvl72", "trtllm-onesided", 16, 16384}, {"gb200-nvl72", "trtllm-twosided", 64, 16384},
    {"h100-cx7", "deepep-v2", 16, 65536},          {"h100-cx7", "pplx-garden", 16, 4096},
    {"mi300x-cx7", "mori-ll", 16, 4096},           {"h800-cx7", "nccl-flat", 32, 16384},
    {"h800-cx7", "nccl-two-stage", 32, 16384},     {"h800-cx7", "nccl-agrs", 16, 4096},
    {"mi355x-cx7", "mori-ll", 8, 131072},          {"mi355x-cx7", "mori-ll", 16, 131072},
    {"h200-efa", "uccl-normal", 24, 16384},        {"h200-efa", "uccl-ll", 16, 1024},
};

// Token counts 1 % apart, in as many places as `step` leaves: no time is over 15 % larger, none
// smaller by more than the engine's own grain.
static void expect_smooth(engine_run *engine, enum loads_kind loads, double step, double grain,
                          int i)
{
    struct scenario_def def = ask(smooth[i].cluster, smooth[i].ep, smooth[i].dispatcher);
    for (uint32_t tokens = 100; tokens < smooth[i].max; tokens = (uint32_t)(tokens * step)) {
        double here[2], next[2];
        def.tokens = tokens;
        phases_us(&def, engine, loads, here);
        def.tokens = (uint32_t)ceil(tokens * 1.01);
        phases_us(&def, engine, loads, next);
        for (int p = 0; p < 2; p++)
            ck_assert_msg(next[p] <= 1.15 * here[p] && next[p] >= (1 - grain) * here[p],
                          "%s on %s, %s, %u tokens: %.2f us, then %.2f", smooth[i].dispatcher,
                          smooth[i].cluster, p ? "combine" : "dispatch", def.tokens, here[p],
                          next[p]);
    }
}

START_TEST(no_cliffs_in_closed_form)
{
    expect_smooth(estimate, LOADS_EXPECTED, SANITIZED ? 5.3 : 1.13, 0, _i);
}
END_TEST

START_TEST(no_cliffs_by_events)
{
    expect_smooth(simulate, LOADS_COUNTED, SANITIZED ? 40 : 5.3, 0.01, _i);
}
END_TEST

// The slowest rank's time.
static double run_exchange(const char *dispatcher, const char *cluster, uint32_t ep,
                           const char *pattern, uint64_t bytes)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct timing timing;
    strcpy(def.cluster, cluster);
    strcpy(def.dispatcher, dispatcher);
    snprintf(def.traffic, sizeof def.traffic, "%s:%lluB", pattern, (unsigned long long)bytes);
    def.ep = ep;
    struct scenario scenario;
    resolve(&scenario, &def, LOADS_COUNTED);
    estimate(scenario.schedule, &scenario.run, &timing);
    const double us = (double)timing_span(&timing, PHASE_ALLTOALL).latency_ps / 1e6;
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

static double exchange_us(const char *cluster, uint32_t ep, const char *pattern, uint64_t bytes)
{
    return run_exchange("nccl-alltoall", cluster, ep, pattern, bytes);
}

// The switch of protocols is NCCL's, and so are channels that come with larger parts; more bytes
// take no less time on any GPU.
static const char *const alltoalls[] = {"a100-nvl8", "h100-nvl8", "b200-nvl8", "gb200-nvl8",
                                        "l40s-pcie8"};

START_TEST(nccl_never_steps_down)
{
    for (uint32_t ep = 2; ep <= 8; ep *= 2) {
        double last = 0;
        for (uint64_t bytes = 64; bytes < 100000000; bytes += bytes / 32) {
            const double us = exchange_us(alltoalls[_i], ep, "uniform", bytes);
            ck_assert_msg(us >= last, "%s, %u ranks, %llu bytes a peer: %.3f us after %.3f",
                          alltoalls[_i], ep, (unsigned long long)bytes, us, last);
            last = us;
        }
    }
}
END_TEST

// Rows that are packed before the wire and summed behind it, at half of the memory's rate: the time
// grows by their bytes over that rate, read and written.
START_TEST(packing_goes_through_memory)
{
    const double full = 2.668e12, half = full / 2;
    struct scenario_def def = ask("h100-nvl8:hbm=2.668TB/s", 8, "nccl-flat");
    double fast[2], slow[2];
    struct scenario scenario;
    def.tokens = 2048;
    phases_us(&def, estimate, LOADS_COUNTED, fast);
    strcpy(def.cluster, "h100-nvl8:hbm=1.334TB/s");
    phases_us(&def, estimate, LOADS_COUNTED, slow);
    resolve(&scenario, &def, LOADS_COUNTED);
    double copies = 0;
    for (uint32_t pair = 0; pair < 64; pair++)
        copies += scenario.schedule->transfers[0].pair[pair] / 8;
    const double wire = (double)scenario.schedule->transfers[0].token_bytes;
    const double bytes = copies * (2.0 * 7168 + wire);
    const double share = *scene_constant(&scenario.dispatcher, "dispatch_hbm_share");
    ck_assert_double_eq_tol(slow[0] - fast[0], bytes / share * (1 / half - 1 / full) * 1e6, 0.5);
    ck_assert_double_gt(slow[1] - fast[1], slow[0] - fast[0]); // twice through memory, in BF16
    scenario_release(&scenario);
}
END_TEST

// One peer's channels fill less of a rank's links than three peers' do.
START_TEST(one_peer_does_not_fill_the_links)
{
    static const uint32_t eps[] = {2, 4, 8};
    static const double shares[] = {0.4, 0.9, 0.9};
    for (size_t i = 0; i < SUITE_COUNT(eps); i++) {
        const struct scenario_def def =
            ask("h100-nvl8", eps[i], "nccl-flat:dispatch_peer_share=0.4,dispatch_nvlink_share=0.9");
        struct scenario scenario;
        struct kernel_costs costs;
        resolve(&scenario, &def, LOADS_EXPECTED);
        kernel_costs_init(&costs, scenario.schedule,
                          schedule_transfer(scenario.schedule, PHASE_DISPATCH));
        ck_assert_double_eq_tol(costs.nvlink_share, shares[i], 1e-12);
        scenario_release(&scenario);
    }
}
END_TEST

// Experts of one rank with these rows, by kernels of their own.
static double experts_us(const double *rows)
{
    struct scenario_def def = ask("h200-nvl8:roofline_norm=0", 8, "nccl-flat");
    struct scenario scenario;
    strcpy(def.kernels, KERNELS_EPSIM_REAL);
    resolve(&scenario, &def, LOADS_COUNTED);
    double *slots = scenario.schedule->loads->slot_tokens;
    memset(slots, 0, 32 * sizeof *slots);
    memcpy(slots, rows, 2 * sizeof *slots);
    const double ps = compute_phase_ps(scenario.schedule, PHASE_EXPERTS, 0, 1);
    scenario_release(&scenario);
    return ps / 1e6;
}

// A popular expert is bound by operations, and reading the weights of the other is not hidden.
START_TEST(experts_follow_one_another)
{
    const double even = experts_us((const double[]){64, 64}),
                 skewed = experts_us((const double[]){2048, 64}),
                 alone = experts_us((const double[]){2048, 0});
    const double weights_us = 3.0 * 7168 * 2048 / 4.13e12 * 1e6;
    ck_assert_double_gt(skewed, 2 * even);
    ck_assert_double_gt(skewed - alone, 0.9 * weights_us);
}
END_TEST

static double router_us(const char *cluster, uint32_t tokens)
{
    struct scenario_def def = ask(cluster, 8, "nccl-flat");
    struct scenario scenario;
    struct timing timing;
    def.tokens = tokens;
    resolve(&scenario, &def, LOADS_EXPECTED);
    estimate(scenario.schedule, &scenario.run, &timing);
    const double us = timing_span(&timing, PHASE_ROUTER).latency_mean_ps / 1e6;
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

// A product of few rows takes as long as one tile; one of many does not feel it.
START_TEST(shortest_product)
{
    const double plain = router_us("h100-nvl8", 1);
    ck_assert_double_lt(plain, 30);
    ck_assert_double_eq_tol(
        router_us("h100-nvl8:roofline_norm=0,gemm_least=50us", 1),
        50 + router_us("h100-nvl8:roofline_norm=0,gemm_least=0us,hbm=1000TB/s", 1), 0.1);
    ck_assert_double_eq_tol(router_us("h100-nvl8:roofline_norm=0,gemm_least=50us", 65536),
                            router_us("h100-nvl8:roofline_norm=0", 65536), 1e-6);
    // Where what bounds it adds up, the larger alone is too little and the sum too much.
    ck_assert_double_gt(router_us("h100-nvl8:roofline_norm=2,gemm_least=50us", 4096),
                        router_us("h100-nvl8:roofline_norm=0,gemm_least=50us", 4096) + 1);
    ck_assert_double_lt(router_us("h100-nvl8:roofline_norm=2,gemm_least=50us", 4096),
                        router_us("h100-nvl8:roofline_norm=1,gemm_least=50us", 4096) - 1);
}
END_TEST

static double layer_us(const char *cluster, bool graph)
{
    struct scenario_def def = ask(cluster, 8, "nccl-flat");
    struct scenario scenario;
    struct timing timing;
    def.tokens = 1;
    def.graph = graph;
    strcpy(def.kernels, "epsim-real"); // whose experts are launched one by one
    resolve(&scenario, &def, LOADS_EXPECTED);
    estimate(scenario.schedule, &scenario.run, &timing);
    const double us = timing_layer_ps(&timing) / 1e6;
    timing_release(&timing);
    scenario_release(&scenario);
    return us;
}

// In a graph launches take their share, of experts' own kernels too; where it is 1 nothing changes.
START_TEST(graphs_launch_sooner)
{
    ck_assert_double_eq(layer_us("h100-nvl8:graph_launches=1", true), layer_us("h100-nvl8", false));
    ck_assert_double_eq_tol(layer_us("h100-nvl8:kernel_launch=8us,expert_launch=8us,"
                                     "graph_launches=0.5",
                                     true),
                            layer_us("h100-nvl8:kernel_launch=4us,expert_launch=4us", false), 1e-6);
    ck_assert_double_lt(layer_us("h100-nvl8", true), layer_us("h100-nvl8", false) - 10);
}
END_TEST

// One rank's times of a transfer, without the way of the last byte, and of its notify.
struct kernel_parts {
    struct kernel_times times;
    double notify_ps;
};

static struct kernel_parts kernels_on(const char *cluster, const char *dispatcher, uint32_t tokens,
                                      uint32_t capacity, size_t transfer)
{
    struct scenario_def def = ask(cluster, 2, dispatcher);
    struct kernel_costs costs;
    struct scenario scenario;
    def.tokens = tokens;
    resolve(&scenario, &def, LOADS_COUNTED);
    struct schedule schedule = *scenario.schedule;
    schedule.dispatcher.capacity_tokens = capacity;
    kernel_costs_init(&costs, &schedule, &schedule.transfers[transfer]);
    struct kernel_parts parts = {kernel_times(&costs, 0, 1), kernel_notify_ps(&schedule, 0)};
    parts.times.min_ps -= (double)scenario.cluster.nvlink_latency_ps;
    scenario_release(&scenario);
    return parts;
}

static struct kernel_parts kernels_of(const char *dispatcher, uint32_t tokens, uint32_t capacity,
                                      size_t transfer)
{
    return kernels_on("1x2:nvlink_effective=300GB/s", dispatcher, tokens, capacity, transfer);
}

// A token of each of 128 SMs at a time: what 128 take takes one, and one more takes twice that.
START_TEST(rounds_are_whole)
{
    const double one = kernels_of("nccl-ep-ll", 1, 0, 0).times.min_ps;
    ck_assert_double_gt(one, 1e6);
    ck_assert_double_eq_tol(kernels_of("nccl-ep-ll", 128, 0, 0).times.min_ps, one, 1e-3);
    ck_assert_double_eq_tol(kernels_of("nccl-ep-ll", 129, 0, 0).times.min_ps, 2 * one, 1e-3);
    ck_assert_double_eq_tol(kernels_of("nccl-ep-ll", 1024, 0, 0).times.min_ps, 8 * one, 1e-3);
}
END_TEST

// Choices that all go to one rank leave the time to send alone, and lengthen the time to receive.
START_TEST(skew_lengthens_the_receiver)
{
    struct scenario_def def = ask("1x2:nvlink_effective=300GB/s", 2, "nccl-ep-ll");
    struct kernel_times times[2];
    struct scenario scenario;
    struct kernel_costs costs;
    resolve(&scenario, &def, LOADS_COUNTED);
    struct loads loads;
    loads_copy(&loads, scenario.schedule->loads);
    struct schedule schedule = *scenario.schedule;
    schedule.loads = &loads;
    for (int hot = 0; hot < 2; hot++) {
        for (uint32_t home = 0; hot && home < 2; home++) {
            loads.expert_copies[2 * home] += loads.expert_copies[2 * home + 1];
            loads.expert_copies[2 * home + 1] = 0;
        }
        kernel_costs_init(&costs, &schedule, &schedule.transfers[0]);
        times[hot] = kernel_times(&costs, 0, 1);
    }
    ck_assert_double_eq(times[1].head_ps, times[0].head_ps);
    ck_assert_double_eq(times[1].min_ps, times[0].min_ps);
    ck_assert_double_gt(times[1].tail_ps, 1.8 * times[0].tail_ps);
    loads_release(&loads);
    scenario_release(&scenario);
}
END_TEST

// 16 SMs of two pipelines, chunks of 64 tokens: up to 2,048 tokens every pipeline has one at most.
START_TEST(pipelines_take_whole_chunks)
{
    const double chunk = kernels_of("nccl-ep-ht", 64, 0, 0).times.min_ps;
    ck_assert_double_lt(kernels_of("nccl-ep-ht", 32, 0, 0).times.min_ps, 0.6 * chunk);
    ck_assert_double_eq_tol(kernels_of("nccl-ep-ht", 65, 0, 0).times.min_ps, chunk, 1);
    ck_assert_double_eq_tol(kernels_of("nccl-ep-ht", 2048, 0, 0).times.min_ps, chunk, 1);
    ck_assert_double_eq_tol(kernels_of("nccl-ep-ht", 2049, 0, 0).times.min_ps, 2 * chunk, 1);
}
END_TEST

// Buffers made for more tokens than there are cost their sweep, in every part.
START_TEST(room_costs_a_sweep)
{
    for (size_t transfer = 0; transfer < 2; transfer++) {
        const struct kernel_parts fits = kernels_of("nccl-ep-ht", 128, 0, transfer);
        const struct kernel_parts room = kernels_of("nccl-ep-ht", 128, 8192, transfer);
        ck_assert_double_gt(room.times.min_ps, fits.times.min_ps + 1e6);
        ck_assert_double_gt(room.notify_ps, fits.notify_ps + 1e6);
    }
}
END_TEST

// A rank without tokens sweeps its buffers like any other.
START_TEST(idle_ranks_sweep_too)
{
    struct scenario_def def = ask("1x2:nvlink_effective=300GB/s", 2, "nccl-ep-ht");
    struct scenario scenario;
    struct kernel_costs costs;
    struct loads loads;
    resolve(&scenario, &def, LOADS_COUNTED);
    loads_copy(&loads, scenario.schedule->loads);
    loads.tokens[0] = 0;
    struct schedule schedule = *scenario.schedule;
    schedule.loads = &loads;
    for (size_t t = 0; t < 2; t++) {
        kernel_costs_init(&costs, &schedule, &schedule.transfers[t]);
        ck_assert_double_gt(kernel_times(&costs, 0, 0).min_ps, 1e6);
    }
    loads_release(&loads);
    scenario_release(&scenario);
}
END_TEST

// The scan's fullest block of 512 rows lasts: 256 tokens of two ranks fill it, more fill others.
START_TEST(notify_grows_to_a_full_block)
{
    const double few = kernels_of("nccl-ep-ht", 16, 0, 0).notify_ps;
    const double full = kernels_of("nccl-ep-ht", 256, 0, 0).notify_ps;
    const double more = kernels_of("nccl-ep-ht", 1024, 0, 0).notify_ps;
    ck_assert_double_gt(full, 8 * few);
    ck_assert_double_lt(more, 1.1 * full);
    ck_assert_double_gt(kernels_of("nccl-ep-ht", 8192, 0, 0).notify_ps, 1.7 * full);
}
END_TEST

// A bit per expert slot of a row of the other rank's buffers, of 4,096 each, over the NIC, however
// slowly the GPU computes.
START_TEST(maps_cross_the_wire)
{
    static const char *const clusters[][2] = {
        {"2x1:nic_effective=50GB/s", "2x1:nic_effective=25GB/s"},
        {"2x1:nic_effective=50GB/s,slow=gpu=0:compute=0.5",
         "2x1:nic_effective=25GB/s,slow=gpu=0:compute=0.5"}};
    const double fast = kernels_on(clusters[_i][0], "nccl-ep-ht", 4096, 0, 0).notify_ps;
    const double slow = kernels_on(clusters[_i][1], "nccl-ep-ht", 4096, 0, 0).notify_ps;
    ck_assert_double_eq_tol(slow - fast, 4096 * 256 / 8 / 50e9 * 1e12, 1);
}
END_TEST

// Buffers that wait for more tokens cost a dispatch the same sweep in one node and across two.
START_TEST(room_costs_the_same_across_nodes)
{
    double sweep[2];
    for (int nodes = 1; nodes <= 2; nodes++) {
        const char *cluster =
            nodes == 1 ? "1x2:nvlink_effective=300GB/s" : "2x1:nic_effective=50GB/s";
        const struct kernel_times fits = kernels_on(cluster, "nccl-ep-ht", 128, 0, 0).times;
        const struct kernel_times room = kernels_on(cluster, "nccl-ep-ht", 128, 8192, 0).times;
        sweep[nodes - 1] = room.min_ps + room.tail_ps - fits.min_ps - fits.tail_ps;
    }
    ck_assert_double_gt(sweep[0], 1e6);
    ck_assert_double_eq_tol(sweep[1], sweep[0], 1);
}
END_TEST

// A ring's one peer has all channels, and so the link at its full rate; in an all-to-all eight
// ranks share them, and a peer's bytes take eight times as long where channels bind.
START_TEST(nccl_channels_go_to_the_peers_there_are)
{
    static const char narrow[] = "1x8:nvlink_effective=300GB/s,gpu=h100";
    const uint64_t bytes = UINT64_C(1) << 30;
    const double link_us = (double)bytes / 300e3;
    ck_assert_double_eq_tol(exchange_us(narrow, 8, "ring", bytes) / link_us, 1, 0.01);
    // 32 channels of 18 GB/s: more than the link, and at 2 TB/s of NVLink what binds.
    static const char wide[] = "1x8:nvlink_effective=2TB/s,gpu=h100";
    const double ring = exchange_us(wide, 8, "ring", bytes);
    const double all = exchange_us(wide, 8, "uniform", bytes);
    ck_assert_double_eq_tol(ring / ((double)bytes / (32 * 18.106e3)), 1, 0.02);
    ck_assert_double_eq_tol(all / ring, 8, 0.15);
}
END_TEST

// Across nodes a peer has the channels that its NIC is worth, at 14 GB/s each, fewer where ranks
// are many; before 2.29 two. One channel moves 17 GB/s, so that a ring of ten nodes of eight gets
// no more of NICs of 50 GB/s.
START_TEST(nccl_channels_of_network_peers)
{
    static const char few[] = "2x2:nvlink_effective=300GB/s,nic_effective=50GB/s,gpu=h100";
    static const char many[] = "10x8:nvlink_effective=300GB/s,nic_effective=50GB/s,gpu=h100";
    const uint64_t bytes = UINT64_C(1) << 30;
    const double channel = 16.869e3, us = (double)bytes;
    ck_assert_double_eq_tol(exchange_us(few, 4, "uniform", bytes), 2 * us / 50e3, 500);
    ck_assert_double_eq_tol(run_exchange("nccl-alltoall@nccl-2.26.5", few, 4, "uniform", bytes),
                            2 * us / (2 * channel), 500);
    ck_assert_double_eq_tol(run_exchange("nccl-alltoall", many, 80, "ring", bytes), us / channel,
                            500);
}
END_TEST

// More ranks than channels, 16 on Blackwell: a channel serves two batches of peers one after the
// other, a ring's one peer none; across nodes eight ranks are one batch.
START_TEST(nccl_serves_peers_in_batches)
{
    static const char nodes[] =
        "4x8:nvlink_effective=700GB/s,nic_effective=50GB/s,gpu=b200,architecture=blackwell";
    const double once = exchange_us("gb200-nvl72", 16, "uniform", 64);
    const double twice = exchange_us("gb200-nvl72", 32, "uniform", 64);
    ck_assert_double_eq_tol(twice - once, 14.7 + 1.2, 0.5);
    ck_assert_double_lt(exchange_us("gb200-nvl72", 32, "ring", 64), once + 2);
    ck_assert_double_lt(exchange_us(nodes, 32, "uniform", 64), 60);
}
END_TEST

// Eight GPUs behind one bridge: LL's flags double its bytes; a peer with one channel alone fills
// half of it, until parts are as large as 32 chunks.
START_TEST(nccl_fills_a_bridge_with_two_channels)
{
    const double rate = 18.19e3, at_small = exchange_us("l40s-pcie8", 8, "uniform", 1 << 20);
    const double at_large = exchange_us("l40s-pcie8", 8, "uniform", 1 << 28);
    ck_assert_double_eq_tol(at_small / (56 * 1048576.0 / rate), 2, 0.05);
    ck_assert_double_eq_tol(at_large / (56 * 268435456.0 / rate), 1, 0.05);
    const double four = exchange_us("l40s-pcie8", 4, "uniform", 1 << 20);
    ck_assert_double_eq_tol(four / (12 * 1048576.0 / rate), 1, 0.05);
}
END_TEST

// A variant by network: what EFA adds to DeepEP is said once for all of its clusters.
START_TEST(variants_by_network)
{
    static const char *const clusters[] = {"b200-efa", "h200-efa", "h200-cx7"};
    uint64_t fixed[3];
    for (int c = 0; c < 3; c++) {
        struct scenario_def def = ask(clusters[c], 16, "deepep-v2");
        struct scenario scenario;
        resolve(&scenario, &def, LOADS_EXPECTED);
        fixed[c] = scenario.dispatcher.dispatch.fixed_inter_ps;
        scenario_release(&scenario);
    }
    ck_assert_uint_eq(fixed[0], fixed[1]);
    ck_assert_uint_gt(fixed[0], fixed[2]);
}
END_TEST

// The first rank's times of a dispatch.
static struct kernel_times dispatch_times(const char *cluster, uint32_t ep, const char *dispatcher,
                                          uint32_t tokens)
{
    struct scenario_def def = ask(cluster, ep, dispatcher);
    struct kernel_costs costs;
    struct scenario scenario;
    def.tokens = tokens;
    resolve(&scenario, &def, LOADS_EXPECTED);
    kernel_costs_init(&costs, scenario.schedule, &scenario.schedule->transfers[0]);
    const struct kernel_times times = kernel_times(&costs, 0, 1);
    scenario_release(&scenario);
    return times;
}

// Proxies hand a peer one token after another, so that two nodes are as slow as four, whose lanes
// go side by side, until the NIC has more to do: a rank's tokens for one node, not for all.
START_TEST(lanes_go_side_by_side)
{
    const double one = dispatch_times("h200-efa", 8, "uccl-normal", 4096).min_ps;
    const double two = dispatch_times("h200-efa", 16, "uccl-normal", 4096).min_ps;
    const double four = dispatch_times("h200-efa", 32, "uccl-normal", 4096).min_ps;
    ck_assert_double_eq(one, 0);
    ck_assert_double_gt(two, 1e8);
    ck_assert_double_lt(four, two);
    ck_assert_double_gt(four, 0.85 * two);
}
END_TEST

// Of a batch of messages those to one peer share a doorbell: with more peers each costs more, but
// never more than one by itself, and inside a node there is none.
START_TEST(doorbells_are_shared)
{
    static const uint32_t eps[] = {8, 16, 24, 32, 128};
    struct scenario_def def = ask("h200-efa", 8, "uccl-ll");
    uint64_t last = 0;
    for (size_t e = 0; e < SUITE_COUNT(eps); e++) {
        struct scenario scenario;
        struct kernel_costs costs;
        def.ep = eps[e];
        resolve(&scenario, &def, LOADS_EXPECTED);
        const struct schedule *schedule = scenario.schedule;
        kernel_costs_init(&costs, schedule, schedule_transfer(schedule, PHASE_DISPATCH));
        ck_assert(eps[e] == 8 ? costs.common.per_message_ps == 0
                              : costs.common.per_message_ps > last);
        ck_assert_uint_lt(costs.common.per_message_ps, scenario.dispatcher.dispatch.per_message_ps);
        last = costs.common.per_message_ps;
        scenario_release(&scenario);
    }
}
END_TEST

// mori: one row's way through its warp is the least that a dispatch takes in one node, whatever its
// dtype; across nodes tokens pass through memory on their way to the NICs.
START_TEST(rows_and_stages)
{
    const struct kernel_times one = dispatch_times("mi355x-cx7", 8, "mori-ll", 1);
    const struct kernel_times two = dispatch_times("mi355x-cx7", 16, "mori-ll", 1);
    const struct kernel_times more = dispatch_times("mi355x-cx7", 16, "mori-ll", 1001);
    ck_assert_double_gt(one.min_ps, 3e6); // in FP8
    ck_assert_double_lt(two.min_ps, one.min_ps);
    ck_assert_double_gt(more.head_ps, two.head_ps);
    ck_assert_double_eq_tol(more.head_fixed_ps, two.head_fixed_ps, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("costs");
    TCase *tests = tcase_create("costs");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, sms_of_low_latency_kernels, 0, SUITE_COUNT(grids));
    tcase_add_test(tests, tables_are_sound);
    tcase_add_test(tests, variants_by_gpu);
    tcase_add_test(tests, variants_by_network);
    tcase_add_test(tests, lanes_go_side_by_side);
    tcase_add_test(tests, doorbells_are_shared);
    tcase_add_test(tests, rows_and_stages);
    tcase_add_loop_test(tests, no_cliffs_in_closed_form, 0, SUITE_COUNT(smooth));
    tcase_add_loop_test(tests, no_cliffs_by_events, 0, SUITE_COUNT(smooth));
    tcase_add_loop_test(tests, nccl_never_steps_down, 0, SUITE_COUNT(alltoalls));
    tcase_add_test(tests, packing_goes_through_memory);
    tcase_add_test(tests, one_peer_does_not_fill_the_links);
    tcase_add_test(tests, experts_follow_one_another);
    tcase_add_test(tests, shortest_product);
    tcase_add_test(tests, nccl_channels_go_to_the_peers_there_are);
    tcase_add_test(tests, nccl_channels_of_network_peers);
    tcase_add_test(tests, nccl_serves_peers_in_batches);
    tcase_add_test(tests, nccl_fills_a_bridge_with_two_channels);
    tcase_add_test(tests, rounds_are_whole);
    tcase_add_test(tests, skew_lengthens_the_receiver);
    tcase_add_test(tests, graphs_launch_sooner);
    tcase_add_test(tests, pipelines_take_whole_chunks);
    tcase_add_loop_test(tests, maps_cross_the_wire, 0, 2);
    tcase_add_test(tests, room_costs_the_same_across_nodes);
    tcase_add_test(tests, room_costs_a_sweep);
    tcase_add_test(tests, idle_ranks_sweep_too);
    tcase_add_test(tests, notify_grows_to_a_full_block);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
