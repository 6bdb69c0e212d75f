#include "study/domains.h"

#include <string.h>

// Rows of several hosts: how many, and the first of them.
struct host_rows {
    const struct measured_row *first;
    size_t count;
};

static void note_row(struct host_rows *rows, const struct measured_row *row)
{
    rows->first = rows->first ? rows->first : row;
    rows->count++;
}

// Grace Blackwell: up to 18 hosts of four GPUs in one domain.
static bool comes_in_domains(const struct measured_row *row, const struct cluster *cluster)
{
    return !strncmp(row->gpu[0] ? row->gpu : cluster->gpu, "gb", 2);
}

enum hosts { HOSTS_AS_SAID, HOSTS_JOINED, HOSTS_APART };

static enum hosts hosts_of(const struct measured_row *row, const char *word)
{
    struct cluster cluster;
    struct error err;
    if (row->nodes < 2 || !*word || !cluster_load(word, &cluster, NULL, &err) ||
        !cluster_set_shape(&cluster, row->nodes, row->gpus_per_node, &err))
        return HOSTS_AS_SAID;
    return cluster.nodes == 1                ? HOSTS_JOINED
           : comes_in_domains(row, &cluster) ? HOSTS_APART
                                             : HOSTS_AS_SAID;
}

static bool same_machine(const struct measured_row *a, const struct measured_row *b)
{
    return !strcmp(a->cluster, b->cluster) && !strcmp(a->gpu, b->gpu) && a->nodes == b->nodes &&
           a->gpus_per_node == b->gpus_per_node;
}

// Rows of one machine stand together, so that its text is read once.
void domains_tell(const struct measured *measured, const struct row_overrides *overrides)
{
    struct host_rows joined = {0}, apart = {0};
    enum hosts hosts = HOSTS_AS_SAID;
    for (size_t r = 0; r < measured->count; r++) {
        const struct measured_row *row = &measured->rows[r];
        if (r == 0 || !same_machine(row, row - 1))
            hosts = hosts_of(row, overrides->cluster ? overrides->cluster : row->cluster);
        if (hosts != HOSTS_AS_SAID)
            note_row(hosts == HOSTS_JOINED ? &joined : &apart, row);
    }
    if (joined.count)
        notice("%zu rows of several hosts, as %u hosts of %u GPUs: hosts are one NVLink domain on "
               "that cluster",
               joined.count, joined.first->nodes, joined.first->gpus_per_node);
    if (apart.count)
        notice("%zu rows of several hosts, as %u hosts of %u GPUs, are predicted over NICs; hosts "
               "of a GB200 or GB300 rack are one NVLink domain: if these are, say --cluster 1x%u",
               apart.count, apart.first->nodes, apart.first->gpus_per_node,
               apart.first->nodes * apart.first->gpus_per_node);
}
