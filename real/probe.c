#include "real/probe.h"

#include "base/mem.h"
#include "base/outfile.h"
#include "base/embedded.h"
#include "real/environment.h"
#include "real/measure.h"

#include <csv.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BYTES ((uint64_t)1 << 10) // of exchanges: 1 KiB, 4 KiB .. --most
#define STEP 4
#define ALIGN 128 // of messages in a buffer

#define COPY_ROW_BYTES 4096
#define COPY_ROWS 16384 // 64 MiB: more than caches hold

#define LAUNCHES 500 // a queue takes about twice as many

// Of the matrix products: the host's are small, for it takes a second for what a GPU does in 1 ms.
struct shape {
    uint32_t rows, hidden, intermediate;
};

static const struct shape host_shape = {256, 1024, 512}, gpu_shape = {4096, 7168, 2048};

// Memory of the device.
struct memory {
    unsigned char *send, *receive; // exchanges
    void *from, *to;               // copies and launches
    uint32_t *index;
    void *in, *out, *middle, *gate_up, *down; // matrix products
};

struct probe {
    const struct world *world;
    const struct real_invocation *invocation;
    const struct cluster *cluster;
    struct memory memory;
    struct message *sends, *receives; // [ranks]
    double *own_us, *slowest_us;      // [iterations]
    struct table *table;              // on rank 0
    struct outfile file;              // likewise
    bool csv;                         // what the file is
    uint32_t csv_rows;
};

enum place { EVERYWHERE, INSIDE, BETWEEN };
static const char *const place_names[] = {"all", "inside", "between"};

// One line of the table.
struct trial {
    const char *name, *where;
    uint64_t bytes; // a rank's
    double moved;   // bytes behind GBps; 0: none
    double flops;   // behind GFLOPS; 0: none
    double repeats; // a time is of so many
    enum stream stream;
    bool (*once)(struct probe *probe, const struct trial *trial, struct error *err);
    bool alone;         // rank 0 alone tells the time
    uint32_t peer;      // of a ping-pong
    uint32_t messages;  // of an all-to-all, the own one included
    uint64_t copy_rows; // of a copy
    const struct ffn *ffn;
};

#define TABLE(probe) ((probe)->world->table)
#define DEVICE(probe) ((probe)->world->device)

static size_t value_bytes(const struct probe *probe)
{
    return TABLE(probe)->activation == ROW_BF16 ? 2 : 4;
}

static const struct shape *shape_of(const struct probe *probe)
{
    return TABLE(probe) == &device_host ? &host_shape : &gpu_shape;
}

// --- measuring ------------------------------------------------------------------------------

// What the device was given starts on all ranks together.
static bool let_go(struct probe *probe, struct error *err)
{
    const struct world *world = probe->world;
    if (!TABLE(probe)->hold)
        return true;
    const bool met = world->wires->meet(world->transport, err);
    TABLE(probe)->go(DEVICE(probe));
    return met;
}

static bool time_once(struct probe *probe, const struct trial *trial, double *us, struct error *err)
{
    const struct world *world = probe->world;
    if (!world->wires->barrier(world->transport, err))
        return false;
    if (TABLE(probe)->hold)
        TABLE(probe)->hold(DEVICE(probe), trial->stream);
    TABLE(probe)->mark(DEVICE(probe), trial->stream, 0);
    if (!trial->once(probe, trial, err))
        return false;
    TABLE(probe)->mark(DEVICE(probe), trial->stream, 1);
    if (!let_go(probe, err) || !TABLE(probe)->sync(DEVICE(probe), err))
        return false;
    *us = TABLE(probe)->elapsed_us(DEVICE(probe), 0, 1) / trial->repeats;
    if (trial->alone && world->rank != 0)
        *us = 0;
    return true;
}

static bool time_all(struct probe *probe, const struct trial *trial, struct error *err)
{
    const struct world *world = probe->world;
    const uint32_t warmup = probe->invocation->warmup, iterations = probe->invocation->iterations;
    double us;
    for (uint32_t i = 0; i < warmup; i++)
        if (!time_once(probe, trial, &us, err))
            return false;
    for (uint32_t i = 0; i < iterations; i++)
        if (!time_once(probe, trial, &probe->own_us[i], err))
            return false;
    // MPI's own waiting would take the cores from ranks that still work.
    return world->wires->barrier(world->transport, err) &&
           (MPI_Reduce(probe->own_us, probe->slowest_us, (int)iterations, MPI_DOUBLE, MPI_MAX, 0,
                       MPI_COMM_WORLD) == MPI_SUCCESS ||
            error_set(err, EXIT_RUNTIME, "the exchange of times failed: a rank was lost"));
}

