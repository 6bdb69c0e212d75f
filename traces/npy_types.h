// The element types of .npy files, and what reader and writer of their headers share.
#ifndef TRACES_NPY_TYPES_H
#define TRACES_NPY_TYPES_H

#include <stdbool.h>
#include <stddef.h>

#define NPY_MAX_DIMS 4
#define NPY_PREFIX_V1 10 // bytes before a version 1 header: magic 6, version 2, header length 2

extern const char npy_magic[6];

enum npy_type {
    NPY_U8,
    NPY_U16,
    NPY_U32,
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

const char *npy_type_name(enum npy_type type);
size_t npy_type_bytes(enum npy_type type);
static inline bool npy_is_integer(enum npy_type type)
{
    return type < NPY_F16;
}

#endif
