#include "model/schedule.h"

#include "base/mem.h"
#include "model/law.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const phase_names[] = {"rmsnorm", "router", "notify",   "dispatch", "experts",
                                   "combine", "shared", "alltoall", NULL};
const char *const stage_names[] = {"inter", "intra", NULL};

bool phase_moves(enum phase phase)
{
    return phase == PHASE_DISPATCH || phase == PHASE_COMBINE || phase == PHASE_ALLTOALL;
}

// More messages than this in one (channel, lane) tell nothing new: neighbours are merged, and
// merged messages still pay for each.
#define MAX_CHUNKS_PER_LANE 256

static double largest(const double *values, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, values[i]);
    return most;
}

static void set_chunks(struct transfer *transfer, uint64_t message_tokens,
                       const struct loads *loads)
{
    const size_t ranks = loads->ranks, nodes = loads->nodes;
    const double lane = transfer->rail ? largest(transfer->node, ranks * nodes)
                                       : largest(transfer->pair, ranks * ranks);
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
    const double most = largest(loads->tokens, ranks);
    schedule->all_pairs = mem_alloc(ranks * ranks, sizeof(double));
    schedule->all_nodes = mem_alloc(ranks * nodes, sizeof(double));
    for (size_t s = 0; s < ranks; s++) {
        const double tokens = padded ? most : loads->tokens[s];
        for (size_t r = 0; r < ranks; r++)
            schedule->all_pairs[s * ranks + r] = tokens * (by_expert ? slots[r + 1] - slots[r] : 1);
        for (size_t n = 0; n < nodes; n++)
            schedule->all_nodes[s * nodes + n] = tokens;
    }
}

static const double *pairs_of(const struct schedule *schedule, bool by_expert)
{
    if (schedule->all_pairs)
        return schedule->all_pairs;
    return by_expert ? schedule->loads->expert_copies : schedule->loads->rank_copies;
}

// How much longer SMs take than their constants say: across nodes, or with very much to receive.
static double work_growth(const struct transfer *transfer, const struct schedule *schedule)
{
    const struct transfer_cost *cost = &transfer->cost;
    const size_t ranks = schedule->fabric.ranks;
    if (schedule->fabric.nodes > 1)
        return cost->inter_work > 0 ? cost->inter_work : 1;
    double copies = 0;
    for (size_t i = 0; i < ranks * ranks; i++)
        copies += transfer->pair[i];
    const double received = copies / (double)ranks * (double)transfer->token_bytes / 1e9;
    return 1 + cost->large_work * received / (1 + received);
}

// Copy engines work chunk by chunk under law stream alone; the other laws say when SMs work.
static void set_copies(struct transfer *transfer, const struct schedule *schedule)
{
    const double sms = (double)law_sms(schedule) / transfer->channels; // of a channel
    if (schedule->dispatcher.law != LAW_STREAM)
        return;
    const double nodes = loads_nodes_per_token(schedule->loads);
    const double more = work_growth(transfer, schedule);
    transfer->copy_ps = law_copy_ps(&transfer->cost, transfer->token_bytes) * more / sms;
    transfer->visit_ps = law_visit_ps(&transfer->cost, transfer->token_bytes) * more / sms;
    const bool crosses = schedule->fabric.nodes > 1 || !schedule->dispatcher.one_stage_inside;
    if (crosses && !schedule->dispatcher.no_home_copy)
        transfer->home_ps = transfer->copy_ps + (nodes > 0 ? transfer->visit_ps / nodes : 0);
}

// Where ranks share the cores that start their messages, each has its share of them.
static uint64_t slowed(uint64_t time_ps, double slowdown)
{
    return (uint64_t)ceil((double)time_ps * slowdown);
}

