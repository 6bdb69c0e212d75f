// .npy from memory: whatever the header says, no element lies outside the file.
#include "tests/fuzz/fuzz.h"
#include "base/formats/npy.h"

#include <string.h>

static volatile double sink; // so that reads are not left out

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npy npy;
    struct error err;
    // A copy of the very size, so that the sanitizer sees a byte too far.
    uint8_t *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, data, size);
    if (npy_parse(&npy, "x.npy", exact, size, &err)) {
        const uint64_t count = npy_count(&npy);
        for (uint64_t i = 0; i < count && i < 4096; i++)
            sink += npy_real(&npy, i) + npy_real(&npy, count - 1 - i);
        npy_release(&npy);
    }
    free(exact);
    return 0;
}
