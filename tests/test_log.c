// study/rows/log_line and study/rows/log, base/infile's texts: what stands before and in lines of
// logs, texts of any length, and what is said of what is no row.
#include "base/infile.h"
#include "study/rows/log_line.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/suite.h"

#include <string.h>

// ---- lines --------------------------------------------------------------------------------------

static const struct {
    const char *line, *text;
    int rank;
} lines[] = {
    {"plain", "plain", -1},
    {"", "", -1},
    {"   # kept", "   # kept", -1},
    {"12: # srun", "# srun", 12},
    {"3:", "", 3},
    {"[1,5]<stdout>:  row", "  row", 5},
    {"   [1,5]<stderr>:row", "row", 5},
    {"[prterun-gpu-a-4711@1,11]<stdout>: row", " row", 11},
    {"[7] hydra", "hydra", 7},
    {"[7]", "", 7},
    {"[default3]:text", "text", 3},
    {"[rank2]:text", "text", 2},
    {"(EngineWorker pid=17, ip=10.0.0.1) text", "text", -1},
    {"[pod/bench-0/main] text", "text", -1},
    {"2027-01-09T03:05:27.123456789Z text", "text", -1},
    {"2027-01-09T03:05:27+01:00 text", "text", -1},
    {"2027-01-09 03:05:27,123 text", "text", -1},
    {"2027-01-09 03:05:27,123 INFO text", "text", -1},
    {"2027-01-09 03:05:27,123 - WARNING - text", "text", -1},
    {"2027-01-09 03:05:27 INFORMAL text", "INFORMAL text", -1},
    {"[2027-01-09 03:05:27] [3] text", "text", 3},
    {"Sat Jan  9 03:05:27 2027[1,4]<stdout>:text", "text", 4},
    {"Jan  9 03:05:27 gpu-a srun[4711]:   text", "  text", -1},
    {"Jan 19 03:05:27 text", "text", -1},
    {"[bench-launcher-0] text", "text", -1},
    {"bench-launcher-q7x2z launcher # text", "# text", -1},
    {"bench-1  | text", "text", -1},
    {"rack-07.site: # text", "# text", -1},
    {"a/night-2.log:# text", "# text", -1},
    {"night.txt:17:# text", "# text", -1},
    {"17:# text", "# text", 17},
    {"    17\t  4096  128", "  4096  128", -1},
    {"> > quoted", "quoted", -1},
    {"[pod/bench-0/main] 2027-01-09T03:05:27Z > [1,9]<stdout>:[tuning] Best", "[tuning] Best", 9},
    {"\033[32m[0] \033[1mgreen\033[0m", "green", 0},
    {"\033]0;title\atext", "text", -1},
    {"a\xc2\xa0"
     "b\xe2\x80\xaf"
     "c\xe2\x80\x8b"
     "d",
     "a b cd", -1},
    {"\xef\xbb\xbf# first", "# first", -1},
    {"12: _**62.15 GB/s**_ (**RDMA**)", "62.15 GB/s (RDMA)", 12},
    {"ends in \033[", "ends in ", -1},
    {"ends in \033", "ends in ", -1},
    {"9 \xc2\xb5s, 9 \xce\xbcs", "9 us, 9 us", -1},
    // A tool's own.
    {"NIC0: mlx5_0", "NIC0: mlx5_0", -1},
    {"Top-k: 8", "Top-k: 8", -1},
    {"nccl-tests version 2.19.6", "nccl-tests version 2.19.6", -1},
    {"gpu-a:7:9 [0] NCCL INFO x", "gpu-a:7:9 [0] NCCL INFO x", -1},
    {"socket.cc:59 text", "socket.cc:59 text", -1},
    {"4096\t128\tfloat", "4096\t128\tfloat", -1},
    {"[rank 3] Dispatch", "[rank 3] Dispatch", -1},
    {"[config] num_tokens=128", "[config] num_tokens=128", -1},
    {"[tuning] SMs 24", "[tuning] SMs 24", -1},
    {"[1,x]<stdout>:a", "[1,x]<stdout>:a", -1},
    {"[a b,1]<stdout>:a", "[a b,1]<stdout>:a", -1},
    {"12:34 o'clock", "12:34 o'clock", -1},
    {"[1776962611.251829] [host:1] WARN", "[1776962611.251829] [host:1] WARN", -1},
    {"(see above) text", "(see above) text", -1},
    {"2027-01-09 report", "2027-01-09 report", -1},
    {"4096  128", "4096  128", -1},
    {"a*b c_d", "a*b c_d", -1},
};

START_TEST(cleans_lines)
{
    char text[256];
    int rank = 99;
    strcpy(text, lines[_i].line);
    ck_assert_str_eq(log_line_clean(text, &rank), lines[_i].text);
    ck_assert_int_eq(rank, lines[_i].rank);
}
END_TEST

// ---- texts --------------------------------------------------------------------------------------

static void open_text(struct infile_text *text, const struct fixture *file)
{
    struct error err = {0};
    ck_assert_msg(infile_text_open(text, file->path, &err), "%s", err.text);
}

static char *next_line(struct infile_text *text)
{
    struct error err = {0};
    char *line;
    ck_assert_msg(infile_text_line(text, &line, &err), "%s", err.text);
    return line;
}

