// Cost model nccl (NVIDIA/nccl src/enqueue.cc, src/include/device.h): two protocols by the size of
// a peer's message; a peer's bytes are cut over channels, one SM each. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

struct nccl_constants {
    struct nccl_side {
        double hbm_share; // of memory's rate: packing before and summing after; 0: neither is there
    } dispatch, combine;
    double channels;         // for all peers
    uint64_t part_bytes;     // the least that a channel is given
    uint64_t ll_limit_bytes; // largest message of protocol LL
    uint64_t ll_chunk_bytes;
    double ll_channel_Bps, ll_Bps; // of one channel, of all a rank's bytes with its own
    double simple_start;           // start of protocol Simple over that of LL
    uint64_t chunk_bytes;
    double channel_Bps, fill_share;
    uint64_t cached_bytes; // of a rank's bytes that caches serve
    double cache_boost;
};

static const struct nccl_constants defaults = {
    .channels = 32, .part_bytes = 65536, .simple_start = 1};

#define OWN_CONSTANTS struct nccl_constants
#include "model/costs/rows.h"

// clang-format off
#define PROTOCOL(what, name, member, high, text)                                                   \
    ROW("nccl_" name, what, AT_OWN(member), high, COST_MOVES, text)

static const struct field fields[] = {
    ROWS_CHOICES,
    ROWS_START(dispatch), ROWS_GROWTH(dispatch), ROWS_NVLINK(dispatch), ROW_HBM_SHARE(dispatch),
    ROWS_KERNELS(dispatch),
    ROWS_START(combine), ROWS_GROWTH(combine), ROWS_NVLINK(combine), ROW_HBM_SHARE(combine),
    ROWS_KERNELS(combine),
    PROTOCOL(FIELD_NUMBER, "channels", channels, 1e9,
             "law nccl: channels of all peers, an SM each"),
    PROTOCOL(FIELD_BYTES, "part", part_bytes, 1e12, "least that a channel is given"),
    PROTOCOL(FIELD_BYTES, "ll_limit", ll_limit_bytes, 1e12, "largest message of protocol LL"),
    PROTOCOL(FIELD_BYTES, "ll_chunk", ll_chunk_bytes, 1e12, "chunk of protocol LL"),
    PROTOCOL(FIELD_RATE, "ll_channel_rate", ll_channel_Bps, 1e15, "one channel, protocol LL"),
    PROTOCOL(FIELD_RATE, "ll_rate", ll_Bps, 1e15,
             "all of a rank's bytes with its own, protocol LL"),
    PROTOCOL(FIELD_NUMBER, "simple_start", simple_start, 1e9,
             "start of protocol Simple over that of LL"),
    PROTOCOL(FIELD_BYTES, "chunk", chunk_bytes, 1e12, "chunk of protocol Simple"),
    PROTOCOL(FIELD_RATE, "channel_rate", channel_Bps, 1e15, "one channel, protocol Simple"),
    PROTOCOL(FIELD_NUMBER, "fill", fill_share, 1e9,
             "share of the first chunk that nothing overlaps"),
    PROTOCOL(FIELD_BYTES, "cached", cached_bytes, 1e12, "of a rank's bytes that caches serve"),
    PROTOCOL(FIELD_NUMBER, "cache_boost", cache_boost, 1e9,
             "rate from caches over that from memory"),
};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

// What a rank has for its busiest peer, and in all; sent or received, whichever is more. An
// all-to-all copies a rank's own slot too, which no matrix tells (its diagonal is ignored): taken
// to be as large as the busiest peer's, where the rank has something for every other.
struct burden {
    double peer, all; // bytes
    uint32_t peers;   // that its channels are shared out over, itself in an all-to-all
};

static struct burden nccl_burden(const struct kernel_costs *costs, uint32_t rank)
{
    const struct transfer *transfer = costs->transfer;
    const uint32_t ranks = costs->schedule->fabric.ranks;
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
static double nccl_part(const struct nccl_constants *nccl, const struct burden *burden)
{
    const double max = fmax(1, nccl->channels / fmax(1, burden->peers));
    return fmax(burden->peer / max, fmin(burden->peer, (double)nccl->part_bytes));
}

// LL: flagged stores. A receiver copies a chunk out only when it is there, so a channel takes
// (part + chunk) / its rate; all channels together are bounded by what the GPU stores.
static double nccl_ll_ps(const struct nccl_constants *nccl, const struct burden *burden)
{
    const double part = nccl_part(nccl, burden);
    const double channel =
        kernel_bytes_ps(part + fmin(part, (double)nccl->ll_chunk_bytes), nccl->ll_channel_Bps);
    return fmax(channel, kernel_bytes_ps(burden->all, nccl->ll_Bps));
}

// Simple: a channel's part at its rate, of which a share fills the pipeline. Bytes that caches
// serve pass `boost` times as fast: rate = channel rate / (1 - c + c / boost), c their share.
static double nccl_simple_ps(const struct nccl_constants *nccl, const struct burden *burden,
                             double *fill)
{
    const double part = nccl_part(nccl, burden);
    const double cached = burden->all > 0 ? fmin(1, (double)nccl->cached_bytes / burden->all) : 1;
    const double boost = nccl->cache_boost > 1 ? nccl->cache_boost : 1;
    const double rate = nccl->channel_Bps / (1 - cached + cached / boost);
    *fill = nccl->fill_share * kernel_bytes_ps(fmin(part, (double)nccl->chunk_bytes), rate);
    return kernel_bytes_ps(part, rate);
}

// Below the switch wires are fed by flagged stores at a fraction of their rate; above it a bulk
// protocol starts later. The switch steps down in no case: a larger message is not done before the
// largest of the lower protocol.
static void nccl_protocol(const struct kernel_costs *costs, const struct burden *burden,
                          struct kernel_times *times)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const double limit = (double)nccl->ll_limit_bytes;
    if (burden->peer <= limit) {
        times->min_ps = nccl_ll_ps(nccl, burden);
        return;
    }
    const struct burden last = {
        .peer = limit, .all = burden->all * limit / burden->peer, .peers = burden->peers};
    double fill;
    const double work = nccl_simple_ps(nccl, burden, &fill);
    const double later = (nccl->simple_start - 1) * (double)costs->common.fixed_ps;
    times->head_ps += later + fill;
    times->head_fixed_ps += later;
    times->min_ps = fmax(work, nccl_ll_ps(nccl, &last) - later - fill);
}

static void nccl_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const struct nccl_side *side = costs->transfer->gather ? &nccl->combine : &nccl->dispatch;
    const struct burden burden = nccl_burden(costs, rank);
    nccl_protocol(costs, &burden, times);
    work_through_memory(costs, side->hbm_share, rank, times);
}

const struct cost_model cost_nccl = {.name = "nccl",
                                     ROWS_OF(fields),
                                     .defaults = &defaults,
                                     .defaults_bytes = sizeof defaults,
                                     .moves_bytes = true,
                                     .work = nccl_work};
