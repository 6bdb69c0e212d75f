// What imbalance costs, as a table, JSON and sentences. Private to cli/.
#ifndef CLI_IMBALANCE_H
#define CLI_IMBALANCE_H

#include "base/table.h"
#include "study/imbalance.h"

// Rows: the arrival, the phases that are there, and "layer", their sum.
struct table *imbalance_table(const struct imbalance *imbalance);

// Puts {"cost_us", "even_us", "share", "causes", "rows", "worst", "sentences"} into the document.
void imbalance_json(json_t *document, const struct imbalance *imbalance);

// What a person reads: sentences and the table.
void imbalance_report(FILE *out, const struct imbalance *imbalance);

#endif
