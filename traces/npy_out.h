// NumPy .npy files written, whole or row by row.
#ifndef TRACES_NPY_OUT_H
#define TRACES_NPY_OUT_H

#include "base/error.h"
#include "base/outfile.h"
#include "traces/npy.h"

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
