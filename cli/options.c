// The one table of every flag: parsing, ranges, help and hints.
#include "cli/cli.h"

#include <math.h>
#include <string.h>

#define ASK (SIMULATE | ESTIMATE | COMPARE)
#define AT(member) offsetof(struct invocation, member)

#define TEXT(name, member, placeholder, who, heading, words)                                       \
    {.field = {.key = name, .kind = FIELD_TEXT, .offset = AT(member), .help = words},              \
     .argument = placeholder,                                                                      \
     .commands = who,                                                                              \
     .group = heading}
#define COUNT(name, member, least, most, who, heading, words)                                      \
    {.field = {.key = name,                                                                        \
               .kind = FIELD_U32,                                                                  \
               .offset = AT(member),                                                               \
               .min = least,                                                                       \
               .max = most,                                                                        \
               .help = words},                                                                     \
     .argument = "N",                                                                              \
     .commands = who,                                                                              \
     .group = heading}
#define SWITCH(name, member, who, heading, words)                                                  \
    {.field = {.key = name, .kind = FIELD_BOOL, .offset = AT(member), .help = words},              \
     .commands = who,                                                                              \
     .group = heading}
#define CHOICE(name, member, list, who, heading, words)                                            \
    {.field = {.key = name,                                                                        \
               .kind = FIELD_ENUM,                                                                 \
               .offset = AT(member),                                                               \
               .names = list,                                                                      \
               .help = words},                                                                     \
     .argument = "NAME",                                                                           \
     .commands = who,                                                                              \
     .group = heading}

const struct option_row cli_options[] = {
    TEXT("model", question.model, "MODEL", ASK, "What is asked",
         "preset, epsim YAML or a Hugging Face config.json (deepseek-v3; a trace: its own shape)"),
    TEXT("cluster", question.cluster, "CLUSTER", ASK | TRACE, "What is asked",
         "preset, YAML, either with keys changed (h800-cx7:nic=25GB/s), or one line: 4x8:nvlink=160GB/s,nic=50GB/s"),
    COUNT("ep", question.ep, 1, 1024, ASK | TRACE, "What is asked",
          "ranks, one a GPU; sets the number of nodes (the cluster's own)"),
    TEXT("tokens", tokens, "N", ASK, "What is asked",
         "tokens a GPU (4096); compare: a list, as 1..4096:log or 128,4096"),
    TEXT("dispatcher", question.dispatcher, "NAME", ASK, "What is asked",
         "preset or YAML (deepep-normal; up to 256 tokens deepep-ll; with --traffic raw)"),
    COUNT("sms", question.sms, 1, 4096, ASK, "What is asked",
          "SMs that move data (the dispatcher's own)"),
    CHOICE("routing", question.routing, routing_rule_names, ASK, "What is asked",
           "rule that draws experts: uniform, deepep, v3, balanced"),
    TEXT("layout", question.layout, "LAYOUT", ASK | TRACE, "What is asked",
         "contiguous, round-robin, or a TensorRT-LLM load-balancer YAML"),
    TEXT("trace", question.trace, "FOLDER", ASK, "What is asked",
         "recorded routing in place of a rule"),
    COUNT("layer", question.layer, 0, 1e6, ASK, "What is asked",
          "MoE layer of the trace, from 0; another stream of drawn routing"),
    {.field = {.key = "step",
               .kind = FIELD_U64,
               .offset = AT(question.step),
               .help = "step of the trace, from 0"},
     .argument = "N",
     .commands = ASK,
     .group = "What is asked"},
    TEXT("traffic", question.traffic, "MATRIX", SIMULATE | ESTIMATE, "What is asked",
         "bytes from rank to rank instead of a layer: a file, or uniform:1MiB"),
    {.field = {.key = "seed", .kind = FIELD_U64, .offset = AT(question.seed), .help = "of all that is drawn"},
     .argument = "N",
     .commands = ASK | ACCURACY,
     .group = "What is asked"},

    {.field = {.key = "skew_us",
               .kind = FIELD_NUMBER,
               .offset = AT(question.skew_us),
               .min = 0,
               .max = 1e9,
               .help = "ranks arrive within this many microseconds"},
     .argument = "US",
     .commands = ASK,
     .group = "How it runs"},
    CHOICE("overlap", question.overlap, overlap_names, ASK, "How it runs",
           "shared expert: none (after combine), beside dispatch, or beside combine"),
    SWITCH("aligned", question.aligned, SIMULATE | ESTIMATE, "How it runs",
           "every phase starts when all ranks have ended the one before, as benchmarks do"),
    CHOICE("loads", question.loads, loads_kind_names, ESTIMATE, "How it runs",
           "counted (of drawn routing) or expected (in closed form; the default without --trace)"),

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
    TEXT("measured", measured, "CSV", COMPARE, "What is judged", "measured rows to lay beside"),

    TEXT("tsv", tsv, "KIND", EVERY & ~PLOT, "Output",
         "TSV: phases, ranks, ports, links, traffic, path; compare, accuracy, trace: their own name"),
    SWITCH("json", json, EVERY & ~PLOT, "Output", "one JSON document"),
    {.field = {.key = "output", .kind = FIELD_TEXT, .offset = AT(output), .help = "write to FILE; - is standard output"},
     .argument = "FILE",
     .commands = EVERY,
     .letter = 'o',
     .group = "Output"},
    TEXT("timeline", timeline, "FILE", SIMULATE, "Output", "Chrome/Perfetto trace of ranks and ports"),
    SWITCH("check", check, SIMULATE | ESTIMATE, "Output",
           "verify conservation and the port bound; exit 4 when broken"),
    SWITCH("show", show, ASK, "Output", "print model, cluster and dispatcher resolved, with sources"),
    {.field = {.key = "quiet", .kind = FIELD_BOOL, .offset = AT(quiet), .help = "no notices"},
     .commands = EVERY,
     .letter = 'q',
     .group = "Output"},
    {.field = {.key = "help", .kind = FIELD_BOOL, .offset = AT(help), .help = "this text"},
     .commands = EVERY,
     .letter = 'h',
     .group = "Output"},
};
const size_t cli_option_count = sizeof cli_options / sizeof cli_options[0];

_Static_assert(sizeof cli_options / sizeof cli_options[0] <=
                   sizeof((struct invocation *)0)->given / sizeof(bool),
               "room for every row");

struct invocation invocation_default(void)
{
    return (struct invocation){
        .question = question_default(), .engine = "simulate", .tolerance_pct = INFINITY};
}

bool invocation_given(const struct invocation *invocation, const char *key)
{
    for (size_t i = 0; i < cli_option_count; i++)
        if (!strcmp(cli_options[i].field.key, key))
            return invocation->given[i];
    return false;
}
