// An importer: one format of routing, told by its content, read into pieces; and the table's rows.
// Private to traces/.
#ifndef TRACES_IMPORTER_H
#define TRACES_IMPORTER_H

#include "traces/import_pieces.h"

#include <jansson.h>

// One input: a folder, or a file's bytes with what its text holds.
struct input {
    const struct import_def *def; // of the import
    const char *path;
    bool folder;
    struct mapped file;
    json_t *json; // the document, when the file is one
    bool lines;   // JSON Lines, which traces/records.h goes through
};

// Whether there is a file of that name in it; nothing is in a file.
bool import_folder_has(const char *folder, const char *name);

// The largest JSON text that is read. As a tree it takes some ten times its size in memory.
#define IMPORT_JSON_LIMIT ((size_t)256 << 20)

struct importer {
    const char *name;
    // Whether the input is of this format, by what stands in it.
    bool (*recognise)(const struct input *input);
    // Adds what the input holds to the import. The input outlives the import's pieces.
    bool (*read)(struct import *import, const struct input *input, struct error *err);
};

extern const struct importer importer_npy, importer_npz, importer_megatron, importer_trtllm,
    importer_base64, importer_response, importer_history, importer_location, importer_requests,
    importer_raw, importer_eplb, importer_logger, importer_lines, importer_csv, importer_loads;

// The importer of a document with such content; NULL where there is none.
const struct importer *import_document_format(const struct input *input);

// ---- what importers add arrays of ids and counts by, in the encodings that engines send: each
// becomes pieces

// Adds the choices of a .npy file in memory or, where it is none, of raw little-endian int32 by
// --shape. Borrows the bytes.
bool import_add_bytes(struct import *import, const char *name, const void *bytes, size_t length,
                      struct error *err);

// Nested JSON lists of whole numbers, one to three deep, as an array of i64 that the import owns.
// Refuses lists of other lengths than the first, and what is no whole number; 1.0 is one.
bool import_json_array(struct import *import, const json_t *list, const char *name,
                       struct npy *array, struct error *err);

// Adds choices or counts of nested JSON lists of whole numbers, as import_add_array takes them. The
// message has the place in it ("a.json: key[3][5]: ...").
bool import_add_json(struct import *import, enum import_kind kind, const json_t *list,
                     const char *name, struct error *err);

// Adds the choices of base64 text: a .npy file or raw int32, as above.
bool import_add_base64(struct import *import, const char *name, const char *text, size_t length,
                       struct error *err);

#endif
