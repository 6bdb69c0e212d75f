// Command-line options: one table of rows serves parsing, defaults, ranges, help and the
// nearest-name hint, over getopt_long.
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "base/field.h"

#include <stdint.h>

struct option_row {
    struct field field;   // field.key is the flag's name in '_' form; shown with '-'
    const char *argument; // placeholder in help, e.g. "N"; NULL: a switch (FIELD_BOOL, no value)
    uint32_t commands;    // bit set of the subcommands that take it
    char letter;          // short form, e.g. 'o'; 0: none
    const char *group;    // heading in help
};

struct option_table {
    const char *program; // for messages, e.g. "epsim simulate"
    const struct option_row *rows;
    size_t count;
    uint32_t command; // bit of the subcommand in hand
};

// Parses argv[1..argc-1] into *object. Positional arguments are left in *positional
// (pointers into argv, *positional_count of them, array freed by the caller). given[row] is set
// for each row that appeared. A flag given twice, unknown (with the nearest known), lacking its
// value or having one too many is an error of EXIT_INPUT naming the flag:
// "--tokens: 'abc': expected a whole number".
bool options_parse(const struct option_table *table, int argc, char **argv, void *object,
                   bool *given, char ***positional, size_t *positional_count, struct error *err);

// The rows that the subcommand takes, by group, with defaults taken from *defaults.
void options_help(const struct option_table *table, const void *defaults, FILE *out);

#endif
