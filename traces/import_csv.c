// CSV with a row a layer's expert (layer, expert, count), or a row a token and layer (layer and the
// ids of the experts taken, in one cell or in several), beside them step, rank, request and token
// where they are known. Columns are found by name; without a header, three are layer, expert and
// count, and more are step, rank, layer and ids.
#include "base/csv.h"
#include "base/mem.h"
#include "traces/count_rows.h"
#include "traces/token_rows.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const expert_names[] = {
    "expert_id",         "expert", "expert_idx", "expert_index", "logical_expert",
    "logical_expert_id", NULL};
static const char *const count_names[] = {
    "count", "counts",    "tokens",       "num_tokens", "token_count", "load",  "hits",
    "freq",  "frequency", "expert_count", "total",      "total_count", "value", NULL};
// What stands before a number in the columns of one token's ids.
static const char *const id_prefixes[] = {"",
                                          "id",
                                          "ids",
                                          "e",
                                          "k",
                                          "expert",
                                          "expert_id",
                                          "expert_ids",
                                          "experts",
                                          "topk",
                                          "topk_id",
                                          "topk_ids",
                                          "top",
                                          "choice",
                                          "expert_idx",
                                          "expert_index",
                                          "topk_idx",
                                          "topk_expert",
                                          "topk_experts",
                                          "selected_expert",
                                          "selected_experts",
                                          "routed_expert",
                                          "routed_experts",
                                          NULL};

// --- the first lines ---------------------------------------------------------------------------

struct csv_sniff {
    const char *line; // the first that is no comment, and its length
    size_t length;
    char delimiter;
    size_t cells, below; // in it and in the line below
    bool headless;       // numbers alone
};

static size_t count_cells(const char *at, const char *end, char delimiter)
{
    size_t cells = 1;
    bool quoted = false;
    for (; at < end; at++) {
        quoted = quoted != (*at == '"');
        cells += *at == delimiter && !quoted;
    }
    return cells;
}

static const char *csv_line_end(const char *at, const char *end)
{
    while (at < end && *at != '\n')
        at++;
    return at;
}

static void sniff_delimiter(struct csv_sniff *sniff)
{
    static const char delimiters[] = {',', '\t', ';'};
    for (size_t i = 0; i < sizeof delimiters; i++) {
        const size_t cells = count_cells(sniff->line, sniff->line + sniff->length, delimiters[i]);
        if (cells > sniff->cells) {
            sniff->cells = cells;
            sniff->delimiter = delimiters[i];
        }
    }
}

// False: no text, or no row in it.
static bool sniff_csv(const struct mapped *file, struct csv_sniff *sniff)
{
    const char *at = (const char *)file->bytes, *end = at + file->length;
    *sniff = (struct csv_sniff){.delimiter = ','};
    if (file->length == 0 || memchr(at, '\0', file->length < 4096 ? file->length : 4096))
        return false;
    if (file->length > 3 && !memcmp(at, "\xef\xbb\xbf", 3))
        at += 3;
    while (at < end && strchr("#\r\n", *at)) {
        at = csv_line_end(at, end);
        at += at < end;
    }
    const char *stop = csv_line_end(at, end), *below = stop < end ? stop + 1 : end;
    sniff->line = at;
    sniff->length = (size_t)(stop - at);
    sniff->headless = sniff->length > 0;
    for (const char *c = at; c < stop; c++)
        sniff->headless = sniff->headless && strchr("0123456789.,;\t -\"[]\r", *c);
    sniff_delimiter(sniff);
    sniff->below = count_cells(below, csv_line_end(below, end), sniff->delimiter);
    return sniff->length > 0;
}

static bool has_name(const char *const *names, const char *text, size_t length)
{
    while (length && strchr(" \"\r.", text[length - 1]))
        length--;
    while (length && strchr(" \"", *text))
        text++, length--;
    for (; *names; names++)
        if (strlen(*names) == length && !strncasecmp(*names, text, length))
            return true;
    return false;
}

