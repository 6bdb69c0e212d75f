// A question, as a person asks it in flags or a study in a loop, and its resolution into a setting:
// every part of the vocabulary that a schedule needs. epsim and epsim-real resolve by this code.
#ifndef MODEL_QUESTION_H
#define MODEL_QUESTION_H

#include "model/cluster.h"
#include "model/dispatcher.h"
#include "model/layout.h"
#include "model/loads.h"
#include "model/moe.h"
#include "model/routing.h"
#include "model/schedule.h"
#include "model/timing.h"

#include <stdbool.h>
#include <stdint.h>

// Which loads an engine reads.
enum loads_kind { LOADS_AUTO, LOADS_COUNTED, LOADS_EXPECTED };
extern const char *const loads_kind_names[];

// Empty text and zero mean "not asked": the default of question_default, or what follows from the
// rest (the dispatcher from the tokens, the rank count from the cluster).
struct question {
    char model[FIELD_TEXT_BYTES];
    char cluster[FIELD_TEXT_BYTES];
    char dispatcher[FIELD_TEXT_BYTES];
    char layout[FIELD_TEXT_BYTES];
    char trace[FIELD_TEXT_BYTES];
    char traffic[FIELD_TEXT_BYTES];
    char gpu[FIELD_TEXT_BYTES]; // the cluster's must be that, or is where it says none
    enum routing_rule routing;
    uint32_t ep;
    uint32_t nodes, gpus_per_node; // both: the very shape, instead of ep
    uint32_t tokens;               // a rank
    uint32_t sms;                  // of the dispatcher, instead of its preset's
    int layout_layer; // the model layer that a layout file is asked for; -1: the first listed
    bool unplaced;    // resolves no layout: for who makes one
    uint32_t layer;   // of a trace, an index into its MoE layers; of drawn routing, a stream
    uint64_t step;
    enum loads_kind loads;
    enum overlap overlap;
    bool aligned;
    double skew_us;
    char slow[FIELD_TEXT_BYTES]; // slow parts, instead of the cluster's own
    uint64_t seed;
};

// deepseek-v3 on h800-cx7, 4,096 tokens a GPU, routing v3, contiguous layout, seed 1.
struct question question_default(void);

#define QUESTION_TOKENS 4096
#define QUESTION_LL_TOKENS 256 // up to here the default dispatcher is deepep-ll

struct setting {
    struct moe moe;
    struct cluster cluster;
    struct dispatcher dispatcher;
    struct layout layout;     // zero for a byte matrix
    struct routing routing;   // likewise
    uint32_t *tokens;         // [ranks]
    uint64_t *traffic;        // [ranks * ranks] bytes, or NULL
    struct loads loads;       // after setting_load
    struct schedule schedule; // after setting_load
    struct run run;
};

// Resolves everything but the loads. `recorded` is the shape of a trace whose routing will follow
// (setting_use_routing) or of a measured row, or NULL: it stands for the model when none is asked,
// and must agree with the one asked in experts and top-k. Errors name the flag: "--ep: ...".
bool setting_resolve(struct setting *setting, const struct question *question,
                     const struct moe *recorded, struct error *err);

// Takes the routing of a trace (ranks and experts already agree).
void setting_use_routing(struct setting *setting, const struct routing *routing);

// Takes another number of tokens a rank: resolves again what depends on it, the default dispatcher.
// All else stays as it was resolved; loads and schedule are gone, for they are of other tokens.
bool setting_set_tokens(struct setting *setting, const struct question *question, uint32_t tokens,
                        struct error *err);

// Takes the layout that the question names for another model layer, as layout_load chooses it.
bool setting_set_layout(struct setting *setting, const struct question *question, int layer,
                        struct error *err);

// Counts or expects the loads and makes the schedule.
void setting_load(struct setting *setting, enum loads_kind kind);

// Makes the schedule from loads that are there: after a change of cluster or dispatcher.
void setting_schedule(struct setting *setting);

void setting_release(struct setting *setting);

#endif
