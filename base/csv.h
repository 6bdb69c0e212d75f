// CSV with a header line, over libcsv: rows as text cells found by column name.
// (Named csvfile_ because libcsv exports csv_free.)
#ifndef BASE_CSV_H
#define BASE_CSV_H

#include "base/error.h"

#include <stddef.h>

struct csvfile; // a whole file in memory

// NULL on a missing or empty file, a directory, one of more than 64 MiB, a quoting error, a row
// with another number of cells than the header ("file:line: ..."), or a column named twice. A UTF-8
// byte-order mark is skipped; lines beginning with '#' before the header are comments.
struct csvfile *csvfile_load(const char *path, struct error *err);
// The same of a text that is in memory already; `name` stands for it in messages.
struct csvfile *csvfile_parse(const char *name, const char *text, size_t length, struct error *err);
void csvfile_free(struct csvfile *csv);

const char *csvfile_name(const struct csvfile *csv);
size_t csvfile_rows(const struct csvfile *csv);
size_t csvfile_columns(const struct csvfile *csv);
const char *csvfile_column(const struct csvfile *csv, size_t column);
int csvfile_find(const struct csvfile *csv, const char *column); // index, or -1
const char *csvfile_cell(const struct csvfile *csv, size_t row, size_t column);
size_t csvfile_line(const struct csvfile *csv, size_t row); // of the file, counted from 1

#endif
