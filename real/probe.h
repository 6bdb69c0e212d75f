// Probing: what the machine itself does, with the transport and device in force. Private to real/.
#ifndef REAL_PROBE_H
#define REAL_PROBE_H

#include "model/cluster.h"
#include "real/cli.h"
#include "real/world.h"

// Measures messages between two ranks, all-to-alls, device copies, launches and matrix products,
// and writes them as --output and --json ask: a table, JSON, or (to NAME.csv) the all-to-alls as
// measured CSV with the table on standard output. cluster has the shape of the job. Collective.
bool probe_run(const struct world *world, const struct real_options *options,
               const struct cluster *cluster, struct error *err);

#endif
