// What the test of DeepEP's branch hybrid-ep prints of a kernel or of a call, piece by piece.
//
//     [rank 0] HybridEP dispatch torch API (BF16): 540.00 GB/s (NVL), t: 461.00 us, nvl_recv_bytes:
//     249.00 MB [rank 0] HybridEP dispatch kernel(NVL) (FP8): 540.00 GB/s, avg_t=240.00 us |
//     HybridEP combine kernel(NVL): ... dispatch (BF16):  40.50 GB/s (RDMA), t: 2880.0 us
//     [min=2870.0, max=2890.0], rdma_send_bytes: 116.90 MB dispatch kernel (BF16)(RDMA):  44.00
//     GB/s, avg_t=2650.0 us [min=2600.0, max=2670.0]
//     === Kernel Benchmark (BF16, 16 ranks) ===
// IB is RDMA in 2025.
#ifndef STUDY_EP_HYBRID_EP_LINE_H
#define STUDY_EP_HYBRID_EP_LINE_H

#include "study/ep/result.h"
#include "study/ep/scan.h"

enum hybrid_ep_kind {
    HYBRID_EP_END,     // nothing of it stands in the rest of the line
    HYBRID_EP_RANKS,   // a heading: `ranks`
    HYBRID_EP_RESULT,  // rank -1: the mean over all ranks, printed by the first
    HYBRID_EP_PERMUTE, // a time that has a permutation in it
    HYBRID_EP_BROKEN,
};

struct hybrid_ep_piece {
    enum hybrid_ep_kind kind;
    uint32_t ranks;
    bool is_inter; // RDMA's rate; the time is the same as that of NVLink
    struct ep_result result;
};

// Reads the next piece of a line, which begins at its text, and moves behind it.
struct hybrid_ep_piece hybrid_ep_read(struct scan *scan);

#endif
