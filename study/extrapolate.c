#include "study/extrapolate.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct looking {
    struct extrapolation *found;
    const struct fits *fits;
    const struct scenario *scenario;
};

// Adds a phrase that is not there yet, and frees it.
static void tell(const struct looking *looking, char *phrase)
{
    names_add_once(&looking->found->reasons, phrase);
    free(phrase);
}

// "4096", or "1 to 4". buffer has FIELD_TEXT_BYTES.
static const char *span_text(const struct span *span, char *buffer)
{
    if (span->min == span->max)
        snprintf(buffer, FIELD_TEXT_BYTES, "%llu", (unsigned long long)span->min);
    else
        snprintf(buffer, FIELD_TEXT_BYTES, "%llu to %llu", (unsigned long long)span->min,
                 (unsigned long long)span->max);
    return buffer;
}

static bool outside(const struct span *span, uint64_t value)
{
    return value < span->min || value > span->max;
}

// ---- hardware and constants --------------------------------------------------------------------

// How many nodes and GPUs there are is a matter of its own, and a name is none.
static bool is_shape(const char *key)
{
    return !strcmp(key, "name") || !strcmp(key, "nodes") || !strcmp(key, "gpus_per_node") ||
           !strcmp(key, "nics_per_node");
}

// Keys that a command line changed of a preset, whose name then ends in '*'.
static char *changed_keys(const struct cluster *cluster, const char *preset)
{
    struct cluster base;
    struct error err;
    char ours[FIELD_TEXT_BYTES], theirs[FIELD_TEXT_BYTES];
    struct names keys = {0};
    if (!cluster_load(preset, &base, NULL, &err))
        return mem_copy_text("by hand"); // of a file: which keys, only its reader knows
    for (size_t i = 0; i < cluster_field_count; i++) {
        const struct field *field = &cluster_fields[i];
        if (!is_shape(field->key) &&
            strcmp(field_format(field, cluster, ours), field_format(field, &base, theirs)))
            names_add(&keys, field->key);
    }
    char *text = names_join(&keys, ", ");
    names_release(&keys);
    return text;
}

static void look_at_cluster(const struct looking *looking, const struct fitted_group *group)
{
    const struct cluster *cluster = &looking->scenario->cluster;
    char preset[FIELD_TEXT_BYTES];
    dispatcher_variant_name(VARIANT_CLUSTER, cluster, preset);
    if (!names_have(&group->clusters, preset)) {
        char *clusters = names_join(&group->clusters, ", ");
        tell(looking, mem_format("cluster %s, fitted on %s", preset, clusters));
        free(clusters);
    }
    if (strcmp(preset, cluster->name)) {
        char *keys = changed_keys(cluster, preset);
        if (*keys)
            tell(looking, mem_format("hardware changed: %s", keys));
        free(keys);
    }
}

// Whether some fit has found just this value of the key, of the scenario's cluster, or of its
// dispatcher or any variant of that: a file that --show wrote says as the dispatcher's own what a
// variant had said.
static bool is_found(const struct looking *looking, enum parameter_part part,
                     const struct field *field)
{
    const struct scenario *scenario = looking->scenario;
    const double value = parameter_value(part, field, scenario);
    const char *name = part == PART_CLUSTER ? scenario->cluster.name : scenario->dispatcher.name;
    for (size_t i = 0; i < looking->fits->count; i++)
        for (size_t p = 0; p < looking->fits->all[i].parameter_count; p++) {
            const struct parameter *parameter = &looking->fits->all[i].parameters[p];
            if (parameter->part == part && parameter->start == value &&
                (parameter->keys[0] == field || parameter->keys[1] == field) &&
                parameter_is_of(parameter, name))
                return true;
        }
    return false;
}

// Another value of a key that a fit has found, under a name that it knows, is nobody's measurement.
static void look_at_parameter(const struct looking *looking, const struct parameter *parameter)
{
    const uint8_t on = parameter_depends_moving(parameter, looking->scenario);
    const char *what = parameter->part == PART_CLUSTER ? "hardware" : "dispatcher";
    for (int k = 0; k < PARAMETER_KEYS; k++)
        if (on & 1u << k && !is_found(looking, parameter->part, parameter->keys[k]))
            tell(looking, mem_format("%s changed: %s", what, parameter->keys[k]->key));
}

// ---- sizes -------------------------------------------------------------------------------------

static void look_at_nodes(const struct looking *looking, const struct fitted_group *group)
{
    const uint32_t nodes = looking->scenario->cluster.nodes;
    const struct span span = {group->places[0].nodes, group->places[group->place_count - 1].nodes};
    char text[FIELD_TEXT_BYTES];
    if (outside(&span, nodes))
        tell(looking, mem_format("%u node%s, fitted on %s", nodes, nodes == 1 ? "" : "s",
                                 span_text(&span, text)));
}

