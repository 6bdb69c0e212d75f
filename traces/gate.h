// A synthetic router: draws which experts a request's tokens choose, given how popular experts are.
//
// A token's score of expert e is ln(popularity of e for its request) + Gumbel noise; the top-k of
// scores is then a draw without replacement in proportion to popularity, and the model's group
// limit goes by the scores as its router goes by its own. Expert's noise is kept from one token of
// a request to the next with a probability, else drawn afresh: tokens in a row share experts, yet
// each is by itself an ordinary draw, so that loads do not depend on it.
//
// Scores are integers (select.h), in steps of 1 / GATE_UNIT. All that is drawn is a pure function
// of (seed, layer, request, position).
#ifndef TRACES_GATE_H
#define TRACES_GATE_H

#include "base/rng.h"
#include "model/moe.h"
#include "model/select.h"

#define GATE_UNIT 2048 // levels of 1 in ln popularity: scores span 32, a factor of 1e14

struct gate {
    struct selection selection;
    double kappa;   // concentration of a request's Dirichlet around its domain; 0: all alike
    uint32_t keep;  // of 256: how often an expert's noise is kept
    uint32_t kinds; // of tokens
    uint64_t seed;
};

// One request in one layer.
struct gate_request {
    uint64_t id;    // of the request, among all of the seed
    uint32_t layer; // of the model
};

// levels[experts]: ln popularity for this request, drawn around popularity[experts] (mean 1).
void gate_popularity(const struct gate *gate, const struct gate_request *request,
                     const double *popularity, int32_t *levels);

// noise[experts] of a position of the request: from that of the position before, or from nothing.
void gate_next(const struct gate *gate, const struct gate_request *request, uint64_t position,
               int32_t *noise);
void gate_enter(const struct gate *gate, const struct gate_request *request, uint64_t position,
                int32_t *noise);

// Which kind of token stands at a position of a request, in every layer.
uint32_t gate_kind(const struct gate *gate, uint64_t request, uint64_t position);

// best[topk]: select_key of the experts chosen, descending, when tokens of this kind prefer experts
// by tilt[experts] levels more than the request does.
void gate_choose(const struct gate *gate, const int32_t *levels, const int16_t *tilt,
                 const int32_t *noise, uint32_t *best);

// The score that a chosen key's level stands for.
double gate_score(uint32_t key);

// ln x in levels, within what scores can be.
int32_t gate_level(double ln);

#endif
