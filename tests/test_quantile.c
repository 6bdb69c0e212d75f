// base/quantile: against sorted values, exact while few and within a bin when many, in any order.
#include "base/quantile.h"
#include "base/rng.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Nearest rank over sorted values, by counting: the first that enough values do not exceed.
static uint64_t oracle(const uint64_t *sorted, size_t count, uint64_t per_mille)
{
    for (size_t i = 0; i < count; i++)
        if ((i + 1) * 1000 >= per_mille * count)
            return sorted[i];
    return sorted[count - 1];
}

// Numbers of `bits` bits at most; spread over magnitudes when it is 64.
static uint64_t draw(struct rng *rng, unsigned bits)
{
    const uint64_t word = rng_next(rng);
    return bits == 64 ? word >> (rng_next(rng) % 64) : word >> (64 - bits);
}

static const uint64_t shares[] = {0, 1, 10, 100, 500, 900, 990, 999, 1000};
static const struct {
    size_t count;
    unsigned bits;
} draws[] = {{1, 40},    {2, 40},    {3, 3},      {100, 30},  {1000, 40}, {2048, 64},  {2049, 40},
             {5000, 10}, {5000, 11}, {20000, 12}, {7000, 64}, {9999, 33}, {100000, 45}};

START_TEST(meets_sorted_values)
{
    const size_t count = draws[_i].count;
    struct rng rng = rng_stream(7, (uint64_t)_i, 0, 0);
    struct quantiles quantiles = {0};
    uint64_t *sorted = malloc(count * sizeof *sorted);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = draw(&rng, draws[_i].bits);
        quantiles_add(&quantiles, sorted[i]);
        sum += (double)sorted[i];
    }
    qsort(sorted, count, sizeof *sorted, by_value);
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        const double right = (double)oracle(sorted, count, shares[s]);
        const double got = quantiles_at(&quantiles, (double)shares[s] / 1000);
        const double off = count <= QUANTILE_EXACT ? 0 : right / (2 * QUANTILE_BINS);
        ck_assert_msg(fabs(got - right) <= off, "%zu values: %llu/1000: %.0f, expected %.0f", count,
                      (unsigned long long)shares[s], got, right);
    }
    ck_assert_uint_eq(quantiles.min, sorted[0]);
    ck_assert_uint_eq(quantiles.max, sorted[count - 1]);
    ck_assert_uint_eq(quantiles.count, count);
    ck_assert_double_le(fabs(quantiles_mean(&quantiles) * (double)count / sum - 1), 1e-12);
    free(sorted);
    quantiles_release(&quantiles);
}
END_TEST

// Also across the count at which values go into bins.
START_TEST(order_does_not_matter)
{
    enum { COUNT = 3000 };
    struct quantiles up = {0}, down = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        quantiles_add(&up, 1000 * i * i);
        quantiles_add(&down, 1000 * (COUNT - 1 - i) * (COUNT - 1 - i));
        if (i % 500 != 0)
            continue;
        struct quantiles *const both[] = {&up, &down}; // asking changes nothing
        for (int b = 0; b < 2; b++)
            ck_assert_double_le(quantiles_at(both[b], 0.5), (double)both[b]->max);
    }
    for (int per_cent = 0; per_cent <= 100; per_cent++)
        ck_assert_double_eq(quantiles_at(&up, per_cent / 100.0),
                            quantiles_at(&down, per_cent / 100.0));
    ck_assert_double_eq(quantiles_mean(&up), quantiles_mean(&down));
    quantiles_release(&up);
    quantiles_release(&down);
}
END_TEST

START_TEST(holds_the_largest)
{
    struct quantiles quantiles = {0};
    for (int i = 0; i < 2 * QUANTILE_EXACT; i++)
        quantiles_add(&quantiles, i % 2 ? UINT64_MAX : 0);
    ck_assert_double_eq(quantiles_at(&quantiles, 0.25), 0);
    ck_assert_double_eq(quantiles_at(&quantiles, 1), (double)UINT64_MAX);
    ck_assert_double_eq_tol(quantiles_mean(&quantiles) / ldexp(1, 63), 1, 1e-15);
    quantiles_release(&quantiles);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quantile");
    TCase *tests = tcase_create("quantile");
    tcase_add_loop_test(tests, meets_sorted_values, 0, SUITE_COUNT(draws));
    tcase_add_test(tests, order_does_not_matter);
    tcase_add_test(tests, holds_the_largest);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
