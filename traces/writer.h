// Writes a native trace, token by token: a folder that is there whole or not at all.
#ifndef TRACES_WRITER_H
#define TRACES_WRITER_H

#include "model/moe.h"
#include "base/formats/npy.h"

// What the trace holds. Borrowed by the writer until it is done.
struct trace_plan {
    const struct moe *moe; // experts and topk at least
    uint32_t layers;
    const uint32_t *layer_ids;    // [layers], ascending
    const char *source, *licence; // "": not stated
    bool drops;                   // whether a choice may be ROUTING_DROPPED
    bool steps;                   // whether tokens carry a step and a source rank
    bool weights;
    enum npy_type weight_type; // NPY_F16 or NPY_F32
};

struct trace_writer {
    const struct trace_plan *plan;
    struct outfolder folder;
    struct npy_out ids, weights, steps;
    uint8_t *bytes; // a token's ids where they are written as u8, else NULL
};

// One token: ids[layers * topk], weights of the plan's type and as many, and {step, source rank}:
// steps in order, from 0, without gaps. NULL where the plan has none.
struct trace_token {
    const uint16_t *ids;
    const void *weights;
    const uint32_t *step;
};

// Refuses (EXIT_INPUT) a folder that exists and is not empty, and a place that cannot be written.
bool trace_writer_open(struct trace_writer *writer, const struct trace_plan *plan,
                       const char *folder, struct error *err);
void trace_writer_add(struct trace_writer *writer, const struct trace_token *token);

// Finishes every file, writes trace.yaml and gives the folder its name. Done after either result.
bool trace_writer_commit(struct trace_writer *writer, struct error *err);
void trace_writer_abort(struct trace_writer *writer);

// trace.yaml: experts and topk, every other key of the shape that is not as moe_default has it,
// layer_ids, source and licence.
void trace_manifest_print(const struct trace_plan *plan, FILE *out);

#endif