// Sizes of places with at least so many nodes.
static struct span sizes_on(const struct fitted_group *group, uint32_t nodes)
{
    struct span sizes = {UINT64_MAX, 0};
    for (size_t i = 0; i < group->place_count; i++) {
        const struct fitted_place *place = &group->places[i];
        if (place->nodes < nodes)
            continue;
        sizes.min = place->sizes.min < sizes.min ? place->sizes.min : sizes.min;
        sizes.max = place->sizes.max > sizes.max ? place->sizes.max : sizes.max;
    }
    return sizes;
}

static uint64_t max_of(const struct scenario *scenario)
{
    const uint32_t ranks = cluster_ranks(&scenario->cluster);
    uint64_t max = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        uint64_t size = scenario->traffic ? 0 : scenario->tokens[r];
        for (uint32_t to = 0; scenario->traffic && to < ranks; to++)
            size += scenario->traffic[(size_t)r * ranks + to];
        max = size > max ? size : max;
    }
    return max;
}

// One token on two nodes and a thousand on one say little of a thousand on two.
static void look_at_sizes(const struct looking *looking, const struct fitted_group *group)
{
    const uint32_t nodes = looking->scenario->cluster.nodes;
    const uint32_t reached = group->places[group->place_count - 1].nodes;
    const uint32_t from = nodes < reached ? nodes : reached;
    const struct span all = sizes_on(group, 0), there = sizes_on(group, from);
    const uint64_t size = max_of(looking->scenario);
    const char *what = looking->scenario->traffic ? "bytes a rank" : "tokens a GPU";
    char text[FIELD_TEXT_BYTES];
    if (outside(&all, size))
        tell(looking, mem_format("%llu %s, fitted on %s", (unsigned long long)size, what,
                                 span_text(&all, text)));
    else if (outside(&there, size))
        tell(looking,
             mem_format("%llu %s on %u nodes, fitted on %s on %u or more", (unsigned long long)size,
                        what, nodes, span_text(&there, text), from));
}

static bool is_of_model(enum span_key key)
{
    return key == SPAN_EXPERTS || key == SPAN_TOPK || key == SPAN_HIDDEN;
}

static void look_at_spans(const struct looking *looking, const struct fitted_group *group)
{
    static const char *const before[SPAN_KEYS] = {[SPAN_HIDDEN] = "hidden "};
    static const char *const after[SPAN_KEYS] = {" GPUs a node", " experts", " experts a token", "",
                                                 " SMs"};
    const struct scenario *scenario = looking->scenario;
    const struct cluster *cluster = &scenario->cluster;
    const uint64_t values[SPAN_KEYS] = {cluster->gpus_per_node, scenario->moe.experts,
                                        scenario->moe.topk, scenario->moe.hidden,
                                        dispatcher_sms(&scenario->dispatcher, cluster->sms)};
    char text[FIELD_TEXT_BYTES];
    for (enum span_key key = 0; key < SPAN_KEYS; key++)
        if (group->spans[key].max && !(scenario->traffic && is_of_model(key)) &&
            outside(&group->spans[key], values[key]))
            tell(looking, mem_format("%s%llu%s, fitted on %s", before[key] ? before[key] : "",
                                     (unsigned long long)values[key], after[key],
                                     span_text(&group->spans[key], text)));
}

static void look_at_dtype(const struct looking *looking, const struct fitted_group *group)
{
    const struct moe *moe = &looking->scenario->moe;
    const enum dtype dtype =
        group->phase == PHASE_COMBINE ? moe->combine_dtype : moe->dispatch_dtype;
    if (looking->scenario->traffic || group->dtypes & 1u << dtype)
        return;
    char *known = fitted_dtypes(group->dtypes);
    tell(looking, mem_format("%s in %s, fitted on %s", phase_names[group->phase],
                             dtype_names[dtype], known));
    free(known);
}

// ---- all ---------------------------------------------------------------------------------------

static void look_at_phase(const struct looking *looking, enum phase phase)
{
    const struct scenario *scenario = looking->scenario;
    const struct fitted_group *group = fits_group(looking->fits, scenario->dispatcher.name, phase);
    if (!group) {
        tell(looking,
             mem_format("no measured rows stand behind dispatcher %s", scenario->dispatcher.name));
        return;
    }
    look_at_cluster(looking, group);
    look_at_nodes(looking, group);
    look_at_sizes(looking, group);
    look_at_spans(looking, group);
    look_at_dtype(looking, group);
}

void extrapolation_find(struct extrapolation *extrapolation, const struct fits *fits,
                        const struct scenario *scenario)
{
    const struct looking looking = {extrapolation, fits, scenario};
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (phase_moves(phase) && scenario->schedule->present[phase])
            look_at_phase(&looking, phase);
    for (size_t i = 0; i < fits->count; i++)
        for (size_t p = 0; p < fits->all[i].parameter_count; p++)
            look_at_parameter(&looking, &fits->all[i].parameters[p]);
}

void extrapolation_release(struct extrapolation *extrapolation)
{
    names_release(&extrapolation->reasons);
}

char *extrapolation_text(const struct extrapolation *extrapolation)
{
    return extrapolation->reasons.count ? names_join(&extrapolation->reasons, "; ") : NULL;
}
