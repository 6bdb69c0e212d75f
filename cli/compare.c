// epsim compare: both engines and measured rows side by side.
#include "base/mem.h"
#include "base/range.h"
#include "cli/confidence.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/workload.h"
#include "model/timing.h"
#include "study/compare.h"
#include "study/rows/measured.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct compare_options {
    struct workload_options workload;
    char layers[FIELD_TEXT_BYTES], steps[FIELD_TEXT_BYTES]; // lists
    double tolerance_pct;
    char measured[FIELD_TEXT_BYTES];
    double interval_pct; // 0: not asked
    struct common_options common;
};

#define AT(member) offsetof(struct compare_options, member)

static const struct option_row list_rows[] = {
    {OPTION_TEXT("tokens", AT(workload.tokens), "LIST",
                 "tokens a GPU (" TEXT_OF(
                     SCENARIO_TOKENS) "): one, several or a range: 128,4096 or 1..4096:log")},
    {OPTION_TEXT("layer", AT(layers), "LIST",
                 "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (those measured, or 0); or a "
                 "stream of drawn routing")},
    {OPTION_TEXT("step", AT(steps), "LIST",
                 "steps of the trace, from 0, as 0..12:4 (those measured, or 0)")},
};
static const struct option_group list_options = {HEADING_WORKLOAD, OPTION_ROWS(list_rows)};

static const struct option_row judged_rows[] = {
    {OPTION_NUMBER("tolerance_pct", FIELD_NUMBER, AT(tolerance_pct), "PCT", 0, 1e6,
                   "exit 1 when a row is further off")},
    {OPTION_TEXT("measured", AT(measured), "CSV", "measured rows to lay beside")},
};
static const struct option_group judged_options = {HEADING_JUDGED, OPTION_ROWS(judged_rows)};

TSV_OPTIONS(AT(common.tsv), "compare, or with --trace steps");

static double off_pct(double predicted, const struct measured_row *row)
{
    return row ? 100 * (predicted / row->latency_us - 1) : NAN;
}

static bool over_steps(const struct compare_options *options)
{
    return options->workload.def.trace[0] != '\0';
}

// The one table, and its name among programs.
static const char *kind(const struct compare_options *options)
{
    return over_steps(options) ? "steps" : "compare";
}

// Those that are not always there.
struct compare_columns {
    bool steps, intervals, rates;
};

// What simulate predicts, as users of DeepEP count.
static void add_rates(struct table *table, const struct compared *row)
{
    const struct deepep_unit none = {0}, *unit = row->has_unit ? &row->unit : &none;
    TABLE_ADD(table, cell_real(deepep_unit_inter_GBps(unit, row->simulate_us)),
              cell_real(deepep_unit_intra_GBps(unit, row->simulate_us)));
}

static bool any_unit(const struct comparison *comparison)
{
    for (size_t i = 0; i < comparison->count; i++)
        if (comparison->rows[i].has_unit)
            return true;
    return false;
}

static void add_compared(struct table *table, const struct compared *row,
                         const struct compare_columns *columns)
{
    const struct interval *simulate = &row->simulate_interval_us;
    const struct interval *estimate = &row->estimate_interval_us;
    TABLE_ADD(table, cell_count(row->tokens));
    if (columns->steps)
        TABLE_ADD(table, cell_count(row->layer), cell_count(row->step));
    TABLE_ADD(table, cell_text(phase_names[row->phase]));
    if (columns->steps)
        TABLE_ADD(table, cell_text(row->slowest ? "slowest" : "mean"));
    TABLE_ADD(table, cell_text(row->dispatcher), cell_real(row->simulate_us));
    if (columns->intervals)
        TABLE_ADD(table, cell_real(simulate->low), cell_real(simulate->high));
    TABLE_ADD(table, cell_real(row->estimate_us));
    if (columns->intervals)
        TABLE_ADD(table, cell_real(estimate->low), cell_real(estimate->high));
    if (columns->rates)
        add_rates(table, row);
    TABLE_ADD(table, cell_real(row->measured ? row->measured->latency_us : NAN),
              cell_real(off_pct(row->simulate_us, row->measured)),
              cell_real(off_pct(row->estimate_us, row->measured)),
              cell_text(row->measured ? row->measured->id : NULL));
}

