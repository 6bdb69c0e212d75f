#include "traces/records.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define JSON_FLAGS JSON_REJECT_DUPLICATES

static const char *line_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? newline : end;
}

static bool is_blank_line(const char *at, const char *stop)
{
    for (; at < stop; at++)
        if (*at != ' ' && *at != '\t' && *at != '\r')
            return false;
    return true;
}

// Past blank lines; how many.
static uint64_t skip_blank_lines(const char **at, const char *end)
{
    uint64_t lines = 0;
    while (*at < end) {
        const char *stop = line_end(*at, end);
        if (!is_blank_line(*at, stop))
            break;
        *at = stop < end ? stop + 1 : end;
        lines++;
    }
    return lines;
}

bool records_are_lines(const char *text, size_t length)
{
    const char *at = text, *end = text + length;
    skip_blank_lines(&at, end);
    const char *stop = line_end(at, end);
    const char *below = stop < end ? stop + 1 : end;
    skip_blank_lines(&below, end);
    if (below == end)
        return false;
    json_t *first = json_loadb(at, (size_t)(stop - at), JSON_FLAGS, NULL);
    json_decref(first);
    return first != NULL;
}

void records_begin(struct records *records, const struct input *input)
{
    *records = (struct records){.input = input, .at = (const char *)input->file.bytes, .line = 1};
}

static void release_record(struct records *records)
{
    if (records->input->lines)
        json_decref(records->record);
    free(records->name);
    records->record = NULL;
    records->name = NULL;
}

static bool next_line(struct records *records, struct error *err)
{
    const char *end = (const char *)records->input->file.bytes + records->input->file.length;
    json_error_t where;
    records->line += skip_blank_lines(&records->at, end);
    if (records->at == end)
        return true;
    const char *from = records->at, *stop = line_end(from, end);
    if ((size_t)(stop - from) > IMPORT_JSON_LIMIT)
        return error_set(err, EXIT_INPUT, "%s:%" PRIu64 ": a line of more than %zu MiB",
                         records->input->path, records->line, IMPORT_JSON_LIMIT >> 20);
    records->at = stop < end ? stop + 1 : end;
    records->name = mem_format("%s:%" PRIu64, records->input->path, records->line++);
    records->record = json_loadb(from, (size_t)(stop - from), JSON_FLAGS, &where);
    if (records->record)
        return true;
    if (stop < end)
        return error_set(err, EXIT_INPUT, "%s: column %d: %s", records->name, where.column,
                         where.text);
    notice("%s: cut off: left out", records->name);
    return true;
}

static void next_item(struct records *records)
{
    json_t *json = records->input->json;
    const size_t item = records->item++;
    records->record = json_is_array(json) ? json_array_get(json, item) : item == 0 ? json : NULL;
    records->name = json_is_array(json) ? mem_format("%s: [%zu]", records->input->path, item)
                                        : mem_copy_text(records->input->path);
}

bool records_next(struct records *records, struct error *err)
{
    release_record(records);
    if (records->input->lines)
        return next_line(records, err);
    next_item(records);
    return true;
}

void records_end(struct records *records)
{
    release_record(records);
}