static struct transfer_cost shared_cost(const struct transfer_cost *cost,
                                        const struct cluster *cluster)
{
    const double slowdown = cluster_move_slowdown(cluster);
    struct transfer_cost shared = *cost;
    if (slowdown <= 1)
        return shared;
    for (size_t i = 0; i < dispatcher_field_count; i++) {
        const struct field *field = &dispatcher_fields[i];
        const size_t begin = offsetof(struct dispatcher, dispatch);
        if (field->offset < begin || field->offset >= begin + sizeof shared)
            continue;
        char *member = (char *)&shared + (field->offset - begin);
        if (field->kind == FIELD_TIME)
            *(uint64_t *)(void *)member = slowed(*(uint64_t *)(void *)member, slowdown);
        else if (field->kind == FIELD_RATE)
            *(double *)(void *)member /= slowdown;
    }
    return shared;
}

static struct transfer make_transfer(const struct schedule *schedule, enum phase phase)
{
    const struct dispatcher *dispatcher = &schedule->dispatcher;
    const bool gather = phase == PHASE_COMBINE;
    const bool by_expert =
        gather ? dispatcher->reduce == REDUCE_HOME : dispatcher->dedupe == DEDUPE_EXPERT;
    const bool rail = gather ? dispatcher->reduce == REDUCE_NODE : dispatcher->route == ROUTE_RAIL;
    struct transfer transfer = {
        .phase = phase,
        .rail = rail,
        .gather = gather,
        .inside_nic = dispatcher->inside == INSIDE_NIC || schedule->cluster.inside == INSIDE_NIC,
        .barrier = dispatcher->sync == SYNC_BARRIER,
        .pull = dispatcher->op == OP_PULL,
        .pair = pairs_of(schedule, by_expert),
        .node = schedule->all_nodes ? schedule->all_nodes : schedule->loads->node_copies,
        .channels = dispatcher_channels(dispatcher, schedule->cluster.sms),
        .window_tokens = dispatcher->window_tokens,
        .cost =
            shared_cost(gather ? &dispatcher->combine : &dispatcher->dispatch, &schedule->cluster),
    };
    return transfer;
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
    schedule->present[PHASE_SHARED] = moe->shared_intermediate > 0;
    if (dispatcher->dedupe == DEDUPE_ALL || dispatcher->counts == COUNTS_PADDED)
        fill_all(schedule);
    struct transfer *dispatch = &schedule->transfers[0], *combine = &schedule->transfers[1];
    *dispatch = make_transfer(schedule, PHASE_DISPATCH);
    dispatch->token_bytes = dispatcher_dispatch_bytes(dispatcher, moe);
    set_copies(dispatch, schedule);
    set_chunks(dispatch, dispatcher->chunk_tokens, loads);
    *combine = make_transfer(schedule, PHASE_COMBINE);
    combine->token_bytes = dispatcher_combine_bytes(dispatcher, moe);
    set_copies(combine, schedule);
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
    set_copies(transfer, schedule);
    set_chunks(transfer, dispatcher->chunk_bytes, loads);
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

static void add_at(struct port_loads *loads, enum port_class class, uint32_t port, uint32_t rank,
                   double bytes, double messages)
{
    loads->bytes[class][port] += bytes;
    loads->messages[class][port] += messages;
    loads->own_bytes[class][rank] += bytes;
    loads->own_messages[class][rank] += messages;
}

// Bytes, and messages where they start, on the ports between two ranks.
static void add_hop(const struct schedule *schedule, const struct transfer *transfer,
                    struct port_loads *loads, uint32_t from, uint32_t to, double tokens,
                    double messages)
{
    const struct fabric *fabric = &schedule->fabric;
    const double bytes = tokens * (double)transfer->token_bytes;
    const bool inside = fabric_node(fabric, from) == fabric_node(fabric, to);
    if (from == to || tokens <= 0)
        return;
    if (inside && !transfer->inside_nic) {
        add_at(loads, PORT_NVLINK_TX, from, from, bytes, messages);
        add_at(loads, PORT_NVLINK_RX, to, to, bytes, 0);
        return;
    }
    add_at(loads, PORT_NIC_TX, fabric_nic(fabric, from), from, bytes, messages);
    add_at(loads, PORT_NIC_RX, fabric_nic(fabric, to), to, bytes, 0);
    if (fabric_crosses_spine(fabric, from, to)) {
        add_at(loads, PORT_SPINE_UP, fabric_node(fabric, from), from, bytes, 0);
        add_at(loads, PORT_SPINE_DOWN, fabric_node(fabric, to), to, bytes, 0);
    }
}

// Messages of a lane of whole tokens: each channel's slice in pieces of message_tokens.
static double whole_messages(const struct transfer *transfer, double tokens)
{
    const double slice = floor(tokens / transfer->channels);
    const double larger = tokens - slice * transfer->channels; // slices with one token more
    const double message = (double)transfer->message_tokens;
    return larger * ceil((slice + 1) / message) +
           (transfer->channels - larger) * ceil(slice / message);
}

// Expected loads have parts of tokens: between two whole numbers.
static double lane_messages(const struct transfer *transfer, double tokens)
{
    const double whole = floor(tokens), part = tokens - whole;
    const double messages = whole_messages(transfer, whole);
    return part > 0 ? messages + part * (whole_messages(transfer, whole + 1) - messages) : messages;
}

static void direct_loads(const struct schedule *schedule, const struct transfer *transfer,
                         struct port_loads *loads)
{
    const uint32_t ranks = schedule->fabric.ranks;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t peer = 0; peer < ranks; peer++) {
            const double tokens = transfer->pair[(size_t)home * ranks + peer];
            const uint32_t from = transfer->gather ? peer : home;
            const uint32_t to = transfer->gather ? home : peer;
            const double bytes = tokens * (double)transfer->token_bytes;
            add_hop(schedule, transfer, loads, from, to, tokens, lane_messages(transfer, tokens));
            loads->bytes[PORT_SM][from] += bytes;
            loads->bytes[PORT_SM][to] += bytes;
            loads->copies_ps[0][from] += tokens * transfer->copy_ps;
            loads->copies_ps[1][to] += tokens * transfer->copy_ps;
            loads->peers[from] += tokens > 0 && from != to;
        }
}