static struct statistic statistic_of(double *values, size_t count)
{
    gsl_sort(values, 1, count);
    return (struct statistic){.median_us = gsl_stats_median_from_sorted_data(values, 1, count),
                              .min_us = values[0],
                              .p99_us =
                                  gsl_stats_quantile_from_sorted_data(values, 1, count, 0.99)};
}

static double rate(double amount, double us)
{
    return amount > 0 && us > 0 ? amount / us / 1e3 : NAN;
}

static void add_row(struct probe *probe, const struct trial *trial,
                    const struct statistic *statistic)
{
    table_text(probe->table, trial->name);
    table_text(probe->table, trial->where);
    if (trial->bytes)
        table_count(probe->table, trial->bytes);
    else
        table_blank(probe->table);
    table_real(probe->table, statistic->median_us);
    table_real(probe->table, statistic->min_us);
    table_real(probe->table, statistic->p99_us);
    table_real(probe->table, rate(trial->moved, statistic->median_us));
    table_real(probe->table, rate(trial->flops, statistic->median_us));
}

// An all-to-all of the whole job as calibrate and accuracy read it.
static void write_csv_row(struct probe *probe, const struct trial *trial,
                          const struct statistic *statistic)
{
    const struct real_invocation *invocation = probe->invocation;
    const char *asked = invocation->question.cluster, *family = "probe-alltoall";
    char *cluster = asked[0] ? mem_copy_text(asked) : cluster_line(probe->cluster);
    FILE *out = probe->file.stream;
    if (real_given(invocation, "family"))
        family = invocation->family;
    fprintf(out, "%s-%04u,%s,", family, ++probe->csv_rows, family);
    csv_fwrite(out, cluster, strlen(cluster));
    fprintf(out,
            ",nccl-alltoall,%u,%u,0,0,,bytes:%llu,0,,alltoall,0,%.6g,0,epsim-real,,slowest,"
            ",,,,%.6g,%.6g\n",
            probe->cluster->nodes, probe->cluster->gpus_per_node, (unsigned long long)trial->bytes,
            statistic->median_us, statistic->min_us, statistic->p99_us);
    free(cluster);
}

static bool run_trial(struct probe *probe, const struct trial *trial, struct error *err)
{
    if (!time_all(probe, trial, err))
        return false;
    if (probe->world->rank != 0)
        return true;
    const struct statistic statistic =
        statistic_of(probe->slowest_us, probe->invocation->iterations);
    add_row(probe, trial, &statistic);
    if (probe->csv && trial->where == place_names[EVERYWHERE])
        write_csv_row(probe, trial, &statistic);
    return true;
}

// Sizes of exchanges: each the one before times STEP, and the largest asked last; 0: no more.
static uint64_t next_bytes(const struct probe *probe, uint64_t bytes)
{
    const uint64_t most = probe->invocation->most;
    if (bytes >= most)
        return 0;
    return bytes * STEP < most ? bytes * STEP : most;
}

// --- between two ranks ----------------------------------------------------------------------

static bool exchange(struct probe *probe, enum stream stream, uint32_t sends, uint32_t receives,
                     struct error *err)
{
    const struct world *world = probe->world;
    return world->wires->post(world->transport, stream, probe->sends, sends, probe->receives,
                              receives, err) &&
           world->wires->wait(world->transport, stream, err);
}

// There and back; the other ranks call it with nothing to do.
static bool ping_pong(struct probe *probe, const struct trial *trial, struct error *err)
{
    const uint32_t rank = probe->world->rank;
    const bool first = rank == 0, second = rank == trial->peer;
    const uint32_t other = first ? trial->peer : 0;
    probe->sends[0] = (struct message){other, probe->memory.send, trial->bytes};
    probe->receives[0] = (struct message){other, probe->memory.receive, trial->bytes};
    return exchange(probe, trial->stream, first, second, err) &&
           exchange(probe, trial->stream, second, first, err);
}

