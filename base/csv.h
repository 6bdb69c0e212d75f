// CSV with a header line, over libcsv: rows as text cells found by column name.
// (Named csvfile_ because libcsv exports csv_free.)
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

// A whole file in memory.
struct csvfile {
    char *name;
    size_t rows, columns; // the header is no row
    char *text;           // of all cells, each ended by '\0'
    size_t *cells;        // offsets into text, row by row, the header first
    size_t *lines;        // of each row
    size_t *by_name;      // columns in the order of their names
};

// NULL on an empty text, a quoting error, a row with another number of cells than the header
// ("file:line: ..."), or a column named twice; `name` stands for the file in messages. A UTF-8
// byte-order mark is skipped; lines beginning with '#' before the header are comments.
struct csvfile *csvfile_parse(const char *name, const char *text, size_t length, struct error *err);

// How a file departs from that.
struct csvfile_form {
    const char *header; // in place of the file's own, or, where it has none, before its first line
    bool headless;      // it has none
    char delimiter;
};

struct csvfile *csvfile_parse_as(const char *name, const char *text, size_t length,
                                 const struct csvfile_form *form, struct error *err);
void csvfile_free(struct csvfile *csv);

const char *csvfile_column(const struct csvfile *csv, size_t column);
int csvfile_find(const struct csvfile *csv, const char *column); // index, or -1
const char *csvfile_cell(const struct csvfile *csv, size_t row, size_t column);
size_t csvfile_line(const struct csvfile *csv, size_t row); // of the file, counted from 1

#endif
