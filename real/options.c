// Every flag of epsim-real: the scenario's, then its own.
#include "scenario/options.h"
#include "real/cli.h"

#include <stdio.h>

#define AT(member) offsetof(struct real_options, member)

static const char *const transport_names[] = {"auto", "mpi", "nccl", NULL};

static const struct option_row list_rows[] = {
    {OPTION_TEXT("tokens", AT(tokens), "LIST",
                 "tokens a rank (4096); a list, as 1..4096:log, measures each; 8/0/3/... names "
                 "every rank's")},
    {OPTION_TEXT("layer", AT(layers), "LIST",
                 "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (0), each measured; or "
                 "streams of drawn routing")},
    {OPTION_TEXT("step", AT(steps), "LIST",
                 "steps of the trace, from 0, as 0..12:4 (0), each measured")},
};
static const struct option_group list_options = {HEADING_WORKLOAD, OPTION_ROWS(list_rows)};

static const struct option_row run_rows[] = {
    {OPTION_CHOICE("transport", AT(transport), "NAME", transport_names,
                   "mpi (host memory) or nccl (GPUs); auto: nccl when built with CUDA")},
    {OPTION_SWITCH("share_gpu", AT(share_gpu),
                   "several ranks may have one GPU (start the MPS daemon first)")},
    {OPTION_NUMBER("warmup", FIELD_U32, AT(warmup), "N", 0, 1000000,
                   "iterations before those that count")},
    {OPTION_NUMBER("iterations", FIELD_U32, AT(iterations), "N", 1, 1000000,
                   "iterations that count")},
};
static const struct option_group run_options = {HEADING_RUN, OPTION_ROWS(run_rows)};

static const struct option_row graph_rows[] = {
    {OPTION_SWITCH(
        "graph", AT(graph),
        "time the layer as one CUDA graph, replayed, and no single steps; a shared expert "
        "after combine, then beside dispatch, experts and combine")},
};
static const struct option_row disturb_rows[] = {
    {OPTION_TEXT("disturb", AT(disturb), "LIST",
                 "ranks, as 3 or 0,2, whose GPU another job shares: copies of its memory without "
                 "end")},
};
static const struct option_group disturb_options = {HEADING_RUN, OPTION_ROWS(disturb_rows)};

static const struct option_group graph_options = {HEADING_RUN, OPTION_ROWS(graph_rows)};

static const struct option_row verify_rows[] = {
    {OPTION_NUMBER("verify", FIELD_U32, AT(verify), "N", 0, 1e9,
                   "tokens of the job to check against a float64 reference, and all rows sent; 0: "
                   "none")},
    {OPTION_NUMBER("tolerance", FIELD_NUMBER, AT(tolerance), "X", 0, 0,
                   "largest RMS error over RMS reference (1e-5 fp32, 5e-3 bf16, 1e-2 fp8 "
                   "dispatch); of one token: 4 times that")},
};
static const struct option_group verify_options = {HEADING_RUN, OPTION_ROWS(verify_rows)};

static const struct option_row probe_rows[] = {
    {OPTION_NUMBER("most", FIELD_BYTES, AT(max), "SIZE", 1 << 10, 64.0 * (1 << 30),
                   "a rank's bytes in the largest exchange; sizes go from 1KiB by fours")},
};
static const struct option_group probe_options = {HEADING_RUN, OPTION_ROWS(probe_rows)};

static const struct option_row written_rows[] = {
    {OPTION_TEXT("write_trace", AT(write_trace), "FOLDER",
                 "save the choices of this run as a trace")},
    {OPTION_TEXT("timeline", AT(timeline), "FILE", "Chrome/Perfetto trace of the last iteration")},
};
static const struct option_group written_options = {HEADING_OUTPUT, OPTION_ROWS(written_rows)};

static const struct option_row output_rows[] = {
    {OPTION_TEXT("output", AT(output), "FILE", "measured CSV (or JSON); - is standard output"),
     .letter = 'o'},
    {OPTION_TEXT("family", AT(family), "NAME", "what to call the rows (measured)")},
    {OPTION_SWITCH("json", AT(json), "one JSON document with the environment")},
};
static const struct option_group output_options = {HEADING_OUTPUT, OPTION_ROWS(output_rows)};

static const struct option_row raw_rows[] = {
    {OPTION_SWITCH("raw", AT(raw), "every iteration's times of every rank, in the JSON")},
};
static const struct option_group raw_options = {HEADING_OUTPUT, OPTION_ROWS(raw_rows)};

static const struct option_row help_rows[] = {
    {OPTION_SWITCH("quiet", AT(quiet), "no notices"), .letter = 'q'},
    {OPTION_SWITCH("help", AT(help), "this text"), .letter = 'h'},
};
static const struct option_group help_options = {HEADING_OUTPUT, OPTION_ROWS(help_rows)};

static const struct option_part layer_parts[] = {
    {&scenario_model_options, AT(def)},
    {&scenario_cluster_options, AT(def)},
    {&scenario_dispatcher_options, AT(def)},
    {&scenario_dtypes_options, AT(def)},
    {&scenario_routing_options, AT(def)},
    {&scenario_layout_options, AT(def)},
    {&scenario_trace_options, AT(def)},
    {&scenario_seed_options, AT(def.seed)},
    {&list_options, 0},
    {&run_options, 0},
    {&graph_options, 0},
    {&disturb_options, 0},
    {&verify_options, 0},
    {&written_options, 0},
    {&output_options, 0},
    {&raw_options, 0},
    {&help_options, 0},
};

static const struct option_part probing_parts[] = {
    {&scenario_cluster_options, AT(def)},
    {&scenario_layout_options, AT(def)},
    {&run_options, 0},
    {&probe_options, 0},
    {&output_options, 0},
    {&help_options, 0},
};

// Of a scenario, what epsim alone takes.
static const struct option_part epsim_parts[] = {
    {&scenario_traffic_options, 0}, {&scenario_slow_options, 0},  {&scenario_run_options, 0},
    {&scenario_aligned_options, 0}, {&scenario_loads_options, 0},
};

static bool any_program_takes(const char *flag)
{
    const struct option_table epsim = {.program = "epsim",
                                       .parts = epsim_parts,
                                       .count = sizeof epsim_parts / sizeof *epsim_parts};
    return options_has(real_option_table(REAL_LAYER), flag) ||
           options_has(real_option_table(REAL_PROBE), flag) || options_has(&epsim, flag);
}

const struct option_table *real_option_table(enum real_command command)
{
    static const struct option_table layer = {.program = "epsim-real",
                                              .parts = layer_parts,
                                              .count = sizeof layer_parts / sizeof *layer_parts,
                                              .elsewhere = any_program_takes};
    static const struct option_table probe = {.program = "epsim-real probe",
                                              .parts = probing_parts,
                                              .count = sizeof probing_parts / sizeof *probing_parts,
                                              .elsewhere = any_program_takes};
    return command == REAL_PROBE ? &probe : &layer;
}

struct real_options real_options_default(void)
{
    struct real_options options = {.def = SCENARIO_DEFAULT,
                                   .warmup = 2,
                                   .iterations = 10,
                                   .verify = 256,
                                   .max = (uint64_t)16 << 20,
                                   .family = "measured"};
    options.def.cluster[0] = '\0';
    snprintf(options.def.dispatcher, sizeof options.def.dispatcher, "nccl-flat");
    return options;
}
