// A scene: one whole scenario built from plain parameters, and random parameters to build it from,
// for suites that hold engines and loads to properties.
#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include "base/mem.h"
#include "base/rng.h"
#include "base/units.h"
#include "model/engine/port_loads.h"
#include "scenario/scenario.h"
#include "study/engines.h"
#include "tests/sanitized.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SCENE_CASES(n) (SANITIZED ? (n) / 10 : (n))

#define SCENE_RANKS 64

struct spec {
    const char *dispatcher;
    uint32_t nodes, gpus_per_node;
    uint32_t nics_per_node; // 0: one a GPU
    bool no_nvlink;         // GPUs of a node meet over their NICs
    bool rails;
    double oversubscription;
    double bridge_Bps; // 0: none
    uint32_t bridge_gpus;
    enum routing_rule rule;
    double hot; // rule trace: experts are drawn as id = experts * u^hot; 1: evenly
    uint32_t tokens;
    bool uneven; // ranks have 0 to `tokens` tokens each, one rank all of them
    uint32_t hidden, experts, topk;
    uint32_t groups, topk_groups;
    uint32_t sms;
    double skew_us;
    bool aligned;
    double nic_Bps, nvlink_Bps, hbm_Bps, flops, sm_scale; // flops: both types
    uint64_t seed;
    bool expected;
};

struct scene {
    struct spec spec;
    struct scenario scenario;
};

// Rows of a trace whose low expert ids are hot: a power law, as recorded routing shows.
static inline void scene_hot_row(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    const struct spec *spec = context;
    struct rng rng = rng_stream(spec->seed, rank, token, 77);
    for (uint32_t k = 0; k < spec->topk; k++) {
        bool again = true;
        while (again) {
            ids[k] = (uint16_t)(spec->experts * pow(rng_unit(&rng), spec->hot));
            again = false;
            for (uint32_t i = 0; i < k; i++)
                again = again || ids[i] == ids[k];
        }
    }
}

static inline void scene_tokens(struct scene *scene)
{
    const struct spec *spec = &scene->spec;
    const uint32_t ranks = spec->nodes * spec->gpus_per_node;
    scene->scenario.tokens = mem_alloc(ranks, sizeof(uint32_t));
    for (uint32_t r = 0; r < ranks; r++) {
        struct rng rng = rng_stream(spec->seed, r, 0, 78);
        scene->scenario.tokens[r] =
            spec->uneven && r ? (uint32_t)(spec->tokens * rng_unit(&rng)) : spec->tokens;
    }
}

static inline void scene_cluster(struct scene *scene)
{
    const struct spec *spec = &scene->spec;
    struct cluster *cluster = &scene->scenario.cluster;
    *cluster = cluster_default();
    cluster->nodes = spec->nodes;
    cluster->gpus_per_node = spec->gpus_per_node;
    cluster->nics_per_node = spec->nics_per_node;
    cluster->rails = spec->rails;
    cluster->inside = spec->no_nvlink ? INSIDE_NIC : INSIDE_NVLINK;
    cluster->spine_oversubscription = spec->oversubscription;
    cluster->bridge_Bps = cluster->bridge_nominal_Bps = spec->bridge_Bps;
    cluster->bridge_gpus = spec->bridge_gpus;
    cluster->nic_Bps = cluster->nic_nominal_Bps = spec->nic_Bps;
    cluster->nvlink_Bps = cluster->nvlink_nominal_Bps = spec->nvlink_Bps;
    cluster->hbm_Bps = spec->hbm_Bps;
    cluster->fp8_flops = cluster->bf16_flops = spec->flops;
}

// A rate, share or number of the dispatcher; NULL: its cost model has no such key.
static inline double *scene_constant(struct dispatcher *dispatcher, const char *key)
{
    const struct cost_model *model = dispatcher->cost_model;
    const struct field *field = field_find(model->fields, model->field_count, key);
    return field ? (double *)(void *)((char *)dispatcher + field->offset) : NULL;
}

static inline void scene_scale(struct dispatcher *dispatcher, const char *key, double factor)
{
    double *constant = scene_constant(dispatcher, key);
    if (constant)
        *constant *= factor;
}

static inline void scene_dispatcher(struct scene *scene)
{
    struct dispatcher *dispatcher = &scene->scenario.dispatcher;
    struct error err;
    ck_assert_msg(
        dispatcher_load(scene->spec.dispatcher, &scene->scenario.cluster, dispatcher, NULL, &err),
        "%s", err.text);
    if (scene->spec.sms)
        dispatcher->sms = scene->spec.sms;
    scene_scale(dispatcher, "dispatch_sm_rate", scene->spec.sm_scale);
    scene_scale(dispatcher, "combine_sm_rate", scene->spec.sm_scale);
}

