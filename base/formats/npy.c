#include "base/formats/npy.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_V2 12 // magic 6, version 2, header length 4

const char npy_magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

// clang-format off
const struct npy_type_row npy_types[NPY_TYPES] = {
    [NPY_U8] = {"u8", "u1", 1},   [NPY_U16] = {"u16", "u2", 2}, [NPY_U32] = {"u32", "u4", 4},
    [NPY_U64] = {"u64", "u8", 8}, [NPY_I8] = {"i8", "i1", 1},   [NPY_I16] = {"i16", "i2", 2},
    [NPY_I32] = {"i32", "i4", 4}, [NPY_I64] = {"i64", "i8", 8},
    [NPY_F16] = {"f16", "f2", 2}, [NPY_F32] = {"f32", "f4", 4}, [NPY_F64] = {"f64", "f8", 8},
};
// clang-format on

uint64_t npy_count(const struct npy *npy)
{
    uint64_t count = 1;
    for (size_t i = 0; i < npy->dims; i++)
        count *= npy->shape[i];
    return count;
}

void npy_release(struct npy *npy)
{
    mapped_release(&npy->mapped);
    free(npy->path);
    *npy = (struct npy){0};
}

void npy_forget(const struct npy *npy, uint64_t first, uint64_t last)
{
    const size_t bytes = npy_types[npy->type].bytes;
    assert(first <= last && last <= npy_count(npy));
    if (npy->mapped.bytes) {
        const size_t start = (size_t)((const unsigned char *)npy->data - npy->mapped.bytes);
        mapped_forget(&npy->mapped, start + first * bytes, start + last * bytes);
    }
}

// --- the header: a Python dictionary with three known keys -------------------------------------

struct scanner {
    const char *at, *end;
};

static void skip_spaces(struct scanner *scan)
{
    while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) && *scan->at)
        scan->at++;
}

// Takes one character, after spaces, if it is the next.
static bool take_char(struct scanner *scan, char wanted)
{
    skip_spaces(scan);
    if (scan->at == scan->end || *scan->at != wanted)
        return false;
    scan->at++;
    return true;
}

// A quoted string without escapes, into text; false when it is none or too long.
static bool take_string(struct scanner *scan, char *text, size_t bytes)
{
    char quote = '\'';
    if (!take_char(scan, quote)) {
        quote = '"';
        if (!take_char(scan, quote))
            return false;
    }
    const char *close = memchr(scan->at, quote, (size_t)(scan->end - scan->at));
    if (!close || (size_t)(close - scan->at) >= bytes)
        return false;
    const size_t length = (size_t)(close - scan->at);
    memcpy(text, scan->at, length);
    text[length] = '\0';
    scan->at = close + 1;
    return true;
}

static bool take_word(struct scanner *scan, const char *word)
{
    skip_spaces(scan);
    const size_t length = strlen(word);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0)
        return false;
    scan->at += length;
    return true;
}

static bool refuse_file(const struct npy *npy, struct error *err, const char *what)
{
    return error_set(err, EXIT_INPUT, "%s: %s", npy->path, what);
}

static bool parse_descr(struct npy *npy, struct scanner *scan, struct error *err)
{
    char descr[16], quoted[ERROR_QUOTE_BYTES];
    skip_spaces(scan);
    if (scan->at < scan->end && *scan->at == '[')
        return refuse_file(npy, err, "descr: a structured dtype; expected one plain number type");
    if (!take_string(scan, descr, sizeof descr))
        return refuse_file(npy, err, "descr: expected a quoted dtype");
    for (size_t i = 0; i < NPY_TYPES; i++) {
        if (!descr[0] || strcmp(descr + 1, npy_types[i].descr) != 0)
            continue;
        if (descr[0] == '>' && npy_types[i].bytes > 1)
            return error_set(err, EXIT_INPUT, "%s: descr: '%s': big-endian; expected '<%s'",
                             npy->path, descr, npy_types[i].descr);
        if (descr[0] != '<' && npy_types[i].bytes > 1)
            break;
        npy->type = (enum npy_type)i;
        return true;
    }
    return error_set(err, EXIT_INPUT,
                     "%s: descr: '%s': expected |u1, |i1, <u2, <u4, <u8, <i2, <i4, <i8, <f2, "
                     "<f4 or <f8",
                     npy->path, error_quote(descr, quoted));
}

