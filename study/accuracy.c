#include "study/accuracy.h"

#include "base/mem.h"
#include "model/check.h"
#include "model/estimate.h"
#include "model/question.h"
#include "sim/simulate.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const engine_names[] = {"simulate", "estimate", "naive", NULL};

// The layer's shape as far as the row tells: what a transfer depends on.
static struct moe row_moe(const struct measured_row *row)
{
    struct moe moe = moe_default();
    snprintf(moe.name, sizeof moe.name, "row %.200s", row->id);
    moe.hidden = row->hidden;
    moe.experts = row->experts;
    moe.topk = row->topk;
    moe.intermediate = row->hidden;
    moe.groups = moe.topk_groups = 1;
    moe.dispatch_dtype = moe.combine_dtype = row->dtype;
    if (row->topk_groups) {
        moe.groups = row->nodes;
        moe.topk_groups = row->topk_groups < row->nodes ? row->topk_groups : row->nodes;
    }
    return moe;
}

static struct question row_question(const struct measured_row *row, uint64_t seed)
{
    struct question question = question_default();
    strcpy(question.cluster, row->cluster);
    strcpy(question.dispatcher, row->dispatcher);
    question.routing = measured_rule(row);
    if (row->layout[0])
        strcpy(question.layout, row->layout);
    question.nodes = row->nodes;
    question.gpus_per_node = row->gpus_per_node;
    question.tokens = row->tokens_per_gpu;
    question.sms = row->sms;
    question.seed = seed;
    question.aligned = true;
    if (row->bytes_per_rank)
        snprintf(question.traffic, sizeof question.traffic, "uniform:%lluB",
                 (unsigned long long)(row->bytes_per_rank / (row->nodes * row->gpus_per_node)));
    return question;
}

static void predict(struct setting *setting, const struct measured_row *row, enum engine engine,
                    double *predicted_us)
{
    struct timing timing;
    schedule_keep_only(&setting->schedule, row->phase);
    if (engine == ENGINE_SIMULATE)
        simulate(&setting->schedule, &setting->run, &timing);
    else if (engine == ENGINE_ESTIMATE)
        estimate(&setting->schedule, &setting->run, &timing);
    else
        estimate_naive(&setting->schedule, &setting->run, &timing);
    const struct phase_span span = timing_span(&timing, row->phase);
    const bool slowest = !strcmp(row->stat, "slowest");
    *predicted_us = (slowest ? span.latency_ps : span.latency_mean_ps) / 1e6;
    timing_release(&timing);
}

bool accuracy_predict(const struct measured_row *row, enum engine engine, uint64_t seed,
                      double *predicted_us, struct error *err)
{
    const struct question question = row_question(row, seed);
    const struct moe moe = row_moe(row);
    struct setting setting;
    if (!measured_predictable(row, err) || !setting_resolve(&setting, &question, &moe, err))
        return false;
    setting_load(&setting, engine == ENGINE_SIMULATE ? LOADS_COUNTED : LOADS_EXPECTED);
    const bool ok = schedule_check(&setting.schedule, err);
    if (ok)
        predict(&setting, row, engine, predicted_us);
    setting_release(&setting);
    return ok;
}

static void judge_row(struct accuracy_row *row, enum engine engine, uint64_t seed)
{
    struct error err = {0};
    if (!accuracy_predict(row->measured, engine, seed, &row->predicted_us, &err)) {
        row->skipped = true;
        snprintf(row->why, sizeof row->why, "%.255s", err.text);
        return;
    }
    row->error_pct = 100 * (row->predicted_us / row->measured->latency_us - 1);
}

static bool same_family(const struct measured_row *a, const struct measured_row *b)
{
    return a->nodes == b->nodes && a->phase == b->phase && !strcmp(a->family, b->family) &&
           !strcmp(a->cluster, b->cluster) && !strcmp(a->dispatcher, b->dispatcher);
}

// Median and 90th percentile of n sorted errors: the middle (mean of two when even), and element
// floor(0.9 (n - 1)).
static void summarise(double *sorted, size_t n, double *median, double *p90)
{
    *median = *p90 = NAN;
    if (n == 0)
        return;
    gsl_sort(sorted, 1, n);
    *median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    *p90 = sorted[(size_t)floor(0.9 * (double)(n - 1))];
}

static void judge_family(const struct accuracy *accuracy, struct accuracy_family *family)
{
    double *errors = mem_alloc(accuracy->count, sizeof *errors), sum = 0;
    for (size_t i = 0; i < accuracy->count; i++) {
        const struct accuracy_row *row = &accuracy->rows[i];
        if (row->skipped || !same_family(row->measured, family->first))
            continue;
        errors[family->count++] = fabs(row->error_pct);
        sum += row->error_pct;
        family->worst_abs_pct = fmax(family->worst_abs_pct, fabs(row->error_pct));
    }
    family->bias_pct = sum / (double)family->count;
    summarise(errors, family->count, &family->median_abs_pct, &family->p90_abs_pct);
    free(errors);
}

static void judge_families(struct accuracy *accuracy)
{
    accuracy->families = mem_alloc(accuracy->count, sizeof *accuracy->families);
    for (size_t i = 0; i < accuracy->count; i++) {
        size_t f = 0;
        if (accuracy->rows[i].skipped)
            continue;
        while (f < accuracy->family_count &&
               !same_family(accuracy->rows[i].measured, accuracy->families[f].first))
            f++;
        if (f < accuracy->family_count)
            continue;
        accuracy->families[accuracy->family_count].first = accuracy->rows[i].measured;
        judge_family(accuracy, &accuracy->families[accuracy->family_count++]);
    }
}

void accuracy_judge(struct accuracy *accuracy, const struct measured *measured, enum engine engine,
                    uint64_t seed)
{
    *accuracy = (struct accuracy){.engine = engine,
                                  .rows = mem_alloc(measured->count, sizeof *accuracy->rows),
                                  .count = measured->count};
    struct accuracy_row *rows = accuracy->rows;
    const size_t count = measured->count;
    for (size_t i = 0; i < count; i++)
        rows[i].measured = &measured->rows[i];
#pragma omp parallel for schedule(dynamic, 1) default(none) shared(rows, count, engine, seed)
    for (size_t i = 0; i < count; i++)
        judge_row(&rows[i], engine, seed);
    double *errors = mem_alloc(count, sizeof *errors);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        accuracy->skipped += rows[i].skipped;
        if (!rows[i].skipped)
            errors[n++] = fabs(rows[i].error_pct);
    }
    summarise(errors, n, &accuracy->median_abs_pct, &accuracy->p90_abs_pct);
    free(errors);
    judge_families(accuracy);
}

void accuracy_release(struct accuracy *accuracy)
{
    free(accuracy->rows);
    free(accuracy->families);
    *accuracy = (struct accuracy){0};
}
