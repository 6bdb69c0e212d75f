#include "real/probe.h"

#include "base/mem.h"
#include "real/probe_device.h"
#include "real/probe_network.h"
#include "real/probe_out.h"

#include <stdlib.h>

static bool measure_machine(struct probe *probe, struct error *err)
{
    return world_agrees(probe->world, probe_memory_open(probe, err), err) &&
           probe_network(probe, err) && probe_device(probe, err);
}

static bool open_and_measure(struct probe *probe, struct error *err)
{
    const bool first = probe->world->rank == 0;
    return world_agrees(probe->world, !first || probe_out_open(probe, err), err) &&
           measure_machine(probe, err) &&
           world_agrees(probe->world, !first || probe_out_write(probe, err), err);
}

bool probe_run(const struct world *world, const struct real_options *options,
               const struct cluster *cluster, struct error *err)
{
    struct probe probe = {
        .world = world, .options = options, .cluster = cluster, .shape = probe_device_shape(world)};
    probe.sends = mem_alloc(world->ranks, sizeof *probe.sends);
    probe.receives = mem_alloc(world->ranks, sizeof *probe.receives);
    probe.own_us = mem_alloc(options->iterations, sizeof *probe.own_us);
    probe.slowest_us = mem_alloc(options->iterations, sizeof *probe.slowest_us);
    const bool ok = open_and_measure(&probe, err);
    probe_out_close(&probe);
    probe_memory_close(&probe);
    free(probe.sends);
    free(probe.receives);
    free(probe.own_us);
    free(probe.slowest_us);
    return ok;
}
