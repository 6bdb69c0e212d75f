// What DeepEP's tests of its first version print, and UCCL-EP's, as measured rows: Best lines of
// the normal kernels, and the kernels' own times of low latency.
//
// Each node's first rank prints a Best line, each rank one of low latency; a text of several nodes
// has them all, and a row is their mean. Tries of chunk sizes are not rows. Dispatch and combine of
// low latency together are timed with their launches, and are of no kernel.
#include "study/ep/deepep_line.h"
#include "study/ep/gather.h"
#include "study/ep/place.h"

#include <math.h>
#include <string.h>

// clang-format off
#define NORMAL(whose, preset)                                                                      \
    {.name = whose " test_internode.py or test_intranode.py", .dispatcher = preset,                \
     .defaults = {.tokens = 4096, .hidden = 7168, .topk = 8}, .default_gpus = 8,                   \
     .tells_nodes_by_rates = true}
#define LOW_LATENCY(whose, preset)                                                                 \
    {.name = whose " test_low_latency.py", .dispatcher = preset,                                   \
     .defaults = {.tokens = 128, .hidden = 7168, .topk = 8, .experts = 288}, .default_gpus = 8,    \
     .masks_choices = true}
// clang-format on

// [0] DeepEP's, [1] UCCL's, whose tests began as copies.
static const struct ep_bench normal_benches[] = {NORMAL("DeepEP's", "deepep-normal"),
                                                 NORMAL("UCCL's", "uccl-normal")};
static const struct ep_bench ll_benches[] = {LOW_LATENCY("DeepEP's", "deepep-ll"),
                                             LOW_LATENCY("UCCL's", "uccl-ll")};

struct deepep_log {
    struct ep_config config, ll_config;
    double buffer_bytes; // 0: none was said, or it has been read
    bool is_uccl;
    size_t tries, bests;
    struct ep_gather gather;
};

static bool says_uccl(const char *line)
{
    return strstr(line, "uccl") || strstr(line, "UCCL");
}

// ---- low latency --------------------------------------------------------------------------------

// Experts, from the size of the buffer for so many tokens (csrc/config.hpp, LowLatencyLayout):
// twice, for they take turns, what is sent and received of dispatch and combine, each of the larger
// message. Combine's had 16 bytes before its values at first, and later a scale of each 128 values.
// 0: none gives whole experts.
static uint32_t experts_by_buffer(double buffer_bytes, double hidden, double tokens)
{
    const double dispatch = 16 + 2 * hidden;
    const double combines[] = {16 + 2 * hidden, 2 * hidden, 2 * hidden + hidden / 128 * 4};
    for (int c = 0; c < 3; c++) {
        const double bytes = combines[c] + fmax(dispatch, combines[c]);
        const double experts = buffer_bytes / (2 * tokens * bytes);
        if (round(experts) >= 1 && experts < MOE_MAX_EXPERTS &&
            fabs(experts - round(experts)) < 1e-3)
            return (uint32_t)round(experts);
    }
    return 0;
}

// The test does not print its experts; its buffer tells them once the tokens are known.
static void tell_experts(struct deepep_log *deepep, const struct ep_result *dispatch)
{
    const struct ep_config *defaults = &ll_benches[0].defaults;
    const double bytes = dispatch->GBps * dispatch->us * 1e3;
    double tokens = defaults->tokens;
    if (!(deepep->buffer_bytes > 0))
        return;
    if (bytes > 0)
        tokens = ep_tokens_of_choices(
            bytes / ep_result_copy_bytes(dispatch, defaults->hidden, defaults->topk),
            defaults->topk);
    deepep->ll_config.experts = experts_by_buffer(deepep->buffer_bytes, defaults->hidden, tokens);
    deepep->buffer_bytes = 0;
}

// A dispatch that moves as much as its combine went out in BF16: FP8 is half.
static void tell_dtype(struct ep_result results[2])
{
    const double out = results[0].GBps * results[0].us, back = results[1].GBps * results[1].us;
    if (out > 0 && back > 0 && out > 0.9 * back)
        results[0].dtype = DTYPE_BF16;
}

static void add_ll(struct deepep_log *deepep, struct log *log, struct deepep_line *line)
{
    const struct ep_bench *bench = &ll_benches[deepep->is_uccl];
    tell_dtype(line->results);
    tell_experts(deepep, &line->results[0]);
    struct ep_config config = line->config.tokens ? line->config : deepep->ll_config;
    config.ranks = line->config.ranks;
    for (int r = 0; r < 2; r++) {
        line->results[r].hook = line->kind == DEEPEP_HOOK;
        line->results[r].mode = line->kind == DEEPEP_HOOK ? "hook" : "";
        if (line->results[r].us > 0 || line->results[r].GBps > 0)
            ep_gather_add(&deepep->gather, log, bench, &config, &line->results[r]);
    }
}

// ---- lines --------------------------------------------------------------------------------------

static bool is_deepep(const char *text)
{
    const enum deepep_line_kind kind = deepep_line_read(text).kind;
    return kind != DEEPEP_OTHER && kind != DEEPEP_BUFFER && kind != DEEPEP_NOTED;
}

static bool read_deepep_line(void *state, struct log *log, const char *text)
{
    struct deepep_log *deepep = state;
    struct deepep_line line = deepep_line_read(text);
    deepep->is_uccl = deepep->is_uccl || says_uccl(text);
    switch (line.kind) {
    case DEEPEP_CONFIG:
        deepep->config = line.config;
        break;
    case DEEPEP_BUFFER:
        deepep->buffer_bytes = line.buffer_bytes;
        break;
    case DEEPEP_TRY:
        deepep->tries++;
        break;
    case DEEPEP_BEST:
        deepep->bests++;
        ep_gather_add(&deepep->gather, log, &normal_benches[deepep->is_uccl], &deepep->config,
                      &line.results[0]);
        break;
    case DEEPEP_LL:
    case DEEPEP_HOOK:
        add_ll(deepep, log, &line);
        break;
    case DEEPEP_SUM:
        log_leave_out(log, "left out: dispatch and combine timed together, with their launches, "
                           "are no kernel's time; lines of Dispatch bandwidth have the kernels'");
        break;
    case DEEPEP_BROKEN:
        log_leave_out(log, "left out: a line of DeepEP's tests that does not go on as it begins");
        break;
    case DEEPEP_NOTED:
    case DEEPEP_OTHER:
        break;
    }
    return true;
}

static bool end_deepep(void *state, struct log *log)
{
    struct deepep_log *deepep = state;
    if (deepep->tries && !deepep->bests)
        log_leave_out(log,
                      "left out: %zu sizes of chunks that were tried, without the best of "
                      "them: the text ends before",
                      deepep->tries);
    ep_gather_end(&deepep->gather, log);
    return true;
}

static void release_deepep(void *state)
{
    ep_gather_release(&((struct deepep_log *)state)->gather);
}

const struct log_reader log_reader_deepep = {"what DeepEP's tests print",
                                             sizeof(struct deepep_log),
                                             is_deepep,
                                             read_deepep_line,
                                             end_deepep,
                                             release_deepep};
