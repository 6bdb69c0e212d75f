// Cost model pipelines (NCCL EP high throughput and Hybrid-EP, nccl_ep/device/ht_ep.cuh,
// scan_kernel.cuh): an SM runs pipelines that take a rank's tokens chunk by chunk, over buffers
// made for `capacity_tokens`. In one node a pipeline stores each token to the ranks that need it.
// Across nodes a chunk crosses first and is passed on when it has arrived whole. MODEL.md
// section 5.
#include "model/costs/kernel_costs.h"

#include <math.h>

#define PIPELINES 2    // of an SM, in one node: ht_dispatch_jit.cuh, ht_combine_jit.cuh
#define SCAN_ROWS 512  // rows of a block of the scan: ht_ep_configs.cuh
#define LINE_BYTES 128 // of the cache
#define WARP_ROWS 32

struct pipelines_constants {
    struct pipelines_side {
        uint64_t token_ps; // of a pipeline, a token; combine, one node: a rank's part of one
        double token_Bps;
        uint64_t empty_ps; // of a pipeline, a chunk without tokens; combine: a row
        double map_Bps;    // dispatch: a row's map, a byte per expert slot, read back
        double hbm_share;  // combine: of memory's rate, sums at the experts' rank before it
        // Across nodes, of an SM.
        uint64_t inter_token_ps, inter_copy_ps;
        double inter_token_Bps;
        double inter_round_tokens; // that an SM takes at a time
    } dispatch, combine;
    struct pipelines_notify {
        // A row's map has a byte per expert slot. Rates of those of received rows, of the lines
        // that they are on, and of all rows of the buffers, cleared.
        double map_Bps, line_Bps, room_Bps;
    } notify;
};

#define OWN_CONSTANTS struct pipelines_constants
#include "model/costs/rows.h"

// clang-format off
#define INTER_NUMBER(what, side, name, member, high, text)                                         \
    ROW_OWN(what, side, name, member, high, COST_NODES, text)
#define SIDE(side, where)                                                                          \
    ROWS_START(side), ROWS_GROWTH(side),                                                           \
    ROW_OWN(FIELD_TIME, side, "token", token_ps, ROW_TIME_MAX, where,                              \
             "of a pipeline, a token; combine, one node: a rank's part of one"),                   \
    ROW_OWN(FIELD_RATE, side, "token_rate", token_Bps, 1e15, where,                                \
             "and the rate of its bytes; 0: no limit"),                                            \
    ROW_OWN(FIELD_TIME, side, "empty", empty_ps, ROW_TIME_MAX, where,                              \
             "of a pipeline, a chunk without tokens; combine: a row"),                             \
    INTER_NUMBER(FIELD_TIME, side, "inter_token", inter_token_ps, ROW_TIME_MAX,                    \
                 "across nodes: SM time of a token"),                                              \
    INTER_NUMBER(FIELD_RATE, side, "inter_token_rate", inter_token_Bps, 1e15,                      \
                 "and the rate of its bytes; 0: no limit"),                                        \
    INTER_NUMBER(FIELD_TIME, side, "inter_copy", inter_copy_ps, ROW_TIME_MAX,                      \
                 "across nodes: SM time of a copy"),                                               \
    INTER_NUMBER(FIELD_NUMBER, side, "inter_round_tokens", inter_round_tokens, ROW_TOKENS_MAX,     \
                 "across nodes: tokens that an SM takes at a time"),                               \
    ROWS_NVLINK(side), ROWS_KERNELS(side)
#define NOTIFY(name, member, text)                                                                 \
    ROW(name, FIELD_RATE, AT_OWN(notify.member), 1e15, COST_NOTIFY, text)

static const struct field fields[] = {
    ROWS_CHOICES,
    NOTIFY("notify_map_rate", map_Bps, "maps of received rows, a byte per expert slot"),
    NOTIFY("notify_line_rate", line_Bps, "and of the cache lines that they are on"),
    NOTIFY("notify_room_rate", room_Bps, "maps of all rows of the buffers, cleared"),
    SIDE(dispatch, 0),
    ROW_OWN(FIELD_RATE, dispatch, "map_rate", map_Bps, 1e15, 0,
             "maps of rows, a byte per expert slot, read back"),
    SIDE(combine, COST_ONE_NODE), ROW_HBM_SHARE(combine),
};
// clang-format on
_Static_assert(ROWS_COUNT(fields) <= COST_MAX_FIELDS, "a variant's mark for every key");

