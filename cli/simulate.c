// epsim simulate and epsim estimate: one scenario, one engine.
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/imbalance.h"
#include "cli/print.h"
#include "model/engine/check.h"
#include "model/engine/estimate.h"
#include "sim/simulate.h"

#include <stdlib.h>
#include <string.h>

const char *const tsv_kind_names[] = {"",        "phases", "ranks",     "ports", "links",
                                      "traffic", "path",   "imbalance", NULL};

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
                         "--tsv: '%s': expected phases, ranks, ports, links, traffic, path "
                         "or imbalance",
                         error_quote(invocation->tsv, quoted));
    if (invocation->json)
        return error_set(err, EXIT_INPUT, "--tsv and --json: expected one of them");
    return !invocation->imbalance || *kind == TSV_IMBALANCE ||
           error_set(err, EXIT_INPUT, "--imbalance: expected --tsv imbalance, not --tsv %s",
                     invocation->tsv);
}

// What a report is written from.
struct result {
    const struct invocation *invocation;
    const struct schedule *schedule;
    const struct timing *timing;
    const struct imbalance *imbalance; // NULL: not asked
    const struct belief *belief;
    const struct table *head;
};

static void write_report(void *context, FILE *out)
{
    const struct result *result = context;
    timing_report(out, result->schedule, result->timing, result->belief, result->head);
    if (result->imbalance)
        imbalance_report(out, result->imbalance);
}

static void comment_title(struct table *table, const struct result *result,
                          const struct scenario *scenario)
{
    const struct scenario_def *def = &result->invocation->def;
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

static bool output_result(const struct result *result, const struct scenario *scenario,
                          enum tsv_kind kind, struct error *err)
{
    const struct invocation *invocation = result->invocation;
    char *command = setting_command(invocation, scenario);
    bool ok;
    if (invocation->json) {
        json_t *document = json_head(invocation, "epsim.timing/1", command);
        json_object_set_new(document, "config", json_config(invocation, scenario));
        timing_json(document, result->schedule, result->timing, result->belief);
        if (result->imbalance)
            imbalance_json(document, result->imbalance);
        ok = output_json(invocation, document, err);
    } else {
        struct table *table = kind == TSV_IMBALANCE ? imbalance_table(result->imbalance)
                                                    : timing_table(result->schedule, result->timing,
                                                                   kind, result->belief);
        struct result report = *result;
        table_head(table, invocation, command, &scenario->cluster);
        table_comment(table, "layer_us: %.6g", timing_layer_ps(result->timing) / 1e6);
        comment_title(table, result, scenario);
        belief_comment(result->belief, result->schedule, table);
        report.head = table;
        ok = kind == TSV_NONE ? output_write(invocation, write_report, &report, err)
                              : output_table(invocation, table, NULL, err);
        table_free(table);
    }
    free(command);
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
static bool wants_imbalance(const struct invocation *invocation, const struct scenario *scenario,
                            const struct engine *engine, enum tsv_kind kind)
{
    const bool cause = scenario->schedule->fabric.slow.count || scenario->run.skew_ps ||
                       invocation->def.trace[0];
    return invocation->imbalance || kind == TSV_IMBALANCE ||
           (kind == TSV_NONE && !engine->has_queues && cause);
}

// With --timeline the trace file is complete before any result is shown.
static bool run_timed(const struct invocation *invocation, struct scenario *scenario,
                      const struct engine *engine, struct timing *timing, struct error *err)
{
    struct outfile timeline;
    if (!open_timeline(invocation, &timeline, err))
        return false;
    scenario->run.timeline = timeline.stream;
    bool ok = scenario_run(scenario, engine, timing, err);
    scenario->run.timeline = NULL;
    if (ok && ((invocation->check && !check(scenario, timing, err)) ||
               (timeline.stream && !outfile_commit(&timeline, err)))) {
        timing_release(timing);
        ok = false;
    }
    outfile_abort(&timeline);
    return ok;
}

static bool print(const struct invocation *invocation, const struct scenario *scenario,
                  const struct engine *engine, const struct timing *timing, enum tsv_kind kind,
                  struct error *err)
{
    struct imbalance imbalance;
    struct belief belief;
    struct result result = {.invocation = invocation,
                            .schedule = scenario->schedule,
                            .timing = timing,
                            .belief = &belief};
    if (wants_imbalance(invocation, scenario, engine, kind)) {
        imbalance_find(&imbalance, scenario, engine, timing);
        result.imbalance = &imbalance;
    }
    if (!belief_find(&belief, invocation, scenario, engine, err))
        return false;
    const bool ok = output_result(&result, scenario, kind, err);
    belief_release(&belief);
    return ok;
}

static enum exit_code run_engine(struct invocation *invocation, const struct engine *engine,
                                 struct error *err)
{
    struct scenario scenario;
    struct timing timing;
    enum tsv_kind kind;
    if (!check_no_words(invocation, err))
        return err->code;
    if (invocation->show)
        return run_show(invocation, err);
    if (!parse_tsv(invocation, &kind, err) || !check_together(invocation, err) ||
        !read_tokens(invocation, err) || !scenario_open(&scenario, &invocation->def, err))
        return err->code;
    bool ok = run_timed(invocation, &scenario, engine, &timing, err);
    if (ok) {
        ok = print(invocation, &scenario, engine, &timing, kind, err);
        timing_release(&timing);
    }
    scenario_release(&scenario);
    return ok ? EXIT_DONE : err->code;
}

enum exit_code run_simulate(struct invocation *invocation, struct error *err)
{
    return run_engine(invocation, &engine_simulate, err);
}

enum exit_code run_estimate(struct invocation *invocation, struct error *err)
{
    return run_engine(invocation, &engine_estimate, err);
}
