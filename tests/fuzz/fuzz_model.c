// Published configurations of models, and what modelopt writes beside them.
#include "base/mem.h"
#include "model/moe.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

static void write_plain_config(void)
{
    static const char config[] =
        "{\"model_type\": \"x\", \"hidden_size\": 64, \"num_hidden_layers\": 8, \"num_experts\": "
        "16, "
        "\"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32, \"first_k_dense_replace\": 1}";
    fuzz_write("config.json", config, strlen(config));
}

// What was read must be what a check takes, and print as it reads.
static void load_checked(const char *path)
{
    struct error err;
    struct moe moe;
    if (moe_load(path, &moe, NULL, &err) && !moe_check(&moe, &err))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    struct moe moe;
    char *change =
        mem_format("deepseek-v3:%.*s", (int)(size < 200 ? size : 200), (const char *)data);
    fuzz_write("model.json", data, size);
    load_checked(fuzz_path("model.json"));
    write_plain_config();
    fuzz_write("hf_quant_config.json", data, size);
    load_checked(fuzz_path("config.json"));
    moe_load(change, &moe, NULL, &err);
    free(change);
    return 0;
}
