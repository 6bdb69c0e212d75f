#include "traces/npy_out.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

// A header of this many bytes holds any shape, so that a first one can be written over.
#define STREAM_HEADER_BYTES 192

// Spaces and a newline pad it, so that the data begin at a multiple of 64 bytes, and at `min`.
static void write_header(FILE *out, enum npy_type type, const uint64_t *shape, size_t dims, int min)
{
    char text[192];
    int length = snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                          npy_types[type].bytes == 1 ? '|' : '<', npy_types[type].descr);
    for (size_t i = 0; i < dims; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%s%" PRIu64 "%s",
                           i ? " " : "", shape[i], i + 1 < dims || dims == 1 ? "," : "");
    length += snprintf(text + length, sizeof text - (size_t)length, "), }");
    assert((size_t)length < sizeof text);

    int whole = (NPY_PREFIX_V1 + length + 1 + 63) / 64 * 64;
    whole = whole < min ? min : whole;
    fwrite(npy_magic, 1, sizeof npy_magic, out);
    fputc(1, out);
    fputc(0, out);
    fputc((whole - NPY_PREFIX_V1) & 0xff, out);
    fputc((whole - NPY_PREFIX_V1) >> 8, out);
    fprintf(out, "%-*s\n", whole - NPY_PREFIX_V1 - 1, text);
}

bool npy_write(const char *path, enum npy_type type, const uint64_t *shape, size_t dims,
               const void *data, struct error *err)
{
    assert(dims <= NPY_MAX_DIMS);
    uint64_t count = 1;
    for (size_t i = 0; i < dims; i++)
        count *= shape[i];
    struct outfile file;
    if (!outfile_open(&file, path, err))
        return false;
    write_header(file.stream, type, shape, dims, 0);
    if (count)
        fwrite(data, npy_types[type].bytes, count, file.stream);
    return outfile_commit(&file, err);
}

bool npy_out_open(struct npy_out *out, struct outfolder *folder, const char *name,
                  enum npy_type type, const uint64_t *shape, size_t dims, struct error *err)
{
    assert(dims >= 1 && dims <= NPY_MAX_DIMS);
    *out = (struct npy_out){.type = type, .dims = dims};
    for (size_t i = 1; i < dims; i++)
        out->shape[i] = shape[i];
    if (!outfolder_file(folder, name, &out->file, err))
        return false;
    write_header(out->file.stream, type, out->shape, dims, STREAM_HEADER_BYTES);
    return true;
}

void npy_out_rows(struct npy_out *out, uint64_t rows, const void *data)
{
    uint64_t row = 1;
    for (size_t i = 1; i < out->dims; i++)
        row *= out->shape[i];
    fwrite(data, npy_types[out->type].bytes, rows * row, out->file.stream);
    out->shape[0] += rows;
}

bool npy_out_commit(struct npy_out *out, struct error *err)
{
    // The flush that a seek does is where a full disk shows first.
    if (fseek(out->file.stream, 0, SEEK_SET) != 0) {
        error_set(err, EXIT_RUNTIME, "%s: %s", out->file.path, strerror(errno));
        outfile_abort(&out->file);
        return false;
    }
    write_header(out->file.stream, out->type, out->shape, out->dims, STREAM_HEADER_BYTES);
    return outfile_commit(&out->file, err);
}
