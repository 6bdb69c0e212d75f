// Timings as tables and JSON: written once for every engine. Private to cli/.
#ifndef CLI_PRINT_H
#define CLI_PRINT_H

#include "cli/confidence.h"
#include "study/imbalance.h"

// Kinds of tables.
enum tsv_kind {
    TSV_NONE,
    TSV_PHASES,
    TSV_RANKS,
    TSV_PORTS,
    TSV_LINKS,
    TSV_TRAFFIC,
    TSV_PATH,
    TSV_IMBALANCE // not of print.c
};
extern const char *const tsv_kind_names[];

// Of phases, the columns low_us and high_us stand beside latency_us where an interval is asked.
struct table *timing_table(const struct schedule *schedule, const struct timing *timing,
                           enum tsv_kind kind, const struct confidence *confidence);

// {"engine", "phases", "layer_us", "links", "copies", "events", "path"} put into `document`.
void timing_json(json_t *document, const struct schedule *schedule, const struct timing *timing,
                 const struct confidence *confidence);

// What a person reads: phases, what binds, links, critical path.
void timing_report(FILE *out, const struct schedule *schedule, const struct timing *timing,
                   const struct confidence *confidence, const struct table *head);

// ---- what imbalance costs -----------------------------------------------------------------------

// Rows: the arrival, the phases that are there, and "layer", their sum.
struct table *imbalance_table(const struct imbalance *imbalance);

// Puts {"cost_us", "even_us", "share", "causes", "rows", "worst", "sentences"} into the document.
void imbalance_json(json_t *document, const struct imbalance *imbalance);

// What a person reads: sentences and the table.
void imbalance_report(FILE *out, const struct imbalance *imbalance);

#endif
