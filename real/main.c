// epsim-real: the six steps on real machines, under mpirun or srun, one rank a GPU (or a process).
#include "base/error.h"
#include "base/mem.h"
#include "base/outfile.h"
#include "base/range.h"
#include "base/embedded.h"
#include "real/cli.h"
#include "real/environment.h"
#include "real/lost.h"
#include "real/measure.h"
#include "real/probe.h"

#include <gsl/gsl_errno.h>
#include <mpi.h>
#include <omp.h>
#ifdef EPSIM_CUDA
#include <cuda_runtime_api.h>
#endif
#include <stdlib.h>
#include <string.h>

// --- the world ------------------------------------------------------------------------------

bool world_agrees(const struct world *world, bool ok, struct error *err)
{
    const uint32_t none = UINT32_MAX, mine = ok ? none : world->rank;
    uint32_t first = none;
    MPI_Allreduce(&mine, &first, 1, MPI_UINT32_T, MPI_MIN, MPI_COMM_WORLD);
    if (first == none)
        return true;
    // All ranks leave with the first one's code; it alone keeps the message.
    int code = ok ? 0 : (int)err->code;
    MPI_Bcast(&code, 1, MPI_INT, (int)first, MPI_COMM_WORLD);
    if (world->rank != first)
        *err = (struct error){0};
    err->code = (enum exit_code)code;
    return false;
}

// Ranks built from different sources would not agree on rows and bytes.
static bool same_versions(const struct world *world, struct error *err)
{
    char first[128] = "";
    snprintf(first, sizeof first, "%s", version());
    MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
    const bool same = !strncmp(first, version(), sizeof first - 1);
    if (!same)
        error_set(err, EXIT_RUNTIME, "rank %u runs version %s, rank 0 %s: expected one version",
                  world->rank, version(), first);
    return world_agrees(world, same, err);
}

// A rank's place among those of its host.
static void place_on_host(int *local, int *locals)
{
    MPI_Comm host;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, local);
    MPI_Comm_size(host, locals);
    MPI_Comm_free(&host);
}

// The ranks of a host share its cores: threads that spin for work would take them from each other.
static void share_cores(void)
{
    int local, locals;
    place_on_host(&local, &locals);
    const int cores = omp_get_num_procs() / locals;
    omp_set_num_threads(cores > 1 ? cores : 1);
}

// The GPU of a rank: its place among the host's ranks, in turns where they share.
static uint32_t choose_gpu(bool share_gpu)
{
    int local = 0, gpus = 0;
#ifdef EPSIM_CUDA
    int locals;
    place_on_host(&local, &locals);
    if (cudaGetDeviceCount(&gpus) != cudaSuccess)
        gpus = 0; // opening will say so
#endif
    return (uint32_t)(share_gpu && gpus ? local % gpus : local);
}

static bool open_on(struct world *world, const struct device_table *table,
                    const struct transport_table *wires, bool share_gpu, struct error *err)
{
    const uint32_t index = choose_gpu(share_gpu);
    world->table = table;
    world->wires = wires;
    if (!world_agrees(world, table->open(&world->device, index, err), err))
        return false;
    return world_agrees(world, wires->open(&world->transport, world->device, share_gpu, err), err);
}

static bool open_world(struct world *world, const struct real_invocation *invocation,
                       struct error *err)
{
    const bool share = invocation->share_gpu;
#ifdef EPSIM_CUDA
    if (invocation->transport != TRANSPORT_MPI)
        return open_on(world, &device_cuda, &transport_nccl, share, err);
#else
    if (invocation->transport == TRANSPORT_NCCL)
        return error_set(err, EXIT_ABSENT, "--transport nccl: built without CUDA and NCCL");
#endif
    return open_on(world, &device_host, &transport_mpi, share, err);
}

static void close_world(struct world *world)
{
    if (world->transport)
        world->wires->close(world->transport);
    if (world->device)
        world->table->close(world->device);
}

// --- cases ----------------------------------------------------------------------------------

// A cluster for so many ranks where none was asked: nodes of eight, or one node.
static void default_cluster(struct question *question, uint32_t ranks)
{
    if (question->cluster[0])
        return;
    if (ranks % 8 == 0)
        snprintf(question->cluster, sizeof question->cluster, "%ux8:nvlink=1GB/s,nic=1GB/s",
                 ranks / 8);
    else
        snprintf(question->cluster, sizeof question->cluster, "1x%u:nvlink=1GB/s", ranks);
}

