// epsim: the front door. Finds the subcommand, parses its flags, runs it; the only place that
// prints an error and exits.
#include "base/embedded.h"
#include "cli/cli.h"
#include "base/preset.h"

#include <gsl/gsl_errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    uint32_t bit;
    command_run *run;
    const char *usage;
    const char *summary;
    const char *examples; // two lines at least
    const char *notes;    // after the flags; NULL: none
};

#define TEXT_OF(number) #number
#define DIGITS(number) TEXT_OF(number)

static const char trace_notes[] =
    "\ncolumns, one row a layer (the load of an expert, rank or node: choices that went to it):\n"
    "  hottest_expert    its id\n"
    "  idle_experts      experts that nothing went to *\n"
    "  expert_max_mean   the hottest expert's load over the mean\n"
    "  load_p10 ... p99  quantiles over experts of load over mean *\n"
    "  gini              0: all experts have the same load; towards 1: one has all\n"
    "  sigma_ln_load     standard deviation of ln load over experts that have any *\n"
    "  top_eighth_share  the hottest eighth of the experts' share of the load *\n"
    "  rank_max_mean     the busiest rank's load over the mean, by --layout and --ep\n"
    "  node_max_mean     the same of nodes\n"
    "  ranks_per_token   distinct ranks that a token's choices live on, mean\n"
    "  nodes_per_token   the same of nodes\n"
    "  lag1_common       experts that a token shares with the token before it, mean *\n"
    "  * only in --tsv and --json\n"
    "\n--tsv lags: lag1 ... lag200, the experts that a token shares with the one that far before "
    "it in\n"
    "the file, mean; independent: what tokens of the same loads would share by chance.\n"
    "See also: epsim help trace import, epsim help trace export.\n";

static const char import_notes[] =
    "\nformats, told by content (all inputs of one; several are requests, in order):\n"
    "  .npy, .npz      routed_experts [tokens, layers, k]; .npy too: counts [steps, layers, "
    "experts]\n"
    "  JSON            answers with routed_experts (vLLM, SGLang); per-request lists of steps;\n"
    "                  logical_count (SGLang's expert location); load_history\n"
    "  base64          of a .npy file, or of raw int32 with --shape; raw int32 itself\n"
    "  a folder        TensorRT-LLM's expert statistics, counts or raw\n"
    "  SGLang's .pt    by python3 traces/sglang_pt.py, which writes a trace itself\n";

static const char make_notes[] = "\nrecipes: deepseek-v3-mixed, deepseek-v3-single-domain, "
                                 "balanced, zipf (aiconfigurator's power "
                                 "law), hot-expert;\nor a YAML file of the same keys, as --show "
                                 "prints; either with keys changed: "
                                 "zipf:alpha=1.2\n";

static const char layer_notes[] =
    "\nimbalance (--imbalance, --tsv imbalance), one row a phase, microseconds:\n"
    "  even_us       what the phase adds to the layer with the same traffic spread evenly over "
    "ranks\n"
    "  routing_us    and what uneven routing adds to that\n"
    "  slow_us       and what slow parts (--slow) add\n"
    "  arrival_us    and what late arrivals (late=, --skew-us) add\n"
    "  asked_us      the sum: as it was asked\n"
    "  wait_mean_us  mean over ranks of the wait for the last to end the phase\n";

static const char replay_notes[] =
    "\ncolumns are in README, \"Replay a trace\". Phases overlap between ranks, so they sum to "
    "more\n"
    "than the layer; imbalance is routing's alone, its per cent is of even_us.\n";

static const char compare_notes[] =
    "\ncolumns, one row a phase and token count, or with --trace a phase, layer and step:\n"
    "  simulate_us   mean over ranks by discrete events, microseconds (with --trace: what stat "
    "says)\n"
    "  estimate_us   the same in closed form\n"
    "  measured_us   of the row in --measured that is this very case; measured_id is its id\n"
    "  simulate_pct  simulated over measured, less one, in per cent; estimate_pct likewise\n"
    "  stat          mean over ranks, or the slowest rank\n";

#define FILES                                                                                      \
    "\nfiles, one or more, each known by its text:\n"                                              \
    "  measured CSV   published rows, and what epsim-real writes\n"                                \
    "  nccl-tests     what alltoall_perf, sendrecv_perf and alltoallv_perf print; needs "          \
    "--cluster\n"                                                                                  \
    "  epsim-real     the TSV of epsim-real probe; needs --cluster\n"

