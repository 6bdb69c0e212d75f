#include "study/accuracy.h"

#include "base/mem.h"
#include "study/errors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void judge_row(struct accuracy_row *row, enum engine engine, const struct row_terms *terms)
{
    struct error err = {0};
    struct setting setting;
    if (!row_resolve(&setting, row->measured, engine, terms, &err)) {
        row->skipped = true;
        snprintf(row->why, sizeof row->why, "%.255s", err.text);
        return;
    }
    row->predicted_us = row_predict(&setting, row->measured, engine);
    setting_release(&setting);
    row->error_pct = 100 * (row->predicted_us / row->measured->latency_us - 1);
}

static bool same_family(const struct measured_row *a, const struct measured_row *b)
{
    return a->nodes == b->nodes && a->phase == b->phase && !strcmp(a->family, b->family) &&
           !strcmp(a->cluster, b->cluster) && !strcmp(a->dispatcher, b->dispatcher);
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
    errors_summarise(errors, family->count, &family->median_abs_pct, &family->p90_abs_pct);
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
                    const struct row_terms *terms)
{
    *accuracy = (struct accuracy){.engine = engine,
                                  .rows = mem_alloc(measured->count, sizeof *accuracy->rows),
                                  .count = measured->count};
    struct accuracy_row *rows = accuracy->rows;
    const size_t count = measured->count;
    for (size_t i = 0; i < count; i++)
        rows[i].measured = &measured->rows[i];
#pragma omp parallel for schedule(dynamic, 1) default(none) shared(rows, count, engine, terms)
    for (size_t i = 0; i < count; i++)
        judge_row(&rows[i], engine, terms);
    double *errors = mem_alloc(count, sizeof *errors);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        accuracy->skipped += rows[i].skipped;
        if (!rows[i].skipped)
            errors[n++] = fabs(rows[i].error_pct);
    }
    errors_summarise(errors, n, &accuracy->median_abs_pct, &accuracy->p90_abs_pct);
    free(errors);
    judge_families(accuracy);
}

void accuracy_release(struct accuracy *accuracy)
{
    free(accuracy->rows);
    free(accuracy->families);
    *accuracy = (struct accuracy){0};
}
