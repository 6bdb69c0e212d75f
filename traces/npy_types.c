#include "traces/npy_types.h"

const char npy_magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

// clang-format off
const struct npy_type_row npy_types[NPY_TYPES] = {
    [NPY_U8] = {"u8", "u1", 1},   [NPY_U16] = {"u16", "u2", 2}, [NPY_U32] = {"u32", "u4", 4},
    [NPY_I16] = {"i16", "i2", 2}, [NPY_I32] = {"i32", "i4", 4}, [NPY_I64] = {"i64", "i8", 8},
    [NPY_F16] = {"f16", "f2", 2}, [NPY_F32] = {"f32", "f4", 4}, [NPY_F64] = {"f64", "f8", 8},
};
// clang-format on

const char *npy_type_name(enum npy_type type)
{
    return npy_types[type].name;
}

size_t npy_type_bytes(enum npy_type type)
{
    return npy_types[type].bytes;
}
