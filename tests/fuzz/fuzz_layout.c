// Layout files of every format: all layers and one, of a known model and of none.
#include "model/layout_file.h"
#include "tests/fuzz/fuzz.h"

static void read_layouts_of(const char *path, const struct layout_wanted *wanted)
{
    struct layouts layouts;
    struct layout layout;
    struct error err;
    if (layouts_load(&layouts, path, wanted, &err)) {
        if (layouts.count == 0 || layouts.of[0].slots == 0)
            abort();
        layouts_release(&layouts);
    }
    if (wanted->experts && layout_from_file(&layout, path, wanted, &err))
        layout_release(&layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct moe moe = moe_default();
    moe.experts = 8;
    moe_place_layers(&moe, 1, 4);
    fuzz_write("x", data, size);
    const char *path = fuzz_path("x");
    read_layouts_of(path, &(struct layout_wanted){.ranks = 2, .layer = -1});
    read_layouts_of(path, &(struct layout_wanted){.experts = 8, .ranks = 2, .layer = 3});
    read_layouts_of(path,
                    &(struct layout_wanted){.experts = 8, .ranks = 2, .layer = 2, .moe = &moe});
    return 0;
}
