// Another job on a rank's GPU: copies of its memory without end, beside what is measured. Private
// to real/.
#ifndef REAL_DISTURB_H
#define REAL_DISTURB_H

#include "real/cli.h"
#include "real/world.h"

struct disturbance;

// Refuses ranks of --disturb that the job does not have. Collective.
bool disturb_check(const struct world *world, const struct real_options *options,
                   struct error *err);

// Starts copying on the ranks that --disturb lists; on others *disturbance is NULL.
bool disturb_start(struct disturbance **disturbance, const struct world *world,
                   const struct real_options *options, struct error *err);

// Ends it, NULL included. False where a copy failed.
bool disturb_stop(struct disturbance *disturbance, struct error *err);

#endif
