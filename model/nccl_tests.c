#include "model/nccl_tests.h"

#include "base/mem.h"
#include "base/units.h"
#include "model/cluster.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CELLS 64
#define FIXED_CELLS 3 // size, count and type stand in every row; redop and root may be blank

enum test { TEST_UNKNOWN, TEST_ALLTOALL, TEST_SENDRECV, TEST_ALLTOALLV, TEST_OTHER };

static const struct {
    const char *program, *family, *traffic;
} tests[] = {[TEST_ALLTOALL] = {"alltoall_perf", "nccl-tests-alltoall", ""},
             [TEST_SENDRECV] = {"sendrecv_perf", "nccl-tests-sendrecv", "ring"},
             [TEST_ALLTOALLV] = {"alltoallv_perf", "nccl-tests-alltoallv", "distance"}};

// One run: a test's header, its ranks and its table.
struct run {
    enum test test;
    char gpu[FIELD_TEXT_BYTES];
    char (*hosts)[FIELD_TEXT_BYTES]; // [ranks]
    uint32_t ranks, nodes;
    size_t columns;        // of the table; 0: its header has not come
    size_t time, in_place; // the columns of both times
    bool stamped;          // rows end in a date and a time
};

struct reader {
    struct measured *measured;
    const char *path;
    size_t line;
    struct run run;
    char version[64];
    size_t empty;
    struct error *err;
};

static bool complain(const struct reader *reader)
{
    return error_prefix(reader->err, "%s:%zu", reader->path, reader->line);
}

static void run_release(struct run *run)
{
    free(run->hosts);
    *run = (struct run){0};
}

// ---- lines --------------------------------------------------------------------------------------

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

// Past "[1,0]<stdout>:" of mpirun --tag-output, or "12: " of srun --label.
static const char *untag(const char *line)
{
    const char *at = skip_blanks(line);
    const char *tag = *at == '[' ? strstr(at, "]<stdout>:") : NULL;
    if (tag && strspn(at + 1, "0123456789,") == (size_t)(tag - at - 1))
        return tag + strlen("]<stdout>:");
    const size_t digits = strspn(at, "0123456789");
    return digits && at[digits] == ':' && at[digits + 1] == ' ' ? at + digits + 2 : line;
}

// What follows "# <words>", blanks between as they come; NULL where the line begins otherwise.
static const char *after(const char *line, const char *words)
{
    if (*line != '#')
        return NULL;
    line = skip_blanks(line + 1);
    return strncmp(line, words, strlen(words)) ? NULL : line + strlen(words);
}

static size_t split(char *line, char **cells)
{
    char *save = NULL;
    size_t count = 0;
    for (char *cell = strtok_r(line, " \t\r", &save); cell && count < MOST_CELLS;
         cell = strtok_r(NULL, " \t\r", &save))
        cells[count++] = cell;
    return count;
}

// ---- what ran -----------------------------------------------------------------------------------

static enum test test_of(const char *program)
{
    for (enum test test = TEST_ALLTOALL; test <= TEST_ALLTOALLV; test++) {
        const size_t length = strlen(tests[test].program);
        if (!strncmp(program, tests[test].program, length) &&
            !isalnum((unsigned char)program[length]))
            return test;
    }
    return TEST_OTHER;
}

static void begin_run(struct reader *reader, enum test test)
{
    run_release(&reader->run);
    reader->run.test = test;
}

static void read_test(struct reader *reader, const char *program)
{
    program = skip_blanks(program);
    begin_run(reader, test_of(program));
    if (reader->run.test == TEST_OTHER)
        notice("%s:%zu: %.*s is left out: only alltoall_perf, alltoallv_perf and sendrecv_perf are "
               "read",
               reader->path, reader->line, (int)strcspn(program, " \t\r"), program);
}

// The line of parameters: the first of a run in older versions, after the test's name in newer.
static void read_parameters(struct reader *reader)
{
    if (reader->run.ranks || reader->run.columns)
        begin_run(reader, TEST_UNKNOWN);
}

