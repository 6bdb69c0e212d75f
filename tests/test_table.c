// base/table and base/csv: the three printed forms, and reading a TSV's cousin back.
#include "base/csv.h"
#include "base/infile.h"
#include "base/table.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

// ---- table -------------------------------------------------------------------------------------

static struct table *make(void)
{
    struct table *table = table_new("phases", "phase bytes latency_us note");
    table_comment(table, "version: %s\nof %d", "1.0", 2026);
    TABLE_ADD(table, cell_text("dispatch"), cell_count(123456789012), cell_real(163.2345678),
              cell_text("tab\there"));
    TABLE_ADD(table, cell_text("caf\u00e9"), cell_blank(), cell_real(NAN), cell_text(""));
    TABLE_ADD(table, cell_text("last")); // and the rest of its row never filled
    return table;
}

static char *printed(const struct table *table, void (*print)(const struct table *, FILE *))
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    print(table, out);
    fclose(out);
    return text;
}

START_TEST(aligned)
{
    struct table *table = make();
    char *text = printed(table, table_print);
    ck_assert_str_eq(text, "# version: 1.0 of 2026\n"
                           "phase            bytes  latency_us  note\n"
                           "dispatch  123456789012       163.2  tab here\n"
                           "caf\u00e9                 -           -  -\n"
                           "last                 -           -  -\n");
    ck_assert_uint_eq(table_rows(table), 3);
    free(text);
    table_free(table);
}
END_TEST

START_TEST(tsv)
{
    struct table *table = make();
    char *text = printed(table, table_print_tsv);
    ck_assert_str_eq(text, "# epsim.phases/1\n"
                           "# version: 1.0 of 2026\n"
                           "phase\tbytes\tlatency_us\tnote\n"
                           "dispatch\t123456789012\t163.235\ttab here\n"
                           "caf\u00e9\t\t\t\n"
                           "last\t\t\t\n");
    free(text);
    table_free(table);
}
END_TEST

// Piece by piece, the same lines; what was printed is gone.
START_TEST(flushed)
{
    struct table *table = make();
    char *whole = printed(table, table_print_tsv), *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    table_flush_tsv(table, out);
    ck_assert_uint_eq(table_rows(table), 0);
    table_flush_tsv(table, out);
    fflush(out);
    ck_assert_str_eq(text, whole);
    TABLE_ADD(table, cell_text("more"));
    TABLE_ADD(table, cell_count(7));
    table_flush_tsv(table, out);
    fclose(out);
    ck_assert_str_eq(text + strlen(whole), "more\t7\t\t\n");
    free(whole);
    free(text);
    table_free(table);
}
END_TEST

START_TEST(as_json)
{
    struct table *table = make();
    json_t *json = table_json(table);
    char *text = json_dumps(json, TABLE_JSON_FLAGS);
    ck_assert_str_eq(text,
                     "[{\"phase\": \"dispatch\", \"bytes\": 123456789012, \"latency_us\": 163.235, "
                     "\"note\": \"tab here\"}, "
                     "{\"phase\": \"caf\u00e9\", \"bytes\": null, \"latency_us\": null, "
                     "\"note\": \"\"}, "
                     "{\"phase\": \"last\", \"bytes\": null, \"latency_us\": null, "
                     "\"note\": null}]");
    free(text);
    json_decref(json);
    table_free(table);
}
END_TEST

START_TEST(empty)
{
    struct table *table = table_new("none", "a b");
    json_t *json = table_json(table);
    char *text = printed(table, table_print), *lines = printed(table, table_print_tsv);
    ck_assert_uint_eq(table_rows(table), 0);
    ck_assert_str_eq(text, "a  b\n");
    ck_assert_str_eq(lines, "# epsim.none/1\na\tb\n");
    ck_assert_uint_eq(json_array_size(json), 0);
    json_decref(json);
    free(text);
    free(lines);
    table_free(table);
    table_free(NULL);
}
END_TEST

static const struct {
    double value;
    const char *text, *json;
} reals[] = {
    {0, "0", "0.0"},
    {-0.0, "0", "0.0"},
    {0.1, "0.1", "0.1"},
    {2.0 / 3, "0.666667", "0.666667"},
    {-1.5, "-1.5", "-1.5"},
    {999999.6, "1000000", "1000000.0"},
    {1234567, "1234570", "1234570.0"},
    {123456.7, "123457", "123457.0"},
    {1.23456789e14, "123457000000000", "123457000000000.0"},
    {1.23456789e18, "1.23457e+18", "1.23457e18"},
    {1.5e-7, "1.5e-07", "1.5e-7"},
    {INFINITY, "inf", "null"},
    {NAN, "", "null"},
};

