// A recorded trace, or a part of one, that several scenarios read: holders are counted, and the
// last one to let go closes it. Any number of threads may hold and read it.
#ifndef SCENARIO_RECORDED_H
#define SCENARIO_RECORDED_H

#include "traces/trace.h"

struct recorded;

// Opens the trace in a folder (trace_open), with one holder. NULL on an error.
struct recorded *recorded_open(const char *folder, struct error *err);

// A part of it from one share to another (trace_part), with one holder; holds the whole. NULL on an
// error.
struct recorded *recorded_part(struct recorded *whole, double from, double to, struct error *err);

// One holder more. Returns its argument; NULL stays NULL.
struct recorded *recorded_hold(struct recorded *recorded);

// One holder less; NULL is ignored.
void recorded_release(struct recorded *recorded);

const struct trace *recorded_trace(const struct recorded *recorded);

#endif
