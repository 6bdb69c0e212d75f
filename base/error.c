#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define QUOTE_SHOWN 60 // bytes of a quoted text before the "..."

static bool quiet;

// ---- characters ---------------------------------------------------------------------------------

// Bytes of the UTF-8 character at text, or 0 when it is none. Overlong forms pass: nothing here
// depends on them.
static size_t utf8_bytes(const unsigned char *text)
{
    const size_t bytes = text[0] < 0x80                      ? 1
                         : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                         : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                         : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                             : 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    return bytes;
}

// Of U+2000 to U+2FFF: marks and embeddings of direction (Unicode's Bidi_Control), and the two
// separators of lines.
static bool is_direction(uint32_t point)
{
    return point == 0x200e || point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069);
}

size_t error_hidden(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    const size_t bytes = utf8_bytes(at);
    if (bytes == 0)
        return 1;
    if (bytes == 1)
        return (*at < 0x20 && *at) || *at == 0x7f;
    if (bytes == 2)
        return at[0] == 0xc2 && at[1] < 0xa0 ? 2 : (at[0] == 0xd8 && at[1] == 0x9c) * 2u;
    const uint32_t point = (at[0] & 0xfu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    return bytes == 3 && is_direction(point) ? 3 : 0;
}

// Writes one character, escaped where it would spoil a line, and returns the bytes read.
#define ESCAPED_BYTES 16
static size_t quote_one(const char *text, char out[ESCAPED_BYTES], size_t *out_bytes)
{
    const size_t hidden = error_hidden(text);
    const char *named = hidden == 1 ? strchr("\nn\tt\rr", *text) : NULL;
    if (!hidden) {
        const size_t bytes = utf8_bytes((const unsigned char *)text);
        memcpy(out, text, bytes);
        return *out_bytes = bytes;
    }
    *out_bytes = 0;
    if (named)
        *out_bytes = (size_t)snprintf(out, ESCAPED_BYTES, "\\%c", named[1]);
    for (size_t i = 0; !named && i < hidden; i++)
        *out_bytes += (size_t)snprintf(out + *out_bytes, ESCAPED_BYTES - *out_bytes, "\\x%02x",
                                       (unsigned char)text[i]);
    return hidden;
}

// ---- messages -----------------------------------------------------------------------------------

// Ends a text that snprintf cut short with "...", never inside a UTF-8 character.
static void mark_cut(char *text, size_t bytes)
{
    size_t end = bytes - sizeof "...";
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
        end--;
    memcpy(text + end, "...", sizeof "...");
}

// As vsnprintf into fewer than `bytes` bytes, escaped; a text that was cut says so.
__attribute__((format(printf, 3, 0))) static void format_text(char *text, size_t bytes,
                                                              const char *format, va_list args)
{
    char raw[sizeof((struct error *)0)->text];
    const bool cut = vsnprintf(raw, sizeof raw, format, args) >= (int)sizeof raw;
    size_t used = 0;
    const char *at = raw;
    while (*at) {
        char one[ESCAPED_BYTES];
        size_t one_bytes;
        const size_t read = quote_one(at, one, &one_bytes);
        if (used + one_bytes >= bytes)
            break;
        memcpy(text + used, one, one_bytes);
        used += one_bytes;
        at += read;
    }
    text[used] = '\0';
    if (*at || cut)
        mark_cut(text, used + 1);
}

bool error_set(struct error *err, enum exit_code code, const char *format, ...)
{
    // Formatted aside, since an argument may be err->text itself.
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    format_text(text, sizeof text, format, args);
    va_end(args);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return false;
}

bool error_prefix(struct error *err, const char *format, ...)
{
    char prefix[sizeof err->text];
    va_list args;
    va_start(args, format);
    format_text(prefix, sizeof prefix, format, args);
    va_end(args);
    return error_set(err, err->code, "%s: %s", prefix, err->text);
}

char *error_quote(const char *text, char *buffer)
{
    static_assert(ERROR_QUOTE_BYTES >= QUOTE_SHOWN + 12 + sizeof "...", "room for one escape more");
    const char *at = text;
    size_t used = 0;
    while (*at != '\0' && used < QUOTE_SHOWN) {
        char one[ESCAPED_BYTES];
        size_t bytes;
        at += quote_one(at, one, &bytes);
        memcpy(buffer + used, one, bytes);
        used += bytes;
    }
    memcpy(buffer + used, *at != '\0' ? "..." : "", *at != '\0' ? sizeof "..." : 1);
    return buffer;
}

// Whether the text was said before; remembers it. By FNV-1a: of two notices that share a hash the
// second would be lost, which is not to be expected.
static bool said_before(const char *text)
{
    static uint64_t said[512];
    static size_t count;
    uint64_t hash = UINT64_C(14695981039346656037);
    bool found = false;
    for (const char *at = text; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
#pragma omp critical(epsim_notice)
    {
        for (size_t i = 0; i < count; i++)
            found = found || said[i] == hash;
        if (!found && count < sizeof said / sizeof said[0])
            said[count++] = hash;
    }
    return found;
}

void notice(const char *format, ...)
{
    if (quiet)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    format_text(text, sizeof text, format, args);
    va_end(args);
    if (!said_before(text))
        fprintf(stderr, "notice: %s\n", text);
}

bool notice_quiet(bool on)
{
    const bool before = quiet;
    quiet = on;
    return before;
}
