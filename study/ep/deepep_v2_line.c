#include "study/ep/deepep_v2_line.h"

#include "study/ep/scan.h"

#include <string.h>

static bool read_v2_ranks(struct scan scan, struct ep_config *config)
{
    uint32_t gpus;
    if (!scan_count(&scan, &config->nodes) || !scan_words(&scan, " x") || !scan_count(&scan, &gpus))
        return false;
    config->ranks = config->nodes <= 4096 && gpus <= 4096 ? config->nodes * gpus : 0;
    return config->ranks;
}

static bool read_v2_experts(struct scan scan, struct ep_config *config)
{
    return scan_count(&scan, &config->topk) && scan_words(&scan, "/") &&
           scan_count(&scan, &config->experts);
}

// The most of any rank: rank r has r fewer.
static bool read_v2_tokens(struct scan scan, struct ep_config *config)
{
    uint32_t own;
    return scan_count(&scan, &own) && scan_words(&scan, " (max:") &&
           scan_count(&scan, &config->tokens) && scan_words(&scan, "), hidden:") &&
           scan_count(&scan, &config->hidden);
}

static bool read_sms(struct scan scan, struct ep_config *config)
{
    return scan_count(&scan, &config->sms) && scan_words(&scan, ", #QPs:");
}

// The header's lines begin so; log_line.h takes the "> " before them.
static bool read_config_line(struct scan scan, struct ep_config *config)
{
    scan_words(&scan, ">");
    return scan_words(&scan, "Ranks:")     ? read_v2_ranks(scan, config)
           : scan_words(&scan, "Experts:") ? read_v2_experts(scan, config)
           : scan_words(&scan, "Tokens:")  ? read_v2_tokens(scan, config)
           : scan_words(&scan, "#SM:")     ? read_sms(scan, config)
                                           : false;
}

static bool read_what(struct scan *scan, struct ep_result *result)
{
    static const struct {
        const char *name, *mode;
        enum phase phase;
    } kernels[] = {{"dispatch:", "", PHASE_DISPATCH},
                   {"expanded dispatch:", "expanded", PHASE_DISPATCH},
                   {"cached dispatch:", "cached", PHASE_DISPATCH},
                   {"combine:", "", PHASE_COMBINE},
                   {"reduced combine:", "reduced", PHASE_COMBINE}};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++)
        if (scan_words(scan, kernels[k].name)) {
            result->mode = kernels[k].mode;
            result->phase = kernels[k].phase;
            result->extra_choice_bytes =
                result->phase == PHASE_DISPATCH ? DEEPEP_V2_OUT_BYTES : DEEPEP_V2_BACK_BYTES;
            return true;
        }
    return false;
}

// "110 GB/s (SO), 361 GB/s (SU), 555.0 us, 200400 bytes | copy: 5100 GB/s, 90.0 us"
static bool read_figures(struct scan *scan, struct deepep_v2_line *line)
{
    struct ep_result *result = &line->result;
    double out_GBps, up_GBps, after_GBps;
    if (!scan_number(scan, &out_GBps) || !scan_words(scan, " GB/s (SO),") ||
        !scan_number(scan, &up_GBps) || !scan_words(scan, " GB/s (SU),") ||
        !scan_number(scan, &result->us) || !scan_words(scan, " us,") ||
        !scan_number(scan, &result->bytes) || !scan_words(scan, " bytes") || !(result->us > 0))
        return false;
    line->config.nodes = out_GBps > 0 ? 0 : 1;
    result->count = EP_COUNT_RANKS;
    if (scan_words(scan, "|") && (scan_words(scan, "copy:") || scan_words(scan, "reduce:")))
        return scan_number(scan, &after_GBps) && scan_words(scan, " GB/s,") &&
               scan_number(scan, &result->after_us) && scan_words(scan, " us");
    return true;
}

static bool read_v2_result(struct scan scan, struct deepep_v2_line *line)
{
    uint32_t rank;
    if (!scan_count(&scan, &rank) || !scan_words(&scan, "/") ||
        !scan_count(&scan, &line->config.ranks) || !scan_words(&scan, "|"))
        return false;
    line->result.rank = (int)rank;
    return rank < line->config.ranks && read_what(&scan, &line->result) &&
           read_figures(&scan, line);
}

static bool is_mode(const char *text)
{
    struct scan scan = {text};
    scan_words(&scan, ">");
    return scan_words(&scan, "Testing with ") && strstr(scan.at, "use_fp8_dispatch=");
}

struct deepep_v2_line deepep_v2_line_read(const char *text)
{
    struct deepep_v2_line line = {.result = {.mode = "", .dtype = DTYPE_BF16, .rank = -1}};
    const struct scan result = scan_after(text, " EP: ");
    if (result.at && strstr(text, "(SU)")) {
        line.kind = read_v2_result(result, &line) ? DEEPEP_V2_RESULT : DEEPEP_V2_BROKEN;
    } else if (is_mode(text)) {
        line.kind = DEEPEP_V2_MODE;
        line.is_fp8 = scan_count_of(text, "use_fp8_dispatch") == 1 ||
                      strstr(text, "use_fp8_dispatch=True") != NULL;
    } else if (read_config_line((struct scan){text}, &line.config)) {
        line.kind = DEEPEP_V2_CONFIG;
    }
    return line;
}
