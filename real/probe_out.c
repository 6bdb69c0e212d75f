#include "real/probe.h"

#include "base/mem.h"
#include "base/embedded.h"
#include "real/measure.h"

#include <csv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const place_names[] = {"all", "inside", "between", "device"};

// --- rows -----------------------------------------------------------------------------------

static double giga_rate(double amount, double us)
{
    return amount > 0 && us > 0 ? amount / us / 1e3 : NAN;
}

static void add_table_row(struct probe *probe, const struct trial *trial,
                          const struct statistic *statistic)
{
    TABLE_ADD(probe->table, cell_text(trial->name), cell_text(place_names[trial->place]),
              trial->bytes ? cell_count(trial->bytes) : cell_blank(),
              cell_real(statistic->median_us), cell_real(statistic->min_us),
              cell_real(statistic->p99_us),
              cell_real(giga_rate(trial->moved, statistic->median_us)),
              cell_real(giga_rate(trial->flops, statistic->median_us)));
}

// An all-to-all of the whole job as calibrate and accuracy read it.
static void write_csv_row(struct probe *probe, const struct trial *trial,
                          const struct statistic *statistic)
{
    const struct real_options *options = probe->options;
    const char *asked = options->def.cluster, *family = "probe-alltoall";
    char *cluster = asked[0] ? mem_copy_text(asked) : cluster_line(probe->cluster);
    FILE *out = probe->file.stream;
    if (options_given(&options->line, "family"))
        family = options->family;
    fprintf(out, "%s-%04u,%s,", family, ++probe->csv_rows, family);
    csv_fwrite(out, cluster, strlen(cluster));
    fprintf(out,
            ",nccl-alltoall,%u,%u,0,0,,bytes:%llu,0,,alltoall,0,%.6g,0,epsim-real,,slowest,"
            ",,,,%.6g,%.6g,,,,,\n",
            probe->cluster->nodes, probe->cluster->gpus_per_node, (unsigned long long)trial->bytes,
            statistic->median_us, statistic->min_us, statistic->p99_us);
    free(cluster);
}

void probe_out_add(struct probe *probe, const struct trial *trial)
{
    const struct statistic statistic =
        statistic_take(probe->slowest_us, probe->options->iterations);
    add_table_row(probe, trial, &statistic);
    if (probe->csv && trial->place == EVERYWHERE)
        write_csv_row(probe, trial, &statistic);
}

// --- files ----------------------------------------------------------------------------------

static struct table *new_table(const struct probe *probe)
{
    const struct probe_shape *shape = &probe->shape;
    struct table *table =
        table_new("probe", "probe where bytes_per_rank median_us min_us p99_us GBps GFLOPS");
    table_comment(table, "version: %s", version());
    table_comment(table, "machine: %u nodes of %u ranks, transport %s, device %s",
                  probe->cluster->nodes, probe->cluster->gpus_per_node,
                  probe->world->transport->ops->name, probe->world->device->ops->name);
    table_comment(table, "times: of the slowest rank, %u iterations", probe->options->iterations);
    table_comment(table, "bytes_per_rank: of an all-to-all, the rank's own share included; GBps: "
                         "what leaves a rank (copy: read and written) over the median");
    table_comment(table, "gemm: %u rows through an expert of hidden %u, intermediate %u",
                  shape->rows, shape->hidden, shape->intermediate);
    return table;
}

static bool has_suffix(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length > tail && !strcmp(text + length - tail, end);
}

bool probe_out_open(struct probe *probe, struct error *err)
{
    const char *path = probe->options->output;
    probe->csv = !probe->options->json && has_suffix(path, ".csv");
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

static json_t *probe_json(const struct probe *probe)
{
    return json_pack("{s:I s:I s:o}", "nodes", (json_int_t)probe->cluster->nodes, "gpus_per_node",
                     (json_int_t)probe->cluster->gpus_per_node, "rows", table_json(probe->table));
}

static bool print_beside(const struct probe *probe, struct error *err)
{
    struct outfile standard;
    if (!outfile_open(&standard, NULL, err))
        return false;
    table_print(probe->table, standard.stream);
    return outfile_commit(&standard, err);
}

bool probe_out_write(struct probe *probe, struct error *err)
{
    if (probe->options->json)
        world_write_json(probe->world, "epsim.probe/1", probe_json(probe), probe->file.stream);
    else if (has_suffix(probe->options->output, ".tsv"))
        table_print_tsv(probe->table, probe->file.stream);
    else if (!probe->csv)
        table_print(probe->table, probe->file.stream);
    return outfile_commit(&probe->file, err) && (!probe->csv || print_beside(probe, err));
}

void probe_out_close(struct probe *probe)
{
    outfile_abort(&probe->file); // closed already when all went well
    if (probe->table)
        table_free(probe->table);
}
