// An engine: puts times to a schedule and fills a timing. Whoever runs one is handed a constant
// object, and no code asks which one it has: what differs between them is said here.
#ifndef MODEL_ENGINE_ENGINE_H
#define MODEL_ENGINE_ENGINE_H

#include "model/loads.h"
#include "model/timing.h"

struct engine {
    const char *name;      // as flags and outputs say it: "simulate"
    enum loads_kind loads; // that it reads where nothing else is asked
    bool has_queues;       // messages wait for one another at ports; else it answers at once, in
                           // closed form
    bool is_calibrated;    // reads the constants that are fitted to measurements; else datasheets
    // Puts times to a schedule that schedule_feasible accepts. Released by timing_release.
    void (*run)(const struct schedule *schedule, const struct run *run, struct timing *timing);
};

#endif
