// The one table of every flag: parsing, ranges, help and hints.
#include "cli/cli.h"
#include "model/question_options.h"

#include <math.h>
#include <string.h>

#define ASK (SIMULATE | ESTIMATE | COMPARE)
#define JUDGE (ACCURACY | CALIBRATE)
#define AT(member) offsetof(struct invocation, member)

#define TEXT(name, member, placeholder, who, heading, words)                                       \
    {                                                                                              \
        .field = {.key = name, .kind = FIELD_TEXT, .offset = AT(member), .help = words},           \
        .argument = placeholder, .commands = who, .group = heading                                 \
    }
#define SWITCH(name, member, who, heading, words)                                                  \
    {                                                                                              \
        .field = {.key = name, .kind = FIELD_BOOL, .offset = AT(member), .help = words},           \
        .commands = who, .group = heading                                                          \
    }

#define TSV(who, kinds) TEXT("tsv", tsv, "KIND", who, OUTPUT_GROUP, "table for programs: " kinds)

// A macro's value as text.
#define DIGITS_OF(number) #number
#define DIGITS(number) DIGITS_OF(number)

// What stands beside the question itself.
static const struct option_row own_rows[] = {
    TEXT("tokens", tokens, "N", SIMULATE | ESTIMATE, "What is asked",
         "tokens a GPU (" DIGITS(QUESTION_TOKENS) "; of a trace, what it holds up to that)"),
    TEXT("tokens", tokens, "LIST", COMPARE, "What is asked",
         "tokens a GPU (" DIGITS(
             QUESTION_TOKENS) "): one, several or a range: 128,4096 or 1..4096:log"),
    TEXT(
        "layer", layers, "LIST", COMPARE, "What is asked",
        "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (those measured, or 0); or a stream of "
        "drawn routing"),
    TEXT("step", steps, "LIST", COMPARE, "What is asked",
         "steps of the trace, from 0, as 0..12:4 (those measured, or 0)"),

    TEXT("engine", engine, "LIST", ACCURACY, "What is judged",
         "simulate, estimate, naive, or several with commas"),
    {.field = {.key = "tolerance_pct",
               .kind = FIELD_NUMBER,
               .offset = AT(tolerance_pct),
               .min = 0,
               .max = 1e6,
               .help = "exit 1 when a row is further off"},
     .argument = "PCT",
     .commands = ACCURACY | COMPARE,
     .group = "What is judged"},
    {.field = {.key = "median_pct",
               .kind = FIELD_NUMBER,
               .offset = AT(median_pct),
               .min = 0,
               .max = 1e6,
               .help = "exit 1 when an engine's median error is larger"},
     .argument = "PCT",
     .commands = ACCURACY,
     .group = "What is judged"},
    {.field = {.key = "from_us",
               .kind = FIELD_NUMBER,
               .offset = AT(from_us),
               .min = 0,
               .max = 1e12,
               .help = "only rows measured at that or longer"},
     .argument = "US",
     .commands = JUDGE,
     .group = "What is judged"},
    TEXT("by", by, "COLUMNS", ACCURACY, "What is judged",
         "what makes a group: a list of family, cluster, dispatcher, nodes, phase, stage, tokens, "
         "sms, dtype"),
    TEXT("measured", measured, "CSV", COMPARE, "What is judged", "measured rows to lay beside"),
    TEXT("cluster", judged_cluster, "CLUSTER", JUDGE, "What is judged",
         "stands for the rows' cluster, in their shape"),
    TEXT("model", judged_model, "MODEL", JUDGE, "What is judged",
         "what the rows ran: its groups and widths, which a CSV has no columns for"),
    TEXT("only", only, "K/N", JUDGE, "What is judged",
         "rows of the K-th of N parts, by a hash of their point (machine, dispatcher, tokens)"),
    TEXT("except", except, "K/N", JUDGE, "What is judged", "rows of all parts but that"),
    TEXT("fit", fit, "FILE", CALIBRATE, "What is judged",
         "YAML: which keys of which presets may move, and what shares them"),
    SWITCH("leave_out", leave_out, CALIBRATE, "What is judged",
           "fit without each group of rows in turn, and say how far off it is then"),
    SWITCH("between", between, CALIBRATE, "What is judged",
           "fit halfway between estimate and simulate, not estimate alone"),
    TEXT("presets", presets, "FOLDER", ASK | JUDGE | TRACE, "What is asked",
         "presets that stand before the built-in ones: FOLDER/clusters/NAME.yaml, .../dispatchers"),
    TEXT("write", write, "FOLDER", CALIBRATE, OUTPUT_GROUP,
         "write the fitted presets there, as --presets reads them"),

    TSV(SIMULATE | ESTIMATE, "phases, ranks, ports, links, traffic or path"),
    TSV(COMPARE, "compare, or with --trace steps"),
    TSV(ACCURACY, "accuracy or accuracy-rows"),
    TSV(CALIBRATE, "calibrate, or with --leave-out left-out"),
    TSV(TRACE, "trace"),
    SWITCH("json", json, EVERY & ~PLOT, OUTPUT_GROUP, "one JSON document"),
    {.field = {.key = "output",
               .kind = FIELD_TEXT,
               .offset = AT(output),
               .help = "write to FILE; - is standard output"},
     .argument = "FILE",
     .commands = EVERY,
     .letter = 'o',
     .group = OUTPUT_GROUP},
    {.field = {.key = "interval",
               .kind = FIELD_NUMBER,
               .offset = AT(interval_pct),
               .min = 1,
               .max = 99.9,
               .help = "bounds between which so many of 100 measurements should lie, as 90"},
     .argument = "PCT",
     .commands = SIMULATE | ESTIMATE | COMPARE | ACCURACY,
     .group = "How far to believe it"},
    TEXT("timeline", timeline, "FILE", SIMULATE, OUTPUT_GROUP,
         "Chrome/Perfetto trace of ranks and ports"),
    SWITCH("check", check, SIMULATE | ESTIMATE, OUTPUT_GROUP,
           "verify conservation and the port bound; exit 4 when broken"),
    {.field = {.key = "show",
               .kind = FIELD_ENUM,
               .offset = AT(show),
               .names = show_names,
               .help = "print, with sources, what would run: model, cluster, dispatcher or all"},
     .argument = "PART",
     .commands = ASK,
     .group = OUTPUT_GROUP},
    {.field = {.key = "quiet", .kind = FIELD_BOOL, .offset = AT(quiet), .help = "no notices"},
     .commands = EVERY,
     .letter = 'q',
     .group = OUTPUT_GROUP},
    {.field = {.key = "help", .kind = FIELD_BOOL, .offset = AT(help), .help = "this text"},
     .commands = EVERY,
     .letter = 'h',
     .group = OUTPUT_GROUP},
};
#define OWN_ROWS (sizeof own_rows / sizeof own_rows[0])