static bool parse_order(struct npy *npy, struct scanner *scan, struct error *err)
{
    if (take_word(scan, "False"))
        return true;
    if (take_word(scan, "True"))
        return refuse_file(npy, err,
                           "fortran_order: True; expected C order "
                           "(save with numpy.ascontiguousarray)");
    return refuse_file(npy, err, "fortran_order: expected True or False");
}

static bool take_count(struct scanner *scan, uint64_t *value)
{
    skip_spaces(scan);
    const char *first = scan->at;
    *value = 0;
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(*scan->at - '0'), value))
            return false;
    return scan->at > first;
}

static bool parse_npy_shape(struct npy *npy, struct scanner *scan, struct error *err)
{
    if (!take_char(scan, '('))
        return refuse_file(npy, err, "shape: expected a tuple");
    npy->dims = 0;
    while (!take_char(scan, ')')) {
        uint64_t extent;
        if (!take_count(scan, &extent))
            return refuse_file(npy, err, "shape: expected whole numbers below 2^64");
        if (npy->dims == NPY_MAX_DIMS)
            return refuse_file(npy, err, "shape: more than 4 dimensions");
        npy->shape[npy->dims++] = extent;
        if (!take_char(scan, ',')) {
            if (!take_char(scan, ')'))
                return refuse_file(npy, err, "shape: expected ',' or ')'");
            break;
        }
    }
    return true;
}

static const struct {
    const char *key;
    bool (*parse)(struct npy *npy, struct scanner *scan, struct error *err);
} header_keys[] = {
    {"descr", parse_descr}, {"fortran_order", parse_order}, {"shape", parse_npy_shape}};
#define HEADER_KEYS (sizeof header_keys / sizeof header_keys[0])

// One "'key': value" of the dictionary; sets its bit in *seen.
static bool parse_pair(struct npy *npy, struct scanner *scan, unsigned *seen, struct error *err)
{
    char key[32], quoted[ERROR_QUOTE_BYTES];
    if (!take_string(scan, key, sizeof key) || !take_char(scan, ':'))
        return refuse_file(npy, err, "header: expected 'key': value");
    for (size_t i = 0; i < HEADER_KEYS; i++) {
        if (strcmp(key, header_keys[i].key) != 0)
            continue;
        if (*seen & 1u << i)
            return error_set(err, EXIT_INPUT, "%s: header: '%s' stands twice", npy->path, key);
        *seen |= 1u << i;
        return header_keys[i].parse(npy, scan, err);
    }
    return error_set(err, EXIT_INPUT, "%s: header: unknown key '%s'", npy->path,
                     error_quote(key, quoted));
}

static bool parse_header(struct npy *npy, struct scanner scan, struct error *err)
{
    unsigned seen = 0;
    if (!take_char(&scan, '{'))
        return refuse_file(npy, err, "header: expected a dictionary");
    while (!take_char(&scan, '}')) {
        if (!parse_pair(npy, &scan, &seen, err))
            return false;
        if (!take_char(&scan, ',')) {
            if (!take_char(&scan, '}'))
                return refuse_file(npy, err, "header: expected ',' or '}'");
            break;
        }
    }
    for (size_t i = 0; i < HEADER_KEYS; i++)
        if (!(seen & 1u << i))
            return error_set(err, EXIT_INPUT, "%s: header: no '%s'", npy->path, header_keys[i].key);
    return true;
}

// --- opening -----------------------------------------------------------------------------------

// Finds the header's text, and where the data begin.
static bool find_npy_header(struct npy *npy, const unsigned char *bytes, size_t length,
                            struct scanner *scan, struct error *err)
{
    const size_t start = length > 6 && bytes[6] == 1 ? NPY_PREFIX_V1 : PREFIX_V2;
    if (memcmp(bytes, npy_magic, length < sizeof npy_magic ? length : sizeof npy_magic) != 0)
        return refuse_file(npy, err, "not a .npy file (no NumPy magic)");
    if (length < start)
        return refuse_file(npy, err, "truncated in its header");
    if (bytes[6] < 1 || bytes[6] > 3)
        return error_set(err, EXIT_INPUT, "%s: .npy version %d; expected 1, 2 or 3", npy->path,
                         bytes[6]);
    size_t header = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (start == PREFIX_V2)
        header |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (header > length - start)
        return refuse_file(npy, err, "truncated in its header");
    npy->data = bytes + start + header;
    *scan = (struct scanner){(const char *)bytes + start, npy->data};
    return true;
}

