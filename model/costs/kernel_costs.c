#include "model/costs/kernel_costs.h"

#include <gsl/gsl_statistics_double.h>
#include <math.h>

uint32_t kernel_expert_groups(const struct schedule *schedule)
{
    const uint32_t sms = schedule->cluster.sms, experts = schedule->moe.experts;
    return experts ? (experts + sms - 1) / sms : 1;
}

uint32_t kernel_sms(const struct schedule *schedule)
{
    const struct dispatcher *dispatcher = &schedule->dispatcher;
    const struct cost_model *model = dispatcher->cost_model;
    return model->sms ? model->sms(schedule) : dispatcher_sms(dispatcher, schedule->cluster.sms);
}

double kernel_notify_ps(const struct schedule *schedule, uint32_t rank)
{
    const struct cost_model *model = schedule->dispatcher.cost_model;
    const double work = model->notify_ps ? model->notify_ps(schedule, rank) : 0;
    const double wire = model->notify_wire_ps ? model->notify_wire_ps(schedule, rank) : 0;
    return work * fabric_work(&schedule->fabric, rank) + wire;
}

uint32_t kernel_expert_sms(const struct schedule *schedule)
{
    const uint32_t experts = schedule->moe.experts, groups = kernel_expert_groups(schedule);
    return experts ? (experts + groups - 1) / groups
                   : dispatcher_sms(&schedule->dispatcher, schedule->cluster.sms);
}

uint32_t kernel_all_sms(const struct schedule *schedule)
{
    return schedule->cluster.sms;
}

// Where ranks share the cores that start their messages, each has its share of them: times of a
// direction's constants grow, and rates fall, by that factor. Constants of a protocol (nccl) are of
// wires and stay.
static void set_constants(struct kernel_costs *costs)
{
    const double slowdown = cluster_move_slowdown(&costs->schedule->cluster);
    const bool combine = costs->transfer->gather;
    const unsigned side = combine ? COST_COMBINE : COST_DISPATCH;
    struct dispatcher dispatcher = costs->schedule->dispatcher;
    const struct cost_model *model = dispatcher.cost_model;
    for (size_t i = 0; slowdown > 1 && i < model->field_count; i++)
        if (model->fields[i].tag & side)
            field_scale(&model->fields[i], &dispatcher, slowdown);
    costs->common = combine ? dispatcher.combine : dispatcher.dispatch;
    costs->own = dispatcher.own;
}

// Where CPU proxies post messages, `post_messages` = b at a time, those of a batch that go to one
// peer share a doorbell: of P peers on other nodes a batch reaches P (1 - (1 - 1/P)^b), so a
// message's share of the cost grows with the peers, from 1 / b towards all of it. With no such peer
// nothing is posted.
static void share_doorbells(struct kernel_costs *costs)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const double peers =
        costs->transfer->rail ? fabric->nodes - 1 : fabric->ranks - fabric->gpus_per_node;
    const double batch = costs->common.post_messages;
    if (batch <= 0)
        return;
    const double rung = peers > 0 ? peers * (1 - pow(1 - 1 / peers, batch)) : 0;
    costs->common.per_message_ps = (uint64_t)((double)costs->common.per_message_ps * rung / batch);
}

// Of NVLink's rate, `nvlink_share`; where a peer's channels are few, as many times `peer_share` as
// a rank has peers in its node.
static double wire_share(const struct kernel_costs *costs)
{
    const struct common_costs *common = &costs->common;
    const double share = common->nvlink_share > 0 ? common->nvlink_share : 1;
    const double peers = costs->schedule->fabric.gpus_per_node - 1;
    return common->peer_share > 0 && peers > 0 ? fmin(share, peers * common->peer_share) : share;
}

// Stores reach a share of NVLink's rate, and less where fewer SMs make them, for an SM's own stores
// take time as well: 1 / rate = 1 / (share x NVLink) + 1 / (SMs x `store_rate`). Rows of deepep-ll,
// where 128 SMs send for most models, 80 for 160 experts and 8 for 8.
void kernel_costs_init(struct kernel_costs *costs, const struct schedule *schedule,
                       const struct transfer *transfer)
{
    const struct cost_model *model = schedule->dispatcher.cost_model;
    *costs = (struct kernel_costs){
        .schedule = schedule, .transfer = transfer, .sms = kernel_sms(schedule)};
    set_constants(costs);
    share_doorbells(costs);
    const double share = wire_share(costs);
    const double stores_Bps = costs->sms * costs->common.store_Bps;
    const double stored = stores_Bps > 0 ? share * schedule->cluster.nvlink_Bps / stores_Bps : 0;
    costs->nvlink_share = share / (1 + stored);
    costs->nic_share =
        schedule->fabric.nodes > 1 && costs->common.nic_share > 0 ? costs->common.nic_share : 1;
    if (model->copies)
        costs->copies = model->copies(costs);
}

// What passes before the first byte under every cost model: launch, flags, handshakes. A constant,
// and what grows with peers, ranks (a barrier's tree: log2), experts (a counter each, several in
// turn where experts outnumber SMs) and nodes. That growth is linear in nodes for one library and
// logarithmic for another is not told apart by the rows there are.
static double start_ps(const struct kernel_costs *costs, double peers)
{
    const struct common_costs *common = &costs->common;
    const struct schedule *schedule = costs->schedule;
    const struct fabric *fabric = &schedule->fabric;
    const struct cluster *cluster = &schedule->cluster;
    double start = (double)common->fixed_ps + peers * (double)common->per_peer_ps +
                   log2(fabric->ranks) * (double)common->per_rank_doubling_ps +
                   schedule->moe.experts * (double)common->per_expert_ps +
                   kernel_expert_groups(schedule) * (double)common->per_expert_group_ps;
    const double launch = cluster_launches_ps(cluster, (double)cluster->kernel_launch_ps);
    start += cluster_computed_ps(cluster, common->kernels * launch);
    if (fabric->nodes > 1)
        start += (double)common->fixed_inter_ps +
                 (fabric->nodes - 2) * (double)common->per_node_ps +
                 log2(fabric->nodes) * (double)common->per_node_doubling_ps;
    return start;
}

