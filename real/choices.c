#include "real/memory.h"

#include "base/mem.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

static void known_row(const void *context, uint32_t rank, uint32_t token, uint16_t *ids)
{
    const struct layer *layer = context;
    const uint32_t topk = layer->routing.topk;
    memcpy(ids, layer->all_ids + (layer->token_first[rank] + token) * topk, topk * sizeof *ids);
}

void choices_open(struct layer *layer)
{
    const struct routing *asked = &layer->setup.scenario->routing;
    layer->routing = *asked;
    layer->routing.rule = ROUTING_TRACE;
    layer->routing.row = known_row;
    layer->routing.context = layer;
    layer->token_first = mem_alloc((size_t)asked->ranks + 1, sizeof *layer->token_first);
    layer->choices = mem_alloc(asked->ranks, sizeof *layer->choices);
    layer->choice_first = mem_alloc(asked->ranks, sizeof *layer->choice_first);
    for (uint32_t r = 0; r < asked->ranks; r++) {
        layer->token_first[r + 1] = layer->token_first[r] + asked->tokens[r];
        layer->choices[r] = (int)(asked->tokens[r] * asked->topk);
        layer->choice_first[r] = (int)(layer->token_first[r] * asked->topk);
    }
    layer->all_ids =
        mem_alloc(layer->token_first[asked->ranks] * asked->topk + 1, sizeof *layer->all_ids);
}

void choices_close(struct layer *layer)
{
    free(layer->all_ids);
    free(layer->token_first);
    free(layer->choices);
    free(layer->choice_first);
}

// A library knows experts by their slots; the router's own choices take the layout in which the two
// are the same.
static void upload_wide_ids(struct layer *layer, const uint16_t *ids)
{
    const struct layout *layout = layer->setup.scenario->layout;
    const uint32_t tokens = layer_own_tokens(layer), topk = layer->setup.scenario->moe.topk;
    int32_t *wide = mem_alloc((size_t)tokens * topk + 1, sizeof *wide);
    for (uint32_t t = 0; t < tokens; t++)
        for (size_t i = (size_t)t * topk; i < (size_t)(t + 1) * topk; i++)
            wide[i] = ids[i] == ROUTING_DROPPED ? -1 : (int32_t)layout_slot(layout, ids[i], t);
    device_upload(layer->setup.device, layer->memory->wide_ids, wide,
                  (size_t)tokens * topk * sizeof *wide);
    free(wide);
}

void choices_upload(struct layer *layer)
{
    const struct layer_setup *setup = &layer->setup;
    const struct moe *moe = &setup->scenario->moe;
    const uint32_t tokens = layer_own_tokens(layer), topk = moe->topk;
    uint16_t *ids = mem_alloc((size_t)tokens * topk + 1, sizeof *ids);
    float *weights = mem_alloc((size_t)tokens * topk + 1, sizeof *weights);
    for (uint32_t t = 0; t < tokens; t++) {
        routing_row(&setup->scenario->routing, setup->rank, t, ids + (size_t)t * topk);
        if (setup->weights)
            trace_view_weights(setup->weights, setup->rank, t, weights + (size_t)t * topk);
        for (uint32_t k = 0; !setup->weights && k < topk; k++)
            weights[(size_t)t * topk + k] = (float)(moe->routed_scaling / topk);
    }
    device_upload(setup->device, layer->memory->ids, ids, (size_t)tokens * topk * sizeof *ids);
    device_upload(setup->device, layer->memory->weights, weights,
                  (size_t)tokens * topk * sizeof *weights);
    if (layer->memory->wide_ids)
        upload_wide_ids(layer, ids);
    free(ids);
    free(weights);
}

static bool exchange_choices(struct layer *layer, uint16_t *all, struct error *err)
{
    const int own = layer->choices[layer->setup.rank];
    uint16_t *ids = mem_alloc((size_t)own + 1, sizeof *ids);
    device_download(layer->setup.device, ids, layer->memory->ids, (size_t)own * sizeof *ids);
    const int status = MPI_Allgatherv(ids, own, MPI_UINT16_T, all, layer->choices,
                                      layer->choice_first, MPI_UINT16_T, MPI_COMM_WORLD);
    free(ids);
    return status == MPI_SUCCESS ||
           error_set(err, EXIT_RUNTIME, "the exchange of choices failed: a rank was lost");
}

bool choices_learn(struct layer *layer, struct error *err)
{
    const size_t count = layer->token_first[layer->routing.ranks] * layer->routing.topk;
    if (!layer->planned)
        return exchange_choices(layer, layer->all_ids, err);
    uint16_t *again = mem_alloc(count + 1, sizeof *again);
    bool ok = exchange_choices(layer, again, err);
    if (ok && memcmp(again, layer->all_ids, count * sizeof *again))
        ok = error_set(err, EXIT_RUNTIME, "the router chose otherwise in another iteration");
    free(again);
    return ok;
}

void choices_read(struct layer *layer, const uint32_t *token, uint32_t count, uint16_t *ids,
                  float *weights)
{
    struct device *device = layer->setup.device;
    const uint32_t topk = layer->routing.topk;
    const size_t own = (size_t)layer_own_tokens(layer) * topk;
    uint16_t *own_ids = mem_alloc(own, sizeof *own_ids);
    float *own_weights = mem_alloc(own, sizeof *own_weights);
    device_download(device, own_ids, layer->memory->ids, own * sizeof *own_ids);
    device_download(device, own_weights, layer->memory->weights, own * sizeof *own_weights);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(ids + (size_t)i * topk, own_ids + (size_t)token[i] * topk, topk * sizeof *ids);
        memcpy(weights + (size_t)i * topk, own_weights + (size_t)token[i] * topk,
               topk * sizeof *weights);
    }
    free(own_ids);
    free(own_weights);
}
