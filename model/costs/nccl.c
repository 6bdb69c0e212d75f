// Cost model nccl (NVIDIA/nccl src/enqueue.cc, src/include/device.h): two protocols by the size of
// a peer's message; a peer's bytes are cut over channels, one SM each. MODEL.md section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

struct nccl_constants {
    struct nccl_side {
        double hbm_share; // of memory's rate: packing before and summing after; 0: neither is there
    } dispatch, combine;
    double channels;         // for all peers, inside one node
    double peer_channels;    // the most of a peer there; 0: all
    double net_channels;     // for all peers where there are more nodes
    double net_share_Bps;    // of the NICs' rate, to a channel of a network peer; 0: before 2.29
    double net_channel_Bps;  // one channel over the network; 0: as between GPUs of a node
    double single_share;     // of a bridge's rate by one channel per peer; 0: all
    uint64_t net_peer_ps;    // of a network peer, before the first byte
    uint64_t batch_ps;       // of each batch of a channel's peers but the first
    uint64_t part_bytes;     // the least that a channel is given
    uint64_t ll_limit_bytes; // largest message of protocol LL,
    bool ll_per_channel;     // for each channel that a peer may have (before 2.29)
    uint64_t ll_chunk_bytes;
    double ll_channel_Bps, ll_Bps; // of one channel, of all a rank's bytes with its own
    double simple_start;           // start of protocol Simple over that of LL
    uint64_t chunk_bytes;
    double channel_Bps, fill_share;
    uint64_t cached_bytes; // of a rank's bytes that caches serve
    double cache_boost;
};

static const struct nccl_constants defaults = {
    .channels = 32, .net_channels = 16, .part_bytes = 65536, .simple_start = 1};

#define OWN_CONSTANTS struct nccl_constants
#include "model/costs/rows.h"

// clang-format off
#define PROTOCOL(what, name, member, high, text)                                                   \
    ROW("nccl_" name, what, AT_OWN(member), high, COST_MOVES, text)

#define NET(what, name, member, high, text)                                                        \
    ROW("nccl_" name, what, AT_OWN(member), high, COST_MOVES | COST_NODES, text)

