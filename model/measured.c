#include "model/measured.h"

#include "base/csv.h"
#include "base/infile.h"
#include "base/mem.h"
#include "base/units.h"
#include "model/nccl_tests.h"
#include "model/probe_rows.h"
#include "model/traffic.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// A column and where it goes. `blank` says that an empty cell means zero.
struct column {
    struct field field;
    bool required;
    bool blank;
};

static const char *const flags[] = {"0", "1", NULL};

#define ROW(member) offsetof(struct measured_row, member)
#define U32(member, least, most, may_be_blank)                                                     \
    {                                                                                              \
        {.key = #member, .kind = FIELD_U32, .offset = ROW(member), .min = least, .max = most},     \
            true, may_be_blank                                                                     \
    }
#define TEXT(member)                                                                               \
    {                                                                                              \
        {.key = #member, .kind = FIELD_TEXT, .offset = ROW(member)}, true, false                   \
    }

#define OPTIONAL(member)                                                                           \
    {                                                                                              \
        {.key = #member, .kind = FIELD_TEXT, .offset = ROW(member)}, false, true                   \
    }

// Cells that a field can read as they stand; tokens_per_gpu, dtype, phase and derived follow below.
static const struct column columns[] = {
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
static const char *const other_columns[] = {"tokens_per_gpu", "dtype", "phase", "derived"};

static bool cell_error(const struct csvfile *csv, size_t row, const char *column, struct error *err)
{
    return error_prefix(err, "%s:%zu: %s", csvfile_name(csv), csvfile_line(csv, row), column);
}

static const char *cell(const struct csvfile *csv, size_t row, const char *column)
{
    return csvfile_cell(csv, row, (size_t)csvfile_find(csv, column));
}

static bool name_index(const char *text, const char *const *names, size_t *index, struct error *err)
{
    char expected[256] = "";
    for (*index = 0; names[*index]; ++*index) {
        if (!strcmp(text, names[*index]))
            return true;
        strncat(expected, *index ? ", " : "", sizeof expected - strlen(expected) - 1);
        strncat(expected, names[*index], sizeof expected - strlen(expected) - 1);
    }
    char quoted[ERROR_QUOTE_BYTES];
    return error_set(err, EXIT_INPUT, "'%s': expected one of %s", error_quote(text, quoted),
                     expected);
}

static bool read_amount(const char *text, struct measured_row *row, struct error *err)
{
    double value;
    char quoted[ERROR_QUOTE_BYTES];
    const bool bytes = !strncmp(text, "bytes:", 6);
    if (!units_parse(UNIT_COUNT, bytes ? text + 6 : text, &value, err))
        return false;
    if (value < 1 || value > (bytes ? 0x1p50 : 0x1p31))
        return error_set(err, EXIT_INPUT, "'%s': expected a count from 1, or bytes:N",
                         error_quote(text, quoted));
    if (bytes)
        row->bytes_per_rank = (uint64_t)value;
    else
        row->tokens_per_gpu = (uint32_t)value;
    return true;
}

// What tables of TensorRT-LLM's low-precision combine call it: results in nvfp4, made in the
// kernel.
#define LOW_PRECISION "fp8(low precision)"

// A format that epsim does not know is no fault of the file's: the row is kept, and not predicted.
static bool read_dtype(const struct csvfile *csv, size_t at, struct measured_row *row,
                       struct error *err)
{
    static const struct field other = {
        .key = "dtype", .kind = FIELD_TEXT, .offset = offsetof(struct measured_row, other_dtype)};
    const char *text = cell(csv, at, "dtype");
    if (!strcmp(text, LOW_PRECISION))
        return row->dtype = DTYPE_NVFP4_IN_KERNEL, true;
    for (size_t i = 0; dtype_names[i]; i++)
        if (!strcmp(text, dtype_names[i])) {
            row->dtype = (enum dtype)i;
            return true;
        }
    if (!*text)
        error_set(err, EXIT_INPUT, "empty: expected a value");
    else if (field_parse(&other, text, row, err))
        return true;
    return cell_error(csv, at, "dtype", err);
}

static bool read_names(const struct csvfile *csv, size_t at, struct measured_row *row,
                       struct error *err)
{
    size_t index;
    if (!name_index(cell(csv, at, "phase"), phase_names, &index, err))
        return cell_error(csv, at, "phase", err);
    row->phase = (enum phase)index;
    if (!name_index(cell(csv, at, "derived"), flags, &index, err))
        return cell_error(csv, at, "derived", err);
    if (!read_amount(cell(csv, at, "tokens_per_gpu"), row, err))
        return cell_error(csv, at, "tokens_per_gpu", err);
    if (row->bytes_per_rank)
        return true; // bytes have no type of their own
    return read_dtype(csv, at, row, err);
}

static bool check_traffic(const struct csvfile *csv, size_t at, const struct measured_row *row,
                          struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    if (!row->traffic[0] || (row->phase == PHASE_ALLTOALL &&
                             (!strcmp(row->traffic, "matrix") || traffic_is_pattern(row->traffic))))
        return true;
    error_set(err, EXIT_INPUT,
              "'%s': expected uniform, ring, inside, between, pair:FROM:TO, distance or matrix, of "
              "phase alltoall",
              error_quote(row->traffic, quoted));
    return cell_error(csv, at, "traffic", err);
}

static bool check_row(const struct csvfile *csv, size_t at, const struct measured_row *row,
                      struct error *err)
{
    const bool exchange = row->phase == PHASE_ALLTOALL;
    if (exchange != (row->bytes_per_rank > 0)) {
        error_set(err, EXIT_INPUT, "expected bytes:N with phase alltoall, and only there");
        return cell_error(csv, at, "tokens_per_gpu", err);
    }
    if (!exchange && (!row->experts || !row->topk || !row->hidden)) {
        error_set(err, EXIT_INPUT, "expected experts, topk and hidden of at least 1");
        return cell_error(csv, at, "experts", err);
    }
    return check_traffic(csv, at, row, err);
}

static bool read_row(const struct csvfile *csv, size_t at, struct measured_row *row,
                     struct error *err)
{
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
        if (csvfile_find(csv, columns[c].field.key) < 0)
            continue; // an optional column: check_columns saw to the others
        const char *text = cell(csv, at, columns[c].field.key);
        if (!*text && columns[c].blank)
            continue;
        if (!*text) {
            error_set(err, EXIT_INPUT, "empty: expected a value");
            return cell_error(csv, at, columns[c].field.key, err);
        }
        if (!field_parse(&columns[c].field, text, row, err))
            return cell_error(csv, at, columns[c].field.key, err);
    }
    return read_names(csv, at, row, err) && check_row(csv, at, row, err);
}

static bool no_column(const struct csvfile *csv, const char *column, struct error *err)
{
    return error_set(err, EXIT_INPUT,
                     "%s: no column '%s': expected a measurements CSV, what nccl-tests print, or "
                     "the TSV of epsim-real probe",
                     csvfile_name(csv), column);
}

static bool check_columns(const struct csvfile *csv, struct error *err)
{
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
        if (columns[c].required && csvfile_find(csv, columns[c].field.key) < 0)
            return no_column(csv, columns[c].field.key, err);
    for (size_t c = 0; c < sizeof other_columns / sizeof other_columns[0]; c++)
        if (csvfile_find(csv, other_columns[c]) < 0)
            return no_column(csv, other_columns[c], err);
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct measured_row *const *x = a, *const *y = b;
    const int order = strcmp((*x)->id, (*y)->id);
    return order ? order : (*x > *y) - (*x < *y); // rows of one array: as they were read
}

static bool stands_already(const struct measured_row *first, const struct measured_row *row,
                           struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const bool same = first->file == row->file;
    return error_set(err, EXIT_INPUT, "%s:%zu: id: '%s' stands %s%s%s%zu already", row->file,
                     row->line, error_quote(row->id, quoted), same ? "on line " : "in ",
                     same ? "" : first->file, same ? "" : ":", first->line);
}

static bool check_ids(const struct measured *measured, struct error *err)
{
    const struct measured_row **sorted = mem_alloc(measured->count, sizeof *sorted);
    bool ok = true;
    for (size_t i = 0; i < measured->count; i++)
        sorted[i] = &measured->rows[i];
    qsort(sorted, measured->count, sizeof *sorted, by_id);
    for (size_t i = 1; ok && i < measured->count; i++)
        if (!strcmp(sorted[i - 1]->id, sorted[i]->id))
            ok = stands_already(sorted[i - 1], sorted[i], err);
    free(sorted);
    return ok;
}

struct measured_row *measured_add(struct measured *measured, size_t line)
{
    if (measured->count == measured->capacity) {
        measured->capacity = measured->capacity ? 2 * measured->capacity : 64;
        measured->rows = mem_grow(measured->rows, measured->capacity, sizeof *measured->rows);
    }
    struct measured_row *row = &measured->rows[measured->count++];
    *row = (struct measured_row){.file = measured->files[measured->file_count - 1], .line = line};
    return row;
}

static bool read_csv(struct measured *measured, const char *path, const char *text, size_t length,
                     struct error *err)
{
    struct csvfile *csv = csvfile_parse(path, text, length, err);
    if (!csv)
        return false;
    bool ok = check_columns(csv, err);
    for (size_t i = 0; ok && i < csvfile_rows(csv); i++)
        ok = read_row(csv, i, measured_add(measured, csvfile_line(csv, i)), err);
    csvfile_free(csv);
    return ok;
}

static bool read_text(struct measured *measured, const char *path, char *text, size_t length,
                      struct error *err)
{
    if (nccl_tests_recognise(text))
        return nccl_tests_read(measured, path, text, err);
    if (probe_recognise(text))
        return probe_read(measured, path, text, err);
    return read_csv(measured, path, text, length, err);
}

static bool add_file(struct measured *measured, const char *path, struct error *err)
{
    const size_t before = measured->count;
    size_t length;
    char *text = infile_read_text(path, INFILE_LIMIT, &length, err);
    if (!text)
        return false;
    measured->files = mem_grow(measured->files, measured->file_count + 1, sizeof *measured->files);
    measured->files[measured->file_count++] = mem_copy_text(path);
    bool ok = read_text(measured, path, text, length, err);
    if (ok && measured->count == before)
        ok = error_set(err, EXIT_INPUT, "%s: no rows: expected at least one measurement", path);
    free(text);
    return ok;
}

static char *list_of(char *const *paths, size_t count)
{
    char *list = mem_copy_text(paths[0]);
    for (size_t i = 1; i < count; i++) {
        char *longer = mem_format("%s, %s", list, paths[i]);
        free(list);
        list = longer;
    }
    return list;
}

bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         struct error *err)
{
    *measured = (struct measured){.path = list_of(paths, count)};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = add_file(measured, paths[i], err);
    ok = ok && check_ids(measured, err);
    if (!ok)
        measured_release(measured);
    return ok;
}

bool measured_load(struct measured *measured, const char *path, struct error *err)
{
    char *const paths[] = {(char *)path};
    return measured_load_files(measured, paths, 1, err);
}

void measured_release(struct measured *measured)
{
    for (size_t i = 0; i < measured->file_count; i++)
        free(measured->files[i]);
    free(measured->files);
    free(measured->path);
    free(measured->rows);
    *measured = (struct measured){0};
}

const char *measured_gpu(const struct measured *measured)
{
    for (size_t i = 0; i < measured->count; i++)
        if (measured->rows[i].gpu[0])
            return measured->rows[i].gpu;
    return "";
}

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
