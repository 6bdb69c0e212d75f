// Published rows and our own: the CSV with the columns of model/measured_row.h. Optional columns
// may be absent, unknown ones are ignored. Refuses a missing required column and a bad cell
// ("file:line: column: ...").
#include "base/csv.h"
#include "base/infile.h"
#include "base/units.h"
#include "scenario/traffic.h"
#include "study/rows/collection.h"

#include <stdio.h>
#include <string.h>

static const char *const flags[] = {"0", "1", NULL};

static bool csv_cell_error(const struct csvfile *csv, size_t row, const char *column,
                           struct error *err)
{
    return error_prefix(err, "%s:%zu: %s", csv->name, csvfile_line(csv, row), column);
}

static const char *csv_cell(const struct csvfile *csv, size_t row, const char *column)
{
    return csvfile_cell(csv, row, (size_t)csvfile_find(csv, column));
}

static bool find_name(const char *text, const char *const *names, size_t *index, struct error *err)
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
static bool read_csv_dtype(const struct csvfile *csv, size_t at, struct measured_row *row,
                           struct error *err)
{
    static const struct field other = {
        .key = "dtype", .kind = FIELD_TEXT, .offset = offsetof(struct measured_row, other_dtype)};
    const char *text = csv_cell(csv, at, "dtype");
    if (!strcmp(text, LOW_PRECISION))
        return row->dtype = DTYPE_NVFP4_IN_KERNEL, true;
    for (size_t i = 0; payload_names[i]; i++)
        if (!strcmp(text, payload_names[i])) {
            row->dtype = (enum dtype)i;
            return true;
        }
    return (*text ? field_parse(&other, text, row, err)
                  : error_set(err, EXIT_INPUT, "empty: expected a value")) ||
           csv_cell_error(csv, at, "dtype", err);
}

// "router+notify": phases of a layer, as bits.
static bool read_without(const char *text, unsigned *phases, struct error *err)
{
    char words[FIELD_TEXT_BYTES], *save = NULL;
    char quoted[ERROR_QUOTE_BYTES];
    size_t index;
    if (snprintf(words, sizeof words, "%s", text) >= (int)sizeof words)
        return error_set(err, EXIT_INPUT, "'%s': expected phases of a layer",
                         error_quote(text, quoted));
    for (char *word = strtok_r(words, "+", &save); word; word = strtok_r(NULL, "+", &save)) {
        if (!find_name(word, phase_names, &index, err))
            return false;
        if (index >= PHASE_ALLTOALL)
            return error_set(err, EXIT_INPUT, "'%s': expected phases of a layer",
                             error_quote(text, quoted));
        *phases |= 1u << index;
    }
    return true;
}

// What only a layer's row says.
static bool read_csv_layer(const struct csvfile *csv, size_t at, struct measured_row *row,
                           struct error *err)
{
    if (csvfile_find(csv, MEASURED_ROW_WITHOUT) >= 0 &&
        !read_without(csv_cell(csv, at, MEASURED_ROW_WITHOUT), &row->without, err))
        return csv_cell_error(csv, at, MEASURED_ROW_WITHOUT, err);
    if (row->phase == PHASE_LAYER || (!row->overlap && !row->without))
        return true;
    error_set(err, EXIT_INPUT, "expected of phase layer alone");
    return csv_cell_error(csv, at, row->overlap ? "overlap" : MEASURED_ROW_WITHOUT, err);
}

static bool read_csv_words(const struct csvfile *csv, size_t at, struct measured_row *row,
                           struct error *err)
{
    size_t index;
    if (!find_name(csv_cell(csv, at, "phase"), phase_names, &index, err))
        return csv_cell_error(csv, at, "phase", err);
    row->phase = (enum phase)index;
    if (!find_name(csv_cell(csv, at, "derived"), flags, &index, err))
        return csv_cell_error(csv, at, "derived", err);
    if (!read_amount(csv_cell(csv, at, "tokens_per_gpu"), row, err))
        return csv_cell_error(csv, at, "tokens_per_gpu", err);
    if (row->bytes_per_rank)
        return true; // bytes have no type of their own
    return read_csv_dtype(csv, at, row, err);
}

