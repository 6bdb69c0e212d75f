#include "cli/help.h"

#include "cli/commands.h"

#include <stdlib.h>
#include <string.h>

void print_commands(FILE *out)
{
    const struct command *command;
    fprintf(out, "epsim predicts what expert parallelism costs on a cluster.\n\n"
                 "usage: epsim COMMAND [flags]\n\n");
    for (size_t i = 0; (command = page_at(i)); i++)
        fprintf(out, "  %-12s %s\n", command->name, command->summary);
    fprintf(
        out,
        "\nexamples:\n"
        "  epsim simulate                  DeepSeek-V3's layer, 32 H800 GPUs, " TEXT_OF(
            SCENARIO_TOKENS) " tokens each\n"
                             "  epsim estimate --ep 64          the same in closed form, on 64\n"
                             "  epsim help simulate             all flags of a command\n"
                             "\nexit codes: 0 done; 1 outside the asked tolerance; 2 bad input or "
                             "usage; 3 a "
                             "helper\nprogram or hardware is absent; 4 failed while running\n");
}

void print_page(const struct command *command, FILE *out)
{
    const struct option_table table = options_of(command);
    void *defaults = command_options(command);
    fprintf(out, "epsim %s: %s\n\nexamples:\n%s\nusage: epsim %s %s\n", command->name,
            command->summary, command->examples, command->name, command->usage);
    options_help(&table, defaults, out);
    if (command->notes)
        fputs(command->notes, out);
    free(defaults);
}

// Whether the word is a verb on the command's page, among others with pages of their own.
static bool is_verb_of_page(const struct command *command, const char *word)
{
    bool named = false, pages = false;
    for (const struct verb *verb = command->verbs; verb && verb->name; verb++) {
        named = named || (!verb->own && !strcmp(word, verb->name));
        pages = pages || verb->own;
    }
    return named && pages;
}

enum exit_code run_help(int argc, char **argv, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (argc < 3)
        return print_commands(stdout), EXIT_DONE;
    const struct command *command = find_verb(argc - 2, argv + 2);
    if (command && argc == 4)
        return print_page(command, stdout), EXIT_DONE;
    command = find_command(argv[2], err);
    if (!command)
        return err->code;
    if (argc > 3 && !(argc == 4 && is_verb_of_page(command, argv[3])))
        return error_set(err, EXIT_INPUT, "'%s': help %s takes no more words",
                         error_quote(argv[3], quoted), command->name),
               err->code;
    return print_page(command, stdout), EXIT_DONE;
}
