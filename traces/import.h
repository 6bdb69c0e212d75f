// `epsim trace import`: what serving engines write about their routing, as a native trace.
#ifndef TRACES_IMPORT_H
#define TRACES_IMPORT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

// How requests become a trace. "requests": one after another, without steps.npy: --tokens cuts them
// into steps when the trace is used. "positions": side by side, request i on rank i mod ranks and
// its n-th token in step n, as decode goes.
enum import_order { IMPORT_REQUESTS, IMPORT_POSITIONS };
extern const char *const import_order_names[]; // by enum import_order

// Which comes first in arrays of three dimensions: steps (of counts) or tokens (of choices), or
// layers. "auto": whichever the model's number of layers fits, and refused where both do.
enum import_axes { IMPORT_AXES_AUTO, IMPORT_STEPS_FIRST, IMPORT_LAYERS_FIRST };
extern const char *const import_axes_names[]; // by enum import_axes

struct import_def {
    const char *const *inputs;
    size_t input_count;
    const char *folder;           // to write
    const char *model;            // what moe_load takes; "": as far as the input states the shape
    const char *shape;            // of raw ids: "LAYERS,TOPK" or "TOKENS,LAYERS,TOPK"; "": none
    const char *source, *licence; // what the manifest says; "": the format and the inputs' names
    enum import_order order;
    enum import_axes axes;
    uint32_t ranks;  // for positions, and for counts summed over ranks; 0: not said
    uint32_t tokens; // a rank and step, drawn by the counts; 0: as many as were counted
    uint64_t seed;
};

struct import_report {
    const char *format;
    uint64_t tokens, steps; // steps 0: no steps.npy
    uint64_t dropped;       // choices
    uint32_t layers;        // MoE layers
    uint32_t left_out;      // layers of the input that hold no choices
    uint32_t experts, topk;
    bool synthesised; // from counts
};

// Reads every input, all of one format that is told by content, and writes the folder, whole or not
// at all. Refuses (EXIT_INPUT, one line with the file and the offset, key or line): what no
// importer knows, a broken file, ids out of range or twice in a token, another number of experts,
// choices or layers than the model's, and what the format leaves unsaid and the ask does too.
bool trace_import(const struct import_def *def, struct import_report *report, struct error *err);

#endif
