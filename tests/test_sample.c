// traces/sample: tokens drawn from counts have the counts, and keep the router's rules.
#include "traces/sample.h"

#include "base/mem.h"
#include "model/moe.h"
#include "model/routing.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED 7

static struct rng stream(uint64_t which)
{
    return rng_stream(SEED, which, 0, 0);
}

// How skewed the counts are that a shape is tried with.
enum skew { EVEN, SKEWED, HOTTEST };

static const struct {
    uint32_t experts, topk, groups, topk_groups, tokens;
    enum skew skew;
    uint32_t missing; // choices that the counts lack
} shapes[] = {
    {8, 2, 1, 1, 1, EVEN, 0},        {8, 2, 1, 1, 100, SKEWED, 0},
    {8, 2, 4, 2, 100, SKEWED, 0},    {8, 1, 4, 1, 33, SKEWED, 0},
    {8, 8, 1, 1, 9, EVEN, 0}, // every token takes every expert
    {32, 4, 1, 1, 513, HOTTEST, 0},  {32, 4, 1, 1, 513, SKEWED, 3},
    {64, 6, 8, 3, 700, SKEWED, 11},  {256, 8, 8, 4, 1024, EVEN, 0},
    {256, 8, 8, 4, 1024, SKEWED, 5}, {256, 8, 8, 4, 1024, HOTTEST, 0},
    {256, 8, 256, 8, 64, SKEWED, 0},
};

static bool draw(const uint64_t *weights, uint32_t experts, uint64_t total, uint64_t max,
                 struct rng *rng, uint64_t *counts)
{
    const struct count_odds odds = {
        .weights = weights, .experts = experts, .total = total, .max = max};
    return sample_counts(&odds, rng, counts);
}

// Counts that a router with the shape's rules made: each token takes topk_groups groups and experts
// there, by popularity.
static void route(int shape, uint64_t *counts)
{
    const uint32_t experts = shapes[shape].experts, size = experts / shapes[shape].groups;
    struct rng rng = stream((uint64_t)shape);
    uint64_t weights[MOE_MAX_EXPERTS];
    static const double powers[] = {0, 1, 2};
    for (uint32_t e = 0; e < experts; e++)
        weights[e] = 1 + (uint64_t)(1e6 * pow(rng_unit(&rng), 4 * powers[shapes[shape].skew]));
    if (shapes[shape].skew == HOTTEST)
        weights[experts / 2] = (uint64_t)1e9; // every token takes it
    memset(counts, 0, experts * sizeof *counts);
    for (uint32_t t = 0; t < shapes[shape].tokens; t++) {
        uint64_t taken[MOE_MAX_EXPERTS], groups[MOE_MAX_EXPERTS] = {0}, in[MOE_MAX_EXPERTS];
        for (uint32_t e = 0; e < experts; e++)
            groups[e / size] += weights[e];
        ck_assert(draw(groups, shapes[shape].groups, shapes[shape].topk_groups, 1, &rng, in));
        uint64_t own[MOE_MAX_EXPERTS];
        for (uint32_t e = 0; e < experts; e++)
            own[e] = in[e / size] ? weights[e] : 0;
        ck_assert(draw(own, experts, shapes[shape].topk, 1, &rng, taken));
        for (uint32_t e = 0; e < experts; e++)
            counts[e] += taken[e];
    }
    for (uint32_t m = 0, e = 0; m < shapes[shape].missing; e = (e + 1) % experts)
        if (counts[e]) {
            counts[e]--;
            m++;
        }
}

static struct sampling make(int shape, const uint64_t *counts)
{
    return (struct sampling){.counts = counts,
                             .experts = shapes[shape].experts,
                             .topk = shapes[shape].topk,
                             .groups = shapes[shape].groups,
                             .topk_groups = shapes[shape].topk_groups,
                             .tokens = shapes[shape].tokens,
                             .rng = stream(99)};
}

static void check_token(int shape, const uint16_t *ids, uint64_t *seen, uint64_t *dropped)
{
    uint64_t groups[MOE_MAX_EXPERTS] = {0};
    uint32_t reached = 0;
    for (uint32_t k = 0; k < shapes[shape].topk; k++) {
        if (ids[k] == ROUTING_DROPPED) {
            ++*dropped;
            continue;
        }
        ck_assert_uint_lt(ids[k], shapes[shape].experts);
        seen[ids[k]]++;
        for (uint32_t j = 0; j < k; j++)
            ck_assert_uint_ne(ids[j], ids[k]);
        reached += groups[ids[k] / (shapes[shape].experts / shapes[shape].groups)]++ == 0;
    }
    ck_assert_uint_le(reached, shapes[shape].topk_groups < shapes[shape].groups
                                   ? shapes[shape].topk_groups
                                   : shapes[shape].groups);
}

