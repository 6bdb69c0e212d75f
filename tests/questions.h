// Random questions as people ask them: a definition of a scenario and what its dispatcher is
// changed in, for programs that hold engines to properties whatever was asked.
#ifndef TESTS_QUESTIONS_H
#define TESTS_QUESTIONS_H

#include "base/rng.h"
#include "scenario/scenario.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct question {
    struct scenario_def def;
    bool no_barrier; // ranks of a dispatcher with a barrier go on without
    double hot;      // experts are drawn as id = experts * u^hot; 0: by the definition's rule
    bool shared, spine, straggler;
};

#define QUESTION_PICK(rng, array) ((array)[rng_below(rng, sizeof(array) / sizeof((array)[0]))])

static inline void question_cluster(struct question *q, struct rng *rng)
{
    static const uint32_t shapes[][2] = {{1, 2}, {1, 4}, {1, 8}, {2, 1}, {2, 2}, {2, 4}, {2, 8},
                                         {3, 4}, {4, 2}, {4, 4}, {1, 8}, {2, 8}, {4, 8}};
    static const double nvlinks[] = {60, 138, 160, 313, 700}, nics[] = {12, 25, 46, 48, 90};
    const uint32_t *shape = shapes[rng_below(rng, sizeof shapes / sizeof shapes[0])];
    const uint32_t gpus = shape[1];
    char *text = q->def.cluster;
    const size_t size = sizeof q->def.cluster;
    size_t at = (size_t)snprintf(text, size, "%ux%u:nvlink=%gGB/s,nic=%gGB/s", shape[0], gpus,
                                 QUESTION_PICK(rng, nvlinks), QUESTION_PICK(rng, nics));
    const bool shares = rng_below(rng, 3) == 0, one = rng_below(rng, 2);
    const bool rails = rng_below(rng, 2), spine = rng_below(rng, 5) == 0;
    const double over = 1.5 + 2.5 * rng_unit(rng);
    const bool no_nvlink = rng_below(rng, 12) == 0;
    q->shared = shape[0] > 1 && shares && gpus > 1;
    if (q->shared)
        at += (size_t)snprintf(text + at, size - at, ",nics_per_node=%u",
                               one || gpus % 2 ? 1 : gpus / 2);
    if (rails && shape[0] > 1)
        at += (size_t)snprintf(text + at, size - at, ",rails=yes");
    q->spine = spine && shape[0] > 1;
    if (q->spine)
        at += (size_t)snprintf(text + at, size - at, ",spine_oversubscription=%.2f", over);
    if (no_nvlink)
        snprintf(text + at, size - at, ",inside=nic");
    q->def.nodes = shape[0];
    q->def.gpus_per_node = gpus;
}

// One or two parts that are slow, or late.
static inline void question_slow(struct question *q, struct rng *rng)
{
    static const char *const keys[] = {"nic", "nvlink", "compute", "late"};
    const bool nics = q->def.nodes > 1 || strstr(q->def.cluster, "inside=nic");
    const bool nvlink = q->def.gpus_per_node > 1 && !strstr(q->def.cluster, "inside=nic");
    const uint32_t key = rng_below(rng, 4),
                   rank = rng_below(rng, q->def.nodes * q->def.gpus_per_node);
    const double share = 0.2 + 0.75 * rng_unit(rng), late = exp(log(2000) * rng_unit(rng));
    const bool usable = (key != 0 || nics) && (key != 1 || nvlink);
    const uint32_t kind = usable ? key : 3;
    q->straggler = true;
    if (kind == 3)
        snprintf(q->def.slow, sizeof q->def.slow, "gpu=%u:late=%.0fus", rank, late);
    else
        snprintf(q->def.slow, sizeof q->def.slow, "gpu=%u:%s=%.3f", rank, keys[kind], share);
}