static const struct field fields[] = {
    ROWS_CHOICES,
    ROW_VERSION,
    ROWS_START(dispatch), ROWS_GROWTH(dispatch), ROWS_NVLINK(dispatch), ROW_HBM_SHARE(dispatch),
    ROWS_KERNELS(dispatch),
    ROWS_START(combine), ROWS_GROWTH(combine), ROWS_NVLINK(combine), ROW_HBM_SHARE(combine),
    ROWS_KERNELS(combine),
    PROTOCOL(FIELD_NUMBER, "channels", channels, 1e9,
             "law nccl: channels of all peers, an SM each"),
    PROTOCOL(FIELD_NUMBER, "peer_channels", peer_channels, 1e9,
             "most that one peer has inside a node; 0: all"),
    NET(FIELD_NUMBER, "net_channels", net_channels, 1e9,
        "channels of all peers with more than one node"),
    NET(FIELD_RATE, "net_share", net_share_Bps, 1e15,
        "of a GPU's NICs, for which a network peer has a channel; 0: two channels"),
    NET(FIELD_RATE, "net_channel_rate", net_channel_Bps, 1e15,
        "one channel over the network; 0: as inside a node"),
    NET(FIELD_TIME, "net_peer", net_peer_ps, ROW_TIME_MAX, "of a peer in another node, its proxy's"),
    PROTOCOL(FIELD_TIME, "batch", batch_ps, ROW_TIME_MAX,
             "of each batch of peers that a channel serves after its first"),
    PROTOCOL(FIELD_NUMBER, "single_share", single_share, 1,
             "of a bridge's rate by one channel per peer; 0: all"),
    PROTOCOL(FIELD_BYTES, "part", part_bytes, 1e12, "least that a channel is given"),
    PROTOCOL(FIELD_BYTES, "ll_limit", ll_limit_bytes, 1e12, "largest message of protocol LL"),
    PROTOCOL(FIELD_BOOL, "ll_per_channel", ll_per_channel, 0,
             "that for each channel that a peer may have; false: a message's"),
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

// ---- channels -----------------------------------------------------------------------------------

// What NCCL has compiled in (src/include/device.h, src/graph/paths.cc, src/init.cc).
#define BATCH_PEERS 8           // that a channel serves at once (NCCL_MAX_DEV_WORK_P2P_PER_BATCH)
#define OLD_BATCH_PEERS 4       // that it should at most, before 2.29
#define OLD_NET_CHANNELS 2      // of a peer in another node, before 2.29
#define NET_PART_BYTES 131072.0 // parts between nodes are cut further down to this
#define PART_CHUNKS 32.0        // and inside one node to so many chunks

// Channels that a peer's bytes are cut over: the fewest, and the most, that large messages have.
struct channels {
    double all; // of all peers
    double fewest, most;
};

static double power_of_two(double channels)
{
    return exp2(ceil(log2(channels)));
}

// Where there is a network, every peer has as many as one in another node: a channel for each NIC
// of a GPU and for so much of their rate. Halved while all ranks, so many to a channel at once, are
// more than there are channels for.
static double nccl_net_channels(const struct nccl_constants *nccl, const struct cluster *cluster)
{
    const uint32_t gpus = cluster->gpus_per_node;
    const double nics = fmax(1, cluster->nics_per_node / gpus);
    const double rate = cluster_nic_port_Bps(cluster) * cluster_nic_ports(cluster) / gpus;
    const bool by_rate = nccl->net_share_Bps > 0;
    const double batches =
        ceil(cluster_ranks(cluster) / (by_rate ? (double)BATCH_PEERS : OLD_BATCH_PEERS));
    double channels =
        by_rate ? power_of_two(fmax(nics, ceil(rate / nccl->net_share_Bps))) : OLD_NET_CHANNELS;
    while (channels > 1 && channels * batches > nccl->net_channels)
        channels /= 2;
    return by_rate ? channels : fmax(channels, power_of_two(nics));
}

static struct channels nccl_channels(const struct nccl_constants *nccl,
                                     const struct cluster *cluster)
{
    const bool net = cluster->nodes > 1;
    const double inside = nccl->peer_channels > 0 ? nccl->peer_channels : nccl->channels;
    struct channels channels = {.all = fmax(1, net ? nccl->net_channels : nccl->channels)};
    channels.most = fmax(1, fmin(net ? nccl_net_channels(nccl, cluster) : inside, channels.all));
    channels.fewest = channels.most;
    while (channels.fewest > 1 && channels.fewest * cluster_ranks(cluster) > channels.all)
        channels.fewest /= 2;
    return channels;
}

// ---- bytes --------------------------------------------------------------------------------------

// What a rank has for its busiest peer, in all, for its busiest node and for all others; sent or
// received, whichever is more. An all-to-all copies a rank's own slot too, which no matrix tells
// (its diagonal is ignored): taken to be as large as the busiest peer's, where the rank has
// something for every other.
struct burden {
    double peer, all; // bytes
    double node;      // of one node, its own too where there are more
    double net, net_node;
    double net_peers, peers; // that it has anything for
    double bridge;           // of all GPUs at its bridge together, to others of the node
    struct channels channels;
};

static void add_way(const struct kernel_costs *costs, uint32_t rank, bool out,
                    struct burden *burden)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const struct transfer *transfer = costs->transfer;
    const uint32_t gpus = fabric->gpus_per_node, ranks = fabric->ranks;
    struct burden way = {0};
    double nodes[2] = {0}; // the own and the busiest other
    double everyone = 1;   // chance that it has something for every other
    for (uint32_t first = 0; first < ranks; first += gpus) {
        const bool own = first == rank - rank % gpus;
        double of_node = 0;
        for (uint32_t r = first; r < first + gpus; r++) {
            const size_t cell = out ? (size_t)rank * ranks + r : (size_t)r * ranks + rank;
            const double bytes =
                r == rank ? 0 : transfer->pair[cell] * (double)transfer->token_bytes;
            way.peer = fmax(way.peer, bytes);
            const double any = bytes > 0 ? schedule_chance_of_any(costs->schedule, transfer,
                                                                  out ? rank : r, out ? r : rank)
                                         : 0;
            way.net_peers += own ? 0 : any;
            way.peers += any;
            everyone *= r == rank ? 1 : any;
            of_node += bytes;
        }
        way.net += own ? 0 : of_node;
        way.all += of_node;
        nodes[!own] = fmax(nodes[!own], of_node);
    }
    const double slot = everyone * way.peer;
    burden->peer = fmax(burden->peer, way.peer);
    burden->all = fmax(burden->all, way.all + slot);
    burden->net = fmax(burden->net, way.net);
    burden->net_node = fmax(burden->net_node, nodes[1]);
    burden->node = fmax(burden->node, fmax(nodes[0] + slot, nodes[1]));
    burden->peers = fmax(burden->peers, way.peers);
    burden->net_peers = fmax(burden->net_peers, way.net_peers);
}

