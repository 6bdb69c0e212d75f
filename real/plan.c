#include "real/plan.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

// What the functions below share while a plan is made.
struct maker {
    struct plan *plan;
    const struct schedule *schedule;
    const struct transfer *transfer;
    const struct routing *routing;
    uint32_t rank, node;
    uint64_t *position; // rail: [served rows] place of each row in its home's crossing lane
};

static uint32_t count_rounds(const struct schedule *schedule, const struct transfer *transfer)
{
    const size_t ranks = schedule->fabric.ranks;
    const size_t lanes = ranks * (transfer->rail ? schedule->fabric.nodes : ranks);
    const double *tokens = transfer->rail ? transfer->node : transfer->pair;
    double max = 1;
    for (size_t i = 0; i < lanes; i++)
        max = fmax(max, tokens[i]);
    return (uint32_t)ceil(max / (double)transfer->message_tokens);
}

static void add_piece(struct piece **pieces, uint32_t *count, struct piece piece)
{
    if (piece.rows == 0)
        return;
    *pieces = mem_grow(*pieces, *count + 1, sizeof **pieces);
    (*pieces)[(*count)++] = piece;
}

static void add_send(struct round *round, uint32_t rank, uint64_t first, uint64_t rows)
{
    add_piece(&round->send, &round->sends, (struct piece){rank, first, rows});
}

static void add_receive(struct round *round, uint32_t rank, uint64_t first, uint64_t rows)
{
    add_piece(&round->receive, &round->receives, (struct piece){rank, first, rows});
}

// Rows of chunk `round` in a lane: [*first, *first + result).
static uint64_t chunk_rows(const struct maker *maker, const struct rows *rows, uint32_t lane,
                           uint32_t round, uint64_t *first)
{
    const uint64_t size = maker->transfer->message_tokens, end = rows->first[lane + 1];
    *first = rows->first[lane] + size * round;
    if (*first > end)
        *first = end;
    return end - *first < size ? end - *first : size;
}

static void plan_direct_round(struct maker *maker, uint32_t round)
{
    const struct slice *slice = &maker->plan->slice;
    for (uint32_t other = 0; other < maker->schedule->fabric.ranks; other++) {
        const bool inside = fabric_node(&maker->schedule->fabric, other) == maker->node;
        struct round *at = &maker->plan->stage[inside ? STAGE_INTRA : STAGE_INTER][round];
        uint64_t first;
        uint64_t rows = chunk_rows(maker, &slice->sent, other, round, &first);
        add_send(at, other, first, rows);
        rows = chunk_rows(maker, &slice->served, other, round, &first);
        add_receive(at, other, first, rows);
    }
}

static void plan_crossing_round(struct maker *maker, uint32_t round)
{
    const struct fabric *fabric = &maker->schedule->fabric;
    struct plan *plan = maker->plan;
    struct round *at = &plan->stage[STAGE_INTER][round];
    uint64_t first;
    for (uint32_t node = 0; node < fabric->nodes; node++) {
        const uint64_t rows = chunk_rows(maker, &plan->slice.sent, node, round, &first);
        add_send(at, fabric_rail_peer(fabric, maker->rank, node), first, rows);
    }
    at->first = plan->crossed_rows;
    for (uint32_t home = 0; home < fabric->ranks; home++) {
        const uint64_t rows = chunk_rows(maker, &plan->slice.crossed, home, round, &first);
        add_receive(at, home, plan->crossed_rows, rows);
        plan->crossed_rows += rows;
    }
    at->rows = plan->crossed_rows - at->first;
}

// The rows of a relayed lane that came in rows begin .. end - 1 of the slice's crossed, the first
// of which stands at `crossed_at`, go on to one rank.
static void relay_lane(struct plan *plan, uint32_t lane, uint64_t begin, uint64_t end,
                       uint64_t crossed_at)
{
    const struct slice *slice = &plan->slice;
    for (uint64_t r = slice->relayed.first[lane]; r < slice->relayed.first[lane + 1]; r++) {
        const uint64_t row = slice->relayed_row[r];
        if (row >= begin && row < end)
            plan->relay_from[plan->relayed_rows++] = (uint32_t)(crossed_at + row - begin);
    }
}

static void plan_relay_round(struct maker *maker, uint32_t round)
{
    const uint32_t ranks = maker->schedule->fabric.ranks;
    const uint32_t gpus = maker->schedule->fabric.gpus_per_node;
    struct plan *plan = maker->plan;
    struct round *at = &plan->stage[STAGE_INTRA][round];
    uint64_t crossed_at = plan->stage[STAGE_INTER][round].first, begin;
    at->first = plan->relayed_rows;
    for (uint32_t home = 0; home < ranks; home++) {
        const uint64_t rows = chunk_rows(maker, &plan->slice.crossed, home, round, &begin);
        for (uint32_t local = 0; rows && local < gpus; local++) {
            const uint64_t first = plan->relayed_rows;
            relay_lane(plan, home * gpus + local, begin, begin + rows, crossed_at);
            add_send(at, maker->node * gpus + local, first, plan->relayed_rows - first);
        }
        crossed_at += rows;
    }
    at->rows = plan->relayed_rows - at->first;
}

