// The tables, sentences and JSON of a diagnosis.
#include "cli/diagnose.h"

#include "base/mem.h"
#include "cli/output.h"
#include "cli/skipped.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 3 // classes of explanations that a person is told of

// Of a distance in logarithms.
static double pct(double distance)
{
    return 100 * (exp(distance) - 1);
}

static const char *text_of(const struct explanation *explanation, size_t cause)
{
    return explanation->texts[cause] ? explanation->texts[cause] : explanation->causes[cause]->text;
}

static const char *key_of(const struct explanation *explanation, size_t cause)
{
    return cause < explanation->count ? explanation->causes[cause]->key : NULL;
}

// "A", or "A, and B". Freed by the caller.
static char *whole_text(const struct explanation *explanation)
{
    return explanation->count < 2
               ? mem_copy_text(text_of(explanation, 0))
               : mem_format("%s, and %s", text_of(explanation, 0), text_of(explanation, 1));
}

// ---- tables ------------------------------------------------------------------------------------

static double slower_of(const struct diagnosis_row *row)
{
    return row->judged->measured->latency_us / row->judged->predicted_us;
}

static struct cell predicted_cell(const struct diagnosis_row *row, double us)
{
    return row->judged->skipped ? cell_blank() : cell_real(us);
}

// An id that is a place in a file goes without the file's folder.
static const char *short_id(const struct measured_row *row)
{
    const char *slash = strrchr(row->file, '/');
    return slash && !strncmp(row->id, row->file, strlen(row->file))
               ? row->id + (slash + 1 - row->file)
               : row->id;
}

static void put_case(struct table *table, const struct measured_row *row, bool brief)
{
    const bool tokens = !row->bytes_per_rank;
    TABLE_ADD(table, cell_text(brief ? short_id(row) : row->id));
    if (!brief)
        TABLE_ADD(table, cell_text(row->dispatcher));
    TABLE_ADD(table, cell_count(row->nodes), cell_text(phase_names[row->phase]));
    if (!brief)
        TABLE_ADD(table,
                  cell_text(row->other_dtype[0] ? row->other_dtype : dtype_names[row->dtype]),
                  row->sms ? cell_count(row->sms) : cell_blank(),
                  tokens ? cell_count(row->tokens_per_gpu) : cell_blank(),
                  tokens ? cell_blank() : cell_count(row->bytes_per_rank));
}

// Of a time, as users of DeepEP count.
static void put_rates(struct table *table, const struct accuracy_row *row, double us)
{
    const struct deepep_unit none = {0}, *unit = row->has_unit ? &row->unit : &none;
    TABLE_ADD(table, cell_real(deepep_unit_inter_GBps(unit, us)),
              cell_real(deepep_unit_intra_GBps(unit, us)));
}

static void put_diagnosis_row(struct table *table, const struct diagnosis_row *row, bool brief)
{
    put_case(table, row->judged->measured, brief);
    TABLE_ADD(table, cell_real(row->judged->measured->latency_us),
              predicted_cell(row, row->judged->predicted_us),
              predicted_cell(row, row->interval_us.low), predicted_cell(row, row->interval_us.high),
              predicted_cell(row, slower_of(row)), cell_text(row_verdict_names[row->verdict]));
    if (brief)
        return;
    TABLE_ADD(table, cell_real(row->spread > 1 ? row->spread : NAN));
    put_rates(table, row->judged, row->judged->measured->latency_us);
    put_rates(table, row->judged, row->judged->predicted_us);
}

struct table *diagnosis_summary_table(const struct diagnosis *diagnosis)
{
    struct table *table = table_new("diagnose-summary", "diagnosis rows");
    for (int v = 0; row_verdict_names[v]; v++)
        table_columns(table, row_verdict_names[v]);
    TABLE_ADD(table, cell_text(diagnosis_verdict_names[diagnosis->verdict]),
              cell_count(diagnosis->count));
    for (int v = 0; row_verdict_names[v]; v++)
        TABLE_ADD(table, cell_count(diagnosis->of[v]));
    return table;
}

