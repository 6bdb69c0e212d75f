#include "study/rows/nccl_run.h"

#include "base/mem.h"
#include "model/cluster.h"
#include "study/rows/log_line.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct nccl_program nccl_programs[] = {
    [NCCL_ALLTOALL] = {"alltoall_perf", "nccl-tests-alltoall", ""},
    [NCCL_SENDRECV] = {"sendrecv_perf", "nccl-tests-sendrecv", "ring"},
    [NCCL_ALLTOALLV] = {"alltoallv_perf", "nccl-tests-alltoallv", "distance"}};

void nccl_run_release(struct nccl_run *run)
{
    free(run->hosts);
    *run = (struct nccl_run){0};
}

void nccl_run_begin(struct nccl_run *run, enum nccl_test test)
{
    nccl_run_release(run);
    run->test = test;
}

enum nccl_test nccl_test_of(const char *program, size_t *length)
{
    *length = strspn(program, "abcdefghijklmnopqrstuvwxyz0123456789_");
    for (enum nccl_test test = NCCL_ALLTOALL; test <= NCCL_ALLTOALLV; test++) {
        const size_t bytes = strlen(nccl_programs[test].program);
        if (!strncmp(program, nccl_programs[test].program, bytes) &&
            !isalnum((unsigned char)program[bytes]))
            return test;
    }
    return NCCL_OTHER;
}

// NCCL_VERSION_CODE: since 2.9 X x 10000 + Y x 100 + Z (nccl.h), before it X x 1000 + Y x 100 + Z.
void nccl_name_version(struct nccl_reader *reader, unsigned code)
{
    if (!code)
        return;
    const unsigned major = code < 10000 ? 1000 : 10000;
    snprintf(reader->nccl, sizeof reader->nccl, "%u.%u.%u", code / major, code % major / 100,
             code % 100);
}

// ---- ranks -------------------------------------------------------------------------------------

#define WORD_ENDS " \t\r-"

// Names come from outside and go to tables: letters, digits and dots alone.
static void add_lower(char *gpu, const char *word, size_t length)
{
    size_t at = strlen(gpu);
    for (size_t i = 0; i < length && at + 1 < FIELD_TEXT_BYTES; i++)
        if (isalnum((unsigned char)word[i]) || word[i] == '.')
            gpu[at++] = (char)tolower((unsigned char)word[i]);
    gpu[at] = '\0';
}

// Clusters call a GPU by the word of its name that has a digit: "NVIDIA A100-SXM4-80GB" is a100. A
// number alone has the capitals before it: "NVIDIA RTX PRO 6000 Blackwell" is rtxpro6000.
static void gpu_of(const char *name, char *gpu)
{
    gpu[0] = '\0';
    for (name += strspn(name, WORD_ENDS); *name; name += strspn(name, WORD_ENDS)) {
        const size_t length = strcspn(name, WORD_ENDS);
        const size_t digit = strcspn(name, "0123456789");
        const bool series = !strncmp(name, "RTX", 3) || !strncmp(name, "PRO", 3);
        if (digit > 0 && (digit < length || !series))
            gpu[0] = '\0';
        if (digit < length || series)
            add_lower(gpu, name, length);
        if (digit < length)
            return;
        name += strcspn(name, " \t\r");
    }
    gpu[0] = '\0';
}

// "  3 Group  0 Pid 1887 on worker-1 device  3 [0000:8d:00.0] NVIDIA H100 80GB HBM3"; older
// versions have no group.
static bool parse_rank(const char *text, struct nccl_rank *rank)
{
    int end = 0;
    *rank = (struct nccl_rank){0};
    if (sscanf(text, "%9u Group %9u Pid %*d on %255s device %5u [%*[^]]]%n", &rank->rank,
               &rank->group, rank->host, &rank->device, &end) != 4 &&
        sscanf(text, "%9u Pid %*d on %255s device %5u [%*[^]]]%n", &rank->rank, rank->host,
               &rank->device, &end) != 3)
        return false;
    rank->name = text + end;
    return end > 0;
}

static bool check_rank(const struct nccl_run *run, const struct nccl_rank *rank, const char *gpu,
                       struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (rank->rank + 1 == run->next_rank)
        return error_set(err, EXIT_INPUT,
                         "rank %u stands twice: expected one job, not one for each rank "
                         "(nccl-tests built with MPI=1)",
                         rank->rank);
    if (rank->rank < run->next_rank)
        return error_set(err, EXIT_INPUT,
                         "rank %u stands after rank %u: expected each once, in their order",
                         rank->rank, run->next_rank - 1);
    if (rank->rank >= CLUSTER_MAX_RANKS)
        return error_set(err, EXIT_INPUT, "rank %u: expected at most %d ranks", rank->rank,
                         CLUSTER_MAX_RANKS);
    if (rank->group)
        return error_set(err, EXIT_INPUT,
                         "group %u: expected one group of ranks (no NCCL_TESTS_SPLIT)",
                         rank->group);
    return !run->listed || !strcmp(run->gpu, gpu) ||
           error_set(err, EXIT_INPUT, "GPU '%s': expected one kind, %s as on rank 0",
                     error_quote(gpu, quoted), run->gpu);
}

