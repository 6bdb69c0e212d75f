#include "study/diagnose.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const row_verdict_names[] = {"expected", "slower", "faster", "noise", "skipped", NULL};
const char *const diagnosis_verdict_names[] = {"healthy", "noise", "explained", "unexplained",
                                               NULL};

// ---- rows by themselves ------------------------------------------------------------------------

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

static double repeats_spread(const struct measured *measured, size_t index)
{
    const struct measured_row *row = &measured->rows[index];
    double least = row->latency_us, most = row->latency_us;
    for (size_t i = 0; i < measured->count; i++) {
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
    row->spread = repeats_spread(measured, index);
    row->rank = CAUSE_NO_RANK;
    row->verdict = verdict_of(row);
}

static void judge_rows(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    accuracy_judge(&diagnosis->accuracy, def->measured, def->engine, def->overrides,
                   &def->intervals);
    diagnosis->count = diagnosis->accuracy.count;
    diagnosis->rows = mem_alloc(diagnosis->count, sizeof *diagnosis->rows);
    for (size_t i = 0; i < diagnosis->count; i++) {
        diagnosis->rows[i].judged = &diagnosis->accuracy.rows[i];
        judge(&diagnosis->rows[i], def->measured, i);
        diagnosis->of[diagnosis->rows[i].verdict]++;
    }
}

// ---- causes on rows ----------------------------------------------------------------------------

static bool counts(const struct diagnosis_row *row)
{
    return row->verdict <= ROW_FAST && row->judged->measured->phase != PHASE_KERNEL;
}

// The scenario with all causes of the explanation that it can have; false: it can have none.
static bool changed_scenario(struct scenario *changed, const struct scenario *healthy,
                             const struct explanation *explanation, uint32_t rank)
{
    bool any = false;
    scenario_clone(changed, healthy);
    for (size_t c = 0; c < explanation->count; c++) {
        struct scenario tried;
        scenario_clone(&tried, changed);
        const bool had = cause_apply(explanation->causes[c], &tried, rank);
        scenario_release(had ? changed : &tried);
        if (had)
            *changed = tried;
        any = any || had;
    }
    if (!any)
        scenario_release(changed);
    return any;
}

static double predict_us(const struct scenario *healthy, const struct diagnosis_row *row,
                         const struct explanation *explanation, const struct engine *engine)
{
    struct scenario changed;
    if (!changed_scenario(&changed, healthy, explanation, row->rank))
        return row->judged->predicted_us;
    const double us = row_predict(&changed, row->judged->measured, engine).us;
    scenario_release(&changed);
    return us;
}

static void predict_row(struct diagnosis *diagnosis, size_t index, size_t first,
                        const struct diagnose_def *def)
{
    const struct diagnosis_row *row = &diagnosis->rows[index];
    struct scenario healthy;
    struct error none;
    const bool open = counts(row) &&
                      row_open(&healthy, row->judged->measured, def->engine, def->overrides, &none);
    for (size_t e = first; e < diagnosis->explanation_count; e++) {
        struct explanation *explanation = &diagnosis->explanations[e];
        explanation->predicted_us[index] =
            open ? predict_us(&healthy, row, explanation, def->engine) : row->judged->predicted_us;
    }
    if (open)
        scenario_release(&healthy);
}

// What the explanations from `first` on make of every row.
static void try_on_rows(struct diagnosis *diagnosis, size_t first, const struct diagnose_def *def)
{
    const size_t count = diagnosis->count;
    size_t done = 0;
    for (size_t e = first; e < diagnosis->explanation_count; e++)
        diagnosis->explanations[e].predicted_us =
            mem_alloc(count, sizeof *diagnosis->explanations[e].predicted_us);
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(diagnosis, first, def, count, done)
    for (size_t i = 0; i < count; i++) {
        predict_row(diagnosis, i, first, def);
#pragma omp critical(epsim_diagnose)
        if (def->show)
            def->show(def->context, ++done, count);
    }
}

// ---- explanations ------------------------------------------------------------------------------

static struct explanation *add_explanation(struct diagnosis *diagnosis)
{
    diagnosis->explanations = mem_room(diagnosis->explanations, diagnosis->explanation_count,
                                       sizeof *diagnosis->explanations);
    struct explanation *explanation = &diagnosis->explanations[diagnosis->explanation_count++];
    *explanation = (struct explanation){.count = 0};
    return explanation;
}

static void release_explanation(struct explanation *explanation)
{
    for (size_t c = 0; c < explanation->count; c++)
        free(explanation->texts[c]);
    free(explanation->changes);
    free(explanation->predicted_us);
}

// Distance from what was measured; positive: it says less.
static double distance(const struct diagnosis_row *row, double predicted_us)
{
    return log(row->judged->measured->latency_us / predicted_us);
}

static double half_of(const struct diagnosis_row *row, const struct explanation *explanation)
{
    return hypot(row->half, DIAGNOSE_SIZE * sqrt((double)explanation->count));
}

// Of rows that are slow, or of the others, those that lie within their intervals.
static double near_share(const struct diagnosis *diagnosis, const struct explanation *explanation,
                         bool slow)
{
    size_t rows = 0, near = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (!counts(row) || (row->verdict == ROW_SLOW) != slow)
            continue;
        rows++;
        near += fabs(distance(row, explanation->predicted_us[i])) <= half_of(row, explanation);
    }
    return rows ? (double)near / (double)rows : 1;
}