static inline void question_hot_row(const void *context, uint32_t rank, uint32_t token,
                                    uint16_t *ids)
{
    const struct scenario *scenario = context;
    const uint32_t experts = scenario->routing.experts, topk = scenario->routing.topk;
    struct rng rng = rng_stream(scenario->routing.seed, rank, token, 77);
    for (uint32_t k = 0; k < topk; k++)
        for (bool again = true; again;) {
            ids[k] = (uint16_t)(experts * pow(rng_unit(&rng), 1.6));
            again = false;
            for (uint32_t i = 0; i < k; i++)
                again = again || ids[i] == ids[k];
        }
}

static const char *const question_dispatchers[] = {
    "deepep-normal",   "deepep-normal",   "deepep-ll",         "deepep-ll",   "deepep-ll-rdma",
    "deepep-v2",       "uccl-normal",     "uccl-ll",           "pplx-garden", "mori-ll",
    "trtllm-onesided", "trtllm-twosided", "ll-slots",          "nccl-flat",   "nccl-two-stage",
    "nccl-agrs",       "nccl-calls-ll",   "nccl-calls-normal", "nccl-ep-ll",  "nccl-ep-ht"};

static inline struct question question_random(uint64_t seed, uint64_t number)
{
    static const char *const models[] = {"deepseek-v3",     "deepseek-v3", "qwen3-30b-a3b",
                                         "qwen3-235b-a22b", "olmoe",       "deepseek-v2-lite",
                                         "gpt-oss-120b"};
    static const double skews[] = {0, 0, 0, 20, 300};
    struct rng rng = rng_stream(seed, number, 0, 83);
    struct question q = {.def = SCENARIO_DEFAULT};
    q.def.seed = number + 1;
    question_cluster(&q, &rng);
    snprintf(q.def.model, sizeof q.def.model, "%s", QUESTION_PICK(&rng, models));
    snprintf(q.def.dispatcher, sizeof q.def.dispatcher, "%s",
             QUESTION_PICK(&rng, question_dispatchers));
    const uint32_t rule = rng_below(&rng, 6);
    q.def.routing = rule == 0 ? ROUTING_BALANCED : rule == 1 ? ROUTING_V3 : ROUTING_UNIFORM;
    if (rule == 5)
        q.hot = 1.6;
    q.def.tokens = rng_below(&rng, 8) ? (uint32_t)exp(log(4096) * rng_unit(&rng)) : 1;
    q.def.skew_us = QUESTION_PICK(&rng, skews);
    q.no_barrier = rng_below(&rng, 3) == 0;
    q.def.aligned = rng_below(&rng, 4) == 0;
    if (rng_below(&rng, 4) == 0)
        snprintf(q.def.layout, sizeof q.def.layout, "round-robin");
    if (rng_below(&rng, 3) == 0)
        question_slow(&q, &rng);
    return q;
}

static inline bool question_open(const struct question *q, struct scenario *scenario,
                                 struct error *err)
{
    if (!scenario_open(scenario, &q->def, err))
        return false;
    if (q->no_barrier && scenario->dispatcher.sync != SYNC_NONE) {
        scenario->dispatcher.sync = SYNC_NONE;
        scenario_touch(scenario);
    }
    if (q->hot > 0) {
        scenario->routing.rule = ROUTING_TRACE;
        scenario->routing.row = question_hot_row;
        scenario->routing.context = scenario;
        scenario->def.routing = ROUTING_TRACE;
    }
    return true;
}

static inline const char *question_text(const struct question *q)
{
    static char text[2200];
    snprintf(text, sizeof text,
             "--model %s --cluster %s --ep %u --dispatcher %s --tokens %u --routing %s --seed %llu "
             "--layout %s%s%s%s --skew-us %g%s",
             q->def.model, q->def.cluster, q->def.nodes * q->def.gpus_per_node, q->def.dispatcher,
             q->def.tokens, q->hot > 0 ? "hot" : routing_rule_names[q->def.routing],
             (unsigned long long)q->def.seed, q->def.layout, q->def.slow[0] ? " --slow " : "",
             q->def.slow, q->def.aligned ? " --aligned" : "", q->def.skew_us,
             q->no_barrier ? " (no barrier)" : "");
    return text;
}

#endif
