// The layer as one graph of the device's work, as serving engines run it.
#ifndef REAL_LAYER_GRAPH_H
#define REAL_LAYER_GRAPH_H

#include "real/layer_state.h"

// Whether the graph of a layer has a step. What the host takes part in is not in it: the exchange
// of choices over MPI, and choices that are uploaded in place of the router's.
bool layer_graph_has(const struct layer *layer, enum phase phase);

// Keeps the layer in a graph, with the shared expert after combine (OVERLAP_NONE) or on a stream of
// its own, from RMSNorm to the addition at the end (any other). Runs it once so beforehand,
// because libraries initialise on their first call. After layer_run, with the device's graphs
// prepared before that. Collective. The graph goes by device_release_graph, before the layer
// closes.
bool layer_capture(struct layer *layer, enum overlap overlap, void **graph, struct error *err);

// Runs the graph once: all ranks begin together. *us: of this rank, from its beginning to the end
// of all its work. Collective.
bool layer_replay(struct layer *layer, void *graph, double *us, struct error *err);

// Overwrites all that a run of the layer makes, so that layer_read finds what a later one made.
// Collective.
bool layer_spoil(struct layer *layer, struct error *err);

#endif
