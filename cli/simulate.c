// epsim simulate: one scenario, by discrete events.
#include "cli/simulate.h"

#include "base/mem.h"
#include "cli/output.h"
#include "cli/print.h"
#include "model/engine/check.h"
#include "sim/simulate.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct simulate_options, member)

static const struct option_row imbalance_rows[] = {
    {OPTION_SWITCH("imbalance", AT(imbalance),
                   "what uneven routing, slow parts and late ranks cost: runs again without them")},
};
static const struct option_group imbalance_options = {HEADING_RUN, OPTION_ROWS(imbalance_rows)};

#define KINDS "phases, ranks, ports, links, traffic, path or imbalance"
TSV_OPTIONS(AT(common.tsv), KINDS);

static const struct option_row timeline_rows[] = {
    {OPTION_TEXT("timeline", AT(timeline), "FILE", "Chrome/Perfetto trace of ranks and ports")},
};
const struct option_group timeline_options = {HEADING_OUTPUT, OPTION_ROWS(timeline_rows)};

static const struct option_row check_rows[] = {
    {OPTION_SWITCH("check", AT(check),
                   "verify conservation and the port bound; exit 4 when broken")},
};
static const struct option_group check_options = {HEADING_OUTPUT, OPTION_ROWS(check_rows)};

static enum tsv_kind tsv_kind_of(const struct simulate_options *options)
{
    for (int k = TSV_PHASES; tsv_kind_names[k]; k++)
        if (!strcmp(options->common.tsv, tsv_kind_names[k]))
            return (enum tsv_kind)k;
    return TSV_NONE;
}

static bool check_layer_tsv(const struct simulate_options *options, struct error *err)
{
    const char *tsv = options->common.tsv;
    return check_tsv_kind(&options->common, KINDS, err) &&
           (!tsv[0] || !options->imbalance || tsv_kind_of(options) == TSV_IMBALANCE ||
            error_set(err, EXIT_INPUT, "--imbalance: expected --tsv imbalance, not --tsv %s", tsv));
}

// What a report is written from.
struct result {
    struct command_line *line;
    const struct schedule *schedule;
    const struct timing *timing;
    const struct imbalance *imbalance; // NULL: not asked
    const struct confidence *confidence;
    const struct table *head;
};

static void write_layer_report(void *context, FILE *out)
{
    const struct result *result = context;
    timing_report(out, result->schedule, result->timing, result->confidence, result->head);
    if (result->imbalance)
        imbalance_report(out, result->imbalance);
}

static void comment_title(struct table *table, const struct result *result,
                          const struct scenario *scenario)
{
    const struct simulate_options *options = result->line->options;
    const struct scenario_def *def = &options->workload.def;
    char *what;
    if (scenario->traffic)
        what = mem_copy_text(def->traffic);
    else if (def->trace[0])
        what = mem_format("%s, %s layer %u, %u tokens a GPU", scenario->moe.name, def->trace,
                          def->layer, scenario->tokens[0]);
    else
        what = mem_format("%s, %s routing, %u tokens a GPU", scenario->moe.name,
                          routing_rule_names[scenario->routing.rule], scenario->tokens[0]);
    table_comment(table, "title: %s, EP%u on %s, %s, %s", what, cluster_ranks(&scenario->cluster),
                  scenario->cluster.name, scenario->dispatcher.name, result->timing->engine);
    free(what);
}

// With what was resolved, so that it asks the very same again.
static void layer_say(struct command_line *line, const struct scenario *scenario)
{
    struct workload_options *workload = &((struct simulate_options *)line->options)->workload;
    workload_say(line, workload, scenario);
    workload_say_dispatcher(line, workload, scenario);
    if (workload->def.trace[0]) {
        options_say(line, "layer");
        options_say(line, "step");
    }
}

static bool output_result(const struct result *result, const struct scenario *scenario,
                          enum tsv_kind kind, struct error *err)
{
    struct simulate_options *options = result->line->options;
    const struct scenario_def *def = &options->workload.def;
    layer_say(result->line, scenario);
    if (options->common.json) {
        json_t *document = json_head("epsim.timing/1", def->seed, result->line);
        json_object_set_new(document, "config", json_config(def, scenario));
        choice_json(&scenario->choice, document);
        timing_json(document, result->schedule, result->timing, result->confidence);
        if (result->imbalance)
            imbalance_json(document, result->imbalance);
        return output_json(&options->common, document, err);
    }
    struct table *table = kind == TSV_IMBALANCE ? imbalance_table(result->imbalance)
                                                : timing_table(result->schedule, result->timing,
                                                               kind, result->confidence);
    table_head(table, def->seed, result->line, &scenario->cluster);
    table_comment(table, "layer_us: %.6g", timing_layer_ps(result->timing) / 1e6);
    comment_title(table, result, scenario);
    planned_comment(scenario, table);
    choice_comment(&scenario->choice, table);
    confidence_comment(result->confidence, result->schedule, table);
    if (kind != TSV_NONE)
        return output_table(&options->common, table, NULL, err);
    struct result report = *result;
    report.head = table;
    const bool ok = output_write(&options->common, write_layer_report, &report, err);
    table_free(table);
    return ok;
}

static bool check(const struct scenario *scenario, const struct timing *timing, struct error *err)
{
    if (!timing_check(scenario->schedule, timing, err))
        return false;
    notice("check: conservation and bounds hold");
    return true;
}

