#include "cli/command.h"

#include <stdio.h>
#include <string.h>

// ---- verbs -------------------------------------------------------------------------------------

static const struct verb *verb_of_words(const struct command *command,
                                        const struct command_line *line)
{
    const char *word = line->word_count ? line->words[0] : "";
    for (const struct verb *verb = command->verbs; verb && verb->name; verb++)
        if (!verb->own && !strcmp(word, verb->name))
            return verb;
    return NULL;
}

static bool check_verb(const struct command *command, const struct verb *verb,
                       const struct command_line *line, struct error *err)
{
    char flag[OPTION_FLAG_BYTES];
    if (line->word_count < verb->min_words || line->word_count > verb->max_words)
        return error_set(err, EXIT_INPUT, "%s: expected: epsim %s %s %s", command->name,
                         command->name, verb->name, verb->words);
    for (const char *const *key = verb->refused; key && *key; key++)
        if (options_given(line, *key))
            return error_set(err, EXIT_INPUT, "%s has no meaning with %s %s",
                             options_flag(*key, flag), command->name, verb->name);
    return true;
}

enum exit_code command_start(const struct command *command, struct command_line *line,
                             struct error *err)
{
    const struct verb *verb = verb_of_words(command, line);
    if (!verb)
        return command->run(line, err);
    return check_verb(command, verb, line, err) ? verb->run(line, err) : err->code;
}

// ---- the command line that an output carries ---------------------------------------------------

// A word of sh.
static void print_word(FILE *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_@%+=:,./-";
    if (*text && !text[strspn(text, plain)]) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (; *text; text++)
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, '\0'}, out);
    fputc('\'', out);
}

static void print_flag(FILE *out, const struct option_place *place, const void *options)
{
    char flag[OPTION_FLAG_BYTES], value[FIELD_TEXT_BYTES];
    fprintf(out, " %s", options_flag(place->row->field.key, flag));
    if (!place->row->argument)
        return;
    field_exact(&place->row->field, (const char *)options + place->offset, value);
    fputc(*value == '-' ? '=' : ' ', out); // "--layout -x" would be a forgotten value
    print_word(out, value);
}

static void print_words(FILE *out, const struct command_line *line)
{
    for (size_t i = 0; i < line->word_count; i++) {
        fputc(' ', out);
        print_word(out, line->words[i]);
    }
}

// Whether a positional argument would be taken for a flag where it stands before them.
static bool has_dashed_word(const struct command_line *line)
{
    for (size_t i = 0; i < line->word_count; i++)
        if (line->words[i][0] == '-')
            return true;
    return false;
}

char *command_text(const struct command_line *line)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    const bool dashed = has_dashed_word(line);
    struct option_place place;
    fprintf(out, "epsim %s", line->table->program);
    if (!dashed)
        print_words(out, line);
    for (size_t i = 0; (place = options_at(line->table, i)).row; i++)
        if (strcmp(place.group->heading, HEADING_OUTPUT) &&
            (line->given[i] || place.row->always_said))
            print_flag(out, &place, line->options);
    if (dashed) {
        fputs(" --", out);
        print_words(out, line);
    }
    fclose(out);
    return text;
}
