// The events of one transfer. Handlers are named by what has just happened; each finds the next
// port on the chunk's path, lets it be served, and schedules what follows.
//
//   direct          step -> [copy] -> launched -> wire -> received -> [copy] -> done
//   rail, scatter   step -> copy -> launched -> wire -> received -> copy -> forwarded -> pieces
//   rail, gather    step -> launched -> pieces join -> reduce -> reduced -> wire -> received -> add
#include "sim/mover.h"

#include <math.h>

// Something of a rank's part ended: what moved between it and `other` had to do with `last_sender`.
static void touch(struct mover *mover, uint32_t rank, uint64_t time_ps, uint32_t other,
                  uint32_t last_sender)
{
    const bool inside = fabric_node(mover->fabric, rank) == fabric_node(mover->fabric, other);
    struct mover_rank *touched = &mover->ranks[rank];
    uint64_t *stage = &touched->stage_ps[inside ? STAGE_INTRA : STAGE_INTER];
    *stage = time_ps > *stage ? time_ps : *stage;
    if (time_ps <= touched->last_ps)
        return;
    touched->last_ps = time_ps;
    touched->last_sender = last_sender;
}

static void show_busy(struct mover *mover, enum port_kind kind, uint32_t index, uint64_t start_ps)
{
    if (mover->timeline)
        timeline_busy(mover->timeline, kind, index,
                      (struct stretch){.phase = mover->transfer->phase,
                                       .start_ps = start_ps,
                                       .end_ps = mover->ports[kind][index].free_ps});
}

// Lets a port serve bytes that are there; returns when it begins.
static uint64_t serve(struct mover *mover, enum port_kind kind, uint32_t index, uint64_t bytes,
                      uint64_t extra_ps)
{
    const uint64_t start =
        port_serve(&mover->ports[kind][index], mover->now_ps, 0, bytes, extra_ps);
    show_busy(mover, kind, index, start);
    return start;
}

// What a chunk asks of a copy engine.
struct job {
    uint64_t tokens, bytes;
    double work_ps;
};

// Lets a channel's copy engine work; returns when it is done. Kernels take tokens as they come, so
// only the last one's work is sure to follow the chunk's arrival (cut-through); an engine that is
// behind works chunk after chunk.
static uint64_t copy(struct mover *mover, uint32_t rank, enum kernel kernel, uint32_t channel,
                     struct job job)
{
    const uint32_t index = (rank * KERNELS + kernel) * mover->transfer->channels + channel;
    struct port *engine = &mover->ports[PORT_SM][index];
    const uint64_t work = (uint64_t)ceil(job.work_ps * mover->ranks[rank].work);
    const uint64_t early = job.tokens ? work - work / job.tokens : 0;
    const uint64_t start = port_serve(engine, mover->now_ps, early, job.bytes, work);
    show_busy(mover, PORT_SM, index, start);
    return engine->free_ps;
}

static uint64_t wire_bytes(const struct mover *mover, uint64_t tokens)
{
    return tokens * mover->transfer->token_bytes;
}

// Ends of the wire that a flow's chunks cross: the two ranks, or home and rail peer.
static uint32_t far_end(const struct mover *mover, const struct flow *flow)
{
    return mover->transfer->rail ? fabric_rail_peer(mover->fabric, flow->home, flow->peer)
                                 : flow->peer;
}

static uint32_t wire_from(const struct mover *mover, const struct flow *flow)
{
    return mover->transfer->gather ? far_end(mover, flow) : flow->home;
}

static uint32_t wire_to(const struct mover *mover, const struct flow *flow)
{
    return mover->transfer->gather ? flow->home : far_end(mover, flow);
}

static bool over_nvlink(const struct mover *mover, uint32_t from, uint32_t to)
{
    return fabric_node(mover->fabric, from) == fabric_node(mover->fabric, to) &&
           !mover->transfer->inside_nic;
}

// From one port to the next; latency is the wire's, where there is one between them.
struct leg {
    const struct port *port, *next;
    uint64_t latency_ps;
};

// Sends a chunk on that began at start_ps.
static void hop(struct mover *mover, const struct leg *leg, uint64_t start_ps, uint64_t bytes,
                uint64_t event)
{
    const uint64_t reaches = port_reaches(leg->port, start_ps, leg->next, bytes);
    mover_schedule(mover, reaches + leg->latency_ps, event);
}

