#include "traces/make.h"

#include "base/mem.h"
#include "traces/writer.h"

#include <stdlib.h>

static void write_window(const struct make_def *def, const struct generated *window,
                         struct trace_writer *writer)
{
    const struct generator_def *asked = &def->generator;
    const size_t row = (size_t)asked->layers * asked->moe->topk;
    const uint64_t per_step = (uint64_t)def->ranks * def->tokens_per_rank;
    for (uint64_t t = 0; t < window->count; t++) {
        const uint64_t token = window->first + t;
        uint32_t step[2] = {0, 0};
        if (per_step) {
            step[0] = (uint32_t)(token / per_step);
            step[1] = (uint32_t)(token / def->tokens_per_rank % def->ranks);
        }
        const struct trace_token written = {.ids = window->ids + t * row,
                                            .weights = window->weights + t * row,
                                            .step = per_step ? step : NULL};
        trace_writer_add(writer, &written);
    }
}

static bool write_generated(const struct make_def *def, const uint32_t *layer_ids,
                            const char *folder, struct error *err)
{
    const struct trace_plan plan = {.moe = def->generator.moe,
                                    .layers = def->generator.layers,
                                    .layer_ids = layer_ids,
                                    .source = def->source,
                                    .licence = "",
                                    .steps = def->ranks > 0,
                                    .weights = true,
                                    .weight_type = NPY_F16};
    struct trace_writer writer;
    struct generated window;
    // Opened first: a folder that cannot be written costs no waiting.
    if (!trace_writer_open(&writer, &plan, folder, err))
        return false;
    struct generator *generator = generator_new(&def->generator, err);
    if (!generator) {
        trace_writer_abort(&writer);
        return false;
    }
    while (!ferror(writer.ids.file.stream) && !ferror(writer.weights.file.stream) &&
           generator_next(generator, &window))
        write_window(def, &window, &writer);
    generator_free(generator);
    return trace_writer_commit(&writer, err);
}

bool trace_make(const struct make_def *def, const char *folder, struct error *err)
{
    const struct generator_def *asked = &def->generator;
    uint32_t *layer_ids = mem_alloc(asked->layers, sizeof *layer_ids);
    for (uint32_t l = 0; l < asked->layers; l++)
        layer_ids[l] = asked->moe->dense_layers + asked->layer[l];
    const bool ok = write_generated(def, layer_ids, folder, err);
    free(layer_ids);
    return ok;
}
