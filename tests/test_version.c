// model/version: versions of libraries, and which variant stands for one.
#include "model/version.h"
#include "tests/suite.h"

#include "model/dispatcher.h"

static const struct {
    const char *text;
    bool is;
    unsigned of[VERSION_PARTS];
} texts[] = {
    {"nccl-2.23", true, {2, 23, 0}},
    {"nccl-2.29.7", true, {2, 29, 7}},
    {"my-lib-3", true, {3, 0, 0}},
    {"nccl-2.", false, {0}},
    {"nccl-", false, {0}},
    {"h200-nvl8", false, {0}},
    {"2.23", false, {0}},
    {"nccl-2.3.4.5", false, {0}},
    {"nccl-2.9999", true, {2, 9999, 0}},
    {"nccl-2.10000", false, {0}},
    {"nccl-4294967298.29", false, {0}}, // 2 where it wraps around
};

START_TEST(parses)
{
    struct version version;
    ck_assert_int_eq(version_parse(texts[_i].text, &version), texts[_i].is);
    for (int part = 0; texts[_i].is && part < VERSION_PARTS; part++)
        ck_assert_uint_eq(version.of[part], texts[_i].of[part]);
}
END_TEST

START_TEST(releases)
{
    char release[FIELD_TEXT_BYTES];
    ck_assert(version_release("nccl-2.29.7", release));
    ck_assert_str_eq(release, "nccl-2.29");
    ck_assert(version_release("my-lib-3", release));
    ck_assert_str_eq(release, "my-lib-3.0");
    ck_assert(!version_release("", release));
    ck_assert(!version_release("h200-nvl8", release));
}
END_TEST

// A variant stands for its version and those up to the next; the preset from its own on.
static const struct {
    const char *asked, *variant; // NULL: refused
} asked[] = {
    {"nccl-2.20", "nccl-2.20"},
    {"nccl-2.26.5", "nccl-2.20"},
    {"nccl-2.27", "nccl-2.27"},
    {"nccl-2.28.7", "nccl-2.27"},
    {"nccl-2.29", ""},
    {"nccl-2.31.2", ""},
    {"nccl-2.18", "nccl-2.20"},
    {"rccl-2.20", NULL},
    {"h200", NULL},
};

START_TEST(chooses)
{
    char variant[FIELD_TEXT_BYTES];
    struct error err = {0};
    const bool quiet = notice_quiet(true);
    const bool ok = version_variant("nccl-alltoall", "nccl-2.29", asked[_i].asked, variant, &err);
    notice_quiet(quiet);
    ck_assert_int_eq(ok, asked[_i].variant != NULL);
    if (ok)
        ck_assert_str_eq(variant, asked[_i].variant);
    else
        ck_assert_ptr_nonnull(strstr(err.text, "expected one as nccl-2.20, nccl-2.27, nccl-2.29"));
}
END_TEST

static const struct {
    const char *dispatcher, *source, *word;
} sources[] = {
    {"nccl-alltoall", "NCCL 2.27.3; aiconfigurator 095f58a", "nccl-alltoall@nccl-2.27.3"},
    {"nccl-alltoall", "github h200_sxm/comm/nccl/2.23/nccl_perf.parquet",
     "nccl-alltoall@nccl-2.23.0"},
    {"nccl-alltoall", "nccl-tests 2.19.6; NCCL 2.29.7", "nccl-alltoall@nccl-2.29.7"},
    {"nccl-alltoall", "nccl-tests 2.13", "nccl-alltoall"},
    {"nccl-alltoall", "NCCL v2.29u1 data", "nccl-alltoall@nccl-2.29.0"},
    {"deepep-ll", "NCCL 2.27.3", "deepep-ll"},
};

START_TEST(reads_sources)
{
    char word[FIELD_TEXT_BYTES];
    version_word(sources[_i].dispatcher, sources[_i].source, word);
    ck_assert_str_eq(word, sources[_i].word);
}
END_TEST

// What the version has otherwise; of what the GPU's variant says, that stands.
START_TEST(loads)
{
    struct cluster hopper, blackwell;
    struct dispatcher newest, old, other;
    struct error err = {0};
    ck_assert(cluster_load("h200-nvl8", &hopper, NULL, &err));
    ck_assert(cluster_load("b200-nvl8", &blackwell, NULL, &err));
    ck_assert(dispatcher_load("nccl-alltoall", &hopper, &newest, NULL, &err));
    ck_assert(dispatcher_load("nccl-alltoall@nccl-2.24.3", &hopper, &old, NULL, &err));
    ck_assert_str_eq(newest.version, "nccl-2.29");
    ck_assert_str_eq(newest.version_variant, "");
    ck_assert_str_eq(old.version, "nccl-2.24.3");
    ck_assert_str_eq(old.version_variant, "nccl-2.20");
    ck_assert_str_eq(old.name, "nccl-alltoall");
    ck_assert_uint_gt(old.dispatch.per_rank_doubling_ps, newest.dispatch.per_rank_doubling_ps);
    ck_assert(dispatcher_load("nccl-alltoall", &blackwell, &newest, NULL, &err));
    ck_assert(dispatcher_load("nccl-alltoall@nccl-2.24.3", &blackwell, &other, NULL, &err));
    ck_assert_uint_eq(other.dispatch.fixed_ps, newest.dispatch.fixed_ps);
    ck_assert(!dispatcher_load("deepep-ll@nccl-2.24", &hopper, &other, NULL, &err));
    ck_assert_str_eq(err.text, "deepep-ll: '@nccl-2.24': expected no '@': it has no versions");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("version");
    TCase *tests = tcase_create("version");
    tcase_add_loop_test(tests, parses, 0, SUITE_COUNT(texts));
    tcase_add_test(tests, releases);
    tcase_add_loop_test(tests, chooses, 0, SUITE_COUNT(asked));
    tcase_add_loop_test(tests, reads_sources, 0, SUITE_COUNT(sources));
    tcase_add_test(tests, loads);
    suite_add_tcase(suite, tests);
    return suite_run(suite);
}
