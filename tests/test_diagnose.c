// study/diagnose and study/causes: published states of clusters, healthy and noisy rows, and that
// every cause is found again in rows that were made with it.
#include "study/diagnose.h"
#include "study/rows/measured.h"
#include "tests/fixture.h"
#include "tests/measured_rows.h"
#include "tests/suite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NORMAL "deepep-normal,2,8,256,8,2,4096,7168,"
#define LL "deepep-ll,2,8,256,8,,128,7168,"
#define INSIDE "deepep-normal,1,8,256,8,,4096,7168,"

static void diagnose_measured(struct diagnosis *diagnosis, const struct measured *measured,
                              const char *cluster)
{
    const struct row_overrides overrides = {.cluster = cluster, .seed = 1};
    struct fits fits;
    struct error err = {0};
    ck_assert_msg(fits_load(&fits, &err), "%s", err.text);
    const struct diagnose_def def = {.measured = measured,
                                     .engine = &engine_estimate,
                                     .overrides = &overrides,
                                     .intervals = {&fits, 90}};
    diagnose(diagnosis, &def);
    fits_release(&fits);
}

static void read_text(struct measured *measured, const char *rows)
{
    char text[8192];
    snprintf(text, sizeof text, HEADER "%s", rows);
    const struct fixture file = fixture_make(text, ".csv");
    load_rows(measured, file.path);
    fixture_remove(&file);
}

// Whether an explanation is of these causes, in any order; second NULL: of one.
static bool is_of(const struct explanation *explanation, const char *first, const char *second)
{
    const char *a = explanation->causes[0]->key;
    const char *b = explanation->count > 1 ? explanation->causes[1]->key : NULL;
    if (!second)
        return !b && !strcmp(a, first);
    return b &&
           ((!strcmp(a, first) && !strcmp(b, second)) || (!strcmp(a, second) && !strcmp(b, first)));
}

// Whether the likeliest class has it.
static bool is_first_class(const struct diagnosis *diagnosis, const char *first, const char *second)
{
    for (size_t e = 0; e < diagnosis->explanation_count; e++)
        if (diagnosis->explanations[e].same_as == 0 &&
            is_of(&diagnosis->explanations[e], first, second))
            return true;
    return false;
}

// ---- published states --------------------------------------------------------------------------

// H20, two nodes of eight, four NICs of two ports of 200 Gb/s: DeepEP's internode test, published.
// H100, two nodes: the same test where all NICs ran at half of their rate.
#define H20 "h20-cx7:nics_per_node=4"
static const struct {
    const char *cluster, *rows;
    enum diagnosis_verdict verdict;
    const char *first, *second; // causes of the first explanation
} states[] = {
    {H20,
     "a,f,x," NORMAL "fp8,dispatch,24,1414,0,s\nb,f,x," NORMAL "bf16,dispatch,24,2624,0,s\n"
     "c,f,x," NORMAL "bf16,combine,24,2677,0,s\n",
     DIAGNOSIS_HEALTHY, NULL, NULL},
    {H20,
     "a,f,x," NORMAL "fp8,dispatch,24,2664,0,s\nb,f,x," NORMAL "bf16,dispatch,24,5002,0,s\n"
     "c,f,x," NORMAL "bf16,combine,24,4994,0,s\n",
     DIAGNOSIS_EXPLAINED, "one_port", NULL},
    {H20 ",ports_per_nic=2",
     "a,f,x," NORMAL "fp8,dispatch,24,2664,0,s\nb,f,x," NORMAL "bf16,dispatch,24,5002,0,s\n"
     "c,f,x," NORMAL "bf16,combine,24,4994,0,s\n",
     DIAGNOSIS_EXPLAINED, "one_port", NULL},
    {H20, "a,f,x," NORMAL "fp8,dispatch,24,9341,0,s\nc,f,x," NORMAL "bf16,combine,24,17400,0,s\n",
     DIAGNOSIS_EXPLAINED, "one_port", "one_nic"},
    {"h100-cx7",
     "a,f,x," NORMAL "fp8,dispatch,24,1371,0,s\nb,f,x," NORMAL "bf16,dispatch,24,2590,0,s\n"
     "c,f,x," NORMAL "bf16,combine,24,2702,0,s\n",
     DIAGNOSIS_EXPLAINED, "nic_half", NULL},
    {"h100-cx7",
     "a,f,x," NORMAL "fp8,dispatch,24,751,0,s\nb,f,x," NORMAL "bf16,dispatch,24,1398,0,s\n"
     "c,f,x," NORMAL "bf16,combine,24,1790,0,s\nd,f,x," INSIDE "fp8,dispatch,24,503,0,s\n",
     DIAGNOSIS_HEALTHY, NULL, NULL},
};

