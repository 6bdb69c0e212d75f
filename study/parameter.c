#include "study/parameter.h"

#include "base/mem.h"
#include "study/reads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const parameter_part_names[] = {"clusters", "dispatchers", "kernels", NULL};

static void put_member(const struct field *field, void *object, double value)
{
    char *member = (char *)object + field->offset;
    if (field->kind == FIELD_TIME)
        *(uint64_t *)(void *)member = (uint64_t)llround(value);
    else
        *(double *)(void *)member = value;
}

double parameter_get(const struct field *field, const void *object)
{
    const char *member = (const char *)object + field->offset;
    double real;
    uint64_t whole;
    if (field->kind != FIELD_TIME)
        return memcpy(&real, member, sizeof real), real;
    return memcpy(&whole, member, sizeof whole), (double)whole;
}

double parameter_parse(const struct field *field, const char *text)
{
    union parameter_object object;
    struct error err;
    return field_parse(field, text, &object, &err) ? parameter_get(field, &object) : NAN;
}

char *parameter_print(const struct parameter *parameter, double value, int digits, char *buffer)
{
    static const struct {
        double scale;
        const char *unit;
    } shown[] = {[FIELD_RATE] = {1e-9, "GB/s"},
                 [FIELD_TIME] = {1e-6, "us"},
                 [FIELD_FLOPS] = {1e-12, "TFLOPS"},
                 [FIELD_NUMBER] = {1, ""}};
    const enum field_kind kind = parameter->keys[0]->kind;
    snprintf(buffer, FIELD_TEXT_BYTES, "%.*g%s", digits, value * shown[kind].scale,
             shown[kind].unit);
    return buffer;
}

char *parameter_format(const struct parameter *parameter, double value, char *buffer)
{
    return parameter_print(parameter, value, 5, buffer);
}

const struct field *parameter_field(enum parameter_part part, const char *key)
{
    return part == PART_CLUSTER   ? field_find(cluster_fields, cluster_field_count, key)
           : part == PART_KERNELS ? field_find(kernels_fields, kernels_field_count, key)
                                  : cost_key(key);
}

const struct field *parameter_row(const struct field *field, const struct dispatcher *dispatcher)
{
    const struct cost_model *model = dispatcher->cost_model;
    return field_find(model->fields, model->field_count, field->key);
}

double parameter_value(enum parameter_part part, const struct field *field,
                       const struct scenario *scenario)
{
    if (part == PART_CLUSTER)
        return parameter_get(field, &scenario->cluster);
    if (part == PART_KERNELS)
        return parameter_get(field, &scenario->kernels);
    const struct field *row = parameter_row(field, &scenario->dispatcher);
    return row ? parameter_get(row, &scenario->dispatcher) : 0;
}

bool parameter_is_of(const struct parameter *parameter, const char *name)
{
    const size_t length = strlen(name);
    for (size_t i = 0; i < parameter->presets.count; i++) {
        const char *preset = parameter->presets.of[i];
        if (!strncmp(preset, name, length) &&
            (!preset[length] || (parameter->part != PART_CLUSTER && preset[length] == '@')))
            return true;
    }
    return false;
}

bool parameter_same_key(const struct parameter *a, const struct parameter *b)
{
    for (int k = 0; k < PARAMETER_KEYS * PARAMETER_KEYS; k++)
        if (a->keys[k / 2] && a->keys[k / 2] == b->keys[k % 2])
            return a->part == b->part;
    return false;
}

// Whether the preset that says the key, NAME or its variant for the GPU, is one of the
// parameter's; the base of kernels says what they do not.
static bool says_kernels_key(const struct parameter *parameter, const struct field *field,
                             const struct scenario *scenario)
{
    const struct kernels *kernels = &scenario->kernels;
    const size_t row = (size_t)(field - kernels_fields);
    const char *who = kernels->from_base[row] ? kernels->base : kernels->name;
    char *name = mem_format(kernels->variant[row] ? "%s@%s" : "%s", who, scenario->cluster.gpu);
    const bool named = names_have(&parameter->presets, name);
    free(name);
    return named;
}

// Whether the phase reads the key (study/reads.h), and its key is what the parameter moves: the
// preset's own, or its variant's.
static bool depends(const struct parameter *parameter, const struct field *field,
                    const struct scenario *scenario, enum phase phase)
{
    const struct dispatcher *dispatcher = &scenario->dispatcher;
    const struct measured_row row = {.phase = phase,
                                     .without = scenario->def.left_out,
                                     .kernel = scenario->def.kernel,
                                     .nodes = scenario->cluster.nodes,
                                     .gpus_per_node = scenario->cluster.gpus_per_node};
    const struct reads reads = {
        .row = &row, .cluster = &scenario->cluster, .dispatcher = dispatcher};
    char cluster[FIELD_TEXT_BYTES];
    if (!field)
        return false;
    if (parameter->part == PART_CLUSTER)
        return reads_cluster(&reads, field) &&
               names_have(&parameter->presets, scenario->cluster.name);
    if (parameter->part == PART_KERNELS)
        return reads_kernels(&reads, field) && says_kernels_key(parameter, field, scenario);
    const struct field *own = parameter_row(field, dispatcher);
    if (!own || !reads_dispatcher(&reads, own))
        return false;
    const uint8_t variant = dispatcher->variant[own - dispatcher->cost_model->fields];
    if (variant == VARIANT_NONE && !parameter->asked)
        return names_have(&parameter->presets, dispatcher->name);
    const enum dispatcher_variant which = parameter->asked ? VARIANT_CLUSTER : variant;
    char *name = mem_format("%s@%s", dispatcher->name,
                            which == VARIANT_VERSION
                                ? dispatcher->version_variant
                                : dispatcher_variant_name(which, &scenario->cluster, cluster));
    const bool named = names_have(&parameter->presets, name);
    free(name);
    return named;
}

uint8_t parameter_depends(const struct parameter *parameter, const struct scenario *scenario,
                          enum phase phase)
{
    unsigned on = 0;
    for (int k = 0; k < PARAMETER_KEYS; k++)
        on |= depends(parameter, parameter->keys[k], scenario, phase) ? 1u << k : 0;
    return (uint8_t)on;
}

uint8_t parameter_depends_moving(const struct parameter *parameter, const struct scenario *scenario)
{
    return parameter_depends(parameter, scenario, PHASE_DISPATCH) |
           parameter_depends(parameter, scenario, PHASE_COMBINE);
}

void parameter_put(const struct parameter *parameter, uint8_t on, double value,
                   struct scenario *scenario)
{
    struct dispatcher *dispatcher = &scenario->dispatcher;
    for (int k = 0; k < PARAMETER_KEYS; k++)
        if (on & 1u << k && parameter->part == PART_CLUSTER)
            put_member(parameter->keys[k], &scenario->cluster, value);
        else if (on & 1u << k && parameter->part == PART_KERNELS)
            put_member(parameter->keys[k], &scenario->kernels, value);
        else if (on & 1u << k)
            put_member(parameter_row(parameter->keys[k], dispatcher), dispatcher, value);
}

void parameter_release(struct parameter *parameter)
{
    names_release(&parameter->presets);
    names_release(&parameter->words);
    *parameter = (struct parameter){0};
}