START_TEST(ends_lines_as_people_do)
{
    static const struct {
        const char *line;
        size_t number;
    } expected[] = {{"unix", 1}, {"windows", 2}, {"", 3}, {"50 %", 4}, {"100 %", 4}, {"last", 5}};
    const struct fixture file = fixture_make("unix\nwindows\r\n\n50 %\r100 %\nlast", ".txt");
    struct infile_text text;
    open_text(&text, &file);
    for (size_t i = 0; i < SUITE_COUNT(expected); i++) {
        ck_assert_str_eq(next_line(&text), expected[i].line);
        ck_assert_uint_eq(text.line, expected[i].number);
    }
    ck_assert_ptr_null(next_line(&text));
    infile_text_close(&text);
    fixture_remove(&file);
}
END_TEST

// Lines of every length up to many buffers' whole: none is lost, torn or counted twice.
START_TEST(lines_of_any_buffer)
{
    const size_t count = 200000;
    char *bytes = NULL;
    size_t length;
    FILE *out = open_memstream(&bytes, &length);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%zu %.*s%s", i, (int)(i % 23), "abcdefghijklmnopqrstuvw",
                i % 3 ? "\n" : "\r\n");
    fclose(out);
    const struct fixture file = fixture_make(bytes, ".txt");
    struct infile_text text;
    open_text(&text, &file);
    for (size_t i = 0; i < count; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "%zu %.*s", i, (int)(i % 23),
                 "abcdefghijklmnopqrstuvw");
        ck_assert_str_eq(next_line(&text), expected);
        ck_assert_uint_eq(text.line, i + 1);
    }
    ck_assert_ptr_null(next_line(&text));
    infile_text_close(&text);
    fixture_remove(&file);
    free(bytes);
}
END_TEST

START_TEST(cuts_lines_without_end)
{
    const size_t length = 3 * INFILE_LINE_LIMIT;
    char *bytes = malloc(length + 16);
    strcpy(bytes, "a\n");
    memset(bytes + 2, 'x', length);
    strcpy(bytes + 2 + length, "\nb\n");
    const struct fixture file = fixture_make(bytes, ".txt");
    struct infile_text text;
    open_text(&text, &file);
    ck_assert_str_eq(next_line(&text), "a");
    ck_assert_uint_eq(strlen(next_line(&text)), INFILE_LINE_LIMIT);
    ck_assert_str_eq(next_line(&text), "b");
    ck_assert_uint_eq(text.line, 3);
    ck_assert_uint_eq(text.cut_lines, 1);
    ck_assert_ptr_null(next_line(&text));
    infile_text_close(&text);
    fixture_remove(&file);
    free(bytes);
}
END_TEST

START_TEST(whole_after_its_head)
{
    const size_t length = 2 * INFILE_LINE_LIMIT;
    char *bytes = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)('a' + i % 26);
    bytes[length] = '\0';
    const struct fixture file = fixture_make(bytes, ".txt");
    struct infile_text text;
    struct error err = {0};
    size_t read;
    open_text(&text, &file);
    ck_assert(!strncmp(infile_text_head(&text), bytes, 1024));
    char *whole = infile_text_whole(&text, INFILE_LIMIT, &read, &err);
    ck_assert_ptr_nonnull(whole);
    ck_assert_uint_eq(read, length);
    ck_assert_str_eq(whole, bytes);
    free(whole);
    infile_text_close(&text);
    fixture_remove(&file);
    free(bytes);
}
END_TEST

// ---- what is known ------------------------------------------------------------------------------

static const struct {
    const char *text, *message;
} unknown[] = {
    {"", ": empty: expected one of: a measurements CSV, "},
    {" \r\n\n", ": empty: expected one of: "},
    {"Dear all,\nwe measured 300 GB/s.\n", ": of no format that is known: expected one of: "},
    {"a,b,c\n1,2,3\n", ": of no format that is known: expected one of: "},
    {"{\"a\": 1}\n", ": of no format that is known: expected one of: "},
    {"0 65536\n65536 0\n", ": of no format that is known: expected one of: "},
};

START_TEST(unknown_texts)
{
    const struct fixture file = fixture_make(unknown[_i].text, ".txt");
    struct measured measured;
    struct error err = {0};
    ck_assert(!measured_load(&measured, file.path, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    const char *message = fixture_message(&file, &err);
    ck_assert_msg(!strncmp(message, unknown[_i].message, strlen(unknown[_i].message)), "%s",
                  message);
    fixture_remove(&file);
}
END_TEST

// ---- figures of ranks ---------------------------------------------------------------------------

START_TEST(rows_keep_ranks)
{
    const double first[] = {1, 2, 3}, second[] = {7};
    struct measured measured = {0};
    names_add(&measured.files, "a.log");
    measured_set_ranks(&measured, measured_add(&measured, 1), first, 3);
    for (size_t i = 0; i < 200; i++) // the rows move
        measured_add(&measured, 2 + i);
    measured_set_ranks(&measured, &measured.rows[200], second, 1);
    ck_assert_uint_eq(measured.rows[0].ranks, 3);
    ck_assert(measured.rows[0].rank_us[2] == 3);
    ck_assert_ptr_null(measured.rows[1].rank_us);
    ck_assert(measured.rows[200].ranks == 1 && measured.rows[200].rank_us[0] == 7);
    measured_release(&measured);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");
    tcase_add_loop_test(tests, cleans_lines, 0, SUITE_COUNT(lines));
    tcase_add_test(tests, ends_lines_as_people_do);
    tcase_add_test(tests, lines_of_any_buffer);
    tcase_add_test(tests, cuts_lines_without_end);
    tcase_add_test(tests, whole_after_its_head);
    tcase_add_loop_test(tests, unknown_texts, 0, SUITE_COUNT(unknown));
    tcase_add_test(tests, rows_keep_ranks);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