START_TEST(published_states)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, states[_i].rows);
    diagnose_measured(&diagnosis, &measured, states[_i].cluster);
    ck_assert_str_eq(diagnosis_verdict_names[diagnosis.verdict],
                     diagnosis_verdict_names[states[_i].verdict]);
    if (states[_i].first)
        ck_assert(is_of(&diagnosis.explanations[0], states[_i].first, states[_i].second));
    else
        ck_assert_uint_eq(diagnosis.explanation_count, 0);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// One queue pair leaves one port: nothing measured tells the two apart.
START_TEST(same_predictions_are_one_class)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, states[1].rows);
    diagnose_measured(&diagnosis, &measured, H20);
    ck_assert(is_first_class(&diagnosis, "one_qp", NULL));
    ck_assert(is_first_class(&diagnosis, "nic_half", NULL));
    ck_assert(is_first_class(&diagnosis, "half_nics", NULL));
    ck_assert(!is_first_class(&diagnosis, "far_nic", NULL));
    for (size_t e = 0; e < diagnosis.explanation_count; e++) // pairs only where no single one does
        ck_assert_uint_eq(diagnosis.explanations[e].count, 1);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// A NIC with one port has no other.
START_TEST(ports_of_the_cluster)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, states[1].rows);
    diagnose_measured(&diagnosis, &measured, H20 ",ports_per_nic=1");
    ck_assert(is_of(&diagnosis.explanations[0], "nic_half", NULL));
    for (size_t e = 0; e < diagnosis.explanation_count; e++)
        ck_assert(!is_of(&diagnosis.explanations[e], "one_port", NULL) &&
                  !is_of(&diagnosis.explanations[e], "one_qp", NULL));
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// ---- every cause again -------------------------------------------------------------------------

#define NORMAL_ROWS                                                                                \
    "a,f,x," NORMAL "fp8,dispatch,24,1,0,s\nb,f,x," NORMAL "bf16,dispatch,24,1,0,s\n"              \
    "c,f,x," NORMAL "bf16,combine,24,1,0,s\nd,f,x," INSIDE "fp8,dispatch,24,1,0,s\n"               \
    "e,f,x," INSIDE "bf16,combine,24,1,0,s\n"
#define LL_ROWS                                                                                    \
    "a,f,x," LL "fp8,dispatch,,1,0,s\nb,f,x," LL "bf16,combine,,1,0,s\n"                           \
    "c,f,x,deepep-ll,1,8,256,8,,128,7168,fp8,dispatch,,1,0,s\n"                                    \
    "d,f,x,deepep-ll,1,8,256,8,,128,7168,bf16,combine,,1,0,s\n"
#define BYTES_ROWS                                                                                 \
    "a,f,x,nccl-alltoall,2,8,,,,bytes:4194304,,bf16,alltoall,,1,0,s\n"                             \
    "b,f,x,nccl-alltoall,2,8,,,,bytes:67108864,,bf16,alltoall,,1,0,s\n"                            \
    "c,f,x,nccl-alltoall,2,8,,,,bytes:1073741824,,bf16,alltoall,,1,0,s\n"                          \
    "d,f,x,nccl-alltoall,1,8,,,,bytes:1073741824,,bf16,alltoall,,1,0,s\n"

