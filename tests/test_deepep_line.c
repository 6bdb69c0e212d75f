// study/ep/deepep_line: every form in which DeepEP's tests and copies of them have printed a
// result, and lines that are none.
#include "study/ep/deepep_line.h"

#include "tests/suite.h"

#include <math.h>

#define MOVED(of_phase, of_dtype) .phase = PHASE_##of_phase, .dtype = DTYPE_##of_dtype
#define TUNED(text) "[tuning] Best " text

// clang-format off
static const struct {
    const char *text;
    struct ep_result result;
} bests[] = {
    // 2025-02 to 2025-07: rates alone
    {TUNED("dispatch (FP8): SMs 24, NVL chunk 16, RDMA chunk 12: 41.50 GB/s (RDMA), 135.9 GB/s (NVL)"),
     {MOVED(DISPATCH, FP8), .sms = 24, .GBps = 41.5, .intra_GBps = 135.9, .count = EP_COUNT_NODES}},
    {TUNED("combine: SMs 20, NVL chunk 2, RDMA chunk 8: 43.25 GB/s (RDMA), 142.00 GB/s (NVL)"),
     {MOVED(COMBINE, BF16), .sms = 20, .GBps = 43.25, .intra_GBps = 142, .count = EP_COUNT_NODES}},
    // summer of 2025
    {TUNED("dispatch (BF16): SMs 24, NVL chunk 8, RDMA chunk 20, transmit: 1390.50 us, "
           "notify: 70.25 us, BW: 84.00 GB/s (RDMA), 274.50 GB/s (NVL)"),
     {MOVED(DISPATCH, BF16), .sms = 24, .us = 1390.5, .notify_us = 70.25, .GBps = 84, .intra_GBps = 274.5}},
    // since: notify + transmit, of a combine behind a comma
    {TUNED("dispatch (FP8): SMs 24, NVL chunk 40, RDMA chunk 12: 61 + 762 us, 79.10 GB/s (RDMA), 258.00 GB/s (NVL)"),
     {MOVED(DISPATCH, FP8), .sms = 24, .us = 762, .notify_us = 61, .GBps = 79.1, .intra_GBps = 258}},
    {TUNED("combine: SMs 24, NVL chunk 4, RDMA chunk 24, 88.25 + 1820.00 us, 64.30 GB/s (RDMA), 210.10 GB/s (NVL)"),
     {MOVED(COMBINE, BF16), .sms = 24, .us = 1820, .notify_us = 88.25, .GBps = 64.3, .intra_GBps = 210.1}},
    // inside a node: no RDMA
    {TUNED("dispatch (FP8): SMs 24, NVL chunk 8, 327.25 GB/s (NVL)"),
     {MOVED(DISPATCH, FP8), .sms = 24, .GBps = 327.25, .count = EP_COUNT_RANKS}},
    {TUNED("dispatch (BF16): SMs 24, NVL chunk 4, 330.00 GB/s (NVL), t: 942.25 us"),
     {MOVED(DISPATCH, BF16), .sms = 24, .us = 942.25, .GBps = 330, .count = EP_COUNT_RANKS}},
    {TUNED("combine: SMs 24, NVL chunk default: 322.50 GB/s (NVL), 963.5 us"),
     {MOVED(COMBINE, BF16), .sms = 24, .us = 963.5, .GBps = 322.5, .count = EP_COUNT_RANKS}},
    {TUNED("combine: SMs 24, NVL chunk 3: avg_t: 963.5 us, 322.50 GB/s (NVL)"),
     {MOVED(COMBINE, BF16), .sms = 24, .us = 963.5, .GBps = 322.5, .count = EP_COUNT_RANKS}},
    // another process before and behind it
    {"host-7:41:88 [2] NCCL INFO Channel 03/0 : 2[tuning] Best combine: SMs 24, NVL chunk 3, 320.00 GB/s (NVL)host",
     {MOVED(COMBINE, BF16), .sms = 24, .GBps = 320, .count = EP_COUNT_RANKS}},
};

