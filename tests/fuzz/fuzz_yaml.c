// YAML that people write: a trace's manifest, a load balancer's layout, a model's shape.
#include "model/layout_file.h"
#include "model/moe.h"
#include "tests/fuzz/fuzz.h"
#include "base/formats/npy.h"
#include "traces/trace.h"

#include <string.h>

static void make_folder(void)
{
    static const uint8_t ids[4 * 2 * 2] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 1, 3, 4, 6, 5, 7};
    struct error err;
    if (access(fuzz_path("expert_ids.npy"), F_OK) != 0 &&
        !npy_write(fuzz_path("expert_ids.npy"), NPY_U8, (const uint64_t[]){4, 2, 2}, 3, ids, &err))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    struct trace trace;
    struct layout layout;
    struct moe moe;
    make_folder();
    fuzz_write("trace.yaml", data, size);
    const char *path = fuzz_path("trace.yaml");
    if (trace_open(&trace, fuzz_root, &err))
        trace_release(&trace);
    const struct layout_wanted wanted = {.experts = 8, .ranks = 4, .layer = -1};
    if (layout_from_file(&layout, path, &wanted, &err))
        layout_release(&layout);
    moe_load(path, &moe, NULL, &err);
    return 0;
}
