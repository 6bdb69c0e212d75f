// Presets that rows of compute kernels share: thousands of rows, few pairs of a cluster and its
// kernels.
#ifndef STUDY_ROW_PRESETS_H
#define STUDY_ROW_PRESETS_H

#include "study/rows/measured.h"

#include <stdbool.h>
#include <stddef.h>

struct row_preset {
    const char *cluster_word, *kernels_word; // borrowed from the rows
    struct cluster cluster;
    struct kernels kernels;
};

struct row_presets {
    struct row_preset *all;
    size_t count;
};

// Loads what the rows of compute kernels name; `cluster`, where it is not NULL, stands for theirs.
// Pairs that do not load are left out. Released by row_presets_release, before the rows.
void row_presets_init(struct row_presets *presets, const struct measured *measured,
                      const char *cluster);
void row_presets_release(struct row_presets *presets);

// Of a row, or NULL.
const struct row_preset *row_presets_find(const struct row_presets *presets, const char *cluster,
                                          const char *kernels);

#endif
