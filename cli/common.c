#include "cli/common.h"

#include <string.h>

#define AT(member) offsetof(struct common_options, member)

static const struct option_row presets_rows[] = {
    {OPTION_TEXT("presets", AT(presets), "FOLDER",
                 "presets that stand before the built-in ones: FOLDER/clusters/NAME.yaml, "
                 ".../dispatchers, recipes, fits, models")},
};
const struct option_group presets_options = {HEADING_WORKLOAD, OPTION_ROWS(presets_rows)};

// --output is the last, so that it is a group by itself too.
static const struct option_row result_rows[] = {
    {OPTION_SWITCH("json", AT(json), "one JSON document")},
    {OPTION_TEXT("output", AT(output), "FILE", "write to FILE; - is standard output"),
     .letter = 'o'},
};
const struct option_group result_options = {HEADING_OUTPUT, OPTION_ROWS(result_rows)};
const struct option_group output_options = {HEADING_OUTPUT, result_rows + 1, 1};

static const struct option_row folder_rows[] = {
    {OPTION_TEXT("output", AT(output), "FOLDER",
                 "write the trace there: a new folder (a matrix: a file, or standard output)"),
     .letter = 'o'},
};
const struct option_group folder_options = {HEADING_OUTPUT, OPTION_ROWS(folder_rows)};

static const struct option_row help_rows[] = {
    {OPTION_SWITCH("quiet", AT(quiet), "no notices"), .letter = 'q'},
    {OPTION_SWITCH("help", AT(help), "this text"), .letter = 'h'},
};
const struct option_group help_options = {HEADING_OUTPUT, OPTION_ROWS(help_rows)};

static bool is_kind(const char *word, const char *kinds)
{
    const size_t length = strlen(word);
    for (const char *at = kinds; length && (at = strstr(at, word)); at += length)
        if ((at == kinds || at[-1] == ' ') && strchr(" ,", at[length]))
            return strcmp(word, "or") != 0;
    return false;
}

bool check_tsv_kind(const struct common_options *common, const char *kinds, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (!common->tsv[0])
        return true;
    if (!is_kind(common->tsv, kinds))
        return error_set(err, EXIT_INPUT, "--tsv: '%s': expected %s",
                         error_quote(common->tsv, quoted), kinds);
    return !common->json || error_set(err, EXIT_INPUT, "--tsv and --json: expected one of them");
}

bool check_no_words(const struct command_line *line, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    return !line->word_count ||
           error_set(err, EXIT_INPUT, "'%s': %s takes only flags",
                     error_quote(line->words[0], quoted), line->table->program);
}
