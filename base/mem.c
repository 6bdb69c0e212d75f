#include "base/mem.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(void)
{
    fputs("epsim: out of memory\n", stderr);
    exit(EXIT_RUNTIME);
}

// At least one byte, so that NULL never means "an empty array".
static size_t array_bytes(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        out_of_memory();
    return bytes == 0 ? 1 : bytes;
}

void *mem_alloc(size_t count, size_t size)
{
    void *memory = calloc(1, array_bytes(count, size));
    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *mem_grow(void *array, size_t count, size_t size)
{
    void *memory = realloc(array, array_bytes(count, size));
    if (memory == NULL)
        out_of_memory();
    return memory;
}

void *mem_room(void *array, size_t count, size_t size)
{
    const size_t first = 8;
    const bool full = count == 0 || (count >= first && (count & (count - 1)) == 0);
    return full ? mem_grow(array, count ? 2 * count : first, size) : array;
}

void *mem_copy(const void *bytes, size_t size)
{
    return memcpy(mem_alloc(size, 1), bytes, size);
}

char *mem_copy_text(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    return memcpy(mem_alloc(bytes, 1), text, bytes);
}

char *mem_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    const int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        out_of_memory();
    return text;
}
