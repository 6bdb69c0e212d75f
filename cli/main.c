// epsim: the front door. Finds the subcommand, parses its flags, runs it; the only place that
// prints an error and exits.
#include "base/version.h"
#include "cli/cli.h"
#include "model/preset.h"

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
    "  * only in --tsv and --json\n";

static const char layout_notes[] =
    "\nrules (compare takes files too, and by itself contiguous, eplb and search):\n"
    "  contiguous   in id order, and around again\n"
    "  random       by --seed\n"
    "  greedy       replicas as EPLB's, then longest first, replicas of an expert apart\n"
    "  eplb         DeepSeek's EPLB: hierarchical where nodes divide groups, else global\n"
    "  eplb-global  its global policy\n"
    "  search       from eplb on, as long as the predicted layer gets shorter\n"
    "formats: trtllm, a TensorRT-LLM load balancer's YAML (which --layout reads, as it does the\n"
    "other); sglang, JSON for --init-expert-location\n";

static const struct command commands[] = {
    {"simulate", SIMULATE, run_simulate, "[flags]",
     "one MoE layer, or a byte matrix, by discrete events",
     "  epsim simulate --routing deepep --check\n"
     "  epsim simulate --tokens 128 --ep 64 --timeline layer.json\n"
     "  epsim simulate --traffic matrix.txt --cluster 4x8:nvlink=138GB/s,nic=46GB/s\n",
     NULL},
    {"estimate", ESTIMATE, run_estimate, "[flags]", "the same question in closed form",
     "  epsim estimate --model config.json --ep 64 --json\n"
     "  epsim estimate --dispatcher deepep-ll-rdma --tokens 128 --tsv ports\n",
     NULL},
    {"compare", COMPARE, run_compare, "[flags]",
     "both engines and measured rows side by side, over token counts or a trace's steps",
     "  epsim compare --routing deepep --measured study/measured/h800-cx7.csv\n"
     "  epsim compare --tokens 1..4096:log --tsv compare -o compare.tsv\n"
     "  epsim compare --trace traces/minimoe-256e --layer 1,2 --step 0..3 --tokens 32\n"
     "  epsim compare --trace traces/minimoe-256e --measured rows.csv    every layer and step that "
     "epsim-real ran\n",
     NULL},
    {"accuracy", ACCURACY, run_accuracy, "FILE.csv [flags]",
     "predicted against measured, by family",
     "  epsim accuracy study/measured/h800-cx7.csv\n"
     "  epsim accuracy rows.csv --engine simulate,estimate,naive --tolerance-pct 10\n",
     NULL},
    {"calibrate", CALIBRATE, run_calibrate, "FILE.csv --fit FIT.yaml [flags]",
     "constants of clusters and dispatchers from measured rows",
     "  epsim calibrate rows.csv --fit fit.yaml --write fitted\n"
     "  epsim accuracy other-rows.csv --presets fitted --engine estimate\n",
     NULL},
    {"trace", TRACE, run_trace, "info FOLDER [flags]", "what a recorded routing trace holds",
     "  epsim trace info traces/minimoe-256e\n"
     "  epsim trace info traces/minimoe-256e --ep 16 --json\n",
     trace_notes},
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
     "  epsim simulate --tsv ranks -o ranks.tsv && epsim plot ranks.tsv -o ranks.png\n",
     NULL},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fprintf(out,
            "epsim predicts what expert parallelism costs on a cluster.\n\nusage: epsim COMMAND "
            "[flags]\n\n");
    for (size_t c = 0; c < COMMANDS; c++)
        fprintf(out, "  %-10s %s\n", commands[c].name, commands[c].summary);
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
                                       .count = CLI_OPTIONS,
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
                                       .count = CLI_OPTIONS,
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
    else if (command->bit != PLOT && !open_output(&invocation, err))
        code = err->code;
    else
        code = command->run(&invocation, err);
    outfile_abort(&out);
    free(invocation.words);
    return code;
}

// "help COMMAND", and "help trace info" for a command that has a verb.
static enum exit_code run_help(int argc, char **argv, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (argc < 3)
        return print_help(stdout), EXIT_DONE;
    const struct command *command = find_command(argv[2], err);
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
    const struct command *command = find_command(word, err);
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
