// The flags of a question, in groups: every program and command that asks one lists those that it
// takes, in this order. Offsets count from a struct question; the seed's count from the seed, which
// commands without a question take too.
#ifndef MODEL_QUESTION_OPTIONS_H
#define MODEL_QUESTION_OPTIONS_H

#include "base/options.h"
#include "model/question.h"

#define HEADING_ASKED "What is asked"
#define HEADING_RUNS "How it runs"

extern const struct option_group question_model_options;
extern const struct option_group question_cluster_options;    // cluster, ep
extern const struct option_group question_dispatcher_options; // dispatcher, sms
extern const struct option_group question_routing_options;
extern const struct option_group question_layout_options;
extern const struct option_group question_trace_options;
extern const struct option_group question_place_options; // layer, step: one of each
extern const struct option_group question_traffic_options;
extern const struct option_group question_seed_options;
extern const struct option_group question_slow_options;
extern const struct option_group question_run_options; // skew_us, overlap
extern const struct option_group question_aligned_options;
extern const struct option_group question_loads_options;

#endif
