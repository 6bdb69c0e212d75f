#include "study/rows/power_law.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#define DRAWS 16
#define SEED 1

static double draw_weight(const struct power_law *law, struct rng *rng)
{
    const bool few = law->tokens * (double)law->topk <= law->experts;
    const double from = few ? 0.01 : 1, to = few ? 2 : fmax(0.8 * law->tokens, 1.001);
    const double power = 1 - law->alpha;
    if (fabs(power) < 1e-9)
        return from * pow(to / from, rng_unit(rng)); // the limit
    const double low = pow(from, power), high = pow(to, power);
    return pow(low + (high - low) * rng_unit(rng), 1 / power);
}

struct drawn_expert {
    double rows;
    unsigned expert;
};

static int by_rows_descending(const void *a, const void *b)
{
    const struct drawn_expert *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows < y->rows ? 1 : -1;
    return (x->expert > y->expert) - (x->expert < y->expert);
}

// What rounding leaves goes to those with most, one by one, or comes from those with least.
static void settle_sum(struct drawn_expert *drawn, unsigned experts, double missing)
{
    qsort(drawn, experts, sizeof *drawn, by_rows_descending);
    for (unsigned e = 0; missing > 0; e = (e + 1) % experts, missing--)
        drawn[e].rows++;
    for (unsigned e = experts - 1; missing < 0; e = (e + experts - 1) % experts)
        if (drawn[e].rows > 0) {
            drawn[e].rows--;
            missing++;
        }
}

static void draw_rows(const struct power_law *law, struct rng *rng, struct drawn_expert *drawn)
{
    const double choices = law->tokens * (double)law->topk;
    double sum = 0, given = 0;
    for (unsigned e = 0; e < law->experts; e++) {
        drawn[e] = (struct drawn_expert){draw_weight(law, rng), e};
        sum += drawn[e].rows;
    }
    for (unsigned e = 0; e < law->experts; e++)
        given += drawn[e].rows = round(drawn[e].rows / sum * choices);
    settle_sum(drawn, law->experts, choices - given);
}

static double whole_tiles(double rows, double tile)
{
    return ceil(rows / tile) * tile;
}

static void add_most_loaded(const struct power_law *law, const struct drawn_expert *drawn,
                            struct expert_load *sum)
{
    const unsigned held = law->experts / law->ranks;
    struct expert_load *ranks = mem_alloc(law->ranks, sizeof *ranks);
    unsigned most = 0;
    for (unsigned e = 0; e < law->experts; e++) {
        struct expert_load *rank = &ranks[drawn[e].expert / held % law->ranks];
        rank->rows += drawn[e].rows;
        rank->touched += drawn[e].rows > 0;
        rank->padded += whole_tiles(drawn[e].rows, law->tile);
    }
    for (unsigned r = 1; r < law->ranks; r++)
        most = ranks[r].rows > ranks[most].rows ? r : most;
    sum->rows += ranks[most].rows / DRAWS;
    sum->touched += ranks[most].touched / DRAWS;
    sum->padded += ranks[most].padded / DRAWS;
    free(ranks);
}

struct expert_load power_law_load(const struct power_law *law)
{
    struct drawn_expert *drawn = mem_alloc(law->experts, sizeof *drawn);
    struct expert_load mean = {0};
    for (unsigned i = 0; i < DRAWS; i++) {
        struct rng rng = rng_stream(SEED, i, law->tokens, law->ranks);
        draw_rows(law, &rng, drawn);
        add_most_loaded(law, drawn, &mean);
    }
    free(drawn);
    return mean;
}

struct expert_load balanced_load(const struct power_law *law)
{
    const double rows = law->tokens * (double)law->topk / law->ranks;
    const double touched = fmin((double)law->experts / law->ranks, rows);
    return (struct expert_load){rows, touched, touched * whole_tiles(rows / touched, law->tile)};
}