static double bridge_bytes(const struct kernel_costs *costs, uint32_t rank)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const uint32_t gpus = fabric->gpus_per_node, first = rank - rank % gpus;
    double tokens = 0;
    for (uint32_t from = first; fabric->bridge_gpus && from < first + gpus; from++)
        for (uint32_t to = first; to < first + gpus; to++)
            if (from != to && fabric_bridge(fabric, from) == fabric_bridge(fabric, rank))
                tokens += costs->transfer->pair[(size_t)from * fabric->ranks + to];
    return tokens * (double)costs->transfer->token_bytes;
}

static struct burden nccl_burden(const struct kernel_costs *costs, uint32_t rank)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    struct burden burden = {.bridge = bridge_bytes(costs, rank),
                            .channels = nccl_channels(nccl, &costs->schedule->cluster)};
    add_way(costs, rank, true, &burden);
    add_way(costs, rank, false, &burden);
    return burden;
}

// The same of which the busiest peer has no more than `peer`.
static struct burden scaled(const struct burden *burden, double peer)
{
    const double share = burden->peer > peer ? peer / burden->peer : 1;
    struct burden less = *burden;
    less.peer *= share;
    less.all *= share;
    less.node *= share;
    less.net *= share;
    less.net_node *= share;
    less.bridge *= share;
    return less;
}

// ---- times --------------------------------------------------------------------------------------

// Between nodes a node's peers, eight at a time, go by the same channels.
static double node_channels(const struct kernel_costs *costs, const struct burden *burden)
{
    const uint32_t gpus = costs->schedule->fabric.gpus_per_node;
    return fmin(burden->channels.all, burden->channels.most * ceil(gpus / (double)BATCH_PEERS));
}

// What the busiest channel moves. A peer's bytes are cut over the fewest channels, parts of
// nccl_part at least; that more channels come where parts would be larger than a limit is the
// monotone form of NCCL's doubling. No channel has less than its share of all bytes.
static double nccl_part(const struct kernel_costs *costs, const struct burden *burden)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const struct channels *channels = &burden->channels;
    const bool net = costs->schedule->fabric.nodes > 1;
    const double limit = net ? NET_PART_BYTES : PART_CHUNKS * (double)nccl->chunk_bytes;
    const double few = fmin(burden->peer / channels->fewest, limit);
    const double part = fmax(few, burden->peer / channels->most);
    const double shared =
        fmax(burden->all / channels->all, net ? burden->node / node_channels(costs, burden) : 0);
    return fmax(fmax(part, shared), fmin(burden->peer, (double)nccl->part_bytes));
}

// One channel moves less over the network than between GPUs of a node.
static double nccl_net_ps(const struct kernel_costs *costs, const struct burden *burden)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const double busiest =
        fmax(burden->net_node / node_channels(costs, burden), burden->net / burden->channels.all);
    return kernel_bytes_ps(busiest, nccl->net_channel_Bps);
}

// Through a bridge all bytes of LL pass with as many bytes of flags; and where a peer has one
// channel alone, too little is under way to fill the bridge.
static double nccl_bridge_ps(const struct kernel_costs *costs, const struct burden *burden, bool ll)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const double rate = costs->schedule->fabric.rate_Bps[PORT_BRIDGE_UP];
    const double alone = PART_CHUNKS * (double)nccl->chunk_bytes;
    const bool single = burden->channels.fewest < 2 && nccl->single_share > 0;
    const struct burden few = scaled(burden, single ? alone : 0);
    const double ps = kernel_bytes_ps(burden->bridge, rate);
    const double slow = single ? kernel_bytes_ps(few.bridge, rate * nccl->single_share) : 0;
    return fmax(ps, slow) * (ll ? 2 : 1);
}

