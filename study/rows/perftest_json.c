// What perftest writes with --out_json: {"test_info": {...}, "results": {"MsgSize": 65536,
// "BW_average": 391.2, "MsgRate": 0.746, ...}}. It does not say the averages' unit; messages of a
// size at the rate of messages give bytes a second.
#include "study/rows/perftest.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static bool recognise_perftest_json(const char *head)
{
    head += strspn(head, " \t\r\n");
    return *head == '{' && strstr(head, "\"MsgRate\"") && strstr(head, "\"BW_average\"");
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? strtod(json_string_value(value), NULL)
                                 : json_number_value(value);
}

static void add_result(struct perftest_runs *runs, const json_t *result)
{
    const double bytes = number_of(result, "MsgSize");
    const double rate = bytes * number_of(result, "MsgRate") * 1e6;
    perftest_add(runs, bytes, rate * (runs->both_ways ? 0.5 : 1));
}

static void read_info(struct perftest_runs *runs, const json_t *info)
{
    const char *device = json_string_value(json_object_get(info, "Device")), *key;
    json_t *value;
    json_object_foreach((json_t *)info, key,
                        value) if (json_is_string(value) &&
                                   strstr(json_string_value(value), "Bidirectional"))
        runs->both_ways = true;
    snprintf(runs->device, sizeof runs->device, "%s", device ? device : "");
}

static bool read_perftest_json(struct measured *measured, const struct row_text *text,
                               struct error *err)
{
    json_error_t where;
    char quoted[ERROR_QUOTE_BYTES];
    json_t *root = json_loadb(text->text, text->length, 0, &where);
    if (!root)
        return error_set(err, EXIT_INPUT, "%s:%d: column %d: %s: expected JSON of perftest",
                         text->path, where.line, where.column, error_quote(where.text, quoted));
    struct perftest_runs runs = {0};
    const struct log_before before = log_begin(measured);
    struct log log = {.measured = measured, .path = text->path, .line = 1, .err = err};
    const json_t *results = json_object_get(root, "results");
    const json_t *result;
    size_t i;
    read_info(&runs, json_object_get(root, "test_info"));
    if (json_is_object(results))
        add_result(&runs, results);
    json_array_foreach(results, i, result) add_result(&runs, result);
    perftest_tell(&runs, &log);
    free(runs.rates_Bps);
    json_decref(root);
    return log_conclude(&log, row_reader_perftest_json.name, before);
}

const struct row_reader row_reader_perftest_json = {"the JSON of ib_write_bw --out_json",
                                                    recognise_perftest_json, read_perftest_json};
