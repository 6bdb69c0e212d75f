// Input files: opening with one line that says what is wrong.
#ifndef BASE_INFILE_H
#define BASE_INFILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

// NULL, with "path: why" and EXIT_INPUT, for an empty name, a missing or unreadable file, and a
// directory. A pipe is as good as a file, so that <(command) and /dev/stdin can be read; a named
// pipe that nobody writes to is waited for, as every reader of one does.
FILE *infile_open(const char *path, struct error *err);

// Enough for what people write by hand, and little enough to hold: documents, measurements,
// matrices.
#define INFILE_LIMIT ((size_t)64 << 20)

// The whole file in fresh memory, to be freed by the caller, and a '\0' after it, not counted in
// *length. NULL as above, on a read error, and for more than `limit` bytes (a multiple of 1 MiB),
// of which no more than that is read.
char *infile_read(const char *path, size_t limit, size_t *length, struct error *err);

// The same for a text: NULL for a NUL byte too, as soon as one is met.
char *infile_read_text(const char *path, size_t limit, size_t *length, struct error *err);

#endif
