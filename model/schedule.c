#include "model/schedule.h"

#include "base/mem.h"

#include <assert.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const phase_names[] = {"rmsnorm", "router",  "notify", "dispatch",
                                   "experts", "combine", "shared", "alltoall",
                                   "layer",   "kernel",  NULL};
const char *const stage_names[] = {"inter", "intra", NULL};

bool phase_moves(enum phase phase)
{
    return phase == PHASE_DISPATCH || phase == PHASE_COMBINE || phase == PHASE_ALLTOALL;
}

// More messages than this in one (channel, lane) tell nothing new: neighbours are merged, and
// merged messages still pay for each.
#define MAX_CHUNKS_PER_LANE 256

// A message is what a library sends as one. The busiest lane, cut over channels, would be
// lane / channels / message messages; beyond MAX_CHUNKS_PER_LANE, whole messages are merged.
static void set_chunks(struct transfer *transfer, uint64_t message_tokens,
                       const struct loads *loads)
{
    const size_t ranks = loads->ranks, nodes = loads->nodes;
    const double lane = transfer->rail ? gsl_stats_max(transfer->node, 1, ranks * nodes)
                                       : gsl_stats_max(transfer->pair, 1, ranks * ranks);
    const double merged =
        ceil(lane / transfer->channels / MAX_CHUNKS_PER_LANE / (double)message_tokens);
    transfer->message_tokens = message_tokens;
    transfer->chunk_tokens = message_tokens * (uint64_t)fmax(1, merged);
}

// What an all-gather moves: every token to every other rank and node. What padding posts: slots
// for as many tokens as any rank has, one set a peer, or one an expert where each gets a copy.
static void fill_all(struct schedule *schedule)
{
    const struct loads *loads = schedule->loads;
    const size_t ranks = loads->ranks, nodes = loads->nodes;
    const bool padded = schedule->dispatcher.counts == COUNTS_PADDED;
    const bool by_expert = padded && schedule->dispatcher.dedupe == DEDUPE_EXPERT;
    const uint32_t *slots = schedule->layout->rank_slot;
    const double max = gsl_stats_max(loads->tokens, 1, ranks);
    schedule->all_pairs = mem_alloc(ranks * ranks, sizeof(double));
    schedule->all_nodes = mem_alloc(ranks * nodes, sizeof(double));
    for (size_t s = 0; s < ranks; s++) {
        const double tokens = padded ? max : loads->tokens[s];
        for (size_t r = 0; r < ranks; r++)
            schedule->all_pairs[s * ranks + r] = tokens * (by_expert ? slots[r + 1] - slots[r] : 1);
        for (size_t n = 0; n < nodes; n++)
            schedule->all_nodes[s * nodes + n] = tokens;
    }
}

// Dispatch goes from homes to experts, combine the same paths back. Where a copy goes to each
// expert (dedupe expert, reduce home) lanes are of choices, else of tokens; a rail has both stages.
static struct transfer make_transfer(const struct schedule *schedule, enum phase phase)
{
    const struct dispatcher *dispatcher = &schedule->dispatcher;
    const bool gather = phase == PHASE_COMBINE;
    const bool by_expert =
        gather ? dispatcher->reduce == REDUCE_HOME : dispatcher->dedupe == DEDUPE_EXPERT;
    const bool rail = gather ? dispatcher->reduce == REDUCE_NODE : dispatcher->route == ROUTE_RAIL;
    return (struct transfer){
        .phase = phase,
        .rail = rail,
        .gather = gather,
        .inside_nic = dispatcher->inside == INSIDE_NIC || schedule->cluster.inside == INSIDE_NIC,
        .barrier = dispatcher->sync == SYNC_BARRIER,
        .pull = dispatcher->op == OP_PULL,
        .pair = schedule->all_pairs ? schedule->all_pairs
                : by_expert         ? schedule->loads->expert_copies
                                    : schedule->loads->rank_copies,
        .node = schedule->all_nodes ? schedule->all_nodes : schedule->loads->node_copies,
        .channels = dispatcher_channels(dispatcher, schedule->cluster.sms),
        .window_tokens = dispatcher->window_tokens,
    };
}

