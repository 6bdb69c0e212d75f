// Input files: opening with one line that says what is wrong.
#ifndef BASE_INFILE_H
#define BASE_INFILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

// NULL, with "path: why" and EXIT_INPUT, for an empty name, a missing or unreadable file, and a
// directory.
FILE *infile_open(const char *path, struct error *err);

// The whole file in fresh memory, to be freed by the caller, and a '\0' after it, not counted in
// *length. NULL as above, and on a read error.
char *infile_read(const char *path, size_t *length, struct error *err);

#endif
