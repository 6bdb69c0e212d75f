// The tables, sentences and JSON of a diagnosis. Private to cli/.
#ifndef CLI_DIAGNOSE_H
#define CLI_DIAGNOSE_H

#include "base/table.h"
#include "study/diagnose.h"

#include <jansson.h>
#include <stdio.h>

// The verdict, and rows by theirs.
struct table *diagnosis_summary_table(const struct diagnosis *diagnosis);

// A measured row a row (kind diagnose); brief: the columns that a person looks for first.
struct table *diagnosis_rows_table(const struct diagnosis *diagnosis, bool brief);

// Rows of dispatchers whose users count as DeepEP's tests do: their GB/s, measured and predicted.
struct table *diagnosis_rates_table(const struct diagnosis *diagnosis);

// An explanation a row (kind diagnose-causes), the likeliest first.
struct table *diagnosis_causes_table(const struct diagnosis *diagnosis);

// What intervals are of, and why rows were skipped, as comments.
void diagnosis_comment(const struct diagnosis *diagnosis, double interval_pct, struct table *table);

// What is slow, what explains it and what to look at next, in sentences.
void diagnosis_say(const struct diagnosis *diagnosis, FILE *out);

void diagnosis_json(const struct diagnosis *diagnosis, json_t *document);

#endif
