// epsim trace import: what serving engines wrote, as a native trace.
#include "cli/cli.h"
#include "traces/import.h"

#include <string.h>

static void say(const struct import_report *report, const char *folder, bool drawn)
{
    notice("%s: %s, %llu tokens, %u MoE layers, top-%u of %u experts", folder, report->format,
           (unsigned long long)report->tokens, report->layers, report->topk, report->experts);
    if (report->steps)
        notice("%llu steps, in steps.npy", (unsigned long long)report->steps);
    if (report->left_out)
        notice("%u layers left out: they hold no choices", report->left_out);
    if (report->synthesised)
        notice("synthesised from counts: loads are %s, which token took which expert is drawn",
               drawn ? "drawn by their odds" : "as counted");
    if (report->dropped)
        notice("%llu choices dropped: not recorded, or missing from the counts",
               (unsigned long long)report->dropped);
}

enum exit_code run_trace_import(struct invocation *invocation, struct error *err)
{
    struct import_report report;
    if (!invocation->word_count)
        return error_set(err, EXIT_INPUT, "trace import: expected one file or folder, or several"),
               err->code;
    if (!invocation->output[0] || !strcmp(invocation->output, "-"))
        return error_set(err, EXIT_INPUT, "trace import: expected --output FOLDER"), err->code;
    if (!read_tokens(invocation, err))
        return err->code;
    const struct import_ask ask = {.inputs = (const char *const *)invocation->words,
                                   .input_count = invocation->word_count,
                                   .folder = invocation->output,
                                   .model = invocation->def.model,
                                   .shape = invocation->shape,
                                   .source = invocation->source,
                                   .licence = invocation->licence,
                                   .order = invocation->order,
                                   .ranks = invocation->def.ep,
                                   .tokens = invocation->def.tokens,
                                   .seed = invocation->def.seed};
    if (!trace_import(&ask, &report, err))
        return err->code;
    say(&report, invocation->output, ask.tokens > 0);
    return EXIT_DONE;
}
