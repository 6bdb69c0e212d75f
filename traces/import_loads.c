// Counts as JSON records: a layer's counts of all experts a record, with step and rank where they
// are known.
#include "base/mem.h"
#include "traces/count_rows.h"
#include "traces/records.h"
#include "traces/token_rows.h"

#include <inttypes.h>
#include <math.h>

static const char *const load_names[] = {
    "expert_counts",     "expert_count",          "counts",
    "tokens_per_expert", "num_tokens_per_expert", "expert_load",
    "expert_loads",      "logical_count",         NULL};

static const json_t *counts_of_layer(const json_t *record)
{
    for (size_t i = 0; load_names[i]; i++) {
        const json_t *list = json_object_get(record, load_names[i]);
        if (json_is_number(json_array_get(list, 0)))
            return list;
    }
    return NULL;
}

// The number under the first of the names that is there; false: it is none.
static bool load_number(const json_t *record, const char *const *names, int64_t max, bool *there,
                        int64_t *number)
{
    const json_t *value = NULL;
    for (; *names && !value; names++)
        value = json_object_get(record, *names);
    *there = value && !json_is_null(value);
    *number = *there ? json_integer_value(value) : 0;
    return !*there || (json_is_integer(value) && *number >= 0 && *number < max);
}

static bool is_load(const json_t *record)
{
    bool there;
    int64_t layer;
    return counts_of_layer(record) &&
           load_number(record, token_layer_names, 10000, &there, &layer) && there;
}

static bool recognise_loads(const struct input *input)
{
    struct records records;
    struct error none;
    bool known = false;
    if (!input->lines && !input->json)
        return false;
    records_begin(&records, input);
    for (int i = 0; i < 8 && !known && records_next(&records, &none) && records.record; i++)
        known = is_load(records.record);
    records_end(&records);
    return known;
}

static bool add_load(struct count_rows *rows, const json_t *list, const struct count_row *place,
                     const char *name, struct error *err)
{
    struct count_row row = *place;
    for (size_t e = 0; e < json_array_size(list); e++) {
        const double count = json_number_value(json_array_get(list, e));
        if (!json_is_number(json_array_get(list, e)) || !(count >= 0 && count < 0x1p53) ||
            rint(count) < count || rint(count) > count)
            return error_set(err, EXIT_INPUT, "%s: expert %zu: expected a whole number", name, e);
        row.expert = e < MOE_MAX_EXPERTS ? (uint32_t)e : MOE_MAX_EXPERTS;
        row.count = (int64_t)count;
        if (!count_rows_add(rows, &row, err))
            return false;
    }
    return true;
}

static bool read_load(struct count_rows *rows, const struct records *records, struct error *err)
{
    const json_t *record = records->record;
    int64_t layer, step, rank;
    bool said, has_step, has_rank;
    if (!load_number(record, token_layer_names, 10000, &said, &layer) || !said ||
        !load_number(record, token_key_names[TOKEN_STEP], INT64_MAX, &has_step, &step) ||
        !load_number(record, token_key_names[TOKEN_RANK], 1024, &has_rank, &rank))
        return error_set(
            err, EXIT_INPUT,
            "%s: expected layer, step and rank as whole numbers below 10,000 and 1,024",
            records->name);
    if (rows->count == 0) {
        rows->has_step = has_step;
        rows->has_rank = has_rank;
    }
    if (rows->has_step != has_step || rows->has_rank != has_rank)
        return error_set(err, EXIT_INPUT, "%s: %s, unlike in the first", records->name,
                         rows->has_step != has_step ? "step" : "rank");
    const struct count_row place = {.step = (uint64_t)step,
                                    .rank = (uint32_t)rank,
                                    .layer = (uint32_t)layer,
                                    .line =
                                        records->input->lines ? records->line - 1 : records->item};
    return add_load(rows, counts_of_layer(record), &place, records->name, err);
}

static bool read_loads(struct import *import, const struct input *input, struct error *err)
{
    struct count_rows rows = {.path = input->path};
    struct records records;
    uint64_t others = 0;
    bool ok;
    records_begin(&records, input);
    while ((ok = records_next(&records, err)) && records.record) {
        const bool load = counts_of_layer(records.record) != NULL;
        others += !load;
        if (load && !(ok = read_load(&rows, &records, err)))
            break;
    }
    records_end(&records);
    ok = ok && count_rows_import(&rows, import, err);
    if (ok && others)
        notice("%s: %" PRIu64 " records of other kinds left out", input->path, others);
    count_rows_release(&rows);
    return ok;
}

const struct importer importer_loads = {"counts a layer", recognise_loads, read_loads};
