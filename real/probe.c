#include "real/probe.h"

#include "base/mem.h"

#include <mpi.h>
#include <stdlib.h>

static bool time_once(struct probe *probe, const struct trial *trial, double *us, struct error *err)
{
    struct device *device = probe->world->device;
    struct transport *transport = probe->world->transport;
    if (!transport_barrier(transport, err))
        return false;
    device_hold(device, trial->stream);
    device_mark(device, trial->stream, 0);
    if (!trial->once(probe, trial, err))
        return false;
    device_mark(device, trial->stream, 1);
    if (!transport_let_go(transport, device, err) || !device_sync(device, err))
        return false;
    *us = device_elapsed_us(device, 0, 1) / trial->repeats;
    if (trial->alone && probe->world->rank != 0)
        *us = 0;
    return true;
}

static bool time_trial(struct probe *probe, const struct trial *trial, struct error *err)
{
    const uint32_t warmup = probe->options->warmup, iterations = probe->options->iterations;
    double us;
    for (uint32_t i = 0; i < warmup; i++)
        if (!time_once(probe, trial, &us, err))
            return false;
    for (uint32_t i = 0; i < iterations; i++)
        if (!time_once(probe, trial, &probe->own_us[i], err))
            return false;
    // MPI's own waiting would take the cores from ranks that still work.
    return transport_barrier(probe->world->transport, err) &&
           (MPI_Reduce(probe->own_us, probe->slowest_us, (int)iterations, MPI_DOUBLE, MPI_MAX, 0,
                       MPI_COMM_WORLD) == MPI_SUCCESS ||
            error_set(err, EXIT_RUNTIME, "the exchange of times failed: a rank was lost"));
}

bool probe_trial(struct probe *probe, const struct trial *trial, struct error *err)
{
    if (!time_trial(probe, trial, err))
        return false;
    if (probe->world->rank == 0)
        probe_out_add(probe, trial);
    return true;
}

static bool open_and_measure(struct probe *probe, struct error *err)
{
    const bool first = probe->world->rank == 0;
    return world_agrees(probe->world, !first || probe_out_open(probe, err), err) &&
           world_agrees(probe->world, probe_memory_open(probe, err), err) &&
           probe_network(probe, err) && probe_device(probe, err) &&
           world_agrees(probe->world, !first || probe_out_write(probe, err), err);
}

bool probe_run(const struct world *world, const struct real_options *options,
               const struct cluster *cluster, struct error *err)
{
    // The host's products are small, for it takes a second for what a GPU does in 1 ms.
    const bool host = world->device->ops == &device_host;
    struct probe probe = {.world = world,
                          .options = options,
                          .cluster = cluster,
                          .shape = host ? (struct probe_shape){256, 1024, 512}
                                        : (struct probe_shape){4096, 7168, 2048}};
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
