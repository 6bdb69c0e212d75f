#include "real/slice.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

static void rows_init(struct rows *rows, uint32_t lanes)
{
    rows->lanes = lanes;
    rows->first = mem_alloc((size_t)lanes + 1, sizeof *rows->first);
}

// Where rows are added: a lane, and the home whose tokens they are.
struct lane {
    struct rows *rows;
    uint32_t index, home;
};

static void lane_add(const struct lane *lane, uint32_t token, uint32_t slot)
{
    struct rows *rows = lane->rows;
    const uint64_t at = rows->first[lane->index + 1]++;
    if (at == rows->capacity) {
        rows->capacity = at ? 2 * at : 256;
        rows->token = mem_grow(rows->token, rows->capacity, sizeof *rows->token);
        rows->slot = mem_grow(rows->slot, rows->capacity, sizeof *rows->slot);
    }
    rows->token[at] = token;
    rows->slot[at] = slot;
}

// Unused rows of a slot up to row `end`.
static void lane_pad(const struct lane *lane, uint64_t end, uint32_t slot)
{
    while (lane->rows->first[lane->index + 1] < end)
        lane_add(lane, SLICE_UNUSED, slot);
}

// Lanes are opened in order: each begins where the one before ends.
static struct lane lane_open(struct rows *rows, uint32_t index, uint32_t home)
{
    rows->first[index + 1] = rows->first[index];
    return (struct lane){rows, index, home};
}

static void rows_release(struct rows *rows)
{
    free(rows->first);
    free(rows->token);
    free(rows->slot);
}

// What decides which rows there are.
struct cut {
    const struct schedule *schedule;
    const struct transfer *transfer;
    const struct routing *routing;
    const struct layout *layout;
    bool by_expert; // a row a choice, not a rank
    uint32_t pad;   // padded: rows of a lane (by_expert: of a slot); 0: none
};

static struct cut cut_of(const struct schedule *schedule, const struct transfer *transfer,
                         const struct routing *routing)
{
    const struct dispatcher *dispatcher = &schedule->dispatcher;
    struct cut cut = {.schedule = schedule,
                      .transfer = transfer,
                      .routing = routing,
                      .layout = schedule->layout,
                      .by_expert = transfer->gather ? dispatcher->reduce == REDUCE_HOME
                                                    : dispatcher->dedupe == DEDUPE_EXPERT};
    if (dispatcher->counts == COUNTS_PADDED)
        for (uint32_t r = 0; r < routing->ranks; r++)
            cut.pad = routing->tokens[r] > cut.pad ? routing->tokens[r] : cut.pad;
    return cut;
}

bool slice_reaches(const struct schedule *schedule, const uint16_t *ids, uint32_t token,
                   uint32_t first, uint32_t last)
{
    const struct layout *layout = schedule->layout;
    for (uint32_t k = 0; k < schedule->moe.topk; k++) {
        if (ids[k] == ROUTING_DROPPED)
            continue;
        const uint32_t rank = layout->slot_rank[layout_slot(layout, ids[k], token)];
        if (rank >= first && rank < last)
            return true;
    }
    return schedule->dispatcher.dedupe == DEDUPE_ALL;
}

// Rows of a home's tokens for one slot, in token order, padded to the slot's size.
static void add_slot_rows(const struct cut *cut, const struct lane *lane, uint32_t slot)
{
    const uint64_t start = lane->rows->first[lane->index + 1];
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t t = 0; t < cut->routing->tokens[lane->home]; t++) {
        routing_row(cut->routing, lane->home, t, ids);
        for (uint32_t k = 0; k < cut->routing->topk; k++)
            if (ids[k] != ROUTING_DROPPED && layout_slot(cut->layout, ids[k], t) == slot)
                lane_add(lane, t, slot);
    }
    lane_pad(lane, start + cut->pad, slot);
}

// Rows of a home's tokens for the ranks first .. last - 1, one a token.
static void add_token_rows(const struct cut *cut, const struct lane *lane, uint32_t first,
                           uint32_t last)
{
    const uint64_t start = lane->rows->first[lane->index + 1];
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t t = 0; t < cut->routing->tokens[lane->home]; t++) {
        routing_row(cut->routing, lane->home, t, ids);
        if (slice_reaches(cut->schedule, ids, t, first, last))
            lane_add(lane, t, UINT32_MAX);
    }
    lane_pad(lane, start + cut->pad, UINT32_MAX);
}

