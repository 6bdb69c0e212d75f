// Base64 (RFC 4648), as JSON answers carry arrays in.
#ifndef TRACES_BASE64_H
#define TRACES_BASE64_H

#include <stdbool.h>
#include <stddef.h>

// Decodes text of `length` characters into *bytes (freed by the caller) and *count. White space is
// skipped; padding may be left out. False, with the place of the first wrong character in *at: a
// character outside the alphabet, one left over, padding elsewhere than at the end, or bits of the
// last character that no byte takes.
bool base64_decode(const char *text, size_t length, unsigned char **bytes, size_t *count,
                   size_t *at);

#endif