// "8/0/3": tokens of ranks 0, 1, 2, and again from the first.
static bool spread_tokens(struct setting *setting, const char *text, uint32_t ranks,
                          struct error *err)
{
    uint32_t given[1024], count = 0;
    const char *at = text;
    while (count < 1024) {
        char *end;
        const unsigned long value = strtoul(at, &end, 10);
        if (end == at || value > 1u << 24 || (*end && *end != '/'))
            return error_set(err, EXIT_INPUT, "--tokens: '%.60s': expected counts, as 8/0/3", text);
        given[count++] = (uint32_t)value;
        if (!*end)
            break;
        at = end + 1;
    }
    for (uint32_t r = 0; r < ranks; r++)
        setting->tokens[r] = given[r % count];
    return true;
}

// What is asked, of the job's ranks.
static bool fit_question(const struct world *world, struct question *question, struct error *err)
{
    if (question->ep && question->ep != world->ranks)
        return error_set(err, EXIT_INPUT, "--ep %u: the job has %u ranks", question->ep,
                         world->ranks);
    question->ep = world->ranks;
    default_cluster(question, world->ranks);
    return true;
}

// Formats that the kernels here neither make nor read, though the engines put times to them.
static bool check_formats(const struct setting *setting, struct error *err)
{
    const enum dtype dtypes[] = {setting->moe.dispatch_dtype, setting->moe.combine_dtype};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (dtypes[i] > DTYPE_FP32)
            return error_set(err, EXIT_INPUT, "--model: %s: expected fp8, bf16 or fp32 to run",
                             dtype_names[dtypes[i]]);
    return (setting->dispatcher.line_payload_bytes == 0 && setting->dispatcher.scale_bytes == 4) ||
           error_set(err, EXIT_INPUT,
                     "--dispatcher %s: its wire format (lines with flags, other scales) is not run "
                     "here; expected another",
                     setting->dispatcher.name);
}

static bool prepare(const struct world *world, const struct real_invocation *invocation,
                    struct answerable *answerable, struct error *err)
{
    struct question question = invocation->question;
    if (!fit_question(world, &question, err))
        return false;
    if (!ask_resolve(answerable, &question, err))
        return false;
    if (check_formats(&answerable->setting, err) &&
        (!strchr(invocation->tokens, '/') ||
         spread_tokens(&answerable->setting, invocation->tokens, world->ranks, err)))
        return true;
    ask_release(answerable);
    return false;
}

// Results on rank 0, as they come.
struct results {
    struct outfile file;
    uint32_t rows;
    json_t *cases;
    bool told; // the case in hand differs from the one before in layer or step: no more notices
};

// Of the last case when there are several: each replaces the one before.
static bool write_timeline(const struct world *world, const struct real_invocation *invocation,
                           const struct measured_case *result, struct error *err)
{
    struct outfile file;
    if (world->rank != 0)
        return true;
    if (!outfile_open(&file, invocation->timeline, err))
        return error_prefix(err, "--timeline");
    measure_write_timeline(file.stream, result);
    return outfile_commit(&file, err);
}

static void tell_verified(const struct real_invocation *invocation, const struct setting *setting,
                          const struct verified *verified)
{
    char place[64] = "";
    if (invocation->question.trace[0])
        snprintf(place, sizeof place, ", layer %u, step %llu", invocation->question.layer,
                 (unsigned long long)invocation->question.step);
    notice("%s, %u tokens a rank%s: output off by %.3g (RMS over RMS, %u tokens checked, at most "
           "%.3g)",
           setting->dispatcher.name, routing_most_tokens(&setting->routing), place,
           verified->relative_error, verified->tokens, verified->tolerance);
}

// The invocation's own question: one count of tokens, layer and step.
static bool run_case(const struct world *world, const struct real_invocation *invocation,
                     struct results *results, struct error *err)
{
    struct answerable answerable;
    struct measured_case result = {0};
    const bool quiet = results->told && notice_quiet(true);
    const bool prepared = prepare(world, invocation, &answerable, err);
    if (results->told)
        notice_quiet(quiet);
    if (!world_agrees(world, prepared, err))
        return false;
    bool ok = measure_case(world, invocation, &answerable, &result, err);
    if (ok && invocation->timeline[0])
        ok = world_agrees(world, write_timeline(world, invocation, &result, err), err);
    if (ok && world->rank == 0) {
        if (invocation->json)
            json_array_append_new(results->cases, measure_json(invocation, &result));
        else
            measure_write_csv(results->file.stream, invocation, &result, &results->rows);
        if (invocation->verify)
            tell_verified(invocation, &answerable.setting, &result.verified);
    }
    measured_case_release(&result);
    ask_release(&answerable);
    return ok;
}

