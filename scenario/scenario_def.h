// What is asked of epsim, as flags say it or a study in a loop. Plain data: copy it, change it,
// open a scenario from it (scenario/scenario.h).
#ifndef SCENARIO_SCENARIO_DEF_H
#define SCENARIO_SCENARIO_DEF_H

#include "model/costs/kernels.h"
#include "model/loads.h"
#include "model/moe.h"
#include "model/routing.h"
#include "model/schedule.h"
#include "model/timing.h"

#include <stdbool.h>
#include <stdint.h>

// Empty text and zero mean "not asked": what SCENARIO_DEFAULT says, or what follows from
// the rest (the dispatcher from measured rows, the rank count from the cluster).
struct scenario_def {
    char model[FIELD_TEXT_BYTES];
    char cluster[FIELD_TEXT_BYTES];
    char dispatcher[FIELD_TEXT_BYTES];
    char kernels[FIELD_TEXT_BYTES];
    char layout[FIELD_TEXT_BYTES];
    char trace[FIELD_TEXT_BYTES];
    char traffic[FIELD_TEXT_BYTES];
    char gpu[FIELD_TEXT_BYTES]; // the cluster's must be that, or is where it says none
    bool has_shape;
    struct moe shape;           // has_shape: of a measured row, where no model is asked
    struct kernel_shape kernel; // of a measured row: one compute kernel by itself, and nothing else
    enum routing_rule routing;
    uint32_t redundant; // slots beyond one an expert, of a layout that is planned
    uint32_t ep;
    uint32_t nodes, gpus_per_node;          // both: the very shape, instead of ep
    uint32_t tokens;                        // per rank
    uint32_t sms;                           // of the dispatcher, instead of its preset's
    uint32_t dispatch_dtype, combine_dtype; // enum dtype plus one; 0: as engines do
    bool unplaced;                          // resolves no layout: for who sets one
    bool undecided; // chooses no dispatcher where none is asked: for who gives it a choice
    uint32_t layer; // of a trace, an index into its MoE layers; of drawn routing, a stream
    uint64_t step;
    enum loads_kind loads;
    enum overlap overlap;
    bool aligned;
    bool graph;    // the layer is one CUDA graph
    bool isolated; // only one phase of the layer is there, as benchmarks time it
    enum phase only;
    unsigned left_out; // phases that the layer runs without, a bit for each: 1 << phase
    double skew_us;
    char slow[FIELD_TEXT_BYTES]; // slow parts, instead of the cluster's own
    uint64_t seed;
};

// An initialiser: deepseek-v3 on h800-cx7, 4,096 tokens per GPU, routing v3, contiguous layout,
// seed 1.
#define SCENARIO_SEED 1
#define SCENARIO_DEFAULT                                                                           \
    {                                                                                              \
        .cluster = "h800-cx7", .layout = "contiguous", .routing = ROUTING_V3,                      \
        .seed = SCENARIO_SEED                                                                      \
    }

#define SCENARIO_TOKENS 4096

#endif
