// traces/npy: files that NumPy wrote (tests/data/npy), files that npy_write wrote, and every kind
// of broken file.
#include "base/formats/npy.h"

#include "tests/scratch.h"

#include <math.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

// --- what NumPy wrote: six elements of shape (2, 3)
// -----------------------------------------------

static const struct {
    const char *name;
    enum npy_type type;
    double values[6];
} numpy_files[] = {
    {"u1", NPY_U8, {0, 1, 2, 3, 200, 255}},
    {"u2", NPY_U16, {0, 1, 2, 3, 200, 65535}},
    {"u4", NPY_U32, {0, 1, 2, 3, 200, 4294967295}},
    {"i4", NPY_I32, {0, 1, -2, 3, -2147483648.0, 2147483647}},
    {"i8", NPY_I64, {0, 1, -2, 3, -0x1p63, 0x1p63}},
    {"f2", NPY_F16, {0, 1, -2.5, 0x1p-24, 65504, (double)INFINITY}},
    {"f4", NPY_F32, {0, 1, -2.5, 0x1p-24, 65504, (double)INFINITY}},
    {"f8", NPY_F64, {0, 1, -2.5, 0x1p-24, 65504, (double)INFINITY}},
};

START_TEST(reads_numpy)
{
    char path[64];
    snprintf(path, sizeof path, "tests/data/npy/%s.npy", numpy_files[_i].name);
    struct npy npy;
    struct error err;
    ck_assert_msg(npy_open(&npy, path, &err), "%s", err.text);
    ck_assert_int_eq(npy.type, numpy_files[_i].type);
    ck_assert_uint_eq(npy.dims, 2);
    ck_assert_uint_eq(npy.shape[0], 2);
    ck_assert_uint_eq(npy.shape[1], 3);
    ck_assert_uint_eq(npy_count(&npy), 6);
    for (uint64_t i = 0; i < 6; i++)
        ck_assert(npy_real(&npy, i) == numpy_files[_i].values[i]);
    if (npy.type < NPY_F16)
        ck_assert_int_eq(npy_int(&npy, 4), (int64_t)numpy_files[_i].values[4]);
    npy_release(&npy);
    ck_assert_ptr_null(npy.data);
}
END_TEST

static const struct {
    const char *name;
    size_t dims;
    uint64_t count;
    int64_t last;
} numpy_shapes[] = {{"scalar", 0, 1, 7}, {"one", 1, 3, 2}, {"v2", 1, 4, 3}, {"v3", 1, 4, 3}};

START_TEST(reads_numpy_shapes)
{
    char path[64];
    snprintf(path, sizeof path, "tests/data/npy/%s.npy", numpy_shapes[_i].name);
    struct npy npy;
    struct error err;
    ck_assert_msg(npy_open(&npy, path, &err), "%s", err.text);
    ck_assert_uint_eq(npy.dims, numpy_shapes[_i].dims);
    ck_assert_uint_eq(npy_count(&npy), numpy_shapes[_i].count);
    ck_assert_int_eq(npy_int(&npy, npy_count(&npy) - 1), numpy_shapes[_i].last);
    npy_release(&npy);
}
END_TEST

// --- headers, good and bad
// ------------------------------------------------------------------------

// Writes a version 1 file of this header and `data` zero bytes.
static void write_npy(const char *header, size_t data)
{
    char bytes[512] = "\x93NUMPY\x01";
    const size_t length = strlen(header);
    bytes[8] = (char)length;
    memcpy(bytes + 10, header, length);
    scratch_write("x.npy", bytes, 10 + length + data);
}

static const struct {
    const char *header;
    size_t data;
    size_t dims;
} good_headers[] = {
    {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n", 6, 2},
    {"{'shape':(2,3),'fortran_order':False,'descr':'<u2'}", 12, 2},
    {"{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (5,)}", 20, 1},
    {"  { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 5 , ) , } ", 20, 1},
    {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1, 1)}", 8, 4},
    {"{'descr': '<f8', 'fortran_order': False, 'shape': ()}", 8, 0},
    {"{'descr': '<f8', 'fortran_order': False, 'shape': (0, 7)}", 0, 2},
    {"{'descr': '<u2', 'fortran_order': False, 'shape': (2,)}", 9, 1}, // more than the shape needs
};

START_TEST(good_header)
{
    write_npy(good_headers[_i].header, good_headers[_i].data);
    struct npy npy;
    struct error err;
    ck_assert_msg(npy_open(&npy, scratch_path("x.npy"), &err), "%s", err.text);
    ck_assert_uint_eq(npy.dims, good_headers[_i].dims);
    for (uint64_t i = 0; i < npy_count(&npy); i++)
        ck_assert(npy_real(&npy, i) == 0);
    npy_release(&npy);
}
END_TEST

#define HEAD(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