uint64_t npy_data_bytes(const struct npy *npy)
{
    return npy_count(npy) * npy_types[npy->type].bytes;
}

static bool check_data_bytes(const struct npy *npy, uint64_t have, struct error *err)
{
    uint64_t need = npy_types[npy->type].bytes;
    for (size_t i = 0; i < npy->dims; i++)
        if (__builtin_mul_overflow(need, npy->shape[i] ? npy->shape[i] : 1, &need))
            return refuse_file(npy, err, "shape: its size overflows 64 bits");
    need = npy_data_bytes(npy);
    if (have < need)
        return error_set(err, EXIT_INPUT,
                         "%s: truncated: the shape needs %" PRIu64 " bytes of data, the file has "
                         "%" PRIu64,
                         npy->path, need, have);
    return true;
}

bool npy_begins(const void *bytes, size_t length)
{
    return length >= sizeof npy_magic && memcmp(bytes, npy_magic, sizeof npy_magic) == 0;
}

// Of a file of `total` bytes, whose first `length` are here.
static bool parse_npy(struct npy *npy, const unsigned char *bytes, size_t length, uint64_t total,
                      struct error *err)
{
    struct scanner scan = {0};
    return find_npy_header(npy, bytes, length, &scan, err) && parse_header(npy, scan, err) &&
           check_data_bytes(npy, total - (size_t)((const unsigned char *)npy->data - bytes), err);
}

bool npy_parse(struct npy *npy, const char *name, const void *bytes, size_t length,
               struct error *err)
{
    *npy = (struct npy){.path = mem_copy_text(name)};
    if (parse_npy(npy, bytes, length, length, err))
        return true;
    npy_release(npy);
    return false;
}

bool npy_parse_header(struct npy *npy, const char *name, const void *bytes, size_t length,
                      uint64_t total, size_t *header, struct error *err)
{
    *npy = (struct npy){.path = mem_copy_text(name)};
    if (!parse_npy(npy, bytes, length, total, err)) {
        npy_release(npy);
        return false;
    }
    *header = (size_t)((const unsigned char *)npy->data - (const unsigned char *)bytes);
    npy->data = NULL;
    return true;
}

bool npy_open(struct npy *npy, const char *path, struct error *err)
{
    *npy = (struct npy){.path = mem_copy_text(path)};
    if (mapped_open(&npy->mapped, path, err) &&
        parse_npy(npy, npy->mapped.bytes, npy->mapped.length, npy->mapped.length, err))
        return true;
    npy_release(npy);
    return false;
}

// --- elements ----------------------------------------------------------------------------------

union element {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
};

// Copied out: the header of a foreign file need not align its data.
static union element load_element(const struct npy *npy, uint64_t index)
{
    union element element;
    const size_t bytes = npy_types[npy->type].bytes;
    memcpy(&element, (const char *)npy->data + index * bytes, bytes);
    return element;
}

int64_t npy_int(const struct npy *npy, uint64_t index)
{
    const union element element = load_element(npy, index);
    switch (npy->type) {
    case NPY_U8:
        return element.u8;
    case NPY_U16:
        return element.u16;
    case NPY_U32:
        return element.u32;
    case NPY_I8:
        return element.i8;
    case NPY_I16:
        return element.i16;
    case NPY_I32:
        return element.i32;
    case NPY_U64: // the bits of an i64
    case NPY_I64:
        return element.i64;
    default:
        assert(false && "npy_int on a floating-point array");
        return 0;
    }
}

// IEEE 754 binary16, by hand: not every compiler that builds epsim has _Float16.
static double half_value(uint16_t bits)
{
    const double sign = bits & 0x8000u ? -1.0 : 1.0;
    const int exponent = bits >> 10 & 0x1f;
    const int fraction = bits & 0x3ff;
    if (exponent == 0x1f)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0)
        return sign * ldexp(fraction, -24);
    return sign * ldexp(fraction + 0x400, exponent - 25);
}

double npy_real(const struct npy *npy, uint64_t index)
{
    const union element element = load_element(npy, index);
    switch (npy->type) {
    case NPY_F16:
        return half_value(element.u16);
    case NPY_F32:
        return (double)element.f32;
    case NPY_F64:
        return element.f64;
    default:
        return (double)npy_int(npy, index);
    }
}

// --- written -----------------------------------------------------------------------------------

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
