// Arrays of ids and counts in the encodings that engines send them in: .npy or raw bytes, base64 of
// either, nested JSON lists. Each becomes pieces. Private to traces/.
#ifndef TRACES_IMPORT_ENCODINGS_H
#define TRACES_IMPORT_ENCODINGS_H

#include "traces/import_pieces.h"

#include <jansson.h>

// Adds the choices of a .npy file in memory or, where it is none, of raw little-endian int32 by
// --shape. Borrows the bytes.
bool import_add_bytes(struct import *import, const char *name, const void *bytes, size_t length,
                      struct error *err);

// Adds choices or counts of nested JSON lists of whole numbers, as import_add_array takes them. The
// message has the place in it ("a.json: key[3][5]: ...").
bool import_add_json(struct import *import, enum import_kind kind, const json_t *list,
                     const char *name, struct error *err);

// Adds the choices of base64 text: a .npy file or raw int32, as above.
bool import_add_base64(struct import *import, const char *name, const char *text, size_t length,
                       struct error *err);

#endif
