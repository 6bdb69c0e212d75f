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

// The layer in a graph: phase_us[PHASE_LAYER] of the samples, and nothing else there.
struct measured_graph {
    enum overlap
        overlap; // none: after combine; dispatch: beside it, and beside experts and combine
    struct samples samples;
};

// One case: a scenario measured and checked.
#define MEASURED_GRAPHS 2
struct measured_case {
    const struct scenario *scenario;
    bool router; // choices by the real router
    const struct backend *backend;
    enum row_format activation; // that experts multiplied in
    struct samples samples;     // of the six steps; with graphs, of one iteration
    struct measured_graph graphs[MEASURED_GRAPHS];
    uint32_t graph_count;
    unsigned without;            // steps of the layer that its graphs leave out, a bit for each
    struct verified verified;    // with several graphs, the one that is furthest off
    uint64_t sent_bytes[STAGES]; // of all ranks, an iteration
};

// Runs the scenario on all ranks: collective. Fails when bytes sent differ from the schedule's
// loads or outputs are beyond the tolerance (EXIT_TOLERANCE).
bool measure_case(const struct world *world, const struct real_options *options,
                  const struct scenario *scenario, struct measured_case *result, struct error *err);
void measured_case_release(struct measured_case *result);

// --- graphs ------------------------------------------------------------------------------------

// Refuses --graph where the device keeps none, and what it does not go with. Collective.
bool measure_check_graphs(const struct world *world, const struct real_options *options,
                          struct error *err);

// Replays the layer in a graph, with a shared expert also in another, and checks what each made.
// Once the layer has run. Collective.
bool measure_graphs(const struct world *world, const struct real_options *options,
                    struct layer *layer, struct measured_case *result, struct error *err);

// Whether the last iteration's rows arrived as they were sent, where they are checked. Collective.
bool measure_check_rows(const struct world *world, struct layer *layer, struct verified *verified,
                        struct error *err);

// Adds this rank's times of an iteration to those that rank 0 gathers. Collective.
void samples_gather(const struct world *world, struct samples *samples, uint32_t iteration,
                    const struct layer_times *own);

// The steps that graphs leave out, as measured rows name them: "router+notify".
#define MEASURED_WITHOUT_BYTES 64
char *measured_without(const struct measured_case *result, char buffer[MEASURED_WITHOUT_BYTES]);

// --- what was measured, written ----------------------------------------------------------------

// Median, smallest and 99th percentile, microseconds. Sorts the values; count must be positive.
struct statistic {
    double median_us, min_us, p99_us;
};
struct statistic statistic_take(double *values_us, size_t count);

// The measured CSV: one row a phase, stage and statistic, or a graph and statistic.
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
