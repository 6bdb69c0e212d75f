#include "study/diagnose.h"

#include "base/mem.h"
#include "study/weigh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const diagnosis_verdict_names[] = {"healthy",     "noise",      "explained",
                                               "unexplained", "slow_ranks", NULL};

// ---- causes on rows ----------------------------------------------------------------------------

static void try_all_on_row(struct diagnosis *diagnosis, size_t index, size_t first,
                           const struct diagnose_def *def)
{
    const struct diagnosis_row *row = &diagnosis->rows[index];
    struct scenario healthy;
    struct error none;
    const bool open = row_counts(row) &&
                      row_open(&healthy, row->judged->measured, def->engine, def->overrides, &none);
    for (size_t e = first; e < diagnosis->explanation_count; e++)
        explanation_try(&diagnosis->explanations[e], index, row, open ? &healthy : NULL,
                        def->engine);
    if (open)
        scenario_release(&healthy);
}

// What the explanations from `first` on make of every row.
static void try_on_rows(struct diagnosis *diagnosis, size_t first, const struct diagnose_def *def)
{
    const size_t count = diagnosis->count;
    size_t done = 0;
    for (size_t e = first; e < diagnosis->explanation_count; e++)
        explanation_init(&diagnosis->explanations[e], count);
#pragma omp parallel for schedule(dynamic, 1) default(none)                                        \
    shared(diagnosis, first, def, count, done)
    for (size_t i = 0; i < count; i++) {
        try_all_on_row(diagnosis, i, first, def);
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
    *explanation = (struct explanation){.rank = CAUSE_NO_RANK};
    return explanation;
}

// Whether a pair does more than one of its two, which stand among the first `singles`.
static bool adds_to_both(const struct diagnosis *diagnosis, const struct explanation *pair,
                         size_t singles)
{
    for (size_t e = 0; pair->count > 1 && e < singles; e++) {
        const struct explanation *single = &diagnosis->explanations[e];
        if ((single->causes[0] == pair->causes[0] || single->causes[0] == pair->causes[1]) &&
            predicts_same(diagnosis, single, pair))
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
            explanation_release(explanation);
            continue;
        }
        weigh_explanation(diagnosis, explanation);
        diagnosis->explanations[kept++] = *explanation;
    }
    diagnosis->explanation_count = kept;
}

// The first slow row's places.
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
    for (size_t e = 0; e < diagnosis->explanation_count; e++) {
        struct explanation *explanation = &diagnosis->explanations[e];
        explanation->place = cause_place((size_t)(explanation->causes[0] - causes), &scenario);
    }
    scenario_release(&scenario);
}

static void add_single(struct diagnosis *diagnosis, const struct cause *cause, uint32_t rank)
{
    struct explanation *explanation = add_explanation(diagnosis);
    explanation->causes[explanation->count++] = cause;
    explanation->rank = rank;
}

// Whether a slow row's ranks are told apart, and that one took longer than their mean.
static bool rank_is_slow(const struct diagnosis *diagnosis, uint32_t rank)
{
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct measured_row *row = diagnosis->rows[i].judged->measured;
        if (diagnosis->rows[i].verdict == ROW_SLOW && row_tells_ranks(&diagnosis->rows[i]) &&
            rank < row->ranks && row->rank_us[rank] > row->latency_us)
            return true;
    }
    return false;
}

// Of a cause that is about one rank, the rank that fits best stays.
static void keep_best_ranks(struct diagnosis *diagnosis)
{
    size_t kept = 0;
    for (size_t e = 0; e < diagnosis->explanation_count; e++) {
        struct explanation found = diagnosis->explanations[e];
        size_t same = 0;
        while (same < kept && diagnosis->explanations[same].causes[0] != found.causes[0])
            same++;
        if (same < kept && found.error < diagnosis->explanations[same].error) {
            const struct explanation worse = diagnosis->explanations[same];
            diagnosis->explanations[same] = found;
            found = worse;
        }
        if (same < kept)
            explanation_release(&found);
        else
            diagnosis->explanations[kept++] = found;
    }
    diagnosis->explanation_count = kept;
}

static void try_singles(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    for (size_t c = 0; c < cause_count; c++) {
        if (causes[c].part != PART_RANK)
            add_single(diagnosis, &causes[c], CAUSE_NO_RANK);
        for (uint32_t r = 0; causes[c].part == PART_RANK && r < CLUSTER_MAX_RANKS; r++)
            if (rank_is_slow(diagnosis, r))
                add_single(diagnosis, &causes[c], r);
    }
    set_places(diagnosis, def);
    diagnosis->tried += diagnosis->explanation_count;
    try_on_rows(diagnosis, 0, def);
    weigh_all(diagnosis, 0);
    keep_best_ranks(diagnosis);
}

// ---- pairs -------------------------------------------------------------------------------------

// A cause that alone takes more than one slow row in four beyond what was measured is in no pair.
static bool goes_beyond(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    size_t beyond = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        beyond += row_counts(row) && row->verdict == ROW_SLOW &&
                  -row_distance(row, explanation->predicted_us[i]) > half_of(row, explanation);
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
            if (one.causes[0]->part == two.causes[0]->part || two.rank != CAUSE_NO_RANK ||
                one.rank != CAUSE_NO_RANK || goes_beyond(diagnosis, &one) ||
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
            if (!predicts_same(diagnosis, &all[first], &found))
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
        if (row->verdict == ROW_SLOW && row_distance(row, row->interval_us.high) > row->half)
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

// ---- symptoms ----------------------------------------------------------------------------------

#define SHARES 18
#define SHARE_STEP 0.89 // to an eighth of the rate in so many steps

static bool rate_among_likeliest(const struct diagnosis *diagnosis)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++) {
        const struct explanation *explanation = &diagnosis->explanations[e];
        if (explanation->explains && explanation->same_as == 0 &&
            explanation->causes[0]->part == PART_NIC_RATE)
            return true;
    }
    return false;
}