START_TEST(six_digits)
{
    struct table *table = table_new("x", "x");
    TABLE_ADD(table, cell_real(reals[_i].value));
    char *text = printed(table, table_print_tsv), expected[64];
    snprintf(expected, sizeof expected, "# epsim.x/1\nx\n%s\n", reals[_i].text);
    ck_assert_str_eq(text, expected);
    json_t *json = table_json_real(reals[_i].value);
    const double back = json_is_null(json) ? NAN : json_real_value(json);
    ck_assert(json_is_null(json) == (strcmp(reals[_i].json, "null") == 0));
    if (!isnan(back)) {
        ck_assert(back == strtod(reals[_i].json, NULL));
        ck_assert(back == table_round(back)); // rounding again changes nothing
    }
    json_decref(json);
    free(text);
    table_free(table);
}
END_TEST

static const struct {
    double value;
    const char *text;
} shorts[] = {
    {0, "0"},
    {-0.0, "0"},
    {0.123456, "0.1235"},
    {5.75114, "5.751"},
    {163.2345, "163.2"},
    {999.96, "1000"},
    {1234.56, "1235"},
    {9999.6, "10000"},
    {12345.6, "12346"},
    {1234567, "1234570"},
    {-2.34567, "-2.346"},
    {1.5e-7, "1.5e-07"},
};

START_TEST(four_digits)
{
    char text[TABLE_NUMBER_BYTES];
    ck_assert_str_eq(table_short(shorts[_i].value, text), shorts[_i].text);
}
END_TEST

START_TEST(odd_cells)
{
    struct table *table = table_new("x", "x");
    TABLE_ADD(table, cell_text("\xff|\x1b[0m")); // not UTF-8, and a terminal's escape
    TABLE_ADD(table, cell_count(UINT64_MAX));
    TABLE_ADD(table, cell_text("a\xe2\x80\xae"
                               "b"));
    json_t *json = table_json(table);
    char *text = json_dumps(json, TABLE_JSON_FLAGS);
    ck_assert_ptr_nonnull(strstr(text, "\"?| [0m\""));
    ck_assert_ptr_nonnull(strstr(text, "\"a   b\"")); // a mark of direction
    free(text);
    json_decref(json);
    text = printed(table, table_print_tsv);
    ck_assert_ptr_nonnull(strstr(text, "18446744073709551615\n"));
    free(text);
    table_free(table);
}
END_TEST

// ---- CSV ---------------------------------------------------------------------------------------

static char *write_file(const char *text)
{
    static char path[] = "/tmp/epsim-test-csv-XXXXXX";
    strcpy(path + sizeof path - 7, "XXXXXX");
    const int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    return path;
}

static struct csvfile *load_csv(const char *path, struct error *err)
{
    size_t length;
    char *text = infile_read_text(path, INFILE_LIMIT, &length, err);
    struct csvfile *csv = text ? csvfile_parse(path, text, length, err) : NULL;
    free(text);
    return csv;
}

static struct csvfile *load(const char *text, struct error *err)
{
    char *path = write_file(text);
    struct csvfile *csv = load_csv(path, err);
    unlink(path);
    return csv;
}

// Every row as "line:cell|cell", joined with ';', the header first without a line.
static char *dump(const struct csvfile *csv)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    for (size_t c = 0; c < csv->columns; c++) {
        fprintf(out, "%s%s", c > 0 ? "|" : "", csvfile_column(csv, c));
    }
    for (size_t r = 0; r < csv->rows; r++) {
        fprintf(out, ";%zu:", csvfile_line(csv, r));
        for (size_t c = 0; c < csv->columns; c++) {
            fprintf(out, "%s%s", c > 0 ? "|" : "", csvfile_cell(csv, r, c));
        }
    }
    fclose(out);
    return text;
}

static const struct {
    const char *text, *dump;
} files[] = {
    {"a,b\n1,2\n3,4\n", "a|b;2:1|2;3:3|4"},
    {"a,b\r\n1,2\r\n", "a|b;2:1|2"},
    {"a,b\n1,2", "a|b;2:1|2"}, // no newline at the end
    {"a,b\n", "a|b"},
    {"\xef\xbb\xbf# epsim.x/1\n\n# seed: 1\na,b\n1,2\n", "a|b;5:1|2"},
    {"a,b\n\n1,2\n\n\n3,4\n", "a|b;3:1|2;6:3|4"},
    {"a,b\n\"x\ny\",2\n3,4\n", "a|b;2:x\ny|2;4:3|4"}, // a quoted newline
    {"a,b\n1,\"x\n\ny\"\n3,4\n", "a|b;2:1|x\n\ny;5:3|4"},
    {"a,b\n\"say \"\"hi\"\"\",\"1,5\"\n", "a|b;2:say \"hi\"|1,5"},
    {"a,b,c\n,,\n", "a|b|c;2:||"},
    {" a , b \n 1 , 2 \n", "a|b;2:1|2"},
    {"a\n#1\n", "a;2:#1"}, // after the header '#' is text
};

