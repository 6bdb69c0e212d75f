#include "cli/commands.h"

#include <string.h>

static const struct command *const commands[] = {
    &command_simulate,  &command_estimate, &command_compare, &command_replay, &command_accuracy,
    &command_calibrate, &command_trace,    &command_layout,  &command_plot,
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
