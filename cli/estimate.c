// epsim estimate: what simulate is asked, in closed form.
#include "model/engine/estimate.h"

#include "cli/confidence.h"
#include "cli/show.h"
#include "cli/simulate.h"

static enum exit_code run_estimate(struct command_line *line, struct error *err)
{
    return run_engine(line, &engine_estimate, err);
}

#define AT(member) offsetof(struct simulate_options, member)

static const struct option_part estimate_parts[] = {
    {&scenario_model_options, AT(workload.def)},
    {&scenario_cluster_options, AT(workload.def)},
    {&scenario_dispatcher_options, AT(workload.def)},
    {&scenario_routing_options, AT(workload.def)},
    {&scenario_layout_options, AT(workload.def)},
    {&scenario_trace_options, AT(workload.def)},
    {&scenario_place_options, AT(workload.def)},
    {&scenario_traffic_options, AT(workload.def)},
    {&scenario_seed_options, AT(workload.def.seed)},
    {&scenario_slow_options, AT(workload.def)},
    {&scenario_run_options, AT(workload.def)},
    {&scenario_aligned_options, AT(workload.def)},
    {&scenario_loads_options, AT(workload.def)},
    {&tokens_options, AT(workload.tokens)},
    {&presets_options, AT(common)},
    {&imbalance_options, 0},
    {&layer_tsv_options, 0},
    {&json_options, AT(common)},
    {&output_options, AT(common)},
    {&interval_options, AT(interval_pct)},
    {&check_options, 0},
    {&show_options, AT(workload.show)},
    {&help_options, AT(common)},
};

const struct command command_estimate = {
    .name = "estimate",
    .summary = "the same question in closed form",
    .usage = "[flags]",
    .examples = "  epsim estimate --model config.json --ep 64 --json\n"
                "  epsim estimate --dispatcher deepep-ll-rdma --tokens 128 --tsv ports\n",
    .notes = LAYER_NOTES,
    COMMAND_OPTIONS(simulate_options, estimate_parts),
    .set_defaults = simulate_defaults,
    .opens_output = true,
    .run = run_estimate,
};