static bool probe_pair(struct probe *probe, enum place place, struct error *err)
{
    struct trial trial = {.name = "point-to-point",
                          .where = place_names[place],
                          .repeats = 2,
                          .stream = place == INSIDE ? STREAM_INTRA : STREAM_INTER,
                          .once = ping_pong,
                          .alone = true,
                          .peer = place == INSIDE ? 1 : probe->cluster->gpus_per_node};
    for (uint64_t bytes = LEAST_BYTES; bytes; bytes = next_bytes(probe, bytes)) {
        trial.bytes = bytes;
        trial.moved = (double)bytes;
        if (!run_trial(probe, &trial, err))
            return false;
    }
    return true;
}

// --- all-to-all -----------------------------------------------------------------------------

static bool all_to_all(struct probe *probe, const struct trial *trial, struct error *err)
{
    return exchange(probe, trial->stream, trial->messages, trial->messages, err);
}

static bool takes_part(const struct probe *probe, enum place place, uint32_t peer)
{
    const uint32_t gpus = probe->cluster->gpus_per_node;
    const bool inside = peer / gpus == probe->world->rank / gpus;
    return place == EVERYWHERE || inside == (place == INSIDE);
}

// Messages of `bytes` to and from every rank of the place, each rank beginning with the one after.
static void list_messages(struct probe *probe, enum place place, uint64_t bytes)
{
    const struct world *world = probe->world;
    const uint64_t stride = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    uint32_t sends = 0, receives = 0;
    for (uint32_t k = 1; k <= world->ranks; k++) {
        const uint32_t to = (world->rank + k) % world->ranks;
        const uint32_t from = (world->rank + world->ranks - k) % world->ranks;
        if (takes_part(probe, place, to)) {
            probe->sends[sends] = (struct message){to, probe->memory.send + sends * stride, bytes};
            sends++;
        }
        if (takes_part(probe, place, from)) {
            probe->receives[receives] =
                (struct message){from, probe->memory.receive + receives * stride, bytes};
            receives++;
        }
    }
}

static bool probe_all(struct probe *probe, enum place place, struct error *err)
{
    const uint32_t ranks = probe->world->ranks, gpus = probe->cluster->gpus_per_node;
    const uint32_t messages = place == EVERYWHERE ? ranks : place == INSIDE ? gpus : ranks - gpus;
    const bool crosses = place != INSIDE && gpus < ranks;
    struct trial trial = {.name = "all-to-all",
                          .where = place_names[place],
                          .repeats = 1,
                          .stream = crosses ? STREAM_INTER : STREAM_INTRA,
                          .once = all_to_all,
                          .messages = messages};
    for (uint64_t bytes = LEAST_BYTES; bytes; bytes = next_bytes(probe, bytes)) {
        const uint64_t share = (bytes + messages - 1) / messages;
        trial.bytes = share * messages;
        trial.moved = (double)share * (messages - (place != BETWEEN)); // what leaves the rank
        list_messages(probe, place, share);
        if (!run_trial(probe, &trial, err))
            return false;
    }
    return true;
}

static bool probe_network(struct probe *probe, struct error *err)
{
    const uint32_t ranks = probe->world->ranks, gpus = probe->cluster->gpus_per_node;
    const bool pairs = gpus > 1, nodes = gpus < ranks;
    return (!pairs || probe_pair(probe, INSIDE, err)) &&
           (!nodes || probe_pair(probe, BETWEEN, err)) &&
           (ranks == 1 || probe_all(probe, EVERYWHERE, err)) &&
           (!nodes || !pairs || probe_all(probe, INSIDE, err)) &&
           (!nodes || probe_all(probe, BETWEEN, err));
}

// --- the device -----------------------------------------------------------------------------

static bool copy_rows(struct probe *probe, const struct trial *trial, struct error *err)
{
    const struct memory *memory = &probe->memory;
    const enum row_format format = TABLE(probe)->activation;
    (void)err;
    TABLE(probe)->gather(DEVICE(probe), STREAM_COMPUTE,
                         (struct row_block){memory->to, COPY_ROW_BYTES, format},
                         (struct row_block){memory->from, COPY_ROW_BYTES, format}, memory->index,
                         trial->copy_rows, (uint32_t)(COPY_ROW_BYTES / value_bytes(probe)));
    return true;
}

// Rows in another order than they came: an odd step visits each of a power of two once.
static void scatter_index(struct probe *probe, uint32_t rows)
{
    uint32_t *index = mem_alloc(rows, sizeof *index);
    for (uint32_t i = 0; i < rows; i++)
        index[i] = i * 7919u % rows;
    TABLE(probe)->upload(DEVICE(probe), probe->memory.index, index, rows * sizeof *index);
    free(index);
}

