// What epsim-real probe found of a machine, as rows that the model predicts.
//
//     point-to-point  a matrix of one pair by dispatcher raw: latency + bytes / rate
//     all-to-all      nccl-alltoall over NCCL, raw over MPI; uniform, inside nodes or between them
//     copy, launch    phase rmsnorm: as many bytes are read and written by one kernel
//     gemm            phase shared: one dense expert of the shape that the file's comment says
//
// Refuses another version than 1, a missing comment "# machine:" or column, an unknown probe and a
// bad cell ("path:line: column: ...").
#include "base/units.h"
#include "model/cluster.h"
#include "study/rows/collection.h"

#include <stdio.h>
#include <string.h>

#define KIND "# epsim.probe/"
#define COPY_ROW_BYTES 4096 // of bf16: a hidden of half that

enum column { PROBE, WHERE, BYTES, MEDIAN, COLUMNS };
static const char *const names[] = {"probe", "where", "bytes_per_rank", "median_us"};

struct probe_reader {
    struct measured *measured;
    const char *path;
    size_t line;                   // in hand, from 1
    uint32_t nodes, gpus_per_node; // 0: not said yet
    bool nccl;                     // its transport
    enum dtype dtype;              // of matrix products
    uint32_t rows, hidden, intermediate;
    size_t at[COLUMNS], columns; // of the header; columns 0: it has not come
    struct error *err;
};

// ---- comments -----------------------------------------------------------------------------------

static bool read_machine(struct probe_reader *reader, const char *text)
{
    char transport[16], device[16];
    if (sscanf(text, "%9u nodes of %9u ranks, transport %15[a-z], device %15[a-z]", &reader->nodes,
               &reader->gpus_per_node, transport, device) != 4 ||
        !reader->nodes || !reader->gpus_per_node ||
        (uint64_t)reader->nodes * reader->gpus_per_node > CLUSTER_MAX_RANKS)
        return error_set(reader->err, EXIT_INPUT,
                         "machine: expected N nodes of N ranks, transport NAME, device NAME");
    reader->nccl = !strcmp(transport, "nccl");
    reader->dtype = strcmp(device, "cuda") ? DTYPE_FP32 : DTYPE_BF16;
    return true;
}

static bool read_gemm(struct probe_reader *reader, const char *text)
{
    return (sscanf(text, "%9u rows through an expert of hidden %9u, intermediate %9u",
                   &reader->rows, &reader->hidden, &reader->intermediate) == 3 &&
            reader->rows && reader->hidden && reader->intermediate) ||
           error_set(reader->err, EXIT_INPUT,
                     "gemm: expected N rows through an expert of hidden N, intermediate N");
}

static bool read_comment(struct probe_reader *reader, const char *line)
{
    static const char version[] = KIND "1", machine[] = "# machine: ", gemm[] = "# gemm: ";
    char quoted[ERROR_QUOTE_BYTES];
    if (!strncmp(line, KIND, strlen(KIND)) && strcmp(line, version))
        return error_set(reader->err, EXIT_INPUT, "'%s': expected %s", error_quote(line, quoted),
                         version);
    if (!strncmp(line, machine, strlen(machine)))
        return read_machine(reader, line + strlen(machine));
    return strncmp(line, gemm, strlen(gemm)) || read_gemm(reader, line + strlen(gemm));
}

// ---- the table ----------------------------------------------------------------------------------

#define MAX_CELLS 32

static size_t split_tabs(char *line, char **cells)
{
    size_t count = 0;
    while (line && count < MAX_CELLS)
        cells[count++] = strsep(&line, "\t");
    return count;
}

static bool read_probe_header(struct probe_reader *reader, char *line)
{
    char *cells[MAX_CELLS];
    reader->columns = split_tabs(line, cells);
    for (int c = 0; c < COLUMNS; c++) {
        size_t i = 0;
        while (i < reader->columns && strcmp(cells[i], names[c]))
            i++;
        if (i == reader->columns)
            return error_set(reader->err, EXIT_INPUT, "no column '%s'", names[c]);
        reader->at[c] = i;
    }
    return reader->nodes > 0 || error_set(reader->err, EXIT_INPUT,
                                          "no comment '# machine:' before the table: expected one");
}

static bool probe_number(const struct probe_reader *reader, enum column column, const char *text,
                         double *value)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (!units_parse(column == BYTES ? UNIT_COUNT : UNIT_NUMBER, text, value, reader->err))
        return error_prefix(reader->err, "%s", names[column]);
    return (*value > 0 && *value <= 1e12) ||
           error_set(reader->err, EXIT_INPUT, "%s: '%s': expected above 0, at most 1e12",
                     names[column], error_quote(text, quoted));
}

// Whom the bytes of an exchange go to; NULL for a place that is none of these.
static const char *probe_traffic(const struct probe_reader *reader, bool pair, const char *where,
                                 char *buffer)
{
    const bool between = !strcmp(where, "between");
    if (!between && strcmp(where, "inside") && (pair || strcmp(where, "all")))
        return NULL;
    if (!pair)
        return strcmp(where, "all") ? where : "";
    snprintf(buffer, FIELD_TEXT_BYTES, "pair:0:%u", between ? reader->gpus_per_node : 1);
    return buffer;
}

