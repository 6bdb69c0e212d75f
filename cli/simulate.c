// epsim simulate: one question, by discrete events; and the run that estimate has too.
#include "cli/simulate.h"

#include "base/mem.h"
#include "cli/imbalance.h"
#include "cli/output.h"
#include "cli/print.h"
#include "cli/show.h"
#include "model/check.h"
#include "model/estimate.h"
#include "sim/simulate.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct simulate_options, member)

static const struct option_row imbalance_rows[] = {
    {OPTION_SWITCH("imbalance", AT(imbalance),
                   "what uneven routing, slow parts and late ranks cost: runs again without them")},
};
const struct option_group imbalance_options = {HEADING_RUNS, OPTION_ROWS(imbalance_rows)};

static const struct option_row tsv_rows[] = {
    {OPTION_TEXT("tsv", AT(common.tsv), "KIND",
                 "table for programs: phases, ranks, ports, links, traffic, path or imbalance")},
};
const struct option_group layer_tsv_options = {HEADING_OUTPUT, OPTION_ROWS(tsv_rows)};

static const struct option_row timeline_rows[] = {
    {OPTION_TEXT("timeline", AT(timeline), "FILE", "Chrome/Perfetto trace of ranks and ports")},
};
static const struct option_group timeline_options = {HEADING_OUTPUT, OPTION_ROWS(timeline_rows)};

static const struct option_row check_rows[] = {
    {OPTION_SWITCH("check", AT(check),
                   "verify conservation and the port bound; exit 4 when broken")},
};
const struct option_group check_options = {HEADING_OUTPUT, OPTION_ROWS(check_rows)};

void simulate_defaults(void *options)
{
    *(struct simulate_options *)options =
        (struct simulate_options){.workload.question = question_default()};
}

static bool parse_tsv(const struct simulate_options *options, enum tsv_kind *kind,
                      struct error *err)
{
    const char *tsv = options->common.tsv;
    char quoted[ERROR_QUOTE_BYTES];
    *kind = TSV_NONE;
    if (!tsv[0])
        return true;
    for (int k = TSV_PHASES; tsv_kind_names[k]; k++)
        if (!strcmp(tsv, tsv_kind_names[k]))
            *kind = (enum tsv_kind)k;
    if (*kind == TSV_NONE)
        return error_set(err, EXIT_INPUT,
                         "--tsv: '%s': expected phases, ranks, ports, links, traffic, path "
                         "or imbalance",
                         error_quote(tsv, quoted));
    if (options->common.json)
        return error_set(err, EXIT_INPUT, "--tsv and --json: expected one of them");
    return !options->imbalance || *kind == TSV_IMBALANCE ||
           error_set(err, EXIT_INPUT, "--imbalance: expected --tsv imbalance, not --tsv %s", tsv);
}

// What a report is written from.
struct result {
    const struct command_line *line;
    const struct schedule *schedule;
    const struct timing *timing;
    const struct imbalance *imbalance; // NULL: not asked
    const struct belief *belief;
    const struct table *head;
};

static void write_layer_report(void *context, FILE *out)
{
    const struct result *result = context;
    timing_report(out, result->schedule, result->timing, result->belief, result->head);
    if (result->imbalance)
        imbalance_report(out, result->imbalance);
}

