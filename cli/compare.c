// epsim compare: both engines and measured rows side by side.
#include "base/mem.h"
#include "base/range.h"
#include "cli/belief.h"
#include "model/engine/estimate.h"
#include "model/timing.h"
#include "study/compare.h"
#include "study/rows/measured_load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double off_pct(double predicted, const struct measured_row *row)
{
    return row ? 100 * (predicted / row->latency_us - 1) : NAN;
}

static const char *const token_columns[] = {"tokens_per_gpu", "phase", "dispatcher", NULL};
static const char *const step_columns[] = {"tokens_per_gpu", "layer",      "step", "phase",
                                           "stat",           "dispatcher", NULL};
static const char *const engine_columns[] = {"simulate_us", "estimate_us", NULL};
static const char *const interval_columns[] = {"simulate_us", "simulate_low_us", "simulate_high_us",
                                               "estimate_us", "estimate_low_us", "estimate_high_us",
                                               NULL};
static const char *const measured_columns[] = {"measured_us", "simulate_pct", "estimate_pct",
                                               "measured_id", NULL};
#define MOST_COLUMNS 17

static bool over_steps(const struct invocation *invocation)
{
    return invocation->def.trace[0] != '\0';
}

// The one table, and its name among programs.
static const char *kind(const struct invocation *invocation)
{
    return over_steps(invocation) ? "steps" : "compare";
}

static void add_interval(struct table *table, const struct interval *interval, bool asked)
{
    if (!asked)
        return;
    table_real(table, interval->low);
    table_real(table, interval->high);
}

static void add_row(struct table *table, const struct compared *row, bool steps, bool asked)
{
    table_count(table, row->tokens);
    if (steps) {
        table_count(table, row->layer);
        table_count(table, row->step);
    }
    table_text(table, phase_names[row->phase]);
    if (steps)
        table_text(table, row->slowest ? "slowest" : "mean");
    table_text(table, row->dispatcher);
    table_real(table, row->simulate_us);
    add_interval(table, &row->simulate_interval_us, asked);
    table_real(table, row->estimate_us);
    add_interval(table, &row->estimate_interval_us, asked);
    table_real(table, row->measured ? row->measured->latency_us : NAN);
    table_real(table, off_pct(row->simulate_us, row->measured));
    table_real(table, off_pct(row->estimate_us, row->measured));
    if (row->measured)
        table_text(table, row->measured->id);
    else
        table_blank(table);
}

static struct table *fill_table(const struct invocation *invocation,
                                const struct comparison *comparison)
{
    const bool steps = over_steps(invocation), asked = comparison->pct > 0;
    const char *const *const parts[] = {steps ? step_columns : token_columns,
                                        asked ? interval_columns : engine_columns,
                                        measured_columns};
    const char *columns[MOST_COLUMNS] = {NULL};
    size_t count = 0;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++)
        for (size_t c = 0; parts[p][c]; c++)
            columns[count++] = parts[p][c];
    struct table *table = table_new(kind(invocation), columns);
    for (size_t i = 0; i < comparison->count; i++)
        add_row(table, &comparison->rows[i], steps, asked);
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
static bool read_counts(const struct invocation *invocation, struct lists *lists, struct error *err)
{
    if (invocation->tokens[0])
        return range_parse(invocation->tokens, &lists->tokens, &lists->token_count, err) ||
               error_prefix(err, "--tokens");
    lists->tokens = mem_alloc(1, sizeof *lists->tokens);
    *lists->tokens = invocation->def.trace[0] ? 0 : SCENARIO_TOKENS;
    lists->token_count = 1;
    return true;
}

static bool read_indices(const char *flag, const char *text, uint32_t **values, size_t *count,
                         struct error *err)
{
    return !text[0] || range_parse_indices(text, values, count, err) ||
           error_prefix(err, "%s", flag);
}

// The question's own layer and step, which stand in what is told of it, are the first.
static bool read_lists(struct invocation *invocation, struct lists *lists, struct error *err)
{
    if (!read_counts(invocation, lists, err) ||
        !read_indices("--layer", invocation->layers, &lists->layers, &lists->layer_count, err) ||
        !read_indices("--step", invocation->steps, &lists->steps, &lists->step_count, err))
        return false;
    if (!over_steps(invocation) && lists->layer_count > 1)
        return error_set(err, EXIT_INPUT,
                         "--layer %s: %zu values: expected one, or --trace FOLDER with a list",
                         invocation->layers, lists->layer_count);
    invocation->def.layer = lists->layer_count ? lists->layers[0] : 0;
    invocation->def.step = lists->step_count ? lists->steps[0] : 0;
    return true;
}

