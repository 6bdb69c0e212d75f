// Raw little-endian int32 [tokens, layers, k], as SGLang sends inside its base64; nothing in the
// bytes says so, but --shape does.
#include "traces/import_encodings.h"
#include "traces/importer.h"

static bool recognise_raw(const struct import_def *def, const struct input *input)
{
    return def->shape[0] && input->file.bytes && !input->json;
}

static bool read_raw(struct import *import, const struct input *input, struct error *err)
{
    return import_add_bytes(import, input->path, input->file.bytes, input->file.length, err);
}

const struct importer importer_raw = {"raw routed_experts", recognise_raw, read_raw};
