// NumPy .npy files, memory-mapped and never copied whole.
#ifndef TRACES_NPY_H
#define TRACES_NPY_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum npy_type { NPY_U8, NPY_U16, NPY_U32, NPY_I32, NPY_I64, NPY_F16, NPY_F32, NPY_F64 };

struct npy {
    char *path;
    enum npy_type type;
    size_t dims;
    uint64_t shape[4];
    const void *data; // C order, little-endian
    void *map;
    size_t map_bytes;
};

// Maps a version 1, 2 or 3 file read-only. Refuses (EXIT_INPUT, "path: ..."): missing file,
// directory, empty file, not .npy, a header that does not parse, Fortran order, big-endian or
// another dtype, more than 4 dimensions, data shorter than the shape says (says both sizes), a
// shape that overflows.
bool npy_open(struct npy *npy, const char *path, struct error *err);
void npy_release(struct npy *npy);

// Elements from first up to last are not wanted soon: their pages leave memory, and come back from
// the file when they are read after all. Any thread, at any time.
void npy_forget(const struct npy *npy, uint64_t first, uint64_t last);

uint64_t npy_count(const struct npy *npy); // product of the shape
const char *npy_type_name(enum npy_type type);

// Element i as an integer (integer types only), or as a double.
int64_t npy_int(const struct npy *npy, uint64_t index);
double npy_real(const struct npy *npy, uint64_t index);

// Writes a version 1 file, header padded to 64 bytes, through base/outfile.h.
bool npy_write(const char *path, enum npy_type type, const uint64_t *shape, size_t dims,
               const void *data, struct error *err);

#endif
