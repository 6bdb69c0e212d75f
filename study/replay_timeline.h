// The timeline of a replay: step after step, and in a step layer after layer, every rank's phases.
// Load the file at https://ui.perfetto.dev.
#ifndef STUDY_REPLAY_TIMELINE_H
#define STUDY_REPLAY_TIMELINE_H

#include "study/replay.h"

// Some 40 MB of file, which viewers still open.
#define REPLAY_TIMELINE_EVENTS 400000

struct timeline;

struct replay_timeline {
    FILE *out;
    struct timeline *timeline; // NULL until the first place
    uint64_t now_ps, step_ps;  // where the next layer starts, and where its step did
    uint64_t events, max_events;
    uint64_t steps;  // written whole
    uint64_t layers; // written of the step in hand
    bool full;
};

// Begins a file on `out`. It ends with the last whole step that fits into max_events, or the first
// step.
void replay_timeline_begin(struct replay_timeline *timeline, FILE *out, uint64_t max_events);

// Adds the next place of a replay of `layers` layers; a layer starts when the one before has ended.
void replay_timeline_add(struct replay_timeline *timeline, const struct replay_place *place,
                         uint32_t layers);

// Closes the JSON array (not `out`), after a place at least. Releases all else.
void replay_timeline_end(struct replay_timeline *timeline, const char *engine);

#endif
