// The closed form on expected loads against its own mean over seeds on counted ones: for
// test_expected and check_expected.
#ifndef TESTS_EXPECTED_JUDGE_H
#define TESTS_EXPECTED_JUDGE_H

#include "base/mem.h"
#include "study/engines.h"
#include "tests/questions.h"

#include <stdlib.h>

// How far a mean latency may be from the mean over seeds, besides what so few seeds leave unsure.
#define EXPECTED_WITHIN 0.05
#define EXPECTED_SEEDS 32
#define EXPECTED_MIN_TOKENS 8 // per rank

enum { SPAN_DISPATCH, SPAN_COMBINE, SPAN_LAYER, EXPECTED_SPANS };
static const char *const expected_span_names[] = {"dispatch", "combine", "layer"};

// Microseconds, means over ranks.
struct span_means {
    double us[EXPECTED_SPANS];
};

// Of one question: from expected loads, the mean over seeds from counted ones, and the standard
// error of that mean.
struct expected_verdict {
    bool asked;
    struct span_means expected, counted, error;
};

static inline bool expected_is_near(const struct expected_verdict *verdict, int span)
{
    const double counted = verdict->counted.us[span];
    return fabs(verdict->expected.us[span] - counted) <=
           EXPECTED_WITHIN * counted + 2 * verdict->error.us[span];
}

// Ranks arrive as this seed has it.
static inline struct span_means expected_run(const struct scenario *scenario,
                                             const struct loads *loads, uint64_t seed)
{
    struct schedule schedule;
    struct timing timing;
    struct run run = scenario->run;
    run.seed = seed;
    parts_schedule(scenario, loads, &schedule);
    engine_estimate.run(&schedule, &run, &timing);
    const struct span_means means = {{timing_span(&timing, PHASE_DISPATCH).latency_mean_ps / 1e6,
                                      timing_span(&timing, PHASE_COMBINE).latency_mean_ps / 1e6,
                                      timing_layer_span(&timing).latency_mean_ps / 1e6}};
    timing_release(&timing);
    schedule_release(&schedule);
    return means;
}

// Sums over seeds, of one scenario among several that ask for the same routing.
struct expected_sums {
    struct span_means expected, counted, squares;
};

static inline void expected_add(struct expected_sums *sums, const struct scenario *scenario,
                                const struct loads *expected, const struct loads *counted,
                                uint64_t seed)
{
    const struct span_means mean = expected_run(scenario, expected, seed);
    const struct span_means one = expected_run(scenario, counted, seed);
    for (int s = 0; s < EXPECTED_SPANS; s++) {
        sums->expected.us[s] += mean.us[s];
        sums->counted.us[s] += one.us[s];
        sums->squares.us[s] += one.us[s] * one.us[s];
    }
}

static inline struct expected_verdict expected_of(const struct expected_sums *sums, uint32_t seeds)
{
    struct expected_verdict verdict = {.asked = true};
    for (int s = 0; s < EXPECTED_SPANS; s++) {
        const double mean = sums->counted.us[s] / seeds;
        const double variance = fmax(0, sums->squares.us[s] / seeds - mean * mean);
        verdict.expected.us[s] = sums->expected.us[s] / seeds;
        verdict.counted.us[s] = mean;
        verdict.error.us[s] = seeds > 1 ? sqrt(variance / (seeds - 1)) : 0;
    }
    return verdict;
}

