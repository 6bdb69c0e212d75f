#include "real/trial.h"

#include "real/probe_out.h"

#include <mpi.h>

static bool time_once(struct probe *probe, const struct trial *trial, double *us, struct error *err)
{
    struct device *device = probe->world->device;
    struct transport *transport = probe->world->transport;
    if (!transport_barrier(transport, err))
        return false;
    if (device_holds(device))
        device_hold(device, trial->stream);
    device_mark(device, trial->stream, 0);
    if (!trial->once(probe, trial, err))
        return false;
    device_mark(device, trial->stream, 1);
    if (device_holds(device) && !transport_let_go(transport, device, err))
        return false;
    if (!device_sync(device, err))
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

bool trial_run(struct probe *probe, const struct trial *trial, struct error *err)
{
    if (!time_trial(probe, trial, err))
        return false;
    if (probe->world->rank != 0)
        return true;
    const struct statistic statistic =
        statistic_take(probe->slowest_us, probe->options->iterations);
    probe_out_add(probe, trial, &statistic);
    return true;
}
