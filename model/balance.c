#include "model/balance.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

// Counts of one source in hand, and whose turn it is to take what is left over.
struct dealer {
    uint32_t ranks, nodes;
    uint64_t *node, *node_extra;   // [nodes] copies; ranks' copies beyond one a node's copy
    uint64_t *rank, *choice_extra; // [ranks] copies; choices beyond one a copy
    uint64_t *room;                // [ranks]
    uint32_t node_turn, extra_turn, choice_turn;
    uint32_t *rank_turn; // [nodes]
};

static void dealer_init(struct dealer *dealer, const struct loads *loads)
{
    *dealer = (struct dealer){.ranks = loads->ranks, .nodes = loads->nodes};
    dealer->node = mem_alloc(loads->nodes, sizeof(uint64_t));
    dealer->node_extra = mem_alloc(loads->nodes, sizeof(uint64_t));
    dealer->rank = mem_alloc(loads->ranks, sizeof(uint64_t));
    dealer->choice_extra = mem_alloc(loads->ranks, sizeof(uint64_t));
    dealer->room = mem_alloc(loads->ranks, sizeof(uint64_t));
    dealer->rank_turn = mem_alloc(loads->nodes, sizeof(uint32_t));
}

static void dealer_release(struct dealer *dealer)
{
    free(dealer->node);
    free(dealer->node_extra);
    free(dealer->rank);
    free(dealer->choice_extra);
    free(dealer->room);
    free(dealer->rank_turn);
}

static uint32_t with_room(const uint64_t *room, uint32_t count)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < count; i++)
        open += room[i] > 0;
    return open;
}

// Shares out `amount` over places that have room for it together: evenly as far as it goes, then
// one by one from the place whose turn it is. Room is used up.
static void deal(uint64_t amount, uint64_t *room, uint32_t count, uint32_t *turn, uint64_t *shares)
{
    assert(count > 0);
    for (uint32_t i = 0; i < count; i++)
        shares[i] = 0;
    for (uint32_t open = with_room(room, count); open && amount >= open;
         open = with_room(room, count)) {
        const uint64_t each = amount / open;
        for (uint32_t i = 0; i < count; i++) {
            const uint64_t share = each < room[i] ? each : room[i];
            shares[i] += share;
            room[i] -= share;
            amount -= share;
        }
    }
    for (; amount > 0; *turn = (*turn + 1) % count) {
        if (!room[*turn])
            continue;
        shares[*turn]++;
        room[*turn]--;
        amount--;
    }
}

static uint64_t row_sum(const double *counts, uint32_t source, uint32_t width)
{
    double sum = 0;
    for (uint32_t i = 0; i < width; i++)
        sum += counts[(size_t)source * width + i];
    return (uint64_t)sum;
}

static void deal_nodes(struct dealer *dealer, const struct loads *loads, uint32_t source)
{
    const uint64_t copies = row_sum(loads->node_copies, source, dealer->nodes);
    const uint64_t ranks_copies = row_sum(loads->rank_copies, source, dealer->ranks);
    const uint32_t per_node = dealer->ranks / dealer->nodes;
    for (uint32_t n = 0; n < dealer->nodes; n++)
        dealer->room[n] = (uint64_t)loads->tokens[source];
    deal(copies, dealer->room, dealer->nodes, &dealer->node_turn, dealer->node);
    for (uint32_t n = 0; n < dealer->nodes; n++)
        dealer->room[n] = dealer->node[n] * (per_node - 1);
    deal(ranks_copies - copies, dealer->room, dealer->nodes, &dealer->extra_turn,
         dealer->node_extra);
}

static void deal_ranks(struct dealer *dealer)
{
    const uint32_t per_node = dealer->ranks / dealer->nodes;
    for (uint32_t n = 0; n < dealer->nodes; n++) {
        for (uint32_t i = 0; i < per_node; i++)
            dealer->room[i] = dealer->node[n];
        deal(dealer->node[n] + dealer->node_extra[n], dealer->room, per_node, &dealer->rank_turn[n],
             dealer->rank + (size_t)n * per_node);
    }
}

static void deal_choices(struct dealer *dealer, const struct loads *loads, uint32_t source)
{
    uint64_t copies = 0;
    for (uint32_t r = 0; r < dealer->ranks; r++) {
        copies += dealer->rank[r];
        dealer->room[r] = dealer->rank[r] * (loads->topk - 1);
    }
    deal(row_sum(loads->expert_copies, source, dealer->ranks) - copies, dealer->room, dealer->ranks,
         &dealer->choice_turn, dealer->choice_extra);
}

static void store(const struct dealer *dealer, struct loads *balanced, uint32_t source)
{
    for (uint32_t n = 0; n < dealer->nodes; n++)
        balanced->node_copies[(size_t)source * dealer->nodes + n] = (double)dealer->node[n];
    for (uint32_t r = 0; r < dealer->ranks; r++) {
        const size_t at = (size_t)source * dealer->ranks + r;
        balanced->rank_copies[at] = (double)dealer->rank[r];
        balanced->expert_copies[at] = (double)(dealer->rank[r] + dealer->choice_extra[r]);
    }
}

static uint64_t share_of(uint64_t amount, uint32_t places, uint32_t place)
{
    return (amount + places - 1 - place) / places;
}

// What a rank serves, evenly over its slots.
static void fill_slots(struct loads *balanced, const struct layout *layout)
{
    for (uint32_t r = 0; r < balanced->ranks; r++) {
        const uint32_t first = layout->rank_slot[r], slots = layout->rank_slot[r + 1] - first;
        uint64_t served = 0;
        for (uint32_t source = 0; source < balanced->ranks; source++)
            served += (uint64_t)balanced->expert_copies[(size_t)source * balanced->ranks + r];
        for (uint32_t i = 0; i < slots; i++)
            balanced->slot_tokens[first + i] = (double)share_of(served, slots, i);
    }
}

void loads_balance(struct loads *balanced, const struct loads *loads, const struct layout *layout)
{
    struct dealer dealer;
    assert(!loads->expected && loads->slots == layout->slots && loads->topk > 0);
    loads_init(balanced, loads->ranks, loads->nodes, loads->slots);
    balanced->topk = loads->topk;
    balanced->dropped = loads->dropped;
    dealer_init(&dealer, loads);
    for (uint32_t source = 0; source < loads->ranks; source++) {
        balanced->tokens[source] = loads->tokens[source];
        deal_nodes(&dealer, loads, source);
        deal_ranks(&dealer);
        deal_choices(&dealer, loads, source);
        store(&dealer, balanced, source);
    }
    fill_slots(balanced, layout);
    dealer_release(&dealer);
}
