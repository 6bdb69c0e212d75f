// base/error, base/mem and base/units: what is read, what is refused and how, and that every
// printed quantity reads back.
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/units.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    enum unit unit;
    const char *text;
    double value;
} good[] = {
    {UNIT_NUMBER, "3", 3},
    {UNIT_NUMBER, "0.5", 0.5},
    {UNIT_NUMBER, ".25", 0.25},
    {UNIT_NUMBER, "2.", 2},
    {UNIT_NUMBER, "1e6", 1e6},
    {UNIT_NUMBER, "1E-3", 1e-3},
    {UNIT_NUMBER, "0", 0},
    {UNIT_COUNT, "4096", 4096},
    {UNIT_COUNT, "1e6", 1e6},
    {UNIT_COUNT, "1.5e3", 1500},
    {UNIT_COUNT, "9007199254740992", 0x1p53},
    {UNIT_BYTES, "4096B", 4096},
    {UNIT_BYTES, "64KiB", 65536},
    {UNIT_BYTES, "4MiB", 4194304},
    {UNIT_BYTES, "4MB", 4e6},
    {UNIT_BYTES, "1.1MB", 1100000}, // 1.1 * 1e6 is not whole in doubles
    {UNIT_BYTES, "1.5GiB", 1610612736},
    {UNIT_BYTES, "2 kB", 2000},
    {UNIT_BYTES, "0B", 0},
    {UNIT_BYTES, "2PB", 2e15},
    {UNIT_BYTES, "1PiB", 0x1p50},
    {UNIT_RATE, "50GB/s", 50e9},
    {UNIT_RATE, "400Gbps", 50e9},
    {UNIT_RATE, "400Gb/s", 50e9},
    {UNIT_RATE, "46.7 GB/s", 46.7e9},
    {UNIT_RATE, "2GiB/s", 2147483648},
    {UNIT_RATE, "3.35TB/s", 3.35e12},
    {UNIT_RATE, "46.7GBps", 46.7e9},
    {UNIT_TIME, "2.5us", 2500000},
    {UNIT_TIME, "2.3us", 2300000},
    {UNIT_TIME, "1ms", 1e9},
    {UNIT_TIME, "300ns", 300e3},
    {UNIT_TIME, "7ps", 7},
    {UNIT_TIME, "0.2ps", 1}, // rounded up: a thing that takes time takes some
    {UNIT_TIME, "2s", 2e12},
    {UNIT_TIME, "2.5\u00b5s", 2500000},
    {UNIT_FLOPS, "1979TFLOPS", 1979e12},
    {UNIT_FLOPS, "5e14FLOPS", 5e14},
    {UNIT_FLOPS, "2PFLOPS", 2e15},
};

START_TEST(parses)
{
    struct error err;
    double value = -1;
    ck_assert_msg(units_parse(good[_i].unit, good[_i].text, &value, &err), "%s: %s", good[_i].text,
                  err.text);
    ck_assert_double_eq_tol(value, good[_i].value, 1e-12 * good[_i].value + 1e-300);
    if (good[_i].unit == UNIT_BYTES || good[_i].unit == UNIT_TIME) {
        ck_assert(value == good[_i].value);
    }
}
END_TEST