static bool check_csv_traffic(const struct csvfile *csv, size_t at, const struct measured_row *row,
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
    return csv_cell_error(csv, at, "traffic", err);
}

static bool check_csv_row(const struct csvfile *csv, size_t at, const struct measured_row *row,
                          struct error *err)
{
    const bool exchange = row->phase == PHASE_ALLTOALL;
    if (exchange != (row->bytes_per_rank > 0)) {
        error_set(err, EXIT_INPUT, "expected bytes:N with phase alltoall, and only there");
        return csv_cell_error(csv, at, "tokens_per_gpu", err);
    }
    if (!exchange && (!row->experts || !row->topk || !row->hidden)) {
        error_set(err, EXIT_INPUT, "expected experts, topk and hidden of at least 1");
        return csv_cell_error(csv, at, "experts", err);
    }
    return check_csv_traffic(csv, at, row, err);
}

static bool read_csv_row(const struct csvfile *csv, size_t at, struct measured_row *row,
                         struct error *err)
{
    for (size_t c = 0; c < measured_row_column_count; c++) {
        if (csvfile_find(csv, measured_row_columns[c].field.key) < 0)
            continue; // an optional column: check_columns saw to the others
        const char *text = csv_cell(csv, at, measured_row_columns[c].field.key);
        if (!*text && measured_row_columns[c].may_be_blank)
            continue;
        if (!(*text ? field_parse(&measured_row_columns[c].field, text, row, err)
                    : error_set(err, EXIT_INPUT, "empty: expected a value")))
            return csv_cell_error(csv, at, measured_row_columns[c].field.key, err);
    }
    return read_csv_words(csv, at, row, err) && read_csv_layer(csv, at, row, err) &&
           check_csv_row(csv, at, row, err);
}

static bool no_csv_column(const struct csvfile *csv, const char *column, struct error *err)
{
    return error_set(err, EXIT_INPUT, "%s: no column '%s': expected %s", csv->name, column,
                     row_reader_csv.name);
}

static bool check_csv_columns(const struct csvfile *csv, struct error *err)
{
    for (size_t c = 0; c < measured_row_column_count; c++)
        if (measured_row_columns[c].required &&
            csvfile_find(csv, measured_row_columns[c].field.key) < 0)
            return no_csv_column(csv, measured_row_columns[c].field.key, err);
    for (size_t c = 0; measured_row_word_columns[c]; c++)
        if (csvfile_find(csv, measured_row_word_columns[c]) < 0)
            return no_csv_column(csv, measured_row_word_columns[c], err);
    return true;
}

static bool read_csv(struct measured *measured, const struct row_text *text, struct error *err)
{
    struct csvfile *csv = csvfile_parse(text->path, text->text, text->length, err);
    if (!csv)
        return false;
    bool ok = check_csv_columns(csv, err);
    for (size_t i = 0; ok && i < csv->rows; i++)
        ok = read_csv_row(csv, i, measured_add(measured, csvfile_line(csv, i)), err);
    csvfile_free(csv);
    return ok;
}

static bool is_csv_column(const char *name, size_t length)
{
    for (size_t c = 0; c < measured_row_column_count; c++) {
        const char *key = measured_row_columns[c].field.key;
        if (strlen(key) == length && !strncmp(key, name, length))
            return true;
    }
    return false;
}

// By its header: the first line that is no comment and not blank has a cell with a column's name.
static bool recognise_csv(const char *head)
{
    if (!strncmp(head, "\xef\xbb\xbf", 3))
        head += 3;
    while (*head == '#' || *head == '\n' || *head == '\r') {
        head += strcspn(head, "\n");
        head += *head == '\n';
    }
    const char *end = head + strcspn(head, "\r\n");
    if (!memchr(head, ',', (size_t)(end - head)))
        return false;
    if (!*end && strlen(head) > INFILE_LINE_LIMIT / 2)
        return true; // a header longer than what is looked at
    while (head < end) {
        head += *head == '"';
        const size_t length = strcspn(head, ",\"\r\n");
        if (is_csv_column(head, length))
            return true;
        head += strcspn(head, ",\r\n");
        head += head < end;
    }
    return false;
}

const struct row_reader row_reader_csv = {"a measurements CSV", recognise_csv, read_csv};
