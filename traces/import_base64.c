// Text that is base64 alone, a request a line: a .npy file (vLLM) or raw int32 (SGLang).
#include "base/mem.h"
#include "traces/import_encodings.h"
#include "traces/importer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_base64(unsigned char c)
{
    return c &&
           strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n \t", c);
}

static bool recognise_base64(const struct import_def *def, const struct input *input)
{
    (void)def;
    for (size_t i = 0; i < input->file.length; i++)
        if (!is_base64(input->file.bytes[i]))
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
