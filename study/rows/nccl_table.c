#include "study/rows/nccl_table.h"

#include "base/units.h"
#include "study/rows/log_line.h"
#include "study/rows/nccl_row.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CELLS 64
#define LINE_BYTES 1024
#define FIXED_CELLS 3 // size, count and type stand in every row; redop and root may be blank
#define DIGITS "0123456789"
#define ROUNDED 1e-3 // what single precision may have lost

// Cells of a line: a copy that is cut.
struct cells {
    char text[LINE_BYTES];
    char *cell[MAX_CELLS];
    size_t count;
};

static void split_cells(struct cells *cells, const char *line)
{
    char *save = NULL;
    snprintf(cells->text, sizeof cells->text, "%s", line);
    cells->count = 0;
    for (char *cell = strtok_r(cells->text, " \t\r", &save); cell && cells->count < MAX_CELLS;
         cell = strtok_r(NULL, " \t\r", &save))
        cells->cell[cells->count++] = cell;
}

// ---- what a cell can be -------------------------------------------------------------------------

static bool is_number(const char *cell)
{
    char *end;
    strtod(cell, &end);
    return end > cell && !*end;
}

static bool is_figure(const char *cell)
{
    return is_number(cell) || !strcmp(cell, "N/A");
}

// Of the date and the time that end a row of some versions.
static bool is_stamp(const char *cell)
{
    return isdigit((unsigned char)*cell) && !cell[strspn(cell, DIGITS "-:.")];
}

static bool is_count(const char *cell)
{
    return *cell && !cell[strspn(cell, DIGITS)];
}

static bool is_operation(const char *cell)
{
    static const char *const names[] = {"none", "sum", "prod", "max",
                                        "min",  "avg", "all",  "mulsum"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(cell, names[i]))
            return true;
    return false;
}

// ---- the header ---------------------------------------------------------------------------------

#define CPU_TIME "cputime"

static bool is_time(const char *name)
{
    return !strcmp(name, "time") || !strcmp(name, CPU_TIME);
}

bool nccl_is_header(const char *line)
{
    line += strspn(line, " \t#");
    return !strncmp(line, "size", 4) && strstr(line, "count") && strstr(line, "type") &&
           strstr(line, "time") && strstr(line, "algbw") && strstr(line, "busbw");
}

// "size count type redop root time algbw busbw #wrong time algbw busbw #wrong".
bool nccl_read_header(struct nccl_reader *reader, struct log *log, const char *line)
{
    struct nccl_run *run = &reader->run;
    struct cells names;
    size_t times = 0;
    split_cells(&names, line + strspn(line, " \t#"));
    run->stamped = !strcmp(names.cell[names.count - 1], "timestamp");
    run->errors = run->cpu_times = false;
    run->in_place = 0;
    names.count -= run->stamped;
    for (size_t i = 0; i < names.count; i++) {
        if (is_time(names.cell[i]) && ++times <= 2)
            *(times == 1 ? &run->time : &run->in_place) = i;
        run->cpu_times = run->cpu_times || !strcmp(names.cell[i], CPU_TIME);
        run->errors = run->errors || !strcmp(names.cell[i], "error");
    }
    run->columns = names.count;
    const size_t last = times == 2 ? run->in_place : run->time;
    return (times >= 1 && times <= 2 && run->time >= FIXED_CELLS && run->time <= FIXED_CELLS + 2 &&
            (times == 1 || run->in_place >= run->time + 4) && last + 4 <= run->columns) ||
           error_set(log->err, EXIT_INPUT,
                     "a table's header: expected size count type redop root, and twice time algbw "
                     "busbw #wrong");
}

// Of 2022 and later: 13 columns.
static void assume_header(struct nccl_run *run)
{
    run->columns = 13;
    run->time = 5;
    run->in_place = 9;
}

// ---- rows ---------------------------------------------------------------------------------------

// Cells before the time in this row: redop and root may be blank.
static size_t lead_of(const struct nccl_run *run, const struct cells *cells)
{
    if (cells->count <= FIXED_CELLS || !is_operation(cells->cell[FIXED_CELLS]))
        return FIXED_CELLS;
    return run->time;
}

// How many cells the row has when it is whole.
static size_t whole_of(const struct nccl_run *run, const struct cells *cells)
{
    return run->columns - run->time + lead_of(run, cells) + (run->stamped ? 2 : 0);
}

static bool read_number(const char *name, const char *text, double *value, struct error *err)
{
    const bool whole = strcmp(name, "size") == 0 || strcmp(name, "count") == 0;
    return units_parse(whole ? UNIT_COUNT : UNIT_NUMBER, text, value, err) ||
           error_prefix(err, "%s", name);
}

