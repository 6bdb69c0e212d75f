// The options that every command has a part of, and their groups. Private to cli/.
#ifndef CLI_COMMON_H
#define CLI_COMMON_H

#include "base/options.h"
#include "base/outfile.h"
#include "scenario/options.h"

#include <stdbool.h>

// Headings of help, beside those of a scenario's groups.
#define HEADING_JUDGED "What is judged"
#define HEADING_OUTPUT "Output" // where results go, and nothing of what is asked
#define HEADING_UNCERTAINTY "How far to believe it"

// A macro's value as text.
#define TEXT_OF_TOKEN(token) #token
#define TEXT_OF(macro) TEXT_OF_TOKEN(macro)

// main acts on presets, output, quiet and help before a command runs.
struct common_options {
    char presets[FIELD_TEXT_BYTES]; // folder that stands before the built-in presets
    char tsv[FIELD_TEXT_BYTES];     // kind of table; its row is the command's own
    char output[FIELD_TEXT_BYTES];
    bool json, quiet, help;
    struct outfile out; // what `output` names, or standard output, of a command that opens it
};

// Offsets count from a struct common_options.
extern const struct option_group presets_options;
extern const struct option_group result_options; // json, output
extern const struct option_group output_options; // --output FILE alone
extern const struct option_group folder_options; // --output FOLDER, a new trace
extern const struct option_group help_options;   // quiet, help

// Defines tsv_options: --tsv with those kinds of tables, its text at that offset.
#define TSV_OPTIONS(at, kinds)                                                                     \
    static const struct option_row tsv_rows[] = {                                                  \
        {OPTION_TEXT("tsv", at, "KIND", "table for programs: " kinds)}};                           \
    static const struct option_group tsv_options = {HEADING_OUTPUT, OPTION_ROWS(tsv_rows)}

// --tsv: one of the kinds, "one or another", and not with --json.
bool check_tsv_kind(const struct common_options *common, const char *kinds, struct error *err);

// Refuses any positional argument.
bool check_no_words(const struct command_line *line, struct error *err);

#endif
