#include "study/row_presets.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

const struct row_preset *row_presets_find(const struct row_presets *presets, const char *cluster,
                                          const char *kernels)
{
    for (size_t i = 0; i < presets->count; i++)
        if (!strcmp(presets->all[i].cluster_word, cluster) &&
            !strcmp(presets->all[i].kernels_word, kernels))
            return &presets->all[i];
    return NULL;
}

static void add_pair(struct row_presets *presets, const char *cluster, const char *kernels)
{
    struct error none;
    struct row_preset pair = {.cluster_word = cluster, .kernels_word = kernels};
    if (!cluster_load(cluster, &pair.cluster, NULL, &none) ||
        !kernels_load(kernels, &pair.cluster, &pair.kernels, NULL, &none))
        return;
    presets->all = mem_grow(presets->all, presets->count + 1, sizeof *presets->all);
    presets->all[presets->count++] = pair;
}

void row_presets_init(struct row_presets *presets, const struct measured *measured,
                      const char *cluster)
{
    *presets = (struct row_presets){0};
    for (size_t i = 0; i < measured->count; i++) {
        const struct measured_row *row = &measured->rows[i];
        const char *word = cluster ? cluster : row->cluster;
        if (row->phase == PHASE_KERNEL && !row_presets_find(presets, word, row->kernels))
            add_pair(presets, word, row->kernels);
    }
}

void row_presets_release(struct row_presets *presets)
{
    free(presets->all);
    *presets = (struct row_presets){0};
}
