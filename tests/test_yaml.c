// base/doc and base/infile: documents with their lines, every refusal.
#include "base/doc.h"
#include "base/error.h"
#include "base/infile.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

static struct doc *load(const char *text, struct error *err)
{
    return doc_load_text("mine.yaml", text, strlen(text), err);
}

static struct doc *load_good(const char *text)
{
    struct error err = {0};
    struct doc *doc = load(text, &err);
    ck_assert_msg(doc != NULL, "%s", err.text);
    return doc;
}

// ---- the tree ----------------------------------------------------------------------------------

START_TEST(tree)
{
    struct doc *doc = load_good("# comment\n"
                                "name: h800\n"
                                "links:\n"
                                "  - nvlink\n"
                                "  - {nic: 50GB/s,\n"
                                "     count: 8}\n"
                                "empty: []\n");
    const doc_node root = doc_root(doc);
    ck_assert_str_eq(doc_name(doc), "mine.yaml");
    ck_assert_int_eq(doc_kind(doc, root), DOC_MAP);
    ck_assert_uint_eq(doc_size(doc, root), 3);
    ck_assert_uint_eq(doc_line(doc, root), 2);
    ck_assert_str_eq(doc_key(doc, root, 1), "links");
    ck_assert_uint_eq(doc_key_line(doc, root, 1), 3);
    const doc_node links = doc_value(doc, root, 1);
    ck_assert_int_eq(doc_kind(doc, links), DOC_LIST);
    ck_assert_uint_eq(doc_line(doc, links), 4);
    const doc_node nic = doc_item(doc, links, 1);
    ck_assert_str_eq(doc_text(doc, doc_item(doc, links, 0)), "nvlink");
    ck_assert_str_eq(doc_text(doc, doc_get(doc, nic, "count")), "8");
    ck_assert_uint_eq(doc_line(doc, doc_get(doc, nic, "count")), 6);
    ck_assert_int_eq(doc_get(doc, nic, "rate"), DOC_NONE);
    ck_assert_uint_eq(doc_size(doc, doc_get(doc, root, "empty")), 0);
    doc_free(doc);
}
END_TEST

// As Hugging Face writes it: no blank after a colon, tabs, escapes, nested maps.
START_TEST(json)
{
    struct doc *doc = load_good("{\"n_routed_experts\":256,\n"
                                "\t\"a\": {\"b\": [1, 2, null]}, \"c\": \"x\\ty\\/\",\n"
                                "\t\"d\": true, \"e\": 1e-06}\n");
    const doc_node root = doc_root(doc);
    ck_assert_str_eq(doc_text(doc, doc_get(doc, root, "n_routed_experts")), "256");
    const doc_node list = doc_get(doc, doc_get(doc, root, "a"), "b");
    ck_assert_uint_eq(doc_size(doc, list), 3);
    ck_assert(doc_is_null(doc, doc_item(doc, list, 2)));
    ck_assert_str_eq(doc_text(doc, doc_get(doc, root, "c")), "x\ty/");
    ck_assert_uint_eq(doc_line(doc, doc_get(doc, root, "e")), 3);
    doc_free(doc);
}
END_TEST

static const struct {
    const char *text;
    bool null;
} nulls[] = {
    {"a:", true},           {"a: ~", true},    {"a: null", true}, {"a: \"\"", false},
    {"a: \"null\"", false}, {"a: '~'", false}, {"a: 0", false},   {"a: []", false},
};

START_TEST(null)
{
    struct doc *doc = load_good(nulls[_i].text);
    ck_assert_int_eq(doc_is_null(doc, doc_get(doc, doc_root(doc), "a")), nulls[_i].null);
    doc_free(doc);
}
END_TEST

