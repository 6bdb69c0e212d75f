#include "study/rows/measured.h"

#include "base/infile.h"
#include "base/mem.h"
#include "model/cluster.h"
#include "study/rows/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The CSV first, as what is most likely meant.
static const struct row_reader *const row_readers[] = {&row_reader_csv, &row_reader_kernels,
                                                       &row_reader_probe, &row_reader_nccl_json,
                                                       &row_reader_perftest_json};
#define ROW_READERS (sizeof row_readers / sizeof row_readers[0])

// ---- ids ----------------------------------------------------------------------------------------

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

// ---- one file -----------------------------------------------------------------------------------

// "A, B or C": what a file may be.
static bool not_known(const char *path, const char *what, struct error *err)
{
    struct names names = {0};
    for (size_t r = 0; r < ROW_READERS; r++)
        names_add_once(&names, row_readers[r]->name);
    for (size_t r = 0; log_readers[r]; r++)
        names_add_once(&names, log_readers[r]->name);
    char *joined = names_join(&names, ", ");
    error_set(err, EXIT_INPUT, "%s: %s: expected one of: %s", path, what, joined);
    free(joined);
    names_release(&names);
    return false;
}

static const struct row_reader *find_reader(const char *head)
{
    for (size_t r = ROW_READERS; r-- > 0;) // kernels' is a CSV too, and the more special
        if (row_readers[r]->recognise(head))
            return row_readers[r];
    return NULL;
}

static bool read_whole(struct measured *measured, const struct row_reader *reader,
                       struct infile_text *text, const struct measured_shape *shape,
                       struct error *err)
{
    const size_t before = measured->count, facts = measured->facts.count;
    struct row_text row_text = {.path = text->path, .shape = *shape};
    row_text.text = infile_text_whole(text, INFILE_LIMIT, &row_text.length, err);
    bool ok = row_text.text && reader->read(measured, &row_text, err);
    if (ok && measured->count == before && measured->facts.count == facts)
        ok = error_set(err, EXIT_INPUT, "%s: no rows: expected at least one measurement",
                       row_text.path);
    free(row_text.text);
    return ok;
}

static bool is_blank_text(const char *head)
{
    return !head[strspn(head, " \t\r\n")];
}

static bool load_measured_file(struct measured *measured, const char *path,
                               const struct measured_shape *shape, struct error *err)
{
    struct infile_text text;
    if (!infile_text_open(&text, path, err))
        return false;
    const struct row_reader *reader = find_reader(infile_text_head(&text));
    const bool blank = is_blank_text(infile_text_head(&text));
    enum log_verdict verdict = LOG_READ;
    names_add(&measured->files, path);
    if (reader && !read_whole(measured, reader, &text, shape, err))
        verdict = LOG_REFUSED;
    else if (!reader)
        verdict = log_read(measured, &text, shape, err);
    infile_text_close(&text);
    if (verdict == LOG_NONE)
        return not_known(path, blank ? "empty" : "of no format that is known", err);
    return verdict == LOG_READ;
}

// ---- files --------------------------------------------------------------------------------------

// A preset's own size; none of one that cannot be read, which whoever runs on it refuses.
static struct measured_shape shape_of_preset(const char *what)
{
    struct cluster cluster;
    struct error err;
    const bool quiet = notice_quiet(true);
    const bool known = cluster_load(what, &cluster, NULL, &err);
    notice_quiet(quiet);
    return (struct measured_shape){.nodes = known ? cluster.nodes : 0,
                                   .gpus_per_node = known ? cluster.gpus_per_node : 0,
                                   .said = known && strstr(what, "nodes=")};
}

// "2x8:...", or a preset.
static struct measured_shape shape_named(const char *what)
{
    struct measured_shape shape = {.said = true};
    if (!what || !*what)
        return (struct measured_shape){0};
    if (sscanf(what, "%5ux%5u", &shape.nodes, &shape.gpus_per_node) == 2 && shape.nodes &&
        shape.gpus_per_node)
        return shape;
    return shape_of_preset(what);
}

// What texts say of the machine alone is nothing to judge, but a cluster's line.
static bool conclude_facts(const struct measured *measured, const char *cluster, struct error *err)
{
    if (!measured->facts.count)
        return true;
    char *line = machine_facts_line(&measured->facts, cluster);
    if (measured->count)
        notice("%s: the machine, as these texts have it: %s", measured->path, line);
    else
        error_set(
            err, EXIT_INPUT,
            "%s: no rows, but facts of a machine: expected measured rows beside them; it is %s",
            measured->path, line);
    free(line);
    return measured->count > 0;
}

bool measured_load_files(struct measured *measured, char *const *paths, size_t count,
                         const char *cluster, struct error *err)
{
    const struct names names = {(char **)paths, count};
    const struct measured_shape shape = shape_named(cluster);
    *measured = (struct measured){.path = names_join(&names, ", ")};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = load_measured_file(measured, paths[i], &shape, err);
    ok = ok && conclude_facts(measured, cluster, err) && check_row_ids_differ(measured, err);
    if (!ok)
        measured_release(measured);
    return ok;
}

bool measured_load(struct measured *measured, const char *path, struct error *err)
{
    char *const paths[] = {(char *)path};
    return measured_load_files(measured, paths, 1, NULL, err);
}