struct table *diagnosis_rows_table(const struct diagnosis *diagnosis, bool brief)
{
    struct table *table = table_new("diagnose", "id");
    table_columns(table, brief ? "nodes phase"
                               : "dispatcher nodes phase dtype sms tokens_per_gpu bytes_per_rank");
    table_columns(table, "measured_us predicted_us low_us high_us slower verdict");
    table_columns(table, brief ? ""
                               : "rank_spread measured_rdma_GBps measured_nvl_GBps "
                                 "predicted_rdma_GBps predicted_nvl_GBps");
    for (size_t i = 0; i < diagnosis->count; i++)
        put_diagnosis_row(table, &diagnosis->rows[i], brief);
    return table;
}

struct table *diagnosis_rates_table(const struct diagnosis *diagnosis)
{
    struct table *table = table_new("diagnose-rates", "id measured predicted");
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct accuracy_row *row = diagnosis->rows[i].judged;
        char measured[DEEPEP_UNIT_BYTES], predicted[DEEPEP_UNIT_BYTES];
        if (row->has_unit)
            TABLE_ADD(table, cell_text(short_id(row->measured)),
                      cell_text(deepep_unit_text(&row->unit, row->measured->latency_us, measured)),
                      cell_text(deepep_unit_text(&row->unit, row->predicted_us, predicted)));
    }
    return table;
}

struct table *diagnosis_causes_table(const struct diagnosis *diagnosis)
{
    struct table *table = table_new("diagnose-causes", "class cause and_cause explains error_pct "
                                                       "near_pct changes text check and_check");
    size_t classes = 0;
    for (size_t e = 0; e < diagnosis->explanation_count; e++) {
        const struct explanation *explanation = &diagnosis->explanations[e];
        char *text = whole_text(explanation);
        classes += explanation->same_as == e;
        TABLE_ADD(table, cell_count(classes), cell_text(key_of(explanation, 0)),
                  cell_text(key_of(explanation, 1)),
                  cell_text(explanation->explains ? "yes" : "no"),
                  cell_real(pct(explanation->error)), cell_real(100 * explanation->near_share),
                  cell_text(explanation->changes), cell_text(text),
                  cell_text(explanation->causes[0]->check),
                  cell_text(explanation->count > 1 ? explanation->causes[1]->check : NULL));
        free(text);
    }
    return table;
}

void diagnosis_comment(const struct diagnosis *diagnosis, double interval_pct, struct table *table)
{
    struct skipped skipped = {0};
    table_comment(table,
                  "interval: of %g %% of measurements, and 10 %% for a machine that the presets "
                  "have not seen",
                  interval_pct);
    for (size_t i = 0; i < diagnosis->count; i++)
        if (diagnosis->rows[i].verdict == ROW_SKIPPED)
            skipped_add(&skipped, diagnosis->rows[i].judged->measured->id,
                        diagnosis->rows[i].judged->why);
    skipped_tell(&skipped, table);
}

// ---- sentences ---------------------------------------------------------------------------------

// Of so many of them.
static const char *rows_are(size_t count)
{
    return count == 1 ? "rows is" : "rows are";
}

static void say_slow(const struct diagnosis *diagnosis, size_t judged, FILE *out)
{
    double least = INFINITY, most = 0;
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_row *row = &diagnosis->rows[i];
        if (row->verdict != ROW_SLOW)
            continue;
        least = fmin(least, slower_of(row));
        most = fmax(most, slower_of(row));
    }
    fprintf(out, "%zu of %zu %s slower than predicted, %.2f", diagnosis->of[ROW_SLOW], judged,
            rows_are(diagnosis->of[ROW_SLOW]), least);
    if (most > 1.005 * least)
        fprintf(out, " to %.2f", most);
    fputs(" times.\n", out);
}

