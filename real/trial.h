// A trial of the probe: timed on all ranks, and put into the table. Private to real/.
#ifndef REAL_TRIAL_H
#define REAL_TRIAL_H

#include "real/probe_state.h"

// Warm-up, iterations, and a row of the slowest rank's times on rank 0. Collective.
bool trial_run(struct probe *probe, const struct trial *trial, struct error *err);

#endif