static const struct pipelines_constants *pipelines_own(const void *own)
{
    return own;
}

// Tokens that buffers are made for, of one rank.
static double room_tokens(const struct schedule *schedule)
{
    double max_tokens = 0;
    for (uint32_t r = 0; r < schedule->fabric.ranks; r++)
        max_tokens = fmax(max_tokens, schedule->loads->tokens[r]);
    return dispatcher_capacity(&schedule->dispatcher, (uint32_t)ceil(max_tokens));
}

static double rank_slots(const struct schedule *schedule, uint32_t rank)
{
    const uint32_t *first = schedule->layout->rank_slot + rank;
    return first[1] - first[0];
}

// Four tokens per SM, in whole warps: nccl_ep.cc.
static double chunk_size(const struct kernel_costs *costs)
{
    return ceil(4.0 * costs->sms / WARP_ROWS) * WARP_ROWS;
}

// Chunks of the busiest pipeline: they go to SMs in turn, and to an SM's pipelines in turn.
static double pipeline_chunks(const struct kernel_costs *costs, double tokens)
{
    return ceil(ceil(ceil(tokens / chunk_size(costs)) / costs->sms) / PIPELINES);
}

// Tokens of the busiest pipeline, one after another.
static double busiest_pipeline_ps(const struct kernel_costs *costs, uint32_t rank)
{
    const struct pipelines_side *own = &pipelines_own(costs->own.bytes)->dispatch;
    const double tokens = costs->schedule->loads->tokens[rank];
    const double busiest = fmin(tokens, pipeline_chunks(costs, tokens) * chunk_size(costs));
    return busiest * work_ps(own->token_ps, costs->transfer->token_bytes, own->token_Bps);
}

// Chunks of the buffers without tokens, swept after the others.
static double empty_chunks_ps(const struct kernel_costs *costs, uint32_t rank)
{
    const struct pipelines_side *own = &pipelines_own(costs->own.bytes)->dispatch;
    const struct schedule *schedule = costs->schedule;
    const double live = pipeline_chunks(costs, schedule->loads->tokens[rank]);
    return (pipeline_chunks(costs, room_tokens(schedule)) - live) * (double)own->empty_ps;
}

// The weights of rows read back before, by the rows of a warp side by side.
static double maps_read_ps(const struct kernel_costs *costs, uint32_t rank)
{
    const struct schedule *schedule = costs->schedule;
    const double rows = fmin(room_tokens(schedule) * schedule->fabric.ranks, WARP_ROWS);
    return kernel_bytes_ps(rows * rank_slots(schedule, rank),
                           pipelines_own(costs->own.bytes)->dispatch.map_Bps);
}

static void dispatch_in_node(const struct kernel_costs *costs, uint32_t rank,
                             struct kernel_times *times)
{
    times->head_ps += maps_read_ps(costs, rank);
    times->min_ps = busiest_pipeline_ps(costs, rank) + empty_chunks_ps(costs, rank);
}

// Pipelines sweep the rows of their buffers: a token's parts are read one after another from the
// ranks that hold them; a row without a token still passes through.
static void combine_in_node(const struct kernel_costs *costs, uint32_t rank,
                            struct kernel_times *times)
{
    const struct pipelines_side *own = &pipelines_own(costs->own.bytes)->combine;
    const struct schedule *schedule = costs->schedule;
    const double pipelines = PIPELINES * (double)costs->sms;
    const double live = ceil(schedule->loads->tokens[rank] / pipelines);
    const double empty = ceil(room_tokens(schedule) / pipelines) - live;
    const double part = work_ps(own->token_ps, costs->transfer->token_bytes, own->token_Bps);
    times->min_ps =
        live * work_copies_per_token(costs, rank) * part + empty * (double)own->empty_ps;
}

