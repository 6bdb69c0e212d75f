// The list of commands and the page of each. Private to cli/.
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/command.h"

void print_commands(FILE *out);
void print_page(const struct command *command, FILE *out);

// "epsim help", "help COMMAND", "help trace import", and "help trace info", which is on the page of
// trace.
enum exit_code run_help(int argc, char **argv, struct error *err);

#endif