static struct table *comparison_table(const struct compare_options *options,
                                      const struct comparison *comparison)
{
    const struct compare_columns columns = {.steps = over_steps(options),
                                            .intervals = comparison->pct > 0,
                                            .rates = any_unit(comparison)};
    struct table *table =
        table_new(kind(options),
                  columns.steps ? "tokens_per_gpu layer step phase stat" : "tokens_per_gpu phase");
    table_columns(table, "dispatcher simulate_us");
    table_columns(table, columns.intervals ? "simulate_low_us simulate_high_us" : "");
    table_columns(table, "estimate_us");
    table_columns(table, columns.intervals ? "estimate_low_us estimate_high_us" : "");
    table_columns(table, columns.rates ? "simulate_rdma_GBps simulate_nvl_GBps" : "");
    table_columns(table, "measured_us simulate_pct estimate_pct measured_id");
    for (size_t i = 0; i < comparison->count; i++)
        add_compared(table, &comparison->rows[i], &columns);
    return table;
}

// The largest error; NaN, which is within no tolerance, when nothing measured stands beside.
static double worst_pct(const struct comparison *comparison)
{
    double worst = NAN;
    for (size_t i = 0; i < comparison->count; i++) {
        const struct compared *row = &comparison->rows[i];
        if (row->measured)
            worst = fmax(worst, fmax(fabs(off_pct(row->simulate_us, row->measured)),
                                     fabs(off_pct(row->estimate_us, row->measured))));
    }
    return worst;
}

// ---- what is asked -----------------------------------------------------------------------------

// What --tokens, --layer and --step list.
struct lists {
    uint32_t *tokens, *layers, *steps;
    size_t token_count, layer_count, step_count;
};

static void lists_release(struct lists *lists)
{
    free(lists->tokens);
    free(lists->layers);
    free(lists->steps);
    *lists = (struct lists){0};
}

// A trace and a list of token counts cut the trace differently at each; one count is the default.
static bool read_token_counts(const struct compare_options *options, struct lists *lists,
                              struct error *err)
{
    if (options->workload.tokens[0])
        return range_parse(options->workload.tokens, &lists->tokens, &lists->token_count, err) ||
               error_prefix(err, "--tokens");
    lists->tokens = mem_alloc(1, sizeof *lists->tokens);
    *lists->tokens = options->workload.def.trace[0] ? 0 : SCENARIO_TOKENS;
    lists->token_count = 1;
    return true;
}

// The definition's own layer and step, which stand in what is told of it, are the first.
static bool read_lists(struct compare_options *options, struct lists *lists, struct error *err)
{
    if (!read_token_counts(options, lists, err) ||
        !read_indices("--layer", options->layers, &lists->layers, &lists->layer_count, err) ||
        !read_indices("--step", options->steps, &lists->steps, &lists->step_count, err))
        return false;
    if (!over_steps(options) && lists->layer_count > 1)
        return error_set(err, EXIT_INPUT,
                         "--layer %s: %zu values: expected one, or --trace FOLDER with a list",
                         options->layers, lists->layer_count);
    options->workload.def.layer = lists->layer_count ? lists->layers[0] : 0;
    options->workload.def.step = lists->step_count ? lists->steps[0] : 0;
    return true;
}

// One dispatcher for all that is asked, so that the rows of one table are of one thing.
static bool ask_both(struct compare_options *options, const struct measured *measured,
                     const struct lists *lists, struct comparison *comparison, struct error *err)
{
    const struct compare_places places = {.layers = lists->layers,
                                          .steps = lists->steps,
                                          .layer_count = lists->layer_count,
                                          .step_count = lists->step_count};
    struct scenario_def *def = &options->workload.def;
    if (!over_steps(options) &&
        !compare_choose(def, lists->tokens, lists->token_count, comparison, err))
        return false;
    for (size_t i = 0; i < lists->token_count; i++) {
        struct scenario_def sized = *def;
        sized.tokens = lists->tokens[i];
        if (over_steps(options) ? !compare_steps(&sized, &places, measured, comparison, err)
                                : !compare_tokens(&sized, sized.tokens, measured, comparison, err))
            return false;
        if (!def->dispatcher[0]) // chosen at the first token count, for all
            strcpy(def->dispatcher, comparison->choice.dispatcher);
    }
    return true;
}

