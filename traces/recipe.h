// Recipes: what a generated trace should look like. A preset (model/presets/recipes/NAME.yaml) or a
// YAML file of the same keys, each figure with its source; either with keys changed:
// NAME:kappa=256,domains=2.
#ifndef TRACES_RECIPE_H
#define TRACES_RECIPE_H

#include "base/field.h"
#include "base/object.h"

// Where the loads of a layer's experts come from.
enum recipe_loads {
    LOADS_LOG_NORMAL, // such that the hottest eighth and the hottest expert have their stated loads
    LOADS_POWER_LAW,  // aiconfigurator's bounded power law
    LOADS_HOT_EXPERT, // equal but for one
    LOADS_RANKS,      // no loads: each token reaches min(ranks, topk) distinct ranks
    LOADS_HOT_RANK,   // no loads: a rank's experts take a share of the choices
};

enum recipe_list { LIST_TOP_EIGHTH_SHARE, LIST_EXPERT_MAX_MEAN, RECIPE_LISTS };

struct recipe {
    char name[FIELD_TEXT_BYTES];
    char model[FIELD_TEXT_BYTES]; // whose shape, where none is asked
    enum recipe_loads loads;
    bool group_limit; // the model's own

    double top_eighth_share; // log-normal: of the load, on the hottest eighth of the experts
    double expert_max_mean;  // log-normal: hottest expert's load over the mean; 0: as it comes
    double skew;             // exponent on the loads over their mean
    double alpha;            // power law
    uint32_t power_tokens;
    double hot_share; // hot expert or rank: of the load
    uint32_t ranks;

    uint32_t domains;
    double domain_sigma;
    uint32_t kinds;
    double kind_sigma;
    double kappa;
    double stickiness;

    uint32_t requests; // in flight
    uint32_t chunk_tokens;
    double request_tokens; // median
    double request_sigma;
    uint32_t request_least, request_most;

    double drift;
    uint64_t drift_tokens;

    // By layer, instead of the two figures above; NULL: the same for all layers.
    double *by_layer[RECIPE_LISTS];
    uint32_t layer_figures; // entries of each; that of layer l of L is l x entries / L
};

extern const struct field recipe_fields[];
extern const size_t recipe_field_count;

// provenance, when not NULL, has recipe_field_count zeroed entries, released by the caller.
bool recipe_load(const char *what, struct recipe *recipe, struct provenance *provenance,
                 struct error *err);
void recipe_release(struct recipe *recipe);

// A figure of one of a model's layers.
double recipe_figure(const struct recipe *recipe, enum recipe_list list, uint64_t layer,
                     uint32_t layers);

// The figures by layer that stand for a field, layer_figures of them, or NULL.
const double *recipe_list(const struct recipe *recipe, const char *key);

// What the shape cannot serve: a load above what top-k allows, experts that do not divide over the
// ranks, ... The message names the key.
struct moe;
bool recipe_check(const struct recipe *recipe, const struct moe *moe, struct error *err);

#endif
