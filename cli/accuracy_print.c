// The tables and JSON of accuracy.
#include "cli/accuracy.h"

#include "base/mem.h"
#include "cli/output.h"
#include "cli/skipped.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// A cell of a key column: counts are numbers, a blank one stays blank.
static void put_key(struct table *table, enum group_key key, const struct measured_row *row)
{
    char text[FIELD_TEXT_BYTES];
    group_key_text(key, row, text);
    if (text[0] && (key == GROUP_NODES || key == GROUP_SMS))
        TABLE_ADD(table, cell_count(key == GROUP_NODES ? row->nodes : row->sms));
    else
        TABLE_ADD(table, cell_text(text[0] ? text : NULL));
}

#define SUPPORT_COLUMNS "parameters fitted_rows own_parameters verdict"

static void put_support(struct table *table, const struct support *support)
{
    TABLE_ADD(table, cell_count(support->parameters),
              support->parameters ? cell_count(support->fitted_rows) : cell_blank(),
              cell_real(support->effective_parameters),
              cell_text(support_overfitted(support) ? "overfitted" : NULL));
}

static void put_group(struct table *table, const struct accuracy_group *group, bool intervals)
{
    TABLE_ADD(table, cell_count(group->count), cell_real(group->median_abs_pct),
              cell_real(group->p90_abs_pct), cell_real(group->worst_abs_pct),
              cell_real(group->bias_pct));
    put_support(table, &group->support);
    if (intervals)
        TABLE_ADD(table, cell_real(group->inside_pct));
}

static void put_groups(struct table *table, const struct accuracy *accuracy,
                       const struct judged *judged)
{
    const struct grouping *grouping = &judged->grouping;
    for (size_t g = 0; g < accuracy->group_count; g++) {
        const struct accuracy_group *group = &accuracy->groups[g];
        TABLE_ADD(table, cell_text(accuracy->engine->name));
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
            TABLE_ADD(table, cell_text(accuracy->engine->name),
                      cell_text(group_key_names[grouping->keys[k]]));
            put_key(table, grouping->keys[k], again.groups[g].first);
            put_group(table, &again.groups[g], judged->interval_pct > 0);
        }
    }
    free(again.groups);
}