// Whether a header's cell has one of the names.
static bool header_has(const struct csv_sniff *sniff, const char *const *names, bool last_alone)
{
    const char *at = sniff->line, *end = at + sniff->length;
    while (at <= end) {
        const char *stop = memchr(at, sniff->delimiter, (size_t)(end - at));
        stop = stop ? stop : end;
        if ((!last_alone || stop == end) && has_name(names, at, (size_t)(stop - at)))
            return true;
        at = stop + 1;
    }
    return false;
}

static bool recognise_csv_text(const struct input *input)
{
    struct csv_sniff sniff;
    if (input->folder || input->json || input->lines || input->def->shape[0] ||
        !sniff_csv(&input->file, &sniff))
        return false;
    return sniff.cells >= 3 && (sniff.headless || header_has(&sniff, token_layer_names, false));
}

// A header of columns numbered on for ids that have a cell each and one name for all, or none.
static char *made_header(const struct csv_sniff *sniff)
{
    char *header = NULL;
    size_t length;
    FILE *out = open_memstream(&header, &length);
    const char d = sniff->delimiter;
    size_t cells = sniff->cells - 1;
    if (!sniff->headless) {
        const char *last = sniff->line + sniff->length;
        while (last > sniff->line && last[-1] != d)
            last--;
        fwrite(sniff->line, 1, (size_t)(last - sniff->line), out);
    } else if (sniff->cells == 3) {
        fprintf(out, "layer%cexpert%ccount", d, d);
    } else {
        fprintf(out, "step%crank%clayer%c", d, d, d);
        cells = 3;
    }
    const size_t wanted = sniff->headless ? sniff->cells : sniff->below;
    for (size_t k = cells; wanted > 3 && k < wanted; k++)
        fprintf(out, "%sids%zu", k > cells ? (const char[]){d, '\0'} : "", k - cells);
    fputc('\n', out);
    fclose(out);
    return header;
}

// --- columns -----------------------------------------------------------------------------------

#define NO_COLUMN SIZE_MAX

struct csv_columns {
    size_t layer, expert, count, list; // list: all ids in one cell
    size_t keys[TOKEN_KEYS];
    size_t ids[MOE_MAX_TOPK], id_count;
    char others[200]; // names of columns that nothing is known of
};

static bool takes_name(const struct csvfile *csv, size_t column, const char *const *names,
                       size_t *place)
{
    const char *text = csvfile_column(csv, column);
    if (*place != NO_COLUMN || !has_name(names, text, strlen(text)))
        return false;
    *place = column;
    return true;
}

// "expert_3", "k3", "3".
static bool is_numbered(const char *text)
{
    size_t length = strlen(text);
    const size_t whole = length;
    while (length && text[length - 1] >= '0' && text[length - 1] <= '9')
        length--;
    if (length == whole)
        return false;
    while (length && text[length - 1] == '_')
        length--;
    return has_name(id_prefixes, text, length);
}

static void place_column(const struct csvfile *csv, size_t c, struct csv_columns *columns)
{
    const char *text = csvfile_column(csv, c);
    if (takes_name(csv, c, token_layer_names, &columns->layer) ||
        takes_name(csv, c, token_ids_names, &columns->list) ||
        takes_name(csv, c, expert_names, &columns->expert) ||
        takes_name(csv, c, count_names, &columns->count))
        return;
    for (int key = 0; key < TOKEN_KEYS; key++)
        if (takes_name(csv, c, token_key_names[key], &columns->keys[key]))
            return;
    char quoted[ERROR_QUOTE_BYTES];
    const size_t used = strlen(columns->others);
    if (is_numbered(text) && columns->id_count < MOE_MAX_TOPK)
        columns->ids[columns->id_count++] = c;
    else if (*text) // pandas' index has no name
        snprintf(columns->others + used, sizeof columns->others - used, "%s'%.40s'",
                 used ? ", " : "", error_quote(text, quoted));
}

