// The whole of `epsim trace import`: any file, or one as a rank's statistics, detected, read,
// judged and written; what was written is a trace that opens.
#include "tests/fuzz/fuzz.h"
#include "traces/import.h"
#include "traces/safetensors.h"
#include "traces/trace.h"

#include <string.h>

static const char meta[] = "{\"num_experts\": 8, \"num_experts_per_token\": 2}";

static void write_input(const uint8_t *data, size_t size)
{
    const char *model = "name: tiny\nhidden: 64\nexperts: 8\ntopk: 2\ngroups: 4\ntopk_groups: 2\n"
                        "intermediate: 32\nlayers: 4\ndense_layers: 1\n";
    fuzz_write("model.yaml", model, strlen(model));
    if (!safetensors_begins(data, size)) {
        fuzz_write("x", data, size);
        return;
    }
    mkdir(fuzz_path("x"), 0755);
    fuzz_write("x/meta_info.json", meta, strlen(meta));
    fuzz_write(size % 2 ? "x/rank0.safetensors" : "x/rank0_raw.safetensors", data, size);
}

// Whether the input may hold counts of thousands of tokens, which are slow to sample: those are
// only drawn from.
static bool may_be_large(const uint8_t *data, size_t size)
{
    size_t digits = 0;
    if (safetensors_begins(data, size))
        return size % 2;
    if (npy_begins(data, size))
        return !memmem(data, size < 128 ? size : 128, "'descr': '|u1'", 14);
    for (size_t i = 0; i < size && digits < 4; i++) {
        const bool exponent = digits > 0 && (data[i] == 'e' || data[i] == 'E');
        digits = exponent ? 4 : data[i] >= '0' && data[i] <= '9' ? digits + 1 : 0;
    }
    return digits >= 4;
}

static void import(const struct import_def *def)
{
    struct import_report report;
    struct error err = {0};
    struct trace trace;
    if (!trace_import(def, &report, &err)) {
        if (strchr(err.text, '\n') || access(def->folder, F_OK) == 0)
            abort();
        return;
    }
    if (!trace_open(&trace, def->folder, &err))
        abort();
    trace_release(&trace);
    fuzz_remove(def->folder);
}

static void import_unless(bool large, const struct import_def *def)
{
    if (!large)
        import(def);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    write_input(data, size);
    const char *const input = fuzz_path("x");
    const bool statistics = safetensors_begins(data, size);
    struct import_def def = {.inputs = &input,
                             .input_count = 1,
                             .folder = fuzz_path("out"),
                             .model = statistics && size % 3 ? "" : fuzz_path("model.yaml"),
                             .shape = size % 2 ? "5,2" : "",
                             .source = "",
                             .licence = "",
                             .order = size % 5 ? IMPORT_REQUESTS : IMPORT_POSITIONS,
                             .ranks = 2,
                             .seed = 1};
    import_unless(may_be_large(data, size), &def);
    def.shape = "";
    import_unless(may_be_large(data, size), &def);
    def.tokens = 4;
    import(&def);
    fuzz_remove(input);
    return 0;
}
