// Measuring: warm-up, iterations, times of all ranks, checks. Private to real/.
#ifndef REAL_MEASURE_H
#define REAL_MEASURE_H

#include "real/cli.h"

// Times of one case, gathered on rank 0: [iteration][rank] of struct layer_times.
struct samples {
    uint32_t iterations, ranks;
    struct layer_times *times; // NULL on other ranks
};

// What was checked against the float64 reference, all ranks together.
struct verified {
    uint32_t tokens;
    double relative_error; // RMS error / RMS reference, wire-rounded A
    double full_error;     // the same against A as it was before the wire
    double tolerance;
};

// One case: a setting measured and checked.
struct measured_case {
    const struct setting *setting;
    bool router; // choices by the real router
    struct samples samples;
    struct verified verified;
    uint64_t sent_bytes[STAGES]; // of all ranks, an iteration
};

// Runs the setting on all ranks: collective. Fails when bytes sent differ from the schedule's
// loads or outputs are beyond the tolerance (EXIT_TOLERANCE).
bool measure_case(const struct world *world, const struct real_invocation *invocation,
                  const struct answerable *answerable, struct measured_case *result,
                  struct error *err);
void measured_case_release(struct measured_case *result);

// Statistics of a phase (stage STAGES: the whole) over iterations: of the mean over ranks, or of
// the slowest rank. Median, least and 99th percentile, microseconds.
struct statistic {
    double median_us, min_us, p99_us;
};
struct statistic measure_statistic(const struct samples *samples, enum phase phase, uint32_t stage,
                                   bool slowest);

// The measured CSV: one row a phase, stage and statistic.
void measure_write_csv_head(FILE *out);
void measure_write_csv(FILE *out, const struct real_invocation *invocation,
                       const struct measured_case *result, uint32_t *row);

// A Chrome/Perfetto trace of the last iteration, with the simulator's names: node processes, a thread
// a rank. Phases begin together, where the slowest rank of the one before has ended.
void measure_write_timeline(FILE *out, const struct measured_case *result);

// The same, with checks and (raw) samples, as JSON.
json_t *measure_json(const struct real_invocation *invocation, const struct measured_case *result);

#endif
