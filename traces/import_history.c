// {"load_history": [{"logical_expert_load": [[...] per layer]}, ...]}: counts, one entry a step.
#include "base/mem.h"
#include "traces/import_encodings.h"
#include "traces/importer.h"

#include <stdlib.h>

static bool recognise_history(const struct import_def *def, const struct input *input)
{
    (void)def;
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
