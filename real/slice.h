// Rows: which token goes where, for one rank. Engines read loads; only this room needs rows, one
// rank's at a time. Row counts equal the schedule's loads.
#ifndef REAL_SLICE_H
#define REAL_SLICE_H

#include "model/schedule.h"

#define SLICE_UNUSED UINT32_MAX // token of a padded slot that carries nothing

// Rows of several lanes, one lane after another.
struct rows {
    uint32_t lanes;
    uint64_t capacity; // of token and slot
    uint64_t *first;   // [lanes + 1]: lane l has rows first[l] .. first[l + 1] - 1
    uint32_t *token;   // of its home rank; SLICE_UNUSED: padding
    uint32_t *slot; // expert slot that the copy is for; UINT32_MAX where one copy serves the rank
};

// One rank's part of a transfer. For a gather, read "sends" as "receives" and the other way round.
struct slice {
    struct rows sent;    // lanes: peer rank, or rail: node; this rank's own tokens
    struct rows served;  // lanes: home rank; copies that this rank's experts serve
    struct rows crossed; // rail: lanes: home rank; node copies of homes on this rank's rail
    struct rows relayed; // rail: lanes: home * gpus_per_node + local rank; those forwarded, in the
                         // order of crossed
    uint64_t *relayed_row; // rail: [rows of relayed] index into the rows of crossed
};

// Lays out a rank's rows in token order. `routing` must be the one the loads were counted from.
void schedule_rank_slice(const struct schedule *schedule, const struct transfer *transfer,
                         const struct routing *routing, uint32_t rank, struct slice *slice);
void slice_release(struct slice *slice);

// Whether a token goes to any of the ranks first .. last - 1, by its choices or because all do.
bool slice_reaches(const struct schedule *schedule, const uint16_t *ids, uint32_t token,
                   uint32_t first, uint32_t last);

#endif
