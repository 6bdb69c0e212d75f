#include "study/rows/nccl_row.h"

#include "base/units.h"
#include "model/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_TIME_US 1e-3 // tables have two decimals
#define MAX_TIME_US 1e12

uint32_t nccl_type_bytes(const char *type)
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

// ---- which test ---------------------------------------------------------------------------------

static bool is_unchecked(const char *wrong)
{
    return !strcmp(wrong, "N/A");
}

// Only exchanges are checked out of place and not in place, where an all-to-all overwrites what it
// sends; versions of 2021 and before checked that too, and found an error of 1e+00.
static bool was_exchange(const struct nccl_run *run, const struct nccl_result *result)
{
    return !is_unchecked(result->wrong) && (is_unchecked(result->wrong_in_place) ||
                                            (run->errors && strtod(result->wrong, NULL) <= 0 &&
                                             strtod(result->wrong_in_place, NULL) > 0));
}

// Of exchanges the count of an all-to-all is one peer's, that of a sendrecv all of the size. Others
// are checked in place.
static enum nccl_test guess_test(const struct nccl_run *run, const struct nccl_result *result)
{
    const double bytes = result->count * nccl_type_bytes(result->type);
    const bool whole = run->listed && !run->elided && !run->cut;
    if (!was_exchange(run, result))
        return is_unchecked(result->wrong_in_place) ? NCCL_UNKNOWN : NCCL_OTHER;
    const double peers = bytes > 0 ? result->size / bytes : 0;
    const bool sendrecv = peers == 1;
    const bool alltoall = whole && peers != run->listed ? false : peers == (uint32_t)peers;
    return sendrecv && run->listed != 1 ? NCCL_SENDRECV
           : alltoall && !sendrecv      ? NCCL_ALLTOALL
                                        : NCCL_UNKNOWN;
}

#define READ_ALONE "only alltoall_perf, alltoallv_perf and sendrecv_perf are read"

void nccl_leave_out_other(const struct nccl_run *run, struct log *log, const char *redop)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (run->program[0])
        log_leave_out(log, "rows of %s are left out: " READ_ALONE,
                      error_quote(run->program, quoted));
    else if (*redop && strcmp(redop, "none"))
        log_leave_out(log, "rows of a reduction (redop %s) are left out: " READ_ALONE,
                      error_quote(redop, quoted));
    else
        log_leave_out(log, "rows of a test that checks values in place are left out: " READ_ALONE);
}

static bool leave_out_unknown(struct log *log)
{
    log_leave_out(log,
                  "rows are left out, for the text does not say which test ran: expected a line "
                  "'# Collective test starting: alltoall_perf' (or sendrecv_perf, alltoallv_perf) "
                  "before them, or its command line");
    return false;
}

// False: the row is left out.
static bool find_test(struct nccl_run *run, struct log *log, const struct nccl_result *result)
{
    if (run->test == NCCL_UNKNOWN)
        run->test = guess_test(run, result);
    if (run->test == NCCL_UNKNOWN)
        return leave_out_unknown(log);
    if (run->test == NCCL_OTHER)
        nccl_leave_out_other(run, log, result->redop);
    return run->test != NCCL_OTHER;
}

// ---- what it moved ------------------------------------------------------------------------------

// Ranks by an all-to-all's size over its count; 0: not a whole number, or another test.
static uint32_t peers_of(const struct nccl_run *run, const struct nccl_result *result)
{
    const double bytes = result->count * nccl_type_bytes(result->type);
    const double peers = run->test == NCCL_ALLTOALL && bytes > 0 ? result->size / bytes : 0;
    return peers >= 1 && peers <= CLUSTER_MAX_RANKS && peers == (uint32_t)peers ? (uint32_t)peers
                                                                                : 0;
}

