#include "real/calls.h"

#include "base/mem.h"
#include "real/memory.h"

#include <stdlib.h>

static enum dtype dtype_of(const struct layer *layer, const struct transfer *transfer)
{
    const struct moe *moe = &layer->schedule.moe;
    return transfer->gather ? moe->combine_dtype : moe->dispatch_dtype;
}

size_t calls_payload(const struct layer *layer, const struct transfer *transfer)
{
    return moe_payload_bytes(layer->schedule.moe.hidden, dtype_of(layer, transfer));
}

static struct row_block wire_rows(struct layer *layer, const struct transfer *transfer,
                                  uint64_t rows)
{
    return (struct row_block){.base = memory_allocate(layer, rows * transfer->token_bytes),
                              .stride = transfer->token_bytes,
                              .format = memory_format(dtype_of(layer, transfer))};
}

static void plan_path(struct layer *layer, struct path *path, const struct plan *plan,
                      const struct transfer *transfer)
{
    path->sent = wire_rows(layer, transfer, plan->sent_rows);
    path->served = wire_rows(layer, transfer, plan->served_rows);
    if (!transfer->rail)
        return;
    path->crossed = wire_rows(layer, transfer, plan->crossed_rows);
    path->relayed = wire_rows(layer, transfer, plan->relayed_rows);
    path->relay_from =
        memory_upload(layer, plan->relay_from, plan->relayed_rows * sizeof(uint32_t));
    path->relayed_of =
        memory_upload(layer, plan->relayed_of, plan->relayed_rows * sizeof(uint32_t));
    path->relayed_first =
        memory_upload(layer, plan->relayed_first, (plan->crossed_rows + 1) * sizeof(uint64_t));
}

static void plan_experts(struct layer *layer)
{
    struct calls *calls = calls_of(layer);
    const struct rows *served = &calls->dispatch_plan.slice.served;
    const uint64_t rows = calls->dispatch_plan.served_rows;
    struct served_choices choices;
    served_choices_init(&choices, rows, layer->routing.topk);
    for (uint32_t home = 0; home < served->lanes; home++)
        for (uint64_t row = served->first[home]; row < served->first[home + 1]; row++) {
            const struct served_row of = {row, home, served->token[row], served->slot[row]};
            choices.first[row + 1] = choices.count;
            if (of.token != SLICE_UNUSED)
                served_choices_add(&choices, layer, &of);
        }
    experts_plan(layer, &calls->experts, &choices);
    calls->brought = memory_allocate(layer, rows * layer->routing.topk * sizeof(float));
    served_choices_release(&choices);
}

// Which of a token's choices a slot serves; padding has none.
static uint32_t choice_of(const struct layer *layer, uint32_t token, uint32_t slot)
{
    uint16_t ids[MOE_MAX_TOPK];
    routing_row(&layer->routing, layer->setup.rank, token, ids);
    for (uint32_t k = 0; k < layer->routing.topk; k++)
        if (ids[k] != ROUTING_DROPPED &&
            layout_slot(layer->setup.scenario->layout, ids[k], token) == slot)
            return k;
    return 0;
}

// For every own token, the rows that come home for it, in the order of sent.
static void plan_home(struct layer *layer)
{
    struct calls *calls = calls_of(layer);
    const struct rows *sent = &calls->combine_plan.slice.sent;
    const uint64_t rows = calls->combine_plan.sent_rows;
    const uint32_t tokens = layer->routing.tokens[layer->setup.rank];
    uint64_t *first = mem_alloc((size_t)tokens + 1, sizeof *first);
    uint32_t *of = mem_alloc(rows + 1, sizeof *of), *choice = mem_alloc(rows + 1, sizeof *choice);
    for (uint64_t row = 0; row < rows; row++)
        if (sent->token[row] != SLICE_UNUSED)
            first[sent->token[row] + 1]++;
    uint64_t *next = plan_list_starts(first, tokens);
    for (uint64_t row = 0; row < rows; row++) {
        const uint32_t token = sent->token[row];
        if (token == SLICE_UNUSED)
            continue;
        const uint64_t at = next[token]++;
        of[at] = (uint32_t)row;
        if (sent->slot[row] != UINT32_MAX)
            choice[at] = token * layer->routing.topk + choice_of(layer, token, sent->slot[row]);
    }
    calls->home_first = memory_upload(layer, first, ((uint64_t)tokens + 1) * sizeof *first);
    calls->home_of = memory_upload(layer, of, rows * sizeof *of);
    calls->home_choice = memory_upload(layer, choice, rows * sizeof *choice);
    calls->home_weight = memory_allocate(layer, rows * sizeof(float));
    free(first);
    free(next);
    free(of);
    free(choice);
}

void calls_plan_buffers(struct layer *layer)
{
    struct calls *calls = calls_of(layer);
    const struct transfer *transfers = layer->schedule.transfers;
    plan_path(layer, &calls->dispatch, &calls->dispatch_plan, &transfers[0]);
    plan_path(layer, &calls->combine, &calls->combine_plan, &transfers[1]);
    calls->sent_token = memory_upload(layer, calls->dispatch_plan.slice.sent.token,
                                      calls->dispatch_plan.sent_rows * sizeof(uint32_t));
    plan_experts(layer);
    plan_home(layer);
}