// One choice a token has a column with an expert's name.
static bool find_columns(const struct csvfile *csv, struct csv_columns *columns, struct error *err)
{
    *columns = (struct csv_columns){NO_COLUMN, NO_COLUMN, NO_COLUMN, NO_COLUMN, {0}, {0}, 0, ""};
    for (int key = 0; key < TOKEN_KEYS; key++)
        columns->keys[key] = NO_COLUMN;
    for (size_t c = 0; c < csv->columns; c++)
        place_column(csv, c, columns);
    if (columns->expert != NO_COLUMN && columns->count == NO_COLUMN && !columns->id_count) {
        columns->ids[columns->id_count++] = columns->expert;
        columns->expert = NO_COLUMN;
    }
    const bool counts = columns->expert != NO_COLUMN && columns->count != NO_COLUMN;
    if (columns->layer == NO_COLUMN ||
        (!counts && columns->list == NO_COLUMN && !columns->id_count))
        return error_set(err, EXIT_INPUT,
                         "%s:1: expected columns layer, expert and count, or layer and the ids of "
                         "a token's experts",
                         csv->name);
    if (columns->others[0])
        notice("%s: columns left out: %s", csv->name, columns->others);
    return true;
}

// --- cells -------------------------------------------------------------------------------------

static bool refuse_cell(const struct csvfile *csv, size_t row, size_t column, struct error *err)
{
    char name[ERROR_QUOTE_BYTES], quoted[ERROR_QUOTE_BYTES];
    return error_set(err, EXIT_INPUT, "%s:%zu: %s: '%s': expected a whole number", csv->name,
                     csvfile_line(csv, row), error_quote(csvfile_column(csv, column), name),
                     error_quote(csvfile_cell(csv, row, column), quoted));
}

// A whole number from `min` on, which may be written as a float; of a layer, the one in its name.
static bool whole_cell(const struct csvfile *csv, size_t row, size_t column, double min,
                       int64_t *value, struct error *err)
{
    const char *text = csvfile_cell(csv, row, column);
    char *end;
    const double number = strtod(text, &end);
    end += strspn(end, " \r");
    if (end == text || *end || !(number >= min && number < 0x1p53) || rint(number) < number ||
        rint(number) > number)
        return refuse_cell(csv, row, column, err);
    *value = (int64_t)number;
    return true;
}

static bool layer_cell(const struct csvfile *csv, size_t row, size_t column, uint32_t *layer,
                       struct error *err)
{
    const char *text = csvfile_cell(csv, row, column);
    const char *digits = strpbrk(text, "0123456789");
    int64_t value = 0;
    if (digits && strchr(text, '.') && text[strspn(text, "0123456789. ")])
        value = strtoll(digits, NULL, 10);
    else if (!whole_cell(csv, row, column, 0, &value, err))
        return false;
    *layer = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
    return true;
}

// "[3, 1]", "3 1", "3;1": numbers with anything but digits between them.
static size_t list_cell(const char *text, int64_t ids[MOE_MAX_TOPK])
{
    size_t count = 0;
    while (*text && count < MOE_MAX_TOPK) {
        char *end;
        if (!strchr("-0123456789", *text)) {
            text++;
            continue;
        }
        ids[count] = strtoll(text, &end, 10);
        count += end > text;
        text = end > text ? end : text + 1;
    }
    return count;
}

static bool key_cell(struct token_rows *rows, const struct csvfile *csv, const size_t at[2],
                     enum token_key key, uint64_t *number, struct error *err)
{
    int64_t value = 0;
    if (key == TOKEN_REQUEST) {
        *number = token_rows_request(rows, csvfile_cell(csv, at[0], at[1]));
        return true;
    }
    if (!whole_cell(csv, at[0], at[1], 0, &value, err))
        return false;
    if (key == TOKEN_RANK && value >= 1024)
        return refuse_cell(csv, at[0], at[1], err);
    *number = (uint64_t)value;
    return true;
}

// --- rows --------------------------------------------------------------------------------------

