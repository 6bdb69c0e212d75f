#include "study/slow_ranks.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

static int by_rank_time(const void *a, const void *b)
{
    const double one = *(const double *)a, *two = b;
    return one < *two ? -1 : one > *two;
}

// Ascending, without those that said nothing; their number.
static uint32_t sorted_times(const struct measured_row *row, double *us)
{
    uint32_t said = 0;
    for (uint32_t r = 0; row->rank_us && r < row->ranks; r++)
        if (!isnan(row->rank_us[r]))
            us[said++] = row->rank_us[r];
    qsort(us, said, sizeof *us, by_rank_time);
    return said;
}

// Ranks [first, end) that took longer than the limit; those that said nothing count as `unsaid`.
static uint32_t count_slow(const struct measured_row *row, uint32_t first, uint32_t end,
                           double limit_us, bool unsaid)
{
    uint32_t slow = 0;
    for (uint32_t r = first; r < end; r++)
        slow += isnan(row->rank_us[r]) ? unsaid : row->rank_us[r] > limit_us;
    return slow;
}

// Whether on every node all ranks are slow or none is.
static bool nodes_are_whole(const struct measured_row *row, double limit_us)
{
    const uint32_t node = row->gpus_per_node;
    if (!node || row->ranks % node)
        return false;
    for (uint32_t first = 0; first < row->ranks; first += node)
        if (count_slow(row, first, first + node, limit_us, false) > 0 &&
            count_slow(row, first, first + node, limit_us, true) < node)
            return false;
    return true;
}

static double mean(const double *us, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += us[i];
    return sum / count;
}

// Cut where the first gap is.
static struct row_ranks cut_ranks(const struct measured_row *row, const double *us, uint32_t said)
{
    const struct row_ranks none = {
        .limit_us = INFINITY, .times = 1, .spread = us[said - 1] / us[0]};
    uint32_t others = 1;
    while (others < said && us[others] < SLOW_RANKS_APART * us[others - 1])
        others++;
    const struct row_ranks cut = {.slow = said - others,
                                  .limit_us = us[others - 1],
                                  .times = mean(us + others, said - others) / us[others / 2],
                                  .spread = us[others - 1] / us[0]};
    const bool few = cut.slow == 1 || cut.slow * SLOW_RANKS_FEW <= said;
    const bool stands_out = cut.slow > 0 && said >= 3 && 2 * said >= row->ranks &&
                            cut.spread <= SLOW_RANKS_AGREE &&
                            (few || nodes_are_whole(row, cut.limit_us));
    return stands_out ? cut : none;
}

struct row_ranks row_ranks(const struct measured_row *row)
{
    double *us = mem_alloc(row->ranks + 1, sizeof *us);
    const uint32_t said = sorted_times(row, us);
    const struct row_ranks found =
        said ? cut_ranks(row, us, said) : (struct row_ranks){0, INFINITY, 1, 1};
    free(us);
    return found;
}

// ---- over all rows -----------------------------------------------------------------------------

static uint32_t most_ranks(const struct measured *measured)
{
    uint32_t most = 0;
    for (size_t i = 0; i < measured->count; i++)
        if (measured->rows[i].rank_us && measured->rows[i].ranks > most)
            most = measured->rows[i].ranks;
    return most;
}

static void add_row_ranks(struct slow_ranks *slow, const struct measured_row *row, size_t *votes)
{
    const struct row_ranks found = row_ranks(row);
    slow->of++;
    if (!found.slow)
        return;
    slow->rows++;
    slow->times = fmax(slow->times, found.times);
    slow->spread = fmax(slow->spread, found.spread);
    slow->gpus_per_node = row->gpus_per_node;
    for (uint32_t r = 0; r < row->ranks; r++)
        votes[r] += row->rank_us[r] > found.limit_us; // false of a NaN
    slow->whole_nodes = slow->whole_nodes && row->gpus_per_node > 1 &&
                        found.slow >= row->gpus_per_node && nodes_are_whole(row, found.limit_us);
}

void slow_ranks_find(struct slow_ranks *slow, const struct measured *measured)
{
    const uint32_t most = most_ranks(measured);
    size_t *votes = mem_alloc(most + 1, sizeof *votes);
    *slow = (struct slow_ranks){.whole_nodes = true};
    slow->ranks = mem_alloc(most + 1, sizeof *slow->ranks);
    for (size_t i = 0; i < measured->count; i++)
        if (measured->rows[i].rank_us)
            add_row_ranks(slow, &measured->rows[i], votes);
    for (uint32_t r = 0; r < most; r++)
        if (votes[r] && 2 * votes[r] >= slow->of)
            slow->ranks[slow->count++] = r;
    slow->whole_nodes = slow->whole_nodes && slow->count > 0;
    free(votes);
}

void slow_ranks_release(struct slow_ranks *slow)
{
    free(slow->ranks);
    *slow = (struct slow_ranks){0};
}
