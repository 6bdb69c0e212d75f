// What nccl-tests write with -J FILE (src/util.cu, version 1 of its JSON): args, config.devices,
// results. A file may hold several, one after the other, and lines that are no JSON before each.
// Refuses JSON that is cut off or broken, and what nccl_row.h and nccl_run.h refuse. The id of a
// row counts results: "FILE:3" is the third.
#include "study/rows/nccl_row.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the objects of a text ----------------------------------------------------------------------

// The line that begins with '{', or NULL.
static const char *find_object(const char *text)
{
    while (*text) {
        const char *at = text + strspn(text, " \t");
        if (*at == '{')
            return at;
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return NULL;
}

static bool recognise_nccl_json(const char *head)
{
    const char *object = find_object(head);
    return object && strstr(object, "\"start_time\"") && strstr(object, "\"args\"");
}

static size_t line_of(const char *text, const char *at)
{
    size_t line = 1;
    for (const char *end; (end = memchr(text, '\n', (size_t)(at - text))); text = end + 1)
        line++;
    return line;
}

static bool json_refused(const struct row_text *text, const char *object, const json_error_t *where,
                         struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const size_t line = line_of(text->text, object) + (size_t)where->line - 1;
    if (json_error_code(where) == json_error_premature_end_of_input)
        return error_set(err, EXIT_INPUT,
                         "%s:%zu: the JSON is cut off: the test ended before it was written: "
                         "expected a whole file of nccl-tests -J, or what the test printed",
                         text->path, line);
    return error_set(err, EXIT_INPUT, "%s:%zu: column %d: %s: expected JSON of nccl-tests -J",
                     text->path, line, where->column, error_quote(where->text, quoted));
}

// ---- the run ------------------------------------------------------------------------------------

static const char *json_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static uint32_t count_of(const json_t *object, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(object, key));
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static bool read_json_device(struct nccl_run *run, const json_t *device, struct error *err)
{
    struct nccl_rank rank = {.rank = count_of(device, "rank"),
                             .group = count_of(device, "group"),
                             .device = count_of(device, "device"),
                             .name = json_text_of(device, "device_info")};
    if (!json_is_integer(json_object_get(device, "rank")))
        return error_set(err, EXIT_INPUT, "config.devices: expected a rank of each");
    snprintf(rank.host, sizeof rank.host, "%s", json_text_of(device, "hostname"));
    return nccl_add_rank(run, &rank, err);
}

static void name_json_test(struct nccl_run *run, const json_t *root)
{
    const char *program = json_string_value(json_array_get(json_object_get(root, "args"), 0));
    const char *base = program ? strrchr(program, '/') : NULL;
    size_t length = 0;
    base = base ? base + 1 : program;
    const enum nccl_test test = base ? nccl_test_of(base, &length) : NCCL_UNKNOWN;
    nccl_run_begin(run, length ? test : NCCL_UNKNOWN);
    snprintf(run->program, sizeof run->program, "%.*s", (int)length, base ? base : "");
}

static bool read_json_run(struct nccl_reader *reader, struct log *log, const json_t *root)
{
    const json_t *devices = json_object_get(json_object_get(root, "config"), "devices");
    const json_t *device;
    size_t i;
    name_json_test(&reader->run, root);
    nccl_name_version(reader, count_of(root, "nccl_version"));
    json_array_foreach(devices, i,
                       device) if (!read_json_device(&reader->run, device,
                                                     log->err)) return error_prefix(log->err, "%s",
                                                                                    log->path);
    return true;
}

// ---- results ------------------------------------------------------------------------------------

// A figure, or the text "nan" and the like; NULL: not checked.
static void figure_text(const json_t *value, char *text, size_t bytes)
{
    if (json_is_number(value))
        snprintf(text, bytes, "%g", json_number_value(value));
    else
        snprintf(text, bytes, "%s", json_is_string(value) ? json_string_value(value) : "N/A");
}

static bool read_result(struct nccl_reader *reader, struct log *log, const json_t *object)
{
    const json_t *out = json_object_get(object, "out_of_place");
    const json_t *time = json_object_get(out, "time");
    char wrong[64], wrong_in_place[64];
    struct nccl_result result = {.size = json_number_value(json_object_get(object, "size")),
                                 .count = json_number_value(json_object_get(object, "count")),
                                 .time_us = json_number_value(time),
                                 .type = json_text_of(object, "type"),
                                 .redop = json_text_of(object, "redop"),
                                 .wrong = wrong,
                                 .wrong_in_place = wrong_in_place};
    figure_text(json_object_get(out, "nwrong"), wrong, sizeof wrong);
    figure_text(json_object_get(json_object_get(object, "in_place"), "nwrong"), wrong_in_place,
                sizeof wrong_in_place);
    if (json_object_get(out, "cpu_time"))
        return log_leave_out(log, NCCL_CPU_TIMES), true;
    if (!json_is_number(time))
        return log_leave_out(log, "results without a time out of place are left out"), true;
    return nccl_add_row(reader, log, &result);
}

static void tell_failure(const struct log *log, const json_t *root)
{
    char quoted[ERROR_QUOTE_BYTES];
    const json_t *errors = json_object_get(root, "errors");
    if (json_array_size(errors))
        notice("%s: the test failed: '%s'", log->path,
               error_quote(json_is_string(json_array_get(errors, 0))
                               ? json_string_value(json_array_get(errors, 0))
                               : "",
                           quoted));
}

static bool read_run_and_results(struct nccl_reader *reader, struct log *log, const json_t *root)
{
    const json_t *result;
    size_t i;
    tell_failure(log, root);
    if (!read_json_run(reader, log, root))
        return false;
    json_array_foreach(json_object_get(root, "results"), i, result)
    {
        log->line++;
        if (!read_result(reader, log, result))
            return error_prefix(log->err, "%s: result %zu", log->path, log->line);
    }
    return true;
}

static bool read_nccl_json(struct measured *measured, const struct row_text *text,
                           struct error *err)
{
    struct nccl_reader reader = {0};
    struct log log = {
        .measured = measured, .path = text->path, .shape = text->shape, .rank = -1, .err = err};
    const struct log_before before = log_begin(measured);
    bool ok = true;
    json_error_t where;
    for (const char *at = find_object(text->text); ok && at; at = find_object(at)) {
        const size_t left = text->length - (size_t)(at - text->text);
        json_t *root = json_loadb(at, left, JSON_DISABLE_EOF_CHECK, &where);
        ok = root ? read_run_and_results(&reader, &log, root) : json_refused(text, at, &where, err);
        at += root ? where.position : 0;
        json_decref(root);
    }
    nccl_run_release(&reader.run);
    return ok && log_conclude(&log, row_reader_nccl_json.name, before);
}

const struct row_reader row_reader_nccl_json = {"the JSON of nccl-tests -J", recognise_nccl_json,
                                                read_nccl_json};
