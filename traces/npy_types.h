// What reader and writer of .npy files share. Private to traces/.
#ifndef TRACES_NPY_TYPES_H
#define TRACES_NPY_TYPES_H

#include "traces/npy.h"

#define NPY_MAX_DIMS 4
#define PREFIX_V1 10 // magic 6, version 2, header length 2

extern const char npy_magic[6];

extern const struct npy_type_row {
    const char *name;
    const char *descr; // without the byte order
    size_t bytes;
} npy_types[];

#endif
