#include "plots/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// Of the character at `at`, its bytes; 0 unless it is UTF-8 that an XML file, as SVG is, may hold.
static size_t character_bytes(const unsigned char *at, size_t left)
{
    static const uint32_t min[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t bytes = *at < 0x80 ? 1 : *at < 0xc0 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
    if (bytes <= 1 || bytes > left || *at >= 0xf8)
        return bytes == 1;
    uint32_t code = *at & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    const bool known = code >= min[bytes] && code <= 0x10ffff && (code | 1) != 0xffff;
    return known && !surrogate ? bytes : 0;
}

size_t make_printable(char *text, size_t length)
{
    size_t used = 0;
    for (size_t i = 0, bytes; i < length; i += bytes ? bytes : 1) {
        const unsigned char first = (unsigned char)text[i];
        bytes = character_bytes((const unsigned char *)text + i, length - i);
        if (bytes == 1 && (first < 0x20 || first == 0x7f) && first != '\t' && first != '\n')
            continue;
        if (bytes)
            memmove(text + used, text + i, bytes);
        else
            text[used] = '?';
        used += bytes ? bytes : 1;
    }
    return used;
}
