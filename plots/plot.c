#include "plots/plot.h"

#include "base/infile.h"
#include "base/mem.h"
#include "base/outfile.h"
#include "plots/gnuplot.h"
#include "plots/printable.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 8
#define DATA_LIMIT ((size_t)1 << 30) // bytes between 1024 ranks, phase by phase, are 200 MiB

enum cells {
    CELLS_WORD,     // one word
    CELLS_NUMBER,   // finite, not negative
    CELLS_POSITIVE, // on a logarithmic axis
    CELLS_ANY,      // finite
    CELLS_VALUE,    // positive or blank; the figure needs one such cell at least
};

// What a figure's script reads.
struct figure {
    const char *kind;
    const char *title; // unless the file gives one
    struct {
        const char *name;
        enum cells cells;
    } columns[MAX_COLUMNS]; // up to a NULL name
};

// Columns by what their cells must be.
// clang-format off
#define WORD(name)     {name, CELLS_WORD}
#define NUMBER(name)   {name, CELLS_NUMBER}
#define POSITIVE(name) {name, CELLS_POSITIVE}
#define ANY(name)      {name, CELLS_ANY}
#define VALUE(name)    {name, CELLS_VALUE}
// clang-format on

static const struct figure figures[] = {
    {"accuracy-rows",
     "Predicted against measured",
     {WORD("engine"), WORD("family"), WORD("phase"), VALUE("tokens_per_gpu"),
      VALUE("bytes_per_rank"), POSITIVE("measured_us"), POSITIVE("predicted_us"),
      ANY("error_pct")}},
    {"compare",
     "Latency of a phase",
     {POSITIVE("tokens_per_gpu"), WORD("phase"), VALUE("simulate_us"), VALUE("estimate_us"),
      VALUE("measured_us")}},
    {"ranks",
     "Phases of one MoE layer by rank",
     {NUMBER("rank"), WORD("phase"), NUMBER("start_us"), NUMBER("end_us")}},
    {"replay",
     "Latency of a trace's MoE layers",
     {WORD("layer"), WORD("phase"), NUMBER("p50_us"), NUMBER("p90_us"), NUMBER("p99_us"),
      NUMBER("even_us")}},
    {"replay-ranks",
     "Load of ranks by layer",
     {NUMBER("layer"), NUMBER("rank"), NUMBER("load_ratio")}},
    {"traffic",
     "Bytes between ranks",
     {WORD("phase"), NUMBER("src"), NUMBER("dst"), NUMBER("bytes")}},
};
#define FIGURES (sizeof figures / sizeof figures[0])

// --- the data file -----------------------------------------------------------------------------

struct tsv {
    const char *path;
    char *text; // printable; gnuplot gets the same bytes
    size_t length;
    const struct figure *figure;
    char *title;
    size_t columns;            // cells of a line
    size_t place[MAX_COLUMNS]; // of the figure's columns among the cells
    size_t rows;
    size_t values; // CELLS_VALUE cells that are not blank
};

// The part of a line that is in hand.
struct span {
    const char *at;
    size_t length;
};

