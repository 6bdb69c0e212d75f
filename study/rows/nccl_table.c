#include "study/rows/nccl_table.h"

#include "base/units.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MAX_CELLS 64
#define FIXED_CELLS 3 // size, count and type stand in every row; redop and root may be blank

static size_t split_blanks(char *line, char **cells)
{
    char *save = NULL;
    size_t count = 0;
    for (char *cell = strtok_r(line, " \t\r", &save); cell && count < MAX_CELLS;
         cell = strtok_r(NULL, " \t\r", &save))
        cells[count++] = cell;
    return count;
}

static bool is_time(const char *name)
{
    return !strcmp(name, "time") || !strcmp(name, "cputime");
}

// "size count type redop root time algbw busbw #wrong time algbw busbw #wrong".
bool nccl_read_header(struct nccl_reader *reader, char *text)
{
    struct nccl_run *run = &reader->run;
    char *names[MAX_CELLS];
    size_t count = split_blanks(text, names), times = 0;
    run->stamped = count && !strcmp(names[count - 1], "timestamp");
    count -= run->stamped;
    for (size_t i = 0; i < count; i++)
        if (is_time(names[i]) && ++times <= 2)
            *(times == 1 ? &run->time : &run->in_place) = i;
    run->columns = count;
    if (times != 2 || run->time < FIXED_CELLS || run->in_place < run->time + 4 ||
        run->in_place + 4 > count)
        return error_set(reader->err, EXIT_INPUT,
                         "a table's header: expected size count type redop root, and twice time "
                         "algbw busbw #wrong");
    return nccl_place_ranks(reader);
}

struct cells {
    char *cell[MAX_CELLS];
    size_t shift; // columns before time that are blank
};

static bool find_cells(const struct nccl_reader *reader, char *line, struct cells *cells)
{
    const struct nccl_run *run = &reader->run;
    const size_t stamp = run->stamped ? 2 : 0, count = split_blanks(line, cells->cell);
    if (count > run->columns + stamp || count + run->time - FIXED_CELLS < run->columns + stamp)
        return error_set(reader->err, EXIT_INPUT, "%zu cells: expected %zu, as the header has",
                         count, run->columns + stamp);
    cells->shift = run->columns + stamp - count;
    return true;
}

static const char *cell_of(const struct cells *cells, size_t column)
{
    return cells->cell[column - cells->shift];
}

static bool read_nccl_number(const struct nccl_reader *reader, const char *name, const char *text,
                             double *value)
{
    const bool whole = strcmp(name, "size") == 0 || strcmp(name, "count") == 0;
    return units_parse(whole ? UNIT_COUNT : UNIT_NUMBER, text, value, reader->err) ||
           error_prefix(reader->err, "%s", name);
}

static bool unchecked(const char *text)
{
    return !strcmp(text, "N/A");
}

// Out of place: in place an all-to-all overwrites what it sends, and is not checked.
static bool check_wrong(const struct nccl_reader *reader, const struct cells *cells)
{
    const char *text = cell_of(cells, reader->run.time + 3);
    double wrong;
    if (unchecked(text))
        return true;
    if (!read_nccl_number(reader, "#wrong", text, &wrong))
        return false;
    return wrong <= 0 ||
           error_set(reader->err, EXIT_INPUT,
                     "#wrong: %s: data came wrong: expected times of a run without errors", text);
}

static uint32_t type_bytes(const char *type)
{
    static const struct {
        const char *name;
        uint32_t bytes;
    } types[] = {{"int8", 1},   {"uint8", 1},    {"char", 1},   {"int32", 4},    {"int", 4},
                 {"uint32", 4}, {"int64", 8},    {"uint64", 8}, {"half", 2},     {"float", 4},
                 {"double", 8}, {"bfloat16", 2}, {"f8e4m3", 1}, {"f8e5m2", 1},   {"fp8_e4m3", 1},
                 {"fp16", 2},   {"fp32", 4},     {"fp64", 8},   {"fp8_e5m2", 1}, {"bf16", 2}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(type, types[i].name))
            return types[i].bytes;
    return 0;
}

// Only exchanges are checked out of place and not in place; of them the count of an all-to-all is
// one peer's.
static enum nccl_test guess_test(const struct nccl_reader *reader, const struct cells *cells,
                                 double size, double count)
{
    const struct nccl_run *run = &reader->run;
    const double bytes = count * type_bytes(cells->cell[2]);
    if (unchecked(cell_of(cells, run->time + 3)) || !unchecked(cell_of(cells, run->in_place + 3)))
        return NCCL_UNKNOWN;
    const bool sendrecv = bytes == size, alltoall = bytes * run->ranks == size;
    return sendrecv == alltoall ? NCCL_UNKNOWN : sendrecv ? NCCL_SENDRECV : NCCL_ALLTOALL;
}