START_TEST(csv_reads)
{
    struct error err = {0};
    struct csvfile *csv = load(files[_i].text, &err);
    ck_assert_msg(csv != NULL, "%s", err.text);
    char *text = dump(csv);
    ck_assert_str_eq(text, files[_i].dump);
    free(text);
    csvfile_free(csv);
}
END_TEST

static const struct {
    const char *text, *message; // after the file's name
} broken[] = {
    {"", ": empty; expected a header line"},
    {"# nothing\n\n", ": empty; expected a header line"},
    {"a,b\n1,2\n3\n", ":3: 1 cells; expected 2, as in the header"},
    {"a,b\n1,2,3\n4\n", ":2: 3 cells; expected 2, as in the header"},
    {"a,b\n\n\"x\ny\"\n", ":3: 1 cells; expected 2, as in the header"},
    {"# c\na,b,a\n", ":2: column 'a' is named twice"},
    {"a,b\n1,x\"y\n", ":2: a quote out of place"},
    {"a,b\n1,\"x\"y\n", ":2: a quote out of place"},
    {"a,b\n1,2\n3,\"never\nclosed\n", ":3: a quote out of place"},
};

START_TEST(csv_refuses)
{
    struct error err = {0};
    char *path = write_file(broken[_i].text), expected[256];
    ck_assert_ptr_null(load_csv(path, &err));
    snprintf(expected, sizeof expected, "%s%s", path, broken[_i].message);
    unlink(path);
    ck_assert_msg(strncmp(err.text, expected, strlen(expected)) == 0, "%s", err.text);
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

START_TEST(csv_places)
{
    struct error err = {0};
    ck_assert_ptr_null(load_csv("/tmp/epsim-no-such.csv", &err));
    ck_assert_str_eq(err.text, "/tmp/epsim-no-such.csv: No such file or directory");
    ck_assert_ptr_null(load_csv("/tmp", &err));
    ck_assert_str_eq(err.text, "/tmp: is a directory; expected a file");
    ck_assert_ptr_null(load_csv("/dev/null", &err));
    ck_assert_str_eq(err.text, "/dev/null: empty; expected a header line");
    ck_assert_ptr_null(load_csv("/dev/zero", &err));
    ck_assert_str_eq(err.text, "/dev/zero: byte 0 is NUL; expected a text file");
    csvfile_free(NULL);
}
END_TEST

START_TEST(csv_binary)
{
    struct error err = {0};
    char *path = write_file("a,b\n");
    FILE *out = fopen(path, "a");
    fwrite("1\0,2\n", 1, 5, out);
    fclose(out);
    ck_assert_ptr_null(load_csv(path, &err));
    unlink(path);
    ck_assert_ptr_nonnull(strstr(err.text, ": byte 5 is NUL; expected a text file"));
}
END_TEST

START_TEST(csv_finds)
{
    struct error err = {0};
    struct csvfile *csv = load("id,latency_us\n1,2\n", &err);
    ck_assert_int_eq(csvfile_find(csv, "latency_us"), 1);
    ck_assert_int_eq(csvfile_find(csv, "latency"), -1);
    ck_assert_ptr_nonnull(strstr(csv->name, "epsim-test-csv-"));
    csvfile_free(csv);
}
END_TEST

START_TEST(csv_many)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    fputs("n,square\n", out);
    for (unsigned long n = 0; n < 20000; n++) {
        fprintf(out, "%lu,\"%lu\"\n", n, n * n);
    }
    fclose(out);
    struct error err = {0};
    struct csvfile *csv = load(text, &err);
    free(text);
    ck_assert_uint_eq(csv->rows, 20000);
    for (size_t n = 0; n < 20000; n++) {
        ck_assert_uint_eq(strtoul(csvfile_cell(csv, n, 1), NULL, 10), n * n);
        ck_assert_uint_eq(csvfile_line(csv, n), n + 2);
    }
    csvfile_free(csv);
}
END_TEST

int main(void)
{
    TCase *tables = tcase_create("table");
    tcase_add_test(tables, aligned);
    tcase_add_test(tables, tsv);
    tcase_add_test(tables, flushed);
    tcase_add_test(tables, as_json);
    tcase_add_test(tables, empty);
    tcase_add_test(tables, odd_cells);
    tcase_add_loop_test(tables, six_digits, 0, COUNT(reals));
    tcase_add_loop_test(tables, four_digits, 0, COUNT(shorts));
    TCase *csvs = tcase_create("csv");
    tcase_add_loop_test(csvs, csv_reads, 0, COUNT(files));
    tcase_add_loop_test(csvs, csv_refuses, 0, COUNT(broken));
    tcase_add_test(csvs, csv_places);
    tcase_add_test(csvs, csv_binary);
    tcase_add_test(csvs, csv_finds);
    tcase_add_test(csvs, csv_many);
    Suite *suite = suite_create("table");
    suite_add_tcase(suite, tables);
    suite_add_tcase(suite, csvs);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