// The ports of a path between two ranks, and its latency.
struct path {
    enum port_kind tx, rx;
    uint32_t from, to; // ports
    uint64_t latency_ps;
};

static struct path path_between(const struct mover *mover, uint32_t from, uint32_t to)
{
    const struct fabric *fabric = mover->fabric;
    if (over_nvlink(mover, from, to))
        return (struct path){PORT_NVLINK_TX, PORT_NVLINK_RX, from, to, fabric->nvlink_latency_ps};
    return (struct path){PORT_NIC_TX, PORT_NIC_RX, fabric_nic(fabric, from), fabric_nic(fabric, to),
                         fabric->nic_latency_ps};
}

static struct leg path_leg(const struct mover *mover, const struct path *path)
{
    return (struct leg){.port = &mover->ports[path->tx][path->from],
                        .next = &mover->ports[path->rx][path->to],
                        .latency_ps = path->latency_ps};
}

// One rank's part of a flow's chunk.
struct piece {
    uint32_t flow, chunk, local;
};

// When the first byte of a piece leaves its rank, and the last.
struct leaving {
    uint64_t first_ps, last_ps;
};

// Where the path passes a trunk, the first port's leg leads up into that: true then.
static bool enters_trunk(const struct mover *mover, uint32_t from, uint32_t to, struct leg *leg)
{
    struct trunk trunk;
    if (!fabric_trunk(mover->fabric, from, to, mover->transfer->inside_nic, &trunk))
        return false;
    leg->next = &mover->ports[trunk.up][trunk.from];
    leg->latency_ps = 0;
    return true;
}

// Up into a trunk at the sender's end, down at the receiver's, then over the last wire; what the
// events are called that follow.
static void pass_trunk(struct mover *mover, uint32_t from, uint32_t to, uint64_t bytes, bool up,
                       uint64_t event)
{
    struct trunk trunk;
    const struct path path = path_between(mover, from, to);
    struct leg leg = path_leg(mover, &path);
    fabric_trunk(mover->fabric, from, to, mover->transfer->inside_nic, &trunk);
    const enum port_kind kind = up ? trunk.up : trunk.up + 1;
    const uint32_t port = up ? trunk.from : trunk.to;
    leg.port = &mover->ports[kind][port];
    if (up) {
        leg.next = &mover->ports[kind + 1][trunk.to];
        leg.latency_ps = 0;
    }
    hop(mover, &leg, serve(mover, kind, port, bytes, 0), bytes, event);
}

// Puts one rank's piece of a chunk on its path inside a node.
static struct leaving send_piece(struct mover *mover, uint32_t from, uint32_t to, uint64_t bytes,
                                 struct piece piece)
{
    const struct path path = path_between(mover, from, to);
    struct leg leg = path_leg(mover, &path);
    const uint64_t start = serve(mover, path.tx, path.from, bytes, 0);
    const enum event_kind next = enters_trunk(mover, from, to, &leg) ? EVENT_PIECE_UP : EVENT_PIECE;
    hop(mover, &leg, start, bytes, pack_event(next, piece.flow, piece.chunk, piece.local));
    return (struct leaving){.first_ps = start, .last_ps = leg.port->free_ps};
}

// Puts a chunk on the wire between two ranks; returns when its first byte leaves.
static uint64_t transmit(struct mover *mover, uint32_t index, uint32_t chunk, uint32_t from,
                         uint32_t to)
{
    const uint64_t tokens = flow_chunk_tokens(&mover->flows.flows[index], chunk);
    const uint64_t bytes = wire_bytes(mover, tokens), each = mover->transfer->message_tokens;
    // Merged chunks pay for each message in them.
    const uint64_t extra = (tokens + each - 1) / each * mover->costs->common.per_message_ps;
    const struct path path = path_between(mover, from, to);
    const uint64_t start = serve(mover, path.tx, path.from, bytes, extra);
    struct leg leg = path_leg(mover, &path);
    const enum event_kind next =
        enters_trunk(mover, from, to, &leg) ? EVENT_TRUNK_UP : EVENT_ARRIVES;

    touch(mover, from, leg.port->free_ps, to, from);
    hop(mover, &leg, start, bytes, pack_event(next, index, chunk, 0));
    return start;
}