static inline void scene_port_loads(const struct schedule *schedule,
                                    const struct transfer *transfer, struct port_loads *loads)
{
    struct kernel_costs costs;
    kernel_costs_init(&costs, schedule, transfer);
    port_loads_init(loads, &costs);
}

static inline double scene_bound_ps(const struct schedule *schedule,
                                    const struct transfer *transfer, char *busiest)
{
    struct port_loads loads;
    scene_port_loads(schedule, transfer, &loads);
    const double bound = port_loads_bound_ps(&loads, &schedule->fabric, busiest);
    port_loads_release(&loads);
    return bound;
}

static inline struct routing scene_routing(const struct spec *spec)
{
    const bool deepep = spec->rule == ROUTING_DEEPEP;
    const uint32_t limit = spec->topk_groups < spec->nodes ? spec->topk_groups : spec->nodes;
    return (struct routing){.rule = spec->rule,
                            .experts = spec->experts,
                            .topk = spec->topk,
                            .groups = deepep ? spec->nodes : spec->groups,
                            .topk_groups = deepep ? limit : spec->topk_groups,
                            .ranks = spec->nodes * spec->gpus_per_node,
                            .seed = spec->seed,
                            .row = scene_hot_row,
                            .context = spec};
}

// A raw exchange of a traffic matrix on the scenario's cluster.
static inline void scene_exchange(struct scenario *scenario, const uint64_t *bytes)
{
    const size_t ranks = cluster_ranks(&scenario->cluster);
    struct error err;
    ck_assert(dispatcher_load("raw", &scenario->cluster, &scenario->dispatcher, NULL, &err));
    scenario->traffic = mem_copy(bytes, ranks * ranks * sizeof *bytes);
    scenario_load(scenario, LOADS_COUNTED);
}

static inline void scene_layout(struct scene *scene)
{
    struct layout *layout = mem_alloc(1, sizeof *layout);
    struct error err;
    ck_assert(layout_contiguous(layout, scene->spec.experts, scene->scenario.routing.ranks, &err));
    scenario_set_layout(&scene->scenario, layout);
}

// After a change of the scenario's cluster or dispatcher.
static inline void scene_reschedule(struct scenario *scenario)
{
    struct error err;
    scenario_touch(scenario);
    ck_assert(scenario_prepare(
        scenario, scenario->loads->expected ? &engine_estimate : &engine_simulate, &err));
}

// The scene borrows from itself: it stays where it is built. Released by
// scenario_release(&->scenario).
static inline void scene_build(struct scene *scene, const struct spec *spec)
{
    struct moe moe = moe_default();
    struct error err;
    *scene = (struct scene){.spec = *spec};
    moe.hidden = spec->hidden;
    moe.experts = spec->experts;
    moe.topk = spec->topk;
    moe.intermediate = moe.shared_intermediate = 2048;
    moe.shared_experts = 1;
    moe.dispatch_dtype = DTYPE_FP8;
    moe_set_weights(&moe, DTYPE_FP8);
    moe.combine_dtype = DTYPE_BF16;
    moe.groups = spec->groups;
    moe.topk_groups = spec->topk_groups;
    scene->scenario.moe = moe;
    scene->scenario.run = (struct run){
        .seed = spec->seed, .skew_ps = units_ps_from_us(spec->skew_us), .aligned = spec->aligned};
    scene_tokens(scene);
    scene_cluster(scene);
    scene_dispatcher(scene);
    scene->scenario.routing = scene_routing(&scene->spec);
    scene->scenario.routing.tokens = scene->scenario.tokens;
    ck_assert_msg(cluster_check(&scene->scenario.cluster, &err), "%s", err.text);
    ck_assert_msg(routing_check(&scene->scenario.routing, &err), "%s", err.text);
    scene_layout(scene);
    scenario_load(&scene->scenario, spec->expected ? LOADS_EXPECTED : LOADS_COUNTED);
}

#define SCENE_PICK(rng, ...)                                                                       \
    ((const uint32_t[]){                                                                           \
        __VA_ARGS__})[rng_below(rng, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))]

static const char *const scene_dispatchers[] = {"deepep-normal", "deepep-ll",      "deepep-ll-rdma",
                                                "nccl-flat",     "nccl-two-stage", "nccl-agrs"};
#define SCENE_DISPATCHERS (sizeof scene_dispatchers / sizeof scene_dispatchers[0])