static bool probe_copy(struct probe *probe, struct error *err)
{
    struct trial trial = {.name = "copy",
                          .where = "device",
                          .repeats = 1,
                          .stream = STREAM_COMPUTE,
                          .once = copy_rows};
    for (uint32_t rows = COPY_ROWS / STEP / STEP; rows <= COPY_ROWS; rows *= STEP) {
        scatter_index(probe, rows);
        trial.copy_rows = rows;
        trial.bytes = (uint64_t)rows * COPY_ROW_BYTES;
        trial.moved = 2.0 * (double)trial.bytes;
        if (!run_trial(probe, &trial, err))
            return false;
    }
    return true;
}

static bool launch(struct probe *probe, const struct trial *trial, struct error *err)
{
    for (uint32_t i = 0; i < LAUNCHES; i++)
        copy_rows(probe, trial, err);
    return true;
}

static bool probe_launch(struct probe *probe, struct error *err)
{
    const struct trial trial = {.name = "launch",
                                .where = "device",
                                .repeats = LAUNCHES,
                                .stream = STREAM_COMPUTE,
                                .once = launch,
                                .copy_rows = 1};
    return run_trial(probe, &trial, err);
}

static bool multiply(struct probe *probe, const struct trial *trial, struct error *err)
{
    (void)err;
    TABLE(probe)->ffn(DEVICE(probe), trial->ffn);
    return true;
}

static bool probe_gemm(struct probe *probe, struct error *err)
{
    const struct shape *shape = shape_of(probe);
    const struct memory *memory = &probe->memory;
    const uint64_t first[2] = {0, shape->rows};
    const struct ffn ffn = {.groups = 1,
                            .hidden = shape->hidden,
                            .intermediate = shape->intermediate,
                            .first = first,
                            .gate_up = (const void *const[]){memory->gate_up},
                            .down = (const void *const[]){memory->down},
                            .in = memory->in,
                            .out = memory->out,
                            .middle = memory->middle};
    const struct trial trial = {.name = "gemm",
                                .where = "device",
                                .flops = 6.0 * shape->rows * shape->hidden * shape->intermediate,
                                .repeats = 1,
                                .stream = STREAM_COMPUTE,
                                .once = multiply,
                                .ffn = &ffn};
    return run_trial(probe, &trial, err);
}

// --- memory ---------------------------------------------------------------------------------

// Memory of so many values, filled, for untouched pages and zeros are quicker than data.
static void *filled(struct probe *probe, uint64_t values, uint64_t number)
{
    void *memory = TABLE(probe)->alloc(DEVICE(probe), values * value_bytes(probe));
    if (memory)
        TABLE(probe)->fill(DEVICE(probe), memory, values, 1, number, 1.0f / 32);
    return memory;
}

static bool open_memory(struct probe *probe, struct error *err)
{
    struct memory *memory = &probe->memory;
    const struct shape *shape = shape_of(probe);
    const uint64_t rows = shape->rows, hidden = shape->hidden, inner = shape->intermediate;
    const uint64_t exchanged =
        probe->invocation->most + (probe->world->ranks + 1) * (uint64_t)ALIGN;
    const uint64_t copied = (uint64_t)COPY_ROWS * COPY_ROW_BYTES / value_bytes(probe);
    memory->send = filled(probe, exchanged / value_bytes(probe), 1);
    memory->receive = filled(probe, exchanged / value_bytes(probe), 2);
    memory->from = filled(probe, copied, 3);
    memory->to = filled(probe, copied, 4);
    memory->index = TABLE(probe)->alloc(DEVICE(probe), COPY_ROWS * sizeof *memory->index);
    memory->in = filled(probe, rows * hidden, 5);
    memory->out = filled(probe, rows * hidden, 6);
    memory->middle = filled(probe, rows * inner * 3, 7);
    memory->gate_up = filled(probe, hidden * inner * 2, 8);
    memory->down = filled(probe, hidden * inner, 9);
    return TABLE(probe)->sync(DEVICE(probe), err);
}

static void close_memory(struct probe *probe)
{
    struct memory *memory = &probe->memory;
    void *const held[] = {memory->send,    memory->receive, memory->from, memory->to,
                          memory->index,   memory->in,      memory->out,  memory->middle,
                          memory->gate_up, memory->down};
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++)
        TABLE(probe)->release(DEVICE(probe), held[i]);
}

// --- output ---------------------------------------------------------------------------------

