// Where a scenario happens: the cluster in its final shape, with its slow parts, and what already
// says how many ranks there are: a traffic matrix, or a trace.
#ifndef SCENARIO_PLACE_H
#define SCENARIO_PLACE_H

#include "model/cluster.h"
#include "scenario/recorded.h"
#include "scenario/scenario_def.h"

struct place {
    struct cluster cluster;
    uint64_t *traffic;         // [ranks * ranks] bytes; NULL: a layer is asked
    struct recorded *recorded; // NULL: routing is drawn
};

// Ranks by --ep, else by the matrix, else the cluster's own. Errors name the flag: "--ep: ...".
// Released by place_release.
bool place_open(struct place *place, const struct scenario_def *def, struct error *err);

// The same in two halves: the trace and the cluster as they are named; then the cluster's shape,
// its slow parts, and the matrix. After a failure of the second, release is due.
bool place_load(struct place *place, const struct scenario_def *def, struct error *err);
bool place_settle(struct place *place, const struct scenario_def *def, struct error *err);
void place_release(struct place *place);

#endif
