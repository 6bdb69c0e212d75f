#include "study/layout_judge.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

static double span_us(const struct timing *timing, enum phase phase)
{
    return timing_span(timing, phase).latency_ps / 1e6;
}

static void add_timing(struct layout_figures *figures, const struct timing *timing, double weight)
{
    figures->layer_us += weight * timing_layer_ps(timing) / 1e6;
    figures->dispatch_us += weight * span_us(timing, PHASE_DISPATCH);
    figures->experts_us += weight * span_us(timing, PHASE_EXPERTS);
    figures->combine_us += weight * span_us(timing, PHASE_COMBINE);
    figures->ranks_per_token += weight * timing->ranks_per_token;
    figures->nodes_per_token += weight * timing->nodes_per_token;
}

static double max_mean(const double *choices, uint32_t count)
{
    double max = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        max = fmax(max, choices[i]);
        sum += choices[i];
    }
    return max * count / sum;
}

static void set_shares(struct layout_figures *figures, const struct layout *layout, uint32_t nodes,
                       const double *slot_tokens)
{
    double *ranks = mem_alloc(layout->ranks, sizeof *ranks);
    double *node = mem_alloc(nodes, sizeof *node);
    for (uint32_t s = 0; s < layout->slots; s++) {
        ranks[layout->slot_rank[s]] += slot_tokens[s];
        node[layout->slot_rank[s] / (layout->ranks / nodes)] += slot_tokens[s];
    }
    figures->rank_max_mean = max_mean(ranks, layout->ranks);
    figures->node_max_mean = max_mean(node, nodes);
    for (uint32_t e = 0; e < layout->experts; e++)
        figures->replicas = fmax(figures->replicas, layout_replicas(layout, e));
    free(ranks);
    free(node);
}

bool layout_try(struct scenario *tried, const struct layout_case *judged, struct error *err)
{
    struct layout *layout = mem_alloc(1, sizeof *layout);
    layout_copy(layout, judged->layout);
    scenario_clone(tried, judged->scenario);
    if (judged->part)
        scenario_use_part(tried, judged->part);
    scenario_set_layout(tried, layout);
    if (scenario_seek(tried, judged->layer_index, 0, err))
        return true;
    scenario_release(tried);
    return false;
}

static bool run_step(struct scenario *tried, const struct layout_case *judged, uint64_t step,
                     struct timing *timing, struct error *err)
{
    return (step == tried->def.step || scenario_seek(tried, judged->layer_index, step, err)) &&
           scenario_run(tried, judged->engine, timing, err);
}

bool layout_judge(const struct layout_case *judged, struct layout_figures *figures,
                  struct error *err)
{
    struct scenario tried;
    bool ok = true;
    *figures = (struct layout_figures){0};
    if (!layout_try(&tried, judged, err))
        return false;
    const struct layout *served = parts_served_layout(&tried);
    const uint32_t slots = served->slots;
    double *slot_tokens = mem_alloc(slots, sizeof *slot_tokens);
    for (uint64_t step = 0; ok && step < tried.steps; step++) {
        struct timing timing;
        ok = run_step(&tried, judged, step, &timing, err);
        if (!ok)
            break;
        add_timing(figures, &timing, 1.0 / (double)tried.steps);
        for (uint32_t slot = 0; slot < slots; slot++)
            slot_tokens[slot] += tried.loads->slot_tokens[slot];
        timing_release(&timing);
    }
    if (ok)
        set_shares(figures, served, tried.cluster.nodes, slot_tokens);
    free(slot_tokens);
    scenario_release(&tried);
    return ok;
}