static void read_version(struct reader *reader, const char *text)
{
    text = skip_blanks(text);
    snprintf(reader->version, sizeof reader->version, " %.*s", (int)strcspn(text, " \t\r"), text);
}

// ---- where ranks are ----------------------------------------------------------------------------

// Clusters call a GPU by the word of its name that has a digit: "NVIDIA A100-SXM4-80GB" is a100.
static void gpu_of(const char *name, char *gpu)
{
    gpu[0] = '\0';
    for (name = skip_blanks(name); *name; name = skip_blanks(name)) {
        const size_t word = strcspn(name, " \t\r"), length = strcspn(name, " \t\r-");
        size_t digit = 0;
        while (digit < length && !isdigit((unsigned char)name[digit]))
            digit++;
        if (digit < length && length < FIELD_TEXT_BYTES) {
            for (size_t i = 0; i < length; i++)
                gpu[i] = (char)tolower((unsigned char)name[i]);
            gpu[length] = '\0';
            return;
        }
        name += word;
    }
}

struct rank_line {
    unsigned rank, group;
    char host[FIELD_TEXT_BYTES];
    const char *name;
};

// "  3 Group  0 Pid 1887 on worker-1 device  3 [0000:8d:00.0] NVIDIA H100 80GB HBM3"; older
// versions have no group.
static bool parse_rank(const char *text, struct rank_line *rank)
{
    int end = 0;
    *rank = (struct rank_line){0};
    if (sscanf(text, "%9u Group %9u Pid %*d on %255s device %*d [%*[^]]]%n", &rank->rank,
               &rank->group, rank->host, &end) != 3 &&
        sscanf(text, "%9u Pid %*d on %255s device %*d [%*[^]]]%n", &rank->rank, rank->host, &end) !=
            2)
        return false;
    rank->name = text + end;
    return end > 0;
}

static bool check_rank(const struct reader *reader, const struct rank_line *rank, const char *gpu)
{
    const struct run *run = &reader->run;
    char quoted[ERROR_QUOTE_BYTES];
    if (rank->rank < run->ranks)
        return error_set(reader->err, EXIT_INPUT,
                         "rank %u stands twice: expected one job (nccl-tests built with MPI=1)",
                         rank->rank);
    if (rank->rank > run->ranks)
        return error_set(reader->err, EXIT_INPUT, "rank %u: expected rank %u", rank->rank,
                         run->ranks);
    if (run->ranks == CLUSTER_MAX_RANKS)
        return error_set(reader->err, EXIT_INPUT, "rank %u: expected at most %d ranks", rank->rank,
                         CLUSTER_MAX_RANKS);
    if (rank->group)
        return error_set(reader->err, EXIT_INPUT,
                         "group %u: expected one group of ranks (no NCCL_TESTS_SPLIT)",
                         rank->group);
    if (run->ranks && strcmp(run->gpu, gpu))
        return error_set(reader->err, EXIT_INPUT, "GPU '%s': expected one kind, %s as on rank 0",
                         error_quote(gpu, quoted), run->gpu);
    return true;
}

static bool read_rank(struct reader *reader, const char *text)
{
    struct run *run = &reader->run;
    struct rank_line rank;
    char gpu[FIELD_TEXT_BYTES];
    if (run->columns)
        begin_run(reader, TEST_UNKNOWN);
    if (!parse_rank(text, &rank)) {
        error_set(reader->err, EXIT_INPUT,
                  "a rank: expected N Group N Pid N on HOST device N [BUS] NAME");
        return complain(reader);
    }
    gpu_of(rank.name, gpu);
    if (!check_rank(reader, &rank, gpu))
        return complain(reader);
    run->hosts = mem_grow(run->hosts, run->ranks + 1, sizeof *run->hosts);
    strcpy(run->hosts[run->ranks++], rank.host);
    strcpy(run->gpu, gpu);
    return true;
}

