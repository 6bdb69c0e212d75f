#include "real/trace_out.h"

#include "base/mem.h"
#include "base/outfile.h"
#include "real/memory.h"
#include "traces/writer.h"

#include <errno.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// All ranks' weights on rank 0, in the order of their choices; NULL elsewhere.
static float *gather_weights(const struct world *world, struct layer *layer)
{
    const int own = layer->choices[world->rank];
    const uint64_t tokens = layer->token_first[world->ranks];
    float *mine = mem_alloc((size_t)own + 1, sizeof *mine);
    float *all = world->rank ? NULL : mem_alloc(tokens * layer->routing.topk + 1, sizeof *all);
    device_download(world->device, mine, layer->memory->weights, (size_t)own * sizeof *mine);
    MPI_Gatherv(mine, own, MPI_FLOAT, all, layer->choices, layer->choice_first, MPI_FLOAT, 0,
                MPI_COMM_WORLD);
    free(mine);
    return all;
}

static bool write_run_manifest(const struct layer *layer, const char *path, struct error *err)
{
    const struct trace_plan plan = {.moe = &layer->setup.scenario->moe,
                                    .layers = 1,
                                    .layer_ids = &layer->routing.layer,
                                    .source = "epsim-real, the router's own choices",
                                    .licence = ""};
    struct outfile file;
    if (!outfile_open(&file, path, err))
        return false;
    trace_manifest_print(&plan, file.stream);
    return outfile_commit(&file, err);
}

static bool write_steps(const struct layer *layer, const char *path, struct error *err)
{
    const uint32_t ranks = layer->routing.ranks;
    const uint64_t tokens = layer->token_first[ranks], shape[2] = {tokens, 2};
    uint32_t *steps = mem_alloc(2 * tokens + 1, sizeof *steps);
    for (uint32_t r = 0; r < ranks; r++)
        for (uint64_t t = layer->token_first[r]; t < layer->token_first[r + 1]; t++)
            steps[2 * t + 1] = r;
    const bool ok = npy_write(path, NPY_U32, shape, 2, steps, err);
    free(steps);
    return ok;
}

static bool write_files(const struct layer *layer, const float *weights, const char *folder,
                        struct error *err)
{
    const uint64_t tokens = layer->token_first[layer->routing.ranks];
    const uint64_t shape[3] = {tokens, 1, layer->routing.topk};
    char *ids = mem_format("%s/expert_ids.npy", folder);
    char *values = mem_format("%s/weights.npy", folder);
    char *steps = mem_format("%s/steps.npy", folder);
    char *manifest = mem_format("%s/trace.yaml", folder);
    // The manifest comes last: a folder without one is no trace.
    const bool ok = npy_write(ids, NPY_U16, shape, 3, layer->all_ids, err) &&
                    npy_write(values, NPY_F32, shape, 3, weights, err) &&
                    write_steps(layer, steps, err) && write_run_manifest(layer, manifest, err);
    free(ids);
    free(values);
    free(steps);
    free(manifest);
    return ok;
}

bool trace_out(const struct world *world, struct layer *layer, const char *folder,
               struct error *err)
{
    float *weights = gather_weights(world, layer);
    bool ok = true;
    if (world->rank == 0) {
        if (mkdir(folder, 0777) && errno != EEXIST)
            ok = error_set(err, EXIT_INPUT, "--write-trace %s: %s", folder, strerror(errno));
        ok = ok && write_files(layer, weights, folder, err);
    }
    free(weights);
    return world_agrees(world, ok, err);
}
