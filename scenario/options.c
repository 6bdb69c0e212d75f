#include "scenario/options.h"

#include <stddef.h>

#define AT(member) offsetof(struct scenario_def, member)

// A macro's value as text.
#define DIGITS_OF(number) #number
#define DIGITS(number) DIGITS_OF(number)

static const struct option_row model_rows[] = {
    {OPTION_TEXT("model", AT(model), "MODEL",
                 "preset, epsim YAML or a Hugging Face config.json (deepseek-v3; a trace: its own "
                 "shape)")},
};
const struct option_group scenario_model_options = {HEADING_WORKLOAD, OPTION_ROWS(model_rows)};

static const struct option_row cluster_rows[] = {
    {OPTION_TEXT("cluster", AT(cluster), "CLUSTER",
                 "preset, YAML, either with keys changed (h800-cx7:nic=23GB/s), or one line of "
                 "effective rates: 4x8:nvlink=138GB/s,nic=46GB/s"),
     .always_said = true},
    {OPTION_NUMBER("ep", FIELD_U32, AT(ep), "N", 1, 1024,
                   "ranks, one a GPU; sets the number of nodes (the cluster's own)"),
     .always_said = true},
};
const struct option_group scenario_cluster_options = {HEADING_WORKLOAD, OPTION_ROWS(cluster_rows)};

static const struct option_row dispatcher_rows[] = {
    {OPTION_TEXT("dispatcher", AT(dispatcher), "NAME",
                 "preset or YAML (deepep-normal; up to " DIGITS(
                     SCENARIO_LL_TOKENS) " tokens deepep-ll; with --traffic raw)")},
    {OPTION_NUMBER("sms", FIELD_U32, AT(sms), "N", 1, 4096,
                   "SMs that move data (the dispatcher's own)")},
};
const struct option_group scenario_dispatcher_options = {HEADING_WORKLOAD,
                                                         OPTION_ROWS(dispatcher_rows)};

static const struct option_row routing_rows[] = {
    {OPTION_CHOICE("routing", AT(routing), "NAME", routing_rule_names,
                   "draws experts: uniform; deepep (groups are nodes); v3 (the model's groups); "
                   "balanced")},
};
const struct option_group scenario_routing_options = {HEADING_WORKLOAD, OPTION_ROWS(routing_rows)};

static const struct option_row layout_rows[] = {
    {OPTION_TEXT("layout", AT(layout), "LAYOUT",
                 "contiguous, round-robin, or a file as epsim layout, TensorRT-LLM or SGLang write "
                 "them")},
};
const struct option_group scenario_layout_options = {HEADING_WORKLOAD, OPTION_ROWS(layout_rows)};

static const struct option_row trace_rows[] = {
    {OPTION_TEXT("trace", AT(trace), "FOLDER", "recorded routing in place of a rule")},
};
const struct option_group scenario_trace_options = {HEADING_WORKLOAD, OPTION_ROWS(trace_rows)};

static const struct option_row place_rows[] = {
    {OPTION_NUMBER("layer", FIELD_U32, AT(layer), "N", 0, 1e6,
                   "MoE layer of the trace, from 0; another stream of drawn routing")},
    {OPTION_NUMBER("step", FIELD_U64, AT(step), "N", 0, 0, "step of the trace, from 0")},
};
const struct option_group scenario_place_options = {HEADING_WORKLOAD, OPTION_ROWS(place_rows)};

static const struct option_row traffic_rows[] = {
    {OPTION_TEXT("traffic", AT(traffic), "MATRIX",
                 "bytes from rank to rank instead of a layer: a file, uniform:1MiB, ring:1MiB, "
                 "inside:, between:, pair:0:8:1MiB or distance:")},
};
const struct option_group scenario_traffic_options = {HEADING_WORKLOAD, OPTION_ROWS(traffic_rows)};

static const struct option_row seed_rows[] = {
    {OPTION_NUMBER("seed", FIELD_U64, 0, "N", 0, 0, "of all that is drawn"), .always_said = true},
};
const struct option_group scenario_seed_options = {HEADING_WORKLOAD, OPTION_ROWS(seed_rows)};

static const struct option_row slow_rows[] = {
    {OPTION_TEXT("slow", AT(slow), "LIST",
                 "slow parts, shares of nic, nvlink, compute, or late: "
                 "gpu=5:nic=0.5,node=1:late=300us")},
};
const struct option_group scenario_slow_options = {HEADING_WORKLOAD, OPTION_ROWS(slow_rows)};

static const struct option_row run_rows[] = {
    {OPTION_NUMBER("skew_us", FIELD_NUMBER, AT(skew_us), "US", 0, 1e9,
                   "ranks arrive within this many microseconds")},
    {OPTION_CHOICE("overlap", AT(overlap), "NAME", overlap_names,
                   "shared expert: none (after combine), beside dispatch, or beside combine")},
};
const struct option_group scenario_run_options = {HEADING_RUN, OPTION_ROWS(run_rows)};

static const struct option_row aligned_rows[] = {
    {OPTION_SWITCH("aligned", AT(aligned),
                   "every phase starts when all ranks have ended the one before, as benchmarks "
                   "do")},
};
const struct option_group scenario_aligned_options = {HEADING_RUN, OPTION_ROWS(aligned_rows)};

static const struct option_row loads_rows[] = {
    {OPTION_CHOICE("loads", AT(loads), "NAME", loads_kind_names,
                   "counted (of drawn routing) or expected (in closed form; the default without "
                   "--trace)")},
};
const struct option_group scenario_loads_options = {HEADING_RUN, OPTION_ROWS(loads_rows)};
