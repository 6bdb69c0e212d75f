#include "study/rows/nccl_run.h"

#include "base/mem.h"
#include "model/cluster.h"

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

void nccl_run_begin(struct nccl_reader *reader, enum nccl_test test)
{
    nccl_run_release(&reader->run);
    reader->run.test = test;
}

char *skip_blanks(const char *text)
{
    return (char *)text + strspn(text, " \t");
}

// ---- ranks -------------------------------------------------------------------------------------

static void add_lower(char *gpu, const char *word, size_t length)
{
    size_t at = strlen(gpu);
    for (size_t i = 0; i < length && at + 1 < FIELD_TEXT_BYTES; i++)
        gpu[at++] = (char)tolower((unsigned char)word[i]);
    gpu[at] = '\0';
}

// Clusters call a GPU by the word of its name that has a digit: "NVIDIA A100-SXM4-80GB" is a100. A
// number alone has the capitals before it: "NVIDIA RTX PRO 6000 Blackwell" is rtxpro6000.
static void gpu_of(const char *name, char *gpu)
{
    gpu[0] = '\0';
    for (name = skip_blanks(name); *name; name = skip_blanks(name)) {
        const size_t length = strcspn(name, " \t\r-");
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

static bool check_rank(const struct nccl_reader *reader, const struct rank_line *rank,
                       const char *gpu)
{
    const struct nccl_run *run = &reader->run;
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

bool nccl_read_rank(struct nccl_reader *reader, const char *text)
{
    struct nccl_run *run = &reader->run;
    struct rank_line rank;
    char gpu[FIELD_TEXT_BYTES];
    if (run->columns)
        nccl_run_begin(reader, NCCL_UNKNOWN);
    if (!parse_rank(text, &rank))
        return error_set(reader->err, EXIT_INPUT,
                         "a rank: expected N Group N Pid N on HOST device N [BUS] NAME");
    gpu_of(rank.name, gpu);
    if (!check_rank(reader, &rank, gpu))
        return false;
    run->hosts = mem_grow(run->hosts, run->ranks + 1, sizeof *run->hosts);
    strcpy(run->hosts[run->ranks++], rank.host);
    strcpy(run->gpu, gpu);
    return true;
}

// GPUs of a node, if ranks stand host after host, as many on each; or 0.
static uint32_t gpus_of_host(const struct nccl_run *run)
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

bool nccl_place_ranks(struct nccl_reader *reader)
{
    struct nccl_run *run = &reader->run;
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
