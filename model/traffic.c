#include "model/traffic.h"

#include "base/infile.h"
#include "base/mem.h"
#include "base/units.h"
#include "model/cluster.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 0x1p50

static bool uniform(const char *size, uint64_t **bytes, uint32_t ranks, struct error *err)
{
    double value;
    if (!units_parse(UNIT_BYTES, size, &value, err))
        return false;
    char quoted[ERROR_QUOTE_BYTES];
    if (value < 1 || value > CELL_MAX)
        return error_set(err, EXIT_INPUT, "uniform:%s: expected from 1B to 1PiB a pair",
                         error_quote(size, quoted));
    *bytes = mem_alloc((size_t)ranks * ranks, sizeof **bytes);
    for (uint32_t i = 0; i < ranks * ranks; i++)
        (*bytes)[i] = i % (ranks + 1) ? (uint64_t)value : 0;
    return true;
}

// A matrix under construction, row by row.
struct reader {
    const char *path;
    uint64_t *cells;
    size_t count, capacity;
    size_t columns; // of the first row
    size_t rows;
    size_t line;
};

static bool read_cell(struct reader *reader, const char *word, struct error *err)
{
    double value;
    char quoted[ERROR_QUOTE_BYTES];
    if (!units_parse(UNIT_COUNT, word, &value, err) || value > CELL_MAX) {
        return error_set(err, EXIT_INPUT,
                         "%s:%zu: '%s': expected a whole number of bytes, at most 2^50",
                         reader->path, reader->line, error_quote(word, quoted));
    }
    if (reader->count == reader->capacity) {
        reader->capacity = reader->capacity ? 2 * reader->capacity : 1024;
        reader->cells = mem_grow(reader->cells, reader->capacity, sizeof *reader->cells);
    }
    reader->cells[reader->count++] = (uint64_t)value;
    return true;
}

static bool read_row(struct reader *reader, char *line, struct error *err)
{
    const size_t before = reader->count;
    char *save = NULL;
    line[strcspn(line, "#")] = '\0';
    for (char *word = strtok_r(line, " \t\r,", &save); word; word = strtok_r(NULL, " \t\r,", &save))
        if (!read_cell(reader, word, err))
            return false;
    const size_t columns = reader->count - before;
    if (columns == 0)
        return true;
    if (reader->rows++ == 0)
        reader->columns = columns;
    if (columns != reader->columns)
        return error_set(err, EXIT_INPUT,
                         "%s:%zu: %zu cells, but the first row has %zu: expected a square matrix",
                         reader->path, reader->line, columns, reader->columns);
    if (columns > CLUSTER_MAX_RANKS)
        return error_set(err, EXIT_INPUT, "%s:%zu: %zu ranks: expected at most %d", reader->path,
                         reader->line, columns, CLUSTER_MAX_RANKS);
    return true;
}

static bool check_matrix(const struct reader *reader, struct error *err)
{
    if (reader->rows == 0)
        return error_set(err, EXIT_INPUT, "%s: empty: expected a square matrix of bytes",
                         reader->path);
    if (reader->rows != reader->columns)
        return error_set(err, EXIT_INPUT, "%s:%zu: %zu rows of %zu cells: expected a square matrix",
                         reader->path, reader->line, reader->rows, reader->columns);
    for (size_t i = 0; i < reader->count; i++)
        if (reader->cells[i] && i % (reader->columns + 1))
            return true;
    return error_set(err, EXIT_INPUT, "%s: every cell off the diagonal is 0: nothing to move",
                     reader->path);
}

static bool read_matrix(struct reader *reader, struct error *err)
{
    size_t length;
    char *text = infile_read_text(reader->path, INFILE_LIMIT, &length, err);
    bool ok = text != NULL;
    char *next = text;
    if (ok && !strncmp(next, "\xef\xbb\xbf", 3))
        next += 3; // a UTF-8 byte-order mark
    while (ok && next && *next) {
        char *end = strchr(next, '\n');
        if (end)
            *end = '\0';
        reader->line++;
        ok = read_row(reader, next, err);
        next = end ? end + 1 : NULL;
    }
    free(text);
    return ok && check_matrix(reader, err);
}

bool traffic_load(const char *what, uint64_t **bytes, uint32_t *ranks, struct error *err)
{
    const char prefix[] = "uniform:";
    if (!strncmp(what, prefix, strlen(prefix)))
        return uniform(what + strlen(prefix), bytes, *ranks, err);
    struct reader reader = {.path = what};
    if (!read_matrix(&reader, err)) {
        free(reader.cells);
        return false;
    }
    *bytes = reader.cells;
    *ranks = (uint32_t)reader.columns;
    return true;
}
