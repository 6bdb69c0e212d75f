// Command-line options over getopt_long: one row a flag serves parsing, defaults, ranges, help and
// the nearest-name hint.
//
// Rows stand in groups, beside the code that reads them. A group fills a struct of its own, and a
// program (or one of its commands) lists the groups that it takes, in the order of its help:
//
//     struct run_options { struct size_options size; bool json; };
//     static const struct option_part parts[] = {
//         {&size_group, offsetof(struct run_options, size)},
//         {&json_group, 0},
//     };
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "base/field.h"

#include <stdint.h>

struct option_row {
    struct field field; // key: the flag in '_' form, shown with '-'; offset: in the group's struct
    const char *argument; // placeholder in help, e.g. "N"; NULL: a switch (FIELD_BOOL, no value)
    char letter;          // short form, e.g. 'o'; 0: none
    bool always_said;     // an output's command line has it whether it was given or not
};

// Members of a row, for {OPTION_TEXT("model", AT(model), "MODEL", "..."), .letter = 'm'}.
#define OPTION_TEXT(name, at, placeholder, words)                                                  \
    .field = {.key = name, .kind = FIELD_TEXT, .offset = at, .help = words}, .argument = placeholder
#define OPTION_SWITCH(name, at, words)                                                             \
    .field = {.key = name, .kind = FIELD_BOOL, .offset = at, .help = words}, .argument = NULL
#define OPTION_CHOICE(name, at, placeholder, list, words)                                          \
    .field = {.key = name, .kind = FIELD_ENUM, .offset = at, .names = list, .help = words},        \
    .argument = placeholder
// A number of any kind: FIELD_U32 to FIELD_FLOPS.
#define OPTION_NUMBER(name, number, at, placeholder, low, high, words)                             \
    .field = {.key = name, .kind = number, .offset = at, .min = low, .max = high, .help = words},  \
    .argument = placeholder

struct option_group {
    const char *heading; // in help; groups of one heading stand together
    const struct option_row *rows;
    size_t count;
};
// Of an array of rows: {"Output", OPTION_ROWS(rows)}.
#define OPTION_ROWS(array) array, sizeof(array) / sizeof *(array)

// A group, and where its struct lies in the options of who takes it.
struct option_part {
    const struct option_group *group;
    size_t offset;
};

#define OPTIONS_MAX 64 // rows of a table

struct option_table {
    const char *program; // for messages, e.g. "epsim simulate"
    const struct option_part *parts;
    size_t count;
    const struct option_group *without;  // of the parts, that is not taken; NULL: all are
    bool (*elsewhere)(const char *flag); // whether another command takes "--flag"; NULL: none does
};

// A command line, as parsed. Copies are cheap and share the words.
struct command_line {
    const struct option_table *table;
    void *options;           // of the program; holds the defaults before options_parse
    bool given[OPTIONS_MAX]; // by row of the table
    char **words;            // positional arguments: pointers into argv
    size_t word_count;
};

// Parses argv[1..argc-1] by line->table into *line->options. A flag given twice, unknown (with the
// nearest known), lacking its value or having one too many is an error of EXIT_INPUT naming the
// flag: "--tokens: 'abc': expected a whole number". The caller frees line->words, NULL on error.
bool options_parse(struct command_line *line, int argc, char **argv, struct error *err);

// Whether the flag of this key stood on the command line. options_say: from now on it did.
bool options_given(const struct command_line *line, const char *key);
void options_say(struct command_line *line, const char *key);

// The rows of a table in order; row NULL after the last.
struct option_place {
    const struct option_row *row;
    const struct option_group *group;
    size_t offset; // of the group's struct
};
struct option_place options_at(const struct option_table *table, size_t index);

// Whether the table has "--flag".
bool options_has(const struct option_table *table, const char *flag);

// "--topk-groups" for the key topk_groups; flag has OPTION_FLAG_BYTES bytes.
#define OPTION_FLAG_BYTES 64
char *options_flag(const char *key, char *flag);

// The table's rows by heading, with defaults taken from *defaults.
void options_help(const struct option_table *table, const void *defaults, FILE *out);

#endif
