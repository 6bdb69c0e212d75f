// epsim accuracy: predicted against measured, by group.
#include "cli/cli.h"
#include "study/accuracy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// What the engines said of one file.
struct judged {
    struct accuracy of[ENGINE_COUNT];
    size_t count;
    struct grouping grouping;
    bool asked; // for intervals
};

// A cell of a key column: counts are numbers, a blank one stays blank.
static void put_key(struct table *table, enum group_key key, const struct measured_row *row)
{
    char text[FIELD_TEXT_BYTES];
    group_key_text(key, row, text);
    if (!text[0])
        table_blank(table);
    else if (key == GROUP_NODES || key == GROUP_SMS)
        table_count(table, key == GROUP_NODES ? row->nodes : row->sms);
    else
        table_text(table, text);
}

static void judged_release(struct judged *judged)
{
    for (size_t i = 0; i < judged->count; i++)
        accuracy_release(&judged->of[i]);
}

static bool parse_engines(const struct invocation *invocation, enum engine engines[ENGINE_COUNT],
                          size_t *count, struct error *err)
{
    char list[FIELD_TEXT_BYTES], quoted[ERROR_QUOTE_BYTES], *save = NULL;
    strcpy(list, invocation->engine);
    *count = 0;
    for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        int e = 0;
        while (e < ENGINE_COUNT && strcmp(word, engine_names[e]))
            e++;
        if (e == ENGINE_COUNT)
            return error_set(err, EXIT_INPUT,
                             "--engine: '%s': expected simulate, estimate, naive, or a list",
                             error_quote(word, quoted));
        for (size_t i = 0; i < *count; i++)
            if (engines[i] == (enum engine)e)
                return error_set(err, EXIT_INPUT, "--engine: '%s' stands twice", word);
        engines[(*count)++] = (enum engine)e;
    }
    return *count > 0 || error_set(err, EXIT_INPUT,
                                   "--engine: empty: expected simulate, estimate, "
                                   "naive, or a list");
}

static struct table *groups_table(const struct judged *judged)
{
    static const char *const plain[] = {
        "n", "median_abs_pct", "p90_abs_pct", "worst_abs_pct", "bias_pct", NULL};
    static const char *const asked[] = {
        "n", "median_abs_pct", "p90_abs_pct", "worst_abs_pct", "bias_pct", "inside_pct"};
    const char *const(*figures)[6] = judged->asked ? &asked : &plain;
    const char *columns[2 + GROUP_KEYS + 6] = {"engine"};
    const struct grouping *grouping = &judged->grouping;
    for (size_t k = 0; k < grouping->count; k++)
        columns[1 + k] = group_key_names[grouping->keys[k]];
    memcpy(columns + 1 + grouping->count, *figures, sizeof *figures);
    struct table *table = table_new("accuracy", columns);
    for (size_t i = 0; i < judged->count; i++)
        for (size_t g = 0; g < judged->of[i].group_count; g++) {
            const struct accuracy_group *group = &judged->of[i].groups[g];
            table_text(table, engine_names[judged->of[i].engine]);
            for (size_t k = 0; k < grouping->count; k++)
                put_key(table, grouping->keys[k], group->first);
            table_count(table, group->count);
            table_real(table, group->median_abs_pct);
            table_real(table, group->p90_abs_pct);
            table_real(table, group->worst_abs_pct);
            table_real(table, group->bias_pct);
            if (judged->asked)
                table_real(table, group->inside_pct);
        }
    return table;
}

static void put_row(struct table *table, const struct accuracy_row *row, enum engine engine,
                    bool asked)
{
    static const enum group_key keys[] = {GROUP_FAMILY, GROUP_CLUSTER, GROUP_DISPATCHER,
                                          GROUP_NODES,  GROUP_PHASE,   GROUP_STAGE,
                                          GROUP_DTYPE,  GROUP_SMS};
    const struct measured_row *measured = row->measured;
    table_text(table, engine_names[engine]);
    table_text(table, measured->id);
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        put_key(table, keys[k], measured);
    table_text(table, measured->stat[0] ? measured->stat : "mean");
    table_count(table, measured->nodes * measured->gpus_per_node);
    table_count(table,
                measured->bytes_per_rank ? measured->bytes_per_rank : measured->tokens_per_gpu);
    table_real(table, measured->latency_us);
    table_real(table, row->predicted_us);
    table_real(table, row->error_pct);
    if (asked) {
        table_real(table, row->interval_us.low);
        table_real(table, row->interval_us.high);
    }
}

