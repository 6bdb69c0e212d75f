// The timeline: a Chrome/Perfetto trace of phases per rank and busy times per port.
// Load the file at https://ui.perfetto.dev or chrome://tracing. Private to sim/.
#ifndef SIM_TIMELINE_H
#define SIM_TIMELINE_H

#include "model/timing.h"

#include <stdio.h>

struct timeline; // open while a layer is simulated

// Begins the JSON array of events on `out`, with the names of processes (nodes) and threads (ranks'
// phases and ports).
struct timeline *timeline_new(FILE *out, const struct schedule *schedule);

// A port is busy from start to end (PORT_SM: index counts two kernels a rank, each of the
// channels); stretches less than 1 us apart are merged into one event.
void timeline_busy(struct timeline *timeline, enum phase phase, enum port_class class,
                   uint32_t index, uint64_t start_ps, uint64_t end_ps);

// Writes what is still held of the ports' busy times: at the end of a transfer.
void timeline_flush(struct timeline *timeline);

// Writes the phases of every rank, closes the array, frees the timeline (not `out`).
void timeline_finish(struct timeline *timeline, const struct timing *timing);

#endif
