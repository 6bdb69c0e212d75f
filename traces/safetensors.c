#include "traces/safetensors.h"

#include "base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX 8
#define HEADER_MAX 100000000u
#define DIMS_MAX 4

static const struct {
    const char *name;
    enum npy_type type;
} dtypes[] = {{"U8", NPY_U8},   {"I16", NPY_I16}, {"U16", NPY_U16},
              {"I32", NPY_I32}, {"U32", NPY_U32}, {"I64", NPY_I64},
              {"F16", NPY_F16}, {"F32", NPY_F32}, {"F64", NPY_F64}};
#define DTYPES (sizeof dtypes / sizeof dtypes[0])

// One file being read.
struct reader {
    const char *name;
    const unsigned char *data;
    uint64_t data_bytes;
};

static uint64_t header_bytes(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (unsigned i = PREFIX; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

bool safetensors_begins(const void *bytes, size_t length)
{
    return length > PREFIX && ((const char *)bytes)[PREFIX] == '{' &&
           header_bytes(bytes) <= HEADER_MAX;
}

static bool refuse_tensors(const struct reader *reader, const char *tensor, struct error *err,
                           const char *what)
{
    char quoted[ERROR_QUOTE_BYTES];
    return error_set(err, EXIT_INPUT, "%s: %s: %s", reader->name, error_quote(tensor, quoted),
                     what);
}

static bool read_tensor_type(const struct reader *reader, const char *name, const json_t *value,
                             struct npy *array, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES], tensor[ERROR_QUOTE_BYTES];
    const char *text = json_string_value(json_object_get(value, "dtype"));
    for (size_t i = 0; text && i < DTYPES; i++)
        if (!strcmp(text, dtypes[i].name)) {
            array->type = dtypes[i].type;
            return true;
        }
    return error_set(err, EXIT_INPUT, "%s: %s: dtype '%s': expected U8, I16, ... or F64",
                     reader->name, error_quote(name, tensor),
                     error_quote(text ? text : "", quoted));
}

static bool read_tensor_shape(const struct reader *reader, const char *name, const json_t *value,
                              struct npy *array, struct error *err)
{
    const json_t *shape = json_object_get(value, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > DIMS_MAX)
        return refuse_tensors(reader, name, err, "shape: expected a list of up to 4 numbers");
    array->dims = json_array_size(shape);
    for (size_t i = 0; i < array->dims; i++) {
        const json_t *extent = json_array_get(shape, i);
        if (!json_is_integer(extent) || json_integer_value(extent) < 0)
            return refuse_tensors(reader, name, err, "shape: expected whole numbers");
        array->shape[i] = (uint64_t)json_integer_value(extent);
    }
    return true;
}

static bool read_tensor_place(const struct reader *reader, const char *name, const json_t *value,
                              struct npy *array, struct error *err)
{
    char quoted[ERROR_QUOTE_BYTES];
    const json_t *offsets = json_object_get(value, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return refuse_tensors(reader, name, err, "data_offsets: expected [first, end]");
    const uint64_t from = (uint64_t)json_integer_value(first),
                   end = (uint64_t)json_integer_value(last);
    uint64_t need = npy_types[array->type].bytes;
    bool fits = end <= reader->data_bytes;
    for (size_t i = 0; i < array->dims; i++)
        fits = fits && !__builtin_mul_overflow(need, array->shape[i], &need);
    if (!fits || need != end - from)
        return error_set(err, EXIT_INPUT,
                         "%s: %s: data_offsets [%" PRIu64 ", %" PRIu64
                         "]: expected the shape's bytes, inside the file's %" PRIu64 " of data",
                         reader->name, error_quote(name, quoted), from, end, reader->data_bytes);
    array->data = reader->data + from;
    return true;
}

static bool read_tensors(struct safetensors *file, const struct reader *reader,
                         const json_t *header, struct error *err)
{
    const char *name;
    json_t *value;
    file->tensors = mem_alloc(json_object_size(header), sizeof *file->tensors);
    json_object_foreach((json_t *)(uintptr_t)header, name, value)
    {
        if (!strcmp(name, "__metadata__"))
            continue;
        struct tensor *tensor = &file->tensors[file->count++];
        tensor->name = mem_copy_text(name);
        if (!json_is_object(value))
            return refuse_tensors(reader, name, err, "expected {dtype, shape, data_offsets}");
        if (!read_tensor_type(reader, name, value, &tensor->array, err) ||
            !read_tensor_shape(reader, name, value, &tensor->array, err) ||
            !read_tensor_place(reader, name, value, &tensor->array, err))
            return false;
    }
    return true;
}

bool safetensors_open(struct safetensors *file, const char *name, const void *bytes, size_t length,
                      struct error *err)
{
    json_error_t where;
    *file = (struct safetensors){0};
    if (length < PREFIX || header_bytes(bytes) > HEADER_MAX ||
        header_bytes(bytes) > length - PREFIX)
        return error_set(err, EXIT_INPUT, "%s: not a safetensors file, or truncated in its header",
                         name);
    const size_t header = header_bytes(bytes);
    const char *text = (const char *)bytes + PREFIX;
    const struct reader reader = {.name = name,
                                  .data = (const unsigned char *)text + header,
                                  .data_bytes = length - PREFIX - header};
    json_t *root = json_loadb(text, header, JSON_REJECT_DUPLICATES, &where);
    bool ok = json_is_object(root);
    if (!ok)
        error_set(err, EXIT_INPUT, "%s: header: byte %d: %s", name, PREFIX + where.position,
                  root ? "expected an object" : where.text);
    ok = ok && read_tensors(file, &reader, root, err);
    json_decref(root);
    if (!ok)
        safetensors_release(file);
    return ok;
}

void safetensors_release(struct safetensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        free(file->tensors[i].name);
    free(file->tensors);
    *file = (struct safetensors){0};
}
