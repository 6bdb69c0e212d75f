// epsim simulate and epsim estimate: one question, one engine.
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "model/check.h"
#include "model/estimate.h"
#include "sim/simulate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

// What a report is written from.
struct result {
    const struct invocation *invocation;
    const struct schedule *schedule;
    const struct timing *timing;
    const struct belief *belief;
    const struct table *head;
};

static void write_report(void *context, FILE *out)
{
    const struct result *result = context;
    timing_report(out, result->schedule, result->timing, result->belief, result->head);
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
        ok = output_json(invocation, document, err);
    } else {
        struct table *table = timing_table(result->schedule, result->timing, kind, result->belief);
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

// The folder of a path and the name in it.
static bool same_place(const char *a, const char *b)
{
    char *folders[2];
    const char *paths[2] = {a, b}, *names[2];
    struct stat status[2];
    bool same = true;
    for (int i = 0; i < 2; i++) {
        const char *slash = strrchr(paths[i], '/');
        names[i] = slash ? slash + 1 : paths[i];
        folders[i] =
            slash ? mem_format("%.*s/", (int)(slash - paths[i]), paths[i]) : mem_copy_text(".");
        same = same && stat(folders[i], &status[i]) == 0;
    }
    same = same && status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino &&
           !strcmp(names[0], names[1]);
    free(folders[0]);
    free(folders[1]);
    return same;
}

// One file by two names would lose what was written first. Devices take both.
static bool same_file(const char *a, const char *b)
{
    struct stat first, second;
    if (stat(a, &first) == 0 && stat(b, &second) == 0)
        return S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
               first.st_ino == second.st_ino;
    return same_place(a, b);
}

static bool open_timeline(const struct invocation *invocation, struct outfile *file,
                          struct error *err)
{
    *file = (struct outfile){0};
    if (!invocation->timeline[0])
        return true;
    if (!strcmp(invocation->timeline, "-"))
        return error_set(err, EXIT_INPUT, "--timeline -: expected a file");
    if (same_file(invocation->timeline, invocation->output))
        return error_set(err, EXIT_INPUT, "--timeline %s: the same file as --output; expected two",
                         invocation->timeline);
    return outfile_open(file, invocation->timeline, err) || error_prefix(err, "--timeline");
}

static bool check(const struct setting *setting, const struct timing *timing, struct error *err)
{
    if (!timing_check(&setting->schedule, timing, err))
        return false;
    notice("check: conservation and bounds hold");
    return true;
}

// With --timeline the trace file is complete before any result is shown.
static bool answer(const struct invocation *invocation, const struct setting *setting,
                   engine_run *engine, enum tsv_kind kind, struct error *err)
{
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
    ok = ok && belief_find(&belief, invocation, setting,
                           engine == simulate ? ENGINE_SIMULATE : ENGINE_ESTIMATE, err);
    if (ok) {
        ok = output_result(&result, setting, kind, err);
        belief_release(&belief);
    }
    timing_release(&timing);
    return ok;
}

static enum exit_code run_engine(struct invocation *invocation, engine_run *engine,
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
