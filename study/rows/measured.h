// Measured rows: a collection of them, the files that they came from, and the readers of each
// format.
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

// ---- files -------------------------------------------------------------------------------------

// Reads one file, whose text says what it is: the measurements CSV, what nccl-tests print, or the
// TSV of epsim-real probe. Rows of the latter two name no cluster: whoever asks does (study/row.h).
// Refuses what its reader refuses, two rows of one id, and a file without rows.
bool measured_load(struct measured *measured, const char *path, struct error *err);

// Reads several, one after the other; an id stands once in all of them.
bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         struct error *err);

// ---- readers -----------------------------------------------------------------------------------

// A reader of one format of text, told by its content.
struct row_text {
    const char *path; // for messages
    char *text;       // whole, and a reader's to cut
    size_t length;
};

struct row_reader {
    const char *name; // as messages say what is expected: "what nccl-tests print"
    // Whether the text is of this format, by what stands in it.
    bool (*recognise)(const char *text);
    // Adds the text's rows (measured_add). Trouble is "path:line: what is wrong, what was
    // expected".
    bool (*read)(struct measured *measured, const struct row_text *text, struct error *err);
};

// The names of all of them: "A, B, or C".
#define ROW_READER_NAMES_BYTES 256
char *row_reader_names(char buffer[ROW_READER_NAMES_BYTES]);

extern const struct row_reader row_reader_csv, row_reader_nccl_tests, row_reader_probe,
    row_reader_kernels;

#endif
