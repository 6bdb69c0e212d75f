#include "model/law.h"

#include <math.h>
#include <stdbool.h>

static double bytes_ps(double bytes, double Bps)
{
    return Bps > 0 ? bytes / Bps * 1e12 : 0;
}

double law_copy_ps(const struct transfer_cost *cost, uint64_t token_bytes)
{
    return (double)cost->copy_ps + bytes_ps((double)token_bytes, cost->sm_Bps);
}

double law_visit_ps(const struct transfer_cost *cost, uint64_t token_bytes)
{
    return (double)cost->token_ps + bytes_ps((double)token_bytes, cost->token_Bps);
}

static uint32_t expert_groups(const struct schedule *schedule)
{
    const uint32_t sms = schedule->cluster.sms, experts = schedule->moe.experts;
    return experts ? (experts + sms - 1) / sms : 1;
}

uint32_t law_sms(const struct schedule *schedule)
{
    const uint32_t experts = schedule->moe.experts, groups = expert_groups(schedule);
    if (schedule->dispatcher.law == LAW_STAGED && experts)
        return (experts + groups - 1) / groups;
    if (schedule->dispatcher.law == LAW_WARPS || schedule->dispatcher.law == LAW_WAVES)
        return schedule->cluster.sms;
    return dispatcher_sms(&schedule->dispatcher, schedule->cluster.sms);
}

double law_nvlink_share(const struct schedule *schedule, const struct transfer_cost *cost)
{
    const double idle = 1 - (double)law_sms(schedule) / schedule->cluster.sms;
    const double share = cost->nvlink_share > 0 ? cost->nvlink_share : 1;
    return share / (1 + cost->idle_sm_loss * idle);
}

// What passes before the first byte under every law: launch, flags, handshakes.
static double start_ps(const struct schedule *schedule, const struct transfer *transfer,
                       const struct port_loads *loads, uint32_t rank)
{
    const struct transfer_cost *cost = &transfer->cost;
    const struct fabric *fabric = &schedule->fabric;
    const bool inter = fabric->nodes > 1;
    double start = (double)cost->fixed_ps + loads->peers[rank] * (double)cost->per_peer_ps +
                   log2(fabric->ranks) * (double)cost->per_rank_doubling_ps +
                   schedule->moe.experts * (double)cost->per_expert_ps +
                   expert_groups(schedule) * (double)cost->per_expert_group_ps;
    start += cluster_computed_ps(&schedule->cluster,
                                 cost->kernels * (double)schedule->cluster.kernel_launch_ps);
    if (inter)
        start += (double)cost->fixed_inter_ps + (fabric->nodes - 2) * (double)cost->per_node_ps +
                 log2(fabric->nodes) * (double)cost->per_node_doubling_ps;
    return start;
}

// Tokens whose copies a rank sends: its own, or where slots are fixed, as many as the fullest has.
static double posted_tokens(const struct schedule *schedule, uint32_t rank)
{
    double most = schedule->loads->tokens[rank];
    for (uint32_t r = 0; schedule->dispatcher.counts == COUNTS_PADDED && r < schedule->fabric.ranks;
         r++)
        most = fmax(most, schedule->loads->tokens[r]);
    return most;
}

// Copies a token that a rank sends: to all ranks, its own among them.
static double copies_a_token(const struct schedule *schedule, const struct transfer *transfer,
                             uint32_t rank)
{
    const uint32_t ranks = schedule->fabric.ranks;
    const double tokens = posted_tokens(schedule, rank);
    double copies = 0;
    for (uint32_t r = 0; r < ranks; r++)
        copies += transfer->pair[(size_t)rank * ranks + r];
    return tokens > 0 ? copies / tokens : 0;
}

// Copies of all ranks' tokens that a rank receives, its own among them.
static double copies_received(const struct schedule *schedule, const struct transfer *transfer,
                              uint32_t rank)
{
    const uint32_t ranks = schedule->fabric.ranks;
    double received = 0;
    for (uint32_t r = 0; r < ranks; r++)
        received += transfer->pair[(size_t)r * ranks + rank];
    return received;
}

// SM time of a channel that one of a rank's tokens asks for. In dispatch what is not overlapped is
// the receiving side's alone.
static double stream_work_ps(const struct schedule *schedule, const struct transfer *transfer,
                             double copies)
{
    const bool crosses = transfer->rail && transfer->gather && schedule->fabric.nodes > 1;
    const double nodes = crosses ? loads_nodes_per_token(schedule->loads) : 0;
    return (transfer->rail ? 1 + nodes : 0) * transfer->visit_ps +
           (copies + nodes) * transfer->copy_ps;
}

