#include "real/experts.h"

#include "base/mem.h"
#include "real/memory.h"
#include "real/plan.h"

#include <stdlib.h>

void served_choices_init(struct served_choices *choices, uint64_t rows, uint32_t topk)
{
    const uint64_t max = rows * topk;
    *choices = (struct served_choices){.rows = rows,
                                       .first = mem_alloc(rows + 1, sizeof *choices->first),
                                       .slot = mem_alloc(max + 1, sizeof *choices->slot),
                                       .weight = mem_alloc(max + 1, sizeof *choices->weight)};
}

void served_choices_release(struct served_choices *choices)
{
    free(choices->first);
    free(choices->slot);
    free(choices->weight);
}

void served_choices_add(struct served_choices *choices, const struct layer *layer,
                        const struct served_row *row)
{
    const struct layout *layout = layer->setup.scenario->layout;
    const uint32_t rank = layer->setup.rank, topk = layer->routing.topk;
    uint16_t ids[MOE_MAX_TOPK];
    routing_row(&layer->routing, row->home, row->token, ids);
    for (uint32_t k = 0; k < topk; k++) {
        if (ids[k] == ROUTING_DROPPED)
            continue;
        const uint32_t slot = layout_slot(layout, ids[k], row->token);
        if (layout->slot_rank[slot] != rank || (row->slot != UINT32_MAX && slot != row->slot))
            continue;
        choices->slot[choices->count] = slot - layout->rank_slot[rank];
        choices->weight[choices->count++] = (uint32_t)(row->row * topk + k);
    }
    choices->first[row->row + 1] = choices->count;
}

// Groups the choices by slot: where each slot begins, which row each expert row comes from, and for
// each served row where its results are.
static void group_by_slot(struct layer *layer, struct experts *experts,
                          const struct served_choices *choices)
{
    const uint32_t slots = layer_own_slots(layer);
    const uint64_t count = choices->count;
    uint32_t *from = mem_alloc(count + 1, sizeof *from), *of = mem_alloc(count + 1, sizeof *of);
    experts->first = mem_alloc((size_t)slots + 1, sizeof *experts->first);
    for (uint64_t c = 0; c < count; c++)
        experts->first[choices->slot[c] + 1]++;
    uint64_t *next = plan_list_starts(experts->first, slots);
    for (uint64_t row = 0; row < choices->rows; row++)
        for (uint64_t c = choices->first[row]; c < choices->first[row + 1]; c++) {
            of[c] = (uint32_t)next[choices->slot[c]]++;
            from[of[c]] = (uint32_t)row;
        }
    experts->from = memory_upload(layer, from, count * sizeof *from);
    experts->served_of = memory_upload(layer, of, count * sizeof *of);
    experts->weight_at = memory_upload(layer, choices->weight, count * sizeof *choices->weight);
    free(from);
    free(of);
    free(next);
}

void experts_plan(struct layer *layer, struct experts *experts,
                  const struct served_choices *choices)
{
    const struct moe *moe = &layer->schedule.moe;
    const uint64_t count = choices->count;
    *experts = (struct experts){.rows = count};
    group_by_slot(layer, experts, choices);
    experts->served_first =
        memory_upload(layer, choices->first, (choices->rows + 1) * sizeof *choices->first);
    experts->in = memory_allocate_dense(layer, count, moe->hidden);
    experts->out = memory_allocate_dense(layer, count, moe->hidden);
    experts->middle = memory_allocate_dense(layer, count, 3ull * moe->intermediate);
    experts->weight = memory_allocate(layer, count * sizeof(float));
}

void experts_release(struct experts *experts)
{
    free(experts->first);
    *experts = (struct experts){0};
}

void experts_run(struct layer *layer, const struct experts *experts, const struct row_block *served)
{
    const struct layer_memory *memory = layer->memory;
    const struct moe *moe = &layer->schedule.moe;
    if (experts->rows == 0)
        return;
    device_gather(layer->setup.device, STREAM_COMPUTE,
                  &(struct row_gather){.out = memory_dense(layer, experts->in),
                                       .in = *served,
                                       .index = experts->from,
                                       .count = experts->rows,
                                       .width = moe->hidden});
    device_ffn(layer->setup.device, &(struct ffn){.groups = layer_own_slots(layer),
                                                  .hidden = moe->hidden,
                                                  .intermediate = moe->intermediate,
                                                  .first = experts->first,
                                                  .gate_up = (const void *const *)memory->gate_up,
                                                  .down = (const void *const *)memory->down,
                                                  .in = experts->in,
                                                  .out = experts->out,
                                                  .middle = experts->middle});
}

void experts_take_weights(struct layer *layer, const struct experts *experts, float *brought)
{
    if (experts->rows)
        device_gather(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_gather){.out = memory_floats(experts->weight, 1),
                                           .in = memory_floats(brought, 1),
                                           .index = experts->weight_at,
                                           .count = experts->rows,
                                           .width = 1});
}

void experts_sum(struct layer *layer, const struct experts *experts, const struct row_block *out,
                 uint64_t rows, bool weighted)
{
    if (rows)
        device_reduce(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_sums){.out = *out,
                                         .in = memory_dense(layer, experts->out),
                                         .first = experts->served_first,
                                         .source = experts->served_of,
                                         .weight = weighted ? experts->weight : NULL,
                                         .count = rows,
                                         .width = layer->schedule.moe.hidden});
}
