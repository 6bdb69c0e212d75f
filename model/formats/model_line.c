// What --model takes: a preset or another name of one, a file of ours, a published configuration or
// the folder that holds one, and keys changed behind any of them.
#include "model/moe.h"

#include "base/mem.h"
#include "base/preset.h"
#include "model/formats/model_config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS_MAX 32 // above those of moe_fields

// Models of another's shape, by every key of moe_fields: later versions, and those trained further.
static const struct {
    const char *name, *preset;
} other_names[] = {
    {"deepseek-r1", "deepseek-v3"},       {"deepseek-v3.1", "deepseek-v3"},
    {"deepseek-v3-0324", "deepseek-v3"},  {"deepseek-r1-0528", "deepseek-v3"},
    {"kimi-k2-instruct", "kimi-k2"},      {"kimi-k2-0905", "kimi-k2"},
    {"kimi-k2.5", "kimi-k2-thinking"},    {"minimax-m2.5", "minimax-m2"},
    {"minimax-m2.7", "minimax-m2"},       {"qwen3-coder-30b-a3b", "qwen3-30b-a3b"},
    {"qwen3-next", "qwen3-next-80b-a3b"}, {"mixtral", "mixtral-8x7b"},
    {"gpt-oss", "gpt-oss-120b"},
};

static const char *preset_of(const char *what)
{
    for (size_t i = 0; i < sizeof other_names / sizeof other_names[0]; i++)
        if (!strcmp(what, other_names[i].name) && !preset_known("models", what))
            return other_names[i].preset;
    return what;
}

// ---- folders ------------------------------------------------------------------------------------

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

// The configuration that a folder holds, as a hub's snapshot does; any other path as it is. Freed
// by the caller.
static char *path_in_folder(const char *what)
{
    static const char *const files[] = {"config.json", "params.json"};
    const size_t length = strlen(what);
    const char *slash = length && what[length - 1] == '/' ? "" : "/";
    for (size_t i = 0; is_folder(what) && i < sizeof files / sizeof files[0]; i++) {
        char *path = mem_format("%s%s%s", what, slash, files[i]);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return mem_copy_text(what);
}

static bool load_plain(struct object_reading *reading, const char *what)
{
    char *path = path_in_folder(preset_of(what));
    const bool ok = is_folder(path) ? error_set(reading->err, EXIT_INPUT,
                                                "%s: a folder with neither config.json nor "
                                                "params.json in it: expected a model's",
                                                what)
                                    : object_load(reading, path);
    free(path);
    return ok;
}

// ---- changes ------------------------------------------------------------------------------------

static bool changed_key(const struct object_reading *reading, const char *key)
{
    return reading->seen[object_row(reading, key)];
}

// A key that was not changed stays as said, unless it followed from others before; what hangs on
// the weights' format and on the counts of layers follows those that were changed.
static void keep_said(const struct object_reading *reading, bool *said)
{
    static const struct {
        const char *key, *hangs_on[2];
    } hanging[] = {{"activation_dtype", {"weight_dtype", "weight_dtype"}},
                   {"moe_layers", {"layers", "dense_layers"}}};
    const struct moe *base = reading->context;
    for (size_t row = 0; row < reading->count; row++)
        said[row] = reading->seen[row] || !moe_key_follows(base, reading->fields[row].key);
    for (size_t i = 0; i < sizeof hanging / sizeof hanging[0]; i++)
        if (changed_key(reading, hanging[i].hangs_on[0]) ||
            changed_key(reading, hanging[i].hangs_on[1]))
            said[object_row(reading, hanging[i].key)] = changed_key(reading, hanging[i].key);
}

// A shared width that was said is that of as many shared experts.
static void scale_shared(const struct object_reading *reading, const bool *said)
{
    struct moe *moe = reading->object;
    const struct moe *base = reading->context;
    if (!said[object_row(reading, "shared_intermediate")] ||
        changed_key(reading, "shared_intermediate") || !changed_key(reading, "shared_experts"))
        return;
    const uint64_t experts = base->shared_experts ? base->shared_experts : 1;
    moe->shared_intermediate =
        (uint32_t)((uint64_t)base->shared_intermediate * moe->shared_experts / experts);
}

// Values that followed have no source any more.
static void forget_sources(const struct object_reading *reading)
{
    char before[FIELD_TEXT_BYTES], after[FIELD_TEXT_BYTES];
    for (size_t row = 0; reading->provenance && row < reading->count; row++) {
        const struct field *field = &reading->fields[row];
        if (strcmp(field_format(field, reading->context, before),
                   field_format(field, reading->object, after)))
            provenance_release(&reading->provenance[row], 1);
    }
}

static void settle_changed(struct object_reading *reading)
{
    bool said[ROWS_MAX];
    struct moe *moe = reading->object;
    keep_said(reading, said);
    if (changed_key(reading, "weight_dtype") && !changed_key(reading, "weight_group"))
        moe->weight_group = 0;
    scale_shared(reading, said);
    if (changed_key(reading, "moe_layers")) {
        said[object_row(reading, "layers")] = changed_key(reading, "layers");
        said[object_row(reading, "dense_layers")] = changed_key(reading, "dense_layers");
    }
    moe_settle(moe, said);
    forget_sources(reading);
}

static bool load_changed_model(struct object_reading *reading, const char *what)
{
    char *items, quoted[ERROR_QUOTE_BYTES];
    char *name = object_split(what, &items);
    bool ok = load_plain(reading, name);
    if (ok) {
        struct moe base = *(struct moe *)reading->object;
        reading->context = &base;
        ok = (items && object_change(reading, items)) ||
             error_prefix(reading->err, "'%s'", error_quote(what, quoted));
        reading->context = NULL;
    }
    free(name);
    return ok;
}

bool moe_load(const char *what, struct moe *moe, struct provenance *provenance, struct error *err)
{
    bool seen[ROWS_MAX] = {false};
    struct object_reader reader = moe_reader;
    struct object_reading reading = {
        .reader = &reader, .object = moe, .provenance = provenance, .seen = seen, .err = err};
    assert(moe_field_count <= ROWS_MAX);
    reader.is_foreign = model_config_is;
    reader.read_foreign = model_config_read;
    reader.changed = settle_changed;
    *moe = moe_default();
    return object_says_changes(what) ? load_changed_model(&reading, what)
                                     : load_plain(&reading, what);
}
