// epsim-real's command line. Private to real/.
#ifndef REAL_CLI_H
#define REAL_CLI_H

#include "base/options.h"
#include "scenario/scenario.h"

#define HEADING_OUTPUT "Output" // flags that rank 0 alone acts on, but for files that all help with

enum real_command { REAL_LAYER = 1 << 0, REAL_PROBE = 1 << 1 };

struct real_options {
    struct scenario_def def;
    char tokens[FIELD_TEXT_BYTES];
    char layers[FIELD_TEXT_BYTES], steps[FIELD_TEXT_BYTES];
    uint32_t transport; // enum transport_choice: real/world.h
    bool share_gpu;
    uint32_t warmup, iterations;
    bool graph;
    char disturb[FIELD_TEXT_BYTES]; // ranks
    uint32_t verify;  // tokens of the whole job to check; 0: none
    uint64_t max;     // bytes of a rank's largest exchange that the probe times
    double tolerance; // of the check; 0: that of the formats in force
    char write_trace[FIELD_TEXT_BYTES];
    char timeline[FIELD_TEXT_BYTES];
    char output[FIELD_TEXT_BYTES];
    char family[FIELD_TEXT_BYTES];
    bool json, raw, quiet, help;

    struct command_line line;
};

const struct option_table *real_option_table(enum real_command command);
struct real_options real_options_default(void);

#endif
