#include "study/rows/measured.h"

#include "base/infile.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct measured_row *measured_add(struct measured *measured, size_t line)
{
    if (measured->count == measured->capacity) {
        measured->capacity = measured->capacity ? 2 * measured->capacity : 64;
        measured->rows = mem_grow(measured->rows, measured->capacity, sizeof *measured->rows);
    }
    struct measured_row *row = &measured->rows[measured->count++];
    *row =
        (struct measured_row){.file = measured->files.of[measured->files.count - 1], .line = line};
    return row;
}

size_t measured_keep(struct measured *measured,
                     bool (*keep)(const struct measured_row *row, const void *context),
                     const void *context)
{
    size_t count = 0;
    for (size_t i = 0; i < measured->count; i++)
        if (keep(&measured->rows[i], context))
            measured->rows[count++] = measured->rows[i];
    return measured->count = count;
}

void measured_release(struct measured *measured)
{
    names_release(&measured->files);
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

// ---- files -------------------------------------------------------------------------------------

// The CSV, which any text may be, is asked last.
static const struct row_reader *const row_readers[] = {&row_reader_nccl_tests, &row_reader_probe,
                                                       &row_reader_kernels, &row_reader_csv};
#define ROW_READERS (sizeof row_readers / sizeof row_readers[0])

// The CSV first, as what is most likely meant.
char *row_reader_names(char buffer[ROW_READER_NAMES_BYTES])
{
    size_t length = 0;
    for (size_t i = 0; i < ROW_READERS; i++) {
        const char *name = row_readers[(i + ROW_READERS - 1) % ROW_READERS]->name;
        const char *before = i == 0 ? "" : i + 1 < ROW_READERS ? ", " : ", or ";
        length += (size_t)snprintf(buffer + length, ROW_READER_NAMES_BYTES - length, "%s%s", before,
                                   name);
    }
    return buffer;
}

static int row_by_id(const void *a, const void *b)
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

static bool check_row_ids_differ(const struct measured *measured, struct error *err)
{
    const struct measured_row **sorted = mem_alloc(measured->count, sizeof *sorted);
    bool ok = true;
    for (size_t i = 0; i < measured->count; i++)
        sorted[i] = &measured->rows[i];
    qsort(sorted, measured->count, sizeof *sorted, row_by_id);
    for (size_t i = 1; ok && i < measured->count; i++)
        if (!strcmp(sorted[i - 1]->id, sorted[i]->id))
            ok = stands_already(sorted[i - 1], sorted[i], err);
    free(sorted);
    return ok;
}

static bool load_measured_file(struct measured *measured, const char *path, struct error *err)
{
    const size_t before = measured->count;
    size_t length;
    char *text = infile_read_text(path, INFILE_LIMIT, &length, err);
    if (!text)
        return false;
    const struct row_text row_text = {.path = path, .text = text, .length = length};
    size_t r = 0;
    while (!row_readers[r]->recognise(text))
        r++;
    names_add(&measured->files, path);
    bool ok = row_readers[r]->read(measured, &row_text, err);
    if (ok && measured->count == before)
        ok = error_set(err, EXIT_INPUT, "%s: no rows: expected at least one measurement", path);
    free(text);
    return ok;
}

bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         struct error *err)
{
    const struct names names = {(char **)paths, count};
    *measured = (struct measured){.path = names_join(&names, ", ")};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = load_measured_file(measured, paths[i], err);
    ok = ok && check_row_ids_differ(measured, err);
    if (!ok)
        measured_release(measured);
    return ok;
}

bool measured_load(struct measured *measured, const char *path, struct error *err)
{
    char *const paths[] = {(char *)path};
    return measured_load_files(measured, paths, 1, err);
}