void schedule_layer(struct schedule *schedule, const struct moe *moe, const struct cluster *cluster,
                    const struct dispatcher *dispatcher, const struct loads *loads,
                    const struct layout *layout)
{
    *schedule = (struct schedule){.moe = *moe,
                                  .cluster = *cluster,
                                  .dispatcher = *dispatcher,
                                  .fabric = fabric_from_cluster(cluster),
                                  .loads = loads,
                                  .layout = layout,
                                  .transfer_count = 2};
    assert(schedule->fabric.ranks == loads->ranks && schedule->fabric.nodes == loads->nodes);
    for (enum phase phase = 0; phase < PHASE_ALLTOALL; phase++)
        schedule->present[phase] = true;
    schedule->present[PHASE_NOTIFY] = dispatcher->counts == COUNTS_EXCHANGE;
    schedule->moe.topk += moe_fused_experts(moe);
    schedule->present[PHASE_SHARED] = moe->shared_intermediate > 0 && !moe_fused_experts(moe);
    if (dispatcher->dedupe == DEDUPE_ALL || dispatcher->counts == COUNTS_PADDED)
        fill_all(schedule);
    struct transfer *dispatch = &schedule->transfers[0], *combine = &schedule->transfers[1];
    *dispatch = make_transfer(schedule, PHASE_DISPATCH);
    dispatch->token_bytes = dispatcher_dispatch_bytes(
        dispatcher, &schedule->moe, layout->rank_slot[loads->ranks] / schedule->fabric.nodes);
    set_chunks(dispatch, dispatcher->chunk_tokens, loads);
    *combine = make_transfer(schedule, PHASE_COMBINE);
    combine->token_bytes = dispatcher_combine_bytes(dispatcher, &schedule->moe);
    set_chunks(combine, dispatcher->combine_chunk_tokens, loads);
}

void schedule_traffic(struct schedule *schedule, const struct cluster *cluster,
                      const struct dispatcher *dispatcher, const struct loads *loads)
{
    *schedule = (struct schedule){.cluster = *cluster,
                                  .dispatcher = *dispatcher,
                                  .fabric = fabric_from_cluster(cluster),
                                  .loads = loads,
                                  .transfer_count = 1};
    assert(schedule->fabric.ranks == loads->ranks && schedule->fabric.nodes == loads->nodes);
    schedule->present[PHASE_ALLTOALL] = true;
    struct transfer *transfer = &schedule->transfers[0];
    *transfer = make_transfer(schedule, PHASE_ALLTOALL);
    transfer->rail = false;
    transfer->pair = loads->rank_copies;
    transfer->token_bytes = 1;
    set_chunks(transfer, dispatcher->chunk_bytes, loads);
}

const struct transfer *schedule_transfer(const struct schedule *schedule, enum phase phase)
{
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (schedule->transfers[t].phase == phase)
            return &schedule->transfers[t];
    return NULL;
}

void schedule_release(struct schedule *schedule)
{
    free(schedule->all_pairs);
    free(schedule->all_nodes);
    *schedule = (struct schedule){0};
}

void schedule_keep_only(struct schedule *schedule, enum phase phase)
{
    const bool was_present = schedule->present[phase];
    memset(schedule->present, 0, sizeof schedule->present);
    schedule->present[phase] = was_present;
}

void schedule_leave_out(struct schedule *schedule, unsigned phases)
{
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++)
        if (phases & 1u << phase)
            schedule->present[phase] = false;
}

// Over a rail a pair's tokens go between the rank and the home's rail peer in its node; what
// crosses to another node goes between the home and that peer.
void schedule_visit(const struct schedule *schedule, const struct transfer *transfer,
                    lane_visitor *visit, void *context)
{
    const struct fabric *fabric = &schedule->fabric;
    const bool gather = transfer->gather;
    for (uint32_t home = 0; home < fabric->ranks; home++)
        for (uint32_t rank = 0; rank < fabric->ranks; rank++) {
            const uint32_t node = fabric_node(fabric, rank);
            const uint32_t via = transfer->rail ? fabric_rail_peer(fabric, home, node) : home;
            const struct lane_path pair = {home, gather ? rank : via, gather ? via : rank,
                                           transfer->pair[(size_t)home * fabric->ranks + rank],
                                           false};
            if (via != rank)
                visit(context, &pair);
            if (!transfer->rail || via != rank || home == via)
                continue;
            const struct lane_path crossing = {home, gather ? via : home, gather ? home : via,
                                               transfer->node[(size_t)home * fabric->nodes + node],
                                               true};
            visit(context, &crossing);
        }
}

struct pair_matrix {
    double *bytes;
    size_t ranks;
    double token_bytes;
};

static void add_path_bytes(void *context, const struct lane_path *path)
{
    const struct pair_matrix *matrix = context;
    matrix->bytes[path->from * matrix->ranks + path->to] += path->tokens * matrix->token_bytes;
}

double schedule_chance_of_any(const struct schedule *schedule, const struct transfer *transfer,
                              uint32_t home, uint32_t rank)
{
    const struct loads *loads = schedule->loads;
    const size_t pair = (size_t)home * loads->ranks + rank;
    if (transfer->pair == schedule->all_pairs)
        return transfer->pair[pair] > 0;
    return loads_chance_of_any(loads, loads->rank_copies[pair], loads->tokens[home]);
}

double *schedule_pair_bytes(const struct schedule *schedule, const struct transfer *transfer)
{
    const size_t ranks = schedule->fabric.ranks;
    struct pair_matrix matrix = {mem_alloc(ranks * ranks, sizeof(double)), ranks,
                                 (double)transfer->token_bytes};
    schedule_visit(schedule, transfer, add_path_bytes, &matrix);
    return matrix.bytes;
}
