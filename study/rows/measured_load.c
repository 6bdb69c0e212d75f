#include "study/rows/measured_load.h"

#include "base/infile.h"
#include "base/mem.h"
#include "study/rows/row_reader.h"

#include <stdlib.h>
#include <string.h>

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
    measured_add_file(measured, path);
    bool ok = row_reader_find(text)->read(measured, &row_text, err);
    if (ok && measured->count == before)
        ok = error_set(err, EXIT_INPUT, "%s: no rows: expected at least one measurement", path);
    free(text);
    return ok;
}

static char *paths_text(char *const *paths, size_t count)
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
    *measured = (struct measured){.path = paths_text(paths, count)};
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