static const struct {
    const char *cluster, *rows, *cause;
} made[] = {
    {"h100-cx7", NORMAL_ROWS, "nic_half"},  {"h100-cx7", NORMAL_ROWS, "one_nic"},
    {"h100-cx7", NORMAL_ROWS, "half_nics"}, {"h100-cx7", NORMAL_ROWS, "nic_quarter"},
    {"h100-cx7", NORMAL_ROWS, "far_nic"},   {"h100-cx7", NORMAL_ROWS, "cross_rail"},
    {"h100-cx7", NORMAL_ROWS, "pcie"},      {"h100-cx7", NORMAL_ROWS, "nvlink_half"},
    {"h100-cx7", NORMAL_ROWS, "sms_half"},  {"h100-cx7", NORMAL_ROWS, "clock_half"},
    {"h800-cx7", NORMAL_ROWS, "one_nic"},   {"h20-cx7", NORMAL_ROWS, "nic_quarter"},
    {"h100-cx7", LL_ROWS, "nic_half"},      {"h100-cx7", LL_ROWS, "one_nic"},
    {"h100-cx7", LL_ROWS, "host_proxy"},    {"h100-cx7", LL_ROWS, "no_nvlink"},
    {"h800-cx7", LL_ROWS, "nic_quarter"},   {"h100-cx7", BYTES_ROWS, "nic_half"},
    {"h100-cx7", BYTES_ROWS, "tcp"},        {"h100-cx7", BYTES_ROWS, "one_nic"},
    {"h100-cx7", BYTES_ROWS, "pcie"},       {"h100-cx7", NORMAL_ROWS, "quarter_nics"},
};

static const struct cause *cause_of(const char *key)
{
    size_t c = 0;
    while (c < cause_count && strcmp(causes[c].key, key))
        c++;
    ck_assert_uint_lt(c, cause_count);
    return &causes[c];
}

// What a row would take with the cause, or as it is where it cannot have it.
static double made_us(const struct measured_row *row, const char *cluster,
                      const struct cause *cause)
{
    const struct row_overrides overrides = {.cluster = cluster, .seed = 1};
    struct scenario healthy, changed;
    struct error err = {0};
    ck_assert_msg(row_open(&healthy, row, &engine_estimate, &overrides, &err), "%s", err.text);
    scenario_clone(&changed, &healthy);
    const bool can = cause_apply(cause, &changed, CAUSE_NO_RANK);
    const double us = row_predict(can ? &changed : &healthy, row, &engine_estimate).us;
    scenario_release(&changed);
    scenario_release(&healthy);
    return us;
}

// Rows scatter by 3 % around what a cause makes of them.
START_TEST(finds_every_cause)
{
    const struct cause *cause = cause_of(made[_i].cause);
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, made[_i].rows);
    for (size_t i = 0; i < measured.count; i++)
        measured.rows[i].latency_us =
            made_us(&measured.rows[i], made[_i].cluster, cause) * (i % 2 ? 1.03 : 0.97);
    diagnose_measured(&diagnosis, &measured, made[_i].cluster);
    ck_assert_msg(diagnosis.verdict == DIAGNOSIS_EXPLAINED &&
                      is_first_class(&diagnosis, made[_i].cause, NULL),
                  "%s: %s, first %s", made[_i].cause, diagnosis_verdict_names[diagnosis.verdict],
                  diagnosis.explanation_count ? diagnosis.explanations[0].causes[0]->key : "none");
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// ---- rates in between --------------------------------------------------------------------------

#define TWO_NODES                                                                                  \
    "a,f,x," NORMAL "fp8,dispatch,24,1,0,s\nb,f,x," NORMAL "bf16,dispatch,24,1,0,s\n"              \
    "c,f,x," NORMAL "bf16,combine,24,1,0,s\n"
