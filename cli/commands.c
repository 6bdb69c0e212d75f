// The list of commands, and their help.
#include "cli/commands.h"

#include <assert.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_simulate, &command_estimate,  &command_compare, &command_replay, &command_diagnose,
    &command_accuracy, &command_calibrate, &command_trace,   &command_layout, &command_plot,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

const struct command *page_at(size_t index)
{
    for (size_t c = 0; c < COMMANDS; c++) {
        if (index-- == 0)
            return commands[c];
        for (const struct verb *verb = commands[c]->verbs; verb && verb->name; verb++)
            if (verb->own && index-- == 0)
                return verb->own;
    }
    return NULL;
}

static size_t page_count(void)
{
    size_t count = 0;
    while (page_at(count))
        count++;
    return count;
}

static const char *page_name(const void *context, size_t index)
{
    (void)context;
    return page_at(index)->name;
}

// Whether any command takes the flag.
static bool any_takes(const char *flag)
{
    const struct command *command;
    for (size_t i = 0; (command = page_at(i)); i++) {
        const struct option_table table = options_of(command);
        if (options_has(&table, flag))
            return true;
    }
    return false;
}

struct option_table options_of(const struct command *command)
{
    return (struct option_table){.program = command->name,
                                 .parts = command->parts,
                                 .count = command->part_count,
                                 .without = command->without,
                                 .elsewhere = any_takes};
}

const struct command *find_command(const char *word, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const struct command *command;
    for (size_t i = 0; (command = page_at(i)); i++)
        if (!strcmp(word, command->name))
            return command;
    const char *near = field_nearest(word, page_count(), page_name, NULL);
    if (near)
        error_set(err, EXIT_INPUT, "unknown command '%s'; did you mean '%s'?",
                  error_quote(word, quoted), near);
    else
        error_set(err, EXIT_INPUT, "unknown command '%s'; see epsim --help",
                  error_quote(word, quoted));
    return NULL;
}

const struct command *find_verb(int argc, char **argv)
{
    for (size_t c = 0; argc > 1 && c < COMMANDS; c++)
        for (const struct verb *verb = commands[c]->verbs; verb && verb->name; verb++)
            if (verb->own && !strcmp(argv[0], commands[c]->name) && !strcmp(argv[1], verb->name))
                return verb->own;
    return NULL;
}

// ---- help --------------------------------------------------------------------------------------

// clang-format off
static const char commands_page[] =
    "epsim predicts what expert parallelism costs on a cluster.\n"
    "\n"
    "usage: epsim COMMAND [flags]\n"
    "\n"
    "{commands}\n"
    "\n"
    "examples:\n"
    "  epsim simulate                  DeepSeek-V3's layer, 32 H800 GPUs, 4096 tokens each\n"
    "  epsim estimate --ep 64          the same in closed form, on 64\n"
    "  epsim help simulate             all flags of a command\n"
    "\n"
    "exit codes: 0 done; 1 outside the asked tolerance; 2 bad input or usage; 3 a helper\n"
    "program or hardware is absent; 4 failed while running\n";
// clang-format on

// Prints a page up to a line "{mark}", and returns what follows it.
static const char *print_until(const char *page, const char *mark, FILE *out)
{
    const char *at = strstr(page, mark);
    assert(at);
    fprintf(out, "%.*s", (int)(at - page), page);
    return at + strlen(mark);
}

void print_commands(FILE *out)
{
    const struct command *command;
    const char *rest = print_until(commands_page, "{commands}\n", out);
    for (size_t i = 0; (command = page_at(i)); i++)
        fprintf(out, "  %-12s %s\n", command->name, command->summary);
    fputs(rest, out);
}

void print_page(const struct command *command, FILE *out)
{
    const struct option_table table = options_of(command);
    fprintf(out, "epsim %s: %s\n\n", command->name, command->summary);
    const char *rest = print_until(command->page, "{flags}\n", out);
    options_help(&table, command->defaults, out);
    fputs(rest, out);
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