static void say_noise(const struct diagnosis *diagnosis, size_t judged, FILE *out)
{
    double most = 0;
    for (size_t i = 0; i < diagnosis->count; i++)
        if (diagnosis->rows[i].verdict == ROW_NOISE)
            most = fmax(most, diagnosis->rows[i].spread);
    fprintf(out,
            "%zu of %zu %s noise: ranks or repeats differ by up to %.3g times, above %g. No cause "
            "is sought for\nthem: measure again, with more warm-up and nothing else on the GPUs.\n",
            diagnosis->of[ROW_NOISE], judged, rows_are(diagnosis->of[ROW_NOISE]), most,
            DIAGNOSE_NOISE);
}

// Words in lines of at most LINE_COLUMNS behind a mark, those after the first behind blanks.
#define LINE_COLUMNS 100
static void say_wrapped(FILE *out, const char *mark, const char *text)
{
    const int indent = (int)strlen(mark);
    size_t column = (size_t)fprintf(out, "%s", mark);
    while (*text) {
        const size_t word = strcspn(text, " ");
        if (column > (size_t)indent && column + 1 + word > LINE_COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            column = (size_t)indent;
        } else if (column > (size_t)indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)word, text);
        column += word;
        text += word + (text[word] == ' ');
    }
    fputc('\n', out);
}

// "Rank 5", "Ranks 5 and 9", or "Node 1". Freed by the caller.
static char *slow_ranks_text(const struct slow_ranks *slow)
{
    const uint32_t step = slow->whole_nodes ? slow->gpus_per_node : 1;
    const size_t parts = slow->count / step;
    char *text = mem_format("%s%s", slow->whole_nodes ? "Node" : "Rank", parts > 1 ? "s" : "");
    for (size_t i = 0; i < parts; i++) {
        const char *before = !i ? " " : i + 1 < parts ? ", " : " and ";
        char *longer = mem_format("%s%s%u", text, before, slow->ranks[i * step] / step);
        free(text);
        text = longer;
    }
    return text;
}

static void say_slow_ranks(const struct slow_ranks *slow, FILE *out)
{
    char *parts = slow_ranks_text(slow);
    char *line = mem_format("%s took up to %.2f times the median of the other ranks in %zu of %zu "
                            "rows, while the others agree within %.2g %%: %s slow, not noise.",
                            parts, slow->times, slow->rows, slow->of, 100 * (slow->spread - 1),
                            slow->whole_nodes  ? "what these GPUs share (NICs, host, switch) is"
                            : slow->count == 1 ? "this GPU or its NIC is"
                                               : "these GPUs or their NICs are");
    say_wrapped(out, "", line);
    free(line);
    free(parts);
}

static void say_rank_checks(FILE *out)
{
    fputs("    what to check next\n", out);
    for (size_t c = 0; c < cause_count; c++) {
        char *line = mem_format("%s: %s", causes[c].text, causes[c].check);
        if (causes[c].part == PART_RANK)
            say_wrapped(out, "    - ", line);
        free(line);
    }
}

static void say_rows(const struct diagnosis *diagnosis, FILE *out)
{
    const size_t judged = diagnosis->count - diagnosis->of[ROW_SKIPPED];
    const bool slow = diagnosis->of[ROW_SLOW] > 0;
    fputs("\n", out);
    if (slow)
        say_slow(diagnosis, judged, out);
    if (diagnosis->of[ROW_NOISE])
        say_noise(diagnosis, judged, out);
    if (diagnosis->verdict == DIAGNOSIS_HEALTHY)
        fprintf(out, "Healthy: %s.\n",
                slow ? "as many as chance leaves outside their intervals"
                     : "no row is slower than predicted");
    if (diagnosis->slow_ranks.count)
        say_slow_ranks(&diagnosis->slow_ranks, out);
    if (diagnosis->of[ROW_FAST])
        fprintf(out,
                "%zu of %zu %s faster than predicted: is the cluster described as slower than it "
                "is (--cluster)?\n",
                diagnosis->of[ROW_FAST], judged, rows_are(diagnosis->of[ROW_FAST]));
}

