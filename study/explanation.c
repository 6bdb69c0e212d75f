#include "study/explanation.h"

#include "base/mem.h"
#include "study/row.h"

#include <math.h>
#include <stdlib.h>

void explanation_init(struct explanation *explanation, size_t rows)
{
    explanation->predicted_us = mem_alloc(rows, sizeof *explanation->predicted_us);
    explanation->ranks_off = mem_alloc(rows, sizeof *explanation->ranks_off);
}

void explanation_release(struct explanation *explanation)
{
    for (size_t c = 0; c < explanation->count; c++)
        free(explanation->texts[c]);
    free(explanation->changes);
    free(explanation->predicted_us);
    free(explanation->ranks_off);
}

// The scenario with all causes of the explanation that it can have; false: it can have none.
static bool changed_scenario(struct scenario *changed, const struct scenario *healthy,
                             const struct explanation *explanation)
{
    bool any = false;
    scenario_clone(changed, healthy);
    for (size_t c = 0; c < explanation->count; c++) {
        struct scenario tried;
        scenario_clone(&tried, changed);
        const bool had = cause_apply(explanation->causes[c], &tried, explanation->rank);
        scenario_release(had ? changed : &tried);
        if (had)
            *changed = tried;
        any = any || had;
    }
    if (!any)
        scenario_release(changed);
    return any;
}

// The mean distance of what its ranks measured; NaN where they tell nothing.
static double ranks_distance(const struct diagnosis_row *row, const double *predicted_us)
{
    const struct measured_row *measured = row->judged->measured;
    double sum = 0;
    uint32_t said = 0;
    for (uint32_t r = 0; row_tells_ranks(row) && r < measured->ranks; r++) {
        if (isnan(measured->rank_us[r]) || isnan(predicted_us[r]))
            continue;
        sum += fabs(log(measured->rank_us[r] / predicted_us[r]));
        said++;
    }
    return said ? sum / said : NAN;
}

static void predict_with(struct explanation *explanation, size_t index,
                         const struct diagnosis_row *row, struct scenario *scenario,
                         const struct engine *engine)
{
    double *rank_us = mem_alloc(cluster_ranks(&scenario->cluster), sizeof *rank_us);
    explanation->predicted_us[index] =
        row_predict_ranks(scenario, row->judged->measured, engine, rank_us).us;
    if (row->judged->measured->ranks == cluster_ranks(&scenario->cluster))
        explanation->ranks_off[index] = ranks_distance(row, rank_us);
    free(rank_us);
}

void explanation_try(struct explanation *explanation, size_t index, const struct diagnosis_row *row,
                     struct scenario *healthy, const struct engine *engine)
{
    struct scenario changed;
    const bool changes = healthy && changed_scenario(&changed, healthy, explanation);
    explanation->predicted_us[index] = row->judged->predicted_us;
    explanation->ranks_off[index] = NAN;
    if (healthy)
        predict_with(explanation, index, row, changes ? &changed : healthy, engine);
    if (changes)
        scenario_release(&changed);
}

bool explanation_describe(struct explanation *explanation, const struct scenario *healthy)
{
    struct scenario changed;
    if (!changed_scenario(&changed, healthy, explanation))
        return false;
    for (size_t c = 0; c < explanation->count; c++)
        explanation->texts[c] = cause_text(explanation->causes[c], healthy, explanation->rank);
    explanation->changes = cause_changes(healthy, &changed);
    scenario_release(&changed);
    return true;
}
