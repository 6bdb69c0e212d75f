// epsim simulate and epsim estimate: one question, one engine.
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "model/check.h"
#include "model/estimate.h"
#include "sim/simulate.h"
#include "study/range.h"

#include <stdlib.h>
#include <string.h>

const char *const tsv_kind_names[] = {"",      "phases",  "ranks", "ports",
                                      "links", "traffic", "path",  NULL};

typedef void engine_run(const struct schedule *schedule, const struct run *run,
                        struct timing *timing);

static bool parse_tsv(const struct invocation *invocation, enum tsv_kind *kind, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    *kind = TSV_NONE;
    if (!invocation_given(invocation, "tsv"))
        return true;
    for (int k = TSV_PHASES; tsv_kind_names[k]; k++)
        if (!strcmp(invocation->tsv, tsv_kind_names[k]))
            *kind = (enum tsv_kind)k;
    if (*kind == TSV_NONE)
        return error_set(err, EXIT_INPUT,
                         "--tsv: '%s': expected phases, ranks, ports, links, traffic or path",
                         error_quote(invocation->tsv, quoted));
    if (invocation->json)
        return error_set(err, EXIT_INPUT, "--tsv and --json: expected one of them");
    return true;
}

// Flags that a byte matrix has no use for, and a trace none for a rule.
static bool check_together(const struct invocation *invocation, struct error *err)
{
    static const char *const layer_only[] = {"model", "tokens", "trace",  "routing", "layout",
                                             "layer", "step",   "overlap", "loads", NULL};
    const struct question *question = &invocation->question;
    for (int i = 0; question->traffic[0] && layer_only[i]; i++)
        if (invocation_given(invocation, layer_only[i]))
            return error_set(err, EXIT_INPUT, "--%s has no meaning with --traffic", layer_only[i]);
    if (question->trace[0] && invocation_given(invocation, "routing"))
        return error_set(err, EXIT_INPUT, "--routing has no meaning with --trace");
    if (question->trace[0] && question->loads == LOADS_EXPECTED)
        return error_set(err, EXIT_INPUT, "--loads expected: a trace is counted");
    if (!question->trace[0] && invocation_given(invocation, "step"))
        return error_set(err, EXIT_INPUT, "--step has a meaning only with --trace");
    if (!question->trace[0] && question->routing == ROUTING_TRACE)
        return error_set(err, EXIT_INPUT, "--routing trace: give --trace FOLDER");
    return true;
}

static bool read_tokens(struct invocation *invocation, struct error *err)
{
    uint32_t *values;
    size_t count;
    if (!invocation_given(invocation, "tokens"))
        return true;
    if (!range_parse(invocation->tokens, &values, &count, err))
        return error_prefix(err, "--tokens");
    invocation->question.tokens = values[0];
    free(values);
    return count == 1 || error_set(err, EXIT_INPUT,
                                   "--tokens %s: %zu values: %s takes one count (compare takes lists)",
                                   invocation->tokens, count, invocation->command);
}

// What a report is written from.
struct result {
    const struct invocation *invocation;
    const struct schedule *schedule;
    const struct timing *timing;
    const struct table *head;
};

static void write_report(void *context, FILE *out)
{
    const struct result *result = context;
    timing_report(out, result->schedule, result->timing, result->head);
}

static void comment_title(struct table *table, const struct result *result,
                          const struct setting *setting)
{
    const struct question *question = &result->invocation->question;
    char *what;
    if (setting->traffic)
        what = mem_copy_text(question->traffic);
    else if (question->trace[0])
        what = mem_format("%s, %s layer %u, %u tokens a GPU", setting->moe.name, question->trace,
                          question->layer, setting->tokens[0]);
    else
        what = mem_format("%s, %s routing, %u tokens a GPU", setting->moe.name,
                          routing_rule_names[setting->routing.rule], setting->tokens[0]);
    table_comment(table, "title: %s, EP%u on %s, %s, %s", what, cluster_ranks(&setting->cluster),
                  setting->cluster.name, setting->dispatcher.name, result->timing->engine);
    free(what);
}

static bool output_result(const struct result *result, const struct setting *setting,
                          enum tsv_kind kind, struct error *err)
{
    const struct invocation *invocation = result->invocation;
    char *command = setting_command(invocation, setting);
    bool ok;
    if (invocation->json) {
        json_t *document = json_head(invocation, "epsim.timing/1", command);
        json_object_set_new(document, "config", json_config(invocation, setting));
        timing_json(document, result->schedule, result->timing);
        ok = output_json(invocation, document, err);
    } else {
        struct table *table = timing_table(result->schedule, result->timing, kind);
        struct result report = *result;
        table_head(table, invocation, command, &setting->cluster);
        table_comment(table, "layer_us: %.6g", timing_layer_ps(result->timing) / 1e6);
        comment_title(table, result, setting);
        report.head = table;
        ok = kind == TSV_NONE ? output_write(invocation, write_report, &report, err)
                              : output_table(invocation, table, NULL, err);
        table_free(table);
    }
    free(command);
    return ok;
}

static bool answer(const struct invocation *invocation, const struct setting *setting,
                   engine_run *engine, FILE *timeline, struct error *err)
{
    struct run run = setting->run;
    struct timing timing;
    struct result result = {
        .invocation = invocation, .schedule = &setting->schedule, .timing = &timing};
    enum tsv_kind kind;
    if (!parse_tsv(invocation, &kind, err))
        return false;
    run.timeline = timeline;
    engine(&setting->schedule, &run, &timing);
    bool ok = true;
    if (invocation->check)
        ok = timing_check(&setting->schedule, &timing, err);
    ok = ok && output_result(&result, setting, kind, err);
    timing_release(&timing);
    return ok;
}

// With --timeline the trace file is complete before any result is shown.
static bool answer_with_timeline(const struct invocation *invocation,
                                 const struct setting *setting, engine_run *engine,
                                 struct error *err)
{
    struct outfile file;
    if (!invocation->timeline[0])
        return answer(invocation, setting, engine, NULL, err);
    if (!strcmp(invocation->timeline, "-"))
        return error_set(err, EXIT_INPUT, "--timeline -: expected a file");
    if (!outfile_open(&file, invocation->timeline, err))
        return error_prefix(err, "--timeline");
    if (answer(invocation, setting, engine, file.stream, err))
        return outfile_commit(&file, err);
    outfile_abort(&file);
    return false;
}

static enum exit_code run_engine(struct invocation *invocation, engine_run *engine,
                                 enum loads_kind prefer, struct error *err)
{
    struct answerable answerable;
    enum tsv_kind kind;
    if (invocation->word_count)
        return error_set(err, EXIT_INPUT, "'%s': %s takes only flags", invocation->words[0],
                         invocation->command),
               err->code;
    if (invocation->show)
        return show_presets(invocation, err) ? EXIT_DONE : err->code;
    if (!parse_tsv(invocation, &kind, err) || !check_together(invocation, err) ||
        !read_tokens(invocation, err) || !ask(&answerable, &invocation->question, prefer, err))
        return err->code;
    const bool ok = answer_with_timeline(invocation, &answerable.setting, engine, err);
    ask_release(&answerable);
    return ok ? EXIT_DONE : err->code;
}

enum exit_code run_simulate(struct invocation *invocation, struct error *err)
{
    return run_engine(invocation, simulate, LOADS_COUNTED, err);
}

enum exit_code run_estimate(struct invocation *invocation, struct error *err)
{
    return run_engine(invocation, estimate, LOADS_EXPECTED, err);
}