static const struct {
    const char *text;
    enum deepep_line_kind kind;
    double us[2], after_us[2], GBps[2];
    int rank;
} low_latency[] = {
    {"[rank 3] Dispatch bandwidth: 41.50 GB/s, avg_t=182.75 us | Combine bandwidth: 43.00 GB/s, avg_t=341.25 us",
     DEEPEP_LL, {182.75, 341.25}, {0}, {41.5, 43}, 3},
    {"[rank 11 ] Dispatch bandwidth: 41.50 GB/s, avg_t=182.75 us | Combine bandwidth: 43.00 GB/s, avg_t=341.25 us",
     DEEPEP_LL, {182.75, 341.25}, {0}, {41.5, 43}, 11},
    {"[avg across 16 ranks] Dispatch bandwidth: 41.50 GB/s, avg_t=182.75 us | Combine bandwidth: 43.00 GB/s, avg_t=341.25 us",
     DEEPEP_LL, {182.75, 341.25}, {0}, {41.5, 43}, -1},
    {"[rank 5] Dispatch bandwidth: 41.50 GB/s | Combine bandwidth: 43.00 GB/s",
     DEEPEP_LL, {0}, {0}, {41.5, 43}, 5},
    {"[rank 0] Dispatch + combine bandwidth: 42.00 GB/s, avg_t=530.25 us, min_t=521.00 us, max_t=541.00 us",
     DEEPEP_SUM, {530.25}, {0}, {42}, 0},
    {"[rank 2] Dispatch send/recv time: 80.50 us | Combine send/recv time: 82.25 us",
     DEEPEP_HOOK, {80.5, 82.25}, {0}, {0}, 2},
    {"[rank 2] Dispatch send/recv time: 46.50 = 10.25 + 13.00 us | Combine send/recv time: 50.00 = 12.0 + 13.0 us",
     DEEPEP_HOOK, {10.25, 12}, {13, 13}, {0}, 2},
    {"[rank 2] Dispatch send/recv time: 22.50 + 10.75 us | Combine send/recv time: 14.25 + 31.00 us",
     DEEPEP_HOOK, {22.5, 14.25}, {10.75, 31}, {0}, 2},
    {"[rank 1] Dispatch bandwidth: 41.50 GB/s, avg_t=182.7", DEEPEP_BROKEN, {0}, {0}, {0}, 1},
    {"[rank 1] Dispatch band[rank 2] Dispatch bandwidth: 41", DEEPEP_BROKEN, {0}, {0}, {0}, 2},
    {"Dispatch bandwidth: 41.50 GB/s", DEEPEP_BROKEN, {0}, {0}, {0}, -1},
};

static const struct {
    const char *text;
    enum deepep_line_kind kind;
} others[] = {
    {"[tuning] SMs 24, NVL chunk 4, RDMA chunk 4: 280 + 1040 us, 58.00 GB/s (RDMA), 190.00 GB/s (NVL)", DEEPEP_TRY},
    {"[tuning] SMs 24, NVL chunk default: 319.50 GB/s (NVL), 501.00 us", DEEPEP_TRY},
    {"[tuning] SMs 24, NVL chunk 4: 294.25 GB/s (NVL), avg_t: 544.50 us", DEEPEP_TRY},
    {"[tuning] SMs 24, NVL chunk 4, RDMA chunk", DEEPEP_BROKEN},
    {TUNED("dispatch (FP8): SMs 24, NVL chunk 4, RDMA chunk 12: 56 + 13"), DEEPEP_BROKEN},
    {TUNED("dispatch (INT3): SMs 24, NVL chunk 4: 294.25 GB/s (NVL)"), DEEPEP_BROKEN},
    {TUNED("dispatch (FP8): SMs 24.5, NVL chunk 4: 294.25 GB/s (NVL)"), DEEPEP_BROKEN},
    {TUNED("combine: SMs 24, NVL chunk 4: inf GB/s (NVL)"), DEEPEP_BROKEN},
    {TUNED("combine: SMs 24, NVL chunk 4: 0.00 GB/s (NVL)"), DEEPEP_BROKEN},
    {"[layout] Kernel performance: 0.050 ms", DEEPEP_NOTED},
    {"7[layout] Kernel performance: 0.050 ms", DEEPEP_NOTED},
    {"[testing] Running with FP8, with top-k (async=True, previous=False) ... passed", DEEPEP_OTHER},
    {"[config]", DEEPEP_OTHER},
    {"[rank 3] HybridEP dispatch torch API (BF16): 540.00 GB/s (NVL), t: 460.00 us", DEEPEP_OTHER},
    {"", DEEPEP_OTHER},
};
// clang-format on

