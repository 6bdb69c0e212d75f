#include "study/ep/hybrid_ep_line.h"

#include <string.h>

// What stands between the name of what ran and the colon, in any order.
struct label {
    bool is_api, is_kernel, permutes, has_dtype;
};

static bool read_flag(struct scan *scan, struct label *label, struct hybrid_ep_piece *piece)
{
    if (scan_words(scan, "torch API"))
        return label->is_api = true;
    if (scan_words(scan, "kernel"))
        return label->is_kernel = true;
    if (scan_words(scan, "+permute") || scan_words(scan, "+unpermute"))
        return label->permutes = true;
    if (scan_words(scan, "(NVL)"))
        return true;
    if (scan_words(scan, "(RDMA)") || scan_words(scan, "(IB)"))
        return piece->is_inter = true;
    label->has_dtype = true;
    if (scan_words(scan, "(FP8)"))
        piece->result.dtype = DTYPE_FP8;
    else if (!scan_words(scan, "(BF16)"))
        return false;
    return true;
}

// "[rank 0] HybridEP ", or nothing.
static void read_printer(struct scan *scan, struct ep_result *result)
{
    struct scan behind = *scan;
    uint32_t rank;
    if (scan_words(&behind, "[rank ") && scan_count(&behind, &rank) && scan_words(&behind, "]") &&
        scan_words(&behind, "HybridEP ")) {
        result->rank = (int)rank;
        *scan = behind;
        return;
    }
    scan_words(scan, "HybridEP ");
}

// "540.00 GB/s (NVL), t: 461.00 us [min=.., max=..], nvl_recv_bytes: 249.00 MB"
static bool read_call(struct scan *scan, struct hybrid_ep_piece *piece)
{
    static const char *const metrics[] = {
        "nvl_recv_bytes:", "combine_send_bytes:", "rdma_send_bytes:", "rdma_recv_bytes:", NULL};
    struct ep_result *result = &piece->result;
    double least, most, MB;
    if (!scan_number(scan, &result->GBps) || !scan_words(scan, " GB/s"))
        return false;
    if (scan_words(scan, "(RDMA)") || scan_words(scan, "(IB)"))
        piece->is_inter = true;
    scan_words(scan, "(NVL)");
    if (!scan_words(scan, ",") || (!scan_words(scan, "t:") && !scan_words(scan, "avg_t=")) ||
        !scan_number(scan, &result->us) || !scan_words(scan, " us") || !(result->us > 0))
        return false;
    struct scan behind = *scan;
    if (scan_words(&behind, "[") && scan_keyed(&behind, "min", &least) &&
        scan_words(&behind, ",") && scan_keyed(&behind, "max", &most) && scan_words(&behind, "]"))
        *scan = behind;
    scan_words(scan, ",");
    for (int m = 0; metrics[m]; m++)
        if (scan_words(scan, metrics[m]) && scan_number(scan, &MB) && scan_words(scan, " MB"))
            result->bytes = MB * 1e6;
    return true;
}

// "=== Kernel Benchmark (BF16, 16 ranks) ===".
static bool read_heading(const char *text, struct hybrid_ep_piece *piece)
{
    if (strncmp(text, "===", 3))
        return false;
    struct scan scan = scan_after(text, " Benchmark (");
    return (scan_words(&scan, "BF16,") || scan_words(&scan, "FP8,")) &&
           scan_count(&scan, &piece->ranks) && scan_words(&scan, " ranks)");
}

struct hybrid_ep_piece hybrid_ep_read(struct scan *scan)
{
    struct hybrid_ep_piece piece = {.result = {.dtype = DTYPE_BF16, .rank = -1, .mode = ""}};
    struct ep_result *result = &piece.result;
    struct label label = {0};
    if (!scan->at)
        return piece;
    if (read_heading(scan->at, &piece)) {
        piece.kind = HYBRID_EP_RANKS;
        scan->at = NULL;
        return piece;
    }
    scan_words(scan, "|");
    read_printer(scan, result);
    label.permutes = scan_words(scan, "fused ");
    result->phase = scan_words(scan, "dispatch") ? PHASE_DISPATCH : PHASE_COMBINE;
    if (result->phase == PHASE_COMBINE && !scan_words(scan, "combine"))
        return piece;
    while (!scan_words(scan, ":"))
        if (!read_flag(scan, &label, &piece))
            return piece; // a sentence, not a result
    if (result->phase == PHASE_DISPATCH && !label.has_dtype)
        return piece;
    piece.kind = !read_call(scan, &piece) ? HYBRID_EP_BROKEN
                 : label.permutes         ? HYBRID_EP_PERMUTE
                                          : HYBRID_EP_RESULT;
    result->count = piece.is_inter ? EP_COUNT_OTHER_NODES : EP_COUNT_RANKS;
    result->mode = label.is_kernel ? "" : "torch API";
    return piece;
}