// What a flag lists; one 0, the default or what follows from the rest, where it does not.
struct list {
    uint32_t *values;
    size_t count;
};

typedef bool list_parser(const char *text, uint32_t **values, size_t *count, struct error *err);

static bool read_list(struct list *list, const char *flag, const char *text, list_parser *parse,
                      struct error *err)
{
    if (text[0])
        return parse(text, &list->values, &list->count, err) || error_prefix(err, "%s", flag);
    *list = (struct list){.values = mem_alloc(1, sizeof *list->values), .count = 1};
    return true;
}

// The cases of a job: every layer and step at every count of tokens.
struct cases {
    struct list tokens, layers, steps;
};

static bool read_cases(const struct real_invocation *invocation, struct cases *cases,
                       struct error *err)
{
    const char *tokens = strchr(invocation->tokens, '/') ? "" : invocation->tokens;
    if (invocation->steps[0] && !invocation->question.trace[0])
        return error_set(err, EXIT_INPUT, "--step has a meaning only with --trace");
    return read_list(&cases->tokens, "--tokens", tokens, range_parse, err) &&
           read_list(&cases->layers, "--layer", invocation->layers, range_parse_indices, err) &&
           read_list(&cases->steps, "--step", invocation->steps, range_parse_indices, err);
}

static void cases_release(struct cases *cases)
{
    free(cases->tokens.values);
    free(cases->layers.values);
    free(cases->steps.values);
}

// The invocation of one case.
static struct real_invocation one_case(const struct real_invocation *invocation, uint32_t tokens,
                                       uint32_t layer, uint32_t step)
{
    struct real_invocation one = *invocation;
    one.question.tokens = tokens;
    one.question.layer = layer;
    one.question.step = step;
    return one;
}

// Lists ascend: what a trace lacks is found at their last, before anything runs.
static bool check_last(const struct world *world, const struct real_invocation *invocation,
                       const struct cases *cases, struct error *err)
{
    const uint32_t layer = cases->layers.values[cases->layers.count - 1];
    const uint32_t step = cases->steps.values[cases->steps.count - 1];
    bool ok = true;
    for (size_t t = 0; ok && t < cases->tokens.count; t++) {
        const struct real_invocation one =
            one_case(invocation, cases->tokens.values[t], layer, step);
        struct answerable answerable;
        const bool quiet = notice_quiet(true);
        ok = prepare(world, &one, &answerable, err);
        notice_quiet(quiet);
        if (ok)
            ask_release(&answerable);
    }
    return ok;
}

static bool run_listed(const struct world *world, const struct real_invocation *invocation,
                       const struct cases *cases, struct results *results, struct error *err)
{
    for (size_t t = 0; t < cases->tokens.count; t++)
        for (size_t l = 0; l < cases->layers.count; l++)
            for (size_t s = 0; s < cases->steps.count; s++) {
                const struct real_invocation one =
                    one_case(invocation, cases->tokens.values[t], cases->layers.values[l],
                             cases->steps.values[s]);
                results->told = l || s;
                if (!run_case(world, &one, results, err))
                    return false;
            }
    return true;
}

static bool run_cases(const struct world *world, const struct real_invocation *invocation,
                      struct results *results, struct error *err)
{
    struct cases cases = {0};
    const bool ok = world_agrees(world,
                                 read_cases(invocation, &cases, err) &&
                                     check_last(world, invocation, &cases, err),
                                 err) &&
                    run_listed(world, invocation, &cases, results, err);
    cases_release(&cases);
    return ok;
}

static void write_json(const struct world *world, struct results *results)
{
    json_t *document = json_object();
    json_object_set_new(document, "schema", json_string("epsim.measured/1"));
    json_object_set_new(document, "version", json_string(version()));
    json_object_set_new(document, "environment", environment_json(world));
    json_object_set_new(document, "cases", results->cases);
    json_dumpf(document, results->file.stream, JSON_INDENT(1) | TABLE_JSON_FLAGS);
    fputc('\n', results->file.stream);
    json_decref(document);
}

static bool open_results(const struct world *world, const struct real_invocation *invocation,
                         struct results *results, struct error *err)
{
    const char *path = invocation->output[0] ? invocation->output : NULL;
    const bool ok = world->rank != 0 || outfile_open(&results->file, path, err);
    results->rows = 1;
    if (world->rank == 0 && ok && invocation->json)
        results->cases = json_array();
    else if (world->rank == 0 && ok)
        measure_write_csv_head(results->file.stream);
    return world_agrees(world, ok, err);
}