static const struct {
    const char *text, *message; // the message's beginning
} broken[] = {
    {"", "mine.yaml: empty; expected a YAML or JSON document"},
    {"# only a comment\n", "mine.yaml: empty; expected a YAML or JSON document"},
    {"a: 1\nb: 2\na: 3\n", "mine.yaml:3: a: given twice; first on line 1"},
    {"x:\n  {\"k\": 1, \"k\": 1}\n", "mine.yaml:2: k: given twice; first on line 2"},
    {"a: 1\nb: [1, 2\nc: 3\n", "mine.yaml:3: "},
    {"a: b: c\n", "mine.yaml:1: mapping values are not allowed"},
    {"a: \"open\n", "mine.yaml:2: "},
    {"{\"a\": 1", "mine.yaml:2: did not find expected ',' or '}'"},
    {"a: 1\n\tb: 2\n", "mine.yaml:2: "},
    {"a: &x 1\nb: *x\n", "mine.yaml:1: an alias ('*name') stands for this; write it out there"},
    {"a: &x [*x]\n", "mine.yaml:1: an alias ('*name') stands for this; write it out there"},
    {"a: *nowhere\n", "mine.yaml:1: found undefined alias"},
    {"[1, 2]: x\n", "mine.yaml:1: a list or map as a key; expected a word"},
    {"? {a: 1}\n: x\n", "mine.yaml:1: a list or map as a key; expected a word"},
    {"a: \"x\\0y\"\n", "mine.yaml:1: holds a NUL character; expected text"},
    {"\"x\\0y\": 1\n", "mine.yaml:1: holds a NUL character; expected text"},
    {"a: 1\n---\nb: 2\n", "mine.yaml:3: a second document; expected one"},
    {"{\"a\": 1}\n{\"b\": 2}\n", "mine.yaml:2: "},
    {"a: \xff\xfe\n", "mine.yaml: byte 3: invalid leading UTF-8 octet; expected UTF-8 text"},
    {"a: \x01\n", "mine.yaml: byte 3: control characters are not allowed"},
};

