// .npy files: vLLM's routed_experts [tokens, layers, k], and counts [layers, experts] or [steps,
// layers, experts].
#include "traces/importer.h"

#include <stdlib.h>

static bool recognise_npy(const struct import_def *def, const struct input *input)
{
    (void)def;
    return input->file.bytes && npy_begins(input->file.bytes, input->file.length);
}

// Choices and counts have the same dimensions. Rows wider than any top-k are counts, and so are
// rows as wide as the model has experts; the rest are choices.
static bool array_kind(const struct import_def *def, const struct npy *array,
                       enum import_kind *kind, struct error *err)
{
    struct moe moe = {0};
    const uint64_t width = array->dims ? array->shape[array->dims - 1] : 0;
    if (def->model[0] && !moe_load(def->model, &moe, NULL, err))
        return error_prefix(err, "--model");
    const bool counts =
        array->dims == 2 || width > MOE_MAX_TOPK || (width == moe.experts && width != moe.topk);
    *kind = counts ? IMPORT_COUNTS : IMPORT_CHOICES;
    return true;
}

static bool read_npy(struct import *import, const struct input *input, struct error *err)
{
    struct npy array;
    enum import_kind kind = IMPORT_CHOICES;
    if (import->def->shape[0])
        return error_set(err, EXIT_INPUT, "--shape: %s is a .npy file, which says its own",
                         input->path);
    if (!npy_parse(&array, input->path, input->file.bytes, input->file.length, err))
        return false;
    const bool ok =
        array_kind(import->def, &array, &kind, err) && import_add_array(import, kind, &array, err);
    npy_release(&array);
    return ok;
}

const struct importer importer_npy = {"NumPy array", recognise_npy, read_npy};