bool nccl_add_rank(struct nccl_run *run, const struct nccl_rank *rank, struct error *err)
{
    char gpu[FIELD_TEXT_BYTES];
    gpu_of(rank->name, gpu);
    if (!check_rank(run, rank, gpu, err))
        return false;
    run->elided = run->elided || run->cut || rank->rank > run->next_rank;
    run->cut = false;
    run->next_rank = rank->rank + 1;
    run->max_device = rank->device > run->max_device ? rank->device : run->max_device;
    run->hosts = mem_grow(run->hosts, run->listed + 1, sizeof *run->hosts);
    strcpy(run->hosts[run->listed++], rank->host);
    strcpy(run->gpu, gpu);
    return true;
}

bool nccl_read_rank(struct nccl_run *run, const char *text, struct error *err)
{
    struct nccl_rank rank;
    return parse_rank(text, &rank)
               ? nccl_add_rank(run, &rank, err)
               : error_set(err, EXIT_INPUT,
                           "a rank: expected N Group N Pid N on HOST device N [BUS] NAME");
}

// ---- where they are -----------------------------------------------------------------------------

// GPUs of a node, if ranks stand host after host, as many on each; or 0.
static uint32_t gpus_of_host(const struct nccl_run *run)
{
    uint32_t gpus = 1;
    while (gpus < run->listed && !strcmp(run->hosts[gpus], run->hosts[0]))
        gpus++;
    if (run->listed % gpus)
        return 0;
    for (uint32_t r = 0; r < run->listed; r++)
        for (uint32_t first = 0; first <= r; first += gpus)
            if (!strcmp(run->hosts[r], run->hosts[first]) != (r - first < gpus))
                return 0;
    return gpus;
}

static bool place_listed(struct nccl_run *run, struct error *err)
{
    const uint32_t gpus = gpus_of_host(run);
    if (!gpus)
        return error_set(err, EXIT_INPUT,
                         "ranks are not placed host after host, as many on each: expected mpirun "
                         "--map-by slot");
    run->ranks = run->listed;
    run->nodes = run->ranks / gpus;
    return true;
}

static bool place_as_said(struct nccl_run *run, const struct measured_shape *shape, uint32_t ranks,
                          struct error *err)
{
    const uint32_t said = shape->nodes * shape->gpus_per_node;
    if (ranks && ranks != said)
        return error_set(err, EXIT_INPUT,
                         "--cluster %ux%u is %u ranks: expected %u, as the table says",
                         shape->nodes, shape->gpus_per_node, said, ranks);
    run->ranks = said;
    run->nodes = shape->nodes;
    return true;
}

// GPUs of a host where lines of ranks are left out; 0: not to be told. The last rank's line tells
// whether it is on the first one's host, and devices that are listed how many a host has; else the
// command line, or the size of the cluster that was named.
static uint32_t guess_gpus(const struct nccl_run *run, const struct measured_shape *shape,
                           uint32_t ranks)
{
    if (run->listed && !run->cut && run->next_rank == ranks)
        return strcmp(run->hosts[0], run->hosts[run->listed - 1]) ? run->max_device + 1 : ranks;
    if (run->host_gpus)
        return run->host_gpus;
    return !run->listed && shape->gpus_per_node > ranks ? ranks : shape->gpus_per_node;
}

static bool place_guessed(struct nccl_run *run, const struct measured_shape *shape, uint32_t ranks,
                          struct error *err)
{
    const uint32_t gpus = guess_gpus(run, shape, ranks);
    if (!ranks && !run->listed)
        return error_set(err, EXIT_INPUT,
                         "a table without ranks: expected lines '# Rank 0 ... on HOST ...' before "
                         "it, or --cluster NxG (nodes x GPUs of each)");
    if (!ranks || !gpus || ranks % gpus)
        return error_set(err, EXIT_INPUT,
                         "lines of ranks are left out, and how many a host has is not known%s: "
                         "expected --cluster NxG (nodes x GPUs of each), %u ranks in all",
                         run->listed ? "" : " either", ranks ? ranks : run->next_rank);
    run->ranks = ranks;
    run->nodes = ranks / gpus;
    run->guessed = true;
    return true;
}

bool nccl_place_ranks(struct nccl_run *run, const struct measured_shape *shape, uint32_t peers,
                      struct error *err)
{
    const bool whole = run->listed && !run->elided && !run->cut;
    const uint32_t said = shape->said ? shape->nodes * shape->gpus_per_node : 0;
    if (run->ranks)
        return true;
    if (whole && !(said && peers == said && peers != run->listed))
        return place_listed(run, err);
    const uint32_t ranks = peers ? peers : run->cut ? 0 : run->next_rank;
    return said ? place_as_said(run, shape, ranks, err) : place_guessed(run, shape, ranks, err);
}