// Served rows of a chunk come from the home's rail peer in this node.
static void plan_served_round(struct maker *maker, uint32_t round)
{
    const struct fabric *fabric = &maker->schedule->fabric;
    const struct rows *served = &maker->plan->slice.served;
    const uint64_t size = maker->transfer->message_tokens;
    for (uint32_t home = 0; home < fabric->ranks; home++) {
        uint64_t first = served->first[home];
        while (first < served->first[home + 1] && maker->position[first] < size * round)
            first++;
        uint64_t last = first;
        while (last < served->first[home + 1] && maker->position[last] < size * (round + 1))
            last++;
        add_receive(&maker->plan->stage[STAGE_INTRA][round],
                    fabric_rail_peer(fabric, home, maker->node), first, last - first);
    }
}

static void find_positions(struct maker *maker)
{
    const struct rows *served = &maker->plan->slice.served;
    const uint32_t gpus = maker->schedule->fabric.gpus_per_node;
    uint16_t ids[MOE_MAX_TOPK];
    maker->position = mem_alloc(maker->plan->served_rows + 1, sizeof *maker->position);
    for (uint32_t home = 0; home < maker->schedule->fabric.ranks; home++) {
        uint64_t row = served->first[home], position = 0;
        for (uint32_t t = 0; row < served->first[home + 1]; t++) {
            routing_row(maker->routing, home, t, ids);
            if (!slice_reaches(maker->schedule, ids, t, maker->node * gpus,
                               (maker->node + 1) * gpus))
                continue;
            if (served->token[row] == t)
                maker->position[row++] = position;
            position++;
        }
    }
}

uint64_t *plan_list_starts(uint64_t *first, uint64_t lists)
{
    for (uint64_t l = 0; l < lists; l++)
        first[l + 1] += first[l];
    return mem_copy(first, (lists + 1) * sizeof *first);
}

// The rows of relayed that a row of crossed became: relay_from the other way round.
static void invert_relay(struct plan *plan)
{
    plan->relayed_first = mem_alloc(plan->crossed_rows + 1, sizeof *plan->relayed_first);
    plan->relayed_of = mem_alloc(plan->relayed_rows + 1, sizeof *plan->relayed_of);
    for (uint64_t r = 0; r < plan->relayed_rows; r++)
        plan->relayed_first[plan->relay_from[r] + 1]++;
    uint64_t *next = plan_list_starts(plan->relayed_first, plan->crossed_rows);
    for (uint64_t r = 0; r < plan->relayed_rows; r++)
        plan->relayed_of[next[plan->relay_from[r]]++] = (uint32_t)r;
    free(next);
}

static void plan_rail(struct maker *maker)
{
    struct plan *plan = maker->plan;
    const uint32_t gpus = maker->schedule->fabric.gpus_per_node;
    const uint64_t max = plan->slice.relayed.first[maker->schedule->fabric.ranks * gpus];
    plan->relay_from = mem_alloc(max + 1, sizeof *plan->relay_from);
    find_positions(maker);
    for (uint32_t round = 0; round < plan->rounds; round++) {
        plan_crossing_round(maker, round);
        plan_relay_round(maker, round);
        plan_served_round(maker, round);
    }
    invert_relay(plan);
    free(maker->position);
}

void plan_init(struct plan *plan, const struct schedule *schedule, const struct transfer *transfer,
               const struct routing *routing, uint32_t rank)
{
    struct maker maker = {.plan = plan,
                          .schedule = schedule,
                          .transfer = transfer,
                          .routing = routing,
                          .rank = rank,
                          .node = fabric_node(&schedule->fabric, rank)};
    *plan = (struct plan){.rounds = count_rounds(schedule, transfer)};
    schedule_rank_slice(schedule, transfer, routing, rank, &plan->slice);
    plan->sent_rows = plan->slice.sent.first[plan->slice.sent.lanes];
    plan->served_rows = plan->slice.served.first[plan->slice.served.lanes];
    for (int s = 0; s < STAGES; s++)
        plan->stage[s] = mem_alloc(plan->rounds, sizeof *plan->stage[s]);
    if (transfer->rail)
        plan_rail(&maker);
    for (uint32_t round = 0; !transfer->rail && round < plan->rounds; round++)
        plan_direct_round(&maker, round);
}

void plan_release(struct plan *plan)
{
    for (int s = 0; s < STAGES; s++) {
        for (uint32_t r = 0; r < plan->rounds; r++) {
            free(plan->stage[s][r].send);
            free(plan->stage[s][r].receive);
        }
        free(plan->stage[s]);
    }
    slice_release(&plan->slice);
    free(plan->relay_from);
    free(plan->relayed_first);
    free(plan->relayed_of);
    *plan = (struct plan){0};
}
