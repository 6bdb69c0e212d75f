#include "scenario/traffic.h"

#include "base/infile.h"
#include "base/mem.h"
#include "base/units.h"
#include "model/cluster.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MAX 0x1p50

// Which pairs a pattern has, and how much of its bytes each.
enum pattern_kind { UNIFORM, RING, INSIDE, BETWEEN, PAIR, DISTANCE, PATTERNS };
static const char *const pattern_names[] = {
    "uniform:", "ring:", "inside:", "between:", "pair:", "distance:"};

struct pattern {
    enum pattern_kind kind;
    uint32_t ranks, gpus_per_node;
    uint32_t from, to; // of a pair
    uint64_t bytes;
};

// Of a distance the places of all others are 1, 2 .. n - 1; parts are whole multiples of 16 bytes.
static uint64_t pattern_cell(const struct pattern *pattern, uint32_t from, uint32_t to)
{
    const uint32_t n = pattern->ranks, places = (to + n - from) % n;
    const bool inside = from / pattern->gpus_per_node == to / pattern->gpus_per_node;
    const bool has[PATTERNS] = {[UNIFORM] = true,
                                [RING] = to == (from + 1) % n,
                                [INSIDE] = inside,
                                [BETWEEN] = !inside,
                                [PAIR] = from == pattern->from && to == pattern->to};
    if (pattern->kind == DISTANCE)
        return (uint64_t)(places * (double)pattern->bytes / (n * (n - 1.0) / 2)) / 16 * 16;
    return has[pattern->kind] ? pattern->bytes : 0;
}

// What follows a pattern's name, "1MiB" or of a pair "0:8:1MiB"; NULL where none begins so.
static const char *find_pattern(const char *what, struct pattern *pattern)
{
    for (enum pattern_kind kind = 0; kind < PATTERNS; kind++) {
        const size_t length = strlen(pattern_names[kind]);
        if (strncmp(what, pattern_names[kind], length))
            continue;
        *pattern = (struct pattern){.kind = kind};
        return what + length;
    }
    return NULL;
}

// "0:8:" of a pair; NULL where it is not that.
static const char *skip_pair(const char *text, struct pattern *pattern)
{
    int end = 0;
    if (!isdigit((unsigned char)*text) ||
        sscanf(text, "%9u:%9u:%n", &pattern->from, &pattern->to, &end) != 2 || !end)
        return NULL;
    return text + end;
}

bool traffic_is_pattern(const char *name)
{
    struct pattern pattern;
    char *text = mem_format("%s:", name);
    const char *rest = find_pattern(text, &pattern);
    if (rest && pattern.kind == PAIR)
        rest = skip_pair(rest, &pattern);
    const bool whole = rest && !*rest;
    free(text);
    return whole;
}

static bool read_bytes(const char *what, const char *size, struct pattern *pattern,
                       struct error *err)
{
    double value;
    char quoted[ERROR_QUOTE_BYTES];
    if (!units_parse(UNIT_BYTES, size, &value, err))
        return false;
    if (value < 1 || value > CELL_MAX)
        return error_set(err, EXIT_INPUT, "%s: expected from 1B to 1PiB a pair",
                         error_quote(what, quoted));
    pattern->bytes = (uint64_t)value;
    return true;
}

static bool fill(const char *what, const struct pattern *pattern, uint64_t **bytes,
                 struct error *err)
{
    const uint32_t ranks = pattern->ranks;
    char quoted[ERROR_QUOTE_BYTES];
    bool any = ranks == 1 && pattern->kind == UNIFORM; // one rank has nobody to send to
    *bytes = mem_alloc((size_t)ranks * ranks, sizeof **bytes);
    for (uint32_t i = 0; i < ranks * ranks; i++) {
        if (i % (ranks + 1))
            (*bytes)[i] = pattern_cell(pattern, i / ranks, i % ranks);
        any |= (*bytes)[i] > 0;
    }
    if (any)
        return true;
    free(*bytes);
    *bytes = NULL;
    return error_set(err, EXIT_INPUT, "%s: moves nothing between %u ranks, %u a node",
                     error_quote(what, quoted), ranks, pattern->gpus_per_node);
}

static bool make_pattern(const char *what, const char *rest, struct pattern *pattern,
                         uint64_t **bytes, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (pattern->kind == PAIR && !(rest = skip_pair(rest, pattern)))
        return error_set(err, EXIT_INPUT, "%s: expected pair:FROM:TO:SIZE, as pair:0:8:1MiB",
                         error_quote(what, quoted));
    if (pattern->kind == PAIR && (pattern->from >= pattern->ranks ||
                                  pattern->to >= pattern->ranks || pattern->from == pattern->to))
        return error_set(err, EXIT_INPUT, "%s: expected two of the %u ranks, from 0",
                         error_quote(what, quoted), pattern->ranks);
    return read_bytes(what, rest, pattern, err) && fill(what, pattern, bytes, err);
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
    if (!units_parse(UNIT_COUNT, word, &value, err) || value > CELL_MAX)
        return error_set(err, EXIT_INPUT,
                         "%s:%zu: '%s': expected a whole number of bytes, at most 2^50",
                         reader->path, reader->line, error_quote(word, quoted));
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
        reader->line++;
        ok = read_row(reader, strsep(&next, "\n"), err);
    }
    free(text);
    return ok && check_matrix(reader, err);
}

bool traffic_load(const char *what, uint32_t gpus_per_node, uint64_t **bytes, uint32_t *ranks,
                  struct error *err)
{
    struct pattern pattern;
    const char *rest = find_pattern(what, &pattern);
    if (rest) {
        pattern.ranks = *ranks;
        pattern.gpus_per_node = gpus_per_node;
        return make_pattern(what, rest, &pattern, bytes, err);
    }
    struct reader reader = {.path = what};
    if (!read_matrix(&reader, err)) {
        free(reader.cells);
        return false;
    }
    *bytes = reader.cells;
    *ranks = (uint32_t)reader.columns;
    return true;
}