// Half of the last place that a figure has.
static double half_place(const char *figure)
{
    const char *point = strchr(figure, '.');
    return 0.5 * pow(10, point ? -(double)strspn(point + 1, DIGITS) : 0);
}

// What the size over the time may be by the row's algbw, both rounded.
static void read_algbw(const char *time, const char *algbw, struct nccl_result *result)
{
    const double GBps = strtod(algbw, NULL), off = half_place(algbw);
    const double time_off = half_place(time) / result->time_us;
    if (!is_number(algbw) || !(result->time_us > 0))
        return;
    result->min_GBps = (GBps - off) * (1 - time_off) * (1 - ROUNDED);
    result->max_GBps = (GBps + off) * (1 + 2 * time_off) * (1 + ROUNDED);
}

static bool read_whole_row(struct nccl_reader *reader, struct log *log, const struct cells *cells)
{
    const struct nccl_run *run = &reader->run;
    const size_t time = lead_of(run, cells);
    char *const *of = cells->cell;
    struct nccl_result result = {
        .type = of[2],
        .redop = time > FIXED_CELLS ? of[FIXED_CELLS] : "",
        .wrong = of[time + 3],
        .wrong_in_place = run->in_place ? of[time + run->in_place - run->time + 3] : "N/A"};
    char quoted[ERROR_QUOTE_BYTES];
    if (!nccl_type_bytes(of[2])) {
        log_leave_out(log, "rows of type '%s' are left out: expected a type of nccl-tests",
                      error_quote(of[2], quoted));
        return true;
    }
    if (!read_number("size", of[0], &result.size, log->err) ||
        !read_number("count", of[1], &result.count, log->err) ||
        !read_number("time", of[time], &result.time_us, log->err))
        return false;
    if (run->cpu_times)
        return log_leave_out(log, NCCL_CPU_TIMES), true;
    read_algbw(of[time], of[time + 1], &result);
    return nccl_add_row(reader, log, &result);
}

// Begins like a row: a size, a count and a word that is a type, or may be one.
static bool is_row(const char *line, bool known_type)
{
    line = skip_blanks(line);
    const size_t size = strspn(line, DIGITS);
    if (!size || !isblank((unsigned char)line[size]))
        return false;
    line = skip_blanks(line + size);
    const size_t count = strcspn(line, " \t");
    char type[16];
    snprintf(type, sizeof type, "%.*s", (int)strcspn(skip_blanks(line + count), " \t"),
             skip_blanks(line + count));
    return isdigit((unsigned char)*line) &&
           (known_type ? nccl_type_bytes(type) > 0 : isalpha((unsigned char)type[0]));
}

bool nccl_is_whole_row(const char *line)
{
    if (!is_row(line, true))
        return false;
    struct nccl_run run = {0};
    struct cells cells;
    assume_header(&run);
    split_cells(&cells, line);
    if (cells.count == 12 && is_operation(cells.cell[FIXED_CELLS])) { // of 2021: no root
        run.time--;
        run.columns--;
    }
    if (cells.count != whole_of(&run, &cells) || !is_count(cells.cell[1]))
        return false;
    for (size_t i = lead_of(&run, &cells); i < cells.count; i++)
        if (!is_figure(cells.cell[i]))
            return false;
    return true;
}

// ---- rows that another writer split -------------------------------------------------------------

// Cuts a cell after its number, where another writer's line follows it without a blank: the root
// of an exchange is -1, whatever digits a host's name begins with. False: no number begins it.
static bool cut_figure(char *cell, bool root)
{
    if (!strncmp(cell, "N/A", 3))
        return cell[3] = '\0', true;
    char *end = cell;
    if (root && !strncmp(cell, "-1", 2))
        end = cell + 2;
    else
        strtod(cell, &end);
    *end = '\0';
    return end > cell;
}

// Keeps the cells that are the row's own.
static void keep_own_cells(const struct nccl_run *run, struct cells *cells)
{
    const size_t lead = lead_of(run, cells), whole = whole_of(run, cells);
    for (size_t i = FIXED_CELLS + (lead > FIXED_CELLS); i < cells->count; i++)
        if (!is_figure(cells->cell[i]) && !(run->stamped && is_stamp(cells->cell[i])))
            cells->count = i + (i < whole && cut_figure(cells->cell[i], i + 1 == lead));
}

static void keep_split(struct nccl_split *split, const struct log *log, const struct cells *cells)
{
    size_t length = 0;
    for (size_t i = 0; i < cells->count && length < sizeof split->cells; i++)
        length += (size_t)snprintf(split->cells + length, sizeof split->cells - length, "%s ",
                                   cells->cell[i]);
    split->line = log->line;
}

