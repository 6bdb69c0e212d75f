// plots/plot: what is refused, what is left behind (nothing), and a real figure of each kind where
// gnuplot is installed.
#include "plots/plot.h"
#include "tests/scratch.h"

#include <dirent.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

#define ACCURACY                                                                                   \
    "# epsim.accuracy-rows/1\nengine\tfamily\tphase\ttokens_per_gpu\tbytes_per_rank\t"             \
    "measured_us\tpredicted_us\terror_pct\n"
#define COMPARE "# epsim.compare/1\ntokens_per_gpu\tphase\tsimulate_us\testimate_us\tmeasured_us\n"
#define RANKS "# epsim.ranks/1\nrank\tphase\tstart_us\tend_us\n"
#define REPLAY "# epsim.replay/1\nlayer\tlayer_id\tphase\tp50_us\tp90_us\tp99_us\teven_us\n"
#define REPLAY_RANKS "# epsim.replay-ranks/1\nlayer\trank\tload_ratio\n"
#define TRAFFIC "# epsim.traffic/1\nphase\tsrc\tdst\tbytes\n"

static char old_path[4096];

static void write_text(const char *name, const char *text)
{
    scratch_write(name, text, strlen(text));
}

// gnuplot's own scratch folder goes into the suite's, where a leftover is seen.
static void setup(void)
{
    scratch_make();
    setenv("TMPDIR", scratch_folder, 1);
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH"));
}

static void teardown(void)
{
    setenv("PATH", old_path, 1);
    scratch_clear();
}