// The size is what a rank sends: of an all-to-all the count to each of the ranks, its own among
// them, of a sendrecv to its one peer. Another means a text of which ranks or columns are lost.
static bool check_size(const struct nccl_run *run, const struct nccl_result *result,
                       struct error *err)
{
    const uint32_t peers = run->test == NCCL_ALLTOALL ? run->ranks : 1;
    const uint32_t bytes = nccl_type_bytes(result->type);
    char quoted[ERROR_QUOTE_BYTES];
    return run->test == NCCL_ALLTOALLV || result->count * bytes * peers == result->size ||
           error_set(err, EXIT_INPUT,
                     "size: %.0f bytes: expected count %.0f x %u bytes of %.20s x %u peers%s",
                     result->size, result->count, bytes, error_quote(result->type, quoted), peers,
                     peers_of(run, result) ? "; where lines of ranks are lost, --cluster NxG says "
                                             "how many there were"
                                           : "");
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
static bool find_traffic(const struct nccl_run *run, const struct nccl_result *result,
                         struct measured_row *row, struct error *err)
{
    const double all = result->count * nccl_type_bytes(result->type) * run->ranks;
    strcpy(row->traffic, nccl_programs[run->test].traffic);
    if (run->test != NCCL_ALLTOALLV)
        return true;
    if (result->count <= 0)
        return strcpy(row->traffic, "matrix"), true;
    if (distance_sum((uint64_t)all, run->ranks) != row->bytes_per_rank)
        return error_set(err, EXIT_INPUT,
                         "size %llu: expected alltoallv_perf's own pattern "
                         "(NCCL_TESTS_ALLTOALLV_SPREAD unset), or a matrix file",
                         (unsigned long long)row->bytes_per_rank);
    row->bytes_per_rank = (uint64_t)all;
    return true;
}

// Whether the time is the size over algbw, as every version prints them, alltoallv_perf's pattern
// aside: else another unit stands in the column, or digits are lost.
static bool is_time_of_rate(const struct nccl_run *run, struct log *log,
                            const struct nccl_result *result)
{
    const double GBps = result->size / result->time_us / 1e3;
    if (!(result->max_GBps > 0) || run->test == NCCL_ALLTOALLV ||
        (GBps >= result->min_GBps && GBps <= result->max_GBps))
        return true;
    log_leave_out(log, "rows whose time is not their size over algbw are left out: expected "
                       "microseconds and GB/s, whole");
    return false;
}

// ---- the row ------------------------------------------------------------------------------------

static void name_row(const struct nccl_reader *reader, const struct log *log,
                     struct measured_row *row)
{
    const struct nccl_run *run = &reader->run;
    const char *nccl = reader->nccl[0] ? reader->nccl : log->job.nccl;
    snprintf(row->id, sizeof row->id, "%.200s:%zu", log->path, log->line);
    strcpy(row->family, nccl_programs[run->test].family);
    strcpy(row->dispatcher, "nccl-alltoall");
    row->nodes = run->nodes;
    row->gpus_per_node = run->ranks / run->nodes;
    row->phase = PHASE_ALLTOALL;
    strcpy(row->stat, "slowest");
    strcpy(row->gpu, run->gpu);
    snprintf(row->source, sizeof row->source, "%s%s%s",
             reader->tests[0] ? reader->tests : "nccl-tests", nccl[0] ? "; NCCL " : "", nccl);
}

// Out of place alone.
static bool check_wrong(const struct nccl_result *result, struct error *err)
{
    double wrong;
    char quoted[ERROR_QUOTE_BYTES];
    if (is_unchecked(result->wrong))
        return true;
    if (!units_parse(UNIT_NUMBER, result->wrong, &wrong, err))
        return error_prefix(err, "#wrong");
    return wrong <= 0 || error_set(err, EXIT_INPUT,
                                   "#wrong: %s: data came wrong: expected times of a run without "
                                   "errors",
                                   error_quote(result->wrong, quoted));
}

static bool place_ranks(struct nccl_run *run, struct log *log, uint32_t peers)
{
    const bool placed = run->ranks > 0;
    if (!nccl_place_ranks(run, &log->shape, peers, log->err))
        return false;
    if (!placed && run->guessed)
        notice("%s:%zu: lines of ranks are left out: %u ranks are taken as %u hosts of %u GPUs; "
               "--cluster NxG says otherwise",
               log->path, log->line, run->ranks, run->nodes, run->ranks / run->nodes);
    return true;
}

#define POINT_ROWS 16 // of one size on one machine: as many tell its noise
#define LOOK_BACK ((size_t)4096)

static bool same_point(const struct measured_row *row, const struct nccl_run *run,
                       const struct nccl_result *result, const char *path)
{
    return row->bytes_per_rank == (uint64_t)result->size && row->nodes == run->nodes &&
           row->gpus_per_node * row->nodes == run->ranks && !strcmp(row->file, path) &&
           !strcmp(row->family, nccl_programs[run->test].family);
}

// Whether the text has as many rows of the point as are kept: a log of days repeats few of them.
static bool is_known_point(const struct nccl_run *run, struct log *log,
                           const struct nccl_result *result)
{
    const struct measured *measured = log->measured;
    const size_t first = measured->count > LOOK_BACK ? measured->count - LOOK_BACK : 0;
    size_t rows = 0;
    for (size_t r = measured->count; r > first && rows < POINT_ROWS; r--)
        rows += same_point(&measured->rows[r - 1], run, result, log->path);
    if (rows < POINT_ROWS)
        return false;
    log_leave_out(log, "rows beyond the first %d of the same size on as many ranks are left out",
                  POINT_ROWS);
    return true;
}

bool nccl_add_row(struct nccl_reader *reader, struct log *log, const struct nccl_result *result)
{
    struct nccl_run *run = &reader->run;
    if (result->size <= 0)
        return log_leave_out(log, "rows of 0 bytes are left out"), true;
    if (!find_test(run, log, result))
        return true;
    if (!check_wrong(result, log->err) || !place_ranks(run, log, peers_of(run, result)) ||
        !check_size(run, result, log->err))
        return false;
    if (!(result->time_us >= MIN_TIME_US && result->time_us <= MAX_TIME_US))
        return error_set(log->err, EXIT_INPUT, "time: %g: expected microseconds above 0",
                         result->time_us);
    if (!is_time_of_rate(run, log, result) || is_known_point(run, log, result))
        return true;
    struct measured_row *row = measured_add(log->measured, log->line);
    row->bytes_per_rank = (uint64_t)result->size;
    row->latency_us = result->time_us;
    name_row(reader, log, row);
    return find_traffic(run, result, row, log->err);
}