START_TEST(counts_are_kept)
{
    uint64_t counts[MOE_MAX_EXPERTS], seen[MOE_MAX_EXPERTS] = {0}, dropped = 0;
    route(_i, counts);
    const struct sampling sampling = make(_i, counts);
    const size_t places = (size_t)sampling.tokens * sampling.topk;
    uint16_t *ids = mem_alloc(places, sizeof *ids), *again = mem_alloc(places, sizeof *ids);
    ck_assert(sample_with_counts(&sampling, ids));
    for (uint32_t t = 0; t < sampling.tokens; t++)
        check_token(_i, ids + (size_t)t * sampling.topk, seen, &dropped);
    ck_assert_mem_eq(seen, counts, sampling.experts * sizeof *counts);
    ck_assert_uint_eq(dropped, shapes[_i].missing);
    ck_assert(sample_with_counts(&sampling, again));
    ck_assert_mem_eq(ids, again, places * sizeof *ids);
    free(ids);
    free(again);
}
END_TEST

// Which experts go together is chance: over even counts every pair comes about equally often.
START_TEST(pairs_are_mixed)
{
    enum { E = 16, K = 4, T = 4096 };
    uint64_t counts[E];
    static uint16_t ids[T * K];
    static double pairs[E][E];
    for (int e = 0; e < E; e++)
        counts[e] = T * K / E;
    const struct sampling sampling = {.counts = counts,
                                      .experts = E,
                                      .topk = K,
                                      .groups = 1,
                                      .topk_groups = 1,
                                      .tokens = T,
                                      .rng = stream(1)};
    ck_assert(sample_with_counts(&sampling, ids));
    for (int t = 0; t < T; t++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < K; j++)
                pairs[ids[t * K + k]][ids[t * K + j]]++;
    const double expected = T * K * (K - 1.0) / (E * (E - 1.0)); // 205 of each
    for (int a = 0; a < E; a++)
        for (int b = 0; b < E; b++)
            if (a != b)
                ck_assert_double_eq_tol(pairs[a][b], expected, 5 * sqrt(expected));
}
END_TEST

// Three experts of three groups that every token takes, under a limit of two groups.
START_TEST(refuses_the_impossible)
{
    const uint64_t counts[8] = {10, 0, 10, 0, 10, 0, 0, 0};
    uint16_t ids[30];
    const struct sampling sampling = {.counts = counts,
                                      .experts = 8,
                                      .topk = 3,
                                      .groups = 4,
                                      .topk_groups = 2,
                                      .tokens = 10,
                                      .rng = stream(1)};
    ck_assert(!sample_with_counts(&sampling, ids));
}
END_TEST

// --- drawing counts ----------------------------------------------------------------------------

START_TEST(draw_by_the_odds)
{
    const uint64_t weights[5] = {0, 1, 3, 6, 0};
    uint64_t counts[5];
    struct rng rng = stream(2);
    ck_assert(draw(weights, 5, 100000, UINT64_MAX, &rng, counts));
    ck_assert_uint_eq(counts[0] + counts[4], 0);
    ck_assert_uint_eq(counts[1] + counts[2] + counts[3], 100000);
    ck_assert_double_eq_tol((double)counts[1], 10000, 500);
    ck_assert_double_eq_tol((double)counts[2], 30000, 800);
}
END_TEST

START_TEST(draw_stops_at_most)
{
    const uint64_t weights[4] = {1000000, 1, 1, 1};
    uint64_t counts[4];
    struct rng rng = stream(3);
    ck_assert(draw(weights, 4, 40, 10, &rng, counts));
    for (int e = 0; e < 4; e++)
        ck_assert_uint_eq(counts[e], 10);
    ck_assert(!draw(weights, 4, 41, 10, &rng, counts));
    ck_assert(!draw((const uint64_t[4]){0}, 4, 1, 10, &rng, counts));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sample");
    TCase *tests = tcase_create("sample");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, counts_are_kept, 0, SUITE_COUNT(shapes));
    tcase_add_test(tests, pairs_are_mixed);
    tcase_add_test(tests, refuses_the_impossible);
    tcase_add_test(tests, draw_by_the_odds);
    tcase_add_test(tests, draw_stops_at_most);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
