// The plan: one rank's rows of a transfer, ordered into buffers and cut into rounds of messages, so
// that a stage's round c moves chunk c of every lane. A gather runs the same plan backward.
//
// Buffers (row numbers count from 0 in each):
//   sent     own tokens: lanes of peers (direct) or nodes (rail), in token order
//   crossed  rail: node copies of homes on this rank's rail; chunk after chunk, homes in order
//   relayed  rail: copies for the ranks of this node; chunk after chunk, homes, then ranks
//   served   copies that this rank's experts serve: lanes of homes, in token order
#ifndef REAL_PLAN_H
#define REAL_PLAN_H

#include "real/slice.h"

// Consecutive rows of a buffer that go to, or come from, one rank.
struct piece {
    uint32_t rank;
    uint64_t first, rows;
};

struct round {
    struct piece *send, *receive;
    uint32_t sends, receives;
    uint64_t first, rows; // rail: this round's rows of crossed (inter) or relayed (intra)
};

struct plan {
    struct slice slice;
    uint32_t rounds;             // the same on every rank
    struct round *stage[STAGES]; // [rounds]
    uint64_t sent_rows, crossed_rows, relayed_rows, served_rows;
    uint32_t *relay_from;    // [relayed_rows]: row of crossed
    uint64_t *relayed_first; // [crossed_rows + 1] into relayed_of
    uint32_t *relayed_of;    // [relayed_rows]: rows of relayed that make up each row of crossed
};

// Every rank calls it with the same schedule and routing.
void plan_init(struct plan *plan, const struct schedule *schedule, const struct transfer *transfer,
               const struct routing *routing, uint32_t rank);
void plan_release(struct plan *plan);

// Lists of which first[l + 1] counts the entries: makes first[l] where list l begins. Returns a
// copy to fill them by, to be freed.
uint64_t *plan_list_starts(uint64_t *first, uint64_t lists);

#endif