static bool ask_both(const struct invocation *invocation, const struct measured *measured,
                     const struct lists *lists, struct comparison *comparison, struct error *err)
{
    const struct compare_places places = {.layers = lists->layers,
                                          .steps = lists->steps,
                                          .layer_count = lists->layer_count,
                                          .step_count = lists->step_count};
    struct scenario_def sized = invocation->def;
    for (size_t i = 0; i < lists->token_count; i++) {
        sized.tokens = lists->tokens[i];
        if (over_steps(invocation)
                ? !compare_steps(&sized, &places, measured, comparison, err)
                : !compare_tokens(&sized, sized.tokens, measured, comparison, err))
            return false;
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

static void tell_unmatched(const struct invocation *invocation, const struct scenario *scenario)
{
    const struct moe *moe = &scenario->moe;
    const struct scenario_def *def = &invocation->def;
    const bool list = strpbrk(invocation->tokens, ",.") && !def->dispatcher[0];
    char sms[32] = "its default", tokens[32];
    snprintf(tokens, sizeof tokens, "%u", routing_most_tokens(&scenario->routing));
    if (scenario->dispatcher.sms)
        snprintf(sms, sizeof sms, "%u", scenario->dispatcher.sms);
    notice(
        "no row of %s is of this case. A row must agree in cluster (%s), dispatcher (%s), nodes x "
        "GPUs (%ux%u), experts (%u), top-k (%u), hidden (%u), tokens a GPU (%s), layout (%s), "
        "dtype (dispatch %s, combine %s), and SMs (%s) unless blank; its routing must %s",
        invocation->measured, def->cluster, list ? "by tokens" : scenario->dispatcher.name,
        scenario->cluster.nodes, scenario->cluster.gpus_per_node, moe->experts, moe->topk,
        moe->hidden, invocation->tokens[0] ? invocation->tokens : tokens, def->layout,
        dtype_names[moe->dispatch_dtype], dtype_names[moe->combine_dtype], sms,
        over_steps(invocation) ? "be trace, at a layer and step that are asked" : "not be trace");
}

// The rule that a row was measured under, as `epsim accuracy` takes it.
// A group limit that leaves all groups allowed is none: the same draws as uniform.
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
static json_t *config_json(const struct invocation *invocation, const struct scenario *scenario)
{
    json_t *config = json_config(invocation, scenario);
    if (over_steps(invocation)) {
        json_object_del(config, "layer");
        json_object_del(config, "step");
    }
    return config;
}

static void comment_belief(const struct comparison *comparison, struct table *table)
{
    extrapolation_comment(&comparison->extrapolation, table);
    if (comparison->pct > 0)
        table_comment(
            table,
            "interval: %g %% of measurements of such a case should lie between low_us and "
            "high_us; -: no measurement stands behind it",
            comparison->pct);
}

static bool output(const struct invocation *invocation, const struct scenario *scenario,
                   const struct comparison *comparison, struct error *err)
{
    struct table *table = fill_table(invocation, comparison);
    const bool steps = over_steps(invocation);
    char *command = setting_command(invocation, scenario);
    json_t *document = json_head(invocation, steps ? "epsim.steps/1" : "epsim.compare/1", command);
    json_object_set_new(document, "config", config_json(invocation, scenario));
    json_object_set_new(document, "extrapolates", extrapolation_json(&comparison->extrapolation));
    json_object_set_new(document, "rows", table_json(table));
    table_head(table, invocation, command, &scenario->cluster);
    table_comment(table, "times: %s that start %stogether, as benchmarks time a kernel",
                  steps ? "mean over ranks, or slowest of ranks," : "means over ranks",
                  steps ? "every phase " : "");
    table_comment(table, "title: EP%u on %s", cluster_ranks(&scenario->cluster),
                  scenario->cluster.name);
    comment_belief(comparison, table);
    const bool ok = output_table(invocation, table, document, err);
    table_free(table);
    free(command);
    return ok;
}

// The configuration at the head is that of the first case.
static bool output_head(const struct invocation *invocation, uint32_t first_tokens,
                        const struct comparison *comparison, struct error *err)
{
    const struct measured_row *matched = first_matched(comparison);
    struct scenario scenario;
    struct scenario_def head = invocation->def;
    head.tokens = first_tokens;
    notice_quiet(true); // what there was to say, the first case's run has said
    const bool resolved = scenario_open(&scenario, &head, err);
    notice_quiet(invocation->quiet);
    if (!resolved)
        return false;
    if (invocation->measured[0] && !matched)
        tell_unmatched(invocation, &scenario);
    if (matched)
        tell_routing(&head, &scenario, matched);
    const bool ok = output(invocation, &scenario, comparison, err);
    scenario_release(&scenario);
    return ok;
}

static bool compare(const struct invocation *invocation, const struct lists *lists, double *worst,
                    struct error *err)
{
    struct measured measured = {0};
    struct fits fits;
    struct comparison comparison = {.fits = &fits, .pct = invocation->interval_pct};
    const bool judged = invocation->measured[0] != '\0';
    if (judged && !measured_load(&measured, invocation->measured, err))
        return error_prefix(err, "--measured");
    if (!fits_load(&fits, err)) {
        measured_release(&measured);
        return false;
    }
    const bool ok = ask_both(invocation, judged ? &measured : NULL, lists, &comparison, err) &&
                    output_head(invocation, lists->tokens[0], &comparison, err);
    *worst = worst_pct(&comparison);
    comparison_release(&comparison);
    measured_release(&measured);
    fits_release(&fits);
    return ok;
}

static bool check_asked(const struct invocation *invocation, struct error *err)
{
    if (!check_tsv_kind(invocation, kind(invocation), err) || !check_together(invocation, err))
        return false;
    return !invocation_given(invocation, "tolerance_pct") || invocation->measured[0] ||
           error_set(err, EXIT_INPUT, "--tolerance-pct has a meaning only with --measured");
}

enum exit_code run_compare(struct invocation *invocation, struct error *err)
{
    struct lists lists = {0};
    double worst = 0;
    bool ok = check_no_words(invocation, err) && read_lists(invocation, &lists, err);
    if (ok && invocation->show) {
        lists_release(&lists);
        return run_show(invocation, err);
    }
    ok = ok && check_asked(invocation, err) && compare(invocation, &lists, &worst, err);
    lists_release(&lists);
    if (!ok)
        return err->code;
    return isfinite(invocation->tolerance_pct) && !(worst <= invocation->tolerance_pct)
               ? EXIT_TOLERANCE
               : EXIT_DONE;
}
