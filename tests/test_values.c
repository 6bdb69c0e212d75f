// real/values and real/tensors: number formats against their definitions, and the values that host
// and device agree on.
#include "real/values.h"

#include "base/rng.h"
#include "real/tensors.h"
#include "tests/near.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>

// --- number formats ------------------------------------------------------------------------------

#define FP8_LARGEST 0x7e
#define FP8_NAN 0x7f // no finite value rounds to it

// E4M3 by its definition: bias 7, subnormals of 2^-9.
static double fp8_defined(uint32_t byte)
{
    const uint32_t exponent = byte >> 3 & 15, mantissa = byte & 7;
    const double magnitude =
        exponent ? ldexp(1 + mantissa / 8.0, (int)exponent - 7) : ldexp(mantissa, -9);
    return byte & 0x80 ? -magnitude : magnitude;
}

START_TEST(fp8_of_every_byte)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        const float value = fp8_to_float((uint8_t)byte);
        if ((byte & FP8_NAN) == FP8_NAN)
            continue;
        ck_assert(value == fp8_defined(byte));
        ck_assert_int_eq(signbit(value) != 0, byte >= 0x80);
        ck_assert_uint_eq(fp8_from_float(value), byte);
    }
    ck_assert(fp8_to_float(FP8_LARGEST) == FP8_MAX);
}
END_TEST

// Half-way between two neighbours goes to the even one, anything less or more to the nearer.
START_TEST(fp8_between_neighbours)
{
    for (uint32_t byte = 0; byte < FP8_LARGEST; byte++) {
        const float middle = (float)((fp8_defined(byte) + fp8_defined(byte + 1)) / 2);
        const uint32_t even = byte + byte % 2;
        ck_assert_uint_eq(fp8_from_float(middle), even);
        ck_assert_uint_eq(fp8_from_float(-middle), even | 0x80);
        ck_assert_uint_eq(fp8_from_float(nextafterf(middle, 0)), byte);
        ck_assert_uint_eq(fp8_from_float(nextafterf(middle, INFINITY)), byte + 1);
    }
    static const float beyond[] = {448.1f, 463.99f, 464, 480, 1e30f, INFINITY};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        ck_assert_uint_eq(fp8_from_float(beyond[i]), FP8_LARGEST);
        ck_assert_uint_eq(fp8_from_float(-beyond[i]), FP8_LARGEST | 0x80);
    }
}
END_TEST

static uint32_t fp8_nearest(double magnitude)
{
    uint32_t best = 0;
    for (uint32_t byte = 1; byte <= FP8_LARGEST; byte++) {
        const double now = fabs(fp8_defined(byte) - magnitude);
        const double then = fabs(fp8_defined(best) - magnitude);
        if (now < then || (now == then && byte % 2 == 0))
            best = byte;
    }
    return best;
}

START_TEST(fp8_of_random_floats)
{
    struct rng rng = rng_stream(3, 0, 0, 0);
    uint32_t wrong = 0;
    for (int n = 0; n < 20000; n++) {
        const double value = ldexp(1 + rng_unit(&rng), (int)rng_below(&rng, 24) - 14);
        wrong += fp8_from_float((float)value) != fp8_nearest((float)value);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(bf16_of_every_value)
{
    uint32_t wrong = 0;
    for (uint32_t half = 0; half < 65536; half++) {
        const float value = bf16_to_float((uint16_t)half);
        const uint16_t back = bf16_from_float(value);
        wrong +=
            (half & 0x7fff) > 0x7f80 ? !isnan(value) || !isnan(bf16_to_float(back)) : back != half;
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(bf16_between_neighbours)
{
    uint32_t wrong = 0;
    for (uint32_t half = 0; half < 0x7f7f; half++) {
        const double low = bf16_to_float((uint16_t)half),
                     high = bf16_to_float((uint16_t)(half + 1));
        const float middle = (float)((low + high) / 2);
        wrong += bf16_from_float(middle) != half + half % 2;
        wrong += bf16_from_float(-middle) != ((half + half % 2) | 0x8000);
        wrong += bf16_from_float(nextafterf(middle, 0)) != half;
        wrong += bf16_from_float(nextafterf(middle, INFINITY)) != half + 1;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(bf16_from_float(3.4e38f), 0x7f80); // above the largest: infinity
}
END_TEST

START_TEST(fp8_scales)
{
    ck_assert(fp8_scale(448) == 1);
    ck_assert(fp8_scale(0) == 1);
    ck_assert(fp8_scale(1e-45f) == 1); // would vanish
    ck_assert(fp8_scale(3) == 3 / 448.0f);
}
END_TEST

// --- tensors -------------------------------------------------------------------------------------

START_TEST(values_are_pinned)
{
    ck_assert(value_at(1, 2, 0) == 5437136 * 0x1p-23);
    ck_assert(value_at(1, 2, 1) == 6679101 * 0x1p-23);
    ck_assert(value_at(0, 0, 0) == -2717029 * 0x1p-23);
    ck_assert(value_at(1, tensor_number(TENSOR_DOWN, 3, 255), UINT64_C(1) << 40) ==
              3034676 * 0x1p-23);
}
END_TEST

START_TEST(values_are_uniform)
{
    const uint64_t count = 1000000;
    uint64_t strange = 0; // Check's asserts are too slow for a million
    double sum = 0, squares = 0, neighbours = 0, last = 0;
    for (uint64_t i = 0; i < count; i++) {
        const double value = value_at(7, tensor_number(TENSOR_GATE_UP, 0, 9), i);
        strange += value < -1 || value >= 1 || value * 0x1p23 != rint(value * 0x1p23);
        sum += value;
        squares += value * value;
        neighbours += value * last;
        last = value;
    }
    ck_assert_uint_eq(strange, 0);
    expect_near(sum / (double)count, 0, 3e-3); // five standard errors
    expect_near(squares / (double)count, 1 / 3.0, 1.5e-3);
    expect_near(neighbours / (double)count, 0, 2e-3);
}
END_TEST

START_TEST(tensors_differ)
{
    const uint64_t numbers[] = {
        tensor_number(TENSOR_INPUT, 0, 1),      tensor_number(TENSOR_INPUT, 1, 0),
        tensor_number(TENSOR_ROUTER, 0, 0),     tensor_number(TENSOR_BIAS, 0, 0),
        tensor_number(TENSOR_GATE_UP, 0, 0),    tensor_number(TENSOR_GATE_UP, 0, 1),
        tensor_number(TENSOR_GATE_UP, 1, 0),    tensor_number(TENSOR_DOWN, 0, 0),
        tensor_number(TENSOR_ROUTER, 1, 0),     tensor_number(TENSOR_SHARED_GATE_UP, 0, 0),
        tensor_number(TENSOR_SHARED_DOWN, 0, 0)};
    for (size_t a = 0; a < sizeof numbers / sizeof numbers[0]; a++)
        for (size_t b = 0; b < a; b++) {
            ck_assert_uint_ne(numbers[a], numbers[b]);
            ck_assert(value_at(1, numbers[a], 0) != value_at(1, numbers[b], 0));
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("values");
    TCase *tests = tcase_create("numbers");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, fp8_of_every_byte);
    tcase_add_test(tests, fp8_between_neighbours);
    tcase_add_test(tests, fp8_of_random_floats);
    tcase_add_test(tests, fp8_scales);
    tcase_add_test(tests, bf16_of_every_value);
    tcase_add_test(tests, bf16_between_neighbours);
    tcase_add_test(tests, values_are_pinned);
    tcase_add_test(tests, values_are_uniform);
    tcase_add_test(tests, tensors_differ);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
