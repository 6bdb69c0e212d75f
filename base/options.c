#include "base/options.h"

#include "base/mem.h"

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_VALUE 256 // getopt_long's answer for row 0, above every letter

char *options_flag(const char *key, char *flag)
{
    snprintf(flag, OPTION_FLAG_BYTES, "--%s", key);
    for (char *at = flag; *at != '\0'; at++)
        *at = *at == '_' ? '-' : *at;
    return flag;
}

// ---- the rows of a table -----------------------------------------------------------------------

// Rows that the table takes of a part.
static size_t part_count(const struct option_table *table, size_t part)
{
    const struct option_group *group = table->parts[part].group;
    return group == table->without ? 0 : group->count;
}

struct option_place options_at(const struct option_table *table, size_t index)
{
    for (size_t p = 0; p < table->count; p++) {
        const struct option_part *part = &table->parts[p];
        if (index < part_count(table, p))
            return (struct option_place){&part->group->rows[index], part->group, part->offset};
        index -= part_count(table, p);
    }
    return (struct option_place){0};
}

static size_t row_count(const struct option_table *table)
{
    size_t count = 0;
    for (size_t p = 0; p < table->count; p++)
        count += part_count(table, p);
    assert(count <= OPTIONS_MAX);
    return count;
}

bool options_has(const struct option_table *table, const char *flag)
{
    char known[OPTION_FLAG_BYTES];
    const struct option_row *row;
    for (size_t i = 0; (row = options_at(table, i).row) != NULL; i++) {
        if (strcmp(options_flag(row->field.key, known), flag) == 0)
            return true;
    }
    return false;
}

// The row of a key; one past the last where there is none.
static size_t row_of_key(const struct option_table *table, const char *key)
{
    const struct option_row *row;
    size_t i = 0;
    while ((row = options_at(table, i).row) != NULL && strcmp(row->field.key, key) != 0)
        i++;
    return i;
}

bool options_given(const struct command_line *line, const char *key)
{
    const size_t row = row_of_key(line->table, key);
    return row < row_count(line->table) && line->given[row];
}

void options_say(struct command_line *line, const char *key)
{
    const size_t row = row_of_key(line->table, key);
    assert(row < row_count(line->table));
    line->given[row] = true;
}

// ---- looking a flag up -------------------------------------------------------------------------

static const char *option_key(const void *table, size_t index)
{
    return options_at(table, index).row->field.key;
}

static bool refuse_unknown_flag(const struct option_table *table, const char *word,
                                struct error *err)
{
    char shown[ERROR_QUOTE_BYTES], flag[OPTION_FLAG_BYTES];
    error_quote(word, shown);
    const char *near = field_nearest(word + 2, row_count(table), option_key, table);
    if (near != NULL) {
        return error_set(err, EXIT_INPUT, "unknown option '%s'; did you mean '%s'?", shown,
                         options_flag(near, flag));
    }
    return error_set(err, EXIT_INPUT, "unknown option '%s'", shown);
}

// Refuses a long flag that is not, letter by letter, one of the table's: getopt_long itself would
// take any beginning that fits only one.
static bool check_flag(const struct option_table *table, const char *argument, struct error *err)
{
    char *word = mem_copy_text(argument);
    word[strcspn(word, "=")] = '\0';
    const bool taken = options_has(table, word);
    if (!taken && table->elsewhere != NULL && table->elsewhere(word)) {
        error_set(err, EXIT_INPUT, "'%s': %s takes no such option, though other commands do", word,
                  table->program);
    } else if (!taken) {
        refuse_unknown_flag(table, word, err);
    }
    free(word);
    return taken;
}

// ---- getopt's tables ---------------------------------------------------------------------------

struct getopt_tables {
    struct option longs[OPTIONS_MAX + 1];
    char flags[OPTIONS_MAX][OPTION_FLAG_BYTES]; // for longs
    char shorts[2 * OPTIONS_MAX + 3]; // "-:" leaves the order of argv alone and tells a missing
                                      // value apart
};

static void fill_tables(struct getopt_tables *made, const struct option_table *table)
{
    char *letter = stpcpy(made->shorts, "-:");
    for (size_t i = 0; i < row_count(table); i++) {
        const struct option_row *row = options_at(table, i).row;
        made->longs[i] = (struct option){
            .name = options_flag(row->field.key, made->flags[i]) + 2,
            .has_arg = row->argument != NULL ? required_argument : no_argument,
            .val = FIRST_VALUE + (int)i,
        };
        if (row->letter != 0) {
            *letter++ = row->letter;
            *letter = ':';
            letter += row->argument != NULL;
        }
    }
    *letter = '\0';
}

// The row that getopt's answer (or optopt) stands for; one past the last where there is none.
static size_t row_of_answer(const struct option_table *table, int answer)
{
    if (answer >= FIRST_VALUE)
        return (size_t)(answer - FIRST_VALUE);
    const struct option_row *row;
    size_t i = 0;
    while ((row = options_at(table, i).row) != NULL && row->letter != answer)
        i++;
    return i;
}

// ---- parsing -----------------------------------------------------------------------------------

