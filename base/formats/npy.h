// NumPy .npy files: their element types, and how they are read, memory-mapped and never copied
// whole.
#ifndef BASE_FORMATS_NPY_H
#define BASE_FORMATS_NPY_H

#include "base/error.h"
#include "base/mapped.h"
#include "base/outfile.h"

#include <stdint.h>

#define NPY_MAX_DIMS 4
#define NPY_PREFIX_V1 10 // bytes before a version 1 header: magic 6, version 2, header length 2

extern const char npy_magic[6];

enum npy_type {
    NPY_U8,
    NPY_U16,
    NPY_U32,
    NPY_U64,
    NPY_I8,
    NPY_I16,
    NPY_I32,
    NPY_I64,
    NPY_F16,
    NPY_F32,
    NPY_F64,
};
#define NPY_TYPES (NPY_F64 + 1)

// By enum npy_type.
extern const struct npy_type_row {
    const char *name;  // as messages have it: "u8"
    const char *descr; // as headers have it, without the byte order: "u1"
    size_t bytes;
} npy_types[NPY_TYPES];

static inline bool npy_is_integer(enum npy_type type)
{
    return type < NPY_F16;
}

struct npy {
    char *path;
    enum npy_type type;
    size_t dims;
    uint64_t shape[4];
    const void *data;     // C order, little-endian
    struct mapped mapped; // zero when parsed from memory
};

// Maps a version 1, 2 or 3 file read-only. Refuses (EXIT_INPUT, "path: ..."): missing file,
// directory, empty file, not .npy, a header that does not parse, Fortran order, big-endian or
// another dtype, more than 4 dimensions, data shorter than the shape says (says both sizes), a
// shape that overflows.
bool npy_open(struct npy *npy, const char *path, struct error *err);

// The same of a file that is in memory already, which must outlive it; `name` stands for the path.
bool npy_parse(struct npy *npy, const char *name, const void *bytes, size_t length,
               struct error *err);
void npy_release(struct npy *npy);

// The header alone, of a file of `total` bytes whose first `length` are in memory: all that is
// refused above, and a header that goes on behind them. *header: bytes before the data, which the
// array does not have. Released by npy_release.
bool npy_parse_header(struct npy *npy, const char *name, const void *bytes, size_t length,
                      uint64_t total, size_t *header, struct error *err);

uint64_t npy_data_bytes(const struct npy *npy); // what the shape takes

// Elements from first up to last are not wanted soon: their pages leave memory, and come back from
// the file when they are read after all. Any thread, at any time. Nothing is done where it was
// parsed from memory.
void npy_forget(const struct npy *npy, uint64_t first, uint64_t last);

// Whether the bytes begin as a .npy file does.
bool npy_begins(const void *bytes, size_t length);

uint64_t npy_count(const struct npy *npy); // product of the shape

// Element i as an integer (integer types only), or as a double.
// u64 beyond 2^63 - 1 comes out negative.
int64_t npy_int(const struct npy *npy, uint64_t index);
double npy_real(const struct npy *npy, uint64_t index);

// ---- written, whole or row by row ---------------------------------------------------------------

// Writes a version 1 file, header padded to 64 bytes, through base/outfile.h.
bool npy_write(const char *path, enum npy_type type, const uint64_t *shape, size_t dims,
               const void *data, struct error *err);

// A version 1 file written row by row, whose number of rows shows at the end.
struct npy_out {
    struct outfile file; // outfile_abort leaves nothing of it
    enum npy_type type;
    size_t dims;
    uint64_t shape[4]; // shape[0]: rows so far
};

// In a folder of output files; shape[0] of `shape` is not read.
bool npy_out_open(struct npy_out *out, struct outfolder *folder, const char *name,
                  enum npy_type type, const uint64_t *shape, size_t dims, struct error *err);
void npy_out_rows(struct npy_out *out, uint64_t rows, const void *data);
bool npy_out_commit(struct npy_out *out, struct error *err);

#endif