static bool span_is(struct span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

static bool skip_prefix(struct span *span, const char *prefix)
{
    const size_t length = strlen(prefix);
    if (span->length < length || memcmp(span->at, prefix, length) != 0)
        return false;
    span->at += length;
    span->length -= length;
    return true;
}

// Cuts the part up to the next `mark`, or all of it, off *rest; false when nothing is left.
static bool cut_span(struct span *rest, char mark, struct span *part)
{
    if (!rest->at)
        return false;
    const char *end = memchr(rest->at, mark, rest->length);
    *part = (struct span){rest->at, end ? (size_t)(end - rest->at) : rest->length};
    const size_t used = part->length + 1;
    *rest = end ? (struct span){end + 1, rest->length - used} : (struct span){0};
    return true;
}

// As error_quote, of a part of a line.
static char *quote(struct span span, char *buffer)
{
    char text[ERROR_QUOTE_BYTES];
    const size_t length = span.length < sizeof text ? span.length : sizeof text - 1;
    memcpy(text, span.at, length);
    text[length] = '\0';
    return error_quote(text, buffer);
}

static bool read_kind(struct tsv *tsv, struct span line, struct error *err)
{
    if (!skip_prefix(&line, "# epsim.") || line.length < 3 ||
        memcmp(line.at + line.length - 2, "/1", 2) != 0)
        return error_set(err, EXIT_INPUT, "%s:1: not a TSV of epsim; expected '# epsim.KIND/1'",
                         tsv->path);
    line.length -= 2;
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < FIGURES; i++) {
        if (span_is(line, figures[i].kind))
            tsv->figure = &figures[i];
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 figures[i].kind);
    }
    char quoted[ERROR_QUOTE_BYTES];
    if (!tsv->figure)
        return error_set(err, EXIT_INPUT, "%s:1: no figure for '%s'; there are: %s", tsv->path,
                         quote(line, quoted), known);
    return true;
}

static bool read_columns(struct tsv *tsv, struct span line, size_t number, struct error *err)
{
    const struct figure *figure = tsv->figure;
    bool found[MAX_COLUMNS] = {false};
    struct span cell;
    while (cut_span(&line, '\t', &cell)) {
        for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++) {
            if (!span_is(cell, figure->columns[c].name))
                continue;
            if (found[c])
                return error_set(err, EXIT_INPUT, "%s:%zu: column '%s' stands twice", tsv->path,
                                 number, figure->columns[c].name);
            found[c] = true;
            tsv->place[c] = tsv->columns;
        }
        tsv->columns++;
    }
    for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++)
        if (!found[c])
            return error_set(err, EXIT_INPUT, "%s:%zu: no column '%s', which the figure needs",
                             tsv->path, number, figure->columns[c].name);
    return true;
}

static bool check_number(struct span cell, double *value)
{
    char text[64];
    if (cell.length == 0 || cell.length >= sizeof text)
        return false;
    memcpy(text, cell.at, cell.length);
    text[cell.length] = '\0';
    char *end;
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

// NULL when the cell is as it should be, or what was expected.
static const char *cell_fault(enum cells cells, struct span cell)
{
    double value = 0;
    switch (cells) {
    case CELLS_WORD:
        return cell.length == 0 || memchr(cell.at, ' ', cell.length) ? "expected one word" : NULL;
    case CELLS_NUMBER:
        return check_number(cell, &value) && value >= 0 ? NULL : "expected a number from 0";
    case CELLS_POSITIVE:
        return check_number(cell, &value) && value > 0 ? NULL : "expected a number above 0";
    case CELLS_ANY:
        return check_number(cell, &value) ? NULL : "expected a number";
    case CELLS_VALUE:
        return cell.length == 0 || (check_number(cell, &value) && value > 0)
                   ? NULL
                   : "expected a number above 0, or nothing";
    }
    return NULL;
}

static bool check_cell(struct tsv *tsv, size_t place, struct span cell, size_t number,
                       struct error *err)
{
    const struct figure *figure = tsv->figure;
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++) {
        if (tsv->place[c] != place)
            continue;
        const char *fault = cell_fault(figure->columns[c].cells, cell);
        if (fault)
            return error_set(err, EXIT_INPUT, "%s:%zu: %s: '%s': %s", tsv->path, number,
                             figure->columns[c].name, quote(cell, quoted), fault);
        tsv->values += figure->columns[c].cells == CELLS_VALUE && cell.length > 0;
    }
    return true;
}