#define FOUR "deepep-normal,4,8,256,8,4,4096,7168,"
#define FOUR_NODES                                                                                 \
    "a,f,x," FOUR "fp8,dispatch,24,1,0,s\nb,f,x," FOUR "bf16,dispatch,24,1,0,s\n"                  \
    "c,f,x," FOUR "bf16,combine,24,1,0,s\n"
static const struct {
    const char *rows;
    double share;
    enum diagnosis_verdict verdict;
} between[] = {
    {TWO_NODES, 0.6, DIAGNOSIS_EXPLAINED}, // as half of the NVLinks would
    {TWO_NODES, 0.7, DIAGNOSIS_UNEXPLAINED},
    {FOUR_NODES, 0.75, DIAGNOSIS_UNEXPLAINED},
    {TWO_NODES, 0.125, DIAGNOSIS_EXPLAINED}, // as one NIC of eight
};

static void measure_with(struct measured *measured, const char *rows, const struct cause *cause)
{
    read_text(measured, rows);
    for (size_t i = 0; i < measured->count; i++)
        measured->rows[i].latency_us =
            made_us(&measured->rows[i], "h100-cx7", cause) * (i % 2 ? 1.02 : 0.98);
}

// NICs of a rate that no cause has are a symptom, and no pair is sought for them.
START_TEST(rates_in_between_are_symptoms)
{
    struct cause cause = symptoms[0];
    struct measured measured;
    struct diagnosis diagnosis;
    cause.size = between[_i].share;
    measure_with(&measured, between[_i].rows, &cause);
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_str_eq(diagnosis_verdict_names[diagnosis.verdict],
                     diagnosis_verdict_names[between[_i].verdict]);
    ck_assert_double_eq_tol(diagnosis.symptoms[0].cause.size, cause.size, 0.1 * cause.size);
    for (size_t e = 0; e < diagnosis.explanation_count; e++)
        ck_assert_uint_eq(diagnosis.explanations[e].count, 1);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Where a rate of NICs is a cause it is no symptom too.
START_TEST(known_rates_are_no_symptoms)
{
    struct measured measured;
    struct diagnosis diagnosis;
    measure_with(&measured, TWO_NODES, cause_of("nic_half"));
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_EXPLAINED);
    for (size_t s = 0; s < SYMPTOMS; s++)
        ck_assert_double_eq(diagnosis.symptoms[s].cause.size, 0);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

START_TEST(slight_slowness_seeks_no_cause)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, "a,f,x," NORMAL "fp8,dispatch,24,860,0,s\nb,f,x," NORMAL
                         "bf16,dispatch,24,1550,0,s\nc,f,x," NORMAL "bf16,combine,24,1766,0,s\n");
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_UNEXPLAINED);
    ck_assert_double_gt(diagnosis.slower, 1.1);
    ck_assert_uint_eq(diagnosis.tried, 0);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// ---- one slow rank ------------------------------------------------------------------------------

// What each rank would measure with the cause, and their mean.
static void measure_ranks(struct measured *measured, const char *cluster, const struct cause *cause,
                          uint32_t rank)
{
    const struct row_overrides overrides = {.cluster = cluster, .seed = 1};
    double rank_us[16];
    for (size_t i = 0; i < measured->count; i++) {
        struct measured_row *row = &measured->rows[i];
        struct scenario scenario;
        struct error err = {0};
        ck_assert_msg(row_open(&scenario, row, &engine_estimate, &overrides, &err), "%s", err.text);
        ck_assert(cause_apply(cause, &scenario, rank));
        row->latency_us = row_predict_ranks(&scenario, row, &engine_estimate, rank_us).us;
        scenario_release(&scenario);
        for (int r = 0; r < 16; r++)
            rank_us[r] *= r % 2 ? 1.02 : 0.98;
        measured_set_ranks(measured, row, rank_us, 16);
    }
}

