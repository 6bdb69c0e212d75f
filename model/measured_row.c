#include "model/measured_row.h"

#include <string.h>

#define ROW(member) offsetof(struct measured_row, member)
#define U32(member, from, to, blank)                                                               \
    {                                                                                              \
        {.key = #member, .kind = FIELD_U32, .offset = ROW(member), .min = from, .max = to}, true,  \
            blank                                                                                  \
    }
#define TEXT(member)                                                                               \
    {                                                                                              \
        {.key = #member, .kind = FIELD_TEXT, .offset = ROW(member)}, true, false                   \
    }

#define OPTIONAL(member)                                                                           \
    {                                                                                              \
        {.key = #member, .kind = FIELD_TEXT, .offset = ROW(member)}, false, true                   \
    }

// clang-format off
const struct measured_row_column measured_row_columns[] = {
    TEXT(id),
    TEXT(family),
    TEXT(cluster),
    TEXT(dispatcher),
    U32(nodes, 1, 1024, false),
    U32(gpus_per_node, 1, 1024, false),
    U32(experts, 0, MOE_MAX_EXPERTS, true),
    U32(topk, 0, MOE_MAX_TOPK, true),
    U32(topk_groups, 0, MOE_MAX_EXPERTS, true),
    U32(hidden, 0, 1000000, true),
    U32(sms, 0, 4096, true),
    {{.key = "latency_us",
      .kind = FIELD_NUMBER,
      .offset = ROW(latency_us),
      .min = 1e-6,
      .max = 1e12},
     true,
     false},
    TEXT(source),
    OPTIONAL(stage),
    OPTIONAL(stat),
    OPTIONAL(routing),
    OPTIONAL(layout),
    {{.key = "step", .kind = FIELD_U64, .offset = ROW(step)}, false, true},
    {{.key = "layer", .kind = FIELD_U32, .offset = ROW(layer), .max = 1e6}, false, true},
    OPTIONAL(traffic),
    OPTIONAL(gpu),
    {{.key = "intermediate", .kind = FIELD_U32, .offset = ROW(intermediate), .max = 1e6},
     false,
     true},
};
// clang-format on
const size_t measured_row_column_count =
    sizeof measured_row_columns / sizeof measured_row_columns[0];

const char *const measured_row_word_columns[] = {"tokens_per_gpu", "dtype", "phase", "derived",
                                                 NULL};

static bool is_one_of(const char *text, const char *const *names)
{
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(text, names[i]))
            return true;
    return false;
}

enum routing_rule measured_rule(const struct measured_row *row)
{
    for (int rule = 0; routing_rule_names[rule]; rule++)
        if (!strcmp(row->routing, routing_rule_names[rule]))
            return (enum routing_rule)rule;
    if (!strcmp(row->routing, "router"))
        return ROUTING_V3;
    if (!strncmp(row->dispatcher, "trtllm-", strlen("trtllm-")))
        return ROUTING_BALANCED;
    return row->topk_groups ? ROUTING_DEEPEP : ROUTING_UNIFORM;
}

bool measured_predictable(const struct measured_row *row, struct error *err)
{
    static const char *const stages[] = {"", "inter", "intra", NULL};
    static const char *const stats[] = {"", "mean", "slowest", NULL};
    static const char *const routings[] = {"",         "uniform", "deepep", "v3",
                                           "balanced", "router",  NULL};
    char quoted[ERROR_QUOTE_BYTES];
    if (row->other_dtype[0])
        return error_set(err, EXIT_INPUT, "dtype %.200s is not modelled", row->other_dtype);
    if (!is_one_of(row->stage, stages))
        return error_set(err, EXIT_INPUT, "stage %s is not predicted, only inter and intra",
                         error_quote(row->stage, quoted));
    if (!is_one_of(row->stat, stats))
        return error_set(err, EXIT_INPUT, "stat %s is not predicted, only mean and slowest",
                         error_quote(row->stat, quoted));
    if (!is_one_of(row->routing, routings))
        return error_set(err, EXIT_INPUT, "routing %s cannot be drawn again",
                         error_quote(row->routing, quoted));
    return true;
}