START_TEST(refuses)
{
    struct error err = {0};
    ck_assert_ptr_null(load(broken[_i].text, &err));
    ck_assert_msg(strncmp(err.text, broken[_i].message, strlen(broken[_i].message)) == 0, "%s",
                  err.text);
    ck_assert_ptr_null(strchr(err.text, '\n'));
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

static char *nested(size_t depth)
{
    char *text = calloc(2 * depth + 1, 1);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return text;
}

START_TEST(depth)
{
    struct error err = {0};
    char *deep = nested(65), *deeper = nested(66);
    struct doc *doc = load(deep, &err);
    ck_assert_msg(doc != NULL, "%s", err.text);
    doc_free(doc);
    ck_assert_ptr_null(load(deeper, &err));
    ck_assert_str_eq(err.text, "mine.yaml:1: nested deeper than 64 levels");
    free(deep);
    free(deeper);
}
END_TEST

// What libyaml alone takes minutes for is refused before it gets it; Check's limit is 4 seconds.
static const struct {
    const char *piece;
    int times;
    const char *message;
} heavy[] = {
    {"[", 200000, "mine.yaml:1: nested deeper than 64 levels"},
    {"[\n", 200000, "mine.yaml:66: nested deeper than 64 levels"},
    {"a: {", 100000, "mine.yaml:1: nested deeper than 64 levels"},
    {"{\"a\":", 100000, "mine.yaml:1: nested deeper than 64 levels"},
    {"- ", 100000, "mine.yaml:1: nested deeper than 64 levels"},
    {"? ", 100000, "mine.yaml:1: nested deeper than 64 levels"},
    {"- &a x\n", 100000, "mine.yaml:1001: more than 1000 anchors ('&name'); expected none"},
};

START_TEST(heavy_texts)
{
    struct error err = {0};
    const size_t length = strlen(heavy[_i].piece);
    char *text = calloc(length, (size_t)heavy[_i].times + 1);
    for (int i = 0; i < heavy[_i].times; i++) {
        memcpy(text + (size_t)i * length, heavy[_i].piece, length);
    }
    ck_assert_ptr_null(doc_load_text("mine.yaml", text, (size_t)heavy[_i].times * length, &err));
    ck_assert_str_eq(err.text, heavy[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    free(text);
}
END_TEST

START_TEST(too_many_values)
{
    struct error err = {0};
    const size_t length = 16000000;
    char *text = malloc(length);
    for (size_t i = 0; i < length; i += 4) {
        memcpy(text + i, "- x\n", 4);
    }
    ck_assert_ptr_null(doc_load_text("mine.yaml", text, length, &err)); // the list counts, too
    ck_assert_str_eq(err.text, "mine.yaml:4000000: more than 4000000 values; expected fewer");
    ck_assert_int_eq(err.code, EXIT_INPUT);
    free(text);
}
END_TEST

// Depth is counted at each place, not over the whole; what is broken deep inside says so.
START_TEST(depth_comes_back)
{
    struct error err = {0};
    char text[4096] = "[";
    for (int i = 0; i < 10; i++) {
        char *deep = nested(64);
        strcat(strcat(text, deep), ",\n");
        free(deep);
    }
    strcat(text, "]");
    struct doc *doc = load(text, &err);
    ck_assert_msg(doc != NULL, "%s", err.text);
    doc_free(doc);
}
END_TEST

// Ten thousand keys are checked for duplicates in no time worth naming.
START_TEST(many_keys)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    for (int i = 0; i < 10000; i++) {
        fprintf(out, "key%d: %d\n", i, i);
    }
    fclose(out);
    struct doc *doc = load_good(text);
    ck_assert_uint_eq(doc_size(doc, doc_root(doc)), 10000);
    doc_free(doc);
    free(text);
}
END_TEST

// ---- files -------------------------------------------------------------------------------------

static char *write_file(const char *text, size_t length)
{
    static char path[] = "/tmp/epsim-test-yaml-XXXXXX";
    strcpy(path + sizeof path - 7, "XXXXXX");
    const int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(write(descriptor, text, length), (ssize_t)length);
    close(descriptor);
    return path;
}

START_TEST(file)
{
    struct error err = {0};
    char *path = write_file("a: 1\n", 5);
    struct doc *doc = doc_load(path, &err);
    ck_assert_msg(doc != NULL, "%s", err.text);
    ck_assert_str_eq(doc_name(doc), path);
    doc_free(doc);
    unlink(path);
    path = write_file("", 0);
    ck_assert_ptr_null(doc_load(path, &err));
    ck_assert_ptr_nonnull(strstr(err.text, ": empty; expected"));
    unlink(path);
}
END_TEST

static const struct {
    const char *path, *message;
} absent[] = {
    {"/tmp/epsim-no-such.yaml", "/tmp/epsim-no-such.yaml: No such file or directory"},
    {"/tmp", "/tmp: is a directory; expected a file"},
    {"/dev/null/x", "/dev/null/x: Not a directory"},
    {"", "'': expected a file's name"},
    {"/dev/null", "/dev/null: empty; expected a YAML or JSON document"},
};

START_TEST(file_refused)
{
    struct error err = {0};
    ck_assert_ptr_null(doc_load(absent[_i].path, &err));
    ck_assert_str_eq(err.text, absent[_i].message);
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

// Read whole at every size about the block it is read in.
START_TEST(file_sizes)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131071, 131072, 131073, 1000000};
    char *text = malloc(1000000);
    memset(text, 'x', 1000000);
    for (int i = 0; i < COUNT(sizes); i++) {
        struct error err = {0};
        size_t length = 7;
        char *path = write_file(text, sizes[i]);
        char *back = _i == 0 ? infile_read(path, INFILE_LIMIT, &length, &err)
                             : infile_read_text(path, (size_t)1 << 20, &length, &err);
        ck_assert_uint_eq(length, sizes[i]);
        ck_assert_mem_eq(back, text, length);
        ck_assert_int_eq(back[length], '\0');
        free(back);
        unlink(path);
    }
    free(text);
}
END_TEST

START_TEST(file_limit)
{
    const size_t limit = (size_t)1 << 20;
    char expected[128], *path = write_file("", 0);
    for (int more = 0; more < 2; more++) {
        struct error err = {0};
        size_t length = 0;
        ck_assert_int_eq(truncate(path, (off_t)limit + more), 0);
        char *bytes = infile_read(path, limit, &length, &err);
        ck_assert(more ? bytes == NULL : bytes != NULL && length == limit);
        snprintf(expected, sizeof expected, "%s: larger than 1 MiB: expected a smaller file", path);
        ck_assert_str_eq(err.text, more ? expected : "");
        free(bytes);
    }
    struct error err = {0};
    ck_assert_int_eq(truncate(path, (off_t)1 << 40), 0);
    ck_assert_ptr_null(doc_load(path, &err));
    snprintf(expected, sizeof expected, "%s: larger than 64 MiB: expected a smaller file", path);
    ck_assert_str_eq(err.text, expected);
    ck_assert_int_eq(err.code, EXIT_INPUT);
    unlink(path);
}
END_TEST

// A device has no size; reading it comes to an end all the same.
START_TEST(file_without_end)
{
    struct error err = {0};
    size_t length;
    ck_assert_ptr_null(doc_load("/dev/zero", &err));
    ck_assert_str_eq(err.text, "/dev/zero: larger than 64 MiB: expected a smaller file");
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_ptr_null(infile_read_text("/dev/zero", (size_t)1 << 40, &length, &err));
    ck_assert_str_eq(err.text, "/dev/zero: byte 0 is NUL; expected a text file");
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

START_TEST(file_from_a_pipe)
{
    struct error err = {0};
    char path[32];
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "a: 1\n", 5), 5);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    struct doc *doc = doc_load(path, &err);
    ck_assert_msg(doc != NULL, "%s", err.text);
    doc_free(doc);
    close(ends[0]);
}
END_TEST

