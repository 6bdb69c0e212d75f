// A command of epsim: one file of cli/ each, which exports one `const struct command`. Private to
// cli/.
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "cli/common.h"

// Runs with what the command line said, line->options being the command's own struct, and returns
// an exit code: EXIT_INPUT and above with err filled.
typedef enum exit_code command_run(struct command_line *line, struct error *err);

// One of several things that a command does, named by its first word: "epsim layout make".
struct verb {
    const char *name;
    // Options and help of its own, as `trace import` has; NULL: it shares its command's.
    const struct command *own;
    // Where it shares them:
    const char *words;           // after the verb, in messages
    size_t min_words, max_words; // positional arguments, the verb among them
    const char *const *refused;  // keys of flags without a meaning for it, up to NULL; NULL: none
    command_run *run;
};

struct command {
    const char *name; // of a verb with options of its own: "trace import"
    const char *summary;
    const char *page; // of help: two examples at least, usage, a line "{flags}", notes

    const struct option_part *parts; // in the order of help
    size_t part_count;
    const struct option_group *without; // of the parts, that it does not take; NULL: all are
    const void *defaults;               // its struct of options,
    size_t options_size, common;        // with its size, and the place of the common ones in it
    bool opens_output; // main opens what --output names before the run, as common.out

    command_run *run;         // with verbs: what runs where none is named
    const struct verb *verbs; // up to a NULL name; NULL: none
};

// The members of a command that say its options, from the struct's tag, an array of parts, and the
// defaults as an initialiser.
#define COMMAND_OPTIONS(tag, array, ...)                                                           \
    .parts = array, .part_count = sizeof(array) / sizeof *(array),                                 \
    .defaults = &(const struct tag)__VA_ARGS__, .options_size = sizeof(struct tag),                \
    .common = offsetof(struct tag, common)

// Runs the command, or that of its verbs which the first word names.
enum exit_code command_start(const struct command *command, struct command_line *line,
                             struct error *err);

// The words and flags in force as sh takes them, without those of HEADING_OUTPUT, so that it asks
// the same again. Freed by the caller.
char *command_text(const struct command_line *line);

extern const struct command command_simulate, command_estimate, command_compare, command_replay,
    command_diagnose, command_accuracy, command_calibrate, command_trace, command_trace_import,
    command_trace_export, command_trace_make, command_layout, command_plot;

#endif
