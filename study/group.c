#include "study/group.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const group_key_names[] = {"family", "cluster", "dispatcher", "nodes", "phase",
                                       "stage",  "tokens",  "sms",        "dtype", "overlap",
                                       "kernel", "kernels", "gpu",        NULL};

struct grouping grouping_default(void)
{
    return (struct grouping){.keys = {GROUP_FAMILY, GROUP_CLUSTER, GROUP_DISPATCHER, GROUP_NODES,
                                      GROUP_PHASE, GROUP_STAGE},
                             .count = 6};
}

static bool add_key(struct grouping *grouping, const char *word, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    enum group_key key = 0;
    while (key < GROUP_KEYS && strcmp(word, group_key_names[key]))
        key++;
    if (key == GROUP_KEYS)
        return error_set(err, EXIT_INPUT,
                         "'%s': expected family, cluster, dispatcher, nodes, phase, stage, tokens, "
                         "sms, dtype, overlap, kernel, kernels, gpu, or a list",
                         error_quote(word, quoted));
    for (size_t i = 0; i < grouping->count; i++)
        if (grouping->keys[i] == key)
            return error_set(err, EXIT_INPUT, "'%s' stands twice", word);
    grouping->keys[grouping->count++] = key;
    return true;
}

bool grouping_parse(struct grouping *grouping, const char *list, struct error *err)
{
    char words[FIELD_TEXT_BYTES], *save = NULL;
    snprintf(words, sizeof words, "%s", list);
    grouping->count = 0;
    for (char *word = strtok_r(words, ",", &save); word; word = strtok_r(NULL, ",", &save))
        if (!add_key(grouping, word, err))
            return false;
    return grouping->count > 0 || error_set(err, EXIT_INPUT, "empty: expected a column's name");
}

// Bands of a factor: [first * factor^n, first * factor^(n + 1)).
static void band(uint64_t value, uint64_t first, uint64_t factor, const char *prefix, char *buffer)
{
    uint64_t from = first;
    while (value >= from * factor)
        from *= factor;
    snprintf(buffer, FIELD_TEXT_BYTES, "%s%llu-%llu", prefix, (unsigned long long)from,
             (unsigned long long)(from * factor - 1));
}

char *group_key_text(enum group_key key, const struct measured_row *row, char *buffer)
{
    const char *const texts[GROUP_KEYS] = {
        [GROUP_FAMILY] = row->family,
        [GROUP_CLUSTER] = row->cluster,
        [GROUP_DISPATCHER] = row->dispatcher,
        [GROUP_PHASE] = phase_names[row->phase],
        [GROUP_STAGE] = row->stage,
        [GROUP_DTYPE] = row->other_dtype[0] ? row->other_dtype : dtype_names[row->dtype],
        [GROUP_KERNEL] = row->phase == PHASE_KERNEL ? kernel_names[row->kernel.kind] : "",
        [GROUP_KERNELS] = row->kernels,
        [GROUP_GPU] = row->gpu,
        [GROUP_OVERLAP] = row->phase == PHASE_LAYER ? overlap_names[row->overlap] : ""};
    buffer[0] = '\0';
    if (texts[key])
        snprintf(buffer, FIELD_TEXT_BYTES, "%s", texts[key]);
    else if (key == GROUP_NODES)
        snprintf(buffer, FIELD_TEXT_BYTES, "%u", row->nodes);
    else if (key == GROUP_SMS && row->sms)
        snprintf(buffer, FIELD_TEXT_BYTES, "%u", row->sms);
    else if (key == GROUP_TOKENS && row->bytes_per_rank)
        band(row->bytes_per_rank, 512, 64, "bytes:", buffer);
    else if (key == GROUP_TOKENS && row->tokens_per_gpu)
        band(row->tokens_per_gpu, 1, 8, "", buffer);
    return buffer;
}

bool grouping_same(const struct grouping *grouping, const struct measured_row *a,
                   const struct measured_row *b)
{
    char of_a[FIELD_TEXT_BYTES], of_b[FIELD_TEXT_BYTES];
    for (size_t i = 0; i < grouping->count; i++)
        if (strcmp(group_key_text(grouping->keys[i], a, of_a),
                   group_key_text(grouping->keys[i], b, of_b)))
            return false;
    return true;
}

void errors_summarise(double *errors, size_t n, double *median, double *p90)
{
    *median = *p90 = NAN;
    if (n == 0)
        return;
    gsl_sort(errors, 1, n);
    *median = (errors[(n - 1) / 2] + errors[n / 2]) / 2;
    *p90 = errors[(size_t)floor(0.9 * (double)(n - 1))];
}