static void rail_loads(const struct schedule *schedule, const struct transfer *transfer,
                       struct port_loads *loads)
{
    const struct fabric *fabric = &schedule->fabric;
    const uint32_t ranks = fabric->ranks, nodes = fabric->nodes, gpus = fabric->gpus_per_node;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t node = 0; node < nodes; node++) {
            const double crossing = transfer->node[(size_t)home * nodes + node];
            const uint32_t peer = fabric_rail_peer(fabric, home, node);
            const uint32_t from = transfer->gather ? peer : home;
            const uint32_t to = transfer->gather ? home : peer;
            add_hop(schedule, transfer, loads, from, to, crossing,
                    lane_messages(transfer, crossing));
            loads->bytes[PORT_SM][home] += crossing * (double)transfer->token_bytes;
            loads->copies_ps[0][home] += crossing * transfer->home_ps;
            loads->copies_ps[0][peer] += crossing * transfer->visit_ps;
            loads->peers[from] += crossing > 0 && from != to;
            for (uint32_t rank = node * gpus; rank < (node + 1) * gpus; rank++) {
                const double tokens = transfer->pair[(size_t)home * ranks + rank];
                add_hop(schedule, transfer, loads, transfer->gather ? rank : peer,
                        transfer->gather ? peer : rank, tokens, 0);
                loads->bytes[PORT_SM][peer] += tokens * (double)transfer->token_bytes;
                loads->copies_ps[0][peer] += tokens * transfer->copy_ps;
            }
        }
}