// Results of a row's experts are summed by a kernel of its own; then all ranks meet at a barrier,
// so that the one with most to sum holds up the others.
static void sum_served(const struct kernel_costs *costs, struct kernel_times *times)
{
    const struct pipelines_side *own = &pipelines_own(costs->own.bytes)->combine;
    const struct schedule *schedule = costs->schedule;
    const struct cluster *cluster = &schedule->cluster;
    const uint32_t ranks = schedule->fabric.ranks;
    double rows = 0;
    for (uint32_t r = 0; r < ranks; r++)
        rows = fmax(rows, loads_received(schedule->loads->expert_copies, ranks, r) +
                              loads_received(costs->transfer->pair, ranks, r));
    const double bytes = rows * 2.0 * moe_expert_hidden(&schedule->moe);
    if (own->hbm_share > 0)
        times->head_ps +=
            cluster_computed_ps(cluster, kernel_bytes_ps(bytes, own->hbm_share * cluster->hbm_Bps));
}

// ---- across nodes -------------------------------------------------------------------------------

// What a rank handles as a rail peer: of its own tokens, and of the other nodes'.
struct handled {
    double tokens, copies, links; // links: copies to other ranks of the node
};

static struct handled rail_handled(const struct kernel_costs *costs, uint32_t rank, uint32_t home)
{
    const struct transfer *transfer = costs->transfer;
    const struct fabric *fabric = &costs->schedule->fabric;
    const uint32_t node = fabric_node(fabric, rank), first = node * fabric->gpus_per_node;
    const double *pair = transfer->pair + (size_t)home * fabric->ranks;
    struct handled handled = {.tokens = transfer->node[(size_t)home * fabric->nodes + node]};
    for (uint32_t r = first; r < first + fabric->gpus_per_node; r++)
        handled.copies += pair[r];
    handled.links = handled.copies - pair[rank];
    if (home == rank && transfer->gather)
        handled.tokens = costs->schedule->loads->tokens[rank];
    return handled;
}

struct rail_work {
    struct handled near, far; // of its own tokens, of other nodes'
    double crossing;          // tokens that leave the node
};

static struct rail_work rail_work(const struct kernel_costs *costs, uint32_t rank)
{
    const struct transfer *transfer = costs->transfer;
    const struct fabric *fabric = &costs->schedule->fabric;
    const uint32_t node = fabric_node(fabric, rank);
    struct rail_work work = {.near = rail_handled(costs, rank, rank)};
    for (uint32_t n = 0; n < fabric->nodes; n++) {
        if (n == node)
            continue;
        const struct handled other = rail_handled(costs, rank, fabric_rail_peer(fabric, rank, n));
        work.far.tokens += other.tokens;
        work.far.copies += other.copies;
        work.far.links += other.links;
        work.crossing += transfer->node[(size_t)rank * fabric->nodes + n];
    }
    return work;
}

static double handled_sm_ps(const struct kernel_costs *costs, const struct pipelines_side *own,
                            const struct handled *handled)
{
    const double visit =
        work_ps(own->inter_token_ps, costs->transfer->token_bytes, own->inter_token_Bps);
    return (handled->tokens * visit + handled->copies * (double)own->inter_copy_ps) / costs->sms;
}

// With W the time on the wire, A and F what a rank does for its own tokens and for other nodes'
// (the larger of SM time and NVLink time), and R rounds of T / `inter_round_tokens` chunks over the
// SMs: a dispatch block passes on chunk after chunk, its own first, and the first round waits for
// what has not crossed by then, (W - A) / R; the last chunk of the last node is passed on when all
// has crossed, F / (R (N - 1)). Combine mirrors it: the first chunk is summed before any crosses,
// the last one at home after all have.
static void work_across_nodes(const struct kernel_costs *costs, uint32_t rank,
                              struct kernel_times *times)
{
    const bool gather = costs->transfer->gather;
    const struct pipelines_constants *constants = pipelines_own(costs->own.bytes);
    const struct pipelines_side *own = gather ? &constants->combine : &constants->dispatch;
    const struct fabric *fabric = &costs->schedule->fabric;
    const double bytes = (double)costs->transfer->token_bytes;
    const double tokens = costs->schedule->loads->tokens[rank], others = fabric->nodes - 1;
    const struct rail_work work = rail_work(costs, rank);
    const double near_sm = handled_sm_ps(costs, own, &work.near);
    const double far_sm = handled_sm_ps(costs, own, &work.far);
    const double link = kernel_port_rate(costs, PORT_NVLINK_TX, rank);
    const double nic = kernel_port_rate(costs, PORT_NIC_TX, fabric_nic(fabric, rank));
    const double stores = fmax(near_sm, kernel_bytes_ps(work.near.links * bytes, link));
    const double near = gather ? stores : fmax(stores, busiest_pipeline_ps(costs, rank));
    const double empty = gather ? 0 : empty_chunks_ps(costs, rank);
    const double far = fmax(far_sm, kernel_bytes_ps(work.far.links * bytes, link));
    const double out = gather ? work.far.tokens : work.crossing;
    const double wire =
        kernel_bytes_ps(out * bytes, nic) +
        out / (double)costs->transfer->message_tokens * (double)costs->common.per_message_ps;
    const double chunks = own->inter_round_tokens > 0 ? tokens / own->inter_round_tokens : tokens;
    const double rounds = fmax(1, chunks / costs->sms);
    const double sm = gather ? near_sm + far_sm : near + far;
    const double end =
        gather ? fmax(wire + (near + far) / fmax(1, chunks * others / costs->sms), sm)
               : fmax(fmax(sm, sm + (wire - near) / rounds), wire + far / rounds / others);
    if (!gather)
        times->head_ps += maps_read_ps(costs, rank);
    times->min_ps = sm;
    times->tail_ps = fmax(0, end - fmax(sm, wire)) + empty;
}