// At its tokens' own rank, or at both ends of a direct way.
static struct job home_job(const struct mover *mover, const struct flow *flow, uint32_t chunk)
{
    const struct copy_times *times = &mover->costs->copies;
    const uint64_t tokens = flow_chunk_tokens(flow, chunk);
    return (struct job){.tokens = tokens,
                        .bytes = wire_bytes(mover, tokens),
                        .work_ps = (double)tokens *
                                   (mover->transfer->rail ? times->home_ps : times->copy_ps)};
}

// At the rail peer: every token, and every copy for a rank of the node.
static struct job pieces_job(const struct mover *mover, const struct flow *flow, uint32_t chunk)
{
    const struct copy_times *times = &mover->costs->copies;
    const uint64_t pieces = flow_pieces_tokens(&mover->flows, flow, chunk);
    return (struct job){.tokens = flow_chunk_tokens(flow, chunk),
                        .bytes = wire_bytes(mover, pieces),
                        .work_ps = (double)flow_chunk_tokens(flow, chunk) * times->visit_ps +
                                   (double)pieces * times->copy_ps};
}

// A sender issues one chunk and packs it; in a rail gather results are there already. It goes on
// when that chunk's first byte leaves (on_launched), so one is packed while another is on the wire.
static void on_step(struct mover *mover, uint32_t index)
{
    struct sender *sender = &mover->senders.of[index];
    const struct lane *lane = sender_next(&mover->senders, sender);
    sender->asleep = lane == NULL;
    if (!lane)
        return;
    const struct flow *flow = &mover->flows.flows[lane->flow];
    const uint32_t chunk = lane->sent - 1;
    const uint32_t local = sender->rank % mover->fabric->gpus_per_node;
    uint64_t ready = mover->now_ps;
    if (!(mover->transfer->rail && mover->transfer->gather))
        ready =
            copy(mover, sender->rank, KERNEL_MAIN, sender->channel, home_job(mover, flow, chunk));
    mover_schedule(mover, ready, pack_event(EVENT_LAUNCHED, lane->flow, chunk, local));
}

// Copies a chunk of the home's towards the ranks of the node it has reached, one rank's part after
// the other. Peers take turns at being first, so that a node's forwarders do not all start at one.
static void forward(struct mover *mover, uint32_t index, uint32_t chunk)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint32_t peer = far_end(mover, flow), gpus = mover->fabric->gpus_per_node;
    const struct job job = pieces_job(mover, flow, chunk);
    const uint64_t done = copy(mover, peer, KERNEL_MAIN, flow->channel, job);
    for (uint32_t i = 0; i < gpus; i++) {
        const uint32_t rank = flow->peer * gpus + (peer + 1 + i) % gpus;
        const uint64_t after =
            (uint64_t)(job.work_ps * mover->ranks[peer].work * (gpus - 1 - i) / gpus);
        if (rank != peer && flow_piece_tokens(&mover->flows, flow, rank, chunk) == 0)
            continue;
        const uint64_t copied = done > mover->now_ps + after ? done - after : mover->now_ps;
        mover_schedule(mover, copied, pack_event(EVENT_FORWARDED, index, chunk, rank % gpus));
    }
}

// The window's room for a chunk comes back when the receiver has it, over the network a latency
// later.
static void credit(struct mover *mover, uint32_t index, uint64_t time_ps, bool remote)
{
    if (mover->flows.window_chunks)
        mover_schedule(mover, time_ps + (remote ? mover->fabric->nic_latency_ps : 0),
                       pack_event(EVENT_CREDIT, index, 0, 0));
}

// Rail gather: one rank's piece of a chunk starts for the rail peer.
static void launch_piece(struct mover *mover, uint32_t index, uint32_t chunk, uint32_t local)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint32_t rank = flow->peer * mover->fabric->gpus_per_node + local;
    const uint32_t peer = far_end(mover, flow);
    const uint64_t bytes = wire_bytes(mover, flow_piece_tokens(&mover->flows, flow, rank, chunk));
    uint64_t start = mover->now_ps;
    if (rank == peer || bytes == 0) {
        mover_schedule(mover, mover->now_ps, pack_event(EVENT_JOINED, index, chunk, local));
    } else {
        const struct leaving sent =
            send_piece(mover, rank, peer, bytes, (struct piece){index, chunk, local});
        start = sent.first_ps;
        touch(mover, rank, sent.last_ps, peer, rank);
    }
    mover_schedule(
        mover, start,
        pack_event(EVENT_STEP, sender_index(&mover->flows, rank, flow->channel, 0), 0, 0));
}