#define NO_END "rows whose end is not there, or stands elsewhere, are left out"
#define NO_BEGINNING "rows whose beginning is not there, or stands elsewhere, are left out"

void nccl_end_table(struct nccl_reader *reader, struct log *log)
{
    reader->head.cells[0] = '\0';
    if (!reader->split.cells[0])
        return;
    const size_t line = log->line;
    log->line = reader->split.line;
    log_leave_out(log, NO_END);
    log->line = line;
    reader->split.cells[0] = '\0';
}

// A size, or a size and a count, before what is none of a row's cells.
static void keep_head(struct nccl_reader *reader, const struct log *log, struct cells *cells)
{
    size_t counts = 0;
    while (counts < cells->count && is_count(cells->cell[counts]))
        counts++;
    if (counts < 1 || counts > 2)
        return;
    cells->count = counts;
    keep_split(&reader->head, log, cells);
}

static bool read_table_row(struct nccl_reader *reader, struct log *log, const char *line)
{
    struct nccl_run *run = &reader->run;
    struct cells cells;
    if (!run->columns)
        assume_header(run);
    split_cells(&cells, line);
    const size_t whole = whole_of(run, &cells), count = cells.count;
    if (count != whole && !nccl_type_bytes(cells.cell[2]))
        return keep_head(reader, log, &cells), true; // or another writer's
    nccl_end_table(reader, log);
    keep_own_cells(run, &cells);
    if (cells.count < whole)
        return keep_split(&reader->split, log, &cells), true;
    if (cells.count == whole)
        return read_whole_row(reader, log, &cells);
    return error_set(log->err, EXIT_INPUT, "%zu cells: expected %zu, as the header has", count,
                     whole);
}

static bool is_wrong(const char *cell)
{
    return is_figure(cell) && !strchr(cell, '.');
}

// Ends as a row does: all figures from the time on, and values that were wrong (none has a point)
// behind both rates.
static bool is_rest(const struct nccl_run *run, const struct cells *cells)
{
    const size_t figures = run->columns - run->time, count = cells->count;
    if (count < figures || !is_wrong(cells->cell[count - 1]) ||
        (run->in_place && !is_wrong(cells->cell[count - 5])))
        return false;
    for (size_t i = count - figures; i < count; i++)
        if (!is_figure(cells->cell[i]))
            return false;
    return true;
}

// Whether a row's beginning and what stands on this line are a whole row; its cells.
static bool join_row(const struct nccl_run *run, const struct nccl_split *split, const char *rest,
                     struct cells *cells)
{
    char joined[LINE_BYTES];
    snprintf(joined, sizeof joined, "%s %.400s", split->cells, rest);
    split_cells(cells, joined);
    if (!split->cells[0] || !is_row(joined, true) || cells->count != whole_of(run, cells))
        return false;
    for (size_t i = lead_of(run, cells); i < cells->count; i++)
        if (!is_figure(cells->cell[i]) && !(run->stamped && is_stamp(cells->cell[i])))
            return false;
    return true;
}

static bool read_joined_row(struct nccl_reader *reader, struct log *log, struct nccl_split *split,
                            const struct cells *cells)
{
    const size_t line = log->line;
    log->line = split->line;
    split->cells[0] = '\0';
    const bool ok = read_whole_row(reader, log, cells);
    if (ok)
        log->line = line;
    return ok;
}

// A line that begins no row: the rest of one, the beginning of one that is cut within its counts,
// or another writer's.
static bool read_row_part(struct nccl_reader *reader, struct log *log, const char *line)
{
    struct cells cells;
    if (join_row(&reader->run, &reader->split, line, &cells))
        return read_joined_row(reader, log, &reader->split, &cells);
    if (join_row(&reader->run, &reader->head, line, &cells))
        return read_joined_row(reader, log, &reader->head, &cells);
    split_cells(&cells, line);
    if (!is_rest(&reader->run, &cells))
        keep_head(reader, log, &cells);
    else if (reader->split.cells[0])
        nccl_end_table(reader, log);
    else
        log_leave_out(log, NO_BEGINNING);
    return true;
}

bool nccl_read_table_line(struct nccl_reader *reader, struct log *log, const char *line)
{
    const bool in_table = reader->run.columns;
    if (is_row(line, !in_table))
        return !in_table && !nccl_is_whole_row(line) ? true : read_table_row(reader, log, line);
    return !in_table || read_row_part(reader, log, line);
}
