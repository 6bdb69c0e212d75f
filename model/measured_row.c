#include "model/measured_row.h"

#include <string.h>

// clang-format off
#define COLUMN(member, what, from, to, required, blank)                                            \
    {{.key = #member, .kind = what, .offset = offsetof(struct measured_row, member), .min = from,  \
      .max = to}, required, blank}
#define U32(member, from, to, blank) COLUMN(member, FIELD_U32, from, to, true, blank)
#define TEXT(member) COLUMN(member, FIELD_TEXT, 0, 0, true, false)
#define OPTIONAL(member, what, to) COLUMN(member, what, 0, to, false, true)
#define OPTIONAL_TEXT(member) OPTIONAL(member, FIELD_TEXT, 0)

const struct measured_row_column measured_row_columns[] = {
    TEXT(id), TEXT(family), TEXT(cluster), TEXT(dispatcher),
    U32(nodes, 1, 1024, false),
    U32(gpus_per_node, 1, 1024, false),
    U32(experts, 0, MOE_MAX_EXPERTS, true),
    U32(topk, 0, MOE_MAX_TOPK, true),
    U32(topk_groups, 0, MOE_MAX_EXPERTS, true),
    U32(hidden, 0, 1000000, true),
    U32(sms, 0, 4096, true),
    COLUMN(latency_us, FIELD_NUMBER, 1e-6, 1e12, true, false),
    TEXT(source),
    OPTIONAL_TEXT(stage), OPTIONAL_TEXT(stat), OPTIONAL_TEXT(routing), OPTIONAL_TEXT(layout),
    OPTIONAL(step, FIELD_U64, 0),
    OPTIONAL(layer, FIELD_U32, 1e6),
    OPTIONAL_TEXT(traffic), OPTIONAL_TEXT(gpu),
    OPTIONAL(intermediate, FIELD_U32, 1e6),
    OPTIONAL_TEXT(model), OPTIONAL_TEXT(weight_dtype), OPTIONAL_TEXT(kernels),
    OPTIONAL_TEXT(disturbed),
    {{.key = "overlap", .kind = FIELD_ENUM, .offset = offsetof(struct measured_row, overlap),
      .names = overlap_names}, false, true},
};
// clang-format on
const size_t measured_row_column_count =
    sizeof measured_row_columns / sizeof measured_row_columns[0];

const char *const measured_row_word_columns[] = {"tokens_per_gpu", "dtype", "phase", "derived",
                                                 NULL};

// Whether the text of a column is one of the names; if not, err says what cannot be done.
static bool is_known(const char *text, const char *const *names, const char *column,
                     const char *cannot, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(text, names[i]))
            return true;
    return error_set(err, EXIT_INPUT, "%s %s %s", column, error_quote(text, quoted), cannot);
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

static bool has_constants(const struct kernel_shape *kernel)
{
    const double gpus = kernel->all_reduce.gpus;
    return kernel->kind < KERNEL_ALL_REDUCE_2 || gpus == 2 || gpus == 4 || gpus == 8;
}

bool measured_predictable(const struct measured_row *row, struct error *err)
{
    static const char *const stages[] = {"", "inter", "intra", NULL};
    static const char *const stats[] = {"", "mean", "slowest", NULL};
    static const char *const routings[] = {"",         "uniform", "deepep", "v3",
                                           "balanced", "router",  "trace",  NULL};
    if (row->other_dtype[0])
        return error_set(err, EXIT_INPUT, "dtype %.200s is not modelled", row->other_dtype);
    if (!has_constants(&row->kernel))
        return error_set(err, EXIT_INPUT,
                         "all-reduce of %.0f GPUs has no constants, only of 2, 4 and 8",
                         row->kernel.all_reduce.gpus);
    return is_known(row->stage, stages, "stage", "is not predicted, only inter and intra", err) &&
           is_known(row->stat, stats, "stat", "is not predicted, only mean and slowest", err) &&
           is_known(row->routing, routings, "routing", "cannot be drawn again", err);
}
