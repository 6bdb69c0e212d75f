// Measured rows: a collection of them, and what readers of whole texts are.
#ifndef STUDY_ROWS_COLLECTION_H
#define STUDY_ROWS_COLLECTION_H

#include "model/measured_row.h"
#include "study/names.h"
#include "study/rows/machine_facts.h"

#include <stdbool.h>
#include <stddef.h>

struct measured {
    char *path; // for messages: the file, or all of them with commas
    struct names files;
    struct measured_row *rows;
    size_t count, capacity;
    double **rank_figures; // [rank_figure_sets] what rows borrow: measured_set_ranks
    size_t rank_figure_sets;
    struct machine_facts facts; // what texts say of the machine beside rows
};

void measured_release(struct measured *measured);

// A new row of the last file, zero but for that and its line: for readers. Valid until the next.
struct measured_row *measured_add(struct measured *measured, size_t line);

// Keeps what each rank measured of a row: latency_us[ranks], copied; NAN where a rank says nothing.
void measured_set_ranks(struct measured *measured, struct measured_row *row,
                        const double *latency_us, uint32_t ranks);

// Keeps the rows for which `keep` is true, in order; returns how many.
size_t measured_keep(struct measured *measured,
                     bool (*keep)(const struct measured_row *row, const void *context),
                     const void *context);

// What its rows say of GPUs: the first that any row names, or "".
const char *measured_gpu(const struct measured *measured);

// ---- readers of whole texts ---------------------------------------------------------------------

// The nodes and GPUs of the cluster that the person names, for texts that do not say where ranks
// were.
struct measured_shape {
    uint32_t nodes, gpus_per_node; // 0: no cluster
    bool said;                     // "NxG" by the person, not a preset's own size
};

// Logs are read otherwise: study/rows/log.h.
struct row_text {
    const char *path; // for messages
    char *text;       // whole, and a reader's to cut
    size_t length;
    struct measured_shape shape;
};

struct row_reader {
    const char *name; // as messages say what is expected: "a measurements CSV"
    // Whether the text is of this format, by how it begins.
    bool (*recognise)(const char *head);
    // Adds the text's rows (measured_add). Trouble is "path:line: what is wrong, what was
    // expected".
    bool (*read)(struct measured *measured, const struct row_text *text, struct error *err);
};

extern const struct row_reader row_reader_csv, row_reader_probe, row_reader_kernels,
    row_reader_nccl_json, row_reader_perftest_json;

#endif
