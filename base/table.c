#include "base/table.h"

#include "base/error.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 6       // significant ones of a real
#define SHORT_DIGITS 4 // the same for a person
#define NUMBER_BYTES TABLE_NUMBER_BYTES
#define WHOLE_LARGEST 1e15 // reals below print without an exponent

struct lines {
    char **items;
    size_t count;
};

struct table {
    char *kind;
    struct lines columns, comments;
    struct cell *cells;
    size_t count; // of cells, the last row perhaps not full
    bool headed;  // table_flush_tsv has printed what stands above the rows
};

// ---- building ----------------------------------------------------------------------------------

static void lines_add(struct lines *lines, char *item)
{
    lines->items = mem_room(lines->items, lines->count, sizeof *lines->items);
    lines->items[lines->count++] = item;
}

static void lines_release(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->items[i]);
    free(lines->items);
}

// Tabs and newlines would break the TSV; other control characters and marks of direction, a
// terminal. A byte that is no UTF-8 becomes '?'.
static char *one_line(char *text)
{
    for (char *at = text; *at != '\0';) {
        const size_t hidden = error_hidden(at);
        memset(at, hidden == 1 && (unsigned char)*at >= 0x80 ? '?' : ' ', hidden);
        at += hidden ? hidden : 1;
        while (!hidden && ((unsigned char)*at & 0xc0) == 0x80)
            at++; // the rest of its character
    }
    return text;
}

struct table *table_new(const char *kind, const char *columns)
{
    struct table *table = mem_alloc(1, sizeof *table);
    table->kind = mem_copy_text(kind);
    table_columns(table, columns);
    return table;
}

void table_columns(struct table *table, const char *columns)
{
    assert(table->count == 0);
    for (size_t length; *columns != '\0'; columns += length + strspn(columns + length, " ")) {
        length = strcspn(columns, " ");
        lines_add(&table->columns, one_line(mem_format("%.*s", (int)length, columns)));
    }
}

static void drop_rows(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->cells[i].kind == CELL_TEXT)
            free((void *)(uintptr_t)table->cells[i].as.text);
    }
    table->count = 0;
}

void table_free(struct table *table)
{
    if (table == NULL)
        return;
    drop_rows(table);
    free(table->cells);
    lines_release(&table->columns);
    lines_release(&table->comments);
    free(table->kind);
    free(table);
}

void table_comment(struct table *table, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&text, format, args);
    va_end(args);
    lines_add(&table->comments, one_line(length >= 0 ? text : mem_copy_text("")));
}

void table_add(struct table *table, const struct cell *cells, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct cell cell = cells[i];
        if (cell.kind == CELL_TEXT)
            cell.as.text = one_line(mem_copy_text(cell.as.text));
        else if (cell.kind == CELL_REAL)
            cell.as.real = table_round(cell.as.real);
        table->cells = mem_room(table->cells, table->count, sizeof *table->cells);
        table->cells[table->count++] = cell;
    }
}

size_t table_rows(const struct table *table)
{
    assert(table->columns.count > 0);
    return (table->count + table->columns.count - 1) / table->columns.count;
}

// ---- printing ----------------------------------------------------------------------------------

double table_round(double value)
{
    char text[NUMBER_BYTES];
    snprintf(text, sizeof text, "%.*g", DIGITS, value);
    return strtod(text, NULL) + 0.0; // + 0.0 turns -0 into 0
}

// How cells are printed.
struct format {
    const char *blank;     // where there is nothing
    int digits;            // of a real
    double whole_smallest; // from here on a real is whole, rather than with an exponent
};
static const struct format aligned = {"-", SHORT_DIGITS, 1e3}, tabbed = {"", DIGITS, 1e5};

static void format_real(double rounded, const struct format *format, char *text)
{
    const double size = fabs(rounded);
    if (size >= format->whole_smallest && size < WHOLE_LARGEST) {
        snprintf(text, NUMBER_BYTES, "%.0f", rounded);
    } else {
        snprintf(text, NUMBER_BYTES, "%.*g", format->digits, rounded);
    }
}

char *table_short(double value, char *buffer)
{
    format_real(table_round(value), &aligned, buffer);
    return buffer;
}

// The last row may end early.
static struct cell cell_at(const struct table *table, size_t row, size_t column)
{
    const size_t index = row * table->columns.count + column;
    return index < table->count ? table->cells[index] : cell_blank();
}

// The cell as text, in `number` or where it is.
static const char *shown_cell(const struct table *table, size_t row, size_t column,
                              const struct format *format, char *number)
{
    const struct cell cell = cell_at(table, row, column);
    if (cell.kind == CELL_BLANK || (cell.kind == CELL_TEXT && *cell.as.text == '\0'))
        return format->blank;
    if (cell.kind == CELL_TEXT)
        return cell.as.text;
    if (cell.kind == CELL_COUNT)
        snprintf(number, NUMBER_BYTES, "%" PRIu64, cell.as.count);
    else
        format_real(cell.as.real, format, number);
    return number;
}

