// Every flag of epsim-real: the scenario's, then its own.
#include "scenario/options.h"
#include "real/cli.h"

#include <string.h>

#define AT(member) offsetof(struct real_invocation, member)
#define RUN "How it runs"
#define OUT "Output"
#define BOTH (REAL_LAYER | REAL_PROBE)

static const char *const transport_names[] = {"auto", "mpi", "nccl", NULL};

#define TEXT(name, member, placeholder, who, heading, words)                                       \
    {                                                                                              \
        .field = {.key = name, .kind = FIELD_TEXT, .offset = AT(member), .help = words},           \
        .argument = placeholder, .commands = who, .group = heading                                 \
    }
#define COUNT(name, least, most, heading, words)                                                   \
    {                                                                                              \
        .field = {.key = #name,                                                                    \
                  .kind = FIELD_U32,                                                               \
                  .offset = AT(name),                                                              \
                  .min = least,                                                                    \
                  .max = most,                                                                     \
                  .help = words},                                                                  \
        .argument = "N", .commands = BOTH, .group = heading                                        \
    }
#define SWITCH(name, one_letter, who, heading, words)                                              \
    {                                                                                              \
        .field = {.key = #name, .kind = FIELD_BOOL, .offset = AT(name), .help = words},            \
        .commands = who, .letter = one_letter, .group = heading                                    \
    }

static const struct option_row own_rows[] = {
    TEXT("tokens", tokens, "LIST", REAL_LAYER, "What is asked",
         "tokens a rank (4096); a list, as 1..4096:log, measures each; 8/0/3/... names every "
         "rank's"),
    TEXT("layer", layers, "LIST", REAL_LAYER, "What is asked",
         "MoE layers of the trace, from 0, as 1, 0,2 or 0..3 (0), each measured; or streams of "
         "drawn "
         "routing"),
    TEXT("step", steps, "LIST", REAL_LAYER, "What is asked",
         "steps of the trace, from 0, as 0..12:4 (0), each measured"),
    {.field = {.key = "transport",
               .kind = FIELD_ENUM,
               .offset = AT(transport),
               .names = transport_names,
               .help = "mpi (host memory) or nccl (GPUs); auto: nccl when built with CUDA"},
     .argument = "NAME",
     .commands = BOTH,
     .group = RUN},
    SWITCH(share_gpu, 0, BOTH, RUN, "several ranks may have one GPU (start the MPS daemon first)"),
    COUNT(warmup, 0, 1000000, RUN, "iterations before those that count"),
    COUNT(iterations, 1, 1000000, RUN, "iterations that count"),
    {.field = {.key = "verify",
               .kind = FIELD_U32,
               .offset = AT(verify),
               .max = 1e9,
               .min = 0,
               .help = "tokens of the job to check against a float64 reference; 0: none"},
     .argument = "N",
     .commands = REAL_LAYER,
     .group = RUN},
    {.field =
         {.key = "tolerance",
          .kind = FIELD_NUMBER,
          .offset = AT(tolerance),
          .help = "largest RMS error over RMS reference (1e-5 fp32, 5e-3 bf16, 1e-2 fp8 dispatch)"},
     .argument = "X",
     .commands = REAL_LAYER,
     .group = RUN},
    {.field = {.key = "most",
               .kind = FIELD_BYTES,
               .offset = AT(most),
               .min = 1 << 10,
               .max = 64.0 * (1 << 30),
               .help = "a rank's bytes in the largest exchange; sizes go from 1KiB by fours"},
     .argument = "SIZE",
     .commands = REAL_PROBE,
     .group = RUN},
    TEXT("write_trace", write_trace, "FOLDER", REAL_LAYER, OUT,
         "save the choices of this run as a trace"),
    TEXT("timeline", timeline, "FILE", REAL_LAYER, OUT,
         "Chrome/Perfetto trace of the last iteration"),
    TEXT("output", output, "FILE", BOTH, OUT, "measured CSV (or JSON); - is standard output"),
    TEXT("family", family, "NAME", BOTH, OUT, "what to call the rows (measured)"),
    SWITCH(json, 0, BOTH, OUT, "one JSON document with the environment"),
    SWITCH(raw, 0, REAL_LAYER, OUT, "every iteration's times of every rank, in the JSON"),
    SWITCH(quiet, 'q', BOTH, OUT, "no notices"),
    SWITCH(help, 'h', BOTH, OUT, "this text"),
};
#define OWN_ROWS (sizeof own_rows / sizeof own_rows[0])

struct option_row real_options[SCENARIO_OPTIONS + OWN_ROWS];
const size_t real_option_count = SCENARIO_OPTIONS + OWN_ROWS;

_Static_assert(SCENARIO_OPTIONS + OWN_ROWS <= sizeof((struct real_invocation *)0)->given,
               "a place each");
_Static_assert(offsetof(struct real_invocation, def) == 0, "scenario_options counts from it");

void real_options_init(void)
{
    static const uint32_t takers[SCENARIO_PART_PARTS] = {[SCENARIO_PART_CLUSTER] = BOTH,
                                                    [SCENARIO_PART_LAYOUT] = BOTH,
                                                    [SCENARIO_PART_LAYER] = REAL_LAYER,
                                                    [SCENARIO_PART_RULE] = REAL_LAYER,
                                                    [SCENARIO_PART_SEED] = REAL_LAYER};
    scenario_options(real_options, takers);
    memcpy(real_options + SCENARIO_OPTIONS, own_rows, sizeof own_rows);
    for (size_t i = 0; i < real_option_count; i++)
        if (!strcmp(real_options[i].field.key, "output"))
            real_options[i].letter = 'o';
}

struct real_invocation real_invocation_default(void)
{
    struct real_invocation invocation = {.def = scenario_def_default(),
                                         .warmup = 2,
                                         .iterations = 10,
                                         .verify = 256,
                                         .most = (uint64_t)16 << 20,
                                         .family = "measured"};
    invocation.def.cluster[0] = '\0';
    return invocation;
}

bool real_given(const struct real_invocation *invocation, const char *key)
{
    for (size_t i = 0; i < real_option_count; i++)
        if (invocation->given[i] && !strcmp(real_options[i].field.key, key))
            return true;
    return false;
}