// What to look at, each cause once.
static void say_checks(const struct diagnosis *diagnosis, size_t first, size_t end, FILE *out)
{
    for (size_t c = 0; c < cause_count; c++)
        for (size_t e = first; e < end; e++) {
            const struct explanation *explanation = &diagnosis->explanations[e];
            if (explanation->causes[0] != &causes[c] &&
                !(explanation->count > 1 && explanation->causes[1] == &causes[c]))
                continue;
            char *line = mem_format("%s: %s", causes[c].text, causes[c].check);
            say_wrapped(out, "    - ", line);
            free(line);
            break;
        }
}

// "1. A (changes)", or "   or A (changes)" of those that predict the same.
static void say_explanation(const struct explanation *explanation, size_t number, bool first,
                            FILE *out)
{
    char *text = whole_text(explanation);
    const bool changes = explanation->changes && *explanation->changes;
    char *mark = first ? mem_format("%2zu. ", number) : mem_copy_text(" or ");
    char *line = mem_format("%s%s%s%s", text, changes ? " (" : "",
                            changes ? explanation->changes : "", changes ? ")" : "");
    say_wrapped(out, mark, line);
    free(line);
    free(mark);
    free(text);
}

// The explanations [first, end), which predict the same.
static void say_class(const struct diagnosis *diagnosis, size_t number, size_t first, size_t end,
                      FILE *out)
{
    const struct explanation *all = diagnosis->explanations;
    for (size_t e = first; e < end; e++)
        say_explanation(&all[e], number, e == first, out);
    fprintf(
        out,
        "    %soff by %.2g %% on average, with %.0f %% of the slow rows inside their intervals\n",
        end - first > 1 ? "they predict the same: " : "", pct(all[first].error),
        100 * all[first].near_share);
    if (!all[first].explains)
        return;
    fputs("    what to check next\n", out);
    say_checks(diagnosis, first, end, out);
}

static void say_explanations(const struct diagnosis *diagnosis, FILE *out)
{
    const size_t count = diagnosis->explanation_count;
    const bool explained = diagnosis->verdict == DIAGNOSIS_EXPLAINED;
    const size_t shown = explained ? SHOWN : 1;
    size_t number = 0;
    for (size_t first = 0, end; first < count && number < shown; first = end) {
        for (end = first + 1; end < count && diagnosis->explanations[end].same_as == first;)
            end++;
        if (explained && !diagnosis->explanations[first].explains)
            break;
        say_class(diagnosis, ++number, first, end, out);
    }
}

static void say_symptoms(const struct diagnosis *diagnosis, FILE *out)
{
    const bool explained = diagnosis->verdict == DIAGNOSIS_EXPLAINED;
    for (size_t s = 0; s < SYMPTOMS; s++) {
        const struct cause *cause = &diagnosis->symptoms[s].cause;
        if (!(cause->size > 0))
            continue;
        char *line = mem_format("%s at about %.2g of their rate would do%s (off by %.2g %%): a "
                                "symptom, no cause of that size is known. Look at %s.",
                                cause->text, cause->size, explained ? " as well" : "",
                                pct(diagnosis->symptoms[s].error), cause->check);
        say_wrapped(out, "", line);
        free(line);
    }
}

void diagnosis_say(const struct diagnosis *diagnosis, FILE *out)
{
    say_rows(diagnosis, out);
    if (diagnosis->verdict == DIAGNOSIS_EXPLAINED) {
        const bool pair = diagnosis->explanations[0].count > 1;
        fprintf(out, "%s the likeliest first:\n",
                pair ? "No single cause explains it. Pairs of causes that do,"
                     : "What explains it,");
        say_explanations(diagnosis, out);
    } else if (diagnosis->verdict == DIAGNOSIS_RANKS) {
        say_rank_checks(out);
    } else if (diagnosis->verdict == DIAGNOSIS_UNEXPLAINED && diagnosis->slower > 1 &&
               diagnosis->slower < DIAGNOSE_SLIGHT) {
        fprintf(out, "By less than %.0f %% on average: no cause is sought for that.\n",
                100 * (DIAGNOSE_SLIGHT - 1));
    } else if (diagnosis->verdict == DIAGNOSIS_UNEXPLAINED && !diagnosis->tried) {
        fputs("No cause is known for compute kernels by themselves.\n", out);
    } else if (diagnosis->verdict == DIAGNOSIS_UNEXPLAINED) {
        const bool near = diagnosis->nearest_is_near;
        fprintf(out, "None of these explains it: %zu causes and pairs were tried%s\n",
                diagnosis->tried, near ? ". The nearest:" : ", and none comes near.");
        if (near)
            say_explanations(diagnosis, out);
    }
    say_symptoms(diagnosis, out);
}