static bool read_exchange(const struct probe_reader *reader, struct measured_row *row,
                          char *const cells[COLUMNS], bool pair)
{
    char buffer[FIELD_TEXT_BYTES], quoted[ERROR_QUOTE_BYTES];
    const char *traffic = probe_traffic(reader, pair, cells[WHERE], buffer);
    double bytes;
    if (!traffic)
        return error_set(reader->err, EXIT_INPUT, "where: '%s': expected %sinside or between",
                         error_quote(cells[WHERE], quoted), pair ? "" : "all, ");
    if (!probe_number(reader, BYTES, cells[BYTES], &bytes))
        return false;
    row->phase = PHASE_ALLTOALL;
    row->bytes_per_rank = (uint64_t)bytes;
    strcpy(row->traffic, traffic);
    strcpy(row->dispatcher, pair || !reader->nccl ? "raw" : "nccl-alltoall");
    return true;
}

// One expert a rank, whatever rows of compute phases need beside what they measure.
static void read_compute(const struct probe_reader *reader, struct measured_row *row,
                         uint32_t tokens, uint32_t hidden)
{
    row->experts = reader->nodes * reader->gpus_per_node;
    row->topk = 1;
    row->tokens_per_gpu = tokens;
    row->hidden = hidden;
    strcpy(row->dispatcher, "nccl-flat");
}

static bool read_device(const struct probe_reader *reader, struct measured_row *row,
                        char *const cells[COLUMNS])
{
    double bytes = COPY_ROW_BYTES;
    char quoted[ERROR_QUOTE_BYTES];
    if (!strcmp(cells[PROBE], "gemm")) {
        if (!reader->rows)
            return error_set(reader->err, EXIT_INPUT, "no comment '# gemm:' before: expected one");
        row->phase = PHASE_SHARED;
        row->dtype = reader->dtype;
        row->intermediate = reader->intermediate;
        return read_compute(reader, row, reader->rows, reader->hidden), true;
    }
    const bool copy = !strcmp(cells[PROBE], "copy");
    if (!copy && strcmp(cells[PROBE], "launch"))
        return error_set(reader->err, EXIT_INPUT,
                         "probe: '%s': expected point-to-point, all-to-all, copy, launch or gemm",
                         error_quote(cells[PROBE], quoted));
    if (copy && !probe_number(reader, BYTES, cells[BYTES], &bytes))
        return false;
    if (bytes < COPY_ROW_BYTES || bytes > 1e12)
        return error_set(reader->err, EXIT_INPUT, "bytes_per_rank: '%s': expected %d to 1e12",
                         error_quote(cells[BYTES], quoted), COPY_ROW_BYTES);
    row->phase = PHASE_RMSNORM;
    row->dtype = DTYPE_BF16;
    return read_compute(reader, row, (uint32_t)(bytes / COPY_ROW_BYTES), COPY_ROW_BYTES / 2), true;
}

static bool read_probe_row(struct probe_reader *reader, char *line)
{
    char *cells[MAX_CELLS];
    const size_t count = split_tabs(line, cells);
    if (count != reader->columns)
        return error_set(reader->err, EXIT_INPUT, "%zu cells: expected %zu, as the header has",
                         count, reader->columns);
    char *const known[COLUMNS] = {cells[reader->at[PROBE]], cells[reader->at[WHERE]],
                                  cells[reader->at[BYTES]], cells[reader->at[MEDIAN]]};
    const bool pair = !strcmp(known[PROBE], "point-to-point");
    struct measured_row *row = measured_add(reader->measured, reader->line);
    if (!probe_number(reader, MEDIAN, known[MEDIAN], &row->latency_us))
        return false;
    row->nodes = reader->nodes;
    row->gpus_per_node = reader->gpus_per_node;
    snprintf(row->id, sizeof row->id, "%.200s:%zu", reader->path, reader->line);
    snprintf(row->family, sizeof row->family, "probe-%.200s", known[PROBE]);
    strcpy(row->stat, "slowest");
    strcpy(row->source, "epsim-real probe");
    if (pair || !strcmp(known[PROBE], "all-to-all"))
        return read_exchange(reader, row, known, pair);
    return read_device(reader, row, known);
}

static bool read_probe_line(struct probe_reader *reader, char *line)
{
    line[strcspn(line, "\r")] = '\0';
    if (!*line)
        return true;
    return *line == '#'          ? read_comment(reader, line)
           : reader->columns > 0 ? read_probe_row(reader, line)
                                 : read_probe_header(reader, line);
}

static bool recognise_probe(const char *text)
{
    return !strncmp(text, KIND, strlen(KIND));
}

static bool read_probe(struct measured *measured, const struct row_text *text, struct error *err)
{
    struct probe_reader reader = {.measured = measured, .path = text->path, .err = err};
    bool ok = true;
    for (char *rest = text->text; ok && rest;) {
        reader.line++;
        ok = read_probe_line(&reader, strsep(&rest, "\n")) ||
             error_prefix(err, "%s:%zu", text->path, reader.line);
    }
    return ok;
}

const struct row_reader row_reader_probe = {"the TSV of epsim-real probe", recognise_probe,
                                            read_probe};
