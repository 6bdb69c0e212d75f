// Flags that have a meaning only together, or none together.
#include "base/range.h"
#include "cli/cli.h"
#include "study/part.h"
#include "study/rows/measured_load.h"

#include <stdlib.h>
#include <string.h>

static bool check_traffic(const struct invocation *invocation, struct error *err)
{
    static const char *const layer_only[] = {"model", "tokens", "trace",   "routing", "layout",
                                             "layer", "step",   "overlap", "loads"};
    for (size_t i = 0; i < sizeof layer_only / sizeof layer_only[0]; i++)
        if (invocation_given(invocation, layer_only[i]))
            return error_set(err, EXIT_INPUT, "--%s has no meaning with --traffic", layer_only[i]);
    return true;
}

bool check_together(const struct invocation *invocation, struct error *err)
{
    const struct scenario_def *def = &invocation->def;
    if (def->traffic[0] && !check_traffic(invocation, err))
        return false;
    if (def->trace[0] && invocation_given(invocation, "routing"))
        return error_set(err, EXIT_INPUT, "--routing has no meaning with --trace");
    if (def->trace[0] && def->loads == LOADS_EXPECTED)
        return error_set(err, EXIT_INPUT, "--loads expected: a trace is counted");
    if (!def->trace[0] && invocation_given(invocation, "step"))
        return error_set(err, EXIT_INPUT, "--step has a meaning only with --trace");
    if (!def->trace[0] && def->routing == ROUTING_TRACE)
        return error_set(err, EXIT_INPUT, "--routing trace: give --trace FOLDER");
    return true;
}

bool check_no_words(const struct invocation *invocation, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    return !invocation->word_count ||
           error_set(err, EXIT_INPUT, "'%s': %s takes only flags",
                     error_quote(invocation->words[0], quoted), invocation->command);
}

bool read_tokens(struct invocation *invocation, struct error *err)
{
    uint32_t *values;
    size_t count;
    if (!invocation->tokens[0])
        return true;
    if (!range_parse(invocation->tokens, &values, &count, err))
        return error_prefix(err, "--tokens");
    invocation->def.tokens = values[0];
    free(values);
    return count == 1 ||
           error_set(err, EXIT_INPUT, "--tokens %s: %zu values: expected one count (%s)",
                     invocation->tokens, count,
                     invocation->show ? "with --show" : "compare takes lists");
}

bool read_engine(const struct invocation *invocation, const struct engine **engine, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const struct engine *found = engine_find(invocation->engine);
    if (found && found->is_calibrated)
        return *engine = found, true;
    return error_set(err, EXIT_INPUT, "--engine: '%s': expected simulate or estimate",
                     error_quote(invocation->engine, quoted));
}

bool check_files(const struct invocation *invocation, struct error *err)
{
    return invocation->word_count ||
           error_set(err, EXIT_INPUT,
                     "%s: expected files of measurements: CSV, what nccl-tests print, or the TSV "
                     "of epsim-real probe",
                     invocation->command);
}

static bool keep_from(double from_us, struct measured *measured, struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < measured->count; i++)
        if (measured->rows[i].latency_us >= from_us)
            measured->rows[kept++] = measured->rows[i];
    measured->count = kept;
    return kept > 0 || error_set(err, EXIT_INPUT, "%s: no row is as long as --from-us %g",
                                 measured->path, from_us);
}

bool load_measured(const struct invocation *invocation, struct measured *measured,
                   struct error *err)
{
    const bool except = invocation->except[0];
    struct part part = {.except = except, .seed = invocation->def.seed};
    if (except && invocation->only[0])
        return error_set(err, EXIT_INPUT, "--only and --except: expected one of them");
    if (invocation->only[0] && !part_parse(&part, invocation->only, err))
        return error_prefix(err, "--only");
    if (except && !part_parse(&part, invocation->except, err))
        return error_prefix(err, "--except");
    if (!measured_load_files(measured, invocation->words, invocation->word_count, err))
        return false;
    if (part_keep(&part, measured, err) && keep_from(invocation->from_us, measured, err))
        return true;
    measured_release(measured);
    return false;
}

struct row_overrides row_overrides(const struct invocation *invocation)
{
    const bool except = invocation->except[0];
    struct row_overrides terms = {
        .cluster = invocation->judged_cluster[0] ? invocation->judged_cluster : NULL,
        .traffic = invocation->judged_traffic[0] ? invocation->judged_traffic : NULL,
        .model = invocation->judged_model[0] ? invocation->judged_model : NULL,
        .seed = invocation->def.seed};
    if (except || invocation->only[0]) // whoever fitted the other rows said the other flag
        snprintf(terms.held_out, sizeof terms.held_out, "--%s %.40s", except ? "only" : "except",
                 except ? invocation->except : invocation->only);
    return terms;
}

static bool is_kind(const char *word, const char *kinds)
{
    const size_t length = strlen(word);
    for (const char *at = kinds; length && (at = strstr(at, word)); at += length)
        if ((at == kinds || at[-1] == ' ') && strchr(" ,", at[length]))
            return strcmp(word, "or") != 0;
    return false;
}

bool check_tsv_kind(const struct invocation *invocation, const char *kinds, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (!invocation_given(invocation, "tsv"))
        return true;
    if (!is_kind(invocation->tsv, kinds))
        return error_set(err, EXIT_INPUT, "--tsv: '%s': expected %s",
                         error_quote(invocation->tsv, quoted), kinds);
    return !invocation->json ||
           error_set(err, EXIT_INPUT, "--tsv and --json: expected one of them");
}