static bool close_results(const struct world *world, struct results *results, struct error *err)
{
    bool ok = true;
    if (world->rank == 0) {
        if (results->cases)
            write_json(world, results);
        ok = outfile_commit(&results->file, err);
    }
    return world_agrees(world, ok, err);
}

static bool run_layer(const struct world *world, const struct real_invocation *invocation,
                      struct error *err)
{
    struct results results = {0};
    if (!open_results(world, invocation, &results, err))
        return false;
    if (run_cases(world, invocation, &results, err))
        return close_results(world, &results, err);
    if (world->rank == 0)
        outfile_abort(&results.file);
    return false;
}

static bool probe_shape(const struct world *world, const struct real_invocation *invocation,
                        struct cluster *cluster, struct error *err)
{
    struct question question = invocation->question;
    if (!fit_question(world, &question, err))
        return false;
    return (cluster_load(question.cluster, cluster, NULL, err) &&
            cluster_set_ep(cluster, world->ranks, err)) ||
           error_prefix(err, "--cluster");
}

static bool run_probe(const struct world *world, const struct real_invocation *invocation,
                      struct error *err)
{
    struct cluster cluster;
    return world_agrees(world, probe_shape(world, invocation, &cluster, err), err) &&
           probe_run(world, invocation, &cluster, err);
}

static bool run(struct world *world, enum real_command command,
                const struct real_invocation *invocation, struct error *err)
{
    return same_versions(world, err) && open_world(world, invocation, err) &&
           (command == REAL_PROBE ? run_probe : run_layer)(world, invocation, err);
}

// --- the command line -----------------------------------------------------------------------

static enum real_command command_of(int argc, char **argv)
{
    return argc > 1 && !strcmp(argv[1], "probe") ? REAL_PROBE : REAL_LAYER;
}

static struct option_table options_of(enum real_command command)
{
    return (struct option_table){.program =
                                     command == REAL_PROBE ? "epsim-real probe" : "epsim-real",
                                 .rows = real_options,
                                 .count = real_option_count,
                                 .command = command};
}

static bool read_command_line(int argc, char **argv, struct real_invocation *invocation,
                              struct error *err)
{
    const enum real_command command = command_of(argc, argv);
    const struct option_table table = options_of(command);
    const int skip = command == REAL_PROBE;
    char **words = NULL;
    size_t word_count = 0;
    real_options_init();
    *invocation = real_invocation_default();
    bool ok = options_parse(&table, argc - skip, argv + skip, invocation, invocation->given, &words,
                            &word_count, err);
    if (ok && word_count)
        ok = error_set(err, EXIT_INPUT, "'%.60s': %s takes only flags", words[0], table.program);
    free(words);
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
    "  mpirun -n 8 epsim-real probe --cluster 2x4:nvlink=1GB/s,nic=1GB/s\n"
    "  srun -N 4 --ntasks-per-node 8 epsim-real probe --cluster h800-cx7 -o rows.csv\n\n"
    "-o NAME.csv holds the all-to-alls as measured CSV, and the table goes to standard output;\n"
    "-o NAME.tsv holds the table as TSV; --cluster tells only which ranks make a node\n\n"
    "usage: mpirun -n RANKS epsim-real probe [flags]\n";

static void print_help(enum real_command command)
{
    const struct real_invocation defaults = real_invocation_default();
    const struct option_table table = options_of(command);
    fputs(command == REAL_PROBE ? probe_help : layer_help, stdout);
    options_help(&table, &defaults, stdout);
}

static enum exit_code finish(bool ok, const struct error *err)
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
    struct real_invocation invocation;
    struct world world = {0};
    struct error err = {0};
    int rank = 0, ranks = 1, provided;
    gsl_set_error_handler_off();
    const enum real_command command = command_of(argc, argv);
    const bool read = read_command_line(argc, argv, &invocation, &err);
    if (read && invocation.help)
        return print_help(command), EXIT_DONE;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    world.rank = (uint32_t)rank;
    world.ranks = (uint32_t)ranks;
    notice_quiet(invocation.quiet || rank != 0);
    share_cores();
    lost_watch();
    const bool ok = world_agrees(&world, read, &err) && run(&world, command, &invocation, &err);
    const enum exit_code code = finish(ok, &err);
    if (code >= EXIT_RUNTIME && err.text[0])
        MPI_Abort(MPI_COMM_WORLD, (int)code); // the others may wait for a rank that is lost
    close_world(&world);
    lost_ignore();
    MPI_Finalize();
    return (int)code;
}