// Of slow rows. NULL: from a healthy cluster's prediction.
static double mean_distance(const struct diagnosis *diagnosis, const double *predicted_us)
{
    double sum = 0;
    size_t slow = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (!counts(row) || row->verdict != ROW_SLOW)
            continue;
        const double us = predicted_us ? predicted_us[i] : row->judged->predicted_us;
        sum += fmin(fabs(distance(row, us)), DIAGNOSE_FAR);
        slow++;
    }
    return slow ? sum / (double)slow : INFINITY;
}

static void weigh_explanation(const struct diagnosis *diagnosis, struct explanation *explanation)
{
    explanation->near_share = near_share(diagnosis, explanation, true);
    explanation->error = mean_distance(diagnosis, explanation->predicted_us);
    explanation->explains = explanation->near_share >= 0.75 &&
                            explanation->error <= mean_distance(diagnosis, NULL) / 2 &&
                            near_share(diagnosis, explanation, false) >= 0.75;
}

static bool predicts_same(const struct diagnosis *diagnosis, const double *a_us, const double *b_us)
{
    for (size_t i = 0; i < diagnosis->count; i++)
        if (counts(&diagnosis->rows[i]) && fabs(log(a_us[i] / b_us[i])) > DIAGNOSE_SAME)
            return false;
    return true;
}

// Whether it moves a row at all.
static bool changes_rows(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    for (size_t i = 0; i < diagnosis->count; i++)
        if (counts(&diagnosis->rows[i]) &&
            fabs(log(explanation->predicted_us[i] / diagnosis->rows[i].judged->predicted_us)) >
                DIAGNOSE_SAME)
            return true;
    return false;
}

// Whether a pair does more than one of its two, which stand among the first `singles`.
static bool adds_to_both(const struct diagnosis *diagnosis, const struct explanation *pair,
                         size_t singles)
{
    for (size_t e = 0; pair->count > 1 && e < singles; e++) {
        const struct explanation *single = &diagnosis->explanations[e];
        if ((single->causes[0] == pair->causes[0] || single->causes[0] == pair->causes[1]) &&
            predicts_same(diagnosis, single->predicted_us, pair->predicted_us))
            return false;
    }
    return true;
}

// Weighs those from `first` on, and drops the ones that change nothing.
static void weigh_all(struct diagnosis *diagnosis, size_t first)
{
    size_t kept = first;
    for (size_t e = first; e < diagnosis->explanation_count; e++) {
        struct explanation *explanation = &diagnosis->explanations[e];
        if (!changes_rows(diagnosis, explanation) || !adds_to_both(diagnosis, explanation, first)) {
            release_explanation(explanation);
            continue;
        }
        weigh_explanation(diagnosis, explanation);
        diagnosis->explanations[kept++] = *explanation;
    }
    diagnosis->explanation_count = kept;
}

// By the first slow row.
static void set_places(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    struct scenario scenario;
    struct error none;
    size_t i = 0;
    while (diagnosis->rows[i].verdict != ROW_SLOW)
        i++;
    if (!row_open(&scenario, diagnosis->rows[i].judged->measured, def->engine, def->overrides,
                  &none))
        return;
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        diagnosis->explanations[e].place = cause_place(e, &scenario);
    scenario_release(&scenario);
}

static void try_singles(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    for (size_t c = 0; c < cause_count; c++) {
        struct explanation *explanation = add_explanation(diagnosis);
        explanation->causes[explanation->count++] = &causes[c];
    }
    set_places(diagnosis, def);
    diagnosis->tried += cause_count;
    try_on_rows(diagnosis, 0, def);
    weigh_all(diagnosis, 0);
}

// ---- pairs -------------------------------------------------------------------------------------

// A cause that alone takes more than one slow row in four beyond what was measured is in no pair.
static bool goes_beyond(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    size_t beyond = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        beyond += counts(row) && row->verdict == ROW_SLOW &&
                  -distance(row, explanation->predicted_us[i]) > half_of(row, explanation);
    }
    return 4 * beyond > diagnosis->of[ROW_SLOW];
}

static void try_pairs(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    const size_t singles = diagnosis->explanation_count;
    for (size_t a = 0; a < singles; a++)
        for (size_t b = a + 1; b < singles; b++) {
            const struct explanation one = diagnosis->explanations[a];
            const struct explanation two = diagnosis->explanations[b];
            if (one.causes[0]->part == two.causes[0]->part || goes_beyond(diagnosis, &one) ||
                goes_beyond(diagnosis, &two))
                continue;
            struct explanation *pair = add_explanation(diagnosis);
            pair->causes[pair->count++] = one.causes[0];
            pair->causes[pair->count++] = two.causes[0];
            pair->place = one.place + two.place;
        }
    diagnosis->tried += diagnosis->explanation_count - singles;
    try_on_rows(diagnosis, singles, def);
    weigh_all(diagnosis, singles);
}

