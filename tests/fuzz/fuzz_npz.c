// ZIP archives from memory, every member read.
#include "tests/fuzz/fuzz.h"
#include "base/formats/npy.h"
#include "traces/zip.h"

#include <string.h>

static volatile double sink; // so that reads are not left out

static void read_member(const struct zip *zip, const struct zip_member *member)
{
    const unsigned char *bytes;
    void *owned;
    struct error err;
    struct npy npy;
    if (!zip_read(zip, member, &bytes, &owned, &err))
        return;
    for (uint64_t i = 0; i < member->bytes && i < 65536; i++)
        sink += bytes[i] + bytes[member->bytes - 1 - i];
    if (npy_parse(&npy, member->name, bytes, member->bytes, &err))
        npy_release(&npy);
    free(owned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zip zip;
    struct error err;
    uint8_t *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, data, size);
    if (zip_open(&zip, "x.npz", exact, size, &err)) {
        for (size_t i = 0; i < zip.count && i < 16; i++)
            read_member(&zip, &zip.members[i]);
        zip_find(&zip, "routed_experts.npy");
        zip_release(&zip);
    }
    free(exact);
    return 0;
}
