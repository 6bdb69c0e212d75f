// Of the closed form: when bytes of each lane may reach ports at the earliest, and until when they
// keep them. MODEL.md section 6.
#include "base/mem.h"
#include "model/engine/form.h"

#include <stdlib.h>

// A lane's path between two ranks, and when its first byte may leave the first.
struct lane {
    struct lane_path path;
    double release;
};

struct lanes {
    struct form *form;
    bool second; // stage of a rail
    // Lanes that a rail peer hands on of one home's tokens come one after another, and start alike.
    uint32_t home, via;
    double release;
    struct lane *lanes;
    size_t count;
};

// The first message of a lane: of those of all channels, which start together, the first.
static struct form_part first_part(const struct form *form, struct form_part lane, double rounds,
                                   double place)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const double channels = form->transfer->channels;
    const double lanes = form->transfer->gather ? fabric->ranks : fmax(1, fabric->nodes - 1);
    lane.tokens /= rounds * channels;
    lane.share = (place - (1 - 1 / channels) / lanes) / rounds;
    return lane;
}

// Gather: before a chunk leaves a rail peer for home, all ranks of the node that have a part of it
// have sent theirs.
double form_joined(const struct form *form, uint32_t home, uint32_t via)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const struct transfer *transfer = form->transfer;
    const uint32_t gpus = fabric->gpus_per_node, node = fabric_node(fabric, via);
    const double *pair = transfer->pair + (size_t)home * fabric->ranks;
    const double rounds = form_rounds(form, transfer->node[(size_t)home * fabric->nodes + node]);
    double joined = form->ranks[via].start;
    for (uint32_t rank = node * gpus; rank < (node + 1) * gpus; rank++) {
        const struct form_part first =
            first_part(form, (struct form_part){rank, via, pair[rank], 0, false, 0, 0}, rounds,
                       form_place(form, rank, home, false));
        if (pair[rank] > 0 && rank != via)
            joined = fmax(joined, form_part_arrives(form, &first));
        else if (pair[rank] > 0)
            joined = fmax(joined, form->ranks[rank].start);
    }
    return joined + form->forward;
}

// Scatter: a home's first chunk has crossed to its rail peer.
double form_crossed(const struct form *form, uint32_t home, uint32_t via)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const double tokens =
        form->transfer->node[(size_t)home * fabric->nodes + fabric_node(fabric, via)];
    const double rounds = form_rounds(form, tokens);
    const struct form_part first =
        first_part(form, (struct form_part){home, via, tokens, 0, false, 0, 0}, rounds,
                   form_place(form, home, via, true));
    if (home == via)
        return form->ranks[home].start + form->pack + form->forward;
    return fmax(form->ranks[via].start, form_part_arrives(form, &first)) + form->forward;
}

static bool is_second_stage(const struct form *form, const struct lane_path *path)
{
    return form->transfer->rail && path->crosses == form->transfer->gather;
}

// Direct, or the first stage of a rail: when the rank that sends has started and packed a message.
// Results of a rank, gathered, cross no NVLink before they are sent.
static double first_release(const struct form *form, uint32_t from)
{
    const struct transfer *transfer = form->transfer;
    return form->ranks[from].start + (transfer->rail && transfer->gather ? 0 : form->pack);
}

static double second_release(struct lanes *lanes, uint32_t home, uint32_t via)
{
    if (lanes->count && lanes->home == home && lanes->via == via)
        return lanes->release;
    lanes->home = home;
    lanes->via = via;
    lanes->release =
        (lanes->form->transfer->gather ? form_joined : form_crossed)(lanes->form, home, via);
    return lanes->release;
}

static void add_lane_path(void *context, const struct lane_path *path)
{
    struct lanes *lanes = context;
    if (path->tokens <= 0 || is_second_stage(lanes->form, path) != lanes->second)
        return;
    const double release = lanes->second ? second_release(lanes, path->home, path->from)
                                         : first_release(lanes->form, path->from);
    lanes->lanes[lanes->count++] = (struct lane){.path = *path, .release = release};
}

static int by_release(const void *left, const void *right)
{
    const struct lane *a = left, *b = right;
    if (a->release != b->release)
        return a->release < b->release ? -1 : 1;
    if (a->path.home != b->path.home)
        return a->path.home < b->path.home ? -1 : 1;
    if (a->path.from != b->path.from)
        return a->path.from < b->path.from ? -1 : 1;
    return a->path.to < b->path.to ? -1 : a->path.to > b->path.to;
}

// What a lane puts on one port: how long it keeps it, from when on.
struct part {
    enum port_kind kind;
    uint32_t rank;
    double reaches, ps, rounds;
    bool second; // stage of a rail
};

static void add_lane_part(struct form *form, const struct part *part)
{
    const uint32_t index = sharers_of(&form->schedule->fabric, part->kind, part->rank).port;
    struct form_queue *queue = &form->queues[part->kind][index];
    struct form_port *port = &form->ports[part->kind][part->rank];
    port->total += part->ps;
    port->early += part->second ? 0 : part->ps;
    port->rounds += part->rounds;
    queue->pieces = mem_room(queue->pieces, queue->count, sizeof *queue->pieces);
    queue->pieces[queue->count++] = (struct form_piece){part->reaches, part->ps, part->rank};
}

