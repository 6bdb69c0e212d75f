// epsim estimate: one scenario, in closed form.
#include "model/engine/estimate.h"

#include "cli/simulate.h"

static enum exit_code run_estimate(struct command_line *line, struct error *err)
{
    return run_engine(line, &engine_estimate, err);
}

// clang-format off
static const char estimate_page[] =
    "examples:\n"
    "  epsim estimate --model config.json --ep 64 --json\n"
    "  epsim estimate --dispatcher deepep-ll-rdma --tokens 128 --tsv ports\n"
    "\n"
    "usage: epsim estimate [flags]\n"
    "{flags}\n"
    LAYER_NOTES;
// clang-format on

const struct command command_estimate = {
    .name = "estimate",
    .summary = "the same question in closed form",
    .page = estimate_page,
    COMMAND_OPTIONS(simulate_options, layer_parts, {.workload.def = SCENARIO_DEFAULT}),
    .without = &timeline_options,
    .opens_output = true,
    .run = run_estimate,
};