static const char accuracy_notes[] = FILES
    "\ncolumns, one row an engine and group (errors: predicted over measured, less one):\n"
    "  n                rows of the group\n"
    "  median_abs_pct   median of the errors' absolute values, per cent\n"
    "  p90_abs_pct      element floor(0.9 (n - 1)) of them, sorted\n"
    "  worst_abs_pct    the largest\n"
    "  bias_pct         mean of the errors with their sign\n"
    "  parameters       distinct figures that these predictions read and that were fitted to rows, "
    "as "
    "their source says\n"
    "  fitted_rows      the fewest rows that one of those was fitted to\n"
    "  own_parameters   how many of them these rows may have fixed themselves: one fitted to N "
    "rows "
    "counts M/N where M\n"
    "                   of these read it, 1 at most, and 0 where --only or --except held these "
    "out\n"
    "  verdict          proves nothing: fewer than three rows an own parameter\n"
    "rows (--worst, --tsv accuracy-rows):\n"
    "  error_pct        predicted over measured, less one\n"
    "  bottleneck       what binds the predicted phase, as simulate and estimate say it\n"
    "naive: the busiest port's bytes over its nominal rate, and 10 us.\n";

static const char calibrate_notes[] = FILES
    "\ncolumns, one row a parameter of the fit file:\n"
    "  key                 what moved, of a cluster or dispatcher\n"
    "  presets             that share it; NAME@CLUSTER: what dispatcher NAME says there\n"
    "  start, value        before and after the fit\n"
    "  standard_error_pct  of the value; -: the data say nothing of it\n"
    "  rows                that depend on the key\n"
    "  verdict             found: to be used;\n"
    "                      loose: a standard error above half the value, or blind data;\n"
    "                      at bound: it wants to go further than min or max;\n"
    "                      unused: no row's prediction moves with it, and it is not written\n"
    "left-out (--leave-out), one row a group of measured rows, predicted by a fit without them:\n"
    "  n, median_abs_pct, p90_abs_pct   as in epsim help accuracy\n";

static const char layout_notes[] =
    "\nrules (compare takes files too, and by itself contiguous, eplb and search):\n"
    "  contiguous   in id order, and around again\n"
    "  random       by --seed\n"
    "  greedy       replicas as EPLB's, then longest first, replicas of an expert apart\n"
    "  eplb         DeepSeek's EPLB: hierarchical where nodes divide groups, else global\n"
    "  eplb-global  its global policy\n"
    "  search       from eplb on, as long as the predicted layer gets shorter\n"
    "columns of compare, means over the steps judged:\n"
    "  against_first_pct   layer_us over that of the first layout, less one\n"
    "  rank_max_mean       choices at the busiest rank over the mean; node_max_mean of nodes\n"
    "  ranks_per_token     distinct ranks that a token reaches; nodes_per_token likewise\n"
    "  most_replicas       of any expert\n"
    "formats: trtllm, a TensorRT-LLM load balancer's YAML (which --layout reads, as it does the\n"
    "other); sglang, JSON for --init-expert-location\n";

