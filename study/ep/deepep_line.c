#include "study/ep/deepep_line.h"

#include "study/ep/scan.h"

#include <string.h>

// ---- normal kernels -----------------------------------------------------------------------------

// A rate, to RDMA or NVLink: "BW: 77.84 GB/s (RDMA)".
static bool read_rate(struct scan *scan, struct ep_result *result)
{
    struct scan behind = *scan;
    double GBps;
    scan_words(&behind, "BW:");
    if (!scan_number(&behind, &GBps) || !scan_words(&behind, " GB/s ("))
        return false;
    const bool inter = scan_words(&behind, "RDMA)");
    if (!inter && !scan_words(&behind, "NVL)"))
        return false;
    *(inter ? &result->GBps : &result->intra_GBps) = GBps;
    *scan = behind;
    return true;
}

// A time, by its label: "transmit: 774.87 us", "notify: 44.97 us", "t: 499.58 us", "avg_t: ...";
// or "56 + 1379 us", the exchange of counts and the kernel; or bare.
static bool read_labelled_time(struct scan *scan, struct ep_result *result)
{
    static const char *const labels[] = {"transmit:", "avg_t:", "t:", NULL};
    struct scan behind = *scan;
    double *into = scan_words(&behind, "notify:") ? &result->notify_us : &result->us, us;
    for (int l = 0; labels[l] && into == &result->us; l++)
        if (scan_words(&behind, labels[l]))
            break;
    if (!scan_number(&behind, &us))
        return false;
    if (into == &result->us && scan_words(&behind, " +")) {
        result->notify_us = us;
        if (!scan_number(&behind, &us))
            return false;
    }
    if (!scan_words(&behind, " us"))
        return false;
    *into = us;
    *scan = behind;
    return true;
}

// "NVL chunk 20", "NVL chunk default".
static bool read_chunk(struct scan *scan, const char *words)
{
    struct scan behind = *scan;
    uint32_t tokens;
    if (!scan_words(&behind, words) ||
        !(scan_count(&behind, &tokens) || scan_words(&behind, "default")))
        return false;
    *scan = behind;
    return true;
}

// "SMs 24, NVL chunk 20, RDMA chunk 12" and what was measured with them, commas or a colon between.
// A copy of the test may have put its figures in another order.
static bool read_tuning(struct scan scan, struct ep_result *result)
{
    bool measured = false;
    if (!scan_words(&scan, "SMs ") || !scan_count(&scan, &result->sms))
        return false;
    while (scan_words(&scan, ",") || scan_words(&scan, ":")) {
        if (read_chunk(&scan, "NVL chunk ") || read_chunk(&scan, "RDMA chunk "))
            continue;
        if (!read_rate(&scan, result) && !read_labelled_time(&scan, result))
            return measured; // another process began to print here
        measured = true;
    }
    return measured;
}

// "dispatch (FP8)", "combine": what was tuned.
static bool read_tuned(struct scan *scan, struct ep_result *result)
{
    if (scan_words(scan, "combine")) {
        result->phase = PHASE_COMBINE;
        result->dtype = DTYPE_BF16;
    } else if (scan_words(scan, "dispatch (FP8)")) {
        result->phase = PHASE_DISPATCH;
        result->dtype = DTYPE_FP8;
    } else if (scan_words(scan, "dispatch (BF16)")) {
        result->phase = PHASE_DISPATCH;
        result->dtype = DTYPE_BF16;
    } else {
        return false;
    }
    return scan_words(scan, ":");
}

// RDMA carries a copy to each node, the token's own among them; NVLink one to each rank.
static bool read_best(struct scan scan, struct ep_result *best)
{
    if (!read_tuned(&scan, best) || !read_tuning(scan, best))
        return false;
    best->count = best->GBps > 0 ? EP_COUNT_NODES : EP_COUNT_RANKS;
    if (best->count == EP_COUNT_RANKS) {
        best->GBps = best->intra_GBps;
        best->intra_GBps = 0;
    }
    return best->us > 0 || best->GBps > 0;
}

static enum deepep_line_kind read_tuning_line(const char *text, struct deepep_line *line)
{
    struct ep_result tried = {.rank = -1};
    struct scan scan = scan_after(text, "[tuning]");
    if (scan_words(&scan, "Best "))
        return read_best(scan, &line->results[0]) ? DEEPEP_BEST : DEEPEP_BROKEN;
    return read_tuning(scan, &tried) ? DEEPEP_TRY : DEEPEP_BROKEN;
}

// ---- low latency --------------------------------------------------------------------------------

// "[rank 3]", "[rank 8 ]", "[avg across 16 ranks]".
static bool read_whose(struct scan *scan, struct deepep_line *line)
{
    uint32_t number;
    const bool mean = scan_words(scan, "avg across ");
    if (!mean && !scan_words(scan, "rank "))
        return false;
    if (!scan_count(scan, &number) || !scan_words(scan, mean ? "ranks ]" : "]"))
        return false;
    if (mean)
        line->config.ranks = number;
    for (int r = 0; r < 2 && !mean; r++)
        line->results[r].rank = (int)number;
    return true;
}

// "28.92 GB/s, avg_t=259.77 us", where a copy of the test may print no time.
static bool read_bandwidth(struct scan *scan, struct ep_result *result)
{
    if (!scan_number(scan, &result->GBps) || !scan_words(scan, " GB/s"))
        return false;
    struct scan behind = *scan;
    if (!scan_words(&behind, ",") || !scan_keyed(&behind, "avg_t", &result->us))
        return true;
    *scan = behind;
    return scan_words(scan, " us");
}