// ---- JSON --------------------------------------------------------------------------------------

static json_t *cause_json(const struct explanation *explanation, size_t cause)
{
    json_t *item = json_object();
    json_object_set_new(item, "key", json_string(explanation->causes[cause]->key));
    json_object_set_new(item, "text", json_string(text_of(explanation, cause)));
    json_object_set_new(item, "check", json_string(explanation->causes[cause]->check));
    json_object_set_new(item, "source", json_string(explanation->causes[cause]->source));
    return item;
}

static json_t *explanation_json(const struct diagnosis *diagnosis, size_t index, size_t number)
{
    const struct explanation *explanation = &diagnosis->explanations[index];
    json_t *item = json_object(), *parts = json_array(), *predicted = json_array();
    for (size_t c = 0; c < explanation->count; c++)
        json_array_append_new(parts, cause_json(explanation, c));
    for (size_t i = 0; i < diagnosis->count; i++)
        json_array_append_new(predicted, diagnosis->rows[i].judged->skipped
                                             ? json_null()
                                             : table_json_real(explanation->predicted_us[i]));
    json_object_set_new(item, "class", json_integer((json_int_t)number));
    json_object_set_new(item, "causes", parts);
    json_object_set_new(item, "rank",
                        explanation->rank == CAUSE_NO_RANK
                            ? json_null()
                            : json_integer((json_int_t)explanation->rank));
    json_object_set_new(item, "explains", json_boolean(explanation->explains));
    json_object_set_new(item, "error_pct", table_json_real(pct(explanation->error)));
    json_object_set_new(item, "near_pct", table_json_real(100 * explanation->near_share));
    json_object_set_new(item, "changes",
                        explanation->changes ? json_string(explanation->changes) : json_null());
    json_object_set_new(item, "predicted_us", predicted);
    return item;
}

static json_t *symptoms_json(const struct diagnosis *diagnosis)
{
    json_t *items = json_array();
    for (size_t s = 0; s < SYMPTOMS; s++) {
        const struct cause *cause = &diagnosis->symptoms[s].cause;
        if (!(cause->size > 0))
            continue;
        json_t *item = json_object();
        json_object_set_new(item, "key", json_string(cause->key));
        json_object_set_new(item, "share", table_json_real(cause->size));
        json_object_set_new(item, "error_pct", table_json_real(pct(diagnosis->symptoms[s].error)));
        json_array_append_new(items, item);
    }
    return items;
}

void diagnosis_json(const struct diagnosis *diagnosis, json_t *document)
{
    json_t *items = json_array();
    size_t classes = 0;
    for (size_t e = 0; e < diagnosis->explanation_count; e++) {
        classes += diagnosis->explanations[e].same_as == e;
        json_array_append_new(items, explanation_json(diagnosis, e, classes));
    }
    json_t *ranks = json_array();
    for (size_t r = 0; r < diagnosis->slow_ranks.count; r++)
        json_array_append_new(ranks, json_integer(diagnosis->slow_ranks.ranks[r]));
    json_object_set_new(document, "slow_ranks", ranks);
    json_object_set_new(document, "symptoms", symptoms_json(diagnosis));
    json_object_set_new(document, "engine", json_string(diagnosis->accuracy.engine->name));
    json_object_set_new(document, "verdict",
                        json_string(diagnosis_verdict_names[diagnosis->verdict]));
    json_object_set_new(document, "tried", json_integer((json_int_t)diagnosis->tried));
    json_object_set_new(document, "rows", json_rows(diagnosis_rows_table(diagnosis, false)));
    json_object_set_new(document, "explanations", items);
}