static const struct command commands[] = {
    {"simulate", SIMULATE, run_simulate, "[flags]",
     "one MoE layer, or a byte matrix, by discrete events",
     "  epsim simulate --routing deepep --check\n"
     "  epsim simulate --tokens 128 --ep 64 --timeline layer.json\n"
     "  epsim simulate --traffic matrix.txt --cluster 4x8:nvlink=138GB/s,nic=46GB/s\n",
     layer_notes},
    {"estimate", ESTIMATE, run_estimate, "[flags]", "the same question in closed form",
     "  epsim estimate --model config.json --ep 64 --json\n"
     "  epsim estimate --dispatcher deepep-ll-rdma --tokens 128 --tsv ports\n",
     layer_notes},
    {"compare", COMPARE, run_compare, "[flags]",
     "both engines and measured rows side by side, over token counts or a trace's steps",
     "  epsim compare --routing deepep --measured study/measured/h800-cx7.csv\n"
     "  epsim compare --tokens 1..4096:log --tsv compare -o compare.tsv\n"
     "  epsim compare --trace traces/minimoe-256e --layer 1,2 --step 0..3 --tokens 32\n"
     "  epsim compare --trace traces/minimoe-256e --measured rows.csv    every layer and step that "
     "epsim-real ran\n",
     compare_notes},
    {"replay", REPLAY, run_replay, "--trace FOLDER [flags]",
     "a trace's layers and steps through an engine: percentiles, and what imbalance costs",
     "  epsim replay --trace traces/minimoe-256e --tokens 128\n"
     "  epsim replay --trace traces/minimoe-256e --tokens 16 --step 0..9 --timeline steps.json\n"
     "  epsim replay --trace traces/minimoe-256e --tsv replay-ranks -o ranks.tsv && epsim plot "
     "ranks.tsv -o ranks.svg\n",
     replay_notes},
    {"accuracy", ACCURACY, run_accuracy, "FILE... [flags]", "predicted against measured, by family",
     "  epsim accuracy study/measured/h800-cx7.csv\n"
     "  epsim accuracy rows.csv --engine simulate,estimate,naive --tolerance-pct 10\n"
     "  epsim accuracy rows.csv --each nodes,phase,tokens,sms\n"
     "  epsim accuracy rows.csv --engine estimate --worst 10\n",
     accuracy_notes},
    {"calibrate", CALIBRATE, run_calibrate, "FILE... --fit FIT.yaml [flags]",
     "constants of clusters and dispatchers from measured rows",
     "  epsim calibrate rows.csv --fit fit.yaml --write fitted\n"
     "  epsim calibrate alltoall.txt sendrecv.txt --fit study/fits/nccl-tests.yaml \\\n"
     "      --cluster 4x8:name=mine,nvlink=300GB/s,nic=45GB/s --write fitted\n"
     "  epsim simulate --cluster mine --presets fitted\n"
     "  epsim accuracy other-rows.csv --presets fitted --engine estimate\n",
     calibrate_notes},
    {"trace", TRACE, run_trace, "info FOLDER [flags]", "what a recorded routing trace holds",
     "  epsim trace info traces/minimoe-256e\n"
     "  epsim trace info traces/minimoe-256e --ep 16 --json\n"
     "  epsim trace info traces/minimoe-256e --tsv lags\n",
     trace_notes},
    {"trace import", TRACE_IMPORT, run_trace_import, "INPUT... -o FOLDER [flags]",
     "routing that serving engines wrote, as a trace",
     "  epsim trace import request-*.npy --model deepseek-v3 -o my-trace\n"
     "  epsim trace import statistics/ -o my-trace        TensorRT-LLM's meta_info.json and "
     "ranks\n",
     import_notes},
    {"trace export", TRACE_EXPORT, run_trace_export, "FOLDER -o FOLDER [flags]",
     "a part of a trace, or a byte matrix of one step",
     "  epsim trace export traces/minimoe-256e --layer 1,2 --rows 0..1023 -o part\n"
     "  epsim trace export traces/minimoe-256e --matrix dispatch --ep 8 --tokens 64 -o "
     "matrix.txt\n",
     NULL},
    {"trace make", TRACE_MAKE, run_trace_make, "RECIPE -o FOLDER [flags]",
     "a trace generated by a recipe, as skewed as measured models are",
     "  epsim trace make deepseek-v3-mixed --tokens 32x32x128 -o mixed\n"
     "  epsim trace make deepseek-v3-single-domain:drift=0.15,drift_tokens=65536 --seed 2 -o "
     "drifting\n"
     "  epsim trace make zipf:alpha=1.2 --model qwen3-235b-a22b --layer 0..3 -o zipf\n",
     make_notes},
    {"layout", LAYOUT, run_layout,
     "make RULE|compare [LAYOUT...]|inspect FILE|import FILE|export FILE [flags]",
     "placements of experts: make, compare, inspect, import, export",
     "  epsim layout make eplb --trace traces/minimoe-256e --ep 32 --redundant 32 -o layout.yaml\n"
     "  epsim layout compare contiguous eplb search --trace traces/minimoe-256e --redundant 32\n"
     "  epsim layout inspect layout.yaml --ep 32\n"
     "  epsim layout export layout.yaml --ep 32 -o map.json    for SGLang's "
     "--init-expert-location\n",
     layout_notes},
    {"plot", PLOT, run_plot, "FILE.tsv -o FIGURE", "a figure from a TSV that epsim wrote",
     "  epsim simulate --tsv traffic -o traffic.tsv && epsim plot traffic.tsv -o traffic.svg\n"
     "  epsim simulate --tsv ranks -o ranks.tsv && epsim plot ranks.tsv -o ranks.png\n"
     "  epsim accuracy rows.csv --tsv accuracy-rows -o rows.tsv && epsim plot rows.tsv -o "
     "rows.svg\n",
     NULL},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fprintf(out,
            "epsim predicts what expert parallelism costs on a cluster.\n\nusage: epsim COMMAND "
            "[flags]\n\n");
    for (size_t c = 0; c < COMMANDS; c++)
        fprintf(out, "  %-12s %s\n", commands[c].name, commands[c].summary);
    fprintf(
        out,
        "\nexamples:\n"
        "  epsim simulate                  DeepSeek-V3's layer, 32 H800 GPUs, " DIGITS(
            QUESTION_TOKENS) " tokens each\n"
                             "  epsim estimate --ep 64          the same in closed form, on 64\n"
                             "  epsim help simulate             all flags of a command\n"
                             "\nexit codes: 0 done; 1 outside the asked tolerance; 2 bad input or "
                             "usage; 3 a "
                             "helper\nprogram or hardware is absent; 4 failed while running\n");
}

