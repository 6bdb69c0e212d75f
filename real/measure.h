// Measuring: warm-up, iterations, times of all ranks, checks; and what was measured as measured
// CSV, JSON and a timeline. Private to real/.
#ifndef REAL_MEASURE_H
#define REAL_MEASURE_H

#include "real/cli.h"
#include "real/layer.h"
#include "real/verify.h"
#include "real/world.h"

#include <jansson.h>

// Times of one case, gathered on rank 0: [iteration][rank] of struct layer_times.
struct samples {
    uint32_t iterations, ranks;
    struct layer_times *times; // NULL on other ranks
};

// One case: a scenario measured and checked.
struct measured_case {
    const struct scenario *scenario;
    bool router; // choices by the real router
    const struct backend *backend;
    enum row_format activation; // that experts multiplied in
    struct samples samples;
    struct verified verified;
    uint64_t sent_bytes[STAGES]; // of all ranks, an iteration
};

// Runs the scenario on all ranks: collective. Fails when bytes sent differ from the schedule's
// loads or outputs are beyond the tolerance (EXIT_TOLERANCE).
bool measure_case(const struct world *world, const struct real_options *options,
                  const struct scenario *scenario, struct measured_case *result, struct error *err);
void measured_case_release(struct measured_case *result);

// --- what was measured, written ----------------------------------------------------------------

// Median, smallest and 99th percentile, microseconds. Sorts the values; count must be positive.
struct statistic {
    double median_us, min_us, p99_us;
};
struct statistic statistic_take(double *values_us, size_t count);

// The measured CSV: one row a phase, stage and statistic.
void measure_write_csv_head(FILE *out);
// What rows of one file are numbered by: ids are FAMILY-RUN-NUMBER, where RUN is another word in
// every run, so that rows of several files can be read together.
struct row_ids {
    char run[16];
    uint32_t next;
};
void row_ids_open(struct row_ids *ids);
void measure_write_csv(FILE *out, const struct real_options *options,
                       const struct measured_case *result, struct row_ids *ids);

// A Chrome/Perfetto trace of the last iteration, with the simulator's names: node processes, a
// thread a rank. Phases begin together, where the slowest rank of the one before has ended.
void measure_write_timeline(FILE *out, const struct measured_case *result);

// The same, with checks and (raw) samples, as JSON.
json_t *measure_json(const struct real_options *options, const struct measured_case *result);

#endif
