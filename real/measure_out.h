// What was measured, as measured CSV, JSON and a timeline. Private to real/.
#ifndef REAL_MEASURE_OUT_H
#define REAL_MEASURE_OUT_H

#include "real/measure.h"

#include <jansson.h>
#include <stdio.h>

// The measured CSV: one row a phase, stage and statistic.
void measure_write_csv_head(FILE *out);
void measure_write_csv(FILE *out, const struct real_options *options,
                       const struct measured_case *result, uint32_t *row);

// A Chrome/Perfetto trace of the last iteration, with the simulator's names: node processes, a
// thread a rank. Phases begin together, where the slowest rank of the one before has ended.
void measure_write_timeline(FILE *out, const struct measured_case *result);

// The same, with checks and (raw) samples, as JSON.
json_t *measure_json(const struct real_options *options, const struct measured_case *result);

#endif