static void pipelines_work(const struct kernel_costs *costs, uint32_t rank,
                           struct kernel_times *times)
{
    const bool gather = costs->transfer->gather;
    if (gather)
        sum_served(costs, times);
    if (costs->schedule->fabric.nodes > 1)
        work_across_nodes(costs, rank, times);
    else
        (gather ? combine_in_node : dispatch_in_node)(costs, rank, times);
}

// ---- notify -------------------------------------------------------------------------------------

// Each rank's map, a bit per expert slot of all for each row of its buffers, goes to every other.
static double pipelines_notify_wire_ps(const struct schedule *schedule, uint32_t rank)
{
    const struct fabric *fabric = &schedule->fabric;
    const bool all_by_nic =
        schedule->dispatcher.inside == INSIDE_NIC || schedule->cluster.inside == INSIDE_NIC;
    const double inside = all_by_nic ? 0 : fabric->gpus_per_node - 1;
    const double outside = fabric->ranks - 1 - inside;
    const double per_port = fabric->gpus_per_node / (double)fabric->nic_ports; // ranks
    const double bytes =
        room_tokens(schedule) * ceil(schedule->layout->rank_slot[fabric->ranks] / 8.0);
    const uint32_t nic = fabric_nic(fabric, rank);
    return kernel_bytes_ps(bytes * inside, fabric_rate(fabric, PORT_NVLINK_RX, rank)) +
           kernel_bytes_ps(bytes * outside * per_port, fabric_rate(fabric, PORT_NIC_RX, nic));
}

// Routing maps are gathered, then scanned: each SM's block takes SCAN_ROWS rows of all ranks'
// buffers at a time, in order, and for each that comes to this rank writes its place into the maps
// of all its expert slots, which stand a row of slots apart. The fullest block is what lasts.
static double pipelines_notify_ps(const struct schedule *schedule, uint32_t rank)
{
    const struct pipelines_notify *own = &pipelines_own(schedule->dispatcher.own.bytes)->notify;
    const uint32_t ranks = schedule->fabric.ranks;
    const double room = room_tokens(schedule), slots = rank_slots(schedule, rank);
    const double all = loads_sum(schedule->loads->tokens, ranks), mean = all / ranks;
    const double block =
        SCAN_ROWS * ceil(room * ranks / (SCAN_ROWS * (double)kernel_sms(schedule)));
    const double whole = fmin(fmax(block / room, 1), ranks); // ranks of a block
    const double come =
        all > 0 ? loads_received(schedule->loads->rank_copies, ranks, rank) / all : 0;
    const double rows = fmin(mean, block) * whole * come;
    const double lines = fmin(slots / LINE_BYTES, 1);
    return kernel_bytes_ps(rows * slots, own->map_Bps) +
           kernel_bytes_ps(rows * slots * lines, own->line_Bps) +
           kernel_bytes_ps(room * ranks * slots, own->room_Bps);
}

const struct cost_model cost_pipelines = {.name = "pipelines",
                                          ROWS_OF(fields),
                                          .work = pipelines_work,
                                          .notify_ps = pipelines_notify_ps,
                                          .notify_wire_ps = pipelines_notify_wire_ps};
