#include "base/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define QUOTE_SHOWN 60 // bytes of a quoted text before the "..."

static bool quiet;

// Ends a text that snprintf cut short with "...", never inside a UTF-8 character.
static void mark_cut(char *text, size_t bytes)
{
    size_t end = bytes - sizeof "...";
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
        end--;
    memcpy(text + end, "...", sizeof "...");
}

// As vsnprintf, into `bytes` bytes; a text that was cut says so.
__attribute__((format(printf, 3, 0))) static void
format_text(char *text, size_t bytes, const char *format, va_list args)
{
    if (vsnprintf(text, bytes, format, args) >= (int)bytes)
        mark_cut(text, bytes);
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

// Writes one character, escaped where it would spoil a line, and returns the bytes read.
static size_t quote_one(const unsigned char *text, char *out, size_t *out_bytes)
{
    const size_t bytes = utf8_bytes(text);
    const char *named = bytes == 1 ? strchr("\nn\tt\rr", *text) : NULL;
    if (named != NULL && *text < 0x20) {
        *out_bytes = (size_t)snprintf(out, 5, "\\%c", named[1]);
    } else if (bytes == 0 || *text < 0x20 || *text == 0x7f) {
        *out_bytes = (size_t)snprintf(out, 5, "\\x%02x", *text);
        return 1;
    } else {
        memcpy(out, text, bytes);
        *out_bytes = bytes;
    }
    return bytes;
}

char *error_quote(const char *text, char *buffer)
{
    static_assert(ERROR_QUOTE_BYTES >= QUOTE_SHOWN + 4 + sizeof "...", "room for one escape more");
    const unsigned char *at = (const unsigned char *)text;
    size_t used = 0;
    while (*at != '\0' && used < QUOTE_SHOWN) {
        char one[8];
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
    vsnprintf(text, sizeof text, format, args);
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
