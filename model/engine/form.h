// The closed form of one transfer, as its parts hand it on: private to the files of `estimate`.
#ifndef MODEL_ENGINE_FORM_H
#define MODEL_ENGINE_FORM_H

#include "model/engine/port_loads.h"
#include "model/timing.h"

#include <math.h>

struct form_rank {
    struct kernel_times times;
    double start; // when its data may move
    double end, stage_end[STAGES];
    double after; // compute that follows, where ranks go on by themselves
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
    double earliest_start;
    double pack, forward; // copy engines of one channel, one message: at the home, at the peer
    double piece;         // a forwarded message's part on a port inside the node
    double nic_hop, nvlink_hop; // latency
    bool meets;                 // all ranks start together, by alignment or a barrier
    bool goes_on;               // ranks go on by themselves
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

// Times by which a rank's last data can have come at the earliest, from those that send it
// (last_sender.c). Part of the ranks' end.
void form_offer_senders(struct form *form);

// What a rank ends at that is as unlucky as the unluckiest of all is expected to be (chance.c):
// phase->late_ps, from expected loads.
void form_set_late_ends(struct form *form);

#endif