static struct table *rows_table(const struct judged *judged)
{
    const char *const columns[] = {"engine",
                                   "id",
                                   "family",
                                   "cluster",
                                   "dispatcher",
                                   "nodes",
                                   "phase",
                                   "stage",
                                   "dtype",
                                   "sms",
                                   "stat",
                                   "ep",
                                   "tokens_or_bytes",
                                   "measured_us",
                                   "predicted_us",
                                   "error_pct",
                                   judged->asked ? "low_us" : NULL,
                                   "high_us",
                                   NULL};
    struct table *table = table_new("accuracy-rows", columns);
    for (size_t i = 0; i < judged->count; i++)
        for (size_t r = 0; r < judged->of[i].count; r++)
            if (!judged->of[i].rows[r].skipped)
                put_row(table, &judged->of[i].rows[r], judged->of[i].engine, judged->asked);
    return table;
}

static void comment_totals(struct table *table, const struct judged *judged, double pct)
{
    for (size_t i = 0; i < judged->count; i++) {
        const struct accuracy *accuracy = &judged->of[i];
        table_comment(table, "%s: %zu rows, %zu skipped, median %.3g%%, 90th percentile %.3g%%",
                      engine_names[accuracy->engine], accuracy->count, accuracy->skipped,
                      accuracy->median_abs_pct, accuracy->p90_abs_pct);
    }
    for (size_t i = 0; judged->asked && i < judged->count; i++)
        if (!isnan(judged->of[i].inside_pct))
            table_comment(table, "%s: %.3g%% of rows are inside their interval of %g %%",
                          engine_names[judged->of[i].engine], judged->of[i].inside_pct, pct);
    for (size_t r = 0; r < judged->of[0].count; r++)
        if (judged->of[0].rows[r].skipped)
            table_comment(table, "skipped: %s: %s", judged->of[0].rows[r].measured->id,
                          judged->of[0].rows[r].why);
}

static json_t *rows_json(const struct accuracy *accuracy, bool skipped)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < accuracy->count; i++) {
        const struct accuracy_row *row = &accuracy->rows[i];
        if (row->skipped != skipped)
            continue;
        json_t *item = json_object();
        json_object_set_new(item, "id", json_string(row->measured->id));
        if (skipped) {
            json_object_set_new(item, "why", json_string(row->why));
        } else {
            json_object_set_new(item, "measured_us", table_json_real(row->measured->latency_us));
            json_object_set_new(item, "predicted_us", table_json_real(row->predicted_us));
            json_object_set_new(item, "error_pct", table_json_real(row->error_pct));
            if (!isnan(row->interval_us.low)) {
                json_object_set_new(item, "low_us", table_json_real(row->interval_us.low));
                json_object_set_new(item, "high_us", table_json_real(row->interval_us.high));
            }
        }
        json_array_append_new(rows, item);
    }
    return rows;
}

static json_t *groups_json(const struct accuracy *accuracy, const struct judged *judged)
{
    const struct judged one = {
        .of = {*accuracy}, .count = 1, .grouping = judged->grouping, .asked = judged->asked};
    struct table *table = groups_table(&one);
    json_t *rows = table_json(table);
    table_free(table);
    return rows;
}

static void put_engine(json_t *document, const struct accuracy *accuracy,
                       const struct judged *judged)
{
    json_object_set_new(document, "engine", json_string(engine_names[accuracy->engine]));
    json_object_set_new(document, "rows", rows_json(accuracy, false));
    json_object_set_new(document, "groups", groups_json(accuracy, judged));
    json_object_set_new(document, "skipped", rows_json(accuracy, true));
    json_object_set_new(document, "median_abs_pct", table_json_real(accuracy->median_abs_pct));
    json_object_set_new(document, "p90_abs_pct", table_json_real(accuracy->p90_abs_pct));
    if (judged->asked)
        json_object_set_new(document, "inside_pct", table_json_real(accuracy->inside_pct));
}