#define RANK_ROWS "a,f,x," LL "fp8,dispatch,,1,0,s\nb,f,x," LL "bf16,combine,,1,0,s\n"
static const uint32_t slow_ranks[] = {0, 5, 11};

START_TEST(finds_the_slow_nic)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, RANK_ROWS);
    measure_ranks(&measured, "h100-cx7", cause_of("slow_nic"), slow_ranks[_i]);
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_EXPLAINED);
    ck_assert(is_of(&diagnosis.explanations[0], "slow_nic", NULL));
    ck_assert_uint_eq(diagnosis.explanations[0].rank, slow_ranks[_i]);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Ranks that all took the same name none of them.
START_TEST(alike_ranks_name_none)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, RANK_ROWS);
    measure_ranks(&measured, "h100-cx7", cause_of("nic_half"), CAUSE_NO_RANK);
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert(is_of(&diagnosis.explanations[0], "nic_half", NULL));
    for (size_t e = 0; e < diagnosis.explanation_count; e++)
        ck_assert_uint_eq(diagnosis.explanations[e].rank, CAUSE_NO_RANK);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

START_TEST(noise_between_ranks)
{
    double rank_us[16];
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, RANK_ROWS);
    for (int r = 0; r < 16; r++)
        rank_us[r] = r == 3 ? NAN : 110.0 + 25 * (r % 6);
    for (size_t i = 0; i < measured.count; i++) {
        measured.rows[i].latency_us = 170;
        measured_set_ranks(&measured, &measured.rows[i], rank_us, 16);
    }
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_NOISE);
    ck_assert_double_eq_tol(diagnosis.rows[0].spread, 235.0 / 110, 1e-9);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Slow ranks take `times` what the others do, which scatter by `scatter`.
static const struct {
    double times, scatter;
    uint32_t slow[8];
    size_t count;
    bool whole_nodes;
    enum diagnosis_verdict verdict;
} stand_outs[] = {
    {1.8, 0.02, {5}, 1, false, DIAGNOSIS_RANKS},
    {3, 0.02, {5}, 1, false, DIAGNOSIS_RANKS},
    {1.8, 0.02, {2, 11}, 2, false, DIAGNOSIS_RANKS},
    {1.7, 0.02, {8, 9, 10, 11, 12, 13, 14, 15}, 8, true, DIAGNOSIS_RANKS},
    {1.1, 0.02, {5}, 0, false, DIAGNOSIS_HEALTHY}, // as others might
    {1.8, 0.1, {5}, 0, false, DIAGNOSIS_HEALTHY},  // others scatter too
    {3, 0.1, {5}, 0, false, DIAGNOSIS_NOISE},      // and more
};

START_TEST(ranks_that_stand_out)
{
    double rank_us[16], us = 90;
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, RANK_ROWS);
    for (size_t i = 0; i < measured.count; i++, us = 180) {
        for (int r = 0; r < 16; r++)
            rank_us[r] = us * (1 + stand_outs[_i].scatter * (r % 3 - 1));
        for (size_t s = 0; s < SUITE_COUNT(stand_outs[_i].slow); s++)
            if (!s || stand_outs[_i].slow[s])
                rank_us[stand_outs[_i].slow[s]] = us * stand_outs[_i].times;
        measured.rows[i].latency_us = us * 1.05;
        measured_set_ranks(&measured, &measured.rows[i], rank_us, 16);
    }
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_str_eq(diagnosis_verdict_names[diagnosis.verdict],
                     diagnosis_verdict_names[stand_outs[_i].verdict]);
    ck_assert_uint_eq(diagnosis.slow_ranks.count, stand_outs[_i].count);
    for (size_t s = 0; s < stand_outs[_i].count; s++)
        ck_assert_uint_eq(diagnosis.slow_ranks.ranks[s], stand_outs[_i].slow[s]);
    ck_assert_int_eq(diagnosis.slow_ranks.whole_nodes, stand_outs[_i].whole_nodes);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// ---- what no cause explains --------------------------------------------------------------------

