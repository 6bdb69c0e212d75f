// The closed form of one transfer, as its parts hand it on: private to the files of `estimate`.
#ifndef MODEL_ENGINE_FORM_H
#define MODEL_ENGINE_FORM_H

#include "model/engine/port_loads.h"
#include "model/timing.h"

#include <math.h>
#include <stdlib.h>

// Of those that send to a rank, sums weighed by how likely they do: when their last comes, and how
// much later they start as the unluckiest, and one standard deviation of that.
struct form_senders {
    double lanes, count, arrivals, delays, sds;
    double last; // of the arrivals
};
enum form_reach { REACH_NODE, REACH_OTHERS, REACHES }; // from the own node, and from others

struct form_rank {
    struct kernel_times times;
    double start; // when its data may move
    double end, stage_end[STAGES];
    double copied;  // when its copy engines are through with what others brought
    double late;    // how much later it starts that is as unlucky as the unluckiest
    double late_sd; // one standard deviation of its start
    struct form_senders senders[REACHES];
};

// Sorts, where there is anything to sort: lanes of ranks that all have the same come in order.
static inline void form_sort(void *items, size_t count, size_t size,
                             int (*compare)(const void *, const void *))
{
    const char *bytes = items;
    size_t sorted = 1;
    while (sorted < count && compare(bytes + (sorted - 1) * size, bytes + sorted * size) <= 0)
        sorted++;
    if (sorted < count)
        qsort(items, count, size, compare);
}

// How far a rank's part of a port has come at a time; between steps it goes on evenly.
struct form_step {
    double work, at;
};

// What a rank itself has on the port of a kind that it uses, picoseconds.
struct form_port {
    double total;  // how long all that it has keeps the port
    double early;  // and what of that is of a rail's first stage
    double rounds; // messages of one channel
    double behind; // receiving: when all has passed that is sure to come before its last byte
    struct form_step *steps;
    size_t count;
};

// What ranks put on a port that they may share: so much work of a rank, from a time on.
struct form_piece {
    double reaches, ps;
    uint32_t rank;
};
struct form_queue {
    struct form_piece *pieces;
    size_t count;
};

// One transfer in closed form. All times are picoseconds in double; a candidate for a rank's end
// is "nothing can end before this", and the largest wins.
struct form {
    const struct kernel_costs *costs;
    const struct schedule *schedule; // the costs', for short
    const struct transfer *transfer;
    struct phase_timing *phase;
    struct port_loads loads;
    struct form_rank *ranks;
    struct form_port *ports[PORT_LINKS];   // [ranks]
    struct form_queue *queues[PORT_LINKS]; // [fabric.count[kind]]
    double earliest_start, earliest_late;  // any rank's, and as unlucky as the unluckiest
    double pack, forward; // copy engines of one channel, one message: at the home, at the peer
    double nic_hop, nvlink_hop; // latency
    double inside_hop;          // of what joins GPUs of a node
};

// The ranks that use one port; they stand together.
struct sharers {
    uint32_t port, first, count;
};

static inline struct sharers sharers_of(const struct fabric *fabric, enum port_kind kind,
                                        uint32_t rank)
{
    const uint32_t gpus = fabric->gpus_per_node, node = fabric_node(fabric, rank);
    const uint32_t each = gpus / fabric->nic_ports; // ranks of a NIC
    if (kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX)
        return (struct sharers){.port = rank, .first = rank, .count = 1};
    if (kind == PORT_SPINE_UP || kind == PORT_SPINE_DOWN)
        return (struct sharers){.port = node, .first = node * gpus, .count = gpus};
    if (kind == PORT_BRIDGE_UP || kind == PORT_BRIDGE_DOWN) {
        const uint32_t size = fabric->bridge_gpus, first = rank % gpus / size * size;
        return (struct sharers){.port = fabric_bridge(fabric, rank),
                                .first = node * gpus + first,
                                .count = gpus - first < size ? gpus - first : size};
    }
    return (struct sharers){
        .port = fabric_nic(fabric, rank), .first = rank - rank % gpus % each, .count = each};
}

