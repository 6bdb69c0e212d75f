// study/ep: rows of what DeepEP's tests of its first version print, whole, pasted in part and
// joined of several nodes; and why lines are no rows.
#include "study/ep/whose.h"
#include "tests/ep_rows.h"

#define CONFIG_2 "[config] num_tokens=4096, hidden=7168, num_topk_groups=2, num_topk=8\n"
#define CONFIG_1 "[config] num_tokens=4096, hidden=7168, num_topk=8\n"
#define BEST "[tuning] Best "
#define SIZES "SMs 24, NVL chunk 20, RDMA chunk 12"
#define TWO_NODES "h:1:2 [0] NCCL INFO comm 0xa rank 0 nRanks 16 nNodes 2 localRanks 8\n"
#define SHAPE_2 "2x8:nvlink=300GB/s,nic=45GB/s"
#define SHAPE_4 "4x8:nvlink=300GB/s,nic=45GB/s"
#define NORMAL(phase, dtype, nodes, us, off)                                                       \
    {                                                                                              \
        "deepep-normal", PHASE_##phase, DTYPE_##dtype, nodes, 8, 24, 4096, us, off, NULL           \
    }
#define NOTIFY(dtype, us)                                                                          \
    {                                                                                              \
        "deepep-normal", PHASE_NOTIFY, DTYPE_##dtype, 2, 8, 24, 4096, us, 0, "cached"              \
    }
#define LL(of, phase, dtype, nodes, tokens, us)                                                    \
    {                                                                                              \
        of, PHASE_##phase, DTYPE_##dtype, nodes, 8, 0, tokens, us, 1e-3, NULL                      \
    }
#define RANK(rank, out, back)                                                                      \
    "[rank " #rank "] Dispatch bandwidth: " out " us | Combine bandwidth: " back " us\n"

