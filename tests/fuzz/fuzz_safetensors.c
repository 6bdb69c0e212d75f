// safetensors from memory, every tensor's ends read.
#include "tests/fuzz/fuzz.h"
#include "traces/safetensors.h"

#include <string.h>

static volatile double sink; // so that reads are not left out

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors file;
    struct error err;
    uint8_t *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, data, size);
    safetensors_begins(exact, size);
    if (safetensors_open(&file, "x.safetensors", exact, size, &err)) {
        for (size_t i = 0; i < file.count; i++) {
            const uint64_t count = npy_count(&file.tensors[i].array);
            if (count)
                sink += npy_real(&file.tensors[i].array, 0) +
                        npy_real(&file.tensors[i].array, count - 1);
        }
        safetensors_release(&file);
    }
    free(exact);
    return 0;
}
