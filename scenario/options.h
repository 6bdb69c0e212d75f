// The flags of a scenario, in groups: every program and command that asks one lists those that it
// takes, in this order. Offsets count from a struct scenario_def; the seed's count from the seed,
// which commands without a scenario take too.
#ifndef SCENARIO_OPTIONS_H
#define SCENARIO_OPTIONS_H

#include "base/options.h"
#include "scenario/scenario.h"

#define HEADING_WORKLOAD "What is asked"
#define HEADING_RUN "How it runs"

extern const struct option_group scenario_model_options;
extern const struct option_group scenario_cluster_options;    // cluster, ep
extern const struct option_group scenario_dispatcher_options; // dispatcher, sms
extern const struct option_group scenario_kernels_options;    // kernels
extern const struct option_group scenario_dtypes_options;     // dispatch_dtype, combine_dtype
extern const struct option_group scenario_routing_options;
extern const struct option_group scenario_layout_options;
extern const struct option_group scenario_trace_options;
extern const struct option_group scenario_place_options; // layer, step: one of each
extern const struct option_group scenario_traffic_options;
extern const struct option_group scenario_seed_options;
extern const struct option_group scenario_slow_options;
extern const struct option_group scenario_run_options; // skew_us, overlap
extern const struct option_group scenario_aligned_options;
extern const struct option_group scenario_graph_options;
extern const struct option_group scenario_loads_options;

#endif