START_TEST(place_in_errors)
{
    struct error err = {0};
    struct doc *doc = load_good("a:\n  b: 1\n");
    const doc_node b = doc_get(doc, doc_get(doc, doc_root(doc), "a"), "b");
    ck_assert(!doc_error(doc, b, &err, "b: %d is odd", 1));
    ck_assert_str_eq(err.text, "mine.yaml:2: b: 1 is odd");
    ck_assert(!doc_error(doc, DOC_NONE, &err, "no c"));
    ck_assert_str_eq(err.text, "mine.yaml: no c");
    doc_free(doc);
    doc_free(NULL);
}
END_TEST

int main(void)
{
    TCase *trees = tcase_create("tree");
    tcase_add_test(trees, tree);
    tcase_add_test(trees, json);
    tcase_add_loop_test(trees, null, 0, COUNT(nulls));
    tcase_add_loop_test(trees, refuses, 0, COUNT(broken));
    tcase_add_test(trees, depth);
    tcase_add_test(trees, depth_comes_back);
    tcase_add_loop_test(trees, heavy_texts, 0, COUNT(heavy));
    tcase_add_test(trees, many_keys);
    TCase *long_ones = tcase_create("long");
    tcase_set_timeout(long_ones, 60);
    tcase_add_test(long_ones, too_many_values);
    TCase *files = tcase_create("file");
    tcase_add_test(files, file);
    tcase_add_loop_test(files, file_refused, 0, COUNT(absent));
    tcase_add_loop_test(files, file_sizes, 0, 2);
    tcase_add_test(files, file_limit);
    tcase_add_test(files, file_without_end);
    tcase_add_test(files, file_from_a_pipe);
    tcase_add_test(trees, place_in_errors);
    Suite *suite = suite_create("yaml");
    suite_add_tcase(suite, trees);
    suite_add_tcase(suite, long_ones);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
