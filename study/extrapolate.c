#include "study/extrapolate.h"

#include "base/mem.h"
#include "base/preset.h"
#include "model/engine/compute.h"
#include "model/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct looking {
    struct extrapolation *found;
    const struct fits *fits;
    const struct scenario *scenario;
    bool outside; // for some reason
};

// Adds a phrase that is not there yet, and frees it.
static void tell(struct looking *looking, char *phrase)
{
    looking->outside = true;
    names_add_once(&looking->found->reasons, phrase);
    free(phrase);
}

// Adds a size to the reason of that phrase, which is freed or kept.
static void tell_size(struct looking *looking, uint64_t size, char *rest)
{
    struct extrapolation *found = looking->found;
    size_t at = 0;
    looking->outside = true;
    while (at < found->size_count && strcmp(found->sizes[at].rest, rest))
        at++;
    if (at == found->size_count) {
        found->sizes = mem_grow(found->sizes, found->size_count + 1, sizeof *found->sizes);
        found->sizes[found->size_count++] = (struct size_reason){rest, {size, size}};
        return;
    }
    free(rest);
    struct span *sizes = &found->sizes[at].sizes;
    sizes->min = size < sizes->min ? size : sizes->min;
    sizes->max = size > sizes->max ? size : sizes->max;
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

static bool differs(const struct field *field, const void *ours, const void *theirs)
{
    char mine[FIELD_TEXT_BYTES], base[FIELD_TEXT_BYTES];
    return strcmp(field_format(field, ours, mine), field_format(field, theirs, base)) != 0;
}

// The keys of a table whose values differ in two objects.
static void tell_changed(struct looking *looking, const char *what, const struct object_text *ours,
                         const void *theirs)
{
    struct names keys = {0};
    for (size_t i = 0; i < ours->count; i++)
        if (!is_shape(ours->fields[i].key) && differs(&ours->fields[i], ours->object, theirs))
            names_add(&keys, ours->fields[i].key);
    char *text = names_join(&keys, ", ");
    if (*text)
        tell(looking, mem_format("%s changed: %s", what, text));
    free(text);
    names_release(&keys);
}

// Of a file, only its reader knows which keys are changed; of a cluster of no preset, none are.
static void look_at_changed_cluster(struct looking *looking, const char *preset)
{
    const struct cluster *cluster = &looking->scenario->cluster;
    const struct object_text ours = {
        .fields = cluster_fields, .count = cluster_field_count, .object = cluster};
    struct cluster base;
    struct error err;
    if (!strcmp(preset, cluster->name) || !cluster_load(preset, &base, NULL, &err))
        return;
    tell_changed(looking, "hardware", &ours, &base);
    if (cluster->nics_per_node * base.gpus_per_node != base.nics_per_node * cluster->gpus_per_node)
        tell(looking, mem_format("%u NICs for %u GPUs of a node, where %s has %u for %u",
                                 cluster->nics_per_node, cluster->gpus_per_node, preset,
                                 base.nics_per_node, base.gpus_per_node));
}

static void look_at_changed_dispatcher(struct looking *looking, const char *preset)
{
    const struct dispatcher *dispatcher = &looking->scenario->dispatcher;
    const struct object_text ours = {.fields = dispatcher->cost_model->fields,
                                     .count = dispatcher->cost_model->field_count,
                                     .object = dispatcher};
    const bool versions = dispatcher->version[0];
    struct dispatcher base;
    struct error err;
    if (!strcmp(preset, dispatcher->name))
        return;
    char *word = mem_format("%s%s%s", preset, versions ? "@" : "", dispatcher->version);
    if (dispatcher_load(word, &looking->scenario->cluster, &base, NULL, &err) &&
        base.cost_model == dispatcher->cost_model)
        tell_changed(looking, "dispatcher", &ours, &base);
    else
        tell(looking, mem_copy_text("dispatcher changed: by hand"));
    free(word);
}

static void look_at_cluster(struct looking *looking, const struct fitted_group *group)
{
    const struct cluster *cluster = &looking->scenario->cluster;
    char preset[FIELD_TEXT_BYTES];
    dispatcher_variant_name(VARIANT_CLUSTER, cluster, preset);
    if (!names_have(&group->clusters, preset)) {
        char *clusters = names_join(&group->clusters, ", ");
        tell(looking, mem_format("cluster %s, fitted on %s", preset, clusters));
        free(clusters);
    }
    look_at_changed_cluster(looking, preset);
}

// Of a library's release that no row is of, or none of this cluster. Where rows of a fit say no
// version, there is nothing to look at.
static void look_at_version(struct looking *looking, const struct fitted_group *group)
{
    const struct scenario *scenario = looking->scenario;
    char version[FIELD_TEXT_BYTES], preset[FIELD_TEXT_BYTES];
    if (!group->version_count || !version_release(scenario->dispatcher.version, version))
        return;
    const struct fitted_version *known = fitted_version_of(group, version);
    struct names fitted = {0};
    dispatcher_variant_name(VARIANT_CLUSTER, &scenario->cluster, preset);
    for (size_t v = 0; !known && v < group->version_count; v++)
        names_add(&fitted, group->versions[v].version);
    char *text = names_join(known ? &known->clusters : &fitted, ", ");
    if (!known)
        tell(looking, mem_format("%s, fitted on %s", version, text));
    else if (names_have(&group->clusters, preset) && !names_have(&known->clusters, preset))
        tell(looking, mem_format("%s on cluster %s, fitted on %s", version, preset, text));
    free(text);
    names_release(&fitted);
}

// Whether some fit has found just this value of the key, of the scenario's cluster, or of its
// dispatcher or any variant of that: a file that --show wrote says as the dispatcher's own what a
// variant had said.
static bool is_found(struct looking *looking, enum parameter_part part, const struct field *field)
{
    const struct scenario *scenario = looking->scenario;
    const double value = parameter_value(part, field, scenario);
    char base[FIELD_TEXT_BYTES];
    const char *const names[PARAMETER_PARTS] = {
        [PART_CLUSTER] = scenario->cluster.name,
        [PART_DISPATCHER] = dispatcher_base_name(&scenario->dispatcher, base),
        [PART_KERNELS] = scenario->kernels.name};
    for (size_t i = 0; i < looking->fits->count; i++)
        for (size_t p = 0; p < looking->fits->all[i].parameter_count; p++) {
            const struct parameter *parameter = &looking->fits->all[i].parameters[p];
            if (parameter->part == part && parameter->start == value &&
                (parameter->keys[0] == field || parameter->keys[1] == field) &&
                parameter_is_of(parameter, names[part]))
                return true;
        }
    return false;
}

// What a version's variant says and no fit has found, a file that --show wrote says too.
static bool is_of_version(const struct scenario *scenario, const struct field *field)
{
    const struct dispatcher *ours = &scenario->dispatcher;
    const struct field *own = parameter_row(field, ours);
    char name[FIELD_TEXT_BYTES];
    struct dispatcher version;
    struct error err;
    if (!own || !ours->version[0])
        return false;
    char *word = mem_format("%s@%s", dispatcher_base_name(ours, name), ours->version);
    const bool ok = dispatcher_load(word, &scenario->cluster, &version, NULL, &err) &&
                    version.cost_model == ours->cost_model;
    free(word);
    return ok && version.variant[own - ours->cost_model->fields] == VARIANT_VERSION &&
           !differs(own, ours, &version);
}

// Another value of a key that a fit has found, under a name that it knows, is nobody's measurement.
static void look_at_parameter(struct looking *looking, const struct parameter *parameter)
{
    const uint8_t on = parameter_depends_moving(parameter, looking->scenario);
    const char *what = parameter->part == PART_CLUSTER ? "hardware" : "dispatcher";
    for (int k = 0; k < PARAMETER_KEYS; k++)
        if (on & 1u << k && !is_found(looking, parameter->part, parameter->keys[k]) &&
            (parameter->part != PART_DISPATCHER ||
             !is_of_version(looking->scenario, parameter->keys[k])))
            tell(looking, mem_format("%s changed: %s", what, parameter->keys[k]->key));
}

// ---- sizes -------------------------------------------------------------------------------------

static void look_at_nodes(struct looking *looking, const struct fitted_group *group)
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
static void look_at_sizes(struct looking *looking, const struct fitted_group *group)
{
    const uint32_t nodes = looking->scenario->cluster.nodes;
    const uint32_t reached = group->places[group->place_count - 1].nodes;
    const uint32_t from = nodes < reached ? nodes : reached;
    const struct span all = sizes_on(group, 0), there = sizes_on(group, from);
    const uint64_t size = max_of(looking->scenario);
    const char *what = looking->scenario->traffic ? "bytes a rank" : "tokens a GPU";
    char text[FIELD_TEXT_BYTES];
    if (outside(&all, size))
        tell_size(looking, size, mem_format("%s, fitted on %s", what, span_text(&all, text)));
    else if (outside(&there, size))
        tell_size(looking, size,
                  mem_format("%s on %u nodes, fitted on %s on %u or more", what, nodes,
                             span_text(&there, text), from));
}

static bool is_of_model(enum span_key key)
{
    return key == SPAN_EXPERTS || key == SPAN_TOPK || key == SPAN_HIDDEN;
}

static void look_at_spans(struct looking *looking, const struct fitted_group *group)
{
    static const char *const before[SPAN_KEYS] = {[SPAN_HIDDEN] = "hidden "};
    static const char *const after[SPAN_KEYS] = {" GPUs a node", " experts", " experts a token", "",
                                                 " SMs"};
    const struct scenario *scenario = looking->scenario;
    const struct cluster *cluster = &scenario->cluster;
    const uint64_t values[SPAN_KEYS] = {cluster->gpus_per_node, scenario->moe.experts,
                                        scenario->moe.topk, moe_expert_hidden(&scenario->moe),
                                        dispatcher_sms(&scenario->dispatcher, cluster->sms)};
    char text[FIELD_TEXT_BYTES];
    for (enum span_key key = 0; key < SPAN_KEYS; key++)
        if (group->spans[key].max && !(scenario->traffic && is_of_model(key)) &&
            outside(&group->spans[key], values[key]))
            tell(looking, mem_format("%s%llu%s, fitted on %s", before[key] ? before[key] : "",
                                     (unsigned long long)values[key], after[key],
                                     span_text(&group->spans[key], text)));
}

static void look_at_dtype(struct looking *looking, const struct fitted_group *group)
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

// The preset that constants of kernels pass for: of a file with a name of its own, its base.
static bool load_passed_for(const struct scenario *scenario, struct kernels *preset)
{
    const char *name = scenario->kernels.name, *base = scenario->kernels.base;
    struct error err;
    return kernels_load(preset_known("kernels", name) ? name : base, &scenario->cluster, preset,
                        NULL, &err);
}

// Kernels that were measured on another GPU alone, as the preset knows: a file does not tell which
// of its keys are those of the GPU. Then keys that are the file's own.
static void look_at_kernels(struct looking *looking, unsigned kernels, const struct kernels *preset)
{
    const struct scenario *scenario = looking->scenario;
    for (enum kernel_kind kind = 0; kind < KERNEL_KINDS; kind++) {
        const char *gpu = kernels_borrowed(preset, scenario->cluster.gpu, kind);
        if (kernels & 1u << kind && gpu)
            tell(looking,
                 mem_format("%s by the ratio of datasheets to %s", kernel_names[kind], gpu));
    }
    for (size_t i = 0; i < kernels_field_count; i++)
        if (kernels_fields[i].tag & kernels &&
            differs(&kernels_fields[i], &scenario->kernels, preset))
            tell(looking, mem_format("kernels changed: %s", kernels_fields[i].key));
}

static void look_at_compute(struct looking *looking)
{
    const struct scenario *scenario = looking->scenario;
    const unsigned kernels = compute_kernels(scenario->schedule);
    struct kernels preset;
    if (kernels && load_passed_for(scenario, &preset))
        look_at_kernels(looking, kernels, &preset);
    else if (kernels)
        tell(looking,
             mem_format("no measured rows stand behind kernels %s", scenario->kernels.name));
    if (scenario->schedule->present[PHASE_EXPERTS] && scenario->moe.activation_dtype == DTYPE_NVFP4)
        tell(looking, mem_copy_text("experts in nvfp4, at the rate of fp8"));
}

// ---- all ---------------------------------------------------------------------------------------

static void look_at_phase(struct looking *looking, enum phase phase)
{
    char name[FIELD_TEXT_BYTES];
    dispatcher_base_name(&looking->scenario->dispatcher, name);
    const struct fitted_group *group = fits_group(looking->fits, name, phase);
    if (!group) {
        tell(looking, mem_format("no measured rows stand behind dispatcher %s", name));
        return;
    }
    look_at_changed_dispatcher(looking, name);
    look_at_cluster(looking, group);
    look_at_version(looking, group);
    look_at_nodes(looking, group);
    look_at_sizes(looking, group);
    look_at_spans(looking, group);
    look_at_dtype(looking, group);
}

void extrapolation_find(struct extrapolation *extrapolation, const struct fits *fits,
                        const struct scenario *scenario, uint64_t predictions)
{
    struct looking looking = {extrapolation, fits, scenario, false};
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (phase_moves(phase) && scenario->schedule->present[phase])
            look_at_phase(&looking, phase);
    look_at_compute(&looking);
    for (size_t i = 0; i < fits->count; i++)
        for (size_t p = 0; p < fits->all[i].parameter_count; p++)
            look_at_parameter(&looking, &fits->all[i].parameters[p]);
    extrapolation->predictions += predictions;
    extrapolation->outside += looking.outside ? predictions : 0;
}

void extrapolation_release(struct extrapolation *extrapolation)
{
    for (size_t i = 0; i < extrapolation->size_count; i++)
        free(extrapolation->sizes[i].rest);
    free(extrapolation->sizes);
    names_release(&extrapolation->reasons);
    *extrapolation = (struct extrapolation){0};
}

// ---- in words ----------------------------------------------------------------------------------

void extrapolation_reasons(const struct extrapolation *extrapolation, struct names *reasons)
{
    char text[FIELD_TEXT_BYTES];
    *reasons = (struct names){0};
    for (size_t i = 0; i < extrapolation->reasons.count; i++)
        names_add(reasons, extrapolation->reasons.of[i]);
    for (size_t i = 0; i < extrapolation->size_count; i++) {
        const struct size_reason *reason = &extrapolation->sizes[i];
        char *phrase = mem_format("%s %s", span_text(&reason->sizes, text), reason->rest);
        names_add(reasons, phrase);
        free(phrase);
    }
}

char *extrapolation_text(const struct extrapolation *extrapolation)
{
    struct names reasons;
    char *text = NULL;
    extrapolation_reasons(extrapolation, &reasons);
    char *joined = names_join(&reasons, "; ");
    if (reasons.count && extrapolation->predictions > 1)
        text =
            mem_format("%llu of %llu predictions: %s", (unsigned long long)extrapolation->outside,
                       (unsigned long long)extrapolation->predictions, joined);
    else if (reasons.count)
        text = mem_copy_text(joined);
    free(joined);
    names_release(&reasons);
    return text;
}