// GPUs of a node, if ranks stand host after host, as many on each; or 0.
static uint32_t gpus_of_host(const struct run *run)
{
    uint32_t gpus = 1;
    while (gpus < run->ranks && !strcmp(run->hosts[gpus], run->hosts[0]))
        gpus++;
    if (run->ranks % gpus)
        return 0;
    for (uint32_t r = 0; r < run->ranks; r++)
        for (uint32_t first = 0; first <= r; first += gpus)
            if (!strcmp(run->hosts[r], run->hosts[first]) != (r - first < gpus))
                return 0;
    return gpus;
}

static bool place_ranks(struct reader *reader)
{
    struct run *run = &reader->run;
    if (!run->ranks)
        return error_set(reader->err, EXIT_INPUT,
                         "a table without ranks: expected a line '# Rank 0 ... on HOST ...' for "
                         "every GPU before it");
    const uint32_t gpus = gpus_of_host(run);
    if (!gpus)
        return error_set(reader->err, EXIT_INPUT,
                         "ranks are not placed host after host, as many on each: expected mpirun "
                         "--map-by slot");
    run->nodes = run->ranks / gpus;
    return true;
}

// ---- the table ----------------------------------------------------------------------------------

static bool is_time(const char *name)
{
    return !strcmp(name, "time") || !strcmp(name, "cputime");
}

// "size count type redop root time algbw busbw #wrong time algbw busbw #wrong".
static bool read_header(struct reader *reader, const char *text)
{
    struct run *run = &reader->run;
    char *names[MOST_CELLS], *copy = mem_copy_text(text);
    size_t count = split(copy, names), times = 0;
    run->stamped = count && !strcmp(names[count - 1], "timestamp");
    count -= run->stamped;
    for (size_t i = 0; i < count; i++)
        if (is_time(names[i]) && ++times <= 2)
            *(times == 1 ? &run->time : &run->in_place) = i;
    run->columns = count;
    free(copy);
    if (times != 2 || run->time < FIXED_CELLS || run->in_place < run->time + 4 ||
        run->in_place + 4 > count)
        error_set(reader->err, EXIT_INPUT,
                  "a table's header: expected size count type redop root, and twice time algbw "
                  "busbw #wrong");
    else if (place_ranks(reader))
        return true;
    return complain(reader);
}

struct cells {
    char *cell[MOST_CELLS];
    size_t shift; // columns before time that are blank
};

