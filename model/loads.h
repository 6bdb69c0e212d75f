// Loads: what a routing asks of the machine, as counts by pair of ranks, before any time is put to
// it. Independent of SM counts, rates, chunks and phases, so one set serves many questions.
//
// Counts are doubles: whole numbers when counted (exact to 2^53), means when expected.
#ifndef MODEL_LOADS_H
#define MODEL_LOADS_H

#include "model/layout.h"
#include "model/routing.h"

// Which loads an engine reads.
enum loads_kind { LOADS_AUTO, LOADS_COUNTED, LOADS_EXPECTED };
extern const char *const loads_kind_names[];

struct loads {
    uint32_t ranks, nodes, slots;
    uint32_t topk;
    bool expected;         // means over routings, not counts of one
    bool balanced;         // nothing is left to chance (loads_balanced)
    double *tokens;        // [ranks] each rank's own tokens
    double *expert_copies; // [source * ranks + rank]: choices of source's tokens served by rank
    double *rank_copies;   // [source * ranks + rank]: source's tokens with a choice on rank
    double *node_copies;   // [source * nodes + node]: source's tokens with a choice in node
    double *slot_tokens;   // [slots]: tokens that each expert slot serves
    double dropped;        // choices that name no expert
};

// A copy of its own.
void loads_copy(struct loads *copy, const struct loads *loads);

// All counts zero; nodes divide ranks evenly.
void loads_init(struct loads *loads, uint32_t ranks, uint32_t nodes, uint32_t slots);

// Counts a routing over a layout; nodes divide layout->ranks evenly. Uses OpenMP threads over
// source ranks; the result does not depend on their number. Refuses (rule trace) nothing: rows were
// checked when the trace was opened.
void loads_count(struct loads *loads, const struct routing *routing, const struct layout *layout,
                 uint32_t nodes);

// Means over routings. Rules uniform and deepep without a group limit in closed form: a token
// misses g of E experts with probability C(E-g,k)/C(E,k). Rules v3, and deepep with a limit, take
// the hit rates from 4,096 tokens drawn with a seed of their own (cached for the process: a
// fixed-seed table, independent of the user's seed). Rules trace and balanced draw nothing:
// counted.
void loads_expect(struct loads *loads, const struct routing *routing, const struct layout *layout,
                  uint32_t nodes);

// Adds `shared` choices to every token, served on its own rank, by slots that layout_fuse_shared
// puts behind the rank's others: `layout` is as it was before. So SGLang fuses shared experts under
// expert parallelism (deepep_waterfill.py, expand_topk_with_shared_expert: the source rank's own
// slot).
void loads_fuse_shared(struct loads *loads, const struct layout *layout, uint32_t shared);

// A byte matrix as loads: rank_copies[source * ranks + rank] = bytes; the other counts are zero.
void loads_from_bytes(struct loads *loads, const uint64_t *bytes, uint32_t ranks, uint32_t nodes);

// Balanced loads: the same traffic with nothing left to luck or skew, what balanced routing would
// ask. Spreads what `loads` asks evenly: tokens over ranks; copies over all pairs of one kind (a
// rank and itself, two of a node, a rank and its rail peer elsewhere, two others of different
// nodes), so that what NICs and NVLink carry in all, and the copies a token, stay what they were;
// choices served, and experts that have any, over ranks. Counted loads stay whole, one more at some
// of a kind where they do not divide. layout may be NULL (a byte matrix). Released by
// loads_release.
void loads_balanced(struct loads *balanced, const struct loads *loads, const struct layout *layout);

void loads_release(struct loads *loads);

// Copies a token, averaged over all tokens: distinct nodes and distinct ranks it reaches.
double loads_nodes_per_token(const struct loads *loads);
double loads_ranks_per_token(const struct loads *loads);

// In the order that they stand in.
double loads_sum(const double *values, size_t count);

// What a rank receives of all ranks, its own among them: a column of a matrix [ranks * ranks].
double loads_received(const double *copies, size_t ranks, size_t rank);

// Probability that a uniform top-k subset of `experts` misses all of `group` given experts.
double loads_miss_probability(uint32_t experts, uint32_t topk, double group);

// Whether any of so many tokens makes a copy: counted, whether there are copies; expected, how
// likely it is, 1 - (1 - copies / tokens)^tokens.
double loads_chance_of_any(const struct loads *loads, double copies, double tokens);

// Variance of the choices of a source's tokens that a rank serves, from expected loads: of n tokens
// each has one there with chance h, and then c = copies / hits of them, of which those beyond the
// first are nearly Poisson: n h (c - 1 + (1 - h) c^2).
double loads_choices_variance(const struct loads *loads, uint32_t source, uint32_t rank);

// Expected maximum of independent normal loads that are not alike: the integral of 1 - P(all
// below).
double loads_expected_latest(const double *means, const double *sds, uint32_t count);

// Expected maximum over n ranks, not always a whole number, of independent normal loads of this
// mean and standard deviation (Blom 1958: quantile (n - 0.375) / (n + 0.25)).
double loads_expected_max(double mean, double sd, double n);

#endif
