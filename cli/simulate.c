// epsim simulate and epsim estimate: one question, one engine.
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
        timing_json(document, result->schedule, result->timing, result->belief);
        if (result->imbalance)
            imbalance_json(document, result->imbalance);
        ok = output_json(invocation, document, err);
    } else {
        struct table *table = kind == TSV_IMBALANCE ? imbalance_table(result->imbalance)
                                                    : timing_table(result->schedule, result->timing,
                                                                   kind, result->belief);
        struct result report = *result;
        table_head(table, invocation, command, &setting->cluster);
        table_comment(table, "layer_us: %.6g", timing_layer_ps(result->timing) / 1e6);
        comment_title(table, result, setting);
        belief_comment(result->belief, result->schedule, table);
        report.head = table;
        ok = kind == TSV_NONE ? output_write(invocation, write_report, &report, err)
                              : output_table(invocation, table, NULL, err);
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
static bool wants_imbalance(const struct invocation *invocation, const struct setting *setting,
                            timing_engine *engine, enum tsv_kind kind)
{
    const bool cause = setting->schedule.fabric.slow.count || setting->run.skew_ps ||
                       invocation->question.trace[0];
    return invocation->imbalance || kind == TSV_IMBALANCE ||
           (kind == TSV_NONE && engine == estimate && cause);
}

// With --timeline the trace file is complete before any result is shown.
static bool answer(const struct invocation *invocation, const struct setting *setting,
                   timing_engine *engine, enum tsv_kind kind, struct error *err)
{
    struct imbalance imbalance;
    struct run run = setting->run;
    struct timing timing;
    struct belief belief;
    struct result result = {.invocation = invocation,
                            .schedule = &setting->schedule,
                            .timing = &timing,
                            .belief = &belief};
    struct outfile timeline;
    if (!open_timeline(invocation, &timeline, err))
        return false;
    run.timeline = timeline.stream;
    engine(&setting->schedule, &run, &timing);
    bool ok = !invocation->check || check(setting, &timing, err);
    if (ok && timeline.stream)
        ok = outfile_commit(&timeline, err);
    outfile_abort(&timeline);
    if (ok && wants_imbalance(invocation, setting, engine, kind)) {
        imbalance_find(&imbalance, setting, engine, &timing);
        result.imbalance = &imbalance;
    }
    ok = ok && belief_find(&belief, invocation, setting,
                           engine == simulate ? ENGINE_SIMULATE : ENGINE_ESTIMATE, err);
    if (ok) {
        ok = output_result(&result, setting, kind, err);
        belief_release(&belief);
    }
    timing_release(&timing);
    return ok;
}

static enum exit_code run_engine(struct invocation *invocation, timing_engine *engine,
                                 enum loads_kind prefer, struct error *err)
{
    struct answerable answerable;
    enum tsv_kind kind;
    if (!check_no_words(invocation, err))
        return err->code;
    if (invocation->show)
        return run_show(invocation, err);
    if (!parse_tsv(invocation, &kind, err) || !check_together(invocation, err) ||
        !read_tokens(invocation, err) || !ask(&answerable, &invocation->question, prefer, err))
        return err->code;
    const bool ok = answer(invocation, &answerable.setting, engine, kind, err);
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
