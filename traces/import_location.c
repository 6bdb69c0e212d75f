// SGLang's --init-expert-location JSON with logical_count: [layers][experts], or
// [steps][layers][experts] as its recorder has them. (Without it the file is a layout.)
#include "base/mem.h"
#include "traces/import_encodings.h"
#include "traces/importer.h"

#include <stdlib.h>

static bool recognise_location(const struct import_def *def, const struct input *input)
{
    (void)def;
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
