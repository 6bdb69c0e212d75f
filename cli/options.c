// The one table of every flag: parsing, ranges, help and hints.
#include "cli/cli.h"
#include "scenario/options.h"
#include "study/layout_search.h"

#include <math.h>
#include <string.h>

#define ASK (SIMULATE | ESTIMATE | COMPARE | REPLAY)
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

#define COUNT(name, member, least, greatest, who, heading, words)                                  \
    {                                                                                              \
        .field = {.key = name,                                                                     \
                  .kind = FIELD_U32,                                                               \
                  .offset = AT(member),                                                            \
                  .min = least,                                                                    \
                  .max = greatest,                                                                 \
                  .help = words},                                                                  \
        .argument = "N", .commands = who, .group = heading                                         \
    }

#define TSV(who, kinds) TEXT("tsv", tsv, "KIND", who, OUTPUT_GROUP, "table for programs: " kinds)

// A macro's value as text.
#define DIGITS_OF(number) #number
#define DIGITS(number) DIGITS_OF(number)

// What stands beside the definition itself.
static const struct option_row own_rows[] = {
    TEXT("tokens", tokens, "N", SIMULATE | ESTIMATE | REPLAY | LAYOUT, "What is asked",
         "tokens a GPU (" DIGITS(SCENARIO_TOKENS) "; of a trace, what it holds up to that)"),
    TEXT("tokens", tokens, "LIST", COMPARE, "What is asked",
         "tokens a GPU (" DIGITS(
             SCENARIO_TOKENS) "): one, several or a range: 128,4096 or 1..4096:log"),
    TEXT(
        "layer", layers, "LIST", COMPARE, "What is asked",
        "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (those measured, or 0); or a stream of "
        "drawn routing"),
    TEXT("step", steps, "LIST", COMPARE, "What is asked",
         "steps of the trace, from 0, as 0..12:4 (those measured, or 0)"),
    TEXT("layer", layers, "LIST", REPLAY, "What is asked",
         "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (all)"),
    TEXT("step", steps, "LIST", REPLAY, "What is asked",
         "steps of the trace, from 0, as 0..12:4 (all)"),
    TEXT("engine", engine, "NAME", REPLAY, "What is asked", "simulate or estimate"),

    TEXT("layer", layers, "LIST", LAYOUT, "What is asked",
         "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (all)"),
    COUNT("redundant", redundant, 0, LAYOUT_MAX_SLOTS, LAYOUT, "What is asked",
          "slots beyond one an expert, for replicas"),
    TEXT("plan_on", plan_on, "PART", LAYOUT, "What is asked",
         "part of the trace that layouts are made from, as 0..0.5 (make: all; compare: 0..0.5)"),
    TEXT("replay_on", replay_on, "PART", LAYOUT, "What is asked",
         "part that they are judged on (what --plan-on leaves)"),
    COUNT("search_steps", search_steps, 0, 1e9, LAYOUT, "What is asked",
          "steps that the search tries in a layer"),
    TEXT("engine", engine, "NAME", LAYOUT, "What is asked", "compare by simulate or estimate"),

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
    TEXT("each", each, "COLUMNS", ACCURACY, "What is judged",
         "groups of each of those columns by itself, one after the other"),
    {.field = {.key = "worst",
               .kind = FIELD_U32,
               .offset = AT(worst),
               .min = 1,
               .max = 1e6,
               .help = "the N rows furthest off of each engine, and what binds there, not groups"},
     .argument = "N",
     .commands = ACCURACY,
     .group = "What is judged"},
    TEXT("measured", measured, "CSV", COMPARE, "What is judged", "measured rows to lay beside"),
    TEXT("cluster", judged_cluster, "CLUSTER", JUDGE, "What is judged",
         "stands for the rows' cluster, in their shape"),
    TEXT("traffic", judged_traffic, "MATRIX", JUDGE, "What is judged",
         "what alltoallv_perf moved where it read a matrix file: that file"),
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
    TEXT("presets", presets, "FOLDER",
         ASK | JUDGE | TRACE | TRACE_IMPORT | TRACE_EXPORT | TRACE_MAKE | LAYOUT, "What is asked",
         "presets that stand before the built-in ones: FOLDER/clusters/NAME.yaml, .../dispatchers, "
         "recipes, fits, models"),
    TEXT("write", write, "FOLDER", CALIBRATE, OUTPUT_GROUP,
         "write the fitted presets there, as --presets reads them"),

    TEXT("model", def.model, "MODEL", TRACE_IMPORT, "What is asked",
         "preset, epsim YAML or config.json: the shape that the input leaves unsaid, and its "
         "layers"),
    TEXT("shape", shape, "SHAPE", TRACE_IMPORT, "What is asked",
         "of raw int32 ids: LAYERS,TOPK or TOKENS,LAYERS,TOPK"),
    {.field = {.key = "order",
               .kind = FIELD_ENUM,
               .offset = AT(order),
               .names = import_order_names,
               .help = "requests: one after another; positions: side by side, request i on rank i "
                       "mod EP, its n-th token in step n"},
     .argument = "ORDER",
     .commands = TRACE_IMPORT,
     .group = "What is asked"},
    {.field = {.key = "ep",
               .kind = FIELD_U32,
               .offset = AT(def.ep),
               .min = 1,
               .max = 1024,
               .help = "ranks that positions, or counts summed over ranks, are shared out to"},
     .argument = "N",
     .commands = TRACE_IMPORT,
     .group = "What is asked"},
    TEXT("tokens", tokens, "N", TRACE_IMPORT, "What is asked",
         "of counts: draw that many tokens a GPU and step by their odds (all that were counted)"),
    TEXT("source", source, "TEXT", TRACE_IMPORT, OUTPUT_GROUP,
         "what trace.yaml says of where it comes from (the format and the input's name)"),
    TEXT("licence", licence, "TEXT", TRACE_IMPORT, OUTPUT_GROUP, "what trace.yaml says of that"),
    TEXT("layer", layers, "LIST", TRACE_EXPORT, "What is asked",
         "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (all; with --matrix 0)"),
    TEXT("step", steps, "LIST", TRACE_EXPORT, "What is asked",
         "steps of the trace, from 0, as 0..12:4 (all; with --matrix 0)"),
    TEXT("tokens", tokens, "N", TRACE_EXPORT, "What is asked",
         "tokens a GPU of a step, where the trace has no steps.npy"),
    TEXT("rows", rows, "FIRST..LAST", TRACE_EXPORT, "What is asked",
         "tokens of the trace, from 0, both in it (all)"),
    {.field = {.key = "matrix",
               .kind = FIELD_ENUM,
               .offset = AT(matrix),
               .names = matrix_names,
               .help = "write no trace but the bytes from rank to rank of one layer's dispatch or "
                       "combine, as --traffic and nccl-tests' alltoallv read them"},
     .argument = "PHASE",
     .commands = TRACE_EXPORT,
     .group = OUTPUT_GROUP},
    TEXT("dispatcher", def.dispatcher, "NAME", TRACE_EXPORT, "What is asked",
         "of --matrix: preset or YAML (deepep-normal; up to " DIGITS(
             SCENARIO_LL_TOKENS) " tokens deepep-ll)"),
    TEXT("model", def.model, "MODEL", TRACE_EXPORT, "What is asked",
         "of --matrix: preset, epsim YAML or config.json (the trace's own shape)"),
    TEXT("model", def.model, "MODEL", TRACE_MAKE, "What is asked",
         "preset, epsim YAML or config.json: whose shape and layers (the recipe's)"),
    TEXT("tokens", tokens, "N", TRACE_MAKE, "What is asked",
         "in all, or STEPSxRANKSxTOKENS, such as 32x32x128, which also says of each token its step "
         "and source rank (" DIGITS(MAKE_TOKENS) ")"),
    TEXT("layer", layers, "LIST", TRACE_MAKE, "What is asked",
         "MoE layers of the model, from 0, as 1, 0,2 or 0..3 (all)"),
    SWITCH("show", show_recipe, TRACE_MAKE, OUTPUT_GROUP,
           "print the recipe with its sources, as YAML, instead"),
    {.field = {.key = "output",
               .kind = FIELD_TEXT,
               .offset = AT(output),
               .help =
                   "write the trace there: a new folder (a matrix: a file, or standard output)"},
     .argument = "FOLDER",
     .commands = TRACE_IMPORT | TRACE_EXPORT | TRACE_MAKE,
     .letter = 'o',
     .group = OUTPUT_GROUP},
    SWITCH("imbalance", imbalance, SIMULATE | ESTIMATE, "How it runs",
           "what uneven routing, slow parts and late ranks cost: runs again without them"),

    TSV(SIMULATE | ESTIMATE, "phases, ranks, ports, links, traffic, path or imbalance"),
    TSV(COMPARE, "compare, or with --trace steps"),
    TSV(REPLAY, "replay, replay-layers, replay-ranks or replay-steps (as they are done)"),
    TSV(ACCURACY, "accuracy or accuracy-rows"),
    TSV(CALIBRATE, "calibrate, or with --leave-out left-out"),
    TSV(TRACE, "trace or lags"),
    TSV(LAYOUT, "compare: layouts; inspect: layout"),
    TEXT("format", format, "NAME", LAYOUT, OUTPUT_GROUP,
         "of a layout file: trtllm or sglang (by the output's name; export: sglang)"),
    SWITCH("json", json, EVERY & ~(PLOT | TRACE_IMPORT | TRACE_EXPORT | TRACE_MAKE), OUTPUT_GROUP,
           "one JSON document"),
    {.field = {.key = "output",
               .kind = FIELD_TEXT,
               .offset = AT(output),
               .help = "write to FILE; - is standard output"},
     .argument = "FILE",
     .commands = EVERY & ~(TRACE_IMPORT | TRACE_EXPORT | TRACE_MAKE),
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
    TEXT("timeline", timeline, "FILE", REPLAY, OUTPUT_GROUP,
         "Chrome/Perfetto trace of steps, layers and ranks"),
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

struct option_row cli_options[SCENARIO_OPTIONS + OWN_ROWS];
const size_t cli_option_count = SCENARIO_OPTIONS + OWN_ROWS;

_Static_assert(SCENARIO_OPTIONS + OWN_ROWS <= sizeof((struct invocation *)0)->given,
               "a place each");
_Static_assert(offsetof(struct invocation, def) == 0, "scenario_options counts from it");

void cli_options_init(void)
{
    static const uint32_t takers[SCENARIO_PART_PARTS] = {
        [SCENARIO_PART_CLUSTER] = ASK | TRACE | TRACE_EXPORT | LAYOUT,
        [SCENARIO_PART_LAYOUT] = ASK | TRACE | TRACE_EXPORT,
        [SCENARIO_PART_LAYER] = ASK | LAYOUT,
        [SCENARIO_PART_RULE] = ASK & ~REPLAY,
        [SCENARIO_PART_PLACE] = SIMULATE | ESTIMATE,
        [SCENARIO_PART_TRAFFIC] = SIMULATE | ESTIMATE,
        [SCENARIO_PART_SEED] = ASK | JUDGE | TRACE_IMPORT | TRACE_MAKE | LAYOUT,
        [SCENARIO_PART_RUN] = ASK,
        [SCENARIO_PART_ENGINE] = SIMULATE | ESTIMATE | REPLAY,
        [SCENARIO_PART_LOADS] = ESTIMATE};
    scenario_options(cli_options, takers);
    memcpy(cli_options + SCENARIO_OPTIONS, own_rows, sizeof own_rows);
}

struct invocation invocation_default(void)
{
    return (struct invocation){.def = scenario_def_default(),
                               .engine = "simulate",
                               .search_steps = LAYOUT_SEARCH_STEPS,
                               .tolerance_pct = INFINITY,
                               .median_pct = INFINITY};
}

bool invocation_given(const struct invocation *invocation, const char *key)
{
    for (size_t i = 0; i < cli_option_count; i++)
        if (invocation->given[i] && !strcmp(cli_options[i].field.key, key))
            return true;
    return false;
}
