// Memory: allocation that cannot fail. Running out ends the program with one line and
// EXIT_RUNTIME; nothing in epsim can go on usefully without its arrays.
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

// count * size bytes, zeroed. A product that overflows ends the program like running out.
void *mem_alloc(size_t count, size_t size);

// As realloc for an array of `count` elements; the grown part is not zeroed.
void *mem_grow(void *array, size_t count, size_t size);

// Room for one element more in an array that grew by this alone and holds `count`: it doubles.
void *mem_room(void *array, size_t count, size_t size);

// A copy of size bytes, to be freed by the caller.
void *mem_copy(const void *bytes, size_t size);

// A copy of text, to be freed by the caller.
char *mem_copy_text(const char *text);

// printf into fresh memory, to be freed by the caller.
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