static void comment_title(struct table *table, const struct result *result,
                          const struct setting *setting)
{
    const struct simulate_options *options = result->line->options;
    const struct question *question = &options->workload.question;
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

// With what was resolved, so that it asks this very question again.
static char *layer_command(const struct command_line *line, const struct setting *setting)
{
    struct command_line again = *line;
    struct simulate_options said = *(const struct simulate_options *)line->options;
    again.options = &said;
    workload_say(&again, &said.workload, setting);
    workload_say_dispatcher(&again, &said.workload, setting);
    if (said.workload.question.trace[0]) {
        options_say(&again, "layer");
        options_say(&again, "step");
    }
    return command_text(&again);
}

static bool output_result(const struct result *result, const struct setting *setting,
                          enum tsv_kind kind, struct error *err)
{
    struct simulate_options *options = result->line->options;
    const struct question *question = &options->workload.question;
    char *command = layer_command(result->line, setting);
    bool ok;
    if (options->common.json) {
        json_t *document = json_head("epsim.timing/1", question->seed, command);
        json_object_set_new(document, "config", json_config(question, setting));
        timing_json(document, result->schedule, result->timing, result->belief);
        if (result->imbalance)
            imbalance_json(document, result->imbalance);
        ok = output_json(&options->common, document, err);
    } else {
        struct table *table = kind == TSV_IMBALANCE ? imbalance_table(result->imbalance)
                                                    : timing_table(result->schedule, result->timing,
                                                                   kind, result->belief);
        struct result report = *result;
        table_head(table, question->seed, command, &setting->cluster);
        table_comment(table, "layer_us: %.6g", timing_layer_ps(result->timing) / 1e6);
        comment_title(table, result, setting);
        belief_comment(result->belief, result->schedule, table);
        report.head = table;
        ok = kind == TSV_NONE ? output_write(&options->common, write_layer_report, &report, err)
                              : output_table(&options->common, table, NULL, err);
        table_free(table);
    }
    free(command);
    return ok;
}

static bool check(const struct setting *setting, const struct timing *timing, struct error *err)
{
    if (!timing_check(&setting->schedule, timing, err))
        return false;
    notice("check: conservation and bounds hold");
    return true;
}

// The closed form says it unasked where a cause is known: that takes no time.
static bool wants_imbalance(const struct simulate_options *options, const struct setting *setting,
                            timing_engine *engine, enum tsv_kind kind)
{
    const bool cause = setting->schedule.fabric.slow.count || setting->run.skew_ps ||
                       options->workload.question.trace[0];
    return options->imbalance || kind == TSV_IMBALANCE ||
           (kind == TSV_NONE && engine == estimate && cause);
}

// With --timeline the trace file is complete before any result is shown.
static bool answer_layer(const struct command_line *line, const struct setting *setting,
                         timing_engine *engine, enum tsv_kind kind, struct error *err)
{
    const struct simulate_options *options = line->options;
    struct imbalance imbalance;
    struct run run = setting->run;
    struct timing timing;
    struct belief belief;
    struct result result = {
        .line = line, .schedule = &setting->schedule, .timing = &timing, .belief = &belief};
    struct outfile timeline;
    if (!open_timeline(options->timeline, &options->common, &timeline, err))
        return false;
    run.timeline = timeline.stream;
    engine(&setting->schedule, &run, &timing);
    bool ok = !options->check || check(setting, &timing, err);
    if (ok && timeline.stream)
        ok = outfile_commit(&timeline, err);
    outfile_abort(&timeline);
    if (ok && wants_imbalance(options, setting, engine, kind)) {
        imbalance_find(&imbalance, setting, engine, &timing);
        result.imbalance = &imbalance;
    }
    ok = ok && belief_find(&belief, options->interval_pct, setting,
                           engine == simulate ? ENGINE_SIMULATE : ENGINE_ESTIMATE, err);
    if (ok) {
        ok = output_result(&result, setting, kind, err);
        belief_release(&belief);
    }
    timing_release(&timing);
    return ok;
}

enum exit_code run_engine(struct command_line *line, timing_engine *engine, enum loads_kind prefer,
                          struct error *err)
{
    struct simulate_options *options = line->options;
    struct workload_options *workload = &options->workload;
    struct answerable answerable;
    enum tsv_kind kind;
    if (!check_no_words(line, err))
        return err->code;
    if (workload->show)
        return show_parts(line, workload, &options->common, err);
    if (!parse_tsv(options, &kind, err) || !check_together(line, &workload->question, err) ||
        !workload_tokens(workload, err) || !ask(&answerable, &workload->question, prefer, err))
        return err->code;
    const bool ok = answer_layer(line, &answerable.setting, engine, kind, err);
    ask_release(&answerable);
    return ok ? EXIT_DONE : err->code;
}

static enum exit_code run_simulate(struct command_line *line, struct error *err)
{
    return run_engine(line, simulate, LOADS_COUNTED, err);
}

static const struct option_part simulate_parts[] = {
    {&question_model_options, AT(workload.question)},
    {&question_cluster_options, AT(workload.question)},
    {&question_dispatcher_options, AT(workload.question)},
    {&question_routing_options, AT(workload.question)},
    {&question_layout_options, AT(workload.question)},
    {&question_trace_options, AT(workload.question)},
    {&question_place_options, AT(workload.question)},
    {&question_traffic_options, AT(workload.question)},
    {&question_seed_options, AT(workload.question.seed)},
    {&question_slow_options, AT(workload.question)},
    {&question_run_options, AT(workload.question)},
    {&question_aligned_options, AT(workload.question)},
    {&tokens_options, AT(workload.tokens)},
    {&presets_options, AT(common)},
    {&imbalance_options, 0},
    {&layer_tsv_options, 0},
    {&json_options, AT(common)},
    {&output_options, AT(common)},
    {&interval_options, AT(interval_pct)},
    {&timeline_options, 0},
    {&check_options, 0},
    {&show_options, AT(workload.show)},
    {&help_options, AT(common)},
};

const struct command command_simulate = {
    .name = "simulate",
    .summary = "one MoE layer, or a byte matrix, by discrete events",
    .usage = "[flags]",
    .examples = "  epsim simulate --routing deepep --check\n"
                "  epsim simulate --tokens 128 --ep 64 --timeline layer.json\n"
                "  epsim simulate --traffic matrix.txt --cluster 4x8:nvlink=138GB/s,nic=46GB/s\n",
    .notes = LAYER_NOTES,
    COMMAND_OPTIONS(simulate_options, simulate_parts),
    .set_defaults = simulate_defaults,
    .opens_output = true,
    .run = run_simulate,
};
