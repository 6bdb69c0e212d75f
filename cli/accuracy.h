// The tables and JSON of what engines said of measured rows. Private to cli/.
#ifndef CLI_ACCURACY_H
#define CLI_ACCURACY_H

#include "base/table.h"
#include "study/accuracy.h"

#include <jansson.h>

// What the engines said of one file.
struct judged {
    struct accuracy of[ENGINES];
    size_t count;
    struct grouping grouping;
    bool each;           // of its columns makes groups by itself, not all together
    size_t worst;        // rows of each engine to show instead of groups; 0: groups
    double interval_pct; // of intervals that were asked for; 0: none
};

// A group a row (kind accuracy).
struct table *accuracy_groups_table(const struct judged *judged);

// A measured row a row (kind accuracy-rows); brief: the columns that a person looks for first.
struct table *accuracy_rows_table(const struct judged *judged, bool brief);

// Each engine's totals, and why rows were skipped, as comments.
void accuracy_comment_totals(struct table *table, const struct judged *judged);

// The first engine's figures put at the top of the document, any further engines' into "others".
void accuracy_json(const struct judged *judged, json_t *document);

#endif