static bool take_option(struct command_line *line, size_t index, const char *value, bool detached,
                        struct error *err)
{
    const struct option_place place = options_at(line->table, index);
    const char *argument = place.row->argument;
    char flag[OPTION_FLAG_BYTES], quoted[ERROR_QUOTE_BYTES];
    options_flag(place.row->field.key, flag);
    if (value != NULL && *value == '\0')
        return error_set(err, EXIT_INPUT, "%s: '': expected %s", flag, argument);
    if (line->given[index])
        return error_set(err, EXIT_INPUT, "%s: given twice", flag);
    // "--output --json" is a forgotten value; "--output=--json" says what it means.
    if (detached && value != NULL && strncmp(value, "--", 2) == 0) {
        return error_set(err, EXIT_INPUT, "%s: needs a value, %s; found '%s'", flag, argument,
                         error_quote(value, quoted));
    }
    line->given[index] = true;
    if (!field_parse(&place.row->field, value != NULL ? value : "true",
                     (char *)line->options + place.offset, err))
        return error_prefix(err, "%s", flag);
    return true;
}

// getopt's own complaints: ':' a value missing, '?' a letter unknown or a value too many.
static bool refuse_answer(const struct option_table *table, int answer, struct error *err)
{
    char flag[OPTION_FLAG_BYTES], letter[2] = {(char)optopt, '\0'}, quoted[ERROR_QUOTE_BYTES];
    const struct option_row *row = options_at(table, row_of_answer(table, optopt)).row;
    if (row == NULL)
        return error_set(err, EXIT_INPUT, "unknown option '-%s'", error_quote(letter, quoted));
    options_flag(row->field.key, flag);
    if (answer == ':')
        return error_set(err, EXIT_INPUT, "%s: needs a value, %s", flag, row->argument);
    return error_set(err, EXIT_INPUT, "%s: takes no value", flag);
}

static bool parse_all(struct command_line *line, const struct getopt_tables *made, int argc,
                      char **argv, struct error *err)
{
    int at = 1; // where getopt_long reads next
    optind = 0; // glibc: begin anew
    opterr = 0;
    for (;; at = optind) {
        const char *argument = at < argc ? argv[at] : "";
        const bool flag = strncmp(argument, "--", 2) == 0 && argument[2] != '\0';
        if (flag && !check_flag(line->table, argument, err))
            return false;
        const int answer = getopt_long(argc, argv, made->shorts, made->longs, NULL);
        if (answer == -1)
            break;
        if (answer == 1) {
            line->words[line->word_count++] = optarg;
        } else if (answer == ':' || answer == '?') {
            return refuse_answer(line->table, answer, err);
        } else {
            const bool detached = optarg != NULL && optarg == argv[optind - 1];
            if (!take_option(line, row_of_answer(line->table, answer), optarg, detached, err))
                return false;
        }
    }
    for (; optind < argc; optind++) { // after "--"
        line->words[line->word_count++] = argv[optind];
    }
    return true;
}

bool options_parse(struct command_line *line, int argc, char **argv, struct error *err)
{
    assert(argc >= 1);
    memset(line->given, 0, sizeof line->given);
    struct getopt_tables made = {0};
    fill_tables(&made, line->table);
    line->words = mem_alloc((size_t)argc, sizeof *line->words);
    line->word_count = 0;
    const bool good = parse_all(line, &made, argc, argv, err);
    if (!good) {
        free(line->words);
        line->words = NULL;
        line->word_count = 0;
    }
    return good;
}

// ---- help --------------------------------------------------------------------------------------

// "-o, --output FILE"; rows without a letter leave its place empty.
static void format_label(const struct option_row *row, char *label, size_t bytes)
{
    char flag[OPTION_FLAG_BYTES], letter[8] = "    ";
    if (row->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(label, bytes, "%s%s%s%s", letter, options_flag(row->field.key, flag),
             row->argument != NULL ? " " : "", row->argument != NULL ? row->argument : "");
}

static bool worth_showing(const struct field *field, const char *value)
{
    if (field->kind == FIELD_BOOL)
        return strcmp(value, "true") == 0;
    if (field->kind == FIELD_TEXT)
        return *value != '\0';
    return field->kind == FIELD_ENUM || field->kind == FIELD_NAMED || strtod(value, NULL) != 0;
}

static void print_row(const struct option_place *place, const void *defaults, int width, FILE *out)
{
    const struct field *field = &place->row->field;
    char label[2 * OPTION_FLAG_BYTES], value[FIELD_TEXT_BYTES];
    format_label(place->row, label, sizeof label);
    fprintf(out, "  %-*s  %s", width, label, field->help);
    if (worth_showing(field, field_format(field, (const char *)defaults + place->offset, value)))
        fprintf(out, " [%s]", value);
    fputc('\n', out);
}

static int label_width(const struct option_table *table)
{
    size_t width = 0;
    for (size_t i = 0; i < row_count(table); i++) {
        char label[2 * OPTION_FLAG_BYTES];
        format_label(options_at(table, i).row, label, sizeof label);
        width = strlen(label) > width ? strlen(label) : width;
    }
    return (int)width;
}

// Whether the part has rows, and is the first of its heading that has any.
static bool begins_heading(const struct option_table *table, size_t part)
{
    const char *heading = table->parts[part].group->heading;
    for (size_t p = 0; p < part; p++)
        if (part_count(table, p) > 0 && strcmp(table->parts[p].group->heading, heading) == 0)
            return false;
    return part_count(table, part) > 0;
}

void options_help(const struct option_table *table, const void *defaults, FILE *out)
{
    const int width = label_width(table);
    for (size_t first = 0; first < table->count; first++) {
        const char *heading = table->parts[first].group->heading;
        if (!begins_heading(table, first))
            continue;
        fprintf(out, "%s:\n", heading);
        struct option_place place;
        for (size_t i = 0; (place = options_at(table, i)).row != NULL; i++)
            if (strcmp(place.group->heading, heading) == 0)
                print_row(&place, defaults, width, out);
    }
}