static bool read_tsv_row(struct tsv *tsv, struct span line, size_t number, struct error *err)
{
    if (memchr(line.at, '"', line.length)) // gnuplot would read on to the next one
        return error_set(err, EXIT_INPUT, "%s:%zu: a quote: expected plain cells", tsv->path,
                         number);
    size_t cells = 0;
    struct span cell;
    while (cut_span(&line, '\t', &cell))
        if (!check_cell(tsv, cells++, cell, number, err))
            return false;
    if (cells != tsv->columns)
        return error_set(err, EXIT_INPUT, "%s:%zu: %zu cells; expected %zu, as in the header",
                         tsv->path, number, cells, tsv->columns);
    tsv->rows++;
    return true;
}

static bool read_tsv_line(struct tsv *tsv, struct span line, size_t number, struct error *err)
{
    if (number == 1)
        return read_kind(tsv, line, err);
    if (line.length > 0 && line.at[0] == '#') {
        if (skip_prefix(&line, "# title: ") && !tsv->title)
            tsv->title = mem_format("%.*s", (int)line.length, line.at);
        return true;
    }
    if (tsv->columns == 0)
        return read_columns(tsv, line, number, err);
    return read_tsv_row(tsv, line, number, err);
}

static bool has_values(const struct figure *figure)
{
    for (size_t c = 0; c < MAX_COLUMNS && figure->columns[c].name; c++)
        if (figure->columns[c].cells == CELLS_VALUE)
            return true;
    return false;
}

static bool tsv_load(struct tsv *tsv, const char *path, struct error *err)
{
    *tsv = (struct tsv){.path = path};
    tsv->text = infile_read_text(path, DATA_LIMIT, &tsv->length, err);
    if (!tsv->text)
        return false;
    tsv->length = make_printable(tsv->text, tsv->length);
    if (tsv->length == 0)
        return error_set(err, EXIT_INPUT, "%s: an empty file; expected '# epsim.KIND/1'", path);
    // The last line need not end in a newline; what follows one is no line.
    const size_t whole = tsv->length - (tsv->text[tsv->length - 1] == '\n');
    struct span rest = {tsv->text, whole}, line;
    for (size_t number = 1; cut_span(&rest, '\n', &line); number++)
        if (!read_tsv_line(tsv, line, number, err))
            return false;
    if (tsv->rows == 0)
        return error_set(err, EXIT_INPUT, "%s: no rows; nothing to draw", path);
    if (tsv->values == 0 && has_values(tsv->figure))
        return error_set(err, EXIT_INPUT, "%s: no row has a value; nothing to draw", path);
    return true;
}

static void tsv_release(struct tsv *tsv)
{
    free(tsv->text);
    free(tsv->title);
}

// --- the figure --------------------------------------------------------------------------------

static const char *known_suffix(const char *path)
{
    static const char *const suffixes[] = {".svg", ".png", ".pdf"};
    const char *dot = path ? strrchr(path, '.') : NULL;
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (strcmp(dot, suffixes[i]) == 0)
            return suffixes[i];
    return NULL;
}

static bool render(const struct tsv *tsv, const char *out_path, const char *suffix,
                   struct error *err)
{
    const struct drawing drawing = {.script = tsv->figure->kind,
                                    .title = tsv->title ? tsv->title : tsv->figure->title,
                                    .data = tsv->text,
                                    .length = tsv->length,
                                    .suffix = suffix};
    struct outfile out;
    if (!outfile_open(&out, out_path, err))
        return false;
    if (gnuplot_draw(&drawing, out.stream, err))
        return outfile_commit(&out, err);
    outfile_abort(&out);
    return false;
}

bool plot_render(const char *tsv_path, const char *out_path, struct error *err)
{
    const char *suffix = known_suffix(out_path);
    if (!suffix)
        return error_set(err, EXIT_INPUT,
                         "%s: no known kind of figure; expected a name in .svg, .png or .pdf",
                         out_path ? out_path : "-");
    struct tsv tsv;
    const bool ok = tsv_load(&tsv, tsv_path, err) && render(&tsv, out_path, suffix, err);
    tsv_release(&tsv);
    return ok;
}