// The first engine's figures stand at the top; any further engines' in "others".
static json_t *accuracy_json(const struct invocation *invocation, const struct judged *judged,
                             const char *command)
{
    json_t *document = json_head(invocation, "epsim.accuracy/1", command);
    put_engine(document, &judged->of[0], judged);
    if (judged->count > 1) {
        json_t *others = json_array();
        for (size_t i = 1; i < judged->count; i++) {
            json_t *other = json_object();
            put_engine(other, &judged->of[i], judged);
            json_array_append_new(others, other);
        }
        json_object_set_new(document, "others", others);
    }
    return document;
}

static bool output(const struct invocation *invocation, const struct judged *judged,
                   struct error *err)
{
    char *command = command_line(invocation);
    const bool rows = !strcmp(invocation->tsv, "accuracy-rows");
    struct table *table = rows ? rows_table(judged) : groups_table(judged);
    table_head(table, invocation, command, NULL);
    comment_totals(table, judged, invocation->interval_pct);
    const bool ok =
        output_table(invocation, table, accuracy_json(invocation, judged, command), err);
    table_free(table);
    free(command);
    return ok;
}

static bool outside(const struct judged *judged, double tolerance_pct, double median_pct)
{
    for (size_t i = 0; i < judged->count; i++) // NaN, of no rows, is within nothing that was asked
        if ((isfinite(median_pct) && !(judged->of[i].median_abs_pct <= median_pct)) ||
            (isfinite(tolerance_pct) && isnan(judged->of[i].median_abs_pct)))
            return true;
    for (size_t i = 0; i < judged->count; i++)
        for (size_t r = 0; r < judged->of[i].count; r++)
            if (!judged->of[i].rows[r].skipped &&
                fabs(judged->of[i].rows[r].error_pct) > tolerance_pct)
                return true;
    return false;
}

static bool parse_by(const struct invocation *invocation, struct grouping *grouping,
                     struct error *err)
{
    if (!invocation_given(invocation, "by"))
        return true;
    return grouping_parse(grouping, invocation->by, err) || error_prefix(err, "--by");
}

// What --engine lists.
struct engine_list {
    enum engine engines[ENGINE_COUNT];
    size_t count;
};

static bool judge(const struct invocation *invocation, const struct measured *measured,
                  const struct engine_list *list, struct judged *judged, struct error *err)
{
    const struct row_terms terms = row_terms(invocation);
    struct fits fits = {0};
    judged->asked = invocation->interval_pct > 0;
    if (judged->asked && !fits_load(&fits, err))
        return false;
    const struct accuracy_asked asked = {.fits = &fits, .pct = invocation->interval_pct};
    for (; judged->count < list->count; judged->count++) {
        struct accuracy *accuracy = &judged->of[judged->count];
        accuracy_judge(accuracy, measured, list->engines[judged->count], &terms,
                       judged->asked ? &asked : NULL);
        accuracy_group(accuracy, &judged->grouping);
    }
    fits_release(&fits);
    return true;
}

enum exit_code run_accuracy(struct invocation *invocation, struct error *err)
{
    struct engine_list list;
    struct measured measured;
    struct judged judged = {.grouping = grouping_default()};
    if (invocation->word_count != 1)
        return error_set(err, EXIT_INPUT, "accuracy: expected one measurements CSV"), err->code;
    if (!check_tsv_kind(invocation, "accuracy or accuracy-rows", err) ||
        !parse_by(invocation, &judged.grouping, err) ||
        !parse_engines(invocation, list.engines, &list.count, err) ||
        !load_measured(invocation, &measured, err))
        return err->code;
    if (!judge(invocation, &measured, &list, &judged, err)) {
        measured_release(&measured);
        return err->code;
    }
    const bool ok = output(invocation, &judged, err);
    const bool off = outside(&judged, invocation->tolerance_pct, invocation->median_pct);
    judged_release(&judged);
    measured_release(&measured);
    return !ok ? err->code : off ? EXIT_TOLERANCE : EXIT_DONE;
}