static const struct {
    enum unit unit;
    const char *text;
    const char *message; // the whole of it
} bad[] = {
    {UNIT_NUMBER, "", "'': expected a number"},
    {UNIT_NUMBER, "nan", "'nan': expected a number"},
    {UNIT_NUMBER, "inf", "'inf': expected a number"},
    {UNIT_NUMBER, "infinity", "'infinity': expected a number"},
    {UNIT_NUMBER, "0x10", "'0x10': expected a number"},
    {UNIT_NUMBER, " 1", "' 1': expected a number"},
    {UNIT_NUMBER, "1 ", "'1 ': expected a number"},
    {UNIT_NUMBER, "+1", "'+1': expected a number"},
    {UNIT_NUMBER, ".", "'.': expected a number"},
    {UNIT_NUMBER, "e5", "'e5': expected a number"},
    {UNIT_NUMBER, "1e", "'1e': expected a number"},
    {UNIT_NUMBER, "1,5", "'1,5': expected a number"},
    {UNIT_NUMBER, "1e400", "'1e400': too large; expected a number"},
    {UNIT_NUMBER, "-1", "'-1': must not be negative; expected a number"},
    {UNIT_COUNT, "abc", "'abc': expected a whole number"},
    {UNIT_COUNT, "1.5", "'1.5': not a whole number"},
    {UNIT_COUNT, "9007199254740994", "'9007199254740994': too large; expected a whole number"},
    {UNIT_COUNT, "-3", "'-3': must not be negative; expected a whole number"},
    {UNIT_COUNT, "4k", "'4k': expected a whole number"},
    {UNIT_RATE, "50", "'50': expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {UNIT_RATE, "50GB",
     "'50GB': unknown unit 'GB'; expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {UNIT_RATE, "50GB/s ",
     "'50GB/s ': unknown unit 'GB/s '; expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {UNIT_RATE, "1e7TB/s",
     "'1e7TB/s': too large; expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {UNIT_RATE, "-1GB/s",
     "'-1GB/s': must not be negative; expected a rate with its unit, such as 50GB/s or 400Gbps"},
    {UNIT_BYTES, "8M",
     "'8M': 'M' alone is read both ways; write MiB (powers of 1024) or MB (powers of 1000)"},
    {UNIT_BYTES, "8k",
     "'8k': 'k' alone is read both ways; write KiB (powers of 1024) or kB (powers of 1000)"},
    {UNIT_BYTES, "8P",
     "'8P': 'P' alone is read both ways; write PiB (powers of 1024) or PB (powers of 1000)"},
    {UNIT_BYTES, "8", "'8': expected a size with its unit, such as 64KiB or 4MB"},
    {UNIT_BYTES, "0.1KiB", "'0.1KiB': not a whole number of bytes"},
    {UNIT_BYTES, "nanB", "'nanB': expected a size with its unit, such as 64KiB or 4MB"},
    {UNIT_BYTES, "9e8TiB",
     "'9e8TiB': too large; expected a size with its unit, such as 64KiB or 4MB"},
    {UNIT_TIME, "5", "'5': expected a time with its unit, such as 2.5us or 1ms"},
    {UNIT_TIME, "5 min",
     "'5 min': unknown unit 'min'; expected a time with its unit, such as 2.5us or 1ms"},
    {UNIT_TIME, "1e7s", "'1e7s': too large; expected a time with its unit, such as 2.5us or 1ms"},
    {UNIT_FLOPS, "1979", "'1979': expected a speed with its unit, such as 1979TFLOPS"},
    {UNIT_FLOPS, "1979tflops\n",
     "'1979tflops\\n': unknown unit 'tflops\\n'; expected a speed with its unit, such as "
     "1979TFLOPS"},
};

