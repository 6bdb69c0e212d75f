// Tables: rows of typed cells under named columns, printed three ways: aligned for a person, TSV
// for gnuplot and awk, JSON rows. Units stand in the column's name: latency_us, bytes.
// Every real has at most 6 significant digits in TSV and JSON, and for a person 4 (or its whole
// part, where that is longer). Counts are printed whole.
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct table; // built once, printed any number of times

// kind names the TSV's first line, "# epsim.KIND/1"; columns is a NULL-terminated list, copied.
struct table *table_new(const char *kind, const char *const *columns);
void table_free(struct table *table);

// A "# key: value" line above the table (version, seed, configuration).
void table_comment(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Cells fill rows from left to right; a full row begins the next by itself.
// Tabs and newlines in a text cell become spaces. NaN is an empty cell.
void table_text(struct table *table, const char *text);
void table_count(struct table *table, uint64_t value);
void table_real(struct table *table, double value);
void table_blank(struct table *table);

size_t table_rows(const struct table *table);

// Numbers right, text left; comments as '#' lines; an empty cell prints as '-'.
void table_print(const struct table *table, FILE *out);

// "# epsim.KIND/1", the comments, the column names, the rows; an empty cell is empty.
void table_print_tsv(const struct table *table, FILE *out);

// The same of the rows so far, which are then forgotten: for a table too long to hold. What stands
// above them is printed the first time only.
void table_flush_tsv(struct table *table, FILE *out);

// A new array of objects keyed by column; blank cells are null.
json_t *table_json(const struct table *table);

// A JSON number of 6 significant digits (null for NaN or infinity): the precision of every real
// in epsim's JSON. Dump with TABLE_JSON_FLAGS, or jansson prints 0.1 as 0.10000000000000001.
#define TABLE_JSON_FLAGS JSON_REAL_PRECISION(6)
json_t *table_json_real(double value);

// value rounded to 6 significant digits, as every printer shows it.
double table_round(double value);

// value as table_print shows it. buffer has TABLE_NUMBER_BYTES bytes.
#define TABLE_NUMBER_BYTES 32
char *table_short(double value, char *buffer);

#endif
