#include "base/options.h"

#include "base/mem.h"

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_BYTES 64   // of a flag as shown
#define FIRST_VALUE 256 // getopt_long's answer for row 0, above every letter

// "--topk-groups" for the key topk_groups.
static char *flag_of(const struct option_row *row, char *flag)
{
    snprintf(flag, FLAG_BYTES, "--%s", row->field.key);
    for (char *at = flag; *at != '\0'; at++)
        *at = *at == '_' ? '-' : *at;
    return flag;
}

static bool takes(const struct option_table *table, size_t row)
{
    return (table->rows[row].commands & table->command) != 0;
}

// ---- looking a flag up -------------------------------------------------------------------------

static const char *taken_key(const void *context, size_t index)
{
    const struct option_table *table = context;
    return takes(table, index) ? table->rows[index].field.key : "";
}

static bool unknown_flag(const struct option_table *table, const char *word, struct error *err)
{
    char shown[ERROR_QUOTE_BYTES], flag[FLAG_BYTES];
    error_quote(word, shown);
    const char *near = field_nearest(word + 2, table->count, taken_key, table);
    for (size_t i = 0; near != NULL && i < table->count; i++) {
        if (table->rows[i].field.key == near) {
            return error_set(err, EXIT_INPUT, "unknown option '%s'; did you mean '%s'?", shown,
                             flag_of(&table->rows[i], flag));
        }
    }
    return error_set(err, EXIT_INPUT, "unknown option '%s'", shown);
}

// Refuses a long flag that is not, letter by letter, one of this subcommand's: getopt_long itself
// would take any beginning that fits only one.
static bool check_flag(const struct option_table *table, const char *argument, struct error *err)
{
    char *word = mem_copy_text(argument), flag[FLAG_BYTES];
    word[strcspn(word, "=")] = '\0';
    bool known = false, taken = false;
    for (size_t i = 0; i < table->count; i++) {
        const bool same = strcmp(flag_of(&table->rows[i], flag), word) == 0;
        known = known || same;
        taken = taken || (same && takes(table, i));
    }
    if (!known) {
        unknown_flag(table, word, err);
    } else if (!taken) {
        error_set(err, EXIT_INPUT, "'%s': %s takes no such option, though other commands do", word,
                  table->program);
    }
    free(word);
    return taken;
}

// ---- getopt's tables ---------------------------------------------------------------------------

struct getopt_tables {
    struct option *longs;
    char *flags;  // FLAG_BYTES each, for longs
    char *shorts; // "-:" leaves the order of argv alone and tells a missing value apart
};

