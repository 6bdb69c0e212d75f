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

// kind names the TSV's first line, "# epsim.KIND/1"; columns are names with blanks between, copied.
struct table *table_new(const char *kind, const char *columns);
void table_free(struct table *table);

// Further columns, before any row.
void table_columns(struct table *table, const char *columns);

// A "# key: value" line above the table (version, seed, configuration).
void table_comment(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct cell {
    enum { CELL_BLANK, CELL_TEXT, CELL_COUNT, CELL_REAL } kind;
    union {
        const char *text; // borrowed, until a table copies it
        uint64_t count;
        double real;
    } as;
};

static inline struct cell cell_blank(void)
{
    return (struct cell){.kind = CELL_BLANK};
}

// NULL is a blank.
static inline struct cell cell_text(const char *text)
{
    return text ? (struct cell){.kind = CELL_TEXT, .as.text = text} : cell_blank();
}

static inline struct cell cell_count(uint64_t count)
{
    return (struct cell){.kind = CELL_COUNT, .as.count = count};
}

// NaN is a blank.
static inline struct cell cell_real(double real)
{
    return real == real ? (struct cell){.kind = CELL_REAL, .as.real = real} : cell_blank();
}

// Cells fill rows from left to right; a full row begins the next by itself.
// Tabs and newlines in a text become spaces.
void table_add(struct table *table, const struct cell *cells, size_t count);
#define TABLE_ADD(table, ...)                                                                      \
    table_add(table, (const struct cell[]){__VA_ARGS__},                                           \
              sizeof((const struct cell[]){__VA_ARGS__}) / sizeof(struct cell))

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
