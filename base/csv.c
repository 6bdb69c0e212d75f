#include "base/csv.h"

#include "base/mem.h"

#include <assert.h>
#include <csv.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// What libcsv's callbacks fill.
struct load {
    struct csvfile *csv;
    struct error *err;
    size_t text_used, text_room, cell_count, row_count;
    size_t fill; // cells of the row begun
    size_t row_line, line;
    bool failed;
};

static void csvfile_add_cell(void *bytes, size_t length, void *context)
{
    struct load *load = context;
    struct csvfile *csv = load->csv;
    if (load->text_room - load->text_used <= length) {
        load->text_room = 2 * load->text_room + length + 1;
        csv->text = mem_grow(csv->text, load->text_room, 1);
    }
    csv->cells = mem_room(csv->cells, load->cell_count, sizeof *csv->cells);
    csv->cells[load->cell_count++] = load->text_used;
    if (length > 0)
        memcpy(csv->text + load->text_used, bytes, length);
    csv->text[load->text_used + length] = '\0';
    load->text_used += length + 1;
    load->fill++;
}

static void end_row(int terminator, void *context)
{
    (void)terminator;
    struct load *load = context;
    struct csvfile *csv = load->csv;
    if (load->row_count == 0) {
        csv->columns = load->fill;
    } else if (load->fill != csv->columns && !load->failed) {
        error_set(load->err, EXIT_INPUT, "%s:%zu: %zu cells; expected %zu, as in the header",
                  csv->name, load->row_line, load->fill, csv->columns);
        load->failed = true;
    }
    csv->lines = mem_room(csv->lines, load->row_count, sizeof *csv->lines);
    csv->lines[load->row_count++] = load->row_line;
    load->fill = 0;
}

static bool quoting_error(const struct load *load, size_t line)
{
    return error_set(load->err, EXIT_INPUT,
                     "%s:%zu: a quote out of place; expected \"...\" around a whole cell, and \"\" "
                     "for a quote inside",
                     load->csv->name, line);
}

// Fed line by line, so that each row knows the line it began on.
static bool parse_lines(struct load *load, struct csv_parser *parser, const char *text,
                        const char *end)
{
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const size_t length = (size_t)((newline != NULL ? newline + 1 : end) - text);
        if (load->fill == 0 && !parser->quoted)
            load->row_line = load->line;
        if (csv_parse(parser, text, length, csvfile_add_cell, end_row, load) != length)
            return quoting_error(load, load->line);
        if (load->failed)
            return false;
        text += length;
        load->line++;
    }
    if (csv_fini(parser, csvfile_add_cell, end_row, load) != 0)
        return quoting_error(load, load->row_line);
    return !load->failed;
}

// Past a byte-order mark, comments and blank lines: the header's first character.
static const char *csvfile_find_header(const char *text, const char *end, size_t *line)
{
    if (end - text >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;
    while (text < end && (*text == '#' || *text == '\n' || *text == '\r')) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        text = newline != NULL ? newline + 1 : end;
        ++*line;
    }
    return text;
}

// A column and its name, for sorting.
struct named_column {
    const char *name;
    size_t column;
};

static int column_by_name(const void *a, const void *b)
{
    const struct named_column *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->column > y->column) - (x->column < y->column);
}

// Sorts the names, and finds the first column whose name stood before it; 0: none.
static size_t sort_columns(struct csvfile *csv)
{
    struct named_column *names = mem_alloc(csv->columns, sizeof *names);
    size_t twice = 0;
    for (size_t c = 0; c < csv->columns; c++)
        names[c] = (struct named_column){csvfile_column(csv, c), c};
    qsort(names, csv->columns, sizeof *names, column_by_name);
    csv->by_name = mem_alloc(csv->columns, sizeof *csv->by_name);
    for (size_t i = 0; i < csv->columns; i++) {
        csv->by_name[i] = names[i].column;
        if (i > 0 && !strcmp(names[i - 1].name, names[i].name) &&
            (!twice || names[i].column < twice))
            twice = names[i].column;
    }
    free(names);
    return twice;
}

static bool check_header(struct csvfile *csv, size_t header_line, struct error *err)
{
    const size_t twice = sort_columns(csv);
    char quoted[ERROR_QUOTE_BYTES];
    return !twice || error_set(err, EXIT_INPUT, "%s:%zu: column '%s' is named twice", csv->name,
                               header_line, error_quote(csvfile_column(csv, twice), quoted));
}

// A header that stands for the file's own goes first, and the file's is passed over.
static bool parse_headed(struct load *load, struct csv_parser *parser, const char *text,
                         const char *end, const struct csvfile_form *form)
{
    text = csvfile_find_header(text, end, &load->line);
    csv_set_delim(parser, (unsigned char)form->delimiter);
    if (!form->header)
        return parse_lines(load, parser, text, end);
    const size_t first = load->line;
    if (!parse_lines(load, parser, form->header, form->header + strlen(form->header)))
        return false;
    load->line = first;
    if (!form->headless) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        text = newline ? newline + 1 : end;
        load->line++;
    }
    return parse_lines(load, parser, text, end);
}

static bool csvfile_read(struct csvfile *csv, const char *text, size_t length,
                         const struct csvfile_form *form, struct error *err)
{
    struct load load = {.csv = csv, .err = err, .line = 1};
    struct csv_parser parser;
    if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0)
        return error_set(err, EXIT_RUNTIME, "%s: out of memory", csv->name);
    const bool good = parse_headed(&load, &parser, text, text + length, form);
    csv_free(&parser);
    if (!good)
        return false;
    if (load.row_count == 0)
        return error_set(err, EXIT_INPUT, "%s: empty; expected a header line", csv->name);
    csv->rows = load.row_count - 1;
    return check_header(csv, csv->lines[0], err);
}

struct csvfile *csvfile_parse_as(const char *name, const char *text, size_t length,
                                 const struct csvfile_form *form, struct error *err)
{
    struct csvfile *csv = mem_alloc(1, sizeof *csv);
    csv->name = mem_copy_text(name);
    if (csvfile_read(csv, text, length, form, err))
        return csv;
    csvfile_free(csv);
    return NULL;
}

struct csvfile *csvfile_parse(const char *name, const char *text, size_t length, struct error *err)
{
    return csvfile_parse_as(name, text, length, &(struct csvfile_form){.delimiter = ','}, err);
}

void csvfile_free(struct csvfile *csv)
{
    if (csv == NULL)
        return;
    free(csv->name);
    free(csv->text);
    free(csv->cells);
    free(csv->lines);
    free(csv->by_name);
    free(csv);
}

const char *csvfile_column(const struct csvfile *csv, size_t column)
{
    assert(column < csv->columns);
    return csv->text + csv->cells[column];
}

int csvfile_find(const struct csvfile *csv, const char *column)
{
    size_t low = 0, high = csv->columns;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(csvfile_column(csv, csv->by_name[middle]), column);
        if (order == 0)
            return (int)csv->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const char *csvfile_cell(const struct csvfile *csv, size_t row, size_t column)
{
    assert(row < csv->rows && column < csv->columns);
    return csv->text + csv->cells[(row + 1) * csv->columns + column];
}

size_t csvfile_line(const struct csvfile *csv, size_t row)
{
    assert(row < csv->rows);
    return csv->lines[row + 1];
}
