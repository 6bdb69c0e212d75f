// epsim accuracy: predicted against measured, by group.
#include "cli/cli.h"

#include "base/mem.h"
#include "study/accuracy.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// What the engines said of one file.
struct judged {
    struct accuracy of[ENGINE_COUNT];
    size_t count;
    struct grouping grouping;
    bool each;           // of its columns makes groups by itself, not all together
    size_t worst;        // rows of each engine to show instead of groups; 0: groups
    double interval_pct; // of intervals that were asked for; 0: none
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

static void put_support(struct table *table, const struct support *support)
{
    table_count(table, support->parameters);
    if (support->parameters)
        table_count(table, support->fitted_rows);
    else
        table_blank(table);
    table_real(table, support->effective_parameters);
    if (support_proves_nothing(support))
        table_text(table, "proves nothing");
    else
        table_blank(table);
}

static void put_group(struct table *table, const struct accuracy_group *group, bool intervals)
{
    table_count(table, group->count);
    table_real(table, group->median_abs_pct);
    table_real(table, group->p90_abs_pct);
    table_real(table, group->worst_abs_pct);
    table_real(table, group->bias_pct);
    put_support(table, &group->support);
    if (intervals)
        table_real(table, group->inside_pct);
}

static void put_groups(struct table *table, const struct accuracy *accuracy,
                       const struct judged *judged)
{
    const struct grouping *grouping = &judged->grouping;
    for (size_t g = 0; g < accuracy->group_count; g++) {
        const struct accuracy_group *group = &accuracy->groups[g];
        table_text(table, engine_names[accuracy->engine]);
        for (size_t k = 0; k < grouping->count; k++)
            put_key(table, grouping->keys[k], group->first);
        put_group(table, group, judged->interval_pct > 0);
    }
}

// The groups of every column by itself.
static void put_each(struct table *table, const struct accuracy *accuracy,
                     const struct judged *judged)
{
    const struct grouping *grouping = &judged->grouping;
    struct accuracy again = *accuracy; // shares all but its groups
    again.groups = NULL;
    for (size_t k = 0; k < grouping->count; k++) {
        const struct grouping alone = {.keys = {grouping->keys[k]}, .count = 1};
        accuracy_group(&again, &alone);
        for (size_t g = 0; g < again.group_count; g++) {
            table_text(table, engine_names[accuracy->engine]);
            table_text(table, group_key_names[grouping->keys[k]]);
            put_key(table, grouping->keys[k], again.groups[g].first);
            put_group(table, &again.groups[g], judged->interval_pct > 0);
        }
    }
    free(again.groups);
}

static struct table *groups_table(const struct judged *judged)
{
    static const char *const figures[] = {
        "n",          "median_abs_pct", "p90_abs_pct",    "worst_abs_pct", "bias_pct",
        "parameters", "fitted_rows",    "own_parameters", "verdict"};
    const size_t figure_count = sizeof figures / sizeof figures[0];
    const char *columns[4 + GROUP_KEYS + sizeof figures / sizeof figures[0]] = {"engine"};
    const struct grouping *grouping = &judged->grouping;
    size_t count = 1;
    if (judged->each) {
        columns[count++] = "by";
        columns[count++] = "value";
    }
    for (size_t k = 0; k < grouping->count && !judged->each; k++)
        columns[count++] = group_key_names[grouping->keys[k]];
    memcpy(columns + count, figures, sizeof figures);
    if (judged->interval_pct > 0)
        columns[count + figure_count] = "inside_pct";
    struct table *table = table_new("accuracy", columns);
    for (size_t i = 0; i < judged->count; i++)
        (judged->each ? put_each : put_groups)(table, &judged->of[i], judged);
    return table;
}

static void put_keys(struct table *table, const enum group_key *keys, size_t count,
                     const struct measured_row *row)
{
    for (size_t k = 0; k < count; k++)
        put_key(table, keys[k], row);
}

static void put_errors(struct table *table, const struct accuracy_row *row)
{
    table_real(table, row->measured->latency_us);
    table_real(table, row->predicted_us);
    table_real(table, row->error_pct);
    table_text(table, row->binds);
}

// One of the two is what the row has; the other is blank.
static void put_size(struct table *table, const struct measured_row *row)
{
    if (row->bytes_per_rank)
        table_blank(table);
    else
        table_count(table, row->tokens_per_gpu);
    if (row->bytes_per_rank)
        table_count(table, row->bytes_per_rank);
    else
        table_blank(table);
}

static void put_interval(struct table *table, const struct accuracy_row *row, bool asked)
{
    if (!asked)
        return;
    table_real(table, row->interval_us.low);
    table_real(table, row->interval_us.high);
}

// All of a row, for programs.
static void put_row(struct table *table, const struct accuracy_row *row, enum engine engine,
                    bool intervals)
{
    static const enum group_key keys[] = {GROUP_FAMILY, GROUP_CLUSTER, GROUP_DISPATCHER,
                                          GROUP_NODES,  GROUP_PHASE,   GROUP_STAGE,
                                          GROUP_DTYPE,  GROUP_SMS};
    const struct measured_row *measured = row->measured;
    table_text(table, engine_names[engine]);
    table_text(table, measured->id);
    put_keys(table, keys, sizeof keys / sizeof keys[0], measured);
    table_text(table, measured->stat[0] ? measured->stat : "mean");
    table_count(table, measured->nodes * measured->gpus_per_node);
    put_size(table, measured);
    put_errors(table, row);
    put_support(table, &row->support);
    put_interval(table, row, intervals);
}

// What a person looks for first.
static void put_brief_row(struct table *table, const struct accuracy_row *row, enum engine engine,
                          bool intervals)
{
    static const enum group_key keys[] = {GROUP_CLUSTER, GROUP_DISPATCHER, GROUP_NODES,
                                          GROUP_PHASE,   GROUP_STAGE,      GROUP_SMS};
    const struct measured_row *measured = row->measured;
    char bytes[FIELD_TEXT_BYTES];
    table_text(table, engine_names[engine]);
    table_text(table, measured->id);
    put_keys(table, keys, sizeof keys / sizeof keys[0], measured);
    snprintf(bytes, sizeof bytes, "bytes:%llu", (unsigned long long)measured->bytes_per_rank);
    if (measured->bytes_per_rank)
        table_text(table, bytes);
    else
        table_count(table, measured->tokens_per_gpu);
    put_errors(table, row);
    put_interval(table, row, intervals);
}

// Which rows of an engine are shown, in order: all that were predicted, or the worst of them.
// Freed by the caller.
static size_t *shown_rows(const struct judged *judged, const struct accuracy *accuracy,
                          size_t *count)
{
    if (judged->worst)
        return accuracy_worst(accuracy, judged->worst, count);
    size_t *rows = mem_alloc(accuracy->count, sizeof *rows);
    *count = 0;
    for (size_t r = 0; r < accuracy->count; r++)
        if (!accuracy->rows[r].skipped)
            rows[(*count)++] = r;
    return rows;
}

static struct table *rows_table(const struct judged *judged, bool brief)
{
    const bool intervals = judged->interval_pct > 0;
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
                                   "tokens_per_gpu",
                                   "bytes_per_rank",
                                   "measured_us",
                                   "predicted_us",
                                   "error_pct",
                                   "bottleneck",
                                   "parameters",
                                   "fitted_rows",
                                   "own_parameters",
                                   "verdict",
                                   intervals ? "low_us" : NULL,
                                   "high_us",
                                   NULL};
    const char *const brief_columns[] = {"engine",         "id",
                                         "cluster",        "dispatcher",
                                         "nodes",          "phase",
                                         "stage",          "sms",
                                         "tokens_per_gpu", "measured_us",
                                         "predicted_us",   "error_pct",
                                         "bottleneck",     intervals ? "low_us" : NULL,
                                         "high_us",        NULL};
    struct table *table = table_new("accuracy-rows", brief ? brief_columns : columns);
    for (size_t i = 0; i < judged->count; i++) {
        const struct accuracy *accuracy = &judged->of[i];
        size_t count;
        size_t *rows = shown_rows(judged, accuracy, &count);
        for (size_t r = 0; r < count; r++)
            (brief ? put_brief_row : put_row)(table, &accuracy->rows[rows[r]], accuracy->engine,
                                              intervals);
        free(rows);
    }
    return table;
}

