// A collection of measured rows, and the files that they came from.
#ifndef STUDY_ROWS_MEASURED_H
#define STUDY_ROWS_MEASURED_H

#include "model/measured_row.h"
#include "study/names.h"

#include <stdbool.h>
#include <stddef.h>

struct measured {
    char *path; // for messages: the file, or all of them with commas
    struct names files;
    struct measured_row *rows;
    size_t count, capacity;
};

void measured_release(struct measured *measured);

// A new row of the last file, zero but for that and its line: for readers. Valid until the next.
struct measured_row *measured_add(struct measured *measured, size_t line);

// Keeps the rows for which `keep` is true, in order; returns how many.
size_t measured_keep(struct measured *measured,
                     bool (*keep)(const struct measured_row *row, const void *context),
                     const void *context);

// What its rows say of GPUs: the first that any row names, or "".
const char *measured_gpu(const struct measured *measured);

#endif
