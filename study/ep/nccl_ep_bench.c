// What NCCL EP's ep_bench prints, as measured rows. Its first rank sums up each run:
//
//     Configuration:
//       Ranks:           16
//       Tokens:          128             and Hidden:, Top-k:, Experts:
//     === Summary (Low Latency, across 16 ranks) ===
//     --- Host-observed performance ---
//     Dispatch (BF16):  avg=80.00 us, min=78.00 us, max=82.00 us      Combine likewise
//     --- Kernel-only performance ---
//     Dispatch:    avg=70.00 us, min=69.00 us, max=71.00 us
//     Byte counts: dispatch=14.68 MB (BF16), combine=14.68 MB (BF16), selections=1024
//     === Summary (High Throughput BF16, across 16 ranks) ===
//     Dispatch:    total=900.00 us (min=890.00, max=910.00)           or avg=, of the host
//     Dispatch:    kernel=800.00 us
//
// A host's time has copies and launches in it, and stands apart from the kernel's.
#include "study/ep/gather.h"
#include "study/ep/scan.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#define BENCH(preset, of_tokens)                                                                   \
    {                                                                                              \
        .name = "NCCL EP's ep_bench", .dispatcher = preset,                                        \
        .defaults = {.tokens = of_tokens, .hidden = 7168, .topk = 8, .experts = 256},              \
        .default_gpus = 8                                                                          \
    }

enum algorithm { LOW_LATENCY, HIGH_THROUGHPUT };
static const struct ep_bench benches[] = {
    [LOW_LATENCY] = BENCH("nccl-ep-ll", 128), [HIGH_THROUGHPUT] = BENCH("nccl-ep-ht", 4096)};

struct nccl_ep_log {
    struct ep_config config, summed_up; // as is said before a summary, and of it
    bool in_summary, by_kernel;
    enum algorithm algorithm;
    enum dtype dispatch_dtype, combine_dtype;
    struct ep_gather gather;
};

// ---- headings -----------------------------------------------------------------------------------

static bool read_dtype(struct scan *scan, enum dtype *dtype)
{
    const bool fp8 = scan_words(scan, "FP8");
    if (!fp8 && !scan_words(scan, "BF16"))
        return false;
    *dtype = fp8 ? DTYPE_FP8 : DTYPE_BF16;
    return true;
}

static bool read_summary(struct nccl_ep_log *bench, const char *text)
{
    struct scan scan = {text};
    if (!scan_words(&scan, "=== Summary ("))
        return false;
    const bool low = scan_words(&scan, "Low Latency");
    if (!low && !scan_words(&scan, "High Throughput"))
        return false;
    bench->algorithm = low ? LOW_LATENCY : HIGH_THROUGHPUT;
    bench->dispatch_dtype = bench->combine_dtype = DTYPE_BF16;
    read_dtype(&scan, &bench->dispatch_dtype);
    scan = scan_after(text, ", across ");
    bench->summed_up = bench->config;
    if (!scan_count(&scan, &bench->summed_up.ranks))
        return false;
    bench->in_summary = true;
    bench->by_kernel = false;
    return true;
}

static void read_setting(struct nccl_ep_log *bench, const char *text)
{
    struct ep_config *config = &bench->config;
    const struct {
        const char *key;
        uint32_t *into;
    } settings[] = {{" Ranks:", &config->ranks},
                    {" Tokens:", &config->tokens},
                    {" Hidden:", &config->hidden},
                    {" Top-k:", &config->topk},
                    {" Experts:", &config->experts}};
    for (size_t s = 0; isspace((unsigned char)*text) && s < sizeof settings / sizeof settings[0];
         s++) {
        struct scan scan = {text};
        uint32_t count;
        if (scan_words(&scan, settings[s].key) && scan_count(&scan, &count))
            *settings[s].into = count;
    }
}

// ---- figures ------------------------------------------------------------------------------------

