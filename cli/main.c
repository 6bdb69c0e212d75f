// epsim: the front door. Finds the command, parses its flags, runs it; the only place that prints
// an error and exits.
#include "base/embedded.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "base/preset.h"

#include <gsl/gsl_errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static enum exit_code run_parsed(const struct command *command, struct command_line *line,
                                 struct common_options *common, struct error *err)
{
    notice_quiet(common->quiet);
    if (common->help)
        return print_page(command, stdout), EXIT_DONE;
    if (!preset_folder(common->presets, err))
        return error_prefix(err, "--presets"), err->code;
    if (command->opens_output &&
        !outfile_open(&common->out, common->output[0] ? common->output : NULL, err))
        return error_prefix(err, "--output"), err->code;
    return command_start(command, line, err);
}

static enum exit_code run_command(const struct command *command, int argc, char **argv,
                                  struct error *err)
{
    const struct option_table table = options_of(command);
    struct command_line line = {.table = &table,
                                .options = mem_copy(command->defaults, command->options_size)};
    struct common_options *common = (void *)((char *)line.options + command->common);
    const enum exit_code code =
        options_parse(&line, argc, argv, err) ? run_parsed(command, &line, common, err) : err->code;
    outfile_abort(&common->out);
    free(line.words);
    free(line.options);
    return code;
}

static enum exit_code dispatch(int argc, char **argv, struct error *err)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (argc < 2)
        return print_commands(stderr), EXIT_INPUT;
    if (!strcmp(word, "--version") || !strcmp(word, "version"))
        return printf("epsim %s\n", version()), EXIT_DONE;
    if (!strcmp(word, "help") || !strcmp(word, "--help") || !strcmp(word, "-h"))
        return run_help(argc, argv, err);
    const struct command *command = find_verb(argc - 1, argv + 1);
    if (command)
        return run_command(command, argc - 2, argv + 2, err);
    command = find_command(word, err);
    return command ? run_command(command, argc - 1, argv + 1, err) : err->code;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    gsl_set_error_handler_off();
    // More threads than cores only cost memory, and libgomp ends the program where it cannot start
    // one.
    if (omp_get_max_threads() > omp_get_num_procs())
        omp_set_num_threads(omp_get_num_procs());
    const enum exit_code code = dispatch(argc, argv, &err);
    if (err.text[0])
        fprintf(stderr, "epsim: error: %s\n", err.text);
    if (code == EXIT_DONE && (fflush(stdout) || ferror(stdout))) {
        fprintf(stderr, "epsim: error: standard output: could not be written whole\n");
        return EXIT_RUNTIME;
    }
    return (int)code;
}