struct table *accuracy_groups_table(const struct judged *judged)
{
    const struct grouping *grouping = &judged->grouping;
    struct table *table = table_new("accuracy", judged->each ? "engine by value" : "engine");
    for (size_t k = 0; k < grouping->count && !judged->each; k++)
        table_columns(table, group_key_names[grouping->keys[k]]);
    table_columns(table, "n median_abs_pct p90_abs_pct worst_abs_pct bias_pct " SUPPORT_COLUMNS);
    table_columns(table, judged->interval_pct > 0 ? "inside_pct" : "");
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

#define ERROR_COLUMNS "measured_us predicted_us error_pct bottleneck"

static void put_errors(struct table *table, const struct accuracy_row *row)
{
    TABLE_ADD(table, cell_real(row->measured->latency_us), cell_real(row->predicted_us),
              cell_real(row->error_pct), cell_text(row->bottleneck));
}

// All of a row, for programs.
static void put_row(struct table *table, const struct accuracy_row *row,
                    const struct engine *engine)
{
    static const enum group_key keys[] = {GROUP_FAMILY, GROUP_CLUSTER, GROUP_DISPATCHER,
                                          GROUP_NODES,  GROUP_PHASE,   GROUP_STAGE,
                                          GROUP_DTYPE,  GROUP_SMS};
    const struct measured_row *measured = row->measured;
    TABLE_ADD(table, cell_text(engine->name), cell_text(measured->id));
    put_keys(table, keys, sizeof keys / sizeof keys[0], measured);
    TABLE_ADD(table, cell_text(measured->stat[0] ? measured->stat : "mean"),
              cell_count(measured->nodes * measured->gpus_per_node),
              measured->bytes_per_rank ? cell_blank() : cell_count(measured->tokens_per_gpu),
              measured->bytes_per_rank ? cell_count(measured->bytes_per_rank) : cell_blank());
    put_errors(table, row);
    put_support(table, &row->support);
}

// What a person looks for first.
static void put_brief_row(struct table *table, const struct accuracy_row *row,
                          const struct engine *engine)
{
    static const enum group_key keys[] = {GROUP_CLUSTER, GROUP_DISPATCHER, GROUP_NODES,
                                          GROUP_PHASE,   GROUP_STAGE,      GROUP_SMS};
    const struct measured_row *measured = row->measured;
    char bytes[FIELD_TEXT_BYTES];
    TABLE_ADD(table, cell_text(engine->name), cell_text(measured->id));
    put_keys(table, keys, sizeof keys / sizeof keys[0], measured);
    snprintf(bytes, sizeof bytes, "bytes:%llu", (unsigned long long)measured->bytes_per_rank);
    TABLE_ADD(table,
              measured->bytes_per_rank ? cell_text(bytes) : cell_count(measured->tokens_per_gpu));
    put_errors(table, row);
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

struct table *accuracy_rows_table(const struct judged *judged, bool brief)
{
    const bool intervals = judged->interval_pct > 0;
    struct table *table = table_new("accuracy-rows", "engine id");
    table_columns(table, brief ? "cluster dispatcher nodes phase stage sms tokens_per_gpu"
                               : "family cluster dispatcher nodes phase stage dtype sms stat ep "
                                 "tokens_per_gpu bytes_per_rank");
    table_columns(table, brief ? ERROR_COLUMNS : ERROR_COLUMNS " " SUPPORT_COLUMNS);
    table_columns(table, intervals ? "low_us high_us" : "");
    for (size_t i = 0; i < judged->count; i++) {
        const struct accuracy *accuracy = &judged->of[i];
        size_t count;
        size_t *rows = shown_rows(judged, accuracy, &count);
        for (size_t r = 0; r < count; r++) {
            const struct accuracy_row *row = &accuracy->rows[rows[r]];
            (brief ? put_brief_row : put_row)(table, row, accuracy->engine);
            if (intervals)
                TABLE_ADD(table, cell_real(row->interval_us.low), cell_real(row->interval_us.high));
        }
        free(rows);
    }
    return table;
}

void accuracy_comment_totals(struct table *table, const struct judged *judged)
{
    struct skipped skipped = {0};
    for (size_t i = 0; i < judged->count; i++) {
        const struct accuracy *accuracy = &judged->of[i];
        table_comment(table, "%s: %zu rows, %zu skipped, median %.3g%%, 90th percentile %.3g%%",
                      accuracy->engine->name, accuracy->count, accuracy->skipped,
                      accuracy->median_abs_pct, accuracy->p90_abs_pct);
    }
    for (size_t i = 0; judged->interval_pct > 0 && i < judged->count; i++)
        if (!isnan(judged->of[i].inside_pct))
            table_comment(table, "%s: %.3g%% of rows are inside their interval of %g %%",
                          judged->of[i].engine->name, judged->of[i].inside_pct,
                          judged->interval_pct);
    for (size_t r = 0; r < judged->of[0].count; r++)
        if (judged->of[0].rows[r].skipped)
            skipped_add(&skipped, judged->of[0].rows[r].measured->id, judged->of[0].rows[r].why);
    skipped_tell(&skipped, table);
}

static json_t *row_json(const struct accuracy_row *row)
{
    json_t *item = json_object();
    json_object_set_new(item, "id", json_string(row->measured->id));
    json_object_set_new(item, "measured_us", table_json_real(row->measured->latency_us));
    json_object_set_new(item, "predicted_us", table_json_real(row->predicted_us));
    json_object_set_new(item, "error_pct", table_json_real(row->error_pct));
    json_object_set_new(item, "bottleneck", json_string(row->bottleneck));
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
    return json_rows(accuracy_groups_table(&one));
}

static void put_engine(json_t *document, const struct judged *judged,
                       const struct accuracy *accuracy)
{
    json_object_set_new(document, "engine", json_string(accuracy->engine->name));
    json_object_set_new(document, "rows", rows_json(judged, accuracy));
    json_object_set_new(document, "groups", groups_json(judged, accuracy));
    json_object_set_new(document, "skipped", skipped_json(accuracy));
    json_object_set_new(document, "median_abs_pct", table_json_real(accuracy->median_abs_pct));
    json_object_set_new(document, "p90_abs_pct", table_json_real(accuracy->p90_abs_pct));
    if (judged->interval_pct > 0)
        json_object_set_new(document, "inside_pct", table_json_real(accuracy->inside_pct));
}

// The first engine's figures stand at the top; any further engines' in "others".
void accuracy_json(const struct judged *judged, json_t *document)
{
    assert(judged->count > 0);
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
}
