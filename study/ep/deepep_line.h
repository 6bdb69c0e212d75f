// What DeepEP's tests print of the kernels of its first version, line by line; UCCL-EP's tests,
// and other copies of them, print the same.
//
//     test_internode.py, test_intranode.py (2025 and 2026; rates alone before July 2025):
//         [config] num_tokens=4096, hidden=7168, num_topk_groups=2, num_topk=8
//         [tuning] SMs 24, NVL chunk 4, RDMA chunk 4: 284 + 1031 us, 58.55 GB/s (RDMA), ...
//         [tuning] Best dispatch (FP8): SMs 24, NVL chunk 40, RDMA chunk 12: 90 + 754 us, ...
//     test_low_latency.py:
//         Allocating buffer size: 2116.291072 MB ...
//         [rank 3] Dispatch + combine bandwidth: 42.24 GB/s, avg_t=521.97 us, min_t=..., max_t=...
//         [rank 3] Dispatch bandwidth: 28.92 GB/s, avg_t=259.77 us | Combine bandwidth: ...
//         [rank 3] Dispatch send/recv time: 22.64 + 10.61 us | Combine send/recv time: ...
#ifndef STUDY_EP_DEEPEP_LINE_H
#define STUDY_EP_DEEPEP_LINE_H

#include "study/ep/result.h"

enum deepep_line_kind {
    DEEPEP_OTHER,  // not of these tests
    DEEPEP_NOTED,  // of them, and without a time that counts: a layout, a check
    DEEPEP_CONFIG, // `config`
    DEEPEP_BUFFER, // `buffer_bytes`
    DEEPEP_TRY,    // one of the sizes of chunks that were tried
    DEEPEP_BEST,   // `results[0]`, of the best of them
    DEEPEP_SUM,    // dispatch and combine of low latency with their launches, `results[0].us`
    DEEPEP_LL,     // `results`: the kernels of low latency
    DEEPEP_HOOK, // `results`: the same with a receive hook, `us` to send and `after_us` to receive
    DEEPEP_BROKEN, // begins as one of these and does not go on as it should
};

struct deepep_line {
    enum deepep_line_kind kind;
    struct ep_config config; // of a low-latency line too, where a copy of the test prints it
    double buffer_bytes;
    struct ep_result results[2]; // a Best in [0]; low latency's dispatch in [0], combine in [1]
};

// Reads a line without its launcher's tag. Results may stand behind what another process printed
// into the same line.
struct deepep_line deepep_line_read(const char *text);

#endif