struct option_row cli_options[CLI_OPTIONS];

_Static_assert(QUESTION_OPTIONS + OWN_ROWS == CLI_OPTIONS, "the count that the header says");
_Static_assert(offsetof(struct invocation, question) == 0, "question_options counts from it");

void cli_options_init(void)
{
    static const uint32_t takers[QUESTION_PARTS] = {
        [QUESTION_CLUSTER] = ASK | TRACE,        [QUESTION_LAYER] = ASK,
        [QUESTION_PLACE] = SIMULATE | ESTIMATE,  [QUESTION_TRAFFIC] = SIMULATE | ESTIMATE,
        [QUESTION_SEED] = ASK | JUDGE,           [QUESTION_RUN] = ASK,
        [QUESTION_ENGINE] = SIMULATE | ESTIMATE, [QUESTION_LOADS] = ESTIMATE};
    question_options(cli_options, takers);
    memcpy(cli_options + QUESTION_OPTIONS, own_rows, sizeof own_rows);
}

struct invocation invocation_default(void)
{
    return (struct invocation){.question = question_default(),
                               .engine = "simulate",
                               .tolerance_pct = INFINITY,
                               .median_pct = INFINITY};
}

bool invocation_given(const struct invocation *invocation, const char *key)
{
    for (size_t i = 0; i < CLI_OPTIONS; i++)
        if (invocation->given[i] && !strcmp(cli_options[i].field.key, key))
            return true;
    return false;
}