static void comment_totals(struct table *table, const struct judged *judged)
{
    for (size_t i = 0; i < judged->count; i++) {
        const struct accuracy *accuracy = &judged->of[i];
        table_comment(table, "%s: %zu rows, %zu skipped, median %.3g%%, 90th percentile %.3g%%",
                      engine_names[accuracy->engine], accuracy->count, accuracy->skipped,
                      accuracy->median_abs_pct, accuracy->p90_abs_pct);
    }
    for (size_t i = 0; judged->interval_pct > 0 && i < judged->count; i++)
        if (!isnan(judged->of[i].inside_pct))
            table_comment(table, "%s: %.3g%% of rows are inside their interval of %g %%",
                          engine_names[judged->of[i].engine], judged->of[i].inside_pct,
                          judged->interval_pct);
    for (size_t r = 0; r < judged->of[0].count; r++)
        if (judged->of[0].rows[r].skipped)
            table_comment(table, "skipped: %s: %s", judged->of[0].rows[r].measured->id,
                          judged->of[0].rows[r].why);
}

static json_t *row_json(const struct accuracy_row *row)
{
    json_t *item = json_object();
    json_object_set_new(item, "id", json_string(row->measured->id));
    json_object_set_new(item, "measured_us", table_json_real(row->measured->latency_us));
    json_object_set_new(item, "predicted_us", table_json_real(row->predicted_us));
    json_object_set_new(item, "error_pct", table_json_real(row->error_pct));
    json_object_set_new(item, "bottleneck", json_string(row->binds));
    json_object_set_new(item, "parameters", json_integer((json_int_t)row->support.parameters));
    if (!isnan(row->interval_us.low)) {
        json_object_set_new(item, "low_us", table_json_real(row->interval_us.low));
        json_object_set_new(item, "high_us", table_json_real(row->interval_us.high));
    }
    return item;
}