// The rows that move between a lane's home and one rank.
static void add_rank_rows(const struct cut *cut, const struct lane *lane, uint32_t rank)
{
    if (!cut->by_expert) {
        add_token_rows(cut, lane, rank, rank + 1);
        return;
    }
    for (uint32_t s = cut->layout->rank_slot[rank]; s < cut->layout->rank_slot[rank + 1]; s++)
        add_slot_rows(cut, lane, s);
}

// A rank's copies with every other rank: those of its own tokens, or those of others that it
// serves.
static void lay_pairs(const struct cut *cut, uint32_t rank, bool own, struct rows *rows)
{
    rows_init(rows, cut->routing->ranks);
    for (uint32_t other = 0; other < rows->lanes; other++) {
        const struct lane lane = lane_open(rows, other, own ? rank : other);
        add_rank_rows(cut, &lane, own ? other : rank);
    }
}

// Which of a home's crossed rows go on to each rank of the node.
static void lay_relayed(const struct cut *cut, uint32_t home, uint32_t node, struct slice *slice)
{
    const uint32_t gpus = cut->schedule->fabric.gpus_per_node;
    uint16_t ids[MOE_MAX_TOPK];
    for (uint32_t local = 0; local < gpus; local++) {
        const struct lane lane = lane_open(&slice->relayed, home * gpus + local, home);
        const uint32_t rank = node * gpus + local;
        for (uint64_t row = slice->crossed.first[home]; row < slice->crossed.first[home + 1];
             row++) {
            const uint32_t token = slice->crossed.token[row];
            routing_row(cut->routing, home, token, ids);
            if (!slice_reaches(cut->schedule, ids, token, rank, rank + 1))
                continue;
            slice->relayed_row[slice->relayed.first[lane.index + 1]] = row;
            lane_add(&lane, token, UINT32_MAX);
        }
    }
}

static void lay_rail(const struct cut *cut, uint32_t rank, struct slice *slice)
{
    const struct fabric *fabric = &cut->schedule->fabric;
    const uint32_t node = fabric_node(fabric, rank), gpus = fabric->gpus_per_node;
    rows_init(&slice->sent, fabric->nodes);
    for (uint32_t to = 0; to < fabric->nodes; to++) {
        const struct lane lane = lane_open(&slice->sent, to, rank);
        add_token_rows(cut, &lane, to * gpus, (to + 1) * gpus);
    }
    rows_init(&slice->crossed, fabric->ranks);
    rows_init(&slice->relayed, fabric->ranks * gpus);
    for (uint32_t home = 0; home < fabric->ranks; home++) {
        const struct lane lane = lane_open(&slice->crossed, home, home);
        if (fabric_rail_peer(fabric, home, node) == rank)
            add_token_rows(cut, &lane, node * gpus, (node + 1) * gpus);
    }
    slice->relayed_row =
        mem_alloc(slice->crossed.first[fabric->ranks] * gpus + 1, sizeof *slice->relayed_row);
    for (uint32_t home = 0; home < fabric->ranks; home++)
        lay_relayed(cut, home, node, slice);
}

void schedule_rank_slice(const struct schedule *schedule, const struct transfer *transfer,
                         const struct routing *routing, uint32_t rank, struct slice *slice)
{
    const struct cut cut = cut_of(schedule, transfer, routing);
    assert(!schedule->loads->expected);
    *slice = (struct slice){0};
    lay_pairs(&cut, rank, false, &slice->served);
    if (transfer->rail)
        lay_rail(&cut, rank, slice);
    else
        lay_pairs(&cut, rank, true, &slice->sent);
}

void slice_release(struct slice *slice)
{
    rows_release(&slice->sent);
    rows_release(&slice->served);
    rows_release(&slice->crossed);
    rows_release(&slice->relayed);
    free(slice->relayed_row);
    *slice = (struct slice){0};
}