START_TEST(noise_has_no_cause)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured,
              "a,f,x," LL "fp8,dispatch,,73.2,0,s\nb,f,x," LL "fp8,dispatch,,684.9,0,s\n");
    diagnose_measured(&diagnosis, &measured, "h800-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_NOISE);
    ck_assert_uint_eq(diagnosis.of[ROW_NOISE], 2);
    ck_assert_double_eq_tol(diagnosis.rows[0].spread, 684.9 / 73.2, 1e-9);
    ck_assert_uint_eq(diagnosis.explanation_count, 0);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Two files of one case are no repeats: one may be of before a change.
START_TEST(other_cases_are_no_repeats)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, "a,f,x," LL "fp8,dispatch,,100,0,s\nb,g,x," LL "fp8,dispatch,,400,0,s\n"
                         "c,f,x," LL "fp8,combine,,400,0,s\n"
                         "d,f,x,deepep-ll,2,8,256,8,,32,7168,fp8,dispatch,,40,0,s\n");
    diagnose_measured(&diagnosis, &measured, "h800-cx7");
    ck_assert_uint_eq(diagnosis.of[ROW_NOISE], 0);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Of the rows of a healthy cluster some lie just outside their intervals.
START_TEST(chance_has_no_cause)
{
    char rows[4096] = "";
    struct measured measured;
    struct diagnosis diagnosis;
    for (int i = 0; i < 21; i++) {
        const size_t length = strlen(rows);
        snprintf(rows + length, sizeof rows - length,
                 "r%d,f%d,x," NORMAL "fp8,dispatch,24,%g,0,s\n", i, i,
                 i ? 730.0 + i : 730 * (_i ? 1.5 : 1.2));
    }
    read_text(&measured, rows);
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_uint_eq(diagnosis.of[ROW_SLOW], 1);
    ck_assert_int_eq(diagnosis.verdict, _i ? DIAGNOSIS_UNEXPLAINED : DIAGNOSIS_HEALTHY);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Dispatch ten times slower, combine as it should be: no part of a machine does that.
START_TEST(nothing_explains_it)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, "a,f,x," NORMAL "fp8,dispatch,24,7300,0,s\nb,f,x," NORMAL
                         "bf16,combine,24,1766,0,s\n");
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_UNEXPLAINED);
    ck_assert_uint_gt(diagnosis.tried, cause_count); // pairs too
    for (size_t e = 0; e < diagnosis.explanation_count; e++)
        ck_assert(!diagnosis.explanations[e].explains);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Where the one of three rows that is off is not far off, two speak for it.
START_TEST(two_of_three_rows_do)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, "a,f,x," NORMAL "fp8,dispatch,24,1590,0,s\nb,f,x," NORMAL
                         "bf16,dispatch,24,2560,0,s\nc,f,x," NORMAL "bf16,combine,24,2650,0,s\n");
    diagnose_measured(&diagnosis, &measured, "h200-cx7");
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_EXPLAINED);
    ck_assert(is_first_class(&diagnosis, "nic_half", NULL));
    ck_assert_double_lt(diagnosis.explanations[0].near_share, 0.7);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// A compute kernel on one GPU has none of these causes.
START_TEST(kernels_have_no_cause)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, "a,f,x," NORMAL "fp8,dispatch,24,751,0,s\n");
    measured.rows[0].phase = PHASE_KERNEL;
    measured.rows[0].kernel.kind = KERNEL_GEMM_BF16;
    measured.rows[0].kernel.gemm =
        (struct gemm_shape){.m = 4096, .n = 4096, .k = 4096, .sm_share = 1};
    strcpy(measured.rows[0].kernels, "sglang");
    measured.rows[0].latency_us = 1e6;
    diagnose_measured(&diagnosis, &measured, "h100-cx7");
    ck_assert_int_eq(diagnosis.rows[0].verdict, ROW_SLOW);
    ck_assert_int_eq(diagnosis.verdict, DIAGNOSIS_UNEXPLAINED);
    ck_assert_uint_eq(diagnosis.explanation_count, 0);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// Rows that nothing predicts are told apart from those that are judged.