// "Dispatch (BF16):  avg=80.00 us", "Combine:  total=900.00 us", "Dispatch: kernel=800.00 us".
static bool read_time(struct nccl_ep_log *bench, const char *text, struct ep_result *result)
{
    static const char *const clocks[] = {"avg", "total", "kernel", NULL};
    struct scan scan = {text};
    const bool out = scan_words(&scan, "Dispatch");
    enum dtype *dtype = out ? &bench->dispatch_dtype : &bench->combine_dtype;
    if (!out && !scan_words(&scan, "Combine"))
        return false;
    if (scan_words(&scan, "(") && (!read_dtype(&scan, dtype) || !scan_words(&scan, ")")))
        return false;
    if (!scan_words(&scan, ":"))
        return false;
    int clock = 0;
    while (clocks[clock] && !scan_keyed(&scan, clocks[clock], &result->us))
        clock++;
    if (!clocks[clock] || !scan_words(&scan, " us") || !(result->us > 0))
        return false;
    result->phase = out ? PHASE_DISPATCH : PHASE_COMBINE;
    result->dtype = *dtype;
    result->mode = bench->by_kernel || clock == 2 ? "" : "host-observed";
    return true;
}

static bool read_section(struct nccl_ep_log *bench, const char *text)
{
    if (strncmp(text, "---", 3))
        return false;
    bench->by_kernel = strstr(text, "Kernel-only") || strstr(text, "kernel time");
    return true;
}

// "selections=1024" are tokens times choices, and combine's BF16 bytes of one are twice the width:
// what a run was of, where no configuration stands before it.
static bool read_byte_counts(struct nccl_ep_log *bench, const char *text)
{
    struct scan scan = {text};
    if (!scan_words(&scan, "Byte counts:"))
        return false;
    const uint32_t selections = scan_count_of(text, "selections");
    const uint32_t topk = benches[LOW_LATENCY].defaults.topk;
    struct scan combine = scan_after(text, "combine=");
    struct ep_config told = {0};
    double MB;
    if (!selections)
        return true;
    told.tokens = (selections + topk - 1) / topk;
    if (scan_number(&combine, &MB) && scan_words(&combine, " MB (BF16)"))
        told.hidden = (uint32_t)fmin(round(MB * 1e6 / selections / 2 / 128) * 128, 1e6);
    if (!bench->config.tokens)
        ep_gather_fill(&bench->gather, &told);
    return true;
}

// ---- the reader ---------------------------------------------------------------------------------

static bool is_nccl_ep(const char *text)
{
    return !strncmp(text, "===", 3) && (strstr(text, "=== NCCL EP Performance Benchmark") ||
                                        strstr(text, "=== Summary (Low Latency, across ") ||
                                        strstr(text, "=== Summary (High Throughput"));
}

static bool read_nccl_ep_line(void *state, struct log *log, const char *text)
{
    struct nccl_ep_log *bench = state;
    struct ep_result result = {.rank = -1, .count = EP_COUNT_CHOICES};
    if (read_summary(bench, text))
        return true;
    if (!bench->in_summary) {
        read_setting(bench, text);
        return true;
    }
    if (read_section(bench, text) || read_byte_counts(bench, text))
        return true;
    if (read_time(bench, text, &result))
        ep_gather_add(&bench->gather, log, &benches[bench->algorithm], &bench->summed_up, &result);
    else if (!strncmp(text, "===", 3))
        bench->in_summary = false;
    return true;
}

static bool end_nccl_ep(void *state, struct log *log)
{
    ep_gather_end(&((struct nccl_ep_log *)state)->gather, log);
    return true;
}

static void release_nccl_ep(void *state)
{
    ep_gather_release(&((struct nccl_ep_log *)state)->gather);
}

const struct log_reader log_reader_nccl_ep = {"what NCCL EP's ep_bench prints",
                                              sizeof(struct nccl_ep_log),
                                              is_nccl_ep,
                                              read_nccl_ep_line,
                                              end_nccl_ep,
                                              release_nccl_ep};
