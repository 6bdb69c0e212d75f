// epsim compare: both engines and measured rows side by side.
#include "cli/cli.h"
#include "study/compare.h"
#include "study/range.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double off_pct(double predicted, const struct measured_row *row)
{
    return row ? 100 * (predicted / row->latency_us - 1) : NAN;
}

static struct table *compare_table(void)
{
    static const char *const columns[] = {"tokens_per_gpu", "phase",        "dispatcher",
                                          "simulate_us",    "estimate_us",  "measured_us",
                                          "simulate_pct",   "estimate_pct", "measured_id",
                                          NULL};
    return table_new("compare", columns);
}

static void add_rows(struct table *table, const struct compared rows[2])
{
    for (int i = 0; i < 2; i++) {
        const struct compared *row = &rows[i];
        table_count(table, row->tokens);
        table_text(table, phase_names[row->phase]);
        table_text(table, row->dispatcher);
        table_real(table, row->simulate_us);
        table_real(table, row->estimate_us);
        table_real(table, row->measured ? row->measured->latency_us : NAN);
        table_real(table, off_pct(row->simulate_us, row->measured));
        table_real(table, off_pct(row->estimate_us, row->measured));
        if (row->measured)
            table_text(table, row->measured->id);
        else
            table_blank(table);
    }
}

static double worst_pct(const struct compared rows[2])
{
    double worst = 0;
    for (int i = 0; i < 2; i++)
        if (rows[i].measured)
            worst = fmax(worst, fmax(fabs(off_pct(rows[i].simulate_us, rows[i].measured)),
                                     fabs(off_pct(rows[i].estimate_us, rows[i].measured))));
    return worst;
}

// A trace and a list of token counts cut the trace differently at each; one count is the default.
static bool read_counts(const struct invocation *invocation, uint32_t **tokens, size_t *count,
                        struct error *err)
{
    const bool given = invocation_given(invocation, "tokens");
    if (!range_parse(given ? invocation->tokens : "4096", tokens, count, err))
        return error_prefix(err, "--tokens");
    if (!given && invocation->question.trace[0])
        (*tokens)[0] = 0;
    return true;
}

static bool fill(const struct invocation *invocation, const struct measured *measured,
                 const uint32_t *tokens, size_t count, struct table *table, double *worst,
                 struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        struct compared rows[2];
        ok = compare_tokens(&invocation->question, tokens[i], measured, rows, err);
        if (!ok)
            break;
        add_rows(table, rows);
        *worst = fmax(*worst, worst_pct(rows));
    }
    return ok;
}

// The configuration at the head is that of the first token count.
static bool output(const struct invocation *invocation, uint32_t first_tokens, struct table *table,
                   struct error *err)
{
    struct answerable answerable;
    struct question head = invocation->question;
    head.tokens = first_tokens;
    if (!ask(&answerable, &head, LOADS_COUNTED, err))
        return false;
    char *command = setting_command(invocation, &answerable.setting);
    json_t *document = json_head(invocation, "epsim.compare/1", command);
    json_object_set_new(document, "config", json_config(invocation, &answerable.setting));
    json_object_set_new(document, "rows", table_json(table));
    table_head(table, invocation, command, &answerable.setting.cluster);
    table_comment(table, "times: means over ranks that start together, as benchmarks time a kernel");
    table_comment(table, "title: EP%u on %s", cluster_ranks(&answerable.setting.cluster),
                  answerable.setting.cluster.name);
    const bool ok = output_table(invocation, table, document, err);
    free(command);
    ask_release(&answerable);
    return ok;
}

static bool compare(const struct invocation *invocation, const struct measured *measured,
                    double *worst, struct error *err)
{
    uint32_t *tokens;
    size_t count;
    if (!read_counts(invocation, &tokens, &count, err))
        return false;
    struct table *table = compare_table();
    const bool ok = fill(invocation, measured, tokens, count, table, worst, err) &&
                    output(invocation, tokens[0], table, err);
    table_free(table);
    free(tokens);
    return ok;
}

enum exit_code run_compare(struct invocation *invocation, struct error *err)
{
    struct measured measured = {0};
    double worst = 0;
    if (invocation->word_count)
        return error_set(err, EXIT_INPUT, "'%s': compare takes only flags", invocation->words[0]),
               err->code;
    if (invocation->show)
        return show_presets(invocation, err) ? EXIT_DONE : err->code;
    if (!check_tsv_kind(invocation, "compare", err))
        return err->code;
    if (invocation->question.routing == ROUTING_TRACE && !invocation->question.trace[0])
        return error_set(err, EXIT_INPUT, "--routing trace: give --trace FOLDER"), err->code;
    if (invocation->measured[0] && !measured_load(&measured, invocation->measured, err))
        return error_prefix(err, "--measured"), err->code;
    const bool ok = compare(invocation, invocation->measured[0] ? &measured : NULL, &worst, err);
    measured_release(&measured);
    if (!ok)
        return err->code;
    return worst > invocation->tolerance_pct ? EXIT_TOLERANCE : EXIT_DONE;
}