static void keep_symptom(struct diagnosis *diagnosis, size_t symptom,
                         const struct explanation *explanation, double most)
{
    const double before =
        diagnosis->symptoms[symptom].cause.size > 0 ? diagnosis->symptoms[symptom].error : INFINITY;
    if (!explanation->explains || explanation->error > most || explanation->error >= before)
        return;
    diagnosis->symptoms[symptom].cause = *explanation->causes[0];
    diagnosis->symptoms[symptom].error = explanation->error;
}

// Tries each share of the rate, and drops them again.
static void fit_rate(struct diagnosis *diagnosis, size_t symptom, const struct diagnose_def *def)
{
    struct cause tried[SHARES];
    const size_t first = diagnosis->explanation_count;
    const bool explained = first && diagnosis->explanations[0].explains;
    const double most = explained ? diagnosis->explanations[0].error + DIAGNOSE_AS_WELL : INFINITY;
    for (size_t s = 0; s < SHARES; s++) {
        tried[s] = symptoms[symptom];
        tried[s].size = pow(SHARE_STEP, (double)(s + 1));
        add_single(diagnosis, &tried[s], CAUSE_NO_RANK);
    }
    try_on_rows(diagnosis, first, def);
    weigh_all(diagnosis, first);
    while (diagnosis->explanation_count > first) {
        struct explanation *last = &diagnosis->explanations[--diagnosis->explanation_count];
        keep_symptom(diagnosis, symptom, last, most);
        explanation_release(last);
    }
}

static void fit_rates(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    for (size_t s = 0; s < SYMPTOMS && !rate_among_likeliest(diagnosis); s++)
        if (symptoms[s].part == PART_NIC_RATE || !any_explains(diagnosis))
            fit_rate(diagnosis, s, def);
}

// ---- in words ----------------------------------------------------------------------------------

// By the first slow row that can have it. False: this row cannot.
static bool describe_on(struct explanation *explanation, const struct diagnosis_row *row,
                        const struct diagnose_def *def)
{
    struct scenario healthy;
    struct error none;
    if (!row_open(&healthy, row->judged->measured, def->engine, def->overrides, &none))
        return false;
    const bool can = explanation_describe(explanation, &healthy);
    scenario_release(&healthy);
    return can;
}

static void describe_all(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        for (size_t i = 0; i < diagnosis->count; i++)
            if (row_counts(&diagnosis->rows[i]) && diagnosis->rows[i].verdict == ROW_SLOW &&
                describe_on(&diagnosis->explanations[e], &diagnosis->rows[i], def))
                break;
}

static void judge_rows(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    accuracy_judge(&diagnosis->accuracy, def->measured, def->engine, def->overrides,
                   &def->intervals);
    diagnosis->count = diagnosis->accuracy.count;
    diagnosis->rows = mem_alloc(diagnosis->count, sizeof *diagnosis->rows);
    judge_diagnosis_rows(diagnosis->rows, &diagnosis->accuracy, def->measured);
    for (size_t i = 0; i < diagnosis->count; i++)
        diagnosis->of[diagnosis->rows[i].verdict]++;
}

static void explain_rows(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    try_singles(diagnosis, def);
    if (!any_explains(diagnosis) && !diagnosis->slow_ranks.count &&
        diagnosis->slower > DIAGNOSE_PAIRS)
        try_pairs(diagnosis, def);
    qsort(diagnosis->explanations, diagnosis->explanation_count, sizeof *diagnosis->explanations,
          by_score);
    put_together(diagnosis);
    fit_rates(diagnosis, def);
    describe_all(diagnosis, def);
    diagnosis->nearest_is_near =
        diagnosis->explanation_count && comes_near(diagnosis, &diagnosis->explanations[0]);
    if (any_explains(diagnosis))
        diagnosis->verdict = DIAGNOSIS_EXPLAINED;
}

void diagnose(struct diagnosis *diagnosis, const struct diagnose_def *def)
{
    *diagnosis = (struct diagnosis){0};
    judge_rows(diagnosis, def);
    slow_ranks_find(&diagnosis->slow_ranks, def->measured);
    diagnosis->verdict = sum_up_rows(diagnosis, def->intervals.pct);
    diagnosis->slower = slower_rows(diagnosis);
    if (diagnosis->verdict == DIAGNOSIS_UNEXPLAINED && diagnosis->slower >= DIAGNOSE_SLIGHT)
        explain_rows(diagnosis, def);
    if (diagnosis->slow_ranks.count && diagnosis->verdict != DIAGNOSIS_EXPLAINED)
        diagnosis->verdict = DIAGNOSIS_RANKS;
}

void diagnosis_release(struct diagnosis *diagnosis)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        explanation_release(&diagnosis->explanations[e]);
    free(diagnosis->explanations);
    free(diagnosis->rows);
    slow_ranks_release(&diagnosis->slow_ranks);
    accuracy_release(&diagnosis->accuracy);
    *diagnosis = (struct diagnosis){0};
}