static const struct {
    const char *header;
    size_t data;
    const char *message;
} bad_headers[] = {
    {HEAD("<u2", "(2, 3)"), 11, "truncated: the shape needs 12 bytes of data, the file has 11"},
    {HEAD("<u2", "(2, 3)"), 0, "truncated: the shape needs 12 bytes of data, the file has 0"},
    {HEAD(">u2", "(2,)"), 4, "big-endian; expected '<u2'"},
    {HEAD("=u2", "(2,)"), 4, "descr: '=u2'"},
    {HEAD("<c8", "(2,)"), 16, "descr: '<c8': expected |u1"},
    {HEAD("|b1", "(2,)"), 2, "descr: '|b1'"},
    {HEAD("|O", "(2,)"), 2, "descr: '|O'"},
    {HEAD("", "(2,)"), 2, "descr: ''"},
    {HEAD("<unicode of no end", "(2,)"), 2, "descr: expected a quoted dtype"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", 8, "structured dtype"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", 24, "expected C order"},
    {"{'descr': '<f4', 'fortran_order': 1, 'shape': (2, 3)}", 24, "expected True or False"},
    {HEAD("|u1", "(1, 1, 1, 1, 1)"), 1, "more than 4 dimensions"},
    {HEAD("<f8", "(2305843009213693952,)"), 8, "overflows 64 bits"},
    {HEAD("<u2", "(4294967296, 4294967296)"), 8, "overflows 64 bits"},
    {HEAD("<u2", "(99999999999999999999,)"), 8, "whole numbers below 2^64"},
    {HEAD("<u2", "(-1,)"), 8, "whole numbers"},
    {HEAD("<u2", "(2 3)"), 12, "expected ',' or ')'"},
    {HEAD("<u2", "[2, 3]"), 12, "expected a tuple"},
    {HEAD("<u2", "(2, 3"), 12, "shape:"},
    {"{'descr': '<u2', 'shape': (2,)}", 4, "no 'fortran_order'"},
    {"{'descr': '<u2', 'fortran_order': False}", 4, "no 'shape'"},
    {"{'descr': '<u2', 'descr': '<u2'}", 4, "'descr' stands twice"},
    {"{'descr': '<u2', 'colour': 'red'}", 4, "unknown key 'colour'"},
    {"{'descr': '<u2', 'two\nlines\t\x01': 1}", 4, "unknown key 'two\\nlines\\t\\x01'"},
    {HEAD("<\nu2", "(2,)"), 4, "descr: '<\\nu2': expected |u1"},
    {"{'descr' '<u2'}", 4, "expected 'key': value"},
    {"{descr: '<u2'}", 4, "expected 'key': value"},
    {"{'descr': '<u2' 'shape': (2,)}", 4, "expected ',' or '}'"},
    {"{'descr': '<u2", 0, "descr: expected a quoted dtype"},
    {"{'descr': '<u2',", 0, "expected 'key': value"},
    {"[1, 2]", 4, "expected a dictionary"},
    {"", 4, "expected a dictionary"},
};

