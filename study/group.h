// Groups of measured rows: rows that agree in some of their columns, so that errors can be told by
// family, phase, size, or whatever else is asked.
#ifndef STUDY_GROUP_H
#define STUDY_GROUP_H

#include "model/measured_row.h"

#include <stdbool.h>
#include <stddef.h>

enum group_key {
    GROUP_FAMILY,
    GROUP_CLUSTER,
    GROUP_DISPATCHER,
    GROUP_NODES,
    GROUP_PHASE,
    GROUP_STAGE,  // blank: the whole phase
    GROUP_TOKENS, // a band: 1-7, 8-63, 64-511, ...; of a byte exchange, bytes:512-32767, ...
    GROUP_SMS,    // blank: the library's default
    GROUP_DTYPE,
    GROUP_OVERLAP, // of a layer; blank: of a phase
    GROUP_KERNEL,  // of a compute kernel's row, which; blank: of another
    GROUP_KERNELS, // preset that it ran with
    GROUP_GPU,
    GROUP_KEYS,
};
extern const char *const group_key_names[]; // the columns' names; "tokens"

// What rows of one group agree in.
struct grouping {
    enum group_key keys[GROUP_KEYS];
    size_t count;
};

// family, cluster, dispatcher, nodes, phase, stage.
struct grouping grouping_default(void);

// Reads "phase,tokens". Refuses an unknown name and one that stands twice.
bool grouping_parse(struct grouping *grouping, const char *list, struct error *err);

// The row's cell under a key. buffer has FIELD_TEXT_BYTES.
char *group_key_text(enum group_key key, const struct measured_row *row, char *buffer);

bool grouping_same(const struct grouping *grouping, const struct measured_row *a,
                   const struct measured_row *b);

// How far off rows are: the two figures that every table of errors gives. Sorts the n absolute
// errors in place; their median (mean of the middle two when even) and 90th percentile, element
// floor(0.9 (n - 1)). NaN for none.
void errors_summarise(double *errors, size_t n, double *median, double *p90);

#endif
