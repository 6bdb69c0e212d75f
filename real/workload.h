// What is asked of a job: the one place where this room resolves a command line. Private to real/.
#ifndef REAL_WORKLOAD_H
#define REAL_WORKLOAD_H

#include "real/cli.h"
#include "real/layer_state.h"
#include "real/world.h"

// Resolves the invocation for the job's ranks, without loads: they are made from choices. Refuses
// what the kernels here do not run. scenario_release is due after a success.
bool workload_open(const struct world *world, const struct real_options *options,
                   struct scenario *scenario, struct error *err);

// What the layer is opened with: choices by the router where neither rule nor trace is asked, and a
// trace's recorded weights. The scenario must outlive the layer.
struct layer_setup workload_setup(const struct world *world, const struct real_options *options,
                                  const struct scenario *scenario);

// The shape of the job alone, for the probe.
bool workload_cluster(const struct world *world, const struct real_options *options,
                      struct cluster *cluster, struct error *err);

#endif
