// Files mapped read-only, for binary input that is never copied whole.
#ifndef BASE_MAPPED_H
#define BASE_MAPPED_H

#include "base/error.h"

#include <stddef.h>

struct mapped {
    const unsigned char *bytes;
    size_t length;
};

// Refuses (EXIT_INPUT, "path: ...") what is missing, a directory, no regular file (a pipe is not
// waited for) or empty. A file that shrinks while it is mapped ends the program, as with any map.
bool mapped_open(struct mapped *mapped, const char *path, struct error *err);

// Bytes from..to - 1 are not wanted soon: their whole pages leave memory, and come back from the
// file when they are read after all. Any thread, at any time.
void mapped_forget(const struct mapped *mapped, size_t from, size_t to);

void mapped_release(struct mapped *mapped); // safe on a zeroed one

#endif