static bool add_count_cells(struct count_rows *rows, const struct csvfile *csv, size_t r,
                            const struct csv_columns *columns, struct error *err)
{
    struct count_row row = {.line = csvfile_line(csv, r)};
    int64_t expert, step = 0, rank = 0;
    const size_t step_column = columns->keys[TOKEN_STEP], rank_column = columns->keys[TOKEN_RANK];
    if (!layer_cell(csv, r, columns->layer, &row.layer, err) ||
        !whole_cell(csv, r, columns->expert, 0, &expert, err) ||
        !whole_cell(csv, r, columns->count, 0, &row.count, err) ||
        (rows->has_step && !whole_cell(csv, r, step_column, 0, &step, err)) ||
        (rows->has_rank && !whole_cell(csv, r, rank_column, 0, &rank, err)))
        return false;
    if (rank >= 1024)
        return refuse_cell(csv, r, rank_column, err);
    row.expert = expert < MOE_MAX_EXPERTS ? (uint32_t)expert : MOE_MAX_EXPERTS;
    row.step = (uint64_t)step;
    row.rank = (uint32_t)rank;
    return count_rows_add(rows, &row, err);
}

static bool read_csv_counts(struct import *import, const struct csvfile *csv,
                            const struct csv_columns *columns, struct error *err)
{
    struct count_rows rows = {.path = csv->name,
                              .has_step = columns->keys[TOKEN_STEP] != NO_COLUMN,
                              .has_rank = columns->keys[TOKEN_RANK] != NO_COLUMN};
    bool ok = true;
    for (size_t r = 0; ok && r < csv->rows; r++)
        ok = add_count_cells(&rows, csv, r, columns, err);
    ok = ok && count_rows_import(&rows, import, err);
    count_rows_release(&rows);
    return ok;
}

static bool add_token_cells(struct token_rows *rows, const struct csvfile *csv, size_t r,
                            const struct csv_columns *columns, struct error *err)
{
    struct token_row row = {.line = csvfile_line(csv, r)};
    int64_t ids[MOE_MAX_TOPK];
    size_t width = columns->id_count;
    if (!layer_cell(csv, r, columns->layer, &row.layer, err))
        return false;
    for (int key = 0; key < TOKEN_KEYS; key++)
        if (rows->has[key] && !key_cell(rows, csv, (const size_t[]){r, columns->keys[key]},
                                        (enum token_key)key, &row.keys[key], err))
            return false;
    if (columns->list != NO_COLUMN)
        width = list_cell(csvfile_cell(csv, r, columns->list), ids);
    else
        for (size_t k = 0; k < width; k++)
            if (!whole_cell(csv, r, columns->ids[k], -1, &ids[k], err))
                return false;
    return token_rows_add(rows, &row, ids, width, err);
}

static bool read_csv_tokens(struct import *import, const struct csvfile *csv,
                            const struct csv_columns *columns, struct error *err)
{
    struct token_rows rows;
    bool ok = true;
    token_rows_init(&rows, csv->name);
    for (int key = 0; key < TOKEN_KEYS; key++)
        rows.has[key] = columns->keys[key] != NO_COLUMN;
    for (size_t r = 0; ok && r < csv->rows; r++)
        ok = add_token_cells(&rows, csv, r, columns, err);
    ok = ok && token_rows_import(&rows, import, err);
    token_rows_release(&rows);
    return ok;
}

static bool read_csv_rows(struct import *import, const struct csvfile *csv, struct error *err)
{
    struct csv_columns columns;
    if (!find_columns(csv, &columns, err))
        return false;
    return columns.expert != NO_COLUMN && columns.count != NO_COLUMN
               ? read_csv_counts(import, csv, &columns, err)
               : read_csv_tokens(import, csv, &columns, err);
}

static bool read_csv_input(struct import *import, const struct input *input, struct error *err)
{
    struct csv_sniff sniff;
    sniff_csv(&input->file, &sniff);
    const bool wide =
        !sniff.headless && sniff.below > sniff.cells && header_has(&sniff, token_ids_names, true);
    char *header = sniff.headless || wide ? made_header(&sniff) : NULL;
    const struct csvfile_form form = {header, sniff.headless, sniff.delimiter};
    if (sniff.headless)
        notice("%s: no header: read as %.200s", input->path,
               sniff.cells == 3 ? "layer, expert, count" : "step, rank, layer, ids");
    struct csvfile *csv = csvfile_parse_as(input->path, (const char *)input->file.bytes,
                                           input->file.length, &form, err);
    const bool ok = csv && read_csv_rows(import, csv, err);
    csvfile_free(csv);
    free(header);
    return ok;
}

const struct importer importer_csv = {"CSV", recognise_csv_text, read_csv_input};