// Characters, not bytes: a continuation byte of UTF-8 takes no place of its own.
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

struct shape { // of one printed column
    size_t width;
    bool left;
};

static struct shape column_shape(const struct table *table, size_t column)
{
    struct shape shape = {.width = width_of(table->columns.items[column])};
    char number[NUMBER_BYTES];
    for (size_t row = 0; row < table_rows(table); row++) {
        const size_t width = width_of(shown_cell(table, row, column, &aligned, number));
        shape.width = width > shape.width ? width : shape.width;
        shape.left = shape.left || cell_at(table, row, column).kind == CELL_TEXT;
    }
    return shape;
}

static void print_padded(FILE *out, const char *text, struct shape shape, bool last)
{
    const int pad = (int)(shape.width - width_of(text));
    if (shape.left) {
        fprintf(out, "%s%*s", text, last ? 0 : pad, ""); // no blanks at the line's end
    } else {
        fprintf(out, "%*s%s", pad, "", text);
    }
    fputs(last ? "\n" : "  ", out);
}

static void print_comments(const struct table *table, FILE *out)
{
    for (size_t i = 0; i < table->comments.count; i++)
        fprintf(out, "# %s\n", table->comments.items[i]);
}

void table_print(const struct table *table, FILE *out)
{
    const size_t columns = table->columns.count;
    struct shape *shapes = mem_alloc(columns, sizeof *shapes);
    print_comments(table, out);
    for (size_t c = 0; c < columns; c++) {
        shapes[c] = column_shape(table, c);
        print_padded(out, table->columns.items[c], shapes[c], c + 1 == columns);
    }
    char number[NUMBER_BYTES];
    for (size_t row = 0; row < table_rows(table); row++) {
        for (size_t c = 0; c < columns; c++) {
            const char *text = shown_cell(table, row, c, &aligned, number);
            print_padded(out, text, shapes[c], c + 1 == columns);
        }
    }
    free(shapes);
}

static void print_tsv_head(const struct table *table, FILE *out)
{
    const size_t columns = table->columns.count;
    fprintf(out, "# epsim.%s/1\n", table->kind);
    print_comments(table, out);
    for (size_t c = 0; c < columns; c++)
        fprintf(out, "%s%c", table->columns.items[c], c + 1 < columns ? '\t' : '\n');
}

static void print_tsv_rows(const struct table *table, FILE *out)
{
    const size_t columns = table->columns.count;
    char number[NUMBER_BYTES];
    for (size_t row = 0; row < table_rows(table); row++) {
        for (size_t c = 0; c < columns; c++) {
            fprintf(out, "%s%c", shown_cell(table, row, c, &tabbed, number),
                    c + 1 < columns ? '\t' : '\n');
        }
    }
}

void table_print_tsv(const struct table *table, FILE *out)
{
    print_tsv_head(table, out);
    print_tsv_rows(table, out);
}

void table_flush_tsv(struct table *table, FILE *out)
{
    if (!table->headed)
        print_tsv_head(table, out);
    table->headed = true;
    print_tsv_rows(table, out);
    drop_rows(table);
}

// ---- JSON --------------------------------------------------------------------------------------

json_t *table_json_real(double value)
{
    return isfinite(value) ? json_real(table_round(value)) : json_null();
}

// Text that is not UTF-8 cannot be JSON; its foreign bytes become '?'.
static json_t *json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json == NULL) {
        char *plain = mem_copy_text(text);
        for (char *at = plain; *at != '\0'; at++)
            *at = (unsigned char)*at < 0x80 ? *at : '?';
        json = json_string(plain);
        free(plain);
    }
    return json;
}

static json_t *json_cell(struct cell cell)
{
    if (cell.kind == CELL_TEXT)
        return json_text(cell.as.text);
    if (cell.kind == CELL_COUNT)
        return cell.as.count <= INT64_MAX ? json_integer((json_int_t)cell.as.count)
                                          : json_real((double)cell.as.count);
    return cell.kind == CELL_REAL ? table_json_real(cell.as.real) : json_null();
}

json_t *table_json(const struct table *table)
{
    const size_t columns = table->columns.count;
    json_t *rows = json_array();
    for (size_t row = 0; row < table_rows(table); row++) {
        json_t *object = json_object();
        for (size_t c = 0; c < columns; c++)
            json_object_set_new(object, table->columns.items[c], json_cell(cell_at(table, row, c)));
        json_array_append_new(rows, object);
    }
    return rows;
}
