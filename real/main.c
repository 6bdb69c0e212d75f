// epsim-real: the six steps on real machines, under mpirun or srun, one rank a GPU (or a process).
#include "real/agree.h"
#include "real/cases.h"
#include "real/cli.h"
#include "real/lost.h"
#include "real/probe.h"
#include "real/workload.h"
#include "real/world.h"

#include <gsl/gsl_errno.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool run_probe(const struct world *world, const struct real_options *options,
                      struct error *err)
{
    struct cluster cluster;
    return world_agrees(world, workload_cluster(world, options, &cluster, err), err) &&
           agree_cluster(world, &cluster, err) && probe_run(world, options, &cluster, err);
}

static bool run_real_command(struct world *world, enum real_command command,
                             const struct real_options *options, struct error *err)
{
    const enum transport_choice choice = (enum transport_choice)options->transport;
    const struct transport_use use = {.share_gpu = options->share_gpu, .graphs = options->graph};
    return world_same_version(world, err) && agree_options(world, options, err) &&
           world_open(world, choice, &use, err) &&
           (command == REAL_PROBE ? run_probe : cases_run)(world, options, err);
}

static enum real_command command_of(int argc, char **argv)
{
    return argc > 1 && !strcmp(argv[1], "probe") ? REAL_PROBE : REAL_LAYER;
}

static bool read_command_line(int argc, char **argv, struct real_options *options,
                              struct error *err)
{
    const enum real_command command = command_of(argc, argv);
    const int skip = command == REAL_PROBE;
    *options = real_options_default();
    struct command_line *line = &options->line;
    *line = (struct command_line){.table = real_option_table(command), .options = options};
    bool ok = options_parse(line, argc - skip, argv + skip, err);
    if (ok && line->word_count)
        ok = error_set(err, EXIT_INPUT, "'%.60s': %s takes only flags", line->words[0],
                       line->table->program);
    free(line->words);
    line->words = NULL;
    return ok;
}

static const char layer_help[] =
    "epsim-real: one MoE layer by the schedule, on real processes and GPUs\n\nexamples:\n"
    "  mpirun -n 8 epsim-real --transport mpi --tokens 64 --dispatcher nccl-two-stage\n"
    "  srun -N 4 --ntasks-per-node 8 epsim-real --model deepseek-v3 --tokens 1..4096:log -o "
    "rows.csv\n  mpirun -n 8 epsim-real --trace traces/minimoe-256e --layer 1,2 --step 0..3 -o "
    "rows.csv\n"
    "  mpirun -n 8 epsim-real probe    the machine itself: epsim-real probe --help\n\n"
    "usage: mpirun -n RANKS epsim-real [probe] [flags]\n";

static const char probe_help[] =
    "epsim-real probe: messages between two ranks (half of there and back), all-to-alls, device\n"
    "copies, launches and matrix products of this machine; times of the slowest rank\n\n"
    "examples:\n"
    "  mpirun -n 8 epsim-real probe --cluster 2x4:nvlink_effective=1GB/s,nic_effective=1GB/s\n"
    "  srun -N 4 --ntasks-per-node 8 epsim-real probe --cluster h800-cx7 -o rows.csv\n\n"
    "-o NAME.csv holds the all-to-alls as measured CSV, and the table goes to standard output;\n"
    "-o NAME.tsv holds the table as TSV; --cluster tells only which ranks make a node\n\n"
    "usage: mpirun -n RANKS epsim-real probe [flags]\n";

static void print_real_help(enum real_command command)
{
    const struct real_options defaults = real_options_default();
    fputs(command == REAL_PROBE ? probe_help : layer_help, stdout);
    options_help(real_option_table(command), &defaults, stdout);
}

static enum exit_code tell_outcome(bool ok, const struct error *err)
{
    if (ok)
        return lost_tell(), EXIT_DONE; // nothing that happens to the job now is a failure
    if (err->text[0] && lost_tell())
        fprintf(stderr, "epsim-real: error: %s\n", err->text);
    fflush(NULL);
    return err->code;
}

int main(int argc, char **argv)
{
    struct real_options options;
    struct world world = {0};
    struct error err = {0};
    int provided;
    gsl_set_error_handler_off();
    const enum real_command command = command_of(argc, argv);
    const bool read = read_command_line(argc, argv, &options, &err);
    if (read && options.help)
        return print_real_help(command), EXIT_DONE;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    world_join(&world);
    notice_quiet(options.quiet || world.rank != 0);
    lost_watch();
    const bool ok =
        world_agrees(&world, read, &err) && run_real_command(&world, command, &options, &err);
    const enum exit_code code = tell_outcome(ok, &err);
    if (code >= EXIT_RUNTIME && err.text[0])
        MPI_Abort(MPI_COMM_WORLD, (int)code); // the others may wait for a rank that is lost
    world_close(&world);
    lost_ignore();
    MPI_Finalize();
    return (int)code;
}
