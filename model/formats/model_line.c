// What --model takes: a preset, a file of ours, or a published configuration.
#include "model/moe.h"

#include "model/formats/model_config.h"

#include <assert.h>

#define ROWS_MAX 32 // above those of moe_fields

bool moe_load(const char *what, struct moe *moe, struct provenance *provenance, struct error *err)
{
    bool seen[ROWS_MAX] = {false};
    struct object_reader reader = moe_reader;
    struct object_reading reading = {
        .reader = &reader, .object = moe, .provenance = provenance, .seen = seen, .err = err};
    assert(moe_field_count <= ROWS_MAX);
    reader.is_foreign = model_config_is;
    reader.read_foreign = model_config_read;
    *moe = moe_default();
    return object_load(&reading, what);
}
