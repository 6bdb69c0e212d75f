#include "study/rows/collection.h"

#include "base/mem.h"

#include <stdlib.h>

struct measured_row *measured_add(struct measured *measured, size_t line)
{
    if (measured->count == measured->capacity) {
        measured->capacity = measured->capacity ? 2 * measured->capacity : 64;
        measured->rows = mem_grow(measured->rows, measured->capacity, sizeof *measured->rows);
    }
    struct measured_row *row = &measured->rows[measured->count++];
    *row =
        (struct measured_row){.file = measured->files.of[measured->files.count - 1], .line = line};
    return row;
}

void measured_set_ranks(struct measured *measured, struct measured_row *row,
                        const double *latency_us, uint32_t ranks)
{
    double *copy = mem_copy(latency_us, ranks * sizeof *latency_us);
    measured->rank_figures = mem_room(measured->rank_figures, measured->rank_figure_sets,
                                      sizeof *measured->rank_figures);
    measured->rank_figures[measured->rank_figure_sets++] = copy;
    row->rank_us = copy;
    row->ranks = ranks;
}

size_t measured_keep(struct measured *measured,
                     bool (*keep)(const struct measured_row *row, const void *context),
                     const void *context)
{
    size_t count = 0;
    for (size_t i = 0; i < measured->count; i++)
        if (keep(&measured->rows[i], context))
            measured->rows[count++] = measured->rows[i];
    return measured->count = count;
}

void measured_release(struct measured *measured)
{
    names_release(&measured->files);
    for (size_t s = 0; s < measured->rank_figure_sets; s++)
        free(measured->rank_figures[s]);
    free(measured->rank_figures);
    free(measured->path);
    free(measured->rows);
    *measured = (struct measured){0};
}

const char *measured_gpu(const struct measured *measured)
{
    for (size_t i = 0; i < measured->count; i++)
        if (measured->rows[i].gpu[0])
            return measured->rows[i].gpu;
    return "";
}