// Rates and times below agree: 4,096 tokens to 1.993 of two nodes are 60.3 and 117 MB.
// clang-format off
static const struct ep_text texts[] = {
    // The exchange of counts stands apart.
    {CONFIG_2 TWO_NODES
     BEST "dispatch (FP8): " SIZES ": 61 + 762 us, 79.19 GB/s (RDMA), 258.50 GB/s (NVL)\n"
     BEST "combine: " SIZES ", 88.25 + 1820.00 us, 64.29 GB/s (RDMA), 209.90 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, FP8, 2, 762, 0), NOTIFY(FP8, 61),
      NORMAL(COMBINE, BF16, 2, 1820, 0), NOTIFY(BF16, 88.25)}},
    {BEST "dispatch (BF16): " SIZES ", transmit: 1390.00 us, notify: 70.00 us, "
     "BW: 84.18 GB/s (RDMA), 274.80 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, BF16, 2, 1390, 0), NOTIFY(BF16, 70)}},
    // A node's line each: their mean.
    {CONFIG_2 CONFIG_2
     BEST "dispatch (FP8): " SIZES ": 60 + 760 us, 79.40 GB/s (RDMA), 259.20 GB/s (NVL)\n"
     "[1,8]<stdout>:" BEST "dispatch (FP8): SMs 24, NVL chunk 16, RDMA chunk 8: 70 + 770 us, 78.37 GB/s (RDMA), 255.80 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, FP8, 2, 765, 0), NOTIFY(FP8, 65)}},
    // Rates alone, of two nodes and of four (109.4 MB).
    {BEST "dispatch (FP8): " SIZES ": 20.00 GB/s (RDMA), 65.40 GB/s (NVL)\n"
     BEST "combine: " SIZES ": 22.00 GB/s (RDMA), 71.90 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, FP8, 2, 3017, 2e-3), NORMAL(COMBINE, BF16, 2, 5320, 2e-3)}},
    {BEST "dispatch (FP8): " SIZES ": 50.00 GB/s (RDMA), 100.60 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, FP8, 4, 2188, 2e-3)}},
    // Of eight, where a token reaches four groups at most: 3.99 of them, 120.7 MB.
    {BEST "dispatch (FP8): " SIZES ": 50.00 GB/s (RDMA), 94.00 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, FP8, 8, 2414, 2e-3)}},
    // In one node: 160.4 and 311 MB.
    {CONFIG_1 BEST "dispatch (FP8): SMs 24, NVL chunk 8, 320.00 GB/s (NVL)\n"
     BEST "dispatch (BF16): SMs 24, NVL chunk 8, 330.00 GB/s (NVL), t: 942.00 us\n"
     BEST "combine: SMs 24, NVL chunk 8: 311.00 GB/s (NVL)\n", NULL,
     {NORMAL(DISPATCH, FP8, 1, 501.2, 2e-3), NORMAL(DISPATCH, BF16, 1, 942, 0),
      NORMAL(COMBINE, BF16, 1, 1000, 2e-3)}},
    // What no header says, GB/s and us do: half as many tokens.
    {BEST "combine: SMs 24, NVL chunk 8: 311.00 GB/s (NVL), t: 500.00 us\n", NULL,
     {{"deepep-normal", PHASE_COMBINE, DTYPE_BF16, 1, 8, 24, 2048, 500, 0, NULL}}},
    // Quoted, and behind another process's line.
    {"> > h:7:9 [3] NCCL INFO Channel 14/0 : 7" BEST "combine: " SIZES ": **22.00 GB/s (RDMA)**, 71.90 GB/s (NVL)\r\n", NULL,
     {NORMAL(COMBINE, BF16, 2, 5320, 2e-3)}},
    // NCCL's own line, another process in it, says no ranks: the test starts eight a node.
    {"h:1:2 [0] NCCL INFO comm 0xa rank 0\"nRanks 16 nNodes 2 localRanks 8\n"
     BEST "combine: " SIZES ": 22.00 GB/s (RDMA), 71.90 GB/s (NVL)\n", NULL,
     {NORMAL(COMBINE, BF16, 2, 5320, 2e-3)}},
    // Low latency: the ranks' mean, 7.586 and 14.68 MB.
    {RANK(0, "42.00 GB/s, avg_t=180.00", "40.00 GB/s, avg_t=366.00")
     RANK(9, "38.00 GB/s, avg_t=200.00", "44.00 GB/s, avg_t=334.00"), SHAPE_2,
     {LL("deepep-ll", DISPATCH, FP8, 2, 128, 190), LL("deepep-ll", COMBINE, BF16, 2, 128, 350)}},
    {"uccl: proxies started\n"
     "[avg across 32 ranks] Dispatch bandwidth: 42.00 GB/s, avg_t=180.00 us | Combine bandwidth: 40.00 GB/s, avg_t=366.00 us\n", NULL,
     {LL("uccl-ll", DISPATCH, FP8, 4, 128, 180), LL("uccl-ll", COMBINE, BF16, 4, 128, 366)}},
    // BF16 out, and 64 tokens: as many bytes as combine's, half of what 128 move.
    {RANK(0, "40.80 GB/s, avg_t=180.00", "40.00 GB/s, avg_t=183.30"), SHAPE_2,
     {LL("deepep-ll", DISPATCH, BF16, 2, 64, 180), LL("deepep-ll", COMBINE, BF16, 2, 64, 183.3)}},
    // No time: by the rate.
    {"[rank 0] Dispatch bandwidth: 42.14 GB/s | Combine bandwidth: 40.00 GB/s\n", SHAPE_2,
     {LL("deepep-ll", DISPATCH, FP8, 2, 128, 180), LL("deepep-ll", COMBINE, BF16, 2, 128, 367)}},
};

static const struct {
    const char *text, *cluster, *says;
} refused[] = {
    {"[rank 1] Dispatch + combine bandwidth: 42.00 GB/s, avg_t=530.00 us, min_t=520.00 us, max_t=540.00 us\n",
     SHAPE_2, ":1: no rows: left out: dispatch and combine timed together"},
    {RANK(3, "42.00 GB/s, avg_t=180.00", "40.00 GB/s, avg_t=366.00"), NULL,
     ":1: no rows: left out: nothing says how many ranks ran it"},
    {RANK(17, "42.00 GB/s, avg_t=180.00", "40.00 GB/s, avg_t=366.00"), SHAPE_2,
     "more ranks printed than the cluster has"},
    {BEST "dispatch (FP8): " SIZES ": 50.00 GB/s (RDMA), 100.60 GB/s (NVL)\n", SHAPE_2,
     "its ratio of NVL to RDMA, 2.01, is that of 4 nodes, and the log or --cluster says 2"},
    {TWO_NODES BEST "dispatch (FP8): " SIZES ": 50.00 GB/s (RDMA), 100.60 GB/s (NVL)\n", SHAPE_4,
     "is that of 4 nodes"},
    {BEST "dispatch (FP8): " SIZES ": 50.00 GB/s (RDMA), 400.00 GB/s (NVL)\n", NULL,
     "nothing says how many nodes ran it"},
    {CONFIG_2 BEST "dispatch (FP8): " SIZES ": 61 + 762 us, 39.60 GB/s (RDMA), 129.25 GB/s (NVL)\n", NULL,
     "its GB/s and us are of 30.18 MB, and 4096 tokens as its configuration has them move 60.3"},
    {"[tuning] SMs 24, NVL chunk 4: 294.25 GB/s (NVL), 544.50 us\n", NULL,
     "1 sizes of chunks that were tried, without the best of them"},
    {BEST "dispatch (FP8): SMs 24, NVL chunk 4, RDMA chunk 12: 56 + 13\n", NULL,
     "a line of DeepEP's tests that does not go on as it begins"},
};
// clang-format on

START_TEST(rows_of)
{
    ep_expect(&texts[_i]);
}
END_TEST

START_TEST(refuses)
{
    ep_expect_refused(refused[_i].text, refused[_i].cluster, refused[_i].says);
}
END_TEST

// Halves are kernels of their own, which no engine predicts as the phase.
START_TEST(hook_rows_stand_apart)
{
    static const struct ep_text text = {
        "[rank 0] Dispatch send/recv time: 22.50 + 10.50 us | Combine send/recv time: 14.00 + "
        "31.00 us\n",
        SHAPE_2,
        {{"deepep-ll", PHASE_DISPATCH, DTYPE_FP8, 2, 8, 0, 128, 33, 0, "hook"},
         {"deepep-ll", PHASE_COMBINE, DTYPE_BF16, 2, 8, 0, 128, 45, 0, "hook"}}};
    struct measured measured;
    struct error err;
    ep_expect(&text);
    ck_assert(ep_load(&measured, text.text, text.cluster, &err));
    ck_assert(!measured_predictable(&measured.rows[0], &err));
    measured_release(&measured);
}
END_TEST

START_TEST(rows_keep_each_ranks_figure)
{
    struct measured measured;
    struct error err;
    ck_assert(ep_load(&measured,
                      RANK(0, "42.00 GB/s, avg_t=180.00", "40.00 GB/s, avg_t=366.00")
                          RANK(9, "38.00 GB/s, avg_t=200.00", "44.00 GB/s, avg_t=334.00"),
                      SHAPE_2, &err));
    const struct measured_row *row = &measured.rows[0];
    ck_assert_uint_eq(row->ranks, 16);
    ck_assert_double_eq(row->rank_us[0], 180);
    ck_assert_double_eq(row->rank_us[9], 200);
    ck_assert(isnan(row->rank_us[1]));
    measured_release(&measured);
}
END_TEST

// 2 x tokens x experts x (2 x 14,352) bytes, and a little for flags.
START_TEST(a_buffer_tells_experts)
{
    static const struct {
        const char *text;
        uint32_t experts, tokens;
    } buffers[] = {
        {"Allocating buffer size: 1175.717120 MB ...\n" RANK(0, "42.00 GB/s, avg_t=180.00",
                                                             "40.00 GB/s, avg_t=366.00"),
         160, 128},
        {"Allocating buffer size: 587.858560 MB ...\n" RANK(0, "42.00 GB/s, avg_t=90.00",
                                                            "40.00 GB/s, avg_t=183.00"),
         160, 64},
    };
    for (int b = 0; b < SUITE_COUNT(buffers); b++) {
        struct measured measured;
        struct error err;
        ck_assert(ep_load(&measured, buffers[b].text, SHAPE_2, &err));
        ck_assert_uint_eq(measured.rows[0].experts, buffers[b].experts);
        ck_assert_uint_eq(measured.rows[0].tokens_per_gpu, buffers[b].tokens);
        measured_release(&measured);
    }
}
END_TEST

// UCCL's tests print what DeepEP's do.
START_TEST(a_person_says_whose_kernels_ran)
{
    struct measured measured;
    struct error err;
    ck_assert(ep_load(&measured,
                      BEST "dispatch (FP8): SMs 24, NVL chunk 8, 320.00 GB/s (NVL)\n" RANK(
                          0, "42.00 GB/s, avg_t=180.00", "40.00 GB/s, avg_t=366.00"),
                      SHAPE_2, &err));
    ck_assert_msg(ep_rows_are_of(&measured, "uccl-ll", "h200-cx7", &err), "%s", err.text);
    ck_assert_str_eq(measured.rows[0].dispatcher, "deepep-normal");
    ck_assert_str_eq(measured.rows[1].dispatcher, "uccl-ll");
    ck_assert_str_eq(measured.rows[1].family, "uccl-ll");
    ck_assert(!ep_rows_are_of(&measured, "uccl-ll", "h200-cx7", &err));
    ck_assert(strstr(err.text, "no row of a log of DeepEP's tests is of such kernels"));
    ck_assert(!ep_rows_are_of(&measured, "uccl-ll", "", &err));
    ck_assert(strstr(err.text, "needs --cluster"));
    measured_release(&measured);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deepep_rows");
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 60);
    tcase_add_loop_test(rows, rows_of, 0, SUITE_COUNT(texts));
    tcase_add_loop_test(rows, refuses, 0, SUITE_COUNT(refused));
    tcase_add_test(rows, hook_rows_stand_apart);
    tcase_add_test(rows, rows_keep_each_ranks_figure);
    tcase_add_test(rows, a_buffer_tells_experts);
    tcase_add_test(rows, a_person_says_whose_kernels_ran);
    suite_add_tcase(suite, rows);
    return suite_run(suite);
}
