// What simulate and estimate share: one scenario, one engine. Private to cli/.
#ifndef CLI_SIMULATE_H
#define CLI_SIMULATE_H

#include "cli/command.h"
#include "cli/workload.h"

struct simulate_options {
    struct workload_options workload;
    bool imbalance, check;
    double interval_pct;             // 0: not asked
    char timeline[FIELD_TEXT_BYTES]; // simulate alone
    struct common_options common;
};

// Their options, of which each takes all but one group: offsets from a struct simulate_options.
#define LAYER_PARTS 26
extern const struct option_part layer_parts[LAYER_PARTS];
extern const struct option_group timeline_options;

// What stands below their flags.
// clang-format off
#define LAYER_NOTES \
    "\n" \
    "imbalance (--imbalance, --tsv imbalance), one row a phase, microseconds:\n" \
    "  even_us       what the phase adds to the layer with the same traffic spread evenly over ranks\n" \
    "  routing_us    and what uneven routing adds to that\n" \
    "  slow_us       and what slow parts (--slow) add\n" \
    "  arrival_us    and what late arrivals (late=, --skew-us) add\n" \
    "  asked_us      the sum: as it was asked\n" \
    "  wait_mean_us  mean over ranks of the wait for the last to end the phase\n"
// clang-format on

// Opens the scenario, runs the engine, and prints.
enum exit_code run_engine(struct command_line *line, const struct engine *engine,
                          struct error *err);

#endif
