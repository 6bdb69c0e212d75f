// The layer in graphs. Libraries have been warmed up by then; what a graph still makes ready in its
// first replay is not counted either.
#include "real/measure.h"

#include "base/mem.h"
#include "real/layer_graph.h"

bool measure_check_graphs(const struct world *world, const struct real_options *options,
                          struct error *err)
{
    bool ok = true;
    if (options->graph && options->timeline[0])
        ok =
            error_set(err, EXIT_INPUT,
                      "--graph: times no single steps, which --timeline shows: expected one of the "
                      "two");
    else if (options->graph && !device_keeps_graphs(world->device))
        ok = error_set(err, EXIT_INPUT,
                       "--graph: --transport %s has no CUDA graphs: expected --transport nccl",
                       world->transport->ops->name);
    return world_agrees(world, ok, err);
}

// A graph under way.
struct replays {
    const struct world *world;
    const struct real_options *options;
    struct layer *layer;
    void *graph;
};

static bool replay_counted(const struct replays *replays, struct samples *samples,
                           struct error *err)
{
    const uint32_t warmup = replays->options->warmup ? replays->options->warmup : 1;
    struct layer_times own = {0};
    for (uint32_t i = 0; i < warmup + samples->iterations; i++) {
        if (!layer_replay(replays->layer, replays->graph, &own.phase_us[PHASE_LAYER], err))
            return false;
        if (i >= warmup)
            samples_gather(replays->world, samples, i - warmup, &own);
    }
    return true;
}

// All that the replay has moved still stands where it came.
static bool check_replayed_rows(const struct replays *replays, struct verified *found,
                                struct error *err)
{
    layer_take_sums(replays->layer, PHASE_DISPATCH);
    layer_take_sums(replays->layer, PHASE_COMBINE);
    return measure_check_rows(replays->world, replays->layer, found, err);
}

// What one more replay makes, with nothing left of those before.
static bool verify_replay(const struct replays *replays, struct verified *verified,
                          struct error *err)
{
    struct verified found = *verified;
    double us;
    if (replays->options->verify == 0)
        return true;
    if (!layer_spoil(replays->layer, err) ||
        !layer_replay(replays->layer, replays->graph, &us, err) ||
        !check_replayed_rows(replays, &found, err) ||
        !verify_output(replays->world, replays->options, replays->layer, &found, err))
        return false;
    if (found.relative_error >= verified->relative_error)
        *verified = found;
    return true;
}

static bool measure_graph(struct replays *replays, struct measured_case *result,
                          enum overlap overlap, struct error *err)
{
    struct measured_graph *graph = &result->graphs[result->graph_count++];
    const struct world *world = replays->world;
    *graph = (struct measured_graph){
        .overlap = overlap,
        .samples = {.iterations = replays->options->iterations, .ranks = world->ranks}};
    if (world->rank == 0)
        graph->samples.times = mem_alloc((size_t)graph->samples.iterations * world->ranks,
                                         sizeof *graph->samples.times);
    const bool ok = layer_capture(replays->layer, overlap, &replays->graph, err) &&
                    replay_counted(replays, &graph->samples, err) &&
                    verify_replay(replays, &result->verified, err);
    device_release_graph(world->device, replays->graph);
    return ok;
}

bool measure_graphs(const struct world *world, const struct real_options *options,
                    struct layer *layer, struct measured_case *result, struct error *err)
{
    struct replays replays = {world, options, layer, NULL};
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
        if (layer->schedule.present[phase] && !layer_graph_has(layer, phase))
            result->without |= 1u << phase;
    return measure_graph(&replays, result, OVERLAP_NONE, err) &&
           (!layer_graph_has(layer, PHASE_SHARED) ||
            measure_graph(&replays, result, OVERLAP_DISPATCH, err));
}