static inline void scene_random_shape(struct spec *spec, struct rng *rng)
{
    // 1, 2 and 3 ranks in one node, whole nodes of 4 and 8, and odd small ones.
    static const uint32_t shapes[][2] = {{1, 1}, {1, 2}, {1, 3}, {1, 8}, {2, 2}, {2, 8},
                                         {3, 4}, {4, 4}, {4, 8}, {8, 4}, {8, 8}, {2, 1}};
    const uint32_t *shape = shapes[rng_below(rng, sizeof shapes / sizeof shapes[0])];
    spec->nodes = shape[0];
    spec->gpus_per_node = shape[1];
    if (shape[1] % 2 == 0 && rng_below(rng, 4) == 0)
        spec->nics_per_node = shape[1] / 2;
    spec->rails = rng_below(rng, 3) > 0;
    spec->oversubscription = rng_below(rng, 4) ? 1 : 1 + 3 * rng_unit(rng);
}

static inline struct spec scene_random(uint64_t seed, uint64_t number, uint32_t max_tokens_of)
{
    struct rng rng = rng_stream(seed, number, 0, 79);
    struct spec spec = {.seed = number + 1};
    const double log_max = log(max_tokens_of);
    scene_random_shape(&spec, &rng);
    const uint32_t ranks = spec.nodes * spec.gpus_per_node;
    spec.dispatcher = scene_dispatchers[rng_below(&rng, SCENE_DISPATCHERS)];
    spec.experts = ranks % 3 ? SCENE_PICK(&rng, 64, 128, 256) : SCENE_PICK(&rng, 96, 192);
    spec.topk = SCENE_PICK(&rng, 1, 2, 4, 8);
    spec.groups = 8;
    spec.topk_groups = SCENE_PICK(&rng, 2, 4, 8);
    spec.rule = SCENE_PICK(&rng, ROUTING_UNIFORM, ROUTING_DEEPEP, ROUTING_V3, ROUTING_BALANCED,
                           ROUTING_TRACE, ROUTING_TRACE);
    spec.hot = 1 + 2 * rng_unit(&rng);
    spec.tokens = (uint32_t)exp(log_max * rng_unit(&rng));
    spec.uneven = rng_below(&rng, 4) == 0;
    spec.hidden = SCENE_PICK(&rng, 1024, 2048, 4096, 7168);
    spec.sms = SCENE_PICK(&rng, 0, 0, 4, 8, 20, 24);
    spec.skew_us = SCENE_PICK(&rng, 0, 0, 10, 200);
    spec.aligned = rng_below(&rng, 2);
    spec.nic_Bps = 1e9 * SCENE_PICK(&rng, 12, 25, 46, 90);
    spec.nvlink_Bps = 1e9 * SCENE_PICK(&rng, 60, 138, 320, 700);
    spec.hbm_Bps = 2.668e12;
    spec.flops = 989e12;
    spec.sm_scale = 1;
    const struct routing routing = scene_routing(&spec);
    struct error err;
    if (!routing_check(&routing, &err))
        spec.rule = ROUTING_UNIFORM; // a shape that the rule cannot serve
    return spec;
}

static inline const char *scene_name(const struct spec *spec)
{
    static char name[400];
    snprintf(name, sizeof name,
             "%s %ux%u nics %u rails %d over %.3g rule %s hot %.2f tokens %u%s hidden %u E %u k %u "
             "groups %u/%u sms %u skew %g aligned %d nic %g nvl %g seed %llu%s",
             spec->dispatcher, spec->nodes, spec->gpus_per_node, spec->nics_per_node, spec->rails,
             spec->oversubscription, routing_rule_names[spec->rule], spec->hot, spec->tokens,
             spec->uneven ? " uneven" : "", spec->hidden, spec->experts, spec->topk,
             spec->topk_groups, spec->groups, spec->sms, spec->skew_us, spec->aligned,
             spec->nic_Bps / 1e9, spec->nvlink_Bps / 1e9, (unsigned long long)spec->seed,
             spec->expected ? " expected" : "");
    return name;
}

// Microseconds of the whole layer (PHASE_COUNT), or of one phase alone with ranks arriving as ever.
static inline double scene_us(const struct scene *scene, const struct engine *engine,
                              enum phase phase)
{
    struct schedule schedule = *scene->scenario.schedule;
    struct timing timing;
    double ps;
    if (phase != PHASE_COUNT)
        schedule_keep_only(&schedule, phase);
    engine->run(&schedule, &scene->scenario.run, &timing);
    ps = phase == PHASE_COUNT ? timing_layer_ps(&timing) : timing_span(&timing, phase).latency_ps;
    timing_release(&timing);
    return ps / 1e6;
}

#endif