static struct table *new_table(const struct probe *probe)
{
    static const char *const columns[] = {"probe",     "where",  "bytes_per_rank",
                                          "median_us", "min_us", "p99_us",
                                          "GBps",      "GFLOPS", NULL};
    const struct shape *shape = shape_of(probe);
    struct table *table = table_new("probe", columns);
    table_comment(table, "version: %s", version());
    table_comment(table, "machine: %u nodes of %u ranks, transport %s, device %s",
                  probe->cluster->nodes, probe->cluster->gpus_per_node, probe->world->wires->name,
                  TABLE(probe)->name);
    table_comment(table, "times: of the slowest rank, %u iterations",
                  probe->invocation->iterations);
    table_comment(table, "bytes_per_rank: of an all-to-all, the rank's own share included; GBps: "
                         "what leaves a rank (copy: read and written) over the median");
    table_comment(table, "gemm: %u rows through an expert of hidden %u, intermediate %u",
                  shape->rows, shape->hidden, shape->intermediate);
    return table;
}

static bool ends_in(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length > tail && !strcmp(text + length - tail, end);
}

static bool open_output(struct probe *probe, struct error *err)
{
    const char *path = probe->invocation->output;
    probe->csv = !probe->invocation->json && ends_in(path, ".csv");
    if (probe->csv && probe->world->ranks == 1)
        return error_set(err, EXIT_INPUT,
                         "--output %.200s: measured CSV is of all-to-alls: expected two ranks or "
                         "more, or another name, for the table",
                         path);
    if (!outfile_open(&probe->file, path[0] ? path : NULL, err))
        return error_prefix(err, "--output");
    if (probe->csv)
        measure_write_csv_head(probe->file.stream);
    probe->table = new_table(probe);
    return true;
}

static void write_json(const struct probe *probe, FILE *out)
{
    json_t *document = json_object();
    json_object_set_new(document, "schema", json_string("epsim.probe/1"));
    json_object_set_new(document, "version", json_string(version()));
    json_object_set_new(document, "environment", environment_json(probe->world));
    json_object_set_new(document, "nodes", json_integer(probe->cluster->nodes));
    json_object_set_new(document, "gpus_per_node", json_integer(probe->cluster->gpus_per_node));
    json_object_set_new(document, "rows", table_json(probe->table));
    json_dumpf(document, out, JSON_INDENT(1) | TABLE_JSON_FLAGS);
    fputc('\n', out);
    json_decref(document);
}

static bool print_beside(const struct probe *probe, struct error *err)
{
    struct outfile standard;
    if (!outfile_open(&standard, NULL, err))
        return false;
    table_print(probe->table, standard.stream);
    return outfile_commit(&standard, err);
}

static bool write_output(struct probe *probe, struct error *err)
{
    if (probe->invocation->json)
        write_json(probe, probe->file.stream);
    else if (ends_in(probe->invocation->output, ".tsv"))
        table_print_tsv(probe->table, probe->file.stream);
    else if (!probe->csv)
        table_print(probe->table, probe->file.stream);
    return outfile_commit(&probe->file, err) && (!probe->csv || print_beside(probe, err));
}

static bool measure_machine(struct probe *probe, struct error *err)
{
    return world_agrees(probe->world, open_memory(probe, err), err) && probe_network(probe, err) &&
           probe_copy(probe, err) && probe_launch(probe, err) && probe_gemm(probe, err);
}

static bool open_and_measure(struct probe *probe, struct error *err)
{
    const bool first = probe->world->rank == 0;
    return world_agrees(probe->world, !first || open_output(probe, err), err) &&
           measure_machine(probe, err) &&
           world_agrees(probe->world, !first || write_output(probe, err), err);
}

bool probe_run(const struct world *world, const struct real_invocation *invocation,
               const struct cluster *cluster, struct error *err)
{
    struct probe probe = {.world = world, .invocation = invocation, .cluster = cluster};
    probe.sends = mem_alloc(world->ranks, sizeof *probe.sends);
    probe.receives = mem_alloc(world->ranks, sizeof *probe.receives);
    probe.own_us = mem_alloc(invocation->iterations, sizeof *probe.own_us);
    probe.slowest_us = mem_alloc(invocation->iterations, sizeof *probe.slowest_us);
    const bool ok = open_and_measure(&probe, err);
    outfile_abort(&probe.file); // closed already when all went well
    close_memory(&probe);
    if (probe.table)
        table_free(probe.table);
    free(probe.sends);
    free(probe.receives);
    free(probe.own_us);
    free(probe.slowest_us);
    return ok;
}
