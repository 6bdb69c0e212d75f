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

static void add_send(struct maker *maker, enum stage stage, uint32_t round, struct piece piece)
{
    struct round *at = &maker->plan->stage[stage][round];
    add_piece(&at->send, &at->sends, piece);
}

static void add_receive(struct maker *maker, enum stage stage, uint32_t round, struct piece piece)
{
    struct round *at = &maker->plan->stage[stage][round];
    add_piece(&at->receive, &at->receives, piece);
}

// Rows of chunk `round` in a lane of so many rows: [*from, *from + result).
static uint64_t chunk_rows(const struct maker *maker, uint64_t lane_rows, uint32_t round,
                           uint64_t *from)
{
    const uint64_t size = maker->transfer->message_tokens;
    *from = size * round < lane_rows ? size * round : lane_rows;
    return lane_rows - *from < size ? lane_rows - *from : size;
}

static enum stage stage_to(const struct maker *maker, uint32_t other)
{
    return fabric_node(&maker->schedule->fabric, other) == maker->node ? STAGE_INTRA : STAGE_INTER;
}

static void plan_direct_round(struct maker *maker, uint32_t round)
{
    const struct rows *sent = &maker->plan->slice.sent, *served = &maker->plan->slice.served;
    for (uint32_t other = 0; other < maker->schedule->fabric.ranks; other++) {
        const enum stage stage = stage_to(maker, other);
        uint64_t from, rows;
        rows = chunk_rows(maker, sent->first[other + 1] - sent->first[other], round, &from);
        add_send(maker, stage, round, (struct piece){other, sent->first[other] + from, rows});
        rows = chunk_rows(maker, served->first[other + 1] - served->first[other], round, &from);
        add_receive(maker, stage, round, (struct piece){other, served->first[other] + from, rows});
    }
}

static void plan_crossing_round(struct maker *maker, uint32_t round)
{
    const struct fabric *fabric = &maker->schedule->fabric;
    const struct rows *sent = &maker->plan->slice.sent, *crossed = &maker->plan->slice.crossed;
    struct round *at = &maker->plan->stage[STAGE_INTER][round];
    uint64_t from;
    for (uint32_t node = 0; node < fabric->nodes; node++) {
        const uint64_t rows =
            chunk_rows(maker, sent->first[node + 1] - sent->first[node], round, &from);
        const uint32_t peer = fabric_rail_peer(fabric, maker->rank, node);
        add_send(maker, STAGE_INTER, round, (struct piece){peer, sent->first[node] + from, rows});
    }
    at->first = maker->plan->crossed_rows;
    for (uint32_t home = 0; home < fabric->ranks; home++) {
        const uint64_t rows =
            chunk_rows(maker, crossed->first[home + 1] - crossed->first[home], round, &from);
        add_receive(maker, STAGE_INTER, round,
                    (struct piece){home, maker->plan->crossed_rows, rows});
        maker->plan->crossed_rows += rows;
    }
    at->rows = maker->plan->crossed_rows - at->first;
}

// The rows of a relayed lane that belong to a chunk go on to one rank.
static void relay_lane(struct maker *maker, uint32_t round, uint32_t home, uint32_t local,
                       uint64_t crossed_at)
{
    const struct slice *slice = &maker->plan->slice;
    const uint32_t gpus = maker->schedule->fabric.gpus_per_node, lane = home * gpus + local;
    const uint64_t size = maker->transfer->message_tokens;
    const uint64_t begin = slice->crossed.first[home] + size * round;
    const uint64_t first = maker->plan->relayed_rows;
    for (uint64_t r = slice->relayed.first[lane]; r < slice->relayed.first[lane + 1]; r++) {
        const uint64_t row = slice->relayed_row[r];
        if (row < begin || row >= begin + size)
            continue;
        maker->plan->relay_from[maker->plan->relayed_rows++] = (uint32_t)(crossed_at + row - begin);
    }
    add_send(maker, STAGE_INTRA, round,
             (struct piece){maker->node * gpus + local, first, maker->plan->relayed_rows - first});
}

static void plan_relay_round(struct maker *maker, uint32_t round)
{
    const struct fabric *fabric = &maker->schedule->fabric;
    const struct rows *crossed = &maker->plan->slice.crossed;
    struct round *at = &maker->plan->stage[STAGE_INTRA][round];
    uint64_t crossed_at = maker->plan->stage[STAGE_INTER][round].first, from;
    at->first = maker->plan->relayed_rows;
    for (uint32_t home = 0; home < fabric->ranks; home++) {
        const uint64_t rows =
            chunk_rows(maker, crossed->first[home + 1] - crossed->first[home], round, &from);
        for (uint32_t local = 0; rows && local < fabric->gpus_per_node; local++)
            relay_lane(maker, round, home, local, crossed_at);
        crossed_at += rows;
    }
    at->rows = maker->plan->relayed_rows - at->first;
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
        const uint32_t peer = fabric_rail_peer(fabric, home, maker->node);
        add_receive(maker, STAGE_INTRA, round, (struct piece){peer, first, last - first});
    }
}

static bool reaches_node(const struct maker *maker, uint32_t home, uint32_t token)
{
    const struct layout *layout = maker->schedule->layout;
    uint16_t ids[MOE_MAX_TOPK];
    if (maker->schedule->dispatcher.dedupe == DEDUPE_ALL)
        return true;
    routing_row(maker->routing, home, token, ids);
    for (uint32_t k = 0; k < maker->routing->topk; k++)
        if (ids[k] != ROUTING_DROPPED &&
            fabric_node(&maker->schedule->fabric,
                        layout->slot_rank[layout_slot(layout, ids[k], token)]) == maker->node)
            return true;
    return false;
}

static void find_positions(struct maker *maker)
{
    const struct rows *served = &maker->plan->slice.served;
    maker->position = mem_alloc(maker->plan->served_rows + 1, sizeof *maker->position);
    for (uint32_t home = 0; home < maker->schedule->fabric.ranks; home++) {
        uint64_t row = served->first[home], position = 0;
        for (uint32_t t = 0; row < served->first[home + 1]; t++) {
            if (!reaches_node(maker, home, t))
                continue;
            if (served->token[row] == t)
                maker->position[row++] = position;
            position++;
        }
    }
}

// The rows of relayed that a row of crossed became: relay_from the other way round.
static void invert_relay(struct plan *plan)
{
    plan->relayed_first = mem_alloc(plan->crossed_rows + 1, sizeof *plan->relayed_first);
    plan->relayed_of = mem_alloc(plan->relayed_rows + 1, sizeof *plan->relayed_of);
    uint64_t *next = mem_alloc(plan->crossed_rows + 1, sizeof *next);
    for (uint64_t r = 0; r < plan->relayed_rows; r++)
        plan->relayed_first[plan->relay_from[r] + 1]++;
    for (uint64_t c = 0; c < plan->crossed_rows; c++) {
        plan->relayed_first[c + 1] += plan->relayed_first[c];
        next[c] = plan->relayed_first[c];
    }
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
