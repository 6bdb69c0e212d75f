// Files that hold arrays alone: NumPy's .npy and .npz, base64 text and raw int32.
#include "base/mem.h"
#include "traces/importer.h"
#include "traces/npz.h"

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
static enum import_kind array_kind(const struct import *import, const struct npy *array)
{
    const struct moe *moe = &import->moe;
    const uint64_t width = array->dims ? array->shape[array->dims - 1] : 0;
    const bool counts =
        array->dims == 2 || width > MOE_MAX_TOPK || (width == moe->experts && width != moe->topk);
    return counts ? IMPORT_COUNTS : IMPORT_CHOICES;
}

static bool read_npy(struct import *import, const struct input *input, struct error *err)
{
    struct npy array;
    if (import->def->shape[0])
        return error_set(err, EXIT_INPUT, "--shape: %s is a .npy file, which says its own",
                         input->path);
    if (!npy_parse(&array, input->path, input->file.bytes, input->file.length, err))
        return false;
    const bool ok = import_add_array(import, array_kind(import, &array), &array, err);
    npy_release(&array);
    return ok;
}

const struct importer importer_npy = {"NumPy array", recognise_npy, read_npy};

// --- .npz, one a request, whose member routed_experts has [tokens, layers, k]; or counts

static bool recognise_npz(const struct input *input)
{
    return input->file.length > 4 && !memcmp(input->file.bytes, "PK\3\4", 4) &&
           !memmem(input->file.bytes, input->file.length, "data.pkl", 8);
}

// An array of a known name, or the only one there is.
static const struct zip_member *find_array(const struct zip *zip, struct error *err)
{
    static const char *const names[] = {"routed_experts.npy", "topk_ids.npy", "expert_ids.npy",
                                        "logical_count.npy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (zip_find(zip, names[i]))
            return zip_find(zip, names[i]);
    if (zip->count == 1)
        return &zip->members[0];
    error_set(err, EXIT_INPUT,
              "%s: no array routed_experts, topk_ids, expert_ids or logical_count, and %zu others",
              zip->name, zip->count);
    return NULL;
}

static bool add_member(struct import *import, const struct zip *zip,
                       const struct zip_member *member, struct npy *array, struct error *err)
{
    const enum import_kind kind = array_kind(import, array);
    void *owned = NULL;
    if (!import_check_array(kind, array, err) || !npz_read(array, zip, member, &owned, err))
        return false;
    if (owned)
        import_own(import, owned);
    return import_add_array(import, kind, array, err);
}

static bool read_member(struct import *import, const struct zip *zip, struct error *err)
{
    const struct zip_member *member = find_array(zip, err);
    struct npy array;
    if (!member || !npz_open(&array, zip, member, err))
        return false;
    const bool ok = add_member(import, zip, member, &array, err);
    npy_release(&array);
    return ok;
}

static bool read_npz(struct import *import, const struct input *input, struct error *err)
{
    struct zip zip;
    if (import->def->shape[0])
        return error_set(err, EXIT_INPUT, "--shape: %s is a .npz file, which says its own",
                         input->path);
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
    return input->def->shape[0] && input->file.bytes && !input->json && !input->lines;
}

static bool read_raw(struct import *import, const struct input *input, struct error *err)
{
    return import_add_bytes(import, input->path, input->file.bytes, input->file.length, err);
}

const struct importer importer_raw = {"raw routed_experts", recognise_raw, read_raw};