START_TEST(skips_what_it_cannot_predict)
{
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured,
              "a,f,no-such-cluster," NORMAL "fp8,dispatch,24,751,0,s\nb,f,h100-cx7," NORMAL
              "bf16,combine,24,3560,0,s\n");
    diagnose_measured(&diagnosis, &measured, NULL);
    ck_assert_int_eq(diagnosis.rows[0].verdict, ROW_SKIPPED);
    ck_assert_int_eq(diagnosis.rows[1].verdict, ROW_SLOW);
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

// ---- the table of causes -----------------------------------------------------------------------

START_TEST(causes_are_told_apart)
{
    for (size_t a = 0; a < cause_count; a++) {
        ck_assert(causes[a].text[0] && causes[a].check[0] && causes[a].source[0]);
        for (size_t b = a + 1; b < cause_count; b++)
            ck_assert_str_ne(causes[a].key, causes[b].key);
    }
}
END_TEST

// What it says that it changes is read back to the same prediction.
START_TEST(changes_are_read_back)
{
    char cluster[256];
    struct measured measured;
    struct diagnosis diagnosis;
    read_text(&measured, states[1].rows);
    diagnose_measured(&diagnosis, &measured, H20);
    const struct explanation *first = &diagnosis.explanations[0];
    snprintf(cluster, sizeof cluster, H20 ",%s", first->changes);
    for (size_t i = 0; i < measured.count; i++) {
        const struct row_overrides overrides = {.cluster = cluster, .seed = 1};
        struct scenario scenario;
        struct error err = {0};
        ck_assert_msg(row_open(&scenario, &measured.rows[i], &engine_estimate, &overrides, &err),
                      "%s", err.text);
        ck_assert_double_eq_tol(row_predict(&scenario, &measured.rows[i], &engine_estimate).us,
                                first->predicted_us[i], 0.001 * first->predicted_us[i]);
        scenario_release(&scenario);
    }
    diagnosis_release(&diagnosis);
    measured_release(&measured);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("diagnose");
    TCase *tcase = tcase_create("states");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, published_states, 0, SUITE_COUNT(states));
    tcase_add_test(tcase, same_predictions_are_one_class);
    tcase_add_test(tcase, ports_of_the_cluster);
    tcase_add_loop_test(tcase, finds_every_cause, 0, SUITE_COUNT(made));
    tcase_add_loop_test(tcase, rates_in_between_are_symptoms, 0, SUITE_COUNT(between));
    tcase_add_test(tcase, known_rates_are_no_symptoms);
    tcase_add_test(tcase, slight_slowness_seeks_no_cause);
    tcase_add_loop_test(tcase, finds_the_slow_nic, 0, SUITE_COUNT(slow_ranks));
    tcase_add_test(tcase, alike_ranks_name_none);
    tcase_add_test(tcase, noise_between_ranks);
    tcase_add_loop_test(tcase, ranks_that_stand_out, 0, SUITE_COUNT(stand_outs));
    tcase_add_test(tcase, noise_has_no_cause);
    tcase_add_test(tcase, other_cases_are_no_repeats);
    tcase_add_loop_test(tcase, chance_has_no_cause, 0, 2);
    tcase_add_test(tcase, nothing_explains_it);
    tcase_add_test(tcase, two_of_three_rows_do);
    tcase_add_test(tcase, kernels_have_no_cause);
    tcase_add_test(tcase, skips_what_it_cannot_predict);
    tcase_add_test(tcase, causes_are_told_apart);
    tcase_add_test(tcase, changes_are_read_back);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
