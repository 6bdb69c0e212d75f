// epsim-real's command line and what its parts share. Private to real/.
#ifndef REAL_CLI_H
#define REAL_CLI_H

#include "base/options.h"
#include "base/table.h"
#include "model/question.h"
#include "real/layer.h"
#include "traces/ask.h"

enum real_command { REAL_LAYER = 1 << 0, REAL_PROBE = 1 << 1 };

enum transport_choice { TRANSPORT_AUTO, TRANSPORT_MPI, TRANSPORT_NCCL };

struct real_invocation {
    struct question question;
    char tokens[FIELD_TEXT_BYTES];
    char layers[FIELD_TEXT_BYTES], steps[FIELD_TEXT_BYTES];
    uint32_t transport; // enum transport_choice
    bool share_gpu;
    uint32_t warmup, iterations;
    uint32_t verify;  // tokens of the whole job to check; 0: none
    uint64_t most;    // bytes of a rank's largest exchange that the probe times
    double tolerance; // of the check; 0: that of the formats in force
    char write_trace[FIELD_TEXT_BYTES];
    char timeline[FIELD_TEXT_BYTES];
    char output[FIELD_TEXT_BYTES];
    char family[FIELD_TEXT_BYTES];
    bool json, raw, quiet, help;

    struct command_line line;
};

const struct option_table *real_options(enum real_command command);
struct real_invocation real_invocation_default(void);
bool real_given(const struct real_invocation *invocation, const char *key);

// What stands on every rank once the world is joined.
struct world {
    uint32_t rank, ranks;
    const struct device_table *table;
    struct device *device;
    const struct transport_table *wires;
    struct transport *transport;
};

// Errors are collective: every rank calls it with its own outcome; false on all when any failed,
// and then only the lowest failed rank keeps a message in err (the others' are emptied), so that
// the job says one line.
bool world_agrees(const struct world *world, bool ok, struct error *err);

#endif