void schedule_port_loads(const struct schedule *schedule, const struct transfer *transfer,
                         struct port_loads *loads)
{
    const struct fabric *fabric = &schedule->fabric;
    for (int class = 0; class < PORT_CLASSES; class ++) {
        loads->bytes[class] = mem_alloc(fabric->count[class], sizeof(double));
        loads->messages[class] = mem_alloc(fabric->count[class], sizeof(double));
    }
    for (int class = 0; class < PORT_LINKS; class ++) {
        loads->own_bytes[class] = mem_alloc(fabric->ranks, sizeof(double));
        loads->own_messages[class] = mem_alloc(fabric->ranks, sizeof(double));
    }
    loads->peers = mem_alloc(fabric->ranks, sizeof(double));
    for (int kernel = 0; kernel < 2; kernel++)
        loads->copies_ps[kernel] = mem_alloc(fabric->ranks, sizeof(double));
    (transfer->rail ? rail_loads : direct_loads)(schedule, transfer, loads);
    for (uint32_t r = 0; r < fabric->ranks; r++)
        for (int kernel = 0; kernel < 2; kernel++)
            loads->copies_ps[kernel][r] *= fabric_work(fabric, r);
}

void port_loads_release(struct port_loads *loads)
{
    for (int class = 0; class < PORT_CLASSES; class ++) {
        free(loads->bytes[class]);
        free(loads->messages[class]);
    }
    for (int class = 0; class < PORT_LINKS; class ++) {
        free(loads->own_bytes[class]);
        free(loads->own_messages[class]);
    }
    free(loads->peers);
    for (int kernel = 0; kernel < 2; kernel++)
        free(loads->copies_ps[kernel]);
    *loads = (struct port_loads){0};
}

double schedule_copies_ps(const struct transfer *transfer, const struct port_loads *loads,
                          uint32_t rank)
{
    return fmax(loads->copies_ps[0][rank], loads->copies_ps[1][rank]) / transfer->channels;
}

double schedule_port_rate(const struct schedule *schedule, const struct transfer *transfer,
                          enum port_class class, uint32_t port)
{
    const double rate = fabric_rate(&schedule->fabric, class, port);
    const bool nvlink = class == PORT_NVLINK_TX || class == PORT_NVLINK_RX;
    return nvlink ? rate * law_nvlink_share(schedule, &transfer->cost) : rate;
}

double *schedule_pair_bytes(const struct schedule *schedule, const struct transfer *transfer)
{
    const struct fabric *fabric = &schedule->fabric;
    const uint32_t ranks = fabric->ranks;
    const double bytes = (double)transfer->token_bytes;
    double *matrix = mem_alloc((size_t)ranks * ranks, sizeof(double));
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t rank = 0; rank < ranks; rank++) {
            const double tokens = transfer->pair[(size_t)home * ranks + rank];
            const uint32_t node = fabric_node(fabric, rank);
            const uint32_t via = transfer->rail ? fabric_rail_peer(fabric, home, node) : home;
            const uint32_t from = transfer->gather ? rank : via, to = transfer->gather ? via : rank;
            if (from != to)
                matrix[(size_t)from * ranks + to] += tokens * bytes;
            if (transfer->rail && rank == via && home != via)
                matrix[transfer->gather ? (size_t)via * ranks + home
                                        : (size_t)home * ranks + via] +=
                    transfer->node[(size_t)home * fabric->nodes + node] * bytes;
        }
    return matrix;
}

double schedule_bound_ps(const struct schedule *schedule, const struct transfer *transfer,
                         char *busiest)
{
    const struct fabric *fabric = &schedule->fabric;
    struct port_loads loads;
    double bound = 0;
    strcpy(busiest, "none");
    schedule_port_loads(schedule, transfer, &loads);
    for (int class = 0; class < PORT_LINKS; class ++)
        for (uint32_t port = 0; port < fabric->count[class]; port++) {
            const double rate = fabric_rate(fabric, (enum port_class) class, port);
            const double time = loads.bytes[class][port] / rate * 1e12;
            if (time > bound) {
                bound = time;
                fabric_port_name(fabric, (enum port_class) class, port, busiest);
            }
        }
    port_loads_release(&loads);
    return bound;
}
