#include "cli/print.h"

#include "cli/output.h"

#include <math.h>
#include <stdlib.h>

#define US(ps) ((double)(ps) / 1e6)

struct table *imbalance_table(const struct imbalance *imbalance)
{
    struct table *table =
        table_new("imbalance", "phase even_us routing_us slow_us arrival_us asked_us wait_mean_us");
    for (uint32_t row = 0; row < IMBALANCE_ROWS; row++) {
        const double balanced_ps = imbalance->balanced_ps[row];
        if (!imbalance->present[row])
            continue;
        TABLE_ADD(table, cell_text(imbalance_row_name(row)), cell_real(US(balanced_ps)));
        for (int cause = 0; cause < CAUSES; cause++)
            TABLE_ADD(table, cell_real(US(imbalance->cause_ps[cause][row])));
        TABLE_ADD(table, cell_real(US(balanced_ps + imbalance_row_ps(imbalance, row))),
                  cell_real(US(imbalance->wait_mean_ps[row])));
    }
    TABLE_ADD(table, cell_text("layer"), cell_real(US(imbalance_balanced_ps(imbalance))));
    for (int cause = 0; cause < CAUSES; cause++)
        TABLE_ADD(table, cell_real(US(imbalance_cause_ps(imbalance, (enum imbalance_cause)cause))));
    TABLE_ADD(table, cell_real(US(imbalance_balanced_ps(imbalance) + imbalance_cost_ps(imbalance))),
              cell_blank());
    return table;
}

static json_t *worst_json(const struct straggler *worst)
{
    json_t *json = json_object();
    json_object_set_new(json, "phase", json_string(imbalance_row_name(worst->row)));
    json_object_set_new(json, "name", worst->name[0] ? json_string(worst->name) : json_null());
    json_object_set_new(json, "share_of_rate", table_json_real(worst->share));
    json_object_set_new(json, "load_over_mean",
                        table_json_real(worst->load > 0 ? worst->load : NAN));
    return json;
}

void imbalance_json(json_t *document, const struct imbalance *imbalance)
{
    const double balanced = imbalance_balanced_ps(imbalance), cost = imbalance_cost_ps(imbalance);
    json_t *json = json_object(), *causes = json_object();
    char *sentences = imbalance_sentences(imbalance);
    static const char *const keys[CAUSES] = {"routing_us", "slow_us", "arrival_us"};
    for (int cause = 0; cause < CAUSES; cause++)
        json_object_set_new(
            causes, keys[cause],
            table_json_real(US(imbalance_cause_ps(imbalance, (enum imbalance_cause)cause))));
    json_object_set_new(json, "cost_us", table_json_real(US(cost)));
    json_object_set_new(json, "even_us", table_json_real(US(balanced)));
    json_object_set_new(json, "share", table_json_real(cost / (balanced + cost)));
    json_object_set_new(json, "causes", causes);
    json_object_set_new(json, "rows", json_rows(imbalance_table(imbalance)));
    json_object_set_new(json, "worst", worst_json(&imbalance->worst));
    json_object_set_new(json, "sentences", json_string(sentences));
    json_object_set_new(document, "imbalance", json);
    free(sentences);
}

void imbalance_report(FILE *out, const struct imbalance *imbalance)
{
    struct table *table = imbalance_table(imbalance);
    char *sentences = imbalance_sentences(imbalance);
    fputs("\nimbalance (each cause on top of those to its left)\n", out);
    for (const char *at = sentences; *at; at++) {
        if (at == sentences || at[-1] == '\n')
            fputs("  ", out);
        fputc(*at, out);
    }
    table_print(table, out);
    table_free(table);
    free(sentences);
}
