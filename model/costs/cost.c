#include "model/costs/cost.h"

// FIELD_NAMED reads a name through a pointer to the object.
_Static_assert(offsetof(struct cost_model, name) == 0, "the name stands first");

const void *const cost_models[] = {&cost_stream, &cost_staged, &cost_nccl,      &cost_warps,
                                   &cost_waves,  &cost_rounds, &cost_pipelines, NULL};

const struct field *cost_key(const char *key)
{
    for (size_t m = 0; cost_models[m]; m++) {
        const struct cost_model *model = cost_models[m];
        const struct field *field = field_find(model->fields, model->field_count, key);
        if (field)
            return field;
    }
    return NULL;
}

// The tables one after another, as one list of keys.
static const char *key_of_any(const void *models, size_t index)
{
    for (const void *const *at = models; *at; at++) {
        const struct cost_model *model = *at;
        if (index < model->field_count)
            return model->fields[index].key;
        index -= model->field_count;
    }
    return NULL;
}

const char *cost_nearest_key(const char *word)
{
    size_t count = 0;
    for (size_t m = 0; cost_models[m]; m++)
        count += ((const struct cost_model *)cost_models[m])->field_count;
    return field_nearest(word, count, key_of_any, cost_models);
}