static void print_command_help(const struct command *command, FILE *out)
{
    const struct invocation defaults = invocation_default();
    const struct option_table table = {.program = command->name,
                                       .rows = cli_options,
                                       .count = cli_option_count,
                                       .command = command->bit};
    fprintf(out, "epsim %s: %s\n\nexamples:\n%s\nusage: epsim %s %s\n", command->name,
            command->summary, command->examples, command->name, command->usage);
    options_help(&table, &defaults, out);
    if (command->notes)
        fputs(command->notes, out);
}

static const char *command_name(const void *context, size_t index)
{
    (void)context;
    return commands[index].name;
}

static const struct command *find_command(const char *word, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t c = 0; c < COMMANDS; c++)
        if (!strcmp(word, commands[c].name))
            return &commands[c];
    const char *near = field_nearest(word, COMMANDS, command_name, NULL);
    if (near)
        error_set(err, EXIT_INPUT, "unknown command '%s'; did you mean '%s'?",
                  error_quote(word, quoted), near);
    else
        error_set(err, EXIT_INPUT, "unknown command '%s'; see epsim --help",
                  error_quote(word, quoted));
    return NULL;
}

static bool open_output(const struct invocation *invocation, struct error *err)
{
    return outfile_open(invocation->out, invocation->output[0] ? invocation->output : NULL, err) ||
           error_prefix(err, "--output");
}

static enum exit_code run_command(const struct command *command, int argc, char **argv,
                                  struct error *err)
{
    struct invocation invocation = invocation_default();
    const struct option_table table = {.program = command->name,
                                       .rows = cli_options,
                                       .count = cli_option_count,
                                       .command = command->bit};
    struct outfile out = {0};
    invocation.command = command->name;
    invocation.bit = command->bit;
    invocation.out = &out;
    if (!options_parse(&table, argc, argv, &invocation, invocation.given, &invocation.words,
                       &invocation.word_count, err))
        return err->code;
    enum exit_code code = EXIT_DONE;
    notice_quiet(invocation.quiet);
    if (invocation.help)
        print_command_help(command, stdout);
    else if (!preset_folder(invocation.presets, err))
        error_prefix(err, "--presets"), code = err->code;
    else if (!(command->bit & (PLOT | TRACE_IMPORT | TRACE_EXPORT | TRACE_MAKE)) &&
             !open_output(&invocation, err))
        code = err->code;
    else
        code = command->run(&invocation, err);
    outfile_abort(&out);
    free(invocation.words);
    return code;
}

// "trace import" and the like: a command of two words, or NULL.
static const struct command *find_verb(int argc, char **argv)
{
    if (argc < 2)
        return NULL;
    const size_t length = strlen(argv[0]);
    for (size_t c = 0; c < COMMANDS; c++)
        if (!strncmp(commands[c].name, argv[0], length) && commands[c].name[length] == ' ' &&
            !strcmp(commands[c].name + length + 1, argv[1]))
            return &commands[c];
    return NULL;
}

// "help COMMAND", "help trace import", and "help trace info" for a command that has a verb.
static enum exit_code run_help(int argc, char **argv, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (argc < 3)
        return print_help(stdout), EXIT_DONE;
    const struct command *command = find_verb(argc - 2, argv + 2);
    if (command && argc == 4)
        return print_command_help(command, stdout), EXIT_DONE;
    command = find_command(argv[2], err);
    if (!command)
        return err->code;
    const bool verb = argc == 4 && command->bit == TRACE && !strcmp(argv[3], "info");
    if (argc > 3 && !verb)
        return error_set(err, EXIT_INPUT, "'%s': help %s takes no more words",
                         error_quote(argv[3], quoted), command->name),
               err->code;
    return print_command_help(command, stdout), EXIT_DONE;
}

static enum exit_code dispatch(int argc, char **argv, struct error *err)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (argc < 2)
        return print_help(stderr), EXIT_INPUT;
    if (!strcmp(word, "--version") || !strcmp(word, "version"))
        return printf("epsim %s\n", version()), EXIT_DONE;
    if (!strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h"))
        return run_help(argc, argv, err);
    const struct command *command = find_verb(argc - 1, argv + 1);
    if (command)
        return run_command(command, argc - 2, argv + 2, err);
    command = find_command(word, err);
    if (!command)
        return err->code;
    return run_command(command, argc - 1, argv + 1, err);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    gsl_set_error_handler_off();
    // More threads than cores only cost memory, and libgomp ends the program where it cannot start
    // one.
    if (omp_get_max_threads() > omp_get_num_procs())
        omp_set_num_threads(omp_get_num_procs());
    cli_options_init();
    const enum exit_code code = dispatch(argc, argv, &err);
    if (err.text[0])
        fprintf(stderr, "epsim: error: %s\n", err.text);
    if (code == EXIT_DONE && (fflush(stdout) || ferror(stdout))) {
        fprintf(stderr, "epsim: error: standard output: could not be written whole\n");
        return EXIT_RUNTIME;
    }
    return (int)code;
}