static struct getopt_tables make_tables(const struct option_table *table)
{
    struct getopt_tables made = {
        .longs = mem_alloc(table->count + 1, sizeof *made.longs),
        .flags = mem_alloc(table->count + 1, FLAG_BYTES),
        .shorts = mem_alloc(2 * table->count + 3, 1),
    };
    size_t used = 0;
    char *letter = made.shorts;
    *letter++ = '-';
    *letter++ = ':';
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        if (!takes(table, i))
            continue;
        made.longs[used++] = (struct option){
            .name = flag_of(row, made.flags + i * FLAG_BYTES) + 2,
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
    return made;
}

static void free_tables(struct getopt_tables *made)
{
    free(made->longs);
    free(made->flags);
    free(made->shorts);
}

// The row that getopt's answer (or optopt) stands for, or table->count.
static size_t row_of(const struct option_table *table, int answer)
{
    if (answer >= FIRST_VALUE)
        return (size_t)(answer - FIRST_VALUE);
    size_t row = 0;
    while (row < table->count && !(takes(table, row) && table->rows[row].letter == answer))
        row++;
    return row;
}

// ---- parsing -----------------------------------------------------------------------------------

static bool take_option(const struct option_table *table, size_t row, const char *value,
                        bool detached, void *object, bool *given, struct error *err)
{
    const struct option_row *option = &table->rows[row];
    char flag[FLAG_BYTES], quoted[ERROR_QUOTE_BYTES];
    flag_of(option, flag);
    if (value != NULL && *value == '\0')
        return error_set(err, EXIT_INPUT, "%s: '': expected %s", flag, option->argument);
    if (given[row])
        return error_set(err, EXIT_INPUT, "%s: given twice", flag);
    // "--output --json" is a forgotten value; "--output=--json" says what it means.
    if (detached && value != NULL && strncmp(value, "--", 2) == 0) {
        return error_set(err, EXIT_INPUT, "%s: needs a value, %s; found '%s'", flag,
                         option->argument, error_quote(value, quoted));
    }
    given[row] = true;
    if (!field_parse(&option->field, value != NULL ? value : "true", object, err))
        return error_prefix(err, "%s", flag);
    return true;
}

// getopt's own complaints: ':' a value missing, '?' a letter unknown or a value too many.
static bool refuse(const struct option_table *table, int answer, struct error *err)
{
    char flag[FLAG_BYTES], letter[2] = {(char)optopt, '\0'}, quoted[ERROR_QUOTE_BYTES];
    const size_t row = row_of(table, optopt);
    if (row == table->count)
        return error_set(err, EXIT_INPUT, "unknown option '-%s'", error_quote(letter, quoted));
    flag_of(&table->rows[row], flag);
    if (answer == ':')
        return error_set(err, EXIT_INPUT, "%s: needs a value, %s", flag, table->rows[row].argument);
    return error_set(err, EXIT_INPUT, "%s: takes no value", flag);
}

struct words { // the positional arguments
    char **items;
    size_t count;
};

static bool parse_all(const struct option_table *table, const struct getopt_tables *made, int argc,
                      char **argv, void *object, bool *given, struct words *words,
                      struct error *err)
{
    int at = 1; // where getopt_long reads next
    optind = 0; // glibc: begin anew
    opterr = 0;
    for (;; at = optind) {
        const char *argument = at < argc ? argv[at] : "";
        const bool flag = strncmp(argument, "--", 2) == 0 && argument[2] != '\0';
        if (flag && !check_flag(table, argument, err))
            return false;
        const int answer = getopt_long(argc, argv, made->shorts, made->longs, NULL);
        if (answer == -1)
            break;
        if (answer == 1) {
            words->items[words->count++] = optarg;
        } else if (answer == ':' || answer == '?') {
            return refuse(table, answer, err);
        } else {
            const bool detached = optarg != NULL && optarg == argv[optind - 1];
            if (!take_option(table, row_of(table, answer), optarg, detached, object, given, err))
                return false;
        }
    }
    for (; optind < argc; optind++) { // after "--"
        words->items[words->count++] = argv[optind];
    }
    return true;
}

bool options_parse(const struct option_table *table, int argc, char **argv, void *object,
                   bool *given, char ***positional, size_t *positional_count, struct error *err)
{
    assert(argc >= 1);
    memset(given, 0, table->count * sizeof *given);
    struct getopt_tables made = make_tables(table);
    struct words words = {.items = mem_alloc((size_t)argc, sizeof *words.items)};
    const bool good = parse_all(table, &made, argc, argv, object, given, &words, err);
    free_tables(&made);
    if (!good) {
        free(words.items);
        words = (struct words){0};
    }
    *positional = words.items;
    *positional_count = words.count;
    return good;
}

// ---- help --------------------------------------------------------------------------------------

// "-o, --output FILE"; rows without a letter leave its place empty.
static void format_label(const struct option_row *row, char *label, size_t bytes)
{
    char flag[FLAG_BYTES], letter[8] = "    ";
    if (row->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(label, bytes, "%s%s%s%s", letter, flag_of(row, flag), row->argument != NULL ? " " : "",
             row->argument != NULL ? row->argument : "");
}

static bool worth_showing(const struct field *field, const char *value)
{
    switch (field->kind) {
    case FIELD_BOOL:
        return strcmp(value, "true") == 0;
    case FIELD_TEXT:
        return *value != '\0';
    case FIELD_ENUM:
    case FIELD_NAMED:
        return true;
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_NUMBER:
    case FIELD_BYTES:
    case FIELD_RATE:
    case FIELD_TIME:
    case FIELD_FLOPS:
        break;
    }
    return strtod(value, NULL) != 0;
}

static void print_row(const struct option_row *row, const void *defaults, int width, FILE *out)
{
    char label[2 * FLAG_BYTES], value[FIELD_TEXT_BYTES];
    format_label(row, label, sizeof label);
    fprintf(out, "  %-*s  %s", width, label, row->field.help);
    if (worth_showing(&row->field, field_format(&row->field, defaults, value)))
        fprintf(out, " [%s]", value);
    fputc('\n', out);
}

static bool same_group(const struct option_row *a, const struct option_row *b)
{
    return strcmp(a->group, b->group) == 0;
}

// True when no earlier row that the subcommand takes has this row's group.
static bool begins_group(const struct option_table *table, size_t row)
{
    for (size_t i = 0; i < row; i++) {
        if (takes(table, i) && same_group(&table->rows[i], &table->rows[row]))
            return false;
    }
    return takes(table, row);
}

static int label_width(const struct option_table *table)
{
    size_t width = 0;
    for (size_t i = 0; i < table->count; i++) {
        char label[2 * FLAG_BYTES];
        format_label(&table->rows[i], label, sizeof label);
        width = takes(table, i) && strlen(label) > width ? strlen(label) : width;
    }
    return (int)width;
}

void options_help(const struct option_table *table, const void *defaults, FILE *out)
{
    const int width = label_width(table);
    for (size_t first = 0; first < table->count; first++) {
        if (!begins_group(table, first))
            continue;
        fprintf(out, "%s:\n", table->rows[first].group);
        for (size_t i = first; i < table->count; i++) {
            if (takes(table, i) && same_group(&table->rows[i], &table->rows[first]))
                print_row(&table->rows[i], defaults, width, out);
        }
    }
}
