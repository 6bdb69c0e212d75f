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

void domains_tell(const struct measured *measured, const struct row_overrides *overrides)
{
    struct host_rows joined = {0}, apart = {0};
    for (size_t r = 0; r < measured->count; r++) {
        const struct measured_row *row = &measured->rows[r];
        const char *word = overrides->cluster ? overrides->cluster : row->cluster;
        struct cluster cluster;
        struct error err;
        if (row->nodes < 2 || !*word || !cluster_load(word, &cluster, NULL, &err) ||
            !cluster_set_shape(&cluster, row->nodes, row->gpus_per_node, &err))
            continue;
        if (cluster.nodes == 1)
            note_row(&joined, row);
        else if (comes_in_domains(row, &cluster))
            note_row(&apart, row);
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
