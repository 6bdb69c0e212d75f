#include "study/rows/measured.h"

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