// LL: flagged stores. A receiver copies a chunk out only when it is there, so a channel takes
// (part + chunk) / its rate; all channels together are bounded by what the GPU stores.
static double nccl_ll_ps(const struct kernel_costs *costs, const struct burden *burden)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const double part = nccl_part(costs, burden);
    const double channel =
        kernel_bytes_ps(part + fmin(part, (double)nccl->ll_chunk_bytes), nccl->ll_channel_Bps);
    const double stored = kernel_bytes_ps(burden->all, nccl->ll_Bps);
    return fmax(fmax(channel, stored), nccl_bridge_ps(costs, burden, true));
}

// Simple: a channel's part at its rate, of which a share fills the pipeline. Bytes that caches
// serve pass `boost` times as fast: rate = channel rate / (1 - c + c / boost), c their share.
static double nccl_simple_ps(const struct kernel_costs *costs, const struct burden *burden,
                             double *fill)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const double part = nccl_part(costs, burden);
    const double cached = burden->all > 0 ? fmin(1, (double)nccl->cached_bytes / burden->all) : 1;
    const double boost = nccl->cache_boost > 1 ? nccl->cache_boost : 1;
    const double rate = nccl->channel_Bps / (1 - cached + cached / boost);
    *fill = nccl->fill_share * kernel_bytes_ps(fmin(part, (double)nccl->chunk_bytes), rate);
    const double wires = fmax(nccl_net_ps(costs, burden), nccl_bridge_ps(costs, burden, false));
    return fmax(kernel_bytes_ps(part, rate), wires);
}

// Below the switch wires are fed by flagged stores at a fraction of their rate; above it a bulk
// protocol starts later. The switch steps down in no case: a larger message is not done before the
// largest of the lower protocol.
static void nccl_protocol(const struct kernel_costs *costs, const struct burden *burden,
                          struct kernel_times *times)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const double limit =
        (double)nccl->ll_limit_bytes * (nccl->ll_per_channel ? burden->channels.most : 1);
    if (burden->peer <= limit) {
        times->min_ps = nccl_ll_ps(costs, burden);
        return;
    }
    const struct burden last = scaled(burden, limit);
    double fill;
    const double work = nccl_simple_ps(costs, burden, &fill);
    const double later = (nccl->simple_start - 1) * (double)costs->common.fixed_ps;
    times->head_ps += later + fill;
    times->head_fixed_ps += later;
    times->min_ps = fmax(work, nccl_ll_ps(costs, &last) - later - fill);
}

// A channel serves peers that are neighbours in the order of rounds together, and there are none
// within a node, where each round has its own channel: what comes round to it again, and between
// nodes the next eight peers, waits until those before are served.
static double nccl_batches_ps(const struct kernel_costs *costs, const struct burden *burden)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const bool net = costs->schedule->fabric.nodes > 1;
    const double groups = net ? ceil(burden->peers / (double)BATCH_PEERS) : burden->peers + 1;
    const double batches = ceil(groups * burden->channels.fewest / burden->channels.all);
    return fmax(0, batches - 1) * (double)nccl->batch_ps;
}

static void nccl_work(const struct kernel_costs *costs, uint32_t rank, struct kernel_times *times)
{
    const struct nccl_constants *nccl = (const void *)costs->own.bytes;
    const struct nccl_side *side = costs->transfer->gather ? &nccl->combine : &nccl->dispatch;
    const struct burden burden = nccl_burden(costs, rank);
    const double turns =
        burden.net_peers * (double)nccl->net_peer_ps + nccl_batches_ps(costs, &burden);
    times->head_ps += turns;
    times->head_fixed_ps += turns;
    nccl_protocol(costs, &burden, times);
    work_through_memory(costs, side->hbm_share, rank, times);
}

const struct cost_model cost_nccl = {.name = "nccl",
                                     ROWS_OF(fields),
                                     .defaults = &defaults,
                                     .defaults_bytes = sizeof defaults,
                                     .moves_bytes = true,
                                     .work = nccl_work};
