// epsim estimate: what simulate is asked, in closed form.
#include "model/estimate.h"

#include "cli/belief.h"
#include "cli/show.h"
#include "cli/simulate.h"

static enum exit_code run_estimate(struct command_line *line, struct error *err)
{
    return run_engine(line, estimate, LOADS_EXPECTED, err);
}

#define AT(member) offsetof(struct simulate_options, member)

static const struct option_part estimate_parts[] = {
    {&question_model_options, AT(workload.question)},
    {&question_cluster_options, AT(workload.question)},
    {&question_dispatcher_options, AT(workload.question)},
    {&question_routing_options, AT(workload.question)},
    {&question_layout_options, AT(workload.question)},
    {&question_trace_options, AT(workload.question)},
    {&question_place_options, AT(workload.question)},
    {&question_traffic_options, AT(workload.question)},
    {&question_seed_options, AT(workload.question.seed)},
    {&question_slow_options, AT(workload.question)},
    {&question_run_options, AT(workload.question)},
    {&question_aligned_options, AT(workload.question)},
    {&question_loads_options, AT(workload.question)},
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