// A rank's last message behind a receiving port that others share comes after nearly all that its
// senders had for the others before it.
static void add_behind(struct form *form, const struct lane *lane, const struct part *part)
{
    const struct transfer *transfer = form->transfer;
    const size_t ranks = form->schedule->fabric.ranks;
    const struct sharers sharers = sharers_of(&form->schedule->fabric, part->kind, part->rank);
    for (uint32_t r = sharers.first; r < sharers.first + sharers.count; r++) {
        const size_t from = lane->path.from;
        const double theirs =
            transfer->pair[transfer->gather ? r * ranks + from : from * ranks + r];
        const double share =
            form_last_share(form_rounds(form, theirs), form_place(form, lane->path.from, r, false));
        double *behind = &form->ports[part->kind][r].behind;
        if (r == part->rank || (!transfer->rail && r != from && theirs > 0))
            *behind = fmax(*behind, part->reaches) + (r == part->rank ? 1 : share) * part->ps;
    }
}

// A faster port takes a message only when it can pass it without a gap: a trunk, from a slower
// link.
static double trunk_gap_ps(const struct form *form, const struct lane_path *path,
                           enum port_kind link, enum port_kind trunk)
{
    const double message = fmin(path->tokens, (double)form->transfer->message_tokens);
    return fmax(0, form_port_ps(form, link, path->from, message) -
                       form_port_ps(form, trunk, path->from, message));
}

// A lane passes the ports of the ranks at its ends, and of a trunk between them. Each of
// its messages costs time where it starts, but for those that a rail hands on inside a node.
static void add_lane_parts(struct form *form, const struct lane *lane)
{
    const struct lane_path *path = &lane->path;
    const struct fabric *fabric = &form->schedule->fabric;
    const struct transfer *transfer = form->transfer;
    const bool nvlink = form_over_nvlink(form, path->from, path->to);
    struct trunk trunk = {0};
    const bool shares = fabric_trunk(fabric, path->from, path->to, transfer->inside_nic, &trunk);
    const bool starts = !transfer->rail || path->crosses;
    const double messages =
        starts ? port_loads_messages(&form->loads, form->costs, path->tokens) : 0;
    const enum port_kind tx = nvlink ? PORT_NVLINK_TX : PORT_NIC_TX;
    const enum port_kind kinds[] = {tx, tx + 1, trunk.up, trunk.up + 1};
    const double gap = shares ? trunk_gap_ps(form, path, tx, trunk.up) : 0;
    for (size_t k = 0; k < (shares ? 4 : 2); k++) {
        const bool receives = kinds[k] & 1;
        const uint32_t rank = receives ? path->to : path->from;
        const double latency = nvlink ? form->nvlink_hop : form->nic_hop;
        const double hop = k == 0 ? 0 : gap + (k == 1 ? latency : 0);
        const double costs = k == 0 ? messages * (double)form->costs->common.per_message_ps : 0;
        const struct part part = {kinds[k],
                                  rank,
                                  lane->release + hop,
                                  form_port_ps(form, kinds[k], rank, path->tokens) + costs,
                                  form_rounds(form, path->tokens),
                                  is_second_stage(form, path)};
        add_lane_part(form, &part);
        if (receives)
            add_behind(form, lane, &part);
    }
}

// Copies that a rank makes of what a lane brings it, or that it sends on; each no sooner than the
// first of it is there, nor before the rank has started.
static void add_lane_copies(struct form *form, const struct lane *lane)
{
    const struct transfer *transfer = form->transfer;
    const struct copy_times *copies = &form->costs->copies;
    const struct lane_path *path = &lane->path;
    const double to_ps = !transfer->rail    ? copies->copy_ps
                         : !path->crosses   ? (transfer->gather ? copies->copy_ps : 0)
                         : transfer->gather ? copies->home_ps
                                            : copies->visit_ps;
    struct form_rank *to = &form->ranks[path->to];
    const double work =
        path->tokens * to_ps / transfer->channels * fabric_work(&form->schedule->fabric, path->to);
    to->copied = fmax(to->copied, lane->release + form->nvlink_hop) + work;
}

// Lanes of one stage, in order of their releases.
static void add_stage(struct lanes *lanes, bool second)
{
    struct form *form = lanes->form;
    lanes->second = second;
    lanes->count = 0;
    schedule_visit(form->schedule, form->transfer, add_lane_path, lanes);
    form_sort(lanes->lanes, lanes->count, sizeof *lanes->lanes, by_release);
    for (size_t i = 0; i < lanes->count; i++) {
        add_lane_parts(form, &lanes->lanes[i]);
        add_lane_copies(form, &lanes->lanes[i]);
    }
    form_take_turns(form);
}

void form_set_lane_times(struct form *form)
{
    const size_t ranks = form->schedule->fabric.ranks;
    struct lanes lanes = {.form = form, .lanes = mem_alloc(ranks * ranks, sizeof *lanes.lanes)};
    add_stage(&lanes, false);
    if (form->transfer->rail)
        add_stage(&lanes, true);
    free(lanes.lanes);
}