// Choices of all ranks' tokens that a rank's experts serve.
static double choices_served(const struct schedule *schedule, uint32_t rank)
{
    const uint32_t ranks = schedule->fabric.ranks;
    double choices = 0;
    for (uint32_t r = 0; r < ranks; r++)
        choices += schedule->loads->expert_copies[(size_t)r * ranks + rank];
    return choices;
}

// Where kernels of their own write rows for the wire before it moves them, and sum them behind it:
// bytes read and written, hidden states in BF16 on their side.
static void through_memory(const struct schedule *schedule, const struct transfer *transfer,
                           uint32_t rank, struct law_terms *terms)
{
    const double Bps = transfer->cost.hbm_share * schedule->cluster.hbm_Bps;
    const double own = 2.0 * schedule->moe.hidden, wire = (double)transfer->token_bytes;
    const double tokens = posted_tokens(schedule, rank);
    const double sent = tokens * copies_a_token(schedule, transfer, rank);
    const struct cluster *cluster = &schedule->cluster;
    if (!transfer->gather) {
        terms->head_ps += cluster_computed_ps(cluster, bytes_ps(sent * (own + wire), Bps));
        return;
    }
    const double served =
        choices_served(schedule, rank) * own + copies_received(schedule, transfer, rank) * wire;
    terms->head_ps += cluster_computed_ps(cluster, bytes_ps(served, Bps));
    terms->tail_ps += cluster_computed_ps(cluster, bytes_ps(sent * wire + tokens * own, Bps));
}

static void stream(const struct schedule *schedule, const struct transfer *transfer, uint32_t rank,
                   struct law_terms *terms)
{
    const struct transfer_cost *cost = &transfer->cost;
    const double tokens = posted_tokens(schedule, rank);
    const double copies = copies_a_token(schedule, transfer, rank);
    const double n = fmax(1, tokens / transfer->channels);
    if (schedule->fabric.nodes == 1)
        terms->least_ps = terms->least_fixed_ps = (double)cost->least_ps;
    if (transfer->gather && cost->sum_ps > 0)
        terms->head_ps += choices_served(schedule, rank) * (double)cost->sum_ps / law_sms(schedule);
    if (tokens <= 0)
        return;
    const double lead = bytes_ps((double)transfer->token_bytes, cost->row_Bps);
    terms->tail_ps = transfer->gather ? lead * copies / (copies + 1) : lead;
    if (cost->ramp_tokens > 0)
        terms->tail_ps += cost->ramp_tokens * n / (n + cost->ramp_half_tokens) *
                          stream_work_ps(schedule, transfer, copies);
}

// Rounds in which SMs take over a rank's tokens, one at a time; a part of a round is one.
static double rounds(double tokens, double sms)
{
    return fmax(1, tokens / sms);
}

static void staged(const struct schedule *schedule, const struct transfer *transfer, uint32_t rank,
                   struct law_terms *terms)
{
    const struct transfer_cost *cost = &transfer->cost;
    const double sms = law_sms(schedule), tokens = schedule->loads->tokens[rank];
    const double bytes = (double)transfer->token_bytes;
    if (!transfer->gather) {
        terms->head_ps +=
            tokens > 0 ? rounds(tokens, sms) * law_visit_ps(cost, transfer->token_bytes) : 0;
        terms->tail_ps = copies_received(schedule, transfer, rank) *
                         law_copy_ps(cost, transfer->token_bytes) / sms;
        return;
    }
    if (tokens <= 0)
        return;
    const double copies = copies_a_token(schedule, transfer, rank);
    // The grid grows with tokens up to the GPU, two tokens an SM at a time.
    const double gpu = schedule->cluster.sms;
    const double grid = fmax(sms, tokens / ceil(tokens / gpu));
    const double sum = rounds(tokens, 2 * grid) * (law_visit_ps(cost, transfer->token_bytes) +
                                                   copies * bytes_ps(bytes, cost->sm_Bps));
    const double memory =
        cost->hbm_share > 0
            ? bytes_ps(tokens * (copies + 1) * bytes, cost->hbm_share * schedule->cluster.hbm_Bps)
            : 0;
    terms->tail_ps = fmax(sum, memory);
}

