// Files that hold arrays alone: NumPy's .npy and .npz, base64 text and raw int32.
#include "base/mem.h"
#include "traces/importer.h"
#include "traces/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// --- .npy: vLLM's routed_experts [tokens, layers, k], counts [layers, experts] or [steps, layers,
// experts]

static bool recognise_npy(const struct input *input)
{
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

// --- .npz, one a request, whose member routed_experts has [tokens, layers, k]

static bool recognise_npz(const struct input *input)
{
    return input->file.length > 4 && !memcmp(input->file.bytes, "PK\3\4", 4) &&
           !memmem(input->file.bytes, input->file.length, "data.pkl", 8);
}

// routed_experts, or the only array there is.
static const struct zip_member *find_array(const struct zip *zip, struct error *err)
{
    const struct zip_member *member = zip_find(zip, "routed_experts.npy");
    if (!member && zip->count == 1)
        member = &zip->members[0];
    if (!member)
        error_set(err, EXIT_INPUT, "%s: no array routed_experts, and %zu others", zip->name,
                  zip->count);
    return member;
}

static bool read_member(struct import *import, const struct zip *zip, struct error *err)
{
    const unsigned char *bytes;
    void *owned;
    const struct zip_member *member = find_array(zip, err);
    if (!member || !zip_read(zip, member, &bytes, &owned, err))
        return false;
    if (owned)
        import_own(import, owned);
    char *name = mem_format("%s: %s", zip->name, member->name);
    bool ok = npy_begins(bytes, member->bytes);
    if (ok)
        ok = import_add_bytes(import, name, bytes, member->bytes, err);
    else
        error_set(err, EXIT_INPUT, "%s: not a .npy file", name);
    free(name);
    return ok;
}

static bool read_npz(struct import *import, const struct input *input, struct error *err)
{
    struct zip zip;
    if (!zip_open(&zip, input->path, input->file.bytes, input->file.length, err))
        return false;
    const bool ok = read_member(import, &zip, err);
    zip_release(&zip);
    return ok;
}

const struct importer importer_npz = {"NumPy archive", recognise_npz, read_npz};

// --- base64 text alone, a request a line: a .npy file (vLLM) or raw int32 (SGLang)

#define BASE64_TEXT "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n \t"

static bool recognise_base64(const struct input *input)
{
    for (size_t i = 0; i < input->file.length; i++)
        if (!input->file.bytes[i] || !strchr(BASE64_TEXT, input->file.bytes[i]))
            return false;
    return input->file.length >= 4;
}

static bool is_blank(const char *text, size_t length)
{
    while (length > 0 && strchr(" \t\r", *text))
        text++, length--;
    return length == 0;
}

static bool read_base64(struct import *import, const struct input *input, struct error *err)
{
    const char *at = (const char *)input->file.bytes, *end = at + input->file.length;
    bool ok = true;
    for (uint64_t line = 1; ok && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t length = (size_t)((stop ? stop : end) - at);
        char *name = mem_format("%s:%" PRIu64, input->path, line);
        ok = is_blank(at, length) || import_add_base64(import, name, at, length, err);
        free(name);
        at = stop ? stop + 1 : end;
    }
    return ok;
}

const struct importer importer_base64 = {"base64 routed_experts", recognise_base64, read_base64};

// --- raw little-endian int32 [tokens, layers, k], as SGLang sends inside its base64; nothing in
// the bytes says so, but --shape does

static bool recognise_raw(const struct input *input)
{
    return input->def->shape[0] && input->file.bytes && !input->json;
}

static bool read_raw(struct import *import, const struct input *input, struct error *err)
{
    return import_add_bytes(import, input->path, input->file.bytes, input->file.length, err);
}

const struct importer importer_raw = {"raw routed_experts", recognise_raw, read_raw};
