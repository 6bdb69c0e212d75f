// The timeline: a Chrome/Perfetto trace of phases per rank and busy times per port.
// Load the file at https://ui.perfetto.dev or chrome://tracing. Of sim/, and of studies that lay
// several layers after each other.
#ifndef SIM_TIMELINE_H
#define SIM_TIMELINE_H

#include "model/timing.h"

struct timeline; // one file

// What it has rows for: ranks' phases always, and ports, or layers of several steps.
enum timeline_rows { TIMELINE_PORTS, TIMELINE_LAYERS };

// Begins the JSON array of events on `out`, with the names of processes (nodes; of layers, one
// more) and threads. `channels` are those of a rank's copy engines. The fabric is copied.
struct timeline *timeline_new(FILE *out, const struct fabric *fabric, uint32_t channels,
                              enum timeline_rows rows);

// A time of a phase, on a rank or a port.
struct stretch {
    enum phase phase;
    uint64_t start_ps, end_ps;
};

// A port is busy for a stretch (PORT_SM: index counts two kernels a rank, each of the
// channels); stretches less than 1 us apart are merged into one event.
void timeline_busy(struct timeline *timeline, enum port_kind kind, uint32_t index,
                   struct stretch stretch);

// Writes what is still held of the ports' busy times: at the end of a transfer.
void timeline_flush(struct timeline *timeline);

// Writes the phases of every rank, of a layer that starts at from_ps. Returns how many events.
uint64_t timeline_phases(struct timeline *timeline, const struct timing *timing, uint64_t from_ps);

// Rows of layers (TIMELINE_LAYERS): steps, and under them their layers.
enum timeline_depth { TIMELINE_STEP, TIMELINE_LAYER };
void timeline_layer(struct timeline *timeline, enum timeline_depth depth, uint64_t number,
                    uint64_t start_ps, uint64_t end_ps);

// Closes the array, frees the timeline (not `out`).
void timeline_finish(struct timeline *timeline, const char *engine);

#endif