static int files_left(void)
{
    int count = 0;
    DIR *folder = opendir(scratch_folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(folder);
    return count;
}

static bool has_gnuplot(void)
{
    return system("gnuplot --version > /dev/null 2>&1") == 0;
}

static void expect_refusal(const char *out, enum exit_code code, const char *message)
{
    struct error err;
    const int before = files_left();
    ck_assert(!plot_render(scratch_path("in.tsv"), out, &err));
    ck_assert_msg(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
    ck_assert_int_eq(err.code, code);
    ck_assert_int_eq(files_left(), before);
}

// --- bad input
// ------------------------------------------------------------------------------------

static const struct {
    const char *text;
    const char *message;
} bad_files[] = {
    {"", "empty file"},
    {"\n", "in.tsv:1: not a TSV of epsim"},
    {"phase\tsrc\n", "in.tsv:1: not a TSV of epsim; expected '# epsim.KIND/1'"},
    {"# epsim.traffic/2\n", "in.tsv:1: not a TSV of epsim"},
    {"# epsim.\n", "in.tsv:1: not a TSV of epsim"},
    {"# epsim.style/1\n", "in.tsv:1: no figure for 'style'; there are: accuracy-rows, compare, "
                          "ranks, replay, replay-ranks, traffic"},
    {"# epsim.traffic/1\n", "no rows"},
    {"# epsim.traffic/1\n# version: 1\n", "no rows"},
    {TRAFFIC, "no rows"},
    {"# epsim.traffic/1\n# x\nphase\tsrc\tdst\n", "in.tsv:3: no column 'bytes'"},
    {"# epsim.traffic/1\nphase\tsrc\tsrc\tdst\tbytes\n", "in.tsv:2: column 'src' stands twice"},
    {TRAFFIC "dispatch\t0\t1\n", "in.tsv:3: 3 cells; expected 4"},
    {TRAFFIC "dispatch\t0\t1\t5\t6\n", "in.tsv:3: 5 cells; expected 4"},
    {TRAFFIC "dispatch\t0\t1\t5\n\n", "in.tsv:4: phase: '': expected one word"},
    {TRAFFIC "dispatch\t0\t1\tmany\n", "in.tsv:3: bytes: 'many': expected a number from 0"},
    {TRAFFIC "dispatch\t0\t1\t\n", "in.tsv:3: bytes: '': expected a number from 0"},
    {TRAFFIC "dispatch\t0\t-1\t5\n", "in.tsv:3: dst: '-1': expected a number from 0"},
    {TRAFFIC "dispatch\t0\t1\tinf\n", "in.tsv:3: bytes: 'inf'"},
    {TRAFFIC "dispatch\t0\t1\t5x\n", "in.tsv:3: bytes: '5x'"},
    {TRAFFIC "two words\t0\t1\t5\n", "in.tsv:3: phase: 'two words': expected one word"},
    {RANKS "0\tdispatch\t1\t\n", "in.tsv:3: end_us: ''"},
    {COMPARE "0\tdispatch\t1\t1\t1\n", "in.tsv:3: tokens_per_gpu: '0': expected a number above 0"},
    {COMPARE "8\tdispatch\t0\t1\t1\n", "in.tsv:3: simulate_us: '0': expected a number above 0, or"},
    {TRAFFIC "dispatch\t0\t1\t5\x01\xff\n", "in.tsv:3: bytes: '5?': expected a number from 0"},
    {ACCURACY "simulate\tf\tdispatch\t1\t\t0\t2\t3\n", "in.tsv:3: measured_us: '0'"},
    {ACCURACY "simulate\tf\tdispatch\t1\t\t5\t2\t\n", "in.tsv:3: error_pct: '': expected a number"},
    {ACCURACY "simulate\ttwo f\tdispatch\t1\t\t5\t2\t3\n", "family: 'two f': expected one word"},
    {ACCURACY "simulate\tf\tdispatch\t\t\t5\t2\t-60\n", "no row has a value"},
    {COMPARE "8\tdispatch\t\t\t\n", "no row has a value"},
    {REPLAY "0\t3\tlayer\t1\t2\t\t1\n", "in.tsv:3: p99_us: '': expected a number from 0"},
    {REPLAY_RANKS "0\t0\t-1\n", "in.tsv:3: load_ratio: '-1': expected a number from 0"},
    {REPLAY_RANKS "all\t0\t1\n", "in.tsv:3: layer: 'all': expected a number from 0"},
};

START_TEST(bad_file)
{
    write_text("in.tsv", bad_files[_i].text);
    expect_refusal(scratch_path("out.svg"), EXIT_INPUT, bad_files[_i].message);
}
END_TEST

START_TEST(bad_paths)
{
    expect_refusal(scratch_path("out.svg"), EXIT_INPUT, "in.tsv: No such file");
    scratch_write("in.tsv", "# epsim.ranks/1\n\0", 17);
    expect_refusal(scratch_path("out.svg"), EXIT_INPUT, "in.tsv: byte 16 is NUL; expected a text");
    write_text("in.tsv", RANKS "0\tdispatch\t1\t2\n");
    expect_refusal(scratch_path("out.jpg"), EXIT_INPUT, "expected a name in .svg, .png or .pdf");
    expect_refusal(scratch_path("out"), EXIT_INPUT, ".svg, .png or .pdf");
    expect_refusal("-", EXIT_INPUT, ".svg, .png or .pdf");
    expect_refusal(NULL, EXIT_INPUT, ".svg, .png or .pdf");
    expect_refusal(scratch_path("none/out.svg"), EXIT_INPUT, "none");
    ck_assert_int_eq(mkdir(scratch_path("folder.svg"), 0700), 0);
    expect_refusal(scratch_path("folder.svg"), EXIT_INPUT, "folder.svg");
}
END_TEST

// --- a gnuplot that is not there, or fails
// ----------------------------------------------------------

START_TEST(absent)
{
    write_text("in.tsv", RANKS "0\tdispatch\t1\t2\n");
    setenv("PATH", scratch_folder, 1);
    expect_refusal(scratch_path("out.svg"), EXIT_ABSENT, "gnuplot: not found");
}
END_TEST

static const struct {
    const char *script;
    const char *message;
} failures[] = {
    {"#!/bin/sh\nprintf '\\nplot x\\n     ^\\n\"a.gp\" line 3: bad thing\\n\\n' >&2\nexit 1\n",
     "gnuplot: \"a.gp\" line 3: bad thing"},
    {"#!/bin/sh\nexit 1\n", "gnuplot: no message"},
    {"#!/bin/sh\nkill -9 $$\n", "gnuplot: killed by signal 9"},
    {"#!/bin/sh\nprintf 'a\\033b\\377\\n' >&2\nexit 1\n", "gnuplot: ab?"},
    {"#!/bin/sh\nprintf '<svg>' > \"$5\"\n", "gnuplot: drew a part only"},
    {"#!/bin/sh\nexit 0\n", "gnuplot: drew nothing"},
    {"#!/bin/sh\n: > \"$4\"\n: > \"$5\"\nexit 0\n", "gnuplot: drew nothing"},
};

START_TEST(failing)
{
    write_text("in.tsv", RANKS "0\tdispatch\t1\t2\n");
    write_text("gnuplot", failures[_i].script);
    ck_assert_int_eq(chmod(scratch_path("gnuplot"), 0700), 0);
    setenv("PATH", scratch_folder, 1);
    write_text("out.svg", "the old figure");
    expect_refusal(scratch_path("out.svg"), EXIT_RUNTIME, failures[_i].message);
    char kept[64] = "";
    FILE *in = fopen(scratch_path("out.svg"), "r");
    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(fgets(kept, sizeof kept, in));
    fclose(in);
    ck_assert_str_eq(kept, "the old figure");
}
END_TEST

// --- real figures
// -----------------------------------------------------------------------------------

#define MATRIX                                                                                     \
    "dispatch\t0\t1\t5\ndispatch\t1\t0\t7e6\ncombine\t0\t1\t0\ncombine\t1\t0\t3\nlayer\t1\t1\t2\n" \
    "notify\t0\t1\t2\n"

static const struct {
    const char *text;
    const char *shown; // in the svg
} good_files[] = {
    {TRAFFIC MATRIX, "destination rank"},
    {TRAFFIC "dispatch\t0\t0\t0\n", "Bytes between ranks"},
    {"# epsim.traffic/1\n# title: A_title {of} 'mine'\nbytes\tx\tdst\tsrc\tphase\n3\t\t0\t1\tp_1",
     "A_title {of}"},
    {RANKS "0\tdispatch\t0\t2.5\n1\tdispatch\t0\t2\n0\texperts\t2.5\t4\n1\tother\t2\t9\n", "other"},
    {RANKS "0\tdispatch\t0\t0\n", "rank"},
    {"# epsim.ranks/1\r\nrank\tphase\tstart_us\tend_us\r\n0\tdispatch\t0\t5\r\n", "dispatch"},
    // Control characters, no UTF-8, a surrogate, overlong, no character, and three that are good.
    {"# epsim.ranks/1\n# title: a\x01\x1b\x7f\xff\xc3|\xed\xa0\x80|\xc0\x80|\xef\xbf\xbf|"
     "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\nrank\tphase\tstart_us\tend_us\n0\td\x02\xff\t0\t5\n",
     "a??|???|??|???|\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"},
    {RANKS "0\tdispatch\t1000\t1010\n", "rank"},
    {COMPARE "1\tdispatch\t5\t4\t4.5\n8\tcombine\t6\t5\t\n16\tdispatch\t500\t400\t\n", "measured"},
    {COMPARE "1\tdispatch\t5\t4\t\n8\tdispatch\t6\t5\t\n", "estimate"},
    {COMPARE "8\tdispatch\t6\t\t\n8\tcombine\t\t5\t\n8\tlayer\t\t\t7\n4\tnotify\t1\t\t\n", "layer"},
    {COMPARE "8\tdispatch\t6\t\t\n8\tcombine\t\t\t\n", "combine"},
    {ACCURACY "simulate\tours\tdispatch\t128\t\t50\t49\t-2\n", "simulate: median error 2 %"},
    {ACCURACY
     "simulate\tours\tdispatch\t128\t\t50\t49\t-2\nnaive\tours\tdispatch\t1\t\t50\t10\t-80\n"
     "naive\ttheirs\talltoall\t\t1048576\t5000\t25000\t400\n",
     "alltoall, naive"},
    {ACCURACY "estimate\tours\tdispatch\t8\t\t10\t10\t0\n", "measured (\xc2\xb5s)"},
    {REPLAY "4\t7\tdispatch\t1\t2\t3\t1\n4\t7\tlayer\t2\t4\t5\t2\nall\t\tlayer\t9\t9\t9\t9\n",
     "MoE layer"},
    {REPLAY "0\t0\tlayer\t2\t2\t2\t2\n9\t9\tlayer\t3\t3\t3\t2\n", ">9<"},
    {REPLAY_RANKS "2\t0\t1\n2\t1\t1\n7\t0\t0\n7\t1\t2\n", ">7<"},
    {REPLAY_RANKS "0\t0\t1\n", "load over mean"},
};

static void render(const char *out)
{
    struct error err;
    const int before = files_left();
    ck_assert_msg(plot_render(scratch_path("in.tsv"), out, &err), "%s", err.text);
    ck_assert_int_eq(files_left(), before + 1);
}

START_TEST(figure)
{
    if (!has_gnuplot())
        return;
    static char svg[1 << 18];
    write_text("in.tsv", good_files[_i].text);
    render(scratch_path("out.svg"));
    FILE *in = fopen(scratch_path("out.svg"), "r");
    ck_assert_ptr_nonnull(in);
    svg[fread(svg, 1, sizeof svg - 1, in)] = '\0';
    fclose(in);
    ck_assert_ptr_nonnull(strstr(svg, "<svg"));
    ck_assert_ptr_nonnull(strstr(svg, "</svg>"));
    ck_assert_msg(strstr(svg, good_files[_i].shown), "no '%s'", good_files[_i].shown);
}
END_TEST

static const struct {
    const char *name;
    const char *magic;
} formats[] = {{"out.png", "\x89PNG"}, {"out.pdf", "%PDF"}, {"out.svg", "<?xml"}};

START_TEST(format)
{
    if (!has_gnuplot())
        return;
    char begin[8] = "";
    write_text("in.tsv", RANKS "0\tdispatch\t0\t2.5\n");
    render(scratch_path(formats[_i].name));
    FILE *in = fopen(scratch_path(formats[_i].name), "rb");
    ck_assert_ptr_nonnull(in);
    ck_assert_uint_eq(fread(begin, 1, strlen(formats[_i].magic), in), strlen(formats[_i].magic));
    fclose(in);
    ck_assert_str_eq(begin, formats[_i].magic);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("plot");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, bad_file, 0, COUNT(bad_files));
    tcase_add_test(cases, bad_paths);
    tcase_add_test(cases, absent);
    tcase_add_loop_test(cases, failing, 0, COUNT(failures));
    tcase_add_loop_test(cases, figure, 0, COUNT(good_files));
    tcase_add_loop_test(cases, format, 0, COUNT(formats));
    Suite *suite = suite_create("plot");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
