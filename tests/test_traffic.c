// model/traffic: byte matrices from files and words, and every refusal.
#include "scenario/traffic.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#include <stdlib.h>

START_TEST(reads_a_matrix)
{
    const struct fixture file =
        fixture_make("# nccl-tests\n 0 10  20\n\n1e3\t0,30 # to the last\r\n4 5 7", ".txt");
    const uint64_t expected[] = {0, 10, 20, 1000, 0, 30, 4, 5, 7};
    uint64_t *bytes;
    uint32_t ranks = 0;
    struct error err = {0};
    ck_assert_msg(traffic_load(file.path, 2, &bytes, &ranks, &err), "%s", err.text);
    ck_assert_uint_eq(ranks, 3);
    ck_assert_mem_eq(bytes, expected, sizeof expected);
    free(bytes);
    fixture_remove(&file);
}
END_TEST

START_TEST(reads_a_word)
{
    uint64_t *bytes;
    uint32_t ranks = 4;
    struct error err = {0};
    ck_assert_msg(traffic_load("uniform:1MiB", 2, &bytes, &ranks, &err), "%s", err.text);
    for (uint32_t i = 0; i < 16; i++)
        ck_assert_uint_eq(bytes[i], i % 5 ? 1 << 20 : 0);
    free(bytes);
}
END_TEST

// Four ranks, two a node.
static const struct {
    const char *word;
    uint64_t cells[16];
} patterns[] = {
    {"ring:8B", {0, 8, 0, 0, 0, 0, 8, 0, 0, 0, 0, 8, 8, 0, 0, 0}},
    {"inside:8B", {0, 8, 0, 0, 8, 0, 0, 0, 0, 0, 0, 8, 0, 0, 8, 0}},
    {"between:8B", {0, 0, 8, 8, 0, 0, 8, 8, 8, 8, 0, 0, 8, 8, 0, 0}},
    {"pair:3:0:8B", {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0}},
    // 1, 2 and 3 sixths of 600 bytes, whole multiples of 16 of them.
    {"distance:600B", {0, 96, 192, 288, 288, 0, 96, 192, 192, 288, 0, 96, 96, 192, 288, 0}},
};

START_TEST(reads_patterns)
{
    uint64_t *bytes;
    uint32_t ranks = 4;
    struct error err = {0};
    ck_assert_msg(traffic_load(patterns[_i].word, 2, &bytes, &ranks, &err), "%s", err.text);
    ck_assert_mem_eq(bytes, patterns[_i].cells, sizeof patterns[_i].cells);
    free(bytes);
}
END_TEST

START_TEST(knows_patterns)
{
    static const char *const known[] = {"uniform", "ring",     "inside",
                                        "between", "pair:0:8", "distance"};
    static const char *const unknown[] = {"",          "rings",    "pair",   "pair:0",
                                          "pair:0:8:", "pair:a:b", "matrix", "ring:8B"};
    for (size_t i = 0; i < SUITE_COUNT(known); i++)
        ck_assert_msg(traffic_is_pattern(known[i]), "%s", known[i]);
    for (size_t i = 0; i < SUITE_COUNT(unknown); i++)
        ck_assert_msg(!traffic_is_pattern(unknown[i]), "%s", unknown[i]);
}
END_TEST

START_TEST(reads_after_a_byte_order_mark)
{
    const struct fixture file = fixture_make("\xef\xbb\xbf"
                                             "0 1\n1 0\n",
                                             ".txt");
    uint64_t *bytes;
    uint32_t ranks = 0;
    struct error err = {0};
    ck_assert_msg(traffic_load(file.path, 2, &bytes, &ranks, &err), "%s", err.text);
    ck_assert_uint_eq(ranks, 2);
    free(bytes);
    fixture_remove(&file);
}
END_TEST

START_TEST(names_the_range_of_a_word)
{
    uint64_t *bytes;
    uint32_t ranks = 2;
    struct error err = {0};
    ck_assert_msg(traffic_load("uniform:1PiB", 2, &bytes, &ranks, &err), "%s", err.text);
    ck_assert_uint_eq(bytes[1], UINT64_C(1) << 50);
    free(bytes);
    ck_assert(!traffic_load("uniform:0B", 2, &bytes, &ranks, &err));
    ck_assert_str_eq(err.text, "uniform:0B: expected from 1B to 1PiB a pair");
}
END_TEST

