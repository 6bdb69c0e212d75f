// Messages between two ranks and all-to-alls, over the transport in force. Private to real/.
#ifndef REAL_PROBE_NETWORK_H
#define REAL_PROBE_NETWORK_H

#include "real/probe_state.h"

// From 1 KiB to --most a rank: rank 0 with a rank of its node and of the next; then all ranks,
// those of a node, and those of different nodes, as far as the cluster has them. Collective.
bool probe_network(struct probe *probe, struct error *err);

#endif