// ---- what a person should know of the rows -----------------------------------------------------

static const struct measured_row *first_matched(const struct comparison *comparison)
{
    for (size_t i = 0; i < comparison->count; i++)
        if (comparison->rows[i].measured)
            return comparison->rows[i].measured;
    return NULL;
}

static void tell_unmatched(const struct compare_options *options, const struct scenario *scenario)
{
    const struct moe *moe = &scenario->moe;
    const struct scenario_def *def = &options->workload.def;
    char sms[32] = "its default", tokens[32];
    snprintf(tokens, sizeof tokens, "%u", routing_max_tokens(&scenario->routing));
    if (scenario->dispatcher.sms)
        snprintf(sms, sizeof sms, "%u", scenario->dispatcher.sms);
    notice(
        "no row of %s is of this case. A row must agree in cluster (%s), dispatcher (%s), nodes x "
        "GPUs (%ux%u), experts (%u), top-k (%u), hidden (%u), tokens a GPU (%s), layout (%s), "
        "dtype (dispatch %s, combine %s), and SMs (%s) unless blank; its routing must %s",
        options->measured, def->cluster, scenario->dispatcher.name, scenario->cluster.nodes,
        scenario->cluster.gpus_per_node, moe->experts, moe->topk, moe->hidden,
        options->workload.tokens[0] ? options->workload.tokens : tokens, def->layout,
        dtype_names[moe->dispatch_dtype], dtype_names[moe->combine_dtype], sms,
        over_steps(options) ? "be trace, at a layer and step that are asked" : "not be trace");
}

// The rule that a row was measured under, as `epsim accuracy` takes it. A group limit that leaves
// all groups allowed is none: the same draws as uniform.
static enum routing_rule effective(enum routing_rule rule, uint32_t groups, uint32_t topk_groups)
{
    const bool grouped = rule == ROUTING_DEEPEP || rule == ROUTING_V3;
    return grouped && topk_groups >= groups ? ROUTING_UNIFORM : rule;
}

// Nodes that a token reaches under the rule, all else as asked; 0 where that cannot be said.
static double nodes_per_token(const struct scenario_def *def, enum routing_rule rule)
{
    struct scenario_def other = *def;
    struct scenario scenario;
    struct error err;
    other.routing = rule;
    if (!scenario_open(&scenario, &other, &err))
        return 0;
    const double nodes = scenario_prepare(&scenario, &engine_estimate, &err)
                             ? loads_nodes_per_token(scenario.loads)
                             : 0;
    scenario_release(&scenario);
    return nodes;
}

static void tell_routing(const struct scenario_def *head, const struct scenario *scenario,
                         const struct measured_row *row)
{
    const struct routing *asked = &scenario->routing;
    const enum routing_rule rule = measured_rule(row);
    if (effective(rule, row->nodes, row->topk_groups) ==
        effective(asked->rule, asked->groups, asked->topk_groups))
        return;
    const double nodes = nodes_per_token(head, rule), ours = nodes_per_token(head, asked->rule);
    char theirs[48] = "", mine[48] = "";
    if (nodes > 0 && ours > 0) {
        snprintf(theirs, sizeof theirs, " (%.2f nodes a token)", nodes);
        snprintf(mine, sizeof mine, " (%.2f)", ours);
    }
    notice("measured rows were taken under routing %s%s; this is --routing %s%s",
           routing_rule_names[rule], theirs, routing_rule_names[asked->rule], mine);
}

// ---- the output --------------------------------------------------------------------------------

// Each row says its own layer and step.
static json_t *config_json(const struct compare_options *options, const struct scenario *scenario)
{
    json_t *config = json_config(&options->workload.def, scenario);
    if (over_steps(options)) {
        json_object_del(config, "layer");
        json_object_del(config, "step");
    }
    return config;
}