// What a rank has for its busiest peer, and in all; sent or received, whichever is more. An
// all-to-all copies a rank's own slot too, which no matrix tells (its diagonal is ignored): taken
// to be as large as the busiest peer's, where the rank has something for every other.
struct burden {
    double peer, all; // bytes
    uint32_t peers;   // that its channels are shared out over, itself in an all-to-all
};

static struct burden burden_of(const struct schedule *schedule, const struct transfer *transfer,
                               uint32_t rank)
{
    const uint32_t ranks = schedule->fabric.ranks;
    const double bytes = (double)transfer->token_bytes;
    double sent = 0, received = 0, peer = 0;
    uint32_t to = 0, from = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        const double out = transfer->pair[(size_t)rank * ranks + r] * bytes;
        const double in = transfer->pair[(size_t)r * ranks + rank] * bytes;
        if (r == rank)
            continue;
        sent += out;
        received += in;
        peer = fmax(peer, fmax(out, in));
        to += out > 0;
        from += in > 0;
    }
    const uint32_t peers = to > from ? to : from;
    const bool everyone = peers + 1 == ranks;
    return (struct burden){.peer = peer,
                           .all = fmax(sent, received) + (everyone ? peer : 0),
                           .peers = peers + everyone};
}

// A peer's bytes are cut over at most channels / peers channels, parts of 64 KiB at least: the
// monotone form of NCCL's ceil(bytes / 64 KiB) channels.
static double channel_part(const struct nccl_cost *nccl, const struct burden *burden)
{
    const double most = fmax(1, nccl->channels / fmax(1, burden->peers));
    return fmax(burden->peer / most, fmin(burden->peer, (double)nccl->part_bytes));
}

static double ll_ps(const struct nccl_cost *nccl, const struct burden *burden)
{
    const double part = channel_part(nccl, burden);
    // A receiver copies a chunk out only when it is there.
    const double channel =
        bytes_ps(part + fmin(part, (double)nccl->ll_chunk_bytes), nccl->ll_channel_Bps);
    return fmax(channel, bytes_ps(burden->all, nccl->ll_Bps));
}

static double simple_ps(const struct nccl_cost *nccl, const struct burden *burden, double *fill)
{
    const double part = channel_part(nccl, burden);
    const double cached = burden->all > 0 ? fmin(1, (double)nccl->cached_bytes / burden->all) : 1;
    const double boost = nccl->cache_boost > 1 ? nccl->cache_boost : 1;
    const double rate = nccl->channel_Bps / (1 - cached + cached / boost);
    *fill = nccl->fill_share * bytes_ps(fmin(part, (double)nccl->chunk_bytes), rate);
    return bytes_ps(part, rate);
}

// Below the switch wires are fed by flagged stores at a fraction of their rate; above it a bulk
// protocol starts later. The switch steps down in no case: a larger message is not done before the
// largest of the lower protocol.
static void nccl_law(const struct schedule *schedule, const struct transfer *transfer,
                     uint32_t rank, struct law_terms *terms)
{
    const struct nccl_cost *nccl = &schedule->dispatcher.nccl;
    const struct burden burden = burden_of(schedule, transfer, rank);
    const double limit = (double)nccl->ll_limit_bytes;
    if (burden.peer <= limit) {
        terms->least_ps = ll_ps(nccl, &burden);
        return;
    }
    const struct burden last = {
        .peer = limit, .all = burden.all * limit / burden.peer, .peers = burden.peers};
    double fill;
    const double work = simple_ps(nccl, &burden, &fill);
    const double later = (nccl->simple_start - 1) * (double)transfer->cost.fixed_ps;
    terms->head_ps += later + fill;
    terms->head_fixed_ps += later;
    terms->least_ps = fmax(work, ll_ps(nccl, &last) - later - fill);
}

static double lane_tokens(const struct schedule *schedule, const struct transfer *transfer,
                          uint32_t rank)
{
    const uint32_t ranks = schedule->fabric.ranks;
    double most = 0;
    for (uint32_t r = 0; r < ranks; r++)
        most = fmax(most, fmax(transfer->pair[(size_t)rank * ranks + r],
                               transfer->pair[(size_t)r * ranks + rank]));
    return most;
}

