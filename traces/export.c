#include "traces/export.h"

#include "base/mem.h"
#include "traces/writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct part {
    const struct trace *trace;
    const struct export_def *def;
    uint64_t steps; // of the whole trace
    uint64_t end;
    struct trace_plan plan;
    uint32_t *layers, *layer_ids; // [plan.layers] indices, ids
    struct trace_writer writer;
    uint16_t *ids;
    char *weights;
    uint32_t place[2]; // of the last token written
    uint64_t last;     // step of that in the trace
};

static uint64_t step_of(const struct part *part, uint64_t token)
{
    if (part->trace->steps.data)
        return (uint64_t)npy_int(&part->trace->steps, 2 * token);
    const uint64_t per_step = (uint64_t)part->def->ranks * part->def->tokens;
    return per_step ? token / per_step : 0;
}

static int step_order(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_exported(const struct part *part, uint64_t token)
{
    const uint64_t step = step_of(part, token);
    const uint32_t *steps = part->def->steps, key = (uint32_t)step;
    return !steps ||
           (key == step && bsearch(&key, steps, part->def->step_count, sizeof key, step_order));
}

static bool check_export_def(struct part *part, struct error *err)
{
    const struct trace *trace = part->trace;
    const struct export_def *def = part->def;
    if (def->steps && !trace->steps.data && !(def->ranks && def->tokens))
        return error_set(err, EXIT_INPUT,
                         "--step: %s has no steps.npy: expected --tokens and --ep, which cut it",
                         trace->path);
    part->end = def->end ? def->end : trace->tokens;
    if (def->first >= part->end || part->end > trace->tokens)
        return error_set(err, EXIT_INPUT,
                         "--rows: %" PRIu64 "..%" PRIu64 ": expected tokens from 0 to %" PRIu64,
                         def->first, part->end - 1, trace->tokens - 1);
    if (def->layers && def->layers[def->layer_count - 1] >= trace->layers)
        return error_set(err, EXIT_INPUT,
                         "--layer: %" PRIu32 ": expected 0 to %" PRIu32 ", the trace's layers",
                         def->layers[def->layer_count - 1], trace->layers - 1);
    if (!def->steps)
        return true;
    part->steps = trace_steps(trace, def->ranks, def->tokens);
    return def->steps[def->step_count - 1] < part->steps ||
           error_set(err, EXIT_INPUT,
                     "--step: %" PRIu32 ": expected 0 to %" PRIu64 ", the trace's steps",
                     def->steps[def->step_count - 1], part->steps - 1);
}

static void plan_export(struct part *part)
{
    const struct trace *trace = part->trace;
    const uint32_t layers = part->def->layers ? (uint32_t)part->def->layer_count : trace->layers;
    part->layers = mem_alloc(layers, sizeof *part->layers);
    part->layer_ids = mem_alloc(layers, sizeof *part->layer_ids);
    for (uint32_t l = 0; l < layers; l++) {
        part->layers[l] = part->def->layers ? part->def->layers[l] : l;
        part->layer_ids[l] = trace->layer_ids[part->layers[l]];
    }
    // Bytes can hold what bytes held; wider ids stay wide, dropped or not.
    part->plan =
        (struct trace_plan){.moe = &trace->moe,
                            .layers = layers,
                            .layer_ids = part->layer_ids,
                            .source = trace->source,
                            .licence = trace->licence,
                            .drops = trace->ids.type == NPY_U16 || trace->moe.experts < 255,
                            .steps = trace->steps.data != NULL,
                            .weights = trace->weights.data != NULL,
                            .weight_type = trace->weights.type};
}

static void copy_row(struct part *part, uint64_t token, uint32_t l)
{
    const struct trace *trace = part->trace;
    const uint32_t topk = trace->moe.topk, layer = part->layers[l];
    trace_row(trace, token, layer, part->ids + (size_t)l * topk);
    if (!part->plan.weights)
        return;
    const size_t bytes = topk * npy_types[trace->weights.type].bytes;
    memcpy(part->weights + l * bytes,
           (const char *)trace->weights.data + (token * trace->layers + layer) * bytes, bytes);
}

static void export_token(struct part *part, uint64_t token, struct export_report *report)
{
    for (uint32_t l = 0; l < part->plan.layers; l++)
        copy_row(part, token, l);
    if (part->plan.steps) {
        const uint64_t step = step_of(part, token);
        part->place[0] += report->tokens > 0 && step != part->last;
        part->place[1] = (uint32_t)npy_int(&part->trace->steps, 2 * token + 1);
        part->last = step;
        report->steps = (uint64_t)part->place[0] + 1;
    }
    trace_writer_add(
        &part->writer,
        &(struct trace_token){.ids = part->ids, .weights = part->weights, .step = part->place});
    report->tokens++;
}

static bool write_part(struct part *part, struct export_report *report, struct error *err)
{
    const size_t count = (size_t)part->plan.layers * part->trace->moe.topk;
    if (!trace_writer_open(&part->writer, &part->plan, part->def->folder, err))
        return false;
    part->ids = mem_alloc(count, sizeof *part->ids);
    part->weights = mem_alloc(count, sizeof(float));
    for (uint64_t t = part->def->first; t < part->end; t++)
        if (is_exported(part, t))
            export_token(part, t, report);
    free(part->ids);
    free(part->weights);
    if (report->tokens == 0) {
        trace_writer_abort(&part->writer);
        return error_set(err, EXIT_INPUT, "--step, --rows: no token is in both");
    }
    report->layers = part->plan.layers;
    return trace_writer_commit(&part->writer, err);
}

bool trace_export(const struct trace *trace, const struct export_def *def,
                  struct export_report *report, struct error *err)
{
    struct part part = {.trace = trace, .def = def};
    *report = (struct export_report){0};
    if (!check_export_def(&part, err))
        return false;
    plan_export(&part);
    const bool ok = write_part(&part, report, err);
    free(part.layers);
    free(part.layer_ids);
    return ok;
}
