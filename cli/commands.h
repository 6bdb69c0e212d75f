// The list of commands, and the page of each. Private to cli/.
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/command.h"

// The commands in order, each followed by its verbs that have a page of their own; NULL after the
// last.
const struct command *page_at(size_t index);

// The table of its flags, which knows those of all other commands.
struct option_table options_of(const struct command *command);

// By a word, which an error names with the nearest.
const struct command *find_command(const char *word, struct error *err);

// A verb with a page of its own, by two words ("trace", "import"), or NULL.
const struct command *find_verb(int argc, char **argv);

void print_commands(FILE *out);
void print_page(const struct command *command, FILE *out);

// "epsim help", "help COMMAND", "help trace import", and "help trace info", which is on the page of
// trace.
enum exit_code run_help(int argc, char **argv, struct error *err);

#endif