static void on_launched(struct mover *mover, uint32_t index, uint32_t chunk, uint32_t local)
{
    const struct transfer *transfer = mover->transfer;
    const struct flow *flow = &mover->flows.flows[index];
    if (transfer->rail && transfer->gather) {
        launch_piece(mover, index, chunk, local);
        return;
    }
    const uint32_t from = wire_from(mover, flow), to = wire_to(mover, flow);
    uint64_t start = mover->now_ps;
    if (from != to)
        start = transmit(mover, index, chunk, from, to);
    else if (transfer->rail)
        forward(mover, index, chunk);
    else
        mover_schedule(mover, mover->now_ps, pack_event(EVENT_RECEIVED, index, chunk, 0));
    mover_schedule(mover, start, pack_event(EVENT_STEP, flow->sender, 0, 0));
}

static void on_trunk(struct mover *mover, uint32_t index, uint32_t chunk, bool up)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint64_t bytes = wire_bytes(mover, flow_chunk_tokens(flow, chunk));
    pass_trunk(mover, wire_from(mover, flow), wire_to(mover, flow), bytes, up,
               pack_event(up ? EVENT_TRUNK_DOWN : EVENT_ARRIVES, index, chunk, 0));
}

static void on_arrives(struct mover *mover, uint32_t index, uint32_t chunk)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint32_t from = wire_from(mover, flow), to = wire_to(mover, flow);
    const uint64_t bytes = wire_bytes(mover, flow_chunk_tokens(flow, chunk));
    const struct path path = path_between(mover, from, to);
    serve(mover, path.rx, path.to, bytes, 0);
    const uint64_t done = mover->ports[path.rx][path.to].free_ps;
    touch(mover, to, done, from, from);
    mover_schedule(mover, done, pack_event(EVENT_RECEIVED, index, chunk, 0));
}

// A rail scatter's chunk is forwarded; any other is copied out, or added to the home's sum.
static void on_received(struct mover *mover, uint32_t index, uint32_t chunk)
{
    const struct flow *flow = &mover->flows.flows[index];
    if (mover->transfer->rail && !mover->transfer->gather) {
        forward(mover, index, chunk);
        return;
    }
    const uint32_t from = wire_from(mover, flow), to = wire_to(mover, flow);
    const enum kernel kernel = mover->transfer->rail ? KERNEL_MAIN : KERNEL_RECEIVE;
    const uint64_t done = copy(mover, to, kernel, flow->channel, home_job(mover, flow, chunk));
    touch(mover, to, done, from, from);
    credit(mover, index, done, from != to && !over_nvlink(mover, from, to));
}

// One rank's part of a chunk has been copied. The last to be is what stays with the peer itself.
static void on_forwarded(struct mover *mover, uint32_t index, uint32_t chunk, uint32_t local)
{
    struct flow *flow = &mover->flows.flows[index];
    const uint32_t peer = far_end(mover, flow);
    const uint32_t rank = flow->peer * mover->fabric->gpus_per_node + local;
    const uint64_t bytes = wire_bytes(mover, flow_piece_tokens(&mover->flows, flow, rank, chunk));
    if (rank != peer) {
        if (bytes)
            flow->left_ps =
                send_piece(mover, peer, rank, bytes, (struct piece){index, chunk, local}).last_ps;
        return;
    }
    const uint64_t left = flow->left_ps > mover->now_ps ? flow->left_ps : mover->now_ps;
    touch(mover, peer, left, peer, flow->home);
    credit(mover, index, left, peer != flow->home);
}

static void on_piece_trunk(struct mover *mover, uint32_t index, uint32_t chunk, uint32_t local,
                           bool up)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint32_t rank = flow->peer * mover->fabric->gpus_per_node + local;
    const uint32_t peer = far_end(mover, flow);
    const bool gather = mover->transfer->gather;
    const uint64_t bytes = wire_bytes(mover, flow_piece_tokens(&mover->flows, flow, rank, chunk));
    pass_trunk(mover, gather ? rank : peer, gather ? peer : rank, bytes, up,
               pack_event(up ? EVENT_PIECE_DOWN : EVENT_PIECE, index, chunk, local));
}

