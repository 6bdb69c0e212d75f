#include "real/measure.h"

#include "base/mem.h"
#include "real/backend.h"
#include "real/disturb.h"
#include "real/trace_out.h"
#include "real/workload.h"

#include <mpi.h>
#include <stdlib.h>

// What the schedule says that this rank sends an iteration, by stage.
static void scheduled_bytes(const struct layer *layer, uint64_t bytes[STAGES])
{
    const struct fabric *fabric = &layer->schedule.fabric;
    const uint32_t rank = layer->setup.rank;
    for (uint32_t t = 0; t < layer->schedule.transfer_count; t++) {
        double *pairs = schedule_pair_bytes(&layer->schedule, &layer->schedule.transfers[t]);
        for (uint32_t to = 0; to < fabric->ranks; to++) {
            const bool inside = fabric_node(fabric, to) == fabric_node(fabric, rank);
            bytes[inside ? STAGE_INTRA : STAGE_INTER] +=
                (uint64_t)pairs[(size_t)rank * fabric->ranks + to];
        }
        free(pairs);
    }
}

static bool check_bytes(const struct world *world, const struct layer *layer,
                        const uint64_t before[STAGES], uint64_t sent[STAGES], struct error *err)
{
    uint64_t planned[STAGES] = {0}, own[STAGES];
    bool ok = true;
    scheduled_bytes(layer, planned);
    for (enum stage stage = 0; stage < STAGES; stage++) {
        own[stage] = world->transport->bytes_sent[exchange_stream(stage)] - before[stage];
        if (ok && own[stage] != planned[stage])
            ok = error_set(err, EXIT_RUNTIME, "rank %u sent %llu bytes %s, the schedule says %llu",
                           world->rank, (unsigned long long)own[stage],
                           stage == STAGE_INTER ? "between nodes" : "inside its node",
                           (unsigned long long)planned[stage]);
    }
    MPI_Allreduce(own, sent, STAGES, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    return world_agrees(world, ok, err);
}

// What moved is what the schedule says, as far as the backend can tell.
static bool check_movement(const struct world *world, struct layer *layer,
                           const uint64_t before[STAGES], uint64_t sent[STAGES], struct error *err)
{
    return layer->backend->counts_bytes
               ? check_bytes(world, layer, before, sent, err)
               : world_agrees(world, layer->backend->check_received(layer, err), err);
}

bool measure_check_rows(const struct world *world, struct layer *layer, struct verified *verified,
                        struct error *err)
{
    if (!layer->setup.check_rows || !layer->backend->check_rows)
        return true;
    // MPI's own waiting would take the cores from ranks that still work.
    return transport_barrier(world->transport, err) &&
           world_agrees(world, layer->backend->check_rows(layer, &verified->rows, err), err);
}

void samples_gather(const struct world *world, struct samples *samples, uint32_t iteration,
                    const struct layer_times *own)
{
    struct layer_times *to = world->rank ? NULL : samples->times + (size_t)iteration * world->ranks;
    MPI_Gather(own, (int)sizeof *own, MPI_BYTE, to, (int)sizeof *own, MPI_BYTE, 0, MPI_COMM_WORLD);
}

static bool run_counted(const struct world *world, struct layer *layer,
                        struct measured_case *result, struct error *err)
{
    struct samples *samples = &result->samples;
    struct layer_times own;
    uint64_t before[STAGES];
    if (world->rank == 0)
        samples->times = mem_alloc((size_t)samples->iterations * world->ranks, sizeof own);
    for (uint32_t i = 0; i < samples->iterations; i++) {
        for (enum stage stage = 0; stage < STAGES; stage++)
            before[stage] = world->transport->bytes_sent[exchange_stream(stage)];
        if (!layer_run(layer, &own, err) ||
            !measure_check_rows(world, layer, &result->verified, err))
            return false;
        samples_gather(world, samples, i, &own);
        if (i == 0 && !check_movement(world, layer, before, result->sent_bytes, err))
            return false;
    }
    return true;
}

static bool run_iterations(const struct world *world, const struct real_options *options,
                           struct layer *layer, struct measured_case *result, struct error *err)
{
    struct layer_times times;
    for (uint32_t i = 0; i < options->warmup; i++)
        if (!layer_run(layer, &times, err) ||
            !measure_check_rows(world, layer, &result->verified, err))
            return false;
    if (!run_counted(world, layer, result, err))
        return false;
    if (options->graph)
        return measure_graphs(world, options, layer, result, err);
    return (options->verify == 0 || verify_output(world, options, layer, &result->verified, err));
}

static bool run_disturbed(const struct world *world, const struct real_options *options,
                          struct layer *layer, struct measured_case *result, struct error *err)
{
    struct disturbance *disturbance;
    struct error later;
    const bool ran = world_agrees(world, disturb_start(&disturbance, world, options, err), err) &&
                     run_iterations(world, options, layer, result, err);
    const bool stopped = disturb_stop(disturbance, ran ? err : &later);
    return ran && (!options->disturb[0] || world_agrees(world, stopped, err));
}

bool measure_case(const struct world *world, const struct real_options *options,
                  const struct scenario *scenario, struct measured_case *result, struct error *err)
{
    const struct layer_setup setup = workload_setup(world, options, scenario);
    struct layer layer;
    *result = (struct measured_case){
        .scenario = setup.scenario,
        .router = setup.router,
        .samples = {.iterations = options->graph ? 1 : options->iterations, .ranks = world->ranks}};
    if (options->graph)
        device_prepare_graphs(world->device);
    bool ok = world_agrees(world, layer_prepare(&layer, &setup, err), err) &&
              world_agrees(world, layer_open(&layer, err), err);
    result->backend = layer.backend;
    result->activation = world->device->ops->activation;
    ok = ok && run_disturbed(world, options, &layer, result, err) &&
         (!options->write_trace[0] || trace_out(world, &layer, options->write_trace, err));
    layer_close(&layer);
    return ok;
}

void measured_case_release(struct measured_case *result)
{
    free(result->samples.times);
    result->samples.times = NULL;
    for (uint32_t g = 0; g < result->graph_count; g++)
        free(result->graphs[g].samples.times);
    result->graph_count = 0;
}