static void comment_confidence(const struct comparison *comparison, struct table *table)
{
    extrapolation_comment(&comparison->extrapolation, table);
    if (comparison->pct > 0)
        table_comment(
            table,
            "interval: %g %% of measurements of such a case should lie between low_us and "
            "high_us; -: no measurement stands behind it",
            comparison->pct);
}

// With what was resolved. Where no place was asked, what is measured says it, else it is the first.
static void compare_say(struct command_line *line, const struct scenario *scenario)
{
    struct compare_options *options = line->options;
    workload_say(line, &options->workload, scenario);
    if (over_steps(options) && !options->measured[0]) {
        if (!options->layers[0])
            strcpy(options->layers, "0");
        if (!options->steps[0])
            strcpy(options->steps, "0");
        options_say(line, "layer");
        options_say(line, "step");
    }
}

static bool output_comparison(struct command_line *line, const struct scenario *scenario,
                              const struct comparison *comparison, struct error *err)
{
    struct compare_options *options = line->options;
    const uint64_t seed = options->workload.def.seed;
    struct table *table = comparison_table(options, comparison);
    const bool steps = over_steps(options);
    compare_say(line, scenario);
    json_t *document = json_head(steps ? "epsim.steps/1" : "epsim.compare/1", seed, line);
    json_object_set_new(document, "config", config_json(options, scenario));
    choice_json(&comparison->choice, document);
    extrapolation_json(&comparison->extrapolation, document);
    json_object_set_new(document, "rows", table_json(table));
    table_head(table, seed, line, &scenario->cluster);
    table_comment(table, "times: %s that start %stogether, as benchmarks time a kernel",
                  steps ? "mean over ranks, or slowest of ranks," : "means over ranks",
                  steps ? "every phase " : "");
    table_comment(table, "title: EP%u on %s", cluster_ranks(&scenario->cluster),
                  scenario->cluster.name);
    planned_comment(scenario, table);
    choice_comment(&comparison->choice, table);
    comment_confidence(comparison, table);
    return output_table(&options->common, table, document, err);
}

// The configuration at the head is that of the first case.
static bool output_head(struct command_line *line, uint32_t first_tokens,
                        const struct comparison *comparison, struct error *err)
{
    const struct compare_options *options = line->options;
    const struct measured_row *matched = first_matched(comparison);
    struct scenario scenario;
    struct scenario_def head = options->workload.def;
    head.tokens = first_tokens;
    notice_quiet(true); // what there was to say, the first case's run has said
    const bool resolved = scenario_open(&scenario, &head, err);
    notice_quiet(options->common.quiet);
    if (!resolved)
        return false;
    if (options->measured[0] && !matched)
        tell_unmatched(options, &scenario);
    if (matched)
        tell_routing(&head, &scenario, matched);
    const bool ok = output_comparison(line, &scenario, comparison, err);
    scenario_release(&scenario);
    return ok;
}

// What was measured of computing says by which kernels; it is shown as if asked.
static void take_kernels(struct command_line *line, struct compare_options *options,
                         const struct measured *measured)
{
    char *kernels = options->workload.def.kernels;
    for (size_t i = 0; i < measured->count && !*kernels; i++) {
        const struct measured_row *row = &measured->rows[i];
        if (phase_moves(row->phase) || row->phase == PHASE_NOTIFY)
            continue;
        strcpy(kernels, row->kernels[0] ? row->kernels : KERNELS_EPSIM_REAL);
        options_say(line, "kernels");
    }
}

static bool compare(struct command_line *line, const struct lists *lists, double *worst,
                    struct error *err)
{
    struct compare_options *options = line->options;
    struct measured measured = {0};
    struct fits fits;
    struct comparison comparison = {.fits = &fits, .pct = options->interval_pct};
    const bool judged = options->measured[0] != '\0';
    if (judged && !measured_load(&measured, options->measured, err))
        return error_prefix(err, "--measured");
    take_kernels(line, options, &measured);
    if (!fits_load(&fits, err)) {
        measured_release(&measured);
        return false;
    }
    const bool ok = ask_both(options, judged ? &measured : NULL, lists, &comparison, err) &&
                    output_head(line, lists->tokens[0], &comparison, err);
    *worst = worst_pct(&comparison);
    comparison_release(&comparison);
    measured_release(&measured);
    fits_release(&fits);
    return ok;
}

