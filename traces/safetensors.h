// safetensors files, read in memory: a length (u64, little-endian), a JSON object {name: {dtype,
// shape, data_offsets}}, and the data.
#ifndef TRACES_SAFETENSORS_H
#define TRACES_SAFETENSORS_H

#include "base/error.h"
#include "base/formats/npy.h"

struct tensor {
    char *name;
    struct npy array; // path NULL; data inside the file's bytes
};

struct safetensors {
    struct tensor *tensors; // in the header's order
    size_t count;
};

// Reads every tensor's place; the bytes must outlive it. Refuses (EXIT_INPUT, "name: ..."): a
// header that runs over the end or is larger than 100 MB (the format's own limit), no JSON, a dtype
// other than U8, I16, U16, I32, U32, I64, F16, F32 and F64, more than 4 dimensions, and data
// outside the file or of another length than the shape says. Any alignment will do.
bool safetensors_open(struct safetensors *file, const char *name, const void *bytes, size_t length,
                      struct error *err);
void safetensors_release(struct safetensors *file);

// Whether the bytes begin as such a file does.
bool safetensors_begins(const void *bytes, size_t length);

#endif