static json_t *rows_json(const struct judged *judged, const struct accuracy *accuracy)
{
    json_t *items = json_array();
    size_t count;
    size_t *rows = shown_rows(judged, accuracy, &count);
    for (size_t r = 0; r < count; r++)
        json_array_append_new(items, row_json(&accuracy->rows[rows[r]]));
    free(rows);
    return items;
}

static json_t *skipped_json(const struct accuracy *accuracy)
{
    json_t *items = json_array();
    for (size_t i = 0; i < accuracy->count; i++) {
        const struct accuracy_row *row = &accuracy->rows[i];
        if (!row->skipped)
            continue;
        json_t *item = json_object();
        json_object_set_new(item, "id", json_string(row->measured->id));
        json_object_set_new(item, "why", json_string(row->why));
        json_array_append_new(items, item);
    }
    return items;
}

static json_t *groups_json(const struct judged *judged, const struct accuracy *accuracy)
{
    const struct judged one = {.of = {*accuracy},
                               .count = 1,
                               .grouping = judged->grouping,
                               .each = judged->each,
                               .interval_pct = judged->interval_pct};
    struct table *table = groups_table(&one);
    json_t *rows = table_json(table);
    table_free(table);
    return rows;
}

static void put_engine(json_t *document, const struct judged *judged,
                       const struct accuracy *accuracy)
{
    json_object_set_new(document, "engine", json_string(engine_names[accuracy->engine]));
    json_object_set_new(document, "rows", rows_json(judged, accuracy));
    json_object_set_new(document, "groups", groups_json(judged, accuracy));
    json_object_set_new(document, "skipped", skipped_json(accuracy));
    json_object_set_new(document, "median_abs_pct", table_json_real(accuracy->median_abs_pct));
    json_object_set_new(document, "p90_abs_pct", table_json_real(accuracy->p90_abs_pct));
    if (judged->interval_pct > 0)
        json_object_set_new(document, "inside_pct", table_json_real(accuracy->inside_pct));
}