// A port's kind passes a rank's last byte then. Where NICs carry both stages, it may be of either.
static inline void offer_stage(struct form *form, uint32_t rank, enum port_kind kind, double end)
{
    const bool nvlink = kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX ||
                        kind == PORT_BRIDGE_UP || kind == PORT_BRIDGE_DOWN;
    for (enum stage stage = 0; stage < STAGES; stage++)
        if (form->transfer->inside_nic || nvlink == (stage == STAGE_INTRA))
            form->ranks[rank].stage_end[stage] = fmax(form->ranks[rank].stage_end[stage], end);
}

static inline void offer(struct form *form, uint32_t rank, double end)
{
    form->ranks[rank].end = fmax(form->ranks[rank].end, end);
}

// Fills ports and the ranks' `copied` from the lanes (lane_times.c).
void form_set_lane_times(struct form *form);

// Lets ranks that share ports take turns at what is queued there: fills their steps (turns.c).
void form_take_turns(struct form *form);

// When a rank has passed the port of a kind with all that it has there.
double form_all_passed(const struct form *form, enum port_kind kind, uint32_t rank);

// What of a lane is asked for on its way from one rank to another: its first message, or all.
struct form_part {
    uint32_t from, to;
    double tokens; // of the part
    double share;  // of all that a port has, what has passed it by then
    bool second;   // stage of a rail
    // At ports of the rail peer, where lanes of several ranks take turns, it is through by then.
    uint32_t via;
    double by;
};

// Over a rail: when a home's first chunk has come to its peer in another node, or is summed there.
double form_crossed(const struct form *form, uint32_t home, uint32_t via);
double form_joined(const struct form *form, uint32_t home, uint32_t via);

// When a port of a rank has passed a part.
double form_part_passed(const struct form *form, enum port_kind kind, uint32_t rank,
                        const struct form_part *part);

// When it has come to the rank that it goes to: every port on its way has passed it.
double form_part_arrives(const struct form *form, const struct form_part *part);

// Messages of a lane of so many tokens in one channel, at least one.
static inline double form_rounds(const struct form *form, double tokens)
{
    const struct transfer *transfer = form->transfer;
    return fmax(1, tokens / (double)(transfer->message_tokens * transfer->channels));
}

// How long bytes of so many tokens keep a port of a rank.
static inline double form_port_ps(const struct form *form, enum port_kind kind, uint32_t rank,
                                  double tokens)
{
    const uint32_t port = sharers_of(&form->schedule->fabric, kind, rank).port;
    const double rate = kernel_port_rate(form->costs, kind, port);
    return rate > 0 ? tokens * (double)form->transfer->token_bytes / rate * 1e12 : 0;
}

// Whether two ranks reach each other by NVLink.
static inline bool form_over_nvlink(const struct form *form, uint32_t from, uint32_t to)
{
    const struct fabric *fabric = &form->schedule->fabric;
    return fabric_node(fabric, from) == fabric_node(fabric, to) && !form->transfer->inside_nic;
}

// Where a lane stands among those of a rank that are served in one round, one message each: the
// share of the round that is over with it, 1 at the last. Direct, and where a rail gathers, the own
// node's ranks come first, then the next node's, each from the own index on; where it scatters,
// the next node comes first (struct transfer).
double form_place(const struct form *form, uint32_t from, uint32_t peer, bool crosses);

// Of messages in so many rounds, the share of all that has passed with a lane's last one.
static inline double form_last_share(double rounds, double place)
{
    return 1 - (1 - place) / rounds;
}

// Times by which a rank's last data can have come at the earliest, from those that send it
// (last_sender.c). Part of the ranks' end.
void form_offer_senders(struct form *form);

// Times at even steps over mean - half .. mean + half, so many of them, each of which varies by one
// standard deviation besides, as a normal does, and comes at all with a chance.
struct form_arrivals {
    double count, chance, mean, half, sd;
};

// What a rank waits for: its senders in its own node and in others, and its own sending.
#define FORM_GROUPS (REACHES + 1)
struct form_awaited {
    struct form_arrivals groups[FORM_GROUPS];
    double last; // of all
};

// When a rank is expected to have what all send to it, whose sending takes so many standard
// deviations longer by chance (late_sender.c); 0: nobody does. Most ranks wait as the one asked
// `before` did, at first none: zero.
double form_late_sender(const struct form *form, uint32_t rank, const double sent_sd_ps[REACHES],
                        struct form_awaited *before);

// What a rank ends at that is as unlucky as the unluckiest of all is expected to be (chance.c):
// phase->late_ps, from expected loads.
void form_set_late_ends(struct form *form);

#endif
