// epsim: the front door. Finds the subcommand, parses its flags, runs it; the only place that
// prints an error and exits.
#include "base/version.h"
#include "cli/cli.h"

#include <gsl/gsl_errno.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    uint32_t bit;
    command_run *run;
    const char *usage;
    const char *summary;
    const char *examples; // two lines at least
};

static const struct command commands[] = {
    {"simulate", SIMULATE, run_simulate, "[flags]",
     "one MoE layer, or a byte matrix, by discrete events",
     "  epsim simulate --routing deepep --check\n"
     "  epsim simulate --tokens 128 --ep 64 --timeline layer.json\n"
     "  epsim simulate --traffic matrix.txt --cluster 4x8:nvlink=160GB/s,nic=50GB/s\n"},
    {"estimate", ESTIMATE, run_estimate, "[flags]", "the same question in closed form",
     "  epsim estimate --model config.json --ep 64 --json\n"
     "  epsim estimate --dispatcher deepep-ll-rdma --tokens 128 --tsv ports\n"},
    {"compare", COMPARE, run_compare, "[flags]",
     "both engines and measured rows side by side over token counts",
     "  epsim compare --routing deepep --measured study/measured/h800-cx7.csv\n"
     "  epsim compare --tokens 1..4096:log --tsv compare -o compare.tsv\n"},
    {"accuracy", ACCURACY, run_accuracy, "FILE.csv [flags]",
     "predicted against measured, by family",
     "  epsim accuracy study/measured/h800-cx7.csv\n"
     "  epsim accuracy rows.csv --engine simulate,estimate,naive --tolerance-pct 10\n"},
    {"trace", TRACE, run_trace, "info FOLDER [flags]", "what a recorded routing trace holds",
     "  epsim trace info traces/minimoe-256e\n"
     "  epsim trace info traces/minimoe-256e --ep 16 --json\n"},
    {"plot", PLOT, run_plot, "FILE.tsv -o FIGURE", "a figure from a TSV that epsim wrote",
     "  epsim simulate --tsv traffic -o traffic.tsv && epsim plot traffic.tsv -o traffic.svg\n"
     "  epsim simulate --tsv ranks -o ranks.tsv && epsim plot ranks.tsv -o ranks.png\n"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fprintf(out, "epsim predicts what expert parallelism costs on a cluster.\n\nusage: epsim COMMAND "
                 "[flags]\n\n");
    for (size_t c = 0; c < COMMANDS; c++)
        fprintf(out, "  %-9s %s\n", commands[c].name, commands[c].summary);
    fprintf(out, "\nexamples:\n"
                 "  epsim simulate                  DeepSeek-V3's layer, 32 H800 GPUs, 4096 tokens each\n"
                 "  epsim estimate --ep 64          the same in closed form, on 64\n"
                 "  epsim help simulate             all flags of a command\n"
                 "\nexit codes: 0 done; 1 outside the asked tolerance; 2 bad input or usage; 3 a "
                 "helper\nprogram or hardware is absent; 4 failed while running\n");
}

static void print_command_help(const struct command *command, FILE *out)
{
    const struct invocation defaults = invocation_default();
    const struct option_table table = {
        .program = command->name, .rows = cli_options, .count = CLI_OPTIONS, .command = command->bit};
    fprintf(out, "epsim %s: %s\n\nexamples:\n%s\nusage: epsim %s %s\n", command->name,
            command->summary, command->examples, command->name, command->usage);
    options_help(&table, &defaults, out);
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

static enum exit_code run_command(const struct command *command, int argc, char **argv,
                                  struct error *err)
{
    struct invocation invocation = invocation_default();
    const struct option_table table = {
        .program = command->name, .rows = cli_options, .count = CLI_OPTIONS, .command = command->bit};
    invocation.command = command->name;
    if (!options_parse(&table, argc, argv, &invocation, invocation.given, &invocation.words,
                       &invocation.word_count, err))
        return err->code;
    enum exit_code code = EXIT_DONE;
    notice_quiet(invocation.quiet);
    if (invocation.help)
        print_command_help(command, stdout);
    else
        code = command->run(&invocation, err);
    free(invocation.words);
    return code;
}

static enum exit_code dispatch(int argc, char **argv, struct error *err)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    const bool help = !strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h");
    if (!strcmp(word, "--version") || !strcmp(word, "version"))
        return printf("epsim %s\n", version()), EXIT_DONE;
    if (argc < 2)
        return print_help(stderr), EXIT_INPUT;
    if (help && argc < 3)
        return print_help(stdout), EXIT_DONE;
    const struct command *command = find_command(help ? argv[2] : word, err);
    if (!command)
        return err->code;
    if (help)
        return print_command_help(command, stdout), EXIT_DONE;
    return run_command(command, argc - 1, argv + 1, err);
}

int main(int argc, char **argv)
{
    struct error err = {0};
    gsl_set_error_handler_off();
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
