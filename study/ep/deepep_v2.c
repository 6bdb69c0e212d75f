// What DeepEP V2's test_ep.py prints, as measured rows: of each kernel the mean over ranks. Its
// time is the kernel's that communicates; the copy or sum that follows is one of its own, and is
// not in it.
#include "study/ep/deepep_v2_line.h"
#include "study/ep/gather.h"

#include <math.h>

static const struct ep_bench bench = {
    .name = "DeepEP V2's test_ep.py",
    .dispatcher = "deepep-v2",
    .defaults = {.tokens = 4096, .hidden = 7168, .topk = 6, .experts = 256},
    .default_gpus = 8,
    .may_leave_out_own = true};

struct deepep_v2_log {
    struct ep_config config;
    bool is_fp8;
    uint64_t common_bytes; // divide what every BF16 dispatch moved; 0: none yet
    struct ep_gather gather;
};

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Bytes are whole copies: they tell the format where the line of the mode is not there, or is of
// other lines.
static enum dtype dtype_of_bytes(const struct deepep_v2_log *v2, const struct ep_result *result)
{
    const enum dtype said = v2->is_fp8 ? DTYPE_FP8 : DTYPE_BF16;
    const enum dtype other = v2->is_fp8 ? DTYPE_BF16 : DTYPE_FP8;
    struct ep_result as = *result;
    for (int d = 0; d < 2 && v2->config.hidden && v2->config.topk; d++) {
        as.dtype = d == 0 ? said : other;
        if (fmod(result->bytes, ep_result_copy_bytes(&as, v2->config.hidden, v2->config.topk)) == 0)
            return as.dtype;
    }
    return said;
}

static void take_config(struct deepep_v2_log *v2, const struct ep_config *said)
{
    struct ep_config *config = &v2->config;
    if (said->ranks) {
        config->nodes = said->nodes;
        config->ranks = said->ranks;
    }
    if (said->experts) {
        config->experts = said->experts;
        config->topk = said->topk;
    }
    if (said->tokens) {
        config->tokens = said->tokens;
        config->hidden = said->hidden;
    }
    if (said->sms)
        config->sms = said->sms;
}

static void take_result(struct deepep_v2_log *v2, struct log *log, struct deepep_v2_line *line)
{
    struct ep_config config = v2->config;
    struct ep_result *result = &line->result;
    if (config.ranks != line->config.ranks) {
        config.ranks = line->config.ranks;
        config.nodes = line->config.nodes;
    }
    if (result->phase == PHASE_DISPATCH) {
        result->dtype = dtype_of_bytes(v2, result);
        if (result->bytes >= 1 && result->bytes < 1e15 && !v2->is_fp8)
            v2->common_bytes = common_divisor((uint64_t)result->bytes, v2->common_bytes);
    }
    result->sms = config.sms;
    ep_gather_add(&v2->gather, log, &bench, &config, result);
}

static bool is_deepep_v2(const char *text)
{
    const enum deepep_v2_kind kind = deepep_v2_line_read(text).kind;
    return kind == DEEPEP_V2_RESULT || kind == DEEPEP_V2_MODE || kind == DEEPEP_V2_BROKEN;
}

static bool read_deepep_v2_line(void *state, struct log *log, const char *text)
{
    struct deepep_v2_log *v2 = state;
    struct deepep_v2_line line = deepep_v2_line_read(text);
    switch (line.kind) {
    case DEEPEP_V2_CONFIG:
        take_config(v2, &line.config);
        break;
    case DEEPEP_V2_MODE:
        v2->is_fp8 = line.is_fp8;
        break;
    case DEEPEP_V2_RESULT:
        take_result(v2, log, &line);
        break;
    case DEEPEP_V2_BROKEN:
        log_leave_out(log, "left out: a line of DeepEP V2's test that does not go on as it begins");
        break;
    case DEEPEP_V2_OTHER:
        break;
    }
    return true;
}

// The largest width, a multiple of 128, whose BF16 copies with so many choices divide all that was
// dispatched; 0: none.
static uint32_t width_for(uint64_t common_bytes, uint32_t topk)
{
    for (uint32_t hidden = 16384; hidden >= 1024; hidden -= 128)
        if (common_bytes % (2 * hidden + DEEPEP_V2_OUT_BYTES * topk) == 0)
            return hidden;
    return 0;
}

// Without a header: bytes are whole copies. Some pairs of width and choices have copies of which
// another's are a multiple; then that with the choices of the test, or of most models.
static void tell_width(const struct deepep_v2_log *v2, struct ep_config *told)
{
    static const uint32_t choices[] = {6, 8, 4, 10, 2, 1, 12, 16};
    for (size_t c = 0; v2->common_bytes && c < sizeof choices / sizeof choices[0]; c++) {
        told->topk = choices[c];
        told->hidden = width_for(v2->common_bytes, choices[c]);
        if (told->hidden)
            return;
    }
    *told = (struct ep_config){0};
}

static bool end_deepep_v2(void *state, struct log *log)
{
    struct deepep_v2_log *v2 = state;
    struct ep_config told = {0};
    tell_width(v2, &told);
    ep_gather_fill(&v2->gather, &told);
    ep_gather_end(&v2->gather, log);
    return true;
}

static void release_deepep_v2(void *state)
{
    ep_gather_release(&((struct deepep_v2_log *)state)->gather);
}

const struct log_reader log_reader_deepep_v2 = {"what DeepEP V2's test prints",
                                                sizeof(struct deepep_v2_log),
                                                is_deepep_v2,
                                                read_deepep_v2_line,
                                                end_deepep_v2,
                                                release_deepep_v2};