// A slow GPU's kernels take longer by the same factor throughout; wires keep their latency. With
// pull a request goes one way before data comes the other. The last byte of work beside the wires
// is there a wire's latency after it was stored.
struct kernel_times kernel_times(const struct kernel_costs *costs, uint32_t rank, double peers)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const double start = start_ps(costs, peers);
    const double nic = (double)fabric->nic_latency_ps, nvlink = (double)fabric->nvlink_latency_ps;
    struct kernel_times times = {.head_ps = start, .head_fixed_ps = start};
    costs->schedule->dispatcher.cost_model->work(costs, rank, &times);
    const double work = fabric_work(fabric, rank);
    times.head_ps *= work;
    times.head_fixed_ps *= work;
    times.min_ps *= work;
    times.min_fixed_ps *= work;
    times.tail_ps *= work;
    if (costs->transfer->pull) {
        const double request = fabric->nodes > 1 ? nic : nvlink;
        times.head_ps += request;
        times.head_fixed_ps += request;
    }
    if (times.min_ps > 0) {
        const double hop = costs->transfer->inside_nic ? nic : nvlink;
        times.min_ps += hop;
        times.min_fixed_ps += hop;
    }
    return times;
}

double kernel_port_rate(const struct kernel_costs *costs, enum port_kind kind, uint32_t port)
{
    const double rate = fabric_rate(&costs->schedule->fabric, kind, port);
    const bool nvlink = kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX;
    const bool nic = kind == PORT_NIC_TX || kind == PORT_NIC_RX;
    return rate * (nvlink ? costs->nvlink_share : nic ? costs->nic_share : 1);
}

// ---- what kernels have to do, counted
// ------------------------------------------------------------

double work_posted_tokens(const struct schedule *schedule, uint32_t rank)
{
    const double *tokens = schedule->loads->tokens;
    const bool padded = schedule->dispatcher.counts == COUNTS_PADDED;
    return padded ? gsl_stats_max(tokens, 1, schedule->fabric.ranks) : tokens[rank];
}

double work_copies_per_token(const struct kernel_costs *costs, uint32_t rank)
{
    const uint32_t ranks = costs->schedule->fabric.ranks;
    const double tokens = work_posted_tokens(costs->schedule, rank);
    const double copies = loads_sum(costs->transfer->pair + (size_t)rank * ranks, ranks);
    return tokens > 0 ? copies / tokens : 0;
}

// Memory-bound kernels: bytes read and written over the share of memory's rate that they reach.
// Hidden states are BF16 on their side (2 x hidden), rows as they are on the wire on the other.
// Dispatch packs each copy sent: read once, written once. Combine first writes a row for each copy
// received from the choices it sums, then behind the wire reads every copy and writes the token.
void work_through_memory(const struct kernel_costs *costs, double hbm_share, uint32_t rank,
                         struct kernel_times *times)
{
    const struct schedule *schedule = costs->schedule;
    const struct cluster *cluster = &schedule->cluster;
    const double Bps = hbm_share * cluster->hbm_Bps;
    const double own = 2.0 * moe_expert_hidden(&schedule->moe),
                 wire = (double)costs->transfer->token_bytes;
    const double tokens = work_posted_tokens(schedule, rank);
    const double sent = tokens * work_copies_per_token(costs, rank);
    if (!costs->transfer->gather) {
        times->head_ps += cluster_computed_ps(cluster, kernel_bytes_ps(sent * (own + wire), Bps));
        return;
    }
    const uint32_t ranks = schedule->fabric.ranks;
    const double choices = loads_received(schedule->loads->expert_copies, ranks, rank);
    const double served = choices * own + loads_received(costs->transfer->pair, ranks, rank) * wire;
    times->head_ps += cluster_computed_ps(cluster, kernel_bytes_ps(served, Bps));
    times->tail_ps +=
        cluster_computed_ps(cluster, kernel_bytes_ps(sent * wire + tokens * own, Bps));
}

double work_rounds(double tokens, double sms)
{
    return fmax(1, tokens / sms);
}

// The sum reads C copies and writes one row a token: by SMs, max(1, T / 2R) rounds of `token` +
// C B / `sm_rate`, or by memory, (C + 1) T B over its share, whichever is longer. The grid grows
// with tokens up to the GPU (R), two tokens an SM at a time.
double work_home_sums_ps(const struct kernel_costs *costs, uint32_t rank,
                         const struct home_sums *own)
{
    const struct cluster *cluster = &costs->schedule->cluster;
    const double sms = costs->sms, tokens = costs->schedule->loads->tokens[rank];
    const uint64_t bytes = costs->transfer->token_bytes;
    if (tokens <= 0)
        return 0;
    const double copies = work_copies_per_token(costs, rank);
    const double grid = fmax(sms, tokens / ceil(tokens / (double)cluster->sms));
    const double sum =
        work_rounds(tokens, 2 * grid) * (work_ps(own->token_ps, bytes, own->token_Bps) +
                                         copies * kernel_bytes_ps((double)bytes, own->sm_Bps));
    const double memory = own->hbm_share > 0
                              ? kernel_bytes_ps(tokens * (copies + 1) * (double)bytes,
                                                own->hbm_share * cluster->hbm_Bps)
                              : 0;
    return fmax(sum, memory);
}
