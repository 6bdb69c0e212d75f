// epsim accuracy: predicted against measured, by family.
#include "cli/cli.h"
#include "study/accuracy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// What the engines said of one file.
struct judged {
    struct accuracy of[ENGINE_COUNT];
    size_t count;
};

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

static struct table *families_table(const struct judged *judged)
{
    static const char *const columns[] = {
        "engine", "family",         "cluster",     "dispatcher",    "nodes",    "phase",
        "n",      "median_abs_pct", "p90_abs_pct", "worst_abs_pct", "bias_pct", NULL};
    struct table *table = table_new("accuracy", columns);
    for (size_t i = 0; i < judged->count; i++)
        for (size_t f = 0; f < judged->of[i].family_count; f++) {
            const struct accuracy_family *family = &judged->of[i].families[f];
            table_text(table, engine_names[judged->of[i].engine]);
            table_text(table, family->first->family);
            table_text(table, family->first->cluster);
            table_text(table, family->first->dispatcher);
            table_count(table, family->first->nodes);
            table_text(table, phase_names[family->first->phase]);
            table_count(table, family->count);
            table_real(table, family->median_abs_pct);
            table_real(table, family->p90_abs_pct);
            table_real(table, family->worst_abs_pct);
            table_real(table, family->bias_pct);
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
        }
        json_array_append_new(rows, item);
    }
    return rows;
}

static json_t *families_json(const struct accuracy *accuracy)
{
    const struct judged one = {.of = {*accuracy}, .count = 1};
    struct table *table = families_table(&one);
    json_t *rows = table_json(table);
    table_free(table);
    return rows;
}

static void put_engine(json_t *document, const struct accuracy *accuracy)
{
    json_object_set_new(document, "engine", json_string(engine_names[accuracy->engine]));
    json_object_set_new(document, "rows", rows_json(accuracy, false));
    json_object_set_new(document, "families", families_json(accuracy));
    json_object_set_new(document, "skipped", rows_json(accuracy, true));
    json_object_set_new(document, "median_abs_pct", table_json_real(accuracy->median_abs_pct));
    json_object_set_new(document, "p90_abs_pct", table_json_real(accuracy->p90_abs_pct));
}

// The first engine's figures stand at the top; any further engines' in "others".
static json_t *accuracy_json(const struct invocation *invocation, const struct judged *judged,
                             const char *command)
{
    json_t *document = json_head(invocation, "epsim.accuracy/1", command);
    put_engine(document, &judged->of[0]);
    if (judged->count > 1) {
        json_t *others = json_array();
        for (size_t i = 1; i < judged->count; i++) {
            json_t *other = json_object();
            put_engine(other, &judged->of[i]);
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
    struct table *table = families_table(judged);
    table_head(table, invocation, command, NULL);
    comment_totals(table, judged);
    const bool ok =
        output_table(invocation, table, accuracy_json(invocation, judged, command), err);
    table_free(table);
    free(command);
    return ok;
}

static bool outside(const struct judged *judged, double tolerance_pct)
{
    for (size_t i = 0; i < judged->count; i++)
        for (size_t r = 0; r < judged->of[i].count; r++)
            if (!judged->of[i].rows[r].skipped &&
                fabs(judged->of[i].rows[r].error_pct) > tolerance_pct)
                return true;
    return false;
}

enum exit_code run_accuracy(struct invocation *invocation, struct error *err)
{
    enum engine engines[ENGINE_COUNT];
    struct measured measured;
    struct judged judged = {0};
    size_t count;
    if (invocation->word_count != 1)
        return error_set(err, EXIT_INPUT, "accuracy: expected one measurements CSV"), err->code;
    if (!check_tsv_kind(invocation, "accuracy", err) ||
        !parse_engines(invocation, engines, &count, err) ||
        !load_measured(invocation, &measured, err))
        return err->code;
    const struct row_terms terms = row_terms(invocation);
    for (; judged.count < count; judged.count++)
        accuracy_judge(&judged.of[judged.count], &measured, engines[judged.count], &terms);
    const bool ok = output(invocation, &judged, err);
    const bool off = outside(&judged, invocation->tolerance_pct);
    judged_release(&judged);
    measured_release(&measured);
    return !ok ? err->code : off ? EXIT_TOLERANCE : EXIT_DONE;
}