static bool near(double got, double want)
{
    return fabs(got - want) <= 1e-9 * (1 + want);
}

START_TEST(a_best_line_has_its_figures)
{
    for (int i = 0; i < SUITE_COUNT(bests); i++) {
        const struct ep_result *want = &bests[i].result;
        const struct deepep_line line = deepep_line_read(bests[i].text);
        const struct ep_result *got = &line.results[0];
        ck_assert_msg(line.kind == DEEPEP_BEST, "%s: kind %d", bests[i].text, line.kind);
        ck_assert_msg(got->phase == want->phase && got->dtype == want->dtype &&
                          got->sms == want->sms && got->count == want->count,
                      "%s: phase, dtype, SMs or what is counted", bests[i].text);
        ck_assert_msg(near(got->us, want->us) && near(got->notify_us, want->notify_us),
                      "%s: %g + %g us", bests[i].text, got->notify_us, got->us);
        ck_assert_msg(near(got->GBps, want->GBps) && near(got->intra_GBps, want->intra_GBps),
                      "%s: %g, %g GB/s", bests[i].text, got->GBps, got->intra_GBps);
        ck_assert_int_eq(got->rank, -1);
    }
}
END_TEST

START_TEST(a_low_latency_line_has_two_kernels)
{
    for (int i = 0; i < SUITE_COUNT(low_latency); i++) {
        const struct deepep_line line = deepep_line_read(low_latency[i].text);
        ck_assert_msg(line.kind == low_latency[i].kind, "%s: kind %d", low_latency[i].text,
                      line.kind);
        for (int r = 0; r < 2 && line.kind != DEEPEP_BROKEN; r++) {
            const struct ep_result *got = &line.results[r];
            ck_assert_msg(got->rank == low_latency[i].rank, "%s: rank", low_latency[i].text);
            ck_assert_msg(near(got->us, low_latency[i].us[r]) &&
                              near(got->after_us, low_latency[i].after_us[r]) &&
                              near(got->GBps, low_latency[i].GBps[r]),
                          "%s: result %d: %g + %g us, %g GB/s", low_latency[i].text, r, got->us,
                          got->after_us, got->GBps);
        }
    }
}
END_TEST

START_TEST(other_lines_are_told_apart)
{
    for (int i = 0; i < SUITE_COUNT(others); i++)
        ck_assert_msg(deepep_line_read(others[i].text).kind == others[i].kind, "%s: kind %d",
                      others[i].text, deepep_line_read(others[i].text).kind);
}
END_TEST

START_TEST(a_config_says_what_was_run)
{
    struct deepep_line line =
        deepep_line_read("[config] num_tokens=2048, hidden=5120, num_topk_groups=2, num_topk=6");
    ck_assert_int_eq(line.kind, DEEPEP_CONFIG);
    ck_assert_uint_eq(line.config.tokens, 2048);
    ck_assert_uint_eq(line.config.hidden, 5120);
    ck_assert_uint_eq(line.config.topk_groups, 2);
    ck_assert_uint_eq(line.config.topk, 6);
    ck_assert_uint_eq(line.config.experts, 0);
    line = deepep_line_read("[rank 7] num_tokens=64, hidden=4096, num_experts=160, num_topk=6, "
                            "return_recv_hook=False Dispatch bandwidth: 20.00 GB/s, avg_t=90.00 us "
                            "| Combine bandwidth: 21.00 GB/s, avg_t=160.00 us");
    ck_assert_int_eq(line.kind, DEEPEP_LL);
    ck_assert_int_eq(line.results[1].rank, 7);
    ck_assert_uint_eq(line.config.tokens, 64);
    ck_assert_uint_eq(line.config.experts, 160);
    line = deepep_line_read("Allocating buffer size: 1880.098944 MB ...");
    ck_assert_int_eq(line.kind, DEEPEP_BUFFER);
    ck_assert(near(line.buffer_bytes, 1880098944));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deepep_line");
    TCase *lines = tcase_create("lines");
    tcase_add_test(lines, a_best_line_has_its_figures);
    tcase_add_test(lines, a_low_latency_line_has_two_kernels);
    tcase_add_test(lines, other_lines_are_told_apart);
    tcase_add_test(lines, a_config_says_what_was_run);
    suite_add_tcase(suite, lines);
    return suite_run(suite);
}