static void expect_refusal(const char *path, const char *message)
{
    struct npy npy;
    struct error err;
    ck_assert(!npy_open(&npy, path, &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert_msg(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "'%s' lacks the path", err.text);
    ck_assert_ptr_null(strchr(err.text, '\n'));
    ck_assert_ptr_null(npy.path);
    ck_assert_ptr_null(npy.mapped.bytes);
}

START_TEST(bad_header)
{
    write_npy(bad_headers[_i].header, bad_headers[_i].data);
    expect_refusal(scratch_path("x.npy"), bad_headers[_i].message);
}
END_TEST

static const struct {
    const char *bytes;
    size_t length;
    const char *message;
} bad_files[] = {
    {"", 0, "empty"},
    {"\x93NUM", 4, "truncated in its header"},
    {"hello, this is text", 19, "not a .npy file"},
    {"x", 1, "not a .npy file"},
    {"\x93NUMPY\x01", 7, "truncated in its header"},
    {"\x93NUMPY\x01\x00\x76", 9, "truncated in its header"},
    {"\x93NUMPY\x01\x00\x76\x00{'descr'", 18, "truncated in its header"},
    {"\x93NUMPY\x02\x00\x76\x00\x00", 11, "truncated in its header"},
    {"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14, "truncated in its header"},
    {"\x93NUMPY\x04\x00\x02\x00\x00\x00{}", 14, "version 4"},
    {"\x93NUMPY\x00\x00\x02\x00\x00\x00{}", 14, "version 0"},
};

START_TEST(bad_file)
{
    scratch_write("x.npy", bad_files[_i].bytes, bad_files[_i].length);
    expect_refusal(scratch_path("x.npy"), bad_files[_i].message);
}
END_TEST

START_TEST(no_file)
{
    expect_refusal(scratch_path("none.npy"), "No such file");
    expect_refusal(scratch_folder, "a directory");
    ck_assert_int_eq(mkfifo(scratch_path("pipe"), 0600), 0);
    expect_refusal(scratch_path("pipe"), "not a regular file");
    expect_refusal("tests/data/npy/fortran.npy", "expected C order");
    expect_refusal("tests/data/npy/big.npy", "big-endian");
}
END_TEST

// --- writing
// --------------------------------------------------------------------------------------

static void round_trip(enum npy_type type, const uint64_t *shape, size_t dims, const void *data,
                       size_t bytes)
{
    struct npy npy;
    struct error err;
    const char *path = scratch_path("out.npy");
    ck_assert_msg(npy_write(path, type, shape, dims, data, &err), "%s", err.text);
    ck_assert_msg(npy_open(&npy, path, &err), "%s", err.text);
    ck_assert_int_eq(npy.type, type);
    ck_assert_uint_eq(npy.dims, dims);
    for (size_t i = 0; i < dims; i++)
        ck_assert_uint_eq(npy.shape[i], shape[i]);
    if (bytes)
        ck_assert_mem_eq(npy.data, data, bytes);
    const size_t data_at = (size_t)((const char *)npy.data - (const char *)npy.mapped.bytes);
    ck_assert_uint_eq(data_at % 64, 0);
    ck_assert_uint_eq(npy.mapped.length, data_at + bytes);
    npy_release(&npy);
}

START_TEST(writes)
{
    static const uint8_t data[96] = {1, 2, 3, 250, 5};
    static const size_t bytes[] = {1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8};
    for (int type = NPY_U8; type <= NPY_F64; type++) {
        round_trip((enum npy_type)type, (uint64_t[]){3, 4}, 2, data, 12 * bytes[type]);
        round_trip((enum npy_type)type, (uint64_t[]){5}, 1, data, 5 * bytes[type]);
        round_trip((enum npy_type)type, NULL, 0, data, bytes[type]);
        round_trip((enum npy_type)type, (uint64_t[]){1, 2, 3, 2}, 4, data, 12 * bytes[type]);
    }
    // The longest header there can be takes a second line of 64 bytes.
    const uint64_t wide[] = {0, UINT32_MAX, UINT32_MAX / 8, 1};
    round_trip(NPY_U8, wide, 4, NULL, 0);
}
END_TEST

// Forgotten elements are read again as they were, whatever the place. (That they leave memory,
// test_replay sees.)
START_TEST(forgets)
{
    enum { COUNT_WORDS = 1 << 18 };
    static uint32_t words[COUNT_WORDS];
    struct npy npy;
    struct error err;
    for (uint32_t i = 0; i < COUNT_WORDS; i++)
        words[i] = i * 2654435761u;
    ck_assert(
        npy_write(scratch_path("out.npy"), NPY_U32, (uint64_t[]){COUNT_WORDS}, 1, words, &err));
    ck_assert_msg(npy_open(&npy, scratch_path("out.npy"), &err), "%s", err.text);
    static const uint64_t places[][2] = {{0, 0},       {0, 1},        {1, COUNT_WORDS},
                                         {5000, 5001}, {1000, 90000}, {0, COUNT_WORDS}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        npy_forget(&npy, places[i][0], places[i][1]);
        ck_assert_mem_eq(npy.data, words, sizeof words);
    }
    npy_release(&npy);
}
END_TEST

START_TEST(write_fails)
{
    struct error err;
    const uint64_t shape[] = {1};
    ck_assert(!npy_write(scratch_folder, NPY_U8, shape, 1, "x", &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
    ck_assert(!npy_write(scratch_path("none/x.npy"), NPY_U8, shape, 1, "x", &err));
    ck_assert_int_eq(err.code, EXIT_INPUT);
}
END_TEST

START_TEST(type_names)
{
    ck_assert_str_eq(npy_types[NPY_U8].name, "u8");
    ck_assert_str_eq(npy_types[NPY_F64].name, "f64");
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("npy");
    tcase_add_checked_fixture(cases, scratch_make, scratch_clear);
    tcase_add_loop_test(cases, reads_numpy, 0, COUNT(numpy_files));
    tcase_add_loop_test(cases, reads_numpy_shapes, 0, COUNT(numpy_shapes));
    tcase_add_loop_test(cases, good_header, 0, COUNT(good_headers));
    tcase_add_loop_test(cases, bad_header, 0, COUNT(bad_headers));
    tcase_add_loop_test(cases, bad_file, 0, COUNT(bad_files));
    tcase_add_test(cases, no_file);
    tcase_add_test(cases, writes);
    tcase_add_test(cases, forgets);
    tcase_add_test(cases, write_fails);
    tcase_add_test(cases, type_names);
    Suite *suite = suite_create("npy");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