// "22.64 + 10.61 us" to send and to receive; "46.12 = 10.1 + 12.9 us" of July 2025, where the first
// number counts both twice; "79.58 us" before, both together.
static bool read_halves(struct scan *scan, struct ep_result *result)
{
    if (!scan_number(scan, &result->us))
        return false;
    if (scan_words(scan, " =") && !scan_number(scan, &result->us))
        return false;
    if (scan_words(scan, " +") && !scan_number(scan, &result->after_us))
        return false;
    return scan_words(scan, " us");
}

// A message out has 16 bytes before its FP8 values (csrc/kernels/internode_ll.cu).
static enum deepep_line_kind read_ll_figures(struct scan scan, struct deepep_line *line)
{
    struct ep_result *dispatch = &line->results[0], *combine = &line->results[1];
    dispatch->count = combine->count = EP_COUNT_CHOICES;
    dispatch->extra_bytes = 16;
    if (scan_words(&scan, "Dispatch + combine bandwidth:"))
        return read_bandwidth(&scan, dispatch) ? DEEPEP_SUM : DEEPEP_BROKEN;
    if (scan_words(&scan, "Dispatch bandwidth:"))
        return read_bandwidth(&scan, dispatch) && scan_words(&scan, "| Combine bandwidth:") &&
                       read_bandwidth(&scan, combine)
                   ? DEEPEP_LL
                   : DEEPEP_BROKEN;
    if (scan_words(&scan, "Dispatch send/recv time:"))
        return read_halves(&scan, dispatch) && scan_words(&scan, "| Combine send/recv time:") &&
                       read_halves(&scan, combine)
                   ? DEEPEP_HOOK
                   : DEEPEP_BROKEN;
    return DEEPEP_OTHER;
}

static void read_config(const char *text, struct ep_config *config)
{
    config->tokens = scan_count_of(text, "num_tokens");
    config->hidden = scan_count_of(text, "hidden");
    config->experts = scan_count_of(text, "num_experts");
    config->topk = scan_count_of(text, "num_topk");
    config->topk_groups = scan_count_of(text, "num_topk_groups");
}

// The words that a line of figures begins with, whatever stands before them.
static const char *ll_figures(const char *text)
{
    static const char *const begins[] = {
        "Dispatch + combine bandwidth:", "Dispatch bandwidth:", "Dispatch send/recv time:", NULL};
    for (int b = 0; begins[b]; b++) {
        const char *found = strstr(text, begins[b]);
        if (found)
            return found;
    }
    return NULL;
}

static enum deepep_line_kind read_ll_line(const char *text, struct deepep_line *line)
{
    const char *figures = ll_figures(text);
    if (!figures)
        return DEEPEP_OTHER;
    struct scan whose = {text};
    for (const char *at = text; (at = strchr(at, '[')) && at < figures;)
        whose.at = ++at;
    if (!read_whose(&whose, line))
        return DEEPEP_BROKEN;
    read_config(text, &line->config);
    return read_ll_figures((struct scan){figures}, line);
}

// The size of a buffer; or figures whose rank another process has printed over.
static enum deepep_line_kind read_untagged(const char *text, struct deepep_line *line)
{
    struct scan scan = {text};
    double MB;
    if (!scan_words(&scan, "Allocating buffer size:"))
        return strncmp(text, "Dispatch ", 9) || !ll_figures(text) ? DEEPEP_OTHER : DEEPEP_BROKEN;
    if (!scan_number(&scan, &MB) || !scan_words(&scan, " MB"))
        return DEEPEP_OTHER;
    line->buffer_bytes = MB * 1e6;
    return DEEPEP_BUFFER;
}

// ---- a line -------------------------------------------------------------------------------------

static struct deepep_line line_of_nothing(void)
{
    return (struct deepep_line){
        .results = {{.phase = PHASE_DISPATCH, .dtype = DTYPE_FP8, .mode = "", .rank = -1},
                    {.phase = PHASE_COMBINE, .dtype = DTYPE_BF16, .mode = "", .rank = -1}}};
}

// The first tag of the tests in a line, or NULL: what most lines of a log are told by.
static const char *find_tag(const char *text)
{
    static const char *const tags[] = {"[tuning]", "[config] num_tokens=",
                                       "[layout] Kernel performance:", "[rank ", "[avg across "};
    for (const char *at = text; (at = strchr(at, '[')); at++)
        for (size_t t = 0; t < sizeof tags / sizeof tags[0]; t++)
            if (at[1] == tags[t][1] && !strncmp(at, tags[t], strlen(tags[t])))
                return at;
    return NULL;
}

struct deepep_line deepep_line_read(const char *text)
{
    struct deepep_line line = line_of_nothing();
    const char *tag = find_tag(text);
    if (!tag) {
        line.kind = strchr(text, ':') ? read_untagged(text, &line) : DEEPEP_OTHER;
    } else if (tag[1] == 't') {
        line.kind = read_tuning_line(tag, &line);
    } else if (tag[1] == 'c') {
        line.kind = DEEPEP_CONFIG;
        read_config(tag, &line.config);
    } else if (tag[1] == 'l') {
        line.kind = DEEPEP_NOTED;
    } else {
        line.kind = read_ll_line(text, &line);
    }
    return line;
}
