// What a layer costs as a function of where tokens go, fast enough to be asked a million times: the
// busiest rank's bytes over every port's rate and its experts' time, from the schedule's own
// figures. Sources are taken to be alike: every rank has as many tokens, of the same kind. It
// leaves out what no layout changes (latencies, queueing, the shared expert); an engine says the
// time.
#ifndef STUDY_LAYOUT_COST_H
#define STUDY_LAYOUT_COST_H

#include "model/schedule.h"

#define LAYOUT_PARTS 32
#define LAYOUT_CHOICE 1024

// How often something came, in all and in each of so many runs of tokens, alike in length.
struct layout_tally {
    uint64_t count, parts[LAYOUT_PARTS];
    uint64_t squares; // of the parts, summed
};

// How often tokens reach ranks and nodes, in whole numbers.
struct layout_hits {
    uint64_t tokens; // that were counted
    struct layout_rank_hits {
        uint64_t tokens;             // with a choice there
        uint64_t choices;            // in parts of LAYOUT_CHOICE: what is expected to be again
        struct layout_tally counted; // choices as they were
    } * ranks;
    struct layout_tally *nodes; // tokens with a choice there
    double dispersion; // variance of a sum of parts over that of as many that are independent
};

#define LAYOUT_COST_POINTS 129

struct layout_cost {
    uint32_t ranks, nodes;
    double tokens; // a rank
    struct transfer_weight {
        bool rail, by_expert, inside_nic;
        double nic_ps, nvlink_ps;          // a copy on a port
        double copy_ps, visit_ps, home_ps; // of a rank's copy engines
    } transfers[2];
    double experts_ps[LAYOUT_COST_POINTS]; // a rank's experts with i * step choices
    double step;
    double drift; // standard errors that a rank's load is taken to be above what is expected
};

// From a schedule over any layout of the shape in question, on a healthy cluster: no part of it may
// be slow, for one rank's figures stand for all. A dispatcher that sends every token
// everywhere, or fixed slots, has traffic that no layout changes: it weighs nothing.
void layout_cost_init(struct layout_cost *cost, const struct schedule *schedule);

// Picoseconds: a smooth maximum over ranks of dispatch and experts, and another of combine. Uses no
// function of the mathematics library but sqrt, which is exact: it may decide an order.
double layout_cost_ps(const struct layout_cost *cost, const struct layout_hits *hits);

#endif