// Scenarios that differ in the dispatcher alone have the same loads. Fills the verdicts of those
// that are open.
static inline void expected_judge_all(const struct scenario *scenarios, const bool *open,
                                      uint32_t count, uint32_t seeds,
                                      struct expected_verdict *verdicts)
{
    struct expected_sums *sums = mem_alloc(count, sizeof *sums);
    uint32_t first = 0;
    while (first < count && !open[first])
        first++;
    struct loads expected, counted;
    struct routing routing = scenarios[first].routing;
    const struct layout *layout = scenarios[first].layout;
    const uint32_t nodes = scenarios[first].cluster.nodes;
    loads_expect(&expected, &routing, layout, nodes);
    for (uint32_t seed = 1; seed <= seeds; seed++) {
        routing.seed = seed;
        loads_count(&counted, &routing, layout, nodes);
        for (uint32_t i = first; i < count; i++)
            if (open[i])
                expected_add(&sums[i], &scenarios[i], &expected, &counted, seed);
        loads_release(&counted);
    }
    for (uint32_t i = first; i < count; i++)
        if (open[i])
            verdicts[i] = expected_of(&sums[i], seeds);
    loads_release(&expected);
    free(sums);
}

// Experts in scattered order, a redundant one for each rank, as EPLB places them where all have as
// much to do.
static inline void expected_scatter(struct scenario *scenario)
{
    const uint32_t ranks = cluster_ranks(&scenario->cluster), experts = scenario->moe.experts;
    const uint32_t slots = experts + ranks;
    uint32_t *slot_expert = mem_alloc(slots, sizeof *slot_expert);
    struct layout *layout = mem_alloc(1, sizeof *layout);
    struct error err;
    for (uint32_t s = 0; s < slots; s++)
        slot_expert[s] = (uint32_t)((uint64_t)s * 101 % slots) % experts;
    if (!layout_from_slots(layout, slot_expert, slots, experts, ranks, &err))
        exit(1);
    scenario_set_layout(scenario, layout);
    free(slot_expert);
}

// A cell of the grid that both programs walk: every dispatcher on one cluster, with so many tokens
// per rank, one routing and one layout.
struct expected_cell {
    const char *cluster;
    uint32_t nodes, gpus_per_node, tokens;
    enum routing_rule rule;
    bool scattered, aligned;
};

// Few ranks vary much, and are counted fast.
static inline uint32_t expected_seeds(const struct expected_cell *cell)
{
    return EXPECTED_SEEDS * (1 + 32 / (cell->nodes * cell->gpus_per_node));
}

#define EXPECTED_DISPATCHERS (sizeof question_dispatchers / sizeof question_dispatchers[0])

static inline bool expected_open(const struct expected_cell *cell, const char *dispatcher,
                                 struct scenario *scenario)
{
    struct scenario_def def = SCENARIO_DEFAULT;
    struct error err;
    snprintf(def.cluster, sizeof def.cluster, "%s", cell->cluster);
    snprintf(def.dispatcher, sizeof def.dispatcher, "%s", dispatcher);
    def.nodes = cell->nodes;
    def.gpus_per_node = cell->gpus_per_node;
    def.tokens = cell->tokens;
    def.routing = cell->rule;
    def.aligned = cell->aligned;
    if (!scenario_open(scenario, &def, &err))
        return false;
    if (cell->scattered)
        expected_scatter(scenario);
    const bool ok = scenario_prepare(scenario, &engine_estimate, &err);
    if (!ok)
        scenario_release(scenario);
    return ok;
}

static inline void expected_judge_cell(const struct expected_cell *cell, uint32_t seeds,
                                       struct expected_verdict verdicts[EXPECTED_DISPATCHERS])
{
    struct scenario scenarios[EXPECTED_DISPATCHERS];
    bool open[EXPECTED_DISPATCHERS], any = false;
    for (size_t d = 0; d < EXPECTED_DISPATCHERS; d++) {
        verdicts[d] = (struct expected_verdict){0};
        open[d] = expected_open(cell, question_dispatchers[d], &scenarios[d]);
        any = any || open[d];
    }
    if (any)
        expected_judge_all(scenarios, open, EXPECTED_DISPATCHERS, seeds, verdicts);
    for (size_t d = 0; d < EXPECTED_DISPATCHERS; d++)
        if (open[d])
            scenario_release(&scenarios[d]);
}

#endif