static bool find_test(struct nccl_reader *reader, const struct cells *cells, double size,
                      double count)
{
    if (reader->run.test == NCCL_UNKNOWN)
        reader->run.test = guess_test(reader, cells, size, count);
    return reader->run.test != NCCL_UNKNOWN ||
           error_set(reader->err, EXIT_INPUT,
                     "the text does not say which test ran: expected a line '# Collective test "
                     "starting: alltoall_perf' (or sendrecv_perf, alltoallv_perf) before '# "
                     "nThread'");
}

// What every rank sends in all by alltoallv's own pattern, parts rounded down as it does.
static uint64_t distance_sum(uint64_t all, uint32_t ranks)
{
    const double places = ranks * (ranks - 1.0) / 2;
    uint64_t sum = 0;
    for (uint32_t d = 1; d < ranks; d++)
        sum += (uint64_t)(d * (double)all / places) / 16 * 16;
    return sum;
}

// alltoallv: a count is a peer's of the pattern that it makes, 0 with a matrix.
static bool find_traffic(const struct nccl_reader *reader, const struct cells *cells,
                         struct measured_row *row, double count)
{
    const uint32_t ranks = reader->run.ranks;
    const double all = count * type_bytes(cells->cell[2]) * ranks;
    strcpy(row->traffic, nccl_programs[reader->run.test].traffic);
    if (reader->run.test != NCCL_ALLTOALLV)
        return true;
    if (count <= 0)
        return strcpy(row->traffic, "matrix"), true;
    if (distance_sum((uint64_t)all, ranks) != row->bytes_per_rank)
        return error_set(reader->err, EXIT_INPUT,
                         "size %llu: expected alltoallv_perf's own pattern "
                         "(NCCL_TESTS_ALLTOALLV_SPREAD unset), or a matrix file",
                         (unsigned long long)row->bytes_per_rank);
    row->bytes_per_rank = (uint64_t)all;
    return true;
}

static void name_row(const struct nccl_reader *reader, struct measured_row *row)
{
    const struct nccl_run *run = &reader->run;
    snprintf(row->id, sizeof row->id, "%.200s:%zu", reader->path, reader->line);
    strcpy(row->family, nccl_programs[run->test].family);
    strcpy(row->dispatcher, "nccl-alltoall");
    row->nodes = run->nodes;
    row->gpus_per_node = run->ranks / run->nodes;
    row->phase = PHASE_ALLTOALL;
    strcpy(row->stat, "slowest");
    strcpy(row->gpu, run->gpu);
    snprintf(row->source, sizeof row->source, "nccl-tests%s%s", reader->version, reader->nccl);
}

// The size is what a rank sends: of an all-to-all the count to each of the ranks, its own among
// them, of a sendrecv to its one peer. Another means a text of which ranks or columns are lost.
static bool check_nccl_size(const struct nccl_reader *reader, const struct cells *cells,
                            double size, double count)
{
    const uint32_t peers = reader->run.test == NCCL_ALLTOALL ? reader->run.ranks : 1;
    const uint32_t bytes = type_bytes(cells->cell[2]);
    return reader->run.test == NCCL_ALLTOALLV || count * bytes * peers == size ||
           error_set(reader->err, EXIT_INPUT,
                     "size: %.0f bytes: expected count %.0f x %u bytes of %.20s x %u peers", size,
                     count, bytes, cells->cell[2], peers);
}

bool nccl_read_row(struct nccl_reader *reader, char *line)
{
    struct cells cells;
    double size, count, time;
    if (!find_cells(reader, line, &cells) ||
        !read_nccl_number(reader, "size", cells.cell[0], &size) ||
        !read_nccl_number(reader, "count", cells.cell[1], &count) ||
        !read_nccl_number(reader, "time", cell_of(&cells, reader->run.time), &time) ||
        !check_wrong(reader, &cells))
        return false;
    if (size <= 0)
        return reader->empty++, true; // less than 16 bytes a peer: nothing was sent
    if (!find_test(reader, &cells, size, count) || !check_nccl_size(reader, &cells, size, count))
        return false;
    if (time <= 0 || time > 1e12)
        return error_set(reader->err, EXIT_INPUT, "time: '%.20s': expected microseconds above 0",
                         cell_of(&cells, reader->run.time));
    struct measured_row *row = measured_add(reader->measured, reader->line);
    row->bytes_per_rank = (uint64_t)size;
    row->latency_us = time;
    name_row(reader, row);
    return find_traffic(reader, &cells, row, count);
}

bool nccl_is_row(const char *line)
{
    line = skip_blanks(line);
    const size_t digits = strspn(line, "0123456789");
    return digits &&
           (isblank((unsigned char)line[digits]) || !line[digits] || line[digits] == '\r');
}
