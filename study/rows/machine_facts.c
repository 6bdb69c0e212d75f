#include "study/rows/machine_facts.h"

#include "base/mem.h"
#include "model/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *machine_rate(double rate_Bps, char *buffer)
{
    snprintf(buffer, MACHINE_RATE_BYTES, "%.4gGB/s", rate_Bps / 1e9);
    return buffer;
}

static int rate_order(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double machine_median(double *rates_Bps, size_t count)
{
    if (!count)
        return 0;
    qsort(rates_Bps, count, sizeof *rates_Bps, rate_order);
    return (rates_Bps[(count - 1) / 2] + rates_Bps[count / 2]) / 2;
}

// ---- the line -----------------------------------------------------------------------------------

// Whether "a=1,b=2" has a key.
static bool has_key(const char *keys, const char *key, size_t length)
{
    for (; *keys; keys += strcspn(keys, ","), keys += *keys == ',')
        if (!strncmp(keys, key, length) && keys[length] == '=')
            return true;
    return false;
}

// A cluster's line without the keys that the facts say.
static char *line_left(const char *cluster, const char *keys)
{
    char *left = NULL;
    size_t length, parts = 0;
    FILE *out = open_memstream(&left, &length);
    const char *part = cluster + strcspn(cluster, ":");
    fprintf(out, "%.*s", (int)(part - cluster), cluster);
    for (part += *part == ':'; *part; part += *part == ',') {
        const size_t bytes = strcspn(part, ",");
        if (!has_key(keys, part, strcspn(part, "=,")))
            fprintf(out, "%c%.*s", parts++ ? ',' : ':', (int)bytes, part);
        part += bytes;
    }
    fclose(out);
    return left;
}

static void put_cluster_key(FILE *out, const char *key, const char *value)
{
    fprintf(out, "%s%s=%s", ftell(out) > 0 ? "," : "", key, value);
}

static void put_cluster_rate(FILE *out, const char *key, double rate_Bps)
{
    char rate[MACHINE_RATE_BYTES];
    if (rate_Bps > 0)
        put_cluster_key(out, key, machine_rate(rate_Bps, rate));
}

static char *keys_of(const struct machine_facts *facts)
{
    char *keys = NULL, nics[16];
    size_t length;
    FILE *out = open_memstream(&keys, &length);
    if (facts->no_nvlink) {
        put_cluster_key(out, "inside", "nic");
    } else {
        put_cluster_rate(out, "nvlink", facts->nvlink_nominal_Bps);
        put_cluster_rate(out, "nvlink_effective", facts->nvlink_Bps);
    }
    put_cluster_rate(out, "nic_effective", facts->nic_Bps);
    snprintf(nics, sizeof nics, "%u", facts->nics_per_node);
    if (facts->nics_per_node && facts->nics_per_node != facts->gpus_per_node)
        put_cluster_key(out, "nics_per_node", nics);
    fclose(out);
    return keys;
}

// The facts, with NVLink of the generation that the cluster's GPU has.
static struct machine_facts facts_of(const struct machine_facts *facts, const char *cluster)
{
    struct machine_facts of = *facts;
    struct cluster known;
    struct error err;
    const bool quiet = notice_quiet(true);
    if (cluster && *cluster && cluster_load(cluster, &known, NULL, &err) &&
        !strcmp(known.architecture, "blackwell"))
        of.nvlink_nominal_Bps *= 2;
    notice_quiet(quiet);
    return of;
}

// A cluster that somebody named, with the keys in place of its own.
static char *line_changed(const char *cluster, const char *keys)
{
    char *left = line_left(cluster, keys);
    char *line = mem_format("--cluster %s%s%s", left,
                            !*keys              ? ""
                            : strchr(left, ':') ? ","
                                                : ":",
                            keys);
    free(left);
    return line;
}

char *machine_facts_line(const struct machine_facts *facts, const char *cluster)
{
    const struct machine_facts of = facts_of(facts, cluster);
    char *keys = keys_of(&of), *line;
    const bool links =
        of.no_nvlink ? of.nic_Bps > 0 : of.nvlink_Bps > 0 || of.nvlink_nominal_Bps > 0;
    if (cluster && *cluster)
        line = line_changed(cluster, keys);
    else if (links && of.gpus_per_node)
        line = mem_format("--cluster %ux%u:%s", of.nic_Bps > 0 ? 2 : 1, of.gpus_per_node, keys);
    else
        line = mem_format("--cluster NAME:%s", keys);
    free(keys);
    return line;
}
