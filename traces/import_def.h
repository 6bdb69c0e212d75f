// What an import is asked for, and what it reports: apart from the import itself, so that importers
// need not know who drives them.
#ifndef TRACES_IMPORT_ASK_H
#define TRACES_IMPORT_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How requests become a trace. "requests": one after another, without steps.npy: --tokens cuts them
// into steps when the trace is used. "positions": side by side, request i on rank i mod ranks and
// its n-th token in step n, as decode goes.
enum import_order { IMPORT_REQUESTS, IMPORT_POSITIONS };

struct import_def {
    const char *const *inputs;
    size_t input_count;
    const char *folder;           // to write
    const char *model;            // what moe_load takes; "": as far as the input states the shape
    const char *shape;            // of raw ids: "LAYERS,TOPK" or "TOKENS,LAYERS,TOPK"; "": none
    const char *source, *licence; // what the manifest says; "": the format and the inputs' names
    enum import_order order;
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

#endif
