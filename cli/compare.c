// epsim compare: both engines and measured rows side by side.
#include "base/mem.h"
#include "base/range.h"
#include "cli/cli.h"
#include "model/timing.h"
#include "study/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double off_pct(double predicted, const struct measured_row *row)
{
    return row ? 100 * (predicted / row->latency_us - 1) : NAN;
}

static struct table *compare_table(void)
{
    static const char *const columns[] = {
        "tokens_per_gpu", "phase",        "dispatcher",   "simulate_us", "estimate_us",
        "measured_us",    "simulate_pct", "estimate_pct", "measured_id", NULL};
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
    if (invocation->tokens[0])
        return range_parse(invocation->tokens, tokens, count, err) || error_prefix(err, "--tokens");
    *tokens = mem_alloc(1, sizeof **tokens);
    **tokens = invocation->question.trace[0] ? 0 : QUESTION_TOKENS;
    *count = 1;
    return true;
}

// What came of the measured rows.
struct tally {
    double worst_pct;
    const struct measured_row *matched; // the first one; NULL: none
};

static bool fill(const struct invocation *invocation, const struct measured *measured,
                 const uint32_t *tokens, size_t count, struct table *table, struct tally *tally,
                 struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct compared rows[2];
        if (!compare_tokens(&invocation->question, tokens[i], measured, rows, err))
            return false;
        add_rows(table, rows);
        tally->worst_pct = fmax(tally->worst_pct, worst_pct(rows));
        for (int r = 0; r < 2 && !tally->matched; r++)
            tally->matched = rows[r].measured;
    }
    return true;
}

// ---- what a person should know of the rows -----------------------------------------------------

static void tell_unmatched(const struct invocation *invocation, const struct setting *setting)
{
    const struct moe *moe = &setting->moe;
    const struct cluster *cluster = &setting->cluster;
    const bool list = strpbrk(invocation->tokens, ",.") && !invocation->question.dispatcher[0];
    char sms[32] = "its default";
    if (setting->dispatcher.sms)
        snprintf(sms, sizeof sms, "%u", setting->dispatcher.sms);
    notice(
        "no row of %s is of this case. A row must agree in cluster (%s), dispatcher (%s), nodes x "
        "GPUs (%ux%u), experts (%u), top-k (%u), hidden (%u), tokens a GPU (%s), dtype (dispatch "
        "%s, combine %s), and SMs (%s) unless blank",
        invocation->measured, cluster->name, list ? "by tokens" : setting->dispatcher.name,
        cluster->nodes, cluster->gpus_per_node, moe->experts, moe->topk, moe->hidden,
        invocation->tokens[0] ? invocation->tokens : "the default",
        dtype_names[moe->dispatch_dtype], dtype_names[moe->combine_dtype], sms);
}

// The rule that a row was measured under, as `epsim accuracy` takes it.
// A group limit that leaves all groups allowed is none: the same draws as uniform.
static enum routing_rule effective(enum routing_rule rule, uint32_t groups, uint32_t topk_groups)
{
    const bool grouped = rule == ROUTING_DEEPEP || rule == ROUTING_V3;
    return grouped && topk_groups >= groups ? ROUTING_UNIFORM : rule;
}

// Nodes that a token reaches under the rule, all else as asked; 0 where that cannot be said.
static double nodes_per_token(const struct question *question, enum routing_rule rule)
{
    struct question other = *question;
    struct answerable answerable;
    struct error err;
    other.routing = rule;
    if (question->trace[0] || rule == ROUTING_TRACE ||
        !ask(&answerable, &other, LOADS_EXPECTED, &err))
        return 0;
    const double nodes = loads_nodes_per_token(&answerable.setting.loads);
    ask_release(&answerable);
    return nodes;
}

static void tell_routing(const struct question *head, const struct setting *setting,
                         const struct measured_row *row)
{
    const struct routing *asked = &setting->routing;
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
    notice("measured rows were taken under routing %s%s; this is --%s %s%s",
           routing_rule_names[rule], theirs, head->trace[0] ? "trace" : "routing",
           head->trace[0] ? head->trace : routing_rule_names[asked->rule], mine);
}

// ---- the output --------------------------------------------------------------------------------

static bool output(const struct invocation *invocation, const struct setting *setting,
                   struct table *table, struct error *err)
{
    char *command = setting_command(invocation, setting);
    json_t *document = json_head(invocation, "epsim.compare/1", command);
    json_object_set_new(document, "config", json_config(invocation, setting));
    json_object_set_new(document, "rows", table_json(table));
    table_head(table, invocation, command, &setting->cluster);
    table_comment(table,
                  "times: means over ranks that start together, as benchmarks time a kernel");
    table_comment(table, "title: EP%u on %s", cluster_ranks(&setting->cluster),
                  setting->cluster.name);
    const bool ok = output_table(invocation, table, document, err);
    free(command);
    return ok;
}

// The configuration at the head is that of the first token count.
static bool output_head(const struct invocation *invocation, uint32_t first_tokens,
                        struct table *table, const struct tally *tally, struct error *err)
{
    struct answerable answerable;
    struct question head = invocation->question;
    head.tokens = first_tokens;
    notice_quiet(true); // what there was to say, the first count's run has said
    const bool resolved = ask_resolve(&answerable, &head, err);
    notice_quiet(invocation->quiet);
    if (!resolved)
        return false;
    if (invocation->measured[0] && !tally->matched)
        tell_unmatched(invocation, &answerable.setting);
    if (tally->matched)
        tell_routing(&head, &answerable.setting, tally->matched);
    const bool ok = output(invocation, &answerable.setting, table, err);
    ask_release(&answerable);
    return ok;
}

static bool compare(const struct invocation *invocation, const struct measured *measured,
                    struct tally *tally, struct error *err)
{
    uint32_t *tokens;
    size_t count;
    if (!read_counts(invocation, &tokens, &count, err))
        return false;
    struct table *table = compare_table();
    const bool ok = fill(invocation, measured, tokens, count, table, tally, err) &&
                    output_head(invocation, tokens[0], table, tally, err);
    table_free(table);
    free(tokens);
    return ok;
}

enum exit_code run_compare(struct invocation *invocation, struct error *err)
{
    struct measured measured = {0};
    struct tally tally = {0};
    if (!check_no_words(invocation, err))
        return err->code;
    if (invocation->show)
        return run_show(invocation, err);
    if (!check_tsv_kind(invocation, "compare", err) || !check_together(invocation, err))
        return err->code;
    if (invocation_given(invocation, "tolerance_pct") && !invocation->measured[0])
        return error_set(err, EXIT_INPUT, "--tolerance-pct has a meaning only with --measured"),
               err->code;
    if (invocation->measured[0] && !measured_load(&measured, invocation->measured, err))
        return error_prefix(err, "--measured"), err->code;
    const bool ok = compare(invocation, invocation->measured[0] ? &measured : NULL, &tally, err);
    measured_release(&measured);
    if (!ok)
        return err->code;
    return tally.worst_pct > invocation->tolerance_pct ? EXIT_TOLERANCE : EXIT_DONE;
}
