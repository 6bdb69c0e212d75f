// The rows of a diagnosis by themselves, against a healthy cluster.
#include "study/diagnose_rows.h"

#include "study/slow_ranks.h"

#include <math.h>
#include <string.h>

const char *const row_verdict_names[] = {"expected", "slower", "faster", "noise", "skipped", NULL};

// Everything of a row but what was measured: repeats, and the slowest rank beside the mean.
static bool same_case(const struct measured_row *a, const struct measured_row *b)
{
    static const struct grouping columns = {
        .keys = {GROUP_FAMILY, GROUP_CLUSTER, GROUP_DISPATCHER, GROUP_NODES, GROUP_PHASE,
                 GROUP_STAGE, GROUP_TOKENS, GROUP_SMS, GROUP_DTYPE, GROUP_OVERLAP},
        .count = 10};
    return a->file == b->file && a->tokens_per_gpu == b->tokens_per_gpu &&
           a->bytes_per_rank == b->bytes_per_rank && a->gpus_per_node == b->gpus_per_node &&
           a->experts == b->experts && a->topk == b->topk && a->topk_groups == b->topk_groups &&
           a->hidden == b->hidden && a->layer == b->layer && a->step == b->step &&
           a->without == b->without && !memcmp(&a->kernel, &b->kernel, sizeof a->kernel) &&
           !strcmp(a->traffic, b->traffic) && !strcmp(a->routing, b->routing) &&
           !strcmp(a->layout, b->layout) && !strcmp(a->model, b->model) &&
           !strcmp(a->disturbed, b->disturbed) && grouping_same(&columns, a, b);
}

// Exchanges of counts before dispatch and before combine have the same columns: they are no
// repeats.
static double repeats_spread(const struct measured *measured, size_t index)
{
    const struct measured_row *row = &measured->rows[index];
    double least = row->latency_us, most = row->latency_us;
    for (size_t i = 0; i < measured->count && row->phase != PHASE_NOTIFY; i++) {
        const double us = measured->rows[i].latency_us;
        if ((us < least || us > most) && same_case(row, &measured->rows[i])) {
            least = fmin(least, us);
            most = fmax(most, us);
        }
    }
    return most / least;
}

static enum row_verdict verdict_of(const struct diagnosis_row *row)
{
    const double measured_us = row->judged->measured->latency_us;
    return row->judged->skipped                  ? ROW_SKIPPED
           : row->spread > DIAGNOSE_NOISE        ? ROW_NOISE
           : measured_us > row->interval_us.high ? ROW_SLOW
           : measured_us < row->interval_us.low  ? ROW_FAST
                                                 : ROW_EXPECTED;
}

static void judge(struct diagnosis_row *row, const struct measured *measured, size_t index)
{
    const struct accuracy_row *judged = row->judged;
    const double us = judged->predicted_us, high_us = judged->interval_us.high;
    row->half = isnan(high_us) ? DIAGNOSE_UNKNOWN : hypot(log(high_us / us), DIAGNOSE_MACHINE);
    row->interval_us = (struct interval){us * exp(-row->half), us * exp(row->half)};
    row->spread = fmax(row_ranks(judged->measured).spread, repeats_spread(measured, index));
    row->verdict = verdict_of(row);
}

void judge_diagnosis_rows(struct diagnosis_row *rows, const struct accuracy *accuracy,
                          const struct measured *measured)
{
    for (size_t i = 0; i < accuracy->count; i++) {
        rows[i].judged = &accuracy->rows[i];
        judge(&rows[i], measured, i);
    }
}

bool row_counts(const struct diagnosis_row *row)
{
    return row->verdict <= ROW_FAST && row->judged->measured->phase != PHASE_KERNEL;
}

double row_distance(const struct diagnosis_row *row, double predicted_us)
{
    return log(row->judged->measured->latency_us / predicted_us);
}

// Few ranks, or ranks that all took the same, tell none apart.
bool row_tells_ranks(const struct diagnosis_row *row)
{
    const struct measured_row *measured = row->judged->measured;
    size_t said = 0;
    for (uint32_t r = 0; measured->rank_us && r < measured->ranks; r++)
        said += isnan(measured->rank_us[r]) ? 0 : 1;
    return row_counts(row) && said >= 3 && 2 * said >= measured->ranks &&
           (row_ranks(measured).slow || row_ranks(measured).spread > DIAGNOSE_APART);
}