START_TEST(refuses)
{
    struct error err = {0};
    double value = 7;
    ck_assert(!units_parse(bad[_i].unit, bad[_i].text, &value, &err));
    ck_assert_str_eq(err.text, bad[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert(value == 7);
}
END_TEST

static const struct {
    enum unit unit;
    double value;
    const char *text;
} shown[] = {
    {UNIT_NUMBER, 0, "0"},           {UNIT_NUMBER, 0.25, "0.25"},
    {UNIT_NUMBER, 1e6, "1000000"},   {UNIT_NUMBER, 1e-7, "1e-07"},
    {UNIT_COUNT, 4096, "4096"},      {UNIT_COUNT, 0x1p53, "9007199254740992"},
    {UNIT_BYTES, 0, "0B"},           {UNIT_BYTES, 65536, "64KiB"},
    {UNIT_BYTES, 4e6, "4MB"},        {UNIT_BYTES, 1610612736, "1.5GiB"},
    {UNIT_BYTES, 0x1p50, "1PiB"},    {UNIT_BYTES, 123456789, "123456789B"},
    {UNIT_RATE, 46.7e9, "46.7GB/s"}, {UNIT_RATE, 3.35e12, "3.35TB/s"},
    {UNIT_RATE, 0.5, "0.5B/s"},      {UNIT_RATE, 1e9 / 3, "333333333B/s"},
    {UNIT_TIME, 2500000, "2.5us"},   {UNIT_TIME, 1e11, "100ms"},
    {UNIT_TIME, 0, "0ps"},           {UNIT_FLOPS, 1979e12, "1979TFLOPS"},
    {UNIT_FLOPS, 5e14, "500TFLOPS"},
};

START_TEST(formats)
{
    char text[32];
    ck_assert_str_eq(units_format(shown[_i].unit, shown[_i].value, text), shown[_i].text);
}
END_TEST

// Random values over every magnitude a kind may have, and both "round" and arbitrary ones.
static double random_value(enum unit unit, struct rng *rng)
{
    const double largest = unit == UNIT_COUNT ? 15.9 : 17.9;
    double value = pow(10, rng_unit(rng) * largest);
    if (rng_below(rng, 2) == 0) {
        value = rng_below(rng, 1000) * pow(10, rng_below(rng, 13));
    }
    return unit == UNIT_COUNT || unit == UNIT_BYTES || unit == UNIT_TIME ? floor(value) : value;
}

START_TEST(round_trips)
{
    const enum unit unit = (enum unit)_i;
    const bool exact = unit == UNIT_COUNT || unit == UNIT_BYTES || unit == UNIT_TIME;
    struct rng rng = rng_stream(1, (uint64_t)_i, 0, 0);
    for (int n = 0; n < 20000; n++) {
        struct error err;
        char text[32];
        double back;
        const double value = random_value(unit, &rng);
        ck_assert_uint_lt(strlen(units_format(unit, value, text)), sizeof text);
        ck_assert_msg(units_parse(unit, text, &back, &err), "%s", err.text);
        ck_assert_msg(fabs(back - value) <= (exact ? 0 : 1e-9 * value), "%.17g as %s is %.17g",
                      value, text, back);
    }
}
END_TEST

START_TEST(microseconds)
{
    ck_assert_uint_eq(units_ps_from_us(2.5), 2500000);
    ck_assert_uint_eq(units_ps_from_us(2.3), 2300000);
    ck_assert_uint_eq(units_ps_from_us(0), 0);
    ck_assert_uint_eq(units_ps_from_us(1e-9), 1);
    ck_assert_uint_eq(units_ps_from_us(1.0000001), 1000001);
    ck_assert_uint_eq(units_ps_from_us(1e30), UINT64_MAX);
    ck_assert(units_us_from_ps(2500000) == 2.5);
    for (uint64_t ps = 1; ps < 1000000; ps += 37) {
        ck_assert_uint_eq(units_ps_from_us(units_us_from_ps(ps)), ps);
    }
}
END_TEST

START_TEST(error_texts)
{
    struct error err;
    ck_assert(!error_set(&err, EXIT_ABSENT, "no %s", "GPU"));
    ck_assert(!error_prefix(&err, "rank %d", 3));
    ck_assert_str_eq(err.text, "rank 3: no GPU");
    ck_assert_int_eq(err.code, EXIT_ABSENT);
    ck_assert(!error_set(&err, EXIT_INPUT, "%s!", err.text)); // its own text as an argument
    ck_assert_str_eq(err.text, "rank 3: no GPU!");
}
END_TEST

START_TEST(error_overflow)
{
    struct error err;
    char *text = mem_alloc(5000, 1);
    memset(text, 'x', 4999);
    error_set(&err, EXIT_INPUT, "%s", text);
    ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
    ck_assert_str_eq(err.text + sizeof err.text - 5, "x...");
    error_prefix(&err, "file:%d", 7);
    ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
    ck_assert_int_eq(strncmp(err.text, "file:7: xxx", 11), 0);
    error_prefix(&err, "%s", text);
    ck_assert_str_eq(err.text + sizeof err.text - 5, "x...");
    for (size_t i = 0; i + 1 < 4999; i += 2) {
        memcpy(text + i, "\u00e9", 2);
    }
    error_set(&err, EXIT_INPUT, "%s", text); // never half a character
    ck_assert_int_eq((unsigned char)err.text[strlen(err.text) - 4], 0xa9);
    free(text);
}
END_TEST

static const struct {
    const char *text, *quoted;
} quotes[] = {
    {"", ""},
    {"plain", "plain"},
    {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
    {"\x1b[31m\x7f", "\\x1b[31m\\x7f"},
    {"\u00b5s", "\u00b5s"},
    {"\xff\xc3", "\\xff\\xc3"},
    {"\xc2\x9b"
     "31m",
     "\\xc2\\x9b31m"}, // CSI of C1
    {"a\xe2\x80\xae"
     "b\xe2\x81\xa6"
     "c\xd8\x9c",
     "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6c\\xd8\\x9c"}, // marks of direction
    {"\xe2\x80\xa6 \xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x80\xa6 \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"012345678901234567890123456789012345678901234567890123456789",
     "012345678901234567890123456789012345678901234567890123456789"},
    {"0123456789012345678901234567890123456789012345678901234567890",
     "012345678901234567890123456789012345678901234567890123456789..."},
    {"01234567890123456789012345678901234567890123456789012345678\x01zz",
     "01234567890123456789012345678901234567890123456789012345678\\x01..."},
};

START_TEST(quoting)
{
    char buffer[ERROR_QUOTE_BYTES];
    ck_assert_str_eq(error_quote(quotes[_i].text, buffer), quotes[_i].quoted);
}
END_TEST

// Whoever wrote the message, and though it was quoted before.
START_TEST(messages_are_one_line)
{
    char buffer[ERROR_QUOTE_BYTES];
    struct error err = {0};
    error_set(&err, EXIT_INPUT, "%s: '%s'", "a\x1b[2J.csv", error_quote("b\n", buffer));
    ck_assert_str_eq(err.text, "a\\x1b[2J.csv: 'b\\n'");
    error_prefix(&err, "c\xc2\x9b"
                       "0m");
    ck_assert_str_eq(err.text, "c\\xc2\\x9b0m: a\\x1b[2J.csv: 'b\\n'");
}
END_TEST

START_TEST(allocation)
{
    uint64_t *array = mem_alloc(3, sizeof *array);
    ck_assert_uint_eq(array[0] | array[1] | array[2], 0);
    array[2] = 5;
    array = mem_grow(array, 100, sizeof *array);
    ck_assert_uint_eq(array[2], 5);
    free(array);
    void *empty = mem_alloc(0, 8);
    ck_assert_ptr_nonnull(empty);
    empty = mem_grow(empty, 0, 8);
    ck_assert_ptr_nonnull(empty);
    free(empty);
    char *text = mem_format("%d of %s", 3, "four"), *copy = mem_copy_text(text);
    ck_assert_str_eq(copy, "3 of four");
    free(text);
    free(copy);
}
END_TEST

// A product that overflows ends the program as running out of memory does.
START_TEST(allocation_overflow)
{
    const pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        void *memory = _i == 0 ? mem_alloc(SIZE_MAX / 2, 4) : mem_grow(NULL, SIZE_MAX / 2, 4);
        free(memory);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_RUNTIME);
}
END_TEST

START_TEST(notices)
{
    char *text = NULL;
    size_t length = 0;
    FILE *saved = stderr;
    stderr = open_memstream(&text, &length);
    notice("wrapped after %d steps", 3);
    notice_quiet(true);
    notice("not shown");
    notice_quiet(false);
    fclose(stderr);
    stderr = saved;
    ck_assert_str_eq(text, "notice: wrapped after 3 steps\n");
    free(text);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

int main(void)
{
    TCase *units = tcase_create("units");
    tcase_add_loop_test(units, parses, 0, COUNT(good));
    tcase_add_loop_test(units, refuses, 0, COUNT(bad));
    tcase_add_loop_test(units, formats, 0, COUNT(shown));
    tcase_add_loop_test(units, round_trips, UNIT_NUMBER, UNIT_FLOPS + 1);
    tcase_add_test(units, microseconds);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, error_texts);
    tcase_add_test(errors, error_overflow);
    tcase_add_loop_test(errors, quoting, 0, COUNT(quotes));
    tcase_add_test(errors, messages_are_one_line);
    tcase_add_test(errors, notices);
    TCase *memories = tcase_create("memory");
    tcase_add_test(memories, allocation);
    tcase_add_loop_test(memories, allocation_overflow, 0, 2);
    Suite *suite = suite_create("units");
    suite_add_tcase(suite, units);
    suite_add_tcase(suite, errors);
    suite_add_tcase(suite, memories);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