// The closed form says it unasked where a cause is known: that takes no time.
static bool wants_imbalance(const struct simulate_options *options, const struct scenario *scenario,
                            const struct engine *engine, enum tsv_kind kind)
{
    const bool cause = scenario->schedule->fabric.slow.count || scenario->run.skew_ps ||
                       options->workload.def.trace[0];
    return options->imbalance || kind == TSV_IMBALANCE ||
           (kind == TSV_NONE && !engine->has_queues && cause);
}

// With --timeline the trace file is complete before any result is shown.
static bool run_timed(const struct simulate_options *options, struct scenario *scenario,
                      const struct engine *engine, struct timing *timing, struct error *err)
{
    struct outfile timeline;
    if (!open_timeline(options->timeline, &options->common, &timeline, err))
        return false;
    scenario->run.timeline = timeline.stream;
    bool ok = scenario_run(scenario, engine, timing, err);
    scenario->run.timeline = NULL;
    if (ok && ((options->check && !check(scenario, timing, err)) ||
               (timeline.stream && !outfile_commit(&timeline, err)))) {
        timing_release(timing);
        ok = false;
    }
    outfile_abort(&timeline);
    return ok;
}

// Prints what the engine said of the scenario, and what imbalance costs in it.
static bool print_answer(struct command_line *line, const struct scenario *scenario,
                         const struct engine *engine, const struct timing *timing,
                         struct error *err)
{
    const struct simulate_options *options = line->options;
    const enum tsv_kind kind = tsv_kind_of(options);
    struct imbalance imbalance;
    struct confidence confidence;
    struct result result = {
        .line = line, .schedule = scenario->schedule, .timing = timing, .confidence = &confidence};
    if (wants_imbalance(options, scenario, engine, kind)) {
        imbalance_find(&imbalance, scenario, engine, timing);
        result.imbalance = &imbalance;
    }
    if (!confidence_find(&confidence, options->interval_pct, scenario, engine, err))
        return false;
    const bool ok = output_result(&result, scenario, kind, err);
    confidence_release(&confidence);
    return ok;
}

static bool run_scenario(struct command_line *line, const struct engine *engine, struct error *err)
{
    struct simulate_options *options = line->options;
    struct scenario scenario;
    struct timing timing;
    if (!check_layer_tsv(options, err) || !check_together(line, &options->workload.def, err) ||
        !workload_tokens(&options->workload, err) ||
        !scenario_open(&scenario, &options->workload.def, err))
        return false;
    bool ok = run_timed(options, &scenario, engine, &timing, err);
    if (ok) {
        ok = print_answer(line, &scenario, engine, &timing, err);
        timing_release(&timing);
    }
    scenario_release(&scenario);
    return ok;
}

enum exit_code run_engine(struct command_line *line, const struct engine *engine, struct error *err)
{
    struct simulate_options *options = line->options;
    if (!check_no_words(line, err))
        return err->code;
    if (options->workload.show)
        return show_parts(line, &options->workload, &options->common, err);
    return run_scenario(line, engine, err) ? EXIT_DONE : err->code;
}

static enum exit_code run_simulate(struct command_line *line, struct error *err)
{
    return run_engine(line, &engine_simulate, err);
}

const struct option_part layer_parts[LAYER_PARTS] = {
    {&scenario_model_options, AT(workload.def)},
    {&scenario_cluster_options, AT(workload.def)},
    {&scenario_dispatcher_options, AT(workload.def)},
    {&scenario_kernels_options, AT(workload.def)},
    {&scenario_dtypes_options, AT(workload.def)},
    {&scenario_routing_options, AT(workload.def)},
    {&scenario_layout_options, AT(workload.def)},
    {&scenario_trace_options, AT(workload.def)},
    {&scenario_place_options, AT(workload.def)},
    {&scenario_traffic_options, AT(workload.def)},
    {&scenario_seed_options, AT(workload.def.seed)},
    {&scenario_slow_options, AT(workload.def)},
    {&scenario_run_options, AT(workload.def)},
    {&scenario_aligned_options, AT(workload.def)},
    {&scenario_graph_options, AT(workload.def)},
    {&scenario_loads_options, AT(workload.def)},
    {&tokens_options, AT(workload.tokens)},
    {&presets_options, AT(common)},
    {&imbalance_options, 0},
    {&tsv_options, 0},
    {&result_options, AT(common)},
    {&interval_options, AT(interval_pct)},
    {&timeline_options, 0},
    {&check_options, 0},
    {&show_options, AT(workload.show)},
    {&help_options, AT(common)},
};

// clang-format off
static const char simulate_page[] =
    "examples:\n"
    "  epsim simulate --routing deepep --check\n"
    "  epsim simulate --tokens 128 --ep 64 --timeline layer.json\n"
    "  epsim simulate --traffic matrix.txt --cluster 4x8:nvlink=200GB/s,nic=400Gbps\n"
    "\n"
    "usage: epsim simulate [flags]\n"
    "{flags}\n"
    LAYER_NOTES;
// clang-format on

const struct command command_simulate = {
    .name = "simulate",
    .summary = "one MoE layer, or a byte matrix, by discrete events",
    .page = simulate_page,
    COMMAND_OPTIONS(simulate_options, layer_parts, {.workload.def = SCENARIO_DEFAULT}),
    .without = &scenario_loads_options,
    .opens_output = true,
    .run = run_simulate,
};
