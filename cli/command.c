// The command line that an output carries: every row of the option table in force but those that
// only say where results go, so that sh runs the very same question again.
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

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

static void print_flag(FILE *out, const struct option_row *row, const struct invocation *asked)
{
    char value[FIELD_TEXT_BYTES];
    fputs(" --", out);
    for (const char *at = row->field.key; *at; at++)
        fputc(*at == '_' ? '-' : *at, out);
    if (!row->argument)
        return;
    field_exact(&row->field, asked, value);
    fputc(*value == '-' ? '=' : ' ', out); // "--layout -x" would be a forgotten value
    print_word(out, value);
}

// Said even where nobody did: what an output was asked stays plain when a default changes.
static bool always_said(size_t row)
{
    static const char *const keys[] = {"cluster", "ep", "engine", "seed"};
    const char *key = cli_options[row].field.key;
    if (cli_options[row].commands & (ACCURACY | CALIBRATE) && !strcmp(key, "cluster"))
        return false; // the rows name their own
    if (cli_options[row].commands == LAYOUT && !strcmp(key, "engine"))
        return false; // not of every verb
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

static void print_words(FILE *out, const struct invocation *asked)
{
    for (size_t i = 0; i < asked->word_count; i++) {
        fputc(' ', out);
        print_word(out, asked->words[i]);
    }
}

// Whether a positional argument would be taken for a flag where it stands before them.
static bool dashed(const struct invocation *asked)
{
    for (size_t i = 0; i < asked->word_count; i++)
        if (asked->words[i][0] == '-')
            return true;
    return false;
}

char *command_line(const struct invocation *asked)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    fprintf(out, "epsim %s", asked->command);
    if (!dashed(asked))
        print_words(out, asked);
    for (size_t i = 0; i < cli_option_count; i++) {
        const struct option_row *row = &cli_options[i];
        if ((row->commands & asked->bit) && strcmp(row->group, OUTPUT_GROUP) &&
            (asked->given[i] || always_said(i)))
            print_flag(out, row, asked);
    }
    if (dashed(asked)) {
        fputs(" --", out);
        print_words(out, asked);
    }
    fclose(out);
    return text;
}

void invocation_say(struct invocation *asked, const char *key)
{
    for (size_t i = 0; i < cli_option_count; i++)
        if (!strcmp(cli_options[i].field.key, key))
            asked->given[i] = true;
}

// compare's and replay's are lists. Where they were not asked, compare takes what is measured, or
// the first, and replay all.
static void say_place(struct invocation *asked)
{
    if (asked->bit == REPLAY || (asked->bit == COMPARE && asked->measured[0]))
        return;
    if (!asked->layers[0])
        strcpy(asked->layers, "0");
    if (!asked->steps[0])
        strcpy(asked->steps, "0");
    invocation_say(asked, "layer");
    invocation_say(asked, "step");
}

static void say_layer(struct invocation *asked, const struct scenario *scenario)
{
    struct scenario_def *def = &asked->def;
    if (def->trace[0]) {
        say_place(asked);
    } else {
        if (!def->model[0])
            strcpy(def->model, scenario->moe.name);
        invocation_say(asked, "model");
        invocation_say(asked, "routing");
    }
    // A trace says what it holds for a rank, and that may be more on some than on others.
    if (!asked->tokens[0] && !def->trace[0])
        snprintf(asked->tokens, sizeof asked->tokens, "%u", scenario->tokens[0]);
    if (asked->tokens[0])
        invocation_say(asked, "tokens");
}

char *setting_command(const struct invocation *invocation, const struct scenario *scenario)
{
    struct invocation asked = *invocation;
    struct scenario_def *def = &asked.def;
    def->ep = cluster_ranks(&scenario->cluster);
    if (!def->traffic[0])
        say_layer(&asked, scenario);
    // Over a list of token counts, or steps of a trace, the dispatcher may change on the way.
    if (asked.bit != COMPARE && asked.bit != REPLAY) {
        if (!def->dispatcher[0])
            strcpy(def->dispatcher, scenario->dispatcher.name);
        invocation_say(&asked, "dispatcher");
    }
    return command_line(&asked);
}
