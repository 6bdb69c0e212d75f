// Popularity: how much each expert of a layer is to be preferred, so that the resulting loads are
// those that the recipe asks for.
//
// A token takes an expert once, and only in its best groups, so loads are not in proportion to
// popularity. The loads that a popularity gives are counted over drawn tokens, and ln popularity
// moves by ln(target / counted) until they agree; later rounds draw more and move less.
#ifndef TRACES_POPULARITY_H
#define TRACES_POPULARITY_H

#include "model/moe.h"
#include "traces/gate.h"
#include "traces/recipe.h"

// The gate that a recipe asks for.
struct gate recipe_gate(const struct recipe *recipe, const struct moe *moe, uint64_t seed);

// The loads[experts] that a recipe asks for of one of the model's MoE layers (from 0), mean 1.
void target_loads(const struct recipe *recipe, const struct moe *moe, uint32_t layer, uint64_t seed,
                  double *loads);

struct popularity {
    uint32_t layers, domains, experts;
    uint32_t *layer;   // [layers] of the model's MoE layers, from 0
    double *of_domain; // [layers][domains][experts], mean near 1
    int16_t *of_kind;  // [layers][kinds][experts] levels that a kind of token adds
    uint32_t kinds;
    double worst_off; // of all layers: the load that went to other experts than the target, share
};

// Layers are solved on all threads; the result does not depend on their number.
void popularity_fit(struct popularity *popularity, const struct recipe *recipe,
                    const struct moe *moe, const struct gate *gate, const uint32_t *layer,
                    uint32_t layers);
void popularity_release(struct popularity *popularity);

static inline const double *popularity_of(const struct popularity *popularity, uint32_t layer_index,
                                          uint32_t domain)
{
    return popularity->of_domain +
           ((size_t)layer_index * popularity->domains + domain) * popularity->experts;
}

static inline const int16_t *popularity_tilt(const struct popularity *popularity,
                                             uint32_t layer_index, uint32_t kind)
{
    return popularity->of_kind +
           ((size_t)layer_index * popularity->kinds + kind) * popularity->experts;
}

// The domain of a request.
uint32_t popularity_domain(uint64_t seed, uint64_t request, uint32_t domains);

#endif
