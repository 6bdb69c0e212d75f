// Routing: for each token of each rank, the experts it goes to. One interface over rules that draw
// it and traces that recorded it.
#ifndef MODEL_ROUTING_H
#define MODEL_ROUTING_H

#include "model/moe.h"

enum routing_rule {
    ROUTING_UNIFORM,  // top-k of independent scores, no groups
    ROUTING_DEEPEP,   // groups = nodes, the topk_groups best by their largest score, then top-k
                      // (DeepEP tests/legacy/test_internode.py)
    ROUTING_V3,       // groups of the model, the topk_groups best by the sum of their two best
                      // sigmoid scores, then top-k (DeepSeek-V3 report, section 2.1.2; HF modeling)
    ROUTING_BALANCED, // round robin: a rank's copies go to one rank after another (TensorRT-LLM's
                      // benchmarks); nothing is drawn, every rank and layer has the same
    ROUTING_TRACE,
};
extern const char *const routing_rule_names[];

#define ROUTING_DROPPED UINT16_MAX

// Where routing comes from. Immutable; any number of threads may read it.
struct routing {
    enum routing_rule rule;
    uint32_t experts, topk;
    uint32_t groups, topk_groups; // of the rule in force (deepep: nodes)
    uint32_t ranks;
    uint64_t seed;
    uint32_t layer;
    const uint32_t *tokens; // [ranks] tokens of each rank
    // Rule trace only: fills ids[topk] for a token of a rank; ROUTING_DROPPED marks no expert.
    void (*row)(const void *context, uint32_t rank, uint32_t token, uint16_t *ids);
    const void *context;
};

// Fills ids[topk] with distinct experts, or ROUTING_DROPPED. A pure function of (seed, rank, token,
// layer): the first n tokens of n + 1 are those of n.
void routing_row(const struct routing *routing, uint32_t rank, uint32_t token, uint16_t *ids);

// Whether a rule draws: what another seed would change, and what has means over draws.
bool routing_is_drawn(enum routing_rule rule);

// The most tokens that any rank has.
uint32_t routing_max_tokens(const struct routing *routing);

// Refuses a rule that the shape cannot serve (deepep with experts not divisible by nodes, ...).
bool routing_check(const struct routing *routing, struct error *err);

#endif
