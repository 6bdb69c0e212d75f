#include "traces/base64.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// 0 to 63, or -1.
static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// What is taken so far: the bits that no byte has yet, and how many.
struct decoder {
    unsigned char *bytes;
    size_t count;
    uint32_t bits;
    unsigned pending;
    unsigned padding;
    size_t characters; // without spaces and padding
};

static bool decoder_take(struct decoder *decoder, char c)
{
    const int value = base64_digit(c);
    if (c == '=')
        return ++decoder->padding <= 2 && decoder->pending > 0;
    if (value < 0 || decoder->padding > 0)
        return false;
    decoder->characters++;
    decoder->bits = (decoder->bits << 6 | (uint32_t)value) & 0xffff;
    decoder->pending += 6;
    if (decoder->pending >= 8) {
        decoder->pending -= 8;
        decoder->bytes[decoder->count++] = (unsigned char)(decoder->bits >> decoder->pending);
    }
    return true;
}

// Whole bytes, nothing but zeros after them, and padding, if any, to four characters.
static bool ends_well(const struct decoder *decoder)
{
    return decoder->pending < 6 && (decoder->bits & ((1u << decoder->pending) - 1)) == 0 &&
           (decoder->padding == 0 || (decoder->characters + decoder->padding) % 4 == 0);
}

bool base64_decode(const char *text, size_t length, unsigned char **bytes, size_t *count,
                   size_t *at)
{
    struct decoder decoder = {.bytes = mem_alloc(length / 4 * 3 + 3, 1)};
    bool ok = true;
    size_t i = 0;
    for (; ok && i < length; i++)
        ok = (text[i] && strchr(" \n\r\t", text[i])) || decoder_take(&decoder, text[i]);
    if (!ok || !ends_well(&decoder)) {
        *at = ok ? length : i - 1;
        free(decoder.bytes);
        return false;
    }
    *bytes = decoder.bytes;
    *count = decoder.count;
    return true;
}