// One rank's part of a chunk comes in: at its rank (scatter), or at the rail peer that sums
// (gather).
static void on_piece(struct mover *mover, uint32_t index, uint32_t chunk, uint32_t local)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint32_t rank = flow->peer * mover->fabric->gpus_per_node + local;
    const uint32_t peer = far_end(mover, flow);
    const bool gather = mover->transfer->gather;
    const uint32_t to = gather ? peer : rank;
    const struct path path = path_between(mover, gather ? rank : peer, to);
    const uint64_t bytes = wire_bytes(mover, flow_piece_tokens(&mover->flows, flow, rank, chunk));
    serve(mover, path.rx, path.to, bytes, 0);
    const uint64_t done = mover->ports[path.rx][path.to].free_ps;
    touch(mover, to, done, peer, gather ? rank : flow->home);
    if (gather)
        mover_schedule(mover, done, pack_event(EVENT_JOINED, index, chunk, local));
}

// The last piece of a chunk lets its sum begin.
static void on_joined(struct mover *mover, uint32_t index, uint32_t chunk)
{
    const struct flow *flow = &mover->flows.flows[index];
    if (--mover->flows.pending[flow->first_pending + chunk])
        return;
    const uint64_t done = copy(mover, far_end(mover, flow), KERNEL_MAIN, flow->channel,
                               pieces_job(mover, flow, chunk));
    mover_schedule(mover, done, pack_event(EVENT_REDUCED, index, chunk, 0));
}

// Summed over the node: home by NIC, or where the peer is home itself, done but for its own sum.
static void on_reduced(struct mover *mover, uint32_t index, uint32_t chunk)
{
    const struct flow *flow = &mover->flows.flows[index];
    const uint32_t peer = far_end(mover, flow);
    touch(mover, peer, mover->now_ps, peer, peer);
    if (peer == flow->home) {
        mover_schedule(mover, mover->now_ps, pack_event(EVENT_RECEIVED, index, chunk, 0));
        return;
    }
    transmit(mover, index, chunk, peer, flow->home);
}

// A credit lets a sender go on that slept for want of it.
static void wake(struct mover *mover, uint32_t index, uint32_t flow)
{
    struct sender *sender = &mover->senders.of[index];
    if (!sender_credit(&mover->senders, sender, flow) || !sender->asleep)
        return;
    sender->asleep = false;
    mover_schedule(mover, mover->now_ps, pack_event(EVENT_STEP, index, 0, 0));
}

static void on_credit(struct mover *mover, uint32_t index)
{
    struct flow *flow = &mover->flows.flows[index];
    const uint32_t gpus = mover->fabric->gpus_per_node;
    flow->done++;
    if (!(mover->transfer->rail && mover->transfer->gather)) {
        wake(mover, flow->sender, index);
        return;
    }
    for (uint32_t rank = flow->peer * gpus; rank < (flow->peer + 1) * gpus; rank++)
        wake(mover, sender_index(&mover->flows, rank, flow->channel, 0), index);
}

static void handle_event(struct mover *mover, uint64_t payload)
{
    const enum event_kind kind = (enum event_kind)(payload >> 60);
    const uint32_t index = (uint32_t)payload, chunk = payload >> 32 & 0x3ffff;
    const uint32_t local = payload >> 50 & 0x3ff;
    switch (kind) {
    case EVENT_STEP:
        on_step(mover, index);
        break;
    case EVENT_LAUNCHED:
        on_launched(mover, index, chunk, local);
        break;
    case EVENT_TRUNK_UP:
    case EVENT_TRUNK_DOWN:
        on_trunk(mover, index, chunk, kind == EVENT_TRUNK_UP);
        break;
    case EVENT_ARRIVES:
        on_arrives(mover, index, chunk);
        break;
    case EVENT_RECEIVED:
        on_received(mover, index, chunk);
        break;
    case EVENT_FORWARDED:
        on_forwarded(mover, index, chunk, local);
        break;
    case EVENT_PIECE:
        on_piece(mover, index, chunk, local);
        break;
    case EVENT_PIECE_UP:
    case EVENT_PIECE_DOWN:
        on_piece_trunk(mover, index, chunk, local, kind == EVENT_PIECE_UP);
        break;
    case EVENT_JOINED:
        on_joined(mover, index, chunk);
        break;
    case EVENT_REDUCED:
        on_reduced(mover, index, chunk);
        break;
    case EVENT_CREDIT:
        on_credit(mover, index);
        break;
    }
}

void mover_run(struct mover *mover)
{
    uint64_t payload;
    while (heap_pop(&mover->heap, &mover->now_ps, &payload))
        handle_event(mover, payload);
}