static bool find_cells(const struct reader *reader, char *line, struct cells *cells)
{
    const struct run *run = &reader->run;
    const size_t stamp = run->stamped ? 2 : 0, count = split(line, cells->cell);
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

static bool read_number(const struct reader *reader, const char *name, const char *text,
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
static bool check_wrong(const struct reader *reader, const struct cells *cells)
{
    const char *text = cell_of(cells, reader->run.time + 3);
    double wrong;
    if (unchecked(text))
        return true;
    if (!read_number(reader, "#wrong", text, &wrong))
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
static enum test guess_test(const struct reader *reader, const struct cells *cells, double size,
                            double count)
{
    const struct run *run = &reader->run;
    const double bytes = count * type_bytes(cells->cell[2]);
    if (unchecked(cell_of(cells, run->time + 3)) || !unchecked(cell_of(cells, run->in_place + 3)))
        return TEST_UNKNOWN;
    const bool sendrecv = bytes == size, alltoall = bytes * run->ranks == size;
    return sendrecv == alltoall ? TEST_UNKNOWN : sendrecv ? TEST_SENDRECV : TEST_ALLTOALL;
}

static bool find_test(struct reader *reader, const struct cells *cells, double size, double count)
{
    if (reader->run.test == TEST_UNKNOWN)
        reader->run.test = guess_test(reader, cells, size, count);
    return reader->run.test != TEST_UNKNOWN ||
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
static bool find_traffic(const struct reader *reader, const struct cells *cells,
                         struct measured_row *row, double count)
{
    const uint32_t ranks = reader->run.ranks;
    const double all = count * type_bytes(cells->cell[2]) * ranks;
    strcpy(row->traffic, tests[reader->run.test].traffic);
    if (reader->run.test != TEST_ALLTOALLV)
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

static void name_row(const struct reader *reader, struct measured_row *row)
{
    const struct run *run = &reader->run;
    snprintf(row->id, sizeof row->id, "%.200s:%zu", reader->path, reader->line);
    strcpy(row->family, tests[run->test].family);
    strcpy(row->dispatcher, "nccl-alltoall");
    row->nodes = run->nodes;
    row->gpus_per_node = run->ranks / run->nodes;
    row->phase = PHASE_ALLTOALL;
    strcpy(row->stat, "slowest");
    strcpy(row->gpu, run->gpu);
    snprintf(row->source, sizeof row->source, "nccl-tests%s", reader->version);
}

// The size is what a rank sends: of an all-to-all the count to each of the ranks, its own among
// them, of a sendrecv to its one peer. Another means a text of which ranks or columns are lost.
static bool check_size(const struct reader *reader, const struct cells *cells, double size,
                       double count)
{
    const uint32_t peers = reader->run.test == TEST_ALLTOALL ? reader->run.ranks : 1;
    const uint32_t bytes = type_bytes(cells->cell[2]);
    return reader->run.test == TEST_ALLTOALLV || count * bytes * peers == size ||
           error_set(reader->err, EXIT_INPUT,
                     "size: %.0f bytes: expected count %.0f x %u bytes of %.20s x %u peers", size,
                     count, bytes, cells->cell[2], peers);
}

static bool take_row(struct reader *reader, char *line)
{
    struct cells cells;
    double size, count, time;
    if (!find_cells(reader, line, &cells) || !read_number(reader, "size", cells.cell[0], &size) ||
        !read_number(reader, "count", cells.cell[1], &count) ||
        !read_number(reader, "time", cell_of(&cells, reader->run.time), &time) ||
        !check_wrong(reader, &cells))
        return false;
    if (size <= 0)
        return reader->empty++, true; // less than 16 bytes a peer: nothing was sent
    if (!find_test(reader, &cells, size, count) || !check_size(reader, &cells, size, count))
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

static bool is_row(const char *line)
{
    line = skip_blanks(line);
    const size_t digits = strspn(line, "0123456789");
    return digits &&
           (isblank((unsigned char)line[digits]) || !line[digits] || line[digits] == '\r');
}

static bool read_line(struct reader *reader, const char *tagged)
{
    const char *line = untag(tagged), *rest;
    if ((rest = after(line, "Collective test starting:")))
        return read_test(reader, rest), true;
    if ((rest = after(line, "nccl-tests version")))
        return read_version(reader, rest), true;
    if (after(line, "nThread "))
        return read_parameters(reader), true;
    if (reader->run.test == TEST_OTHER)
        return true;
    if ((rest = after(line, "Rank ")))
        return read_rank(reader, rest);
    if (after(line, "size "))
        return read_header(reader, skip_blanks(line + 1));
    if (!reader->run.columns || !is_row(line))
        return true;
    char *copy = mem_copy_text(line);
    const bool ok = take_row(reader, copy);
    free(copy);
    return ok || complain(reader);
}

bool nccl_tests_recognise(const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n'), line += line != NULL) {
        char begin[64];
        snprintf(begin, sizeof begin, "%.63s", line);
        begin[strcspn(begin, "\n")] = '\0';
        if (after(untag(begin), "nThread "))
            return true;
    }
    return false;
}

bool nccl_tests_read(struct measured *measured, const char *path, char *text, struct error *err)
{
    struct reader reader = {.measured = measured, .path = path, .err = err};
    bool ok = true;
    for (char *line = text, *next; ok && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        reader.line++;
        ok = read_line(&reader, line);
    }
    run_release(&reader.run);
    if (ok && reader.empty)
        notice("%s: %zu rows of 0 bytes are left out", path, reader.empty);
    return ok;
}
