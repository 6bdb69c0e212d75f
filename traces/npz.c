#include "traces/npz.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

// NumPy's headers are 128 bytes for any shape that is read here.
#define HEADER_ROOM 4096

static bool parse_start(struct npy *array, const char *name, const struct zip *zip,
                        const struct zip_member *member, size_t *header, struct error *err)
{
    unsigned char start[HEADER_ROOM];
    size_t count = sizeof start;
    if (!zip_read_start(zip, member, start, &count, err))
        return false;
    return npy_begins(start, count)
               ? npy_parse_header(array, name, start, count, member->bytes, header, err)
               : error_set(err, EXIT_INPUT, "%s: not a .npy file", name);
}

bool npz_open(struct npy *array, const struct zip *zip, const struct zip_member *member,
              struct error *err)
{
    size_t header;
    char *name = mem_format("%s: %s", zip->name, member->name);
    const bool ok = parse_start(array, name, zip, member, &header, err);
    free(name);
    if (!ok)
        return false;
    const uint64_t whole = header + npy_data_bytes(array);
    if (whole == member->bytes)
        return true;
    error_set(err, EXIT_INPUT,
              "%s: its header takes %" PRIu64 " bytes with its data, the archive says %" PRIu64,
              array->path, whole, member->bytes);
    npy_release(array);
    return false;
}

bool npz_read(struct npy *array, const struct zip *zip, const struct zip_member *member,
              void **owned, struct error *err)
{
    const unsigned char *bytes;
    if (!zip_read(zip, member, &bytes, owned, err))
        return false;
    array->data = bytes + (member->bytes - npy_data_bytes(array)); // npz_open made sure
    return true;
}
