// study/ep: rows of what DeepEP V2's, Hybrid-EP's and NCCL EP's benchmarks print; and why lines are
// no rows.
#include "tests/ep_rows.h"

#define SHAPE_1 "1x4:nvlink=700GB/s"
#define SHAPE_2 "2x8:nvlink=300GB/s,nic=45GB/s"

#define V2_CONFIG                                                                                  \
    "Config:\n > Ranks: 2 x 8\n > Experts: 8/256\n > Tokens: 4096 (max: 4096), hidden: 7168\n"     \
    " > #SM: 24, #QPs: 9/17\n"
#define V2_MODE(fp8)                                                                               \
    " > Testing with do_handle_copy=0, expert_alignment=1, use_fp8_dispatch=" fp8                  \
    ", num_bias=2 ...\n"
#define V2(us) {"deepep-v2", PHASE_DISPATCH, DTYPE_BF16, 2, 8, 24, 4096, us, 0, NULL}
#define V2_OF(phase, dtype, us)                                                                    \
    {"deepep-v2", PHASE_##phase, DTYPE_##dtype, 2, 8, 24, 4096, us, 0, NULL}
#define HYBRID(phase, dtype, nodes, gpus, tokens, us)                                              \
    {"nccl-ep-ht", PHASE_##phase, DTYPE_##dtype, nodes, gpus, 0, tokens, us, 0, NULL}
#define NCCL_EP(of, phase, dtype, tokens, us)                                                      \
    {of, PHASE_##phase, DTYPE_##dtype, 2, 8, 0, tokens, us, 0, NULL}
#define NCCL_EP_CONFIG                                                                             \
    "=== NCCL EP Performance Benchmark ===\nConfiguration:\n  Algorithm:       LOW_LATENCY\n"      \
    "  Ranks:           16\n  Tokens:          256\n  Hidden:          4096\n"                     \
    "  Top-k:           6\n  Experts:         128 (local: 8)\n"

// clang-format off
static const struct ep_text texts[] = {
    // 26,707 copies of 14,432 bytes are of 4,096 tokens, and so are 26,600: a rank's own draw.
    {V2_CONFIG V2_MODE("0")
     "   * EP:   0/16 | dispatch: 110 GB/s (SO), 361 GB/s (SU), 1064.000 us, 385435424 bytes | copy: 5000 GB/s, 154.000 us\n"
     "   * EP:   9/16 | dispatch: 110 GB/s (SO), 361 GB/s (SU), 1066.000 us, 383891200 bytes | copy: 5000 GB/s, 154.000 us\n"
     "   # EP:   9/16 | cached dispatch: 110 GB/s (SO), 361 GB/s (SU), 1050.000 us, 383891200 bytes | copy: 5000 GB/s, 154.000 us\n"
     "   @ EP:   9/16 | combine: 80 GB/s (SO), 262 GB/s (SU), 1470.000 us, 383728544 bytes | reduce: 1650 GB/s, 72.000 us\n", NULL,
     {V2(1065), V2(1050), V2_OF(COMBINE, BF16, 1470)}},
    // Bytes of whole FP8 copies, 7,488 each.
    {V2_CONFIG V2_MODE("0")
     "   * EP:   0/16 | dispatch: 110 GB/s (SO), 361 GB/s (SU), 560.000 us, 199982016 bytes\n", NULL,
     {V2_OF(DISPATCH, FP8, 560)}},
    // No header: copies of 4,096 values and eight choices divide both; one node, for nothing
    // scales out.
    {"* EP:   2/4 | dispatch: 0 GB/s (SO), 860 GB/s (SU), 290.000 us, 248640000 bytes | copy: 5456 GB/s, 92.491 us\n"
     "* EP:   3/4 | dispatch: 0 GB/s (SO), 862 GB/s (SU), 292.000 us, 248648288 bytes | copy: 5472 GB/s, 92.450 us\n", NULL,
     {{"deepep-v2", PHASE_DISPATCH, DTYPE_BF16, 1, 4, 0, 8320, 291, 0, NULL}}},
    // Ranks are all of a node's; 32 experts. Permutations are left out.
    {"[rank 0] HybridEP dispatch torch API (BF16): 500.00 GB/s (NVL), t: 437.00 us, nvl_recv_bytes: 218.50 MB\n"
     "[rank 1] HybridEP dispatch torch API (BF16): 500.00 GB/s (NVL), t: 439.00 us, nvl_recv_bytes: 218.50 MB\n"
     "[rank 0] HybridEP dispatch+permute torch API (BF16): 400.00 GB/s (NVL), t: 546.00 us, nvl_recv_bytes: 218.50 MB\n"
     "[rank 0] HybridEP combine torch API: 400.00 GB/s (NVL), t: 546.00 us, combine_send_bytes: 218.50 MB\n", SHAPE_1,
     {HYBRID(DISPATCH, BF16, 1, 4, 4096, 438), HYBRID(COMBINE, BF16, 1, 4, 4096, 546)}},
    {"[rank 2] HybridEP dispatch kernel(NVL) (FP8): 500.00 GB/s, avg_t=225.50 us | HybridEP combine kernel(NVL): 400.00 GB/s, avg_t=546.50 us\n",
     SHAPE_1, {HYBRID(DISPATCH, FP8, 1, 4, 4096, 225.5), HYBRID(COMBINE, BF16, 1, 4, 4096, 546.5)}},
    // Over nodes each time stands twice.
    {"=== Kernel Benchmark (BF16, 16 ranks) ===\n  Non-fused:  dispatch_kernel only  |  combine_kernel only\n"
     "dispatch kernel (BF16)(NVL):   145.00 GB/s, avg_t=2630.0 us [min=2609.0, max=2671.0]\n"
     "combine kernel (NVL):          140.00 GB/s, avg_t=2700.0 us [min=2609.0, max=2771.0]\n"
     "dispatch kernel (BF16)(RDMA):   22.30 GB/s, avg_t=2630.0 us [min=2609.0, max=2671.0]\n"
     "combine kernel (RDMA):          21.70 GB/s, avg_t=2700.0 us [min=2609.0, max=2771.0]\n", SHAPE_2,
     {HYBRID(DISPATCH, BF16, 2, 8, 4096, 2630), HYBRID(COMBINE, BF16, 2, 8, 4096, 2700)}},
    {"=== Torch API Benchmark (BF16, 16 ranks) ===\n"
     "dispatch (BF16):  22.30 GB/s (IB), t: 2630.0 us [min=2600.0, max=2650.0], rdma_send_bytes: 58.60 MB\n", SHAPE_2,
     {HYBRID(DISPATCH, BF16, 2, 8, 4096, 2630)}},
    {NCCL_EP_CONFIG
     "=== Summary (Low Latency, across 16 ranks) ===\n\n--- Host-observed performance ---\n"
     "Dispatch (FP8):  avg=80.50 us, min=78.00 us, max=82.00 us\n"
     "                  throughput: avg=40.23 GB/s, min=39.01 GB/s (rank 2), max=41.02 GB/s (rank 1)\n"
     "Combine (BF16):   avg=113.00 us, min=107.00 us, max=119.00 us\n"
     "Total (D+C):      avg=198.00 us, min=195.00 us, max=203.00 us\n\n--- Kernel-only performance ---\n"
     "Dispatch:    avg=76.50 us, min=74.00 us, max=79.00 us\nCombine:     avg=107.00 us, min=105.00 us, max=109.00 us\n", SHAPE_2,
     {NCCL_EP("nccl-ep-ll", DISPATCH, FP8, 256, 80.5), NCCL_EP("nccl-ep-ll", COMBINE, BF16, 256, 113),
      NCCL_EP("nccl-ep-ll", DISPATCH, FP8, 256, 76.5), NCCL_EP("nccl-ep-ll", COMBINE, BF16, 256, 107)}},
    // No configuration: 512 choices of eight.
    {"=== Summary (Low Latency, across 16 ranks) ===\nDispatch (BF16):  avg=80.50 us, min=78.00 us, max=82.00 us\n"
     "Byte counts: dispatch=7.34 MB (BF16), combine=7.34 MB (BF16), selections=512\n", NULL,
     {NCCL_EP("nccl-ep-ll", DISPATCH, BF16, 64, 80.5)}},
    {"=== Summary (High Throughput FP8, across 16 ranks) ===\n--- BW based on total time ---\n"
     "Dispatch:    total=900.00 us (min=890.00, max=910.00)\n             recv: total_bw=80.00  nvl_bw=60.00  rdma_bw=20.00 GB/s\n"
     "--- BW based on kernel time ---\nDispatch:    kernel=800.00 us\nCombine:     kernel=1600.00 us\n", NULL,
     {NCCL_EP("nccl-ep-ht", DISPATCH, FP8, 4096, 900), NCCL_EP("nccl-ep-ht", DISPATCH, FP8, 4096, 800),
      NCCL_EP("nccl-ep-ht", COMBINE, BF16, 4096, 1600)}},
};

static const struct {
    const char *text, *cluster, *says;
} refused[] = {
    {V2_CONFIG "   * EP:   0/16 | dispatch: 110 GB/s (SO), 361 GB/s (SU), 1064.0", NULL,
     ":6: no rows: left out: a line of DeepEP V2's test that does not go on as it begins"},
    {V2_CONFIG "   * EP:   0/16 | dispatch: 110 GB/s (SO), 361 GB/s (SU), 532.0 us, 192724928 bytes\n", NULL,
     "and 4096 tokens as its configuration has them move 385"},
    {"[rank 0] HybridEP combine torch API: 400.00 GB/s (NVL), t: 546.00 us, combine_send_bytes: 218.50 MB\n", NULL,
     "nothing says how many ranks ran it"},
    {"[rank 0] HybridEP combine torch API: 400.00 GB/s (NVL), t: 54\n", SHAPE_1,
     "a line of Hybrid-EP's test that does not go on as it begins"},
    {"=== Torch API Benchmark (BF16, 16 ranks) ===\n"
     "combine:  22.30 GB/s (RDMA), t: 2630.0 us [min=2600.0, max=2650.0], rdma_recv_bytes: 58.60 MB\n", NULL,
     "nothing says how many nodes ran it"},
    {"=== Summary (Low Latency, across 16 ranks) ===\n", NULL, "no rows"},
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

int main(void)
{
    Suite *suite = suite_create("ep_benches");
    TCase *rows = tcase_create("rows");
    tcase_set_timeout(rows, 60);
    tcase_add_loop_test(rows, rows_of, 0, SUITE_COUNT(texts));
    tcase_add_loop_test(rows, refuses, 0, SUITE_COUNT(refused));
    suite_add_tcase(suite, rows);
    return suite_run(suite);
}