// ---- ranking -----------------------------------------------------------------------------------

static double score(const struct explanation *explanation)
{
    return explanation->error + DIAGNOSE_PLACE * (double)explanation->place;
}

// Pairs of one sum by their first.
static int by_likelihood(const void *a, const void *b)
{
    const struct explanation *one = a, *two = b;
    if (one->explains != two->explains)
        return one->explains ? -1 : 1;
    if (one->place != two->place)
        return one->place < two->place ? -1 : 1;
    return one->causes[0] < two->causes[0] ? -1 : one->causes[0] > two->causes[0];
}

static int by_score(const void *a, const void *b)
{
    const struct explanation *one = a, *two = b;
    if (one->explains != two->explains)
        return one->explains ? -1 : 1;
    if (score(one) < score(two) || score(one) > score(two))
        return score(one) < score(two) ? -1 : 1;
    return by_likelihood(a, b);
}

// Those that predict the same stand behind the first of them, the likely ones first.
static void put_together(struct diagnosis *diagnosis)
{
    struct explanation *all = diagnosis->explanations;
    const size_t count = diagnosis->explanation_count;
    for (size_t first = 0, next; first < count; first = next) {
        next = first + 1;
        for (size_t e = next; e < count; e++) {
            const struct explanation found = all[e];
            if (!predicts_same(diagnosis, all[first].predicted_us, found.predicted_us))
                continue;
            memmove(&all[next + 1], &all[next], (e - next) * sizeof *all);
            all[next++] = found;
        }
        qsort(&all[first], next - first, sizeof *all, by_likelihood);
        for (size_t e = first; e < next; e++)
            all[e].same_as = first;
    }
}

static bool any_explains(const struct diagnosis *diagnosis)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        if (diagnosis->explanations[e].explains)
            return true;
    return false;
}

// Whether no more rows are slow, and none by more, than a healthy cluster would have by chance.
static bool slow_by_chance(const struct diagnosis *diagnosis, double interval_pct)
{
    const size_t judged = diagnosis->count - diagnosis->of[ROW_SKIPPED] - diagnosis->of[ROW_NOISE];
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (row->verdict == ROW_SLOW && distance(row, row->interval_us.high) > row->half)
            return false;
    }
    return (double)diagnosis->of[ROW_SLOW] <= (double)judged * (1 - interval_pct / 100) / 2;
}

static enum diagnosis_verdict sum_up_rows(const struct diagnosis *diagnosis, double interval_pct)
{
    return !slow_by_chance(diagnosis, interval_pct) ? DIAGNOSIS_UNEXPLAINED
           : diagnosis->of[ROW_NOISE]               ? DIAGNOSIS_NOISE
                                                    : DIAGNOSIS_HEALTHY;
}

// ---- in words ----------------------------------------------------------------------------------

// By the first slow row that can have it. False: this row cannot.
static bool describe_on(struct explanation *explanation, const struct diagnosis_row *row,
                        const struct diagnose_def *def)
{
    struct scenario healthy, changed;
    struct error none;
    if (!row_open(&healthy, row->judged->measured, def->engine, def->overrides, &none))
        return false;
    const bool can = changed_scenario(&changed, &healthy, explanation, row->rank);
    if (can) {
        for (size_t c = 0; c < explanation->count; c++)
            explanation->texts[c] = cause_text(explanation->causes[c], &healthy, row->rank);
        explanation->changes = cause_changes(&healthy, &changed);
        scenario_release(&changed);
    }
    scenario_release(&healthy);
    return can;
}

static void describe_all(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        for (size_t i = 0; i < diagnosis->count; i++)
            if (counts(&diagnosis->rows[i]) && diagnosis->rows[i].verdict == ROW_SLOW &&
                describe_on(&diagnosis->explanations[e], &diagnosis->rows[i], def))
                break;
}

void diagnose(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    *diagnosis = (struct diagnosis){0};
    judge_rows(diagnosis, def);
    diagnosis->verdict = sum_up_rows(diagnosis, def->intervals.pct);
    if (diagnosis->verdict != DIAGNOSIS_UNEXPLAINED)
        return;
    try_singles(diagnosis, def);
    if (!any_explains(diagnosis))
        try_pairs(diagnosis, def);
    qsort(diagnosis->explanations, diagnosis->explanation_count, sizeof *diagnosis->explanations,
          by_score);
    put_together(diagnosis);
    describe_all(diagnosis, def);
    if (any_explains(diagnosis))
        diagnosis->verdict = DIAGNOSIS_EXPLAINED;
}

void diagnosis_release(struct diagnosis *diagnosis)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        release_explanation(&diagnosis->explanations[e]);
    free(diagnosis->explanations);
    free(diagnosis->rows);
    accuracy_release(&diagnosis->accuracy);
    *diagnosis = (struct diagnosis){0};
}
