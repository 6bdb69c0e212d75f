// base/range: lists as a command line writes them, and every refusal.
#include "base/range.h"
#include "tests/suite.h"

#include <stdlib.h>
#include <string.h>

typedef bool parser(const char *text, uint32_t **values, size_t *count, struct error *err);

static const struct {
    parser *parse;
    const char *text;
    uint32_t values[8];
    size_t count;
} read_rows[] = {
    {range_parse, "128", {128}, 1},
    {range_parse, "4,1,4", {1, 4}, 2},
    {range_parse, "2..4", {2, 3, 4}, 3},
    {range_parse, "1..7:3", {1, 4, 7}, 3},
    {range_parse, "1..6:3", {1, 4}, 2},
    {range_parse, "1..12:log", {1, 2, 4, 8, 12}, 5},
    {range_parse, "9,1..2", {1, 2, 9}, 3},
    {range_parse_indices, "0", {0}, 1},
    {range_parse_indices, "0..3", {0, 1, 2, 3}, 4},
    {range_parse_indices, "2,0,2", {0, 2}, 2},
    {range_parse_indices, "0..12:4,5", {0, 4, 5, 8, 12}, 5},
    {range_parse_indices, "16777216", {16777216}, 1},
};

START_TEST(reads)
{
    uint32_t *values;
    size_t count;
    struct error err = {0};
    ck_assert_msg(read_rows[_i].parse(read_rows[_i].text, &values, &count, &err), "%s", err.text);
    ck_assert_uint_eq(count, read_rows[_i].count);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(values[i], read_rows[_i].values[i]);
    free(values);
}
END_TEST

static const struct {
    parser *parse;
    const char *text, *message;
} refused[] = {
    {range_parse, "", "'': expected counts from 1"},
    {range_parse, "0", "'0': expected counts from 1"},
    {range_parse, "1..", "'': expected counts"},
    {range_parse, "1,,2", "'': expected counts"},
    {range_parse, "8..4", "'8..4': goes down"},
    {range_parse, "1..4:0", "'0': expected counts"},
    {range_parse, "1..4:lin", "'lin': expected counts"},
    {range_parse, "16777217", "'16777217': expected counts"},
    {range_parse, "1..20000", "more than 10000 values"},
    {range_parse_indices, "-1", "'-1': expected indices from 0"},
    {range_parse_indices, "0..3:0", "'0': expected indices"},
    {range_parse_indices, "0..4:log", "'log': expected indices"},
    {range_parse_indices, "3..0", "'3..0': goes down"},
    {range_parse_indices, "1.5", "'1.5': expected indices"},
};

START_TEST(refuses)
{
    uint32_t *values;
    size_t count;
    struct error err = {0};
    ck_assert(!refused[_i].parse(refused[_i].text, &values, &count, &err));
    ck_assert_msg(!strncmp(err.text, refused[_i].message, strlen(refused[_i].message)),
                  "'%s' does not begin with '%s'", err.text, refused[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

static const struct {
    const char *text;
    double from, to; // both 0: refused
} shares[] = {
    {"0..0.5", 0, 0.5}, {"0.25..1", 0.25, 1}, {"0..1", 0, 1},  {"0.5", 0, 0},
    {"0.5..0.5", 0, 0}, {"0.6..0.5", 0, 0},   {"", 0, 0},      {"..1", 0, 0},
    {"0..", 0, 0},      {"0..1.01", 0, 0},    {"-1..1", 0, 0}, {"0..nan", 0, 0},
    {"0..1x", 0, 0},    {"0..0.5..1", 0, 0},
};

START_TEST(share)
{
    struct error err;
    double from, to;
    const bool ok = range_parse_share(shares[_i].text, &from, &to, &err);
    ck_assert_msg(ok == (shares[_i].to > 0), "'%s'", shares[_i].text);
    if (ok) {
        ck_assert_double_eq(from, shares[_i].from);
        ck_assert_double_eq(to, shares[_i].to);
        return;
    }
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, "as 0..0.5") != NULL, "%s", err.text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("range");
    TCase *tests = tcase_create("range");
    tcase_add_loop_test(tests, reads, 0, SUITE_COUNT(read_rows));
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_loop_test(tests, share, 0, SUITE_COUNT(shares));
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