static bool check_compare(const struct command_line *line, struct error *err)
{
    const struct compare_options *options = line->options;
    if (!check_tsv_kind(&options->common, kind(options), err) ||
        !check_together(line, &options->workload.def, err))
        return false;
    return !options_given(line, "tolerance_pct") || options->measured[0] ||
           error_set(err, EXIT_INPUT, "--tolerance-pct has a meaning only with --measured");
}

static enum exit_code run_compare(struct command_line *line, struct error *err)
{
    struct compare_options *options = line->options;
    struct lists lists = {0};
    double worst = 0;
    bool ok = check_no_words(line, err) && read_lists(options, &lists, err);
    if (ok && options->workload.show) {
        lists_release(&lists);
        return show_parts(line, &options->workload, &options->common, err);
    }
    ok = ok && check_compare(line, err) && compare(line, &lists, &worst, err);
    lists_release(&lists);
    if (!ok)
        return err->code;
    if (!isfinite(options->tolerance_pct) || worst <= options->tolerance_pct)
        return EXIT_DONE;
    if (isnan(worst))
        notice("no measured row stands beside, so that none is within --tolerance-pct");
    else
        notice("the largest error is %.4g %%, over --tolerance-pct %g", worst,
               options->tolerance_pct);
    return EXIT_TOLERANCE;
}

static const struct option_part compare_parts[] = {
    {&scenario_model_options, AT(workload.def)},
    {&scenario_cluster_options, AT(workload.def)},
    {&scenario_dispatcher_options, AT(workload.def)},
    {&scenario_kernels_options, AT(workload.def)},
    {&scenario_dtypes_options, AT(workload.def)},
    {&scenario_routing_options, AT(workload.def)},
    {&scenario_layout_options, AT(workload.def)},
    {&scenario_trace_options, AT(workload.def)},
    {&scenario_seed_options, AT(workload.def.seed)},
    {&scenario_slow_options, AT(workload.def)},
    {&scenario_run_options, AT(workload.def)},
    {&list_options, 0},
    {&judged_options, 0},
    {&presets_options, AT(common)},
    {&tsv_options, 0},
    {&result_options, AT(common)},
    {&interval_options, AT(interval_pct)},
    {&show_options, AT(workload.show)},
    {&help_options, AT(common)},
};

// clang-format off
static const char compare_page[] =
    "examples:\n"
    "  epsim compare --routing deepep --measured study/measured/h800-cx7.csv\n"
    "  epsim compare --tokens 1..4096:log --tsv compare -o compare.tsv\n"
    "  epsim compare --trace traces/minimoe-256e --layer 1,2 --step 0..3 --tokens 32\n"
    "  epsim compare --trace traces/minimoe-256e --measured rows.csv    every layer and step that epsim-real ran\n"
    "\n"
    "usage: epsim compare [flags]\n"
    "{flags}\n"
    "\n"
    "columns, one row a phase and token count, or with --trace a phase, layer and step:\n"
    "  simulate_us   mean over ranks by discrete events, microseconds (with --trace: what stat says)\n"
    "  estimate_us   the same in closed form\n"
    "  simulate_rdma_GBps, simulate_nvl_GBps  what DeepEP's tests would print (low latency: rdma alone)\n"
    "  measured_us   of the row in --measured that is this very case; measured_id is its id\n"
    "  simulate_pct  simulated over measured, less one, in per cent; estimate_pct likewise\n"
    "  stat          mean over ranks, or the slowest rank\n";
// clang-format on

const struct command command_compare = {
    .name = "compare",
    .summary = "both engines and measured rows side by side, over token counts or a trace's steps",
    .page = compare_page,
    COMMAND_OPTIONS(compare_options, compare_parts,
                    {.workload.def = SCENARIO_DEFAULT, .tolerance_pct = INFINITY}),
    .opens_output = true,
    .run = run_compare,
};
