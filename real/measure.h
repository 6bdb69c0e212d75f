// Measuring: warm-up, iterations, times of all ranks, checks. Private to real/.
#ifndef REAL_MEASURE_H
#define REAL_MEASURE_H

#include "real/cli.h"
#include "real/layer.h"
#include "real/verify.h"
#include "real/world.h"
#include "scenario/scenario.h"

// Times of one case, gathered on rank 0: [iteration][rank] of struct layer_times.
struct samples {
    uint32_t iterations, ranks;
    struct layer_times *times; // NULL on other ranks
};

// One case: a scenario measured and checked.
struct measured_case {
    const struct scenario *scenario;
    bool router; // choices by the real router
    struct samples samples;
    struct verified verified;
    uint64_t sent_bytes[STAGES]; // of all ranks, an iteration
};

// Runs the scenario on all ranks: collective. Fails when bytes sent differ from the schedule's
// loads or outputs are beyond the tolerance (EXIT_TOLERANCE).
bool measure_case(const struct world *world, const struct real_options *options,
                  const struct scenario *scenario, struct measured_case *result, struct error *err);
void measured_case_release(struct measured_case *result);

#endif
