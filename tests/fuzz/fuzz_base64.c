// base64 text, and what it holds as int32 of a shape: decoded twice, once without its spaces, it is
// the same.
#include "traces/base64.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes, *again;
    size_t count, more, at, length = 0;
    char *text = malloc(size ? size : 1), *packed = malloc(size ? size : 1);
    if (size)
        memcpy(text, data, size);
    for (size_t i = 0; i < size; i++)
        if (!text[i] || !strchr(" \t\r\n", text[i]))
            packed[length++] = text[i];
    const bool good = base64_decode(text, size, &bytes, &count, &at);
    if (good != base64_decode(packed, length, &again, &more, &at))
        abort();
    if (good) {
        if (count != more || memcmp(bytes, again, count) != 0)
            abort();
        free(bytes);
        free(again);
    } else if (at > length) {
        abort();
    }
    free(text);
    free(packed);
    return 0;
}
