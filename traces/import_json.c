// JSON of serving engines that holds arrays: answers, and counts of experts.
#include "base/mem.h"
#include "traces/importer.h"

#include <stdlib.h>

// --- answers of engines that were asked to return routed experts: vLLM's choices[].routed_experts
// (and prompt_routed_experts), SGLang's meta_info.routed_experts and sgl_ext.routed_experts; one
// answer or a list of them. Arrays are base64 or nested lists.

// In the order in which a request's tokens stand.
static const char *const array_keys[] = {"prompt_routed_experts", "routed_experts"};
static const char *const holder_keys[] = {"meta_info", "sgl_ext", "message"};
#define ARRAY_KEYS 2
#define HOLDER_KEYS 3

static bool is_answer(const json_t *value)
{
    if (!json_is_object(value))
        return false;
    if (json_object_get(value, "choices"))
        return true;
    for (size_t i = 0; i < ARRAY_KEYS; i++)
        if (json_object_get(value, array_keys[i]))
            return true;
    for (size_t i = 0; i < HOLDER_KEYS; i++)
        if (is_answer(json_object_get(value, holder_keys[i])))
            return true;
    return false;
}

static bool recognise_response(const struct input *input)
{
    return is_answer(input->json) || is_answer(json_array_get(input->json, 0));
}

static bool add_array(struct import *import, const json_t *value, const char *name,
                      struct error *err)
{
    if (json_is_string(value))
        return import_add_base64(import, name, json_string_value(value), json_string_length(value),
                                 err);
    if (json_is_array(value))
        return import_add_json(import, IMPORT_CHOICES, value, name, err);
    return error_set(err, EXIT_INPUT, "%s: expected base64 or lists of expert ids", name);
}

// An object's own arrays: one request.
static bool add_request(struct import *import, const json_t *object, const char *name,
                        struct error *err)
{
    bool ok = true, before = false;
    for (size_t i = 0; ok && i < ARRAY_KEYS; i++) {
        const json_t *value = json_object_get(object, array_keys[i]);
        if (!value || json_is_null(value))
            continue;
        char *key = mem_format("%s: %s", name, array_keys[i]);
        ok = add_array(import, value, key, err);
        if (ok && before)
            import_continue(import);
        before = true;
        free(key);
    }
    return ok;
}

// An object's arrays, and those of what stands below it by known names.
static bool add_answer(struct import *import, const json_t *object, const char *name,
                       struct error *err)
{
    const json_t *choices = json_object_get(object, "choices");
    bool ok = add_request(import, object, name, err);
    for (size_t i = 0; ok && i < HOLDER_KEYS; i++) {
        char *key = mem_format("%s: %s", name, holder_keys[i]);
        ok = add_request(import, json_object_get(object, holder_keys[i]), key, err);
        free(key);
    }
    for (size_t i = 0; ok && i < json_array_size(choices); i++) {
        char *key = mem_format("%s: choices[%zu]", name, i);
        ok = add_answer(import, json_array_get(choices, i), key, err);
        free(key);
    }
    return ok;
}

static bool read_response(struct import *import, const struct input *input, struct error *err)
{
    bool ok = true;
    if (json_is_object(input->json))
        return add_answer(import, input->json, input->path, err);
    for (size_t i = 0; ok && i < json_array_size(input->json); i++) {
        char *name = mem_format("%s: [%zu]", input->path, i);
        ok = add_answer(import, json_array_get(input->json, i), name, err);
        free(name);
    }
    return ok;
}

const struct importer importer_response = {"routed_experts of answers", recognise_response,
                                           read_response};

// --- {"load_history": [{"logical_expert_load": [[...] per layer]}, ...]}: counts, one entry a
// step.

static bool recognise_history(const struct input *input)
{
    return json_is_array(json_object_get(input->json, "load_history"));
}

static bool read_history(struct import *import, const struct input *input, struct error *err)
{
    const json_t *history = json_object_get(input->json, "load_history");
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(history); i++) {
        const json_t *load = json_object_get(json_array_get(history, i), "logical_expert_load");
        char *name = mem_format("%s: load_history[%zu].logical_expert_load", input->path, i);
        ok = load ? import_add_json(import, IMPORT_COUNTS, load, name, err)
                  : error_set(err, EXIT_INPUT, "%s: missing; expected [layers][experts]", name);
        free(name);
    }
    return ok;
}

const struct importer importer_history = {"load_history", recognise_history, read_history};

// --- SGLang's --init-expert-location JSON with logical_count: [layers][experts], or
// [steps][layers][experts] as its recorder has them. (Without it the file is a layout.)

static bool recognise_location(const struct input *input)
{
    return json_is_array(json_object_get(input->json, "logical_count"));
}

static bool read_location(struct import *import, const struct input *input, struct error *err)
{
    char *name = mem_format("%s: logical_count", input->path);
    const bool ok = import_add_json(import, IMPORT_COUNTS,
                                    json_object_get(input->json, "logical_count"), name, err);
    free(name);
    return ok;
}

const struct importer importer_location = {"SGLang logical_count", recognise_location,
                                           read_location};