// The first engine's figures stand at the top; any further engines' in "others".
static json_t *accuracy_json(const struct invocation *invocation, const struct judged *judged,
                             const char *command)
{
    assert(judged->count > 0);
    json_t *document = json_head(invocation, "epsim.accuracy/1", command);
    put_engine(document, judged, &judged->of[0]);
    if (judged->count > 1) {
        json_t *others = json_array();
        for (size_t i = 1; i < judged->count; i++) {
            json_t *other = json_object();
            put_engine(other, judged, &judged->of[i]);
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
    const bool rows = judged->worst || !strcmp(invocation->tsv, "accuracy-rows");
    struct table *table = rows ? rows_table(judged, !invocation->tsv[0]) : groups_table(judged);
    table_head(table, invocation, command, NULL);
    comment_totals(table, judged);
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

// At most one of what is shown.
static bool check_one_view(const struct invocation *invocation, struct error *err)
{
    static const char *const views[] = {"by", "each", "worst"};
    const char *asked = NULL;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (!invocation_given(invocation, views[i]))
            continue;
        if (asked)
            return error_set(err, EXIT_INPUT, "--%s and --%s: expected one of them", asked,
                             views[i]);
        asked = views[i];
    }
    return !asked || strcmp(asked, "worst") != 0 || strcmp(invocation->tsv, "accuracy") != 0 ||
           error_set(err, EXIT_INPUT, "--worst with --tsv accuracy: expected --tsv accuracy-rows");
}

static bool parse_view(const struct invocation *invocation, struct judged *judged,
                       struct error *err)
{
    if (!check_one_view(invocation, err))
        return false;
    judged->worst = invocation->worst;
    judged->each = invocation_given(invocation, "each");
    if (judged->each)
        return grouping_parse(&judged->grouping, invocation->each, err) ||
               error_prefix(err, "--each");
    if (invocation_given(invocation, "by"))
        return grouping_parse(&judged->grouping, invocation->by, err) || error_prefix(err, "--by");
    return true;
}

// A file of which nothing could be predicted is no answer.
static bool check_any(const struct judged *judged, const struct measured *measured,
                      struct error *err)
{
    for (size_t i = 0; i < judged->count; i++)
        if (judged->of[i].skipped < judged->of[i].count)
            return true;
    return error_set(err, EXIT_INPUT,
                     "%s: none of %zu rows can be predicted: expected one at least; first: %s",
                     measured->path, measured->count, judged->of[0].rows[0].why);
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
    judged->interval_pct = invocation->interval_pct;
    if (judged->interval_pct > 0 && !fits_load(&fits, err))
        return false;
    const struct accuracy_asked asked = {.fits = &fits, .pct = invocation->interval_pct};
    for (; judged->count < list->count; judged->count++) {
        struct accuracy *accuracy = &judged->of[judged->count];
        accuracy_judge(accuracy, measured, list->engines[judged->count], &terms,
                       judged->interval_pct > 0 ? &asked : NULL);
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
    if (!check_files(invocation, err) ||
        !check_tsv_kind(invocation, "accuracy or accuracy-rows", err) ||
        !parse_view(invocation, &judged, err) ||
        !parse_engines(invocation, list.engines, &list.count, err) ||
        !load_measured(invocation, &measured, err))
        return err->code;
    const bool quiet = notice_quiet(true); // what one row goes beyond, its error says
    const bool done = judge(invocation, &measured, &list, &judged, err);
    notice_quiet(quiet);
    if (!done) {
        measured_release(&measured);
        return err->code;
    }
    const bool ok = check_any(&judged, &measured, err) && output(invocation, &judged, err);
    const bool off = outside(&judged, invocation->tolerance_pct, invocation->median_pct);
    judged_release(&judged);
    measured_release(&measured);
    return !ok ? err->code : off ? EXIT_TOLERANCE : EXIT_DONE;
}
