#include "scenario/place.h"

#include "scenario/traffic.h"

#include <stdlib.h>
#include <string.h>

// A matrix says how many ranks there are, unless --ep did.
static bool place_read_traffic(struct place *place, const struct scenario_def *def,
                               struct error *err)
{
    const uint32_t known = cluster_ranks(&place->cluster);
    uint32_t ranks = known;
    if (!traffic_load(def->traffic, place->cluster.gpus_per_node, &place->traffic, &ranks, err))
        return error_prefix(err, "--traffic");
    if (def->ep && ranks != def->ep)
        return error_set(err, EXIT_INPUT, "--traffic %s: a matrix of %u ranks, but --ep is %u",
                         def->traffic, ranks, def->ep);
    if (ranks != known && !cluster_set_ep(&place->cluster, ranks, err))
        return error_prefix(err, "--traffic %s", def->traffic);
    return true;
}

static bool place_shape(struct place *place, const struct scenario_def *def, struct error *err)
{
    struct cluster *cluster = &place->cluster;
    if (def->ep && !cluster_set_ep(cluster, def->ep, err))
        return error_prefix(err, "--ep");
    if (def->nodes && !cluster_set_shape(cluster, def->nodes, def->gpus_per_node, err))
        return error_prefix(err, "%s", def->cluster);
    if (def->traffic[0] && !place_read_traffic(place, def, err))
        return false;
    return cluster_check(cluster, err) || error_prefix(err, "--cluster");
}

bool place_load(struct place *place, const struct scenario_def *def, struct error *err)
{
    *place = (struct place){0};
    if (def->trace[0] && def->traffic[0])
        return error_set(err, EXIT_INPUT, "--trace has no meaning with --traffic");
    if (def->trace[0] && !(place->recorded = recorded_open(def->trace, err)))
        return error_prefix(err, "--trace");
    if (cluster_load(def->cluster, &place->cluster, NULL, err)) {
        place->cluster.graph = def->graph;
        return true;
    }
    place_release(place);
    return error_prefix(err, "--cluster");
}

// Slow parts that are asked are of the final shape; the cluster's own may not fit that, and go.
bool place_settle(struct place *place, const struct scenario_def *def, struct error *err)
{
    struct cluster *cluster = &place->cluster;
    if (def->gpu[0] && cluster->gpu[0] && strcmp(cluster->gpu, def->gpu))
        return error_set(err, EXIT_INPUT,
                         "--cluster: gpu %s: expected a cluster of that (%s has %s)", def->gpu,
                         cluster->name, cluster->gpu);
    if (def->gpu[0])
        strcpy(cluster->gpu, def->gpu);
    if (def->slow[0])
        cluster_clear_slow(cluster);
    if (!place_shape(place, def, err))
        return false;
    return !def->slow[0] || cluster_set_slow(cluster, def->slow, err) ||
           error_prefix(err, "--slow");
}

bool place_open(struct place *place, const struct scenario_def *def, struct error *err)
{
    if (!place_load(place, def, err))
        return false;
    if (place_settle(place, def, err))
        return true;
    place_release(place);
    return false;
}

void place_release(struct place *place)
{
    recorded_release(place->recorded);
    free(place->traffic);
    *place = (struct place){0};
}