static const struct {
    const char *text, *message;
} refused[] = {
    {"", ": empty"},
    {"# nothing\n\n", ": empty: expected a square matrix of bytes"},
    {"0 1\n1 0\n1 1\n", ":3: 3 rows of 2 cells: expected a square matrix"},
    {"0 1 2\n1 0 2\n", ":2: 2 rows of 3 cells: expected a square matrix"},
    {"0 1\n1\n", ":2: 1 cells, but the first row has 2: expected a square matrix"},
    {"5", ": every cell off the diagonal is 0: nothing to move"},
    {"5 0\n0 5\n", ": every cell off the diagonal is 0: nothing to move"},
    {"0 nan\n1 0\n", ":1: 'nan': expected a whole number of bytes, at most 2^50"},
    {"0 1\ninf 0\n", ":2: 'inf': expected a whole number of bytes, at most 2^50"},
    {"0 -1\n1 0\n", ":1: '-1': expected a whole number of bytes, at most 2^50"},
    {"0 1.5\n1 0\n", ":1: '1.5': expected a whole number of bytes, at most 2^50"},
    {"0 1e16\n1 0\n", ":1: '1e16': expected a whole number of bytes, at most 2^50"},
    {"0 99999999999999999999999999\n1 0\n", ":1: '99999999999999999999999999': expected"},
    {"0 1e999\n1 0\n", ":1: '1e999': expected a whole number of bytes, at most 2^50"},
    {"0 1MiB\n1 0\n", ":1: '1MiB': expected a whole number of bytes, at most 2^50"},
    {"0 x\x01z\n1 0\n", ":1: 'x\\x01z': expected a whole number of bytes, at most 2^50"},
    {"0 x\n1 0\n", ":1: 'x': expected a whole number of bytes, at most 2^50"},
};

START_TEST(refuses)
{
    const struct fixture file = fixture_make(refused[_i].text, ".txt");
    uint64_t *bytes;
    uint32_t ranks = 0;
    struct error err = {0};
    ck_assert(!traffic_load(file.path, 2, &bytes, &ranks, &err));
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, refused[_i].message, strlen(refused[_i].message)),
                  "'%s' does not begin with '%s'", message, refused[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    fixture_remove(&file);
}
END_TEST

static const char *const words[] = {"uniform:",
                                    "uniform:0B",
                                    "uniform:-1MiB",
                                    "uniform:nanB",
                                    "uniform:1M",
                                    "uniform:12",
                                    "uniform:1e30B",
                                    "uniform:2PiB",
                                    "uniform:1025TiB",
                                    "/dev/zero",
                                    "uniform:1.5B",
                                    "uniform:1MiBx",
                                    "ring:",
                                    "pair:0:1",
                                    "pair:0:4:1B",
                                    "pair:1:1:1B",
                                    "pair:-1:1:1B",
                                    "pair:0:1B",
                                    "distance:5B",
                                    "inside:",
                                    "/tmp",
                                    "/nonexistent/m.txt",
                                    ""};

START_TEST(refuses_words)
{
    uint64_t *bytes;
    uint32_t ranks = 4;
    struct error err = {0};
    ck_assert_msg(!traffic_load(words[_i], 2, &bytes, &ranks, &err), "'%s'", words[_i]);
    ck_assert(err.text[0]);
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

START_TEST(refuses_too_many_ranks)
{
    char *text = malloc(2 * 1025 + 2);
    for (int i = 0; i < 1025; i++)
        memcpy(text + 2 * i, "1 ", 2);
    strcpy(text + 2 * 1025, "\n");
    const struct fixture file = fixture_make(text, ".txt");
    uint64_t *bytes;
    uint32_t ranks = 0;
    struct error err = {0};
    ck_assert(!traffic_load(file.path, 2, &bytes, &ranks, &err));
    ck_assert_str_eq(fixture_message(&file, &err), ":1: 1025 ranks: expected at most 1024");
    fixture_remove(&file);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traffic");
    TCase *tests = tcase_create("traffic");
    tcase_add_test(tests, reads_a_matrix);
    tcase_add_test(tests, reads_a_word);
    tcase_add_loop_test(tests, reads_patterns, 0, SUITE_COUNT(patterns));
    tcase_add_test(tests, knows_patterns);
    tcase_add_test(tests, names_the_range_of_a_word);
    tcase_add_test(tests, reads_after_a_byte_order_mark);
    tcase_add_loop_test(tests, refuses, 0, SUITE_COUNT(refused));
    tcase_add_loop_test(tests, refuses_words, 0, SUITE_COUNT(words));
    tcase_add_test(tests, refuses_too_many_ranks);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
