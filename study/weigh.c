#include "study/weigh.h"

#include <math.h>

double half_of(const struct diagnosis_row *row, const struct explanation *explanation)
{
    return hypot(row->half, DIAGNOSE_SIZE * sqrt((double)explanation->count));
}

// How far off it is on a row: on its ranks, where they tell anything.
static double off_on(const struct diagnosis *diagnosis, const struct explanation *explanation,
                     size_t index)
{
    const double mean =
        fabs(row_distance(&diagnosis->rows[index], explanation->predicted_us[index]));
    return isnan(explanation->ranks_off[index]) ? mean : fmax(mean, explanation->ranks_off[index]);
}

// Rows that are slow, or the others, and those that lie within their intervals.
struct tally {
    size_t rows, near;
};

static struct tally tally_rows(const struct diagnosis *diagnosis,
                               const struct explanation *explanation, bool slow)
{
    struct tally tally = {0};
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (!row_counts(row) || (row->verdict == ROW_SLOW) != slow)
            continue;
        tally.rows++;
        tally.near += off_on(diagnosis, explanation, i) <= half_of(row, explanation);
    }
    return tally;
}

// One in four may be elsewhere; of three, one.
static bool near_enough(struct tally tally)
{
    return tally.rows - tally.near <= (tally.rows + 1) / 4;
}

// Of slow rows. NULL: a healthy cluster's.
static double mean_off(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    double sum = 0;
    size_t slow = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (!row_counts(row) || row->verdict != ROW_SLOW)
            continue;
        sum += fmin(explanation ? off_on(diagnosis, explanation, i)
                                : row_distance(row, row->judged->predicted_us),
                    DIAGNOSE_FAR);
        slow++;
    }
    return slow ? sum / (double)slow : INFINITY;
}

bool comes_near(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    return explanation->error <= mean_off(diagnosis, NULL) / 2;
}

// Where one rank is slow only a cause of that rank can be it; of more than one rank none is known.
static bool fits_ranks(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    const struct slow_ranks *slow = &diagnosis->slow_ranks;
    return !slow->count || (slow->count == 1 && explanation->rank == slow->ranks[0]);
}

// What one may leave of how slow the rows are.
static bool leaves_scatter(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    return explanation->error <= hypot(DIAGNOSE_SCATTER, DIAGNOSE_LEFT * log(diagnosis->slower));
}

void weigh_explanation(const struct diagnosis *diagnosis, struct explanation *explanation)
{
    const struct tally slow = tally_rows(diagnosis, explanation, true);
    const struct tally others = tally_rows(diagnosis, explanation, false);
    explanation->near_share = (double)slow.near / (double)slow.rows;
    explanation->error = mean_off(diagnosis, explanation);
    explanation->explains = fits_ranks(diagnosis, explanation) && near_enough(slow) &&
                            near_enough(others) && comes_near(diagnosis, explanation) &&
                            leaves_scatter(diagnosis, explanation);
}

bool predicts_same(const struct diagnosis *diagnosis, const struct explanation *a,
                   const struct explanation *b)
{
    for (size_t i = 0; i < diagnosis->count; i++)
        if (row_counts(&diagnosis->rows[i]) &&
            (fabs(log(a->predicted_us[i] / b->predicted_us[i])) > DIAGNOSE_SAME ||
             fabs(a->ranks_off[i] - b->ranks_off[i]) > DIAGNOSE_SAME))
            return false;
    return true;
}

bool changes_rows(const struct diagnosis *diagnosis, const struct explanation *explanation)
{
    for (size_t i = 0; i < diagnosis->count; i++)
        if (row_counts(&diagnosis->rows[i]) &&
            fabs(log(explanation->predicted_us[i] / diagnosis->rows[i].judged->predicted_us)) >
                DIAGNOSE_SAME)
            return true;
    return false;
}

double slower_rows(const struct diagnosis *diagnosis)
{
    double sum = 0;
    size_t slow = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (!row_counts(row) || row->verdict != ROW_SLOW)
            continue;
        sum += row_distance(row, row->judged->predicted_us);
        slow++;
    }
    return slow ? exp(sum / (double)slow) : 1;
}
