// The discrete-event engine: the schedule's chunks through ports, copy engines and credit windows.
#ifndef SIM_SIMULATE_H
#define SIM_SIMULATE_H

#include "model/engine/engine.h"

// Puts times to a schedule from counted loads (expected ones are rounded down to whole tokens).
// Deterministic: the same schedule and run give the same timing, bit for bit.
void simulate(const struct schedule *schedule, const struct run *run, struct timing *timing);
extern const struct engine engine_simulate;

#endif