static void warps(const struct schedule *schedule, const struct transfer *transfer, uint32_t rank,
                  struct law_terms *terms)
{
    const struct transfer_cost *cost = &transfer->cost;
    const struct moe *moe = &schedule->moe;
    const uint32_t ranks = schedule->fabric.ranks;
    const enum dtype dtype = transfer->gather ? moe->combine_dtype : moe->dispatch_dtype;
    const bool quantised = dtype == DTYPE_NVFP4_IN_KERNEL, scales = dtype == DTYPE_NVFP4;
    const double bytes = (double)transfer->token_bytes;
    // Half of the SMs' blocks send and half receive; a block serves up to eight peers, a warp each.
    const double blocks = ceil(ranks / 8.0), warps_of_block = ceil(ranks / blocks);
    const uint32_t half = schedule->cluster.sms / 2;
    const double channels = fmax(1, floor(half / (2 * blocks)));
    const double lane = lane_tokens(schedule, transfer, rank);
    const double of_warp = fmax(lane, lane > 0 ? 1 : 0) / channels;
    const double row =
        (double)cost->token_ps + bytes_ps(quantised ? 2.0 * moe->hidden : bytes, cost->token_Bps) +
        (scales ? (double)cost->scales_ps : 0) + (quantised ? (double)cost->quantise_ps : 0);
    const double copy =
        law_copy_ps(cost, transfer->token_bytes) + (quantised ? (double)cost->quantise_copy_ps : 0);
    terms->head_ps += (double)cost->per_warp_ps * warps_of_block + (lane > 0 ? 2 * row : 0);
    terms->least_ps = fmax(fmax(0, of_warp - 1) * row, lane / channels * warps_of_block * copy);
    if (transfer->gather)
        terms->tail_ps = schedule->loads->tokens[rank] * (double)cost->sum_ps;
}

static void waves(const struct schedule *schedule, const struct transfer *transfer, uint32_t rank,
                  struct law_terms *terms)
{
    const struct transfer_cost *cost = &transfer->cost;
    const double tokens = schedule->loads->tokens[rank], sms = schedule->cluster.sms;
    const double copies = copies_a_token(schedule, transfer, rank);
    const double work = (double)cost->token_ps + copies * law_copy_ps(cost, transfer->token_bytes);
    const double flags =
        (double)cost->least_ps + (schedule->fabric.ranks > 4 ? (double)cost->least_tray_ps : 0);
    terms->least_ps = fmax(flags, tokens * work / sms);
    terms->least_fixed_ps = flags < terms->least_ps ? 0 : flags;
    // Eight blocks of an SM at a time: later waves fill in behind the first.
    terms->tail_ps =
        (double)cost->wave_ps * copies / fmax(1, schedule->moe.topk) * fmin(1, tokens / (8 * sms));
}

void law_terms(const struct schedule *schedule, const struct transfer *transfer,
               const struct port_loads *loads, uint32_t rank, struct law_terms *terms)
{
    const double start = start_ps(schedule, transfer, loads, rank);
    *terms = (struct law_terms){.head_ps = start, .head_fixed_ps = start};
    switch (schedule->dispatcher.law) {
    case LAW_STREAM:
        stream(schedule, transfer, rank, terms);
        through_memory(schedule, transfer, rank, terms);
        break;
    case LAW_STAGED:
        staged(schedule, transfer, rank, terms);
        break;
    case LAW_NCCL:
        nccl_law(schedule, transfer, rank, terms);
        through_memory(schedule, transfer, rank, terms);
        break;
    case LAW_WARPS:
        warps(schedule, transfer, rank, terms);
        break;
    case LAW_WAVES:
        waves(schedule, transfer, rank, terms);
        break;
    }
    const struct fabric *fabric = &schedule->fabric;
    const double work = fabric_work(fabric, rank);
    const double hop =
        (double)(transfer->inside_nic ? fabric->nic_latency_ps : fabric->nvlink_latency_ps);
    terms->head_ps *= work;
    terms->head_fixed_ps *= work;
    terms->least_ps *= work;
    terms->least_fixed_ps *= work;
    terms->tail_ps *= work;
    if (transfer->pull) { // a request's way
        const double way =
            (double)(fabric->nodes > 1 ? fabric->nic_latency_ps : fabric->nvlink_latency_ps);
        terms->head_ps += way;
        terms->head_fixed_ps += way;
    }
    if (terms->least_ps <= 0)
        return;
    terms->least_ps += hop; // the last byte is there a wire's latency later
    terms->least_fixed_ps += hop;
}
