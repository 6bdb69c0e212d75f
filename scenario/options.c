#include "scenario/options.h"

#include <stddef.h>

#define AT(member) offsetof(struct scenario_def, member)
#define ASKED "What is asked"
#define RUNS "How it runs"

#define TEXT(name, member, placeholder, who, heading, words)                                       \
    {                                                                                              \
        .field = {.key = name, .kind = FIELD_TEXT, .offset = AT(member), .help = words},           \
        .argument = placeholder, .commands = who, .group = heading                                 \
    }
#define COUNT(name, member, wide, least, most, who, heading, words)                                \
    {                                                                                              \
        .field = {.key = name,                                                                     \
                  .kind = wide,                                                                    \
                  .offset = AT(member),                                                            \
                  .min = least,                                                                    \
                  .max = most,                                                                     \
                  .help = words},                                                                  \
        .argument = "N", .commands = who, .group = heading                                         \
    }
#define CHOICE(name, member, list, who, heading, words)                                            \
    {                                                                                              \
        .field = {.key = name,                                                                     \
                  .kind = FIELD_ENUM,                                                              \
                  .offset = AT(member),                                                            \
                  .names = list,                                                                   \
                  .help = words},                                                                  \
        .argument = "NAME", .commands = who, .group = heading                                      \
    }

// A macro's value as text.
#define DIGITS_OF(number) #number
#define DIGITS(number) DIGITS_OF(number)

// .commands holds the row's part until scenario_options puts the program's own bits there.
static const struct option_row rows[] = {
    TEXT("model", model, "MODEL", SCENARIO_PART_LAYER, ASKED,
         "preset, epsim YAML or a Hugging Face config.json (deepseek-v3; a trace: its own shape)"),
    TEXT("cluster", cluster, "CLUSTER", SCENARIO_PART_CLUSTER, ASKED,
         "preset, YAML, either with keys changed (h800-cx7:nic=23GB/s), or one line of "
         "effective rates: 4x8:nvlink=138GB/s,nic=46GB/s"),
    COUNT("ep", ep, FIELD_U32, 1, 1024, SCENARIO_PART_CLUSTER, ASKED,
          "ranks, one a GPU; sets the number of nodes (the cluster's own)"),
    TEXT("dispatcher", dispatcher, "NAME", SCENARIO_PART_LAYER, ASKED,
         "preset or YAML (deepep-normal; up to " DIGITS(
             SCENARIO_LL_TOKENS) " tokens deepep-ll; with --traffic raw)"),
    COUNT("sms", sms, FIELD_U32, 1, 4096, SCENARIO_PART_LAYER, ASKED,
          "SMs that move data (the dispatcher's own)"),
    CHOICE("routing", routing, routing_rule_names, SCENARIO_PART_RULE, ASKED,
           "draws experts: uniform; deepep (groups are nodes); v3 (the model's groups); balanced"),
    TEXT("layout", layout, "LAYOUT", SCENARIO_PART_LAYOUT, ASKED,
         "contiguous, round-robin, or a file as epsim layout, TensorRT-LLM or SGLang write them"),
    TEXT("trace", trace, "FOLDER", SCENARIO_PART_LAYER, ASKED, "recorded routing in place of a rule"),
    COUNT("layer", layer, FIELD_U32, 0, 1e6, SCENARIO_PART_PLACE, ASKED,
          "MoE layer of the trace, from 0; another stream of drawn routing"),
    COUNT("step", step, FIELD_U64, 0, 0, SCENARIO_PART_PLACE, ASKED, "step of the trace, from 0"),
    TEXT("traffic", traffic, "MATRIX", SCENARIO_PART_TRAFFIC, ASKED,
         "bytes from rank to rank instead of a layer: a file, uniform:1MiB, ring:1MiB, inside:, "
         "between:, pair:0:8:1MiB or distance:"),
    COUNT("seed", seed, FIELD_U64, 0, 0, SCENARIO_PART_SEED, ASKED, "of all that is drawn"),
    TEXT("slow", slow, "LIST", SCENARIO_PART_RUN, ASKED,
         "slow parts, shares of nic, nvlink, compute, or late: gpu=5:nic=0.5,node=1:late=300us"),
    {.field = {.key = "skew_us",
               .kind = FIELD_NUMBER,
               .offset = AT(skew_us),
               .min = 0,
               .max = 1e9,
               .help = "ranks arrive within this many microseconds"},
     .argument = "US",
     .commands = SCENARIO_PART_RUN,
     .group = RUNS},
    CHOICE("overlap", overlap, overlap_names, SCENARIO_PART_RUN, RUNS,
           "shared expert: none (after combine), beside dispatch, or beside combine"),
    {.field = {.key = "aligned",
               .kind = FIELD_BOOL,
               .offset = AT(aligned),
               .help =
                   "every phase starts when all ranks have ended the one before, as benchmarks do"},
     .commands = SCENARIO_PART_ENGINE,
     .group = RUNS},
    CHOICE("loads", loads, loads_kind_names, SCENARIO_PART_LOADS, RUNS,
           "counted (of drawn routing) or expected (in closed form; the default without --trace)"),
};

_Static_assert(sizeof rows / sizeof rows[0] == SCENARIO_OPTIONS, "the count that the header says");

void scenario_options(struct option_row out[SCENARIO_OPTIONS],
                      const uint32_t commands[SCENARIO_PART_PARTS])
{
    for (size_t i = 0; i < SCENARIO_OPTIONS; i++) {
        out[i] = rows[i];
        out[i].commands = commands[rows[i].commands];
    }
}
