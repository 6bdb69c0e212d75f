// Of the closed form: from expected loads all ranks are alike, and the slowest of them is a matter
// of chance. MODEL.md section 6.
#include "base/mem.h"
#include "model/engine/form.h"

#include <stdlib.h>

// What chance does to ports, as sums over lanes.
struct chances {
    const struct form *form;
    double *variance[PORT_LINKS]; // [fabric.count[kind]] of the copies on each port
    double *own[PORT_LINKS];      // [ranks] copies of a home's own tokens at its port
    double *senders[PORT_LINKS];  // [ranks] other ranks' ports that a rank has data of, on average
};

// A lane's copies are so many trials that come out with the same chance each, p = copies / trials:
// binomial, with variance trials p (1 - p); choices of one token go together.
static double lane_variance(const struct form *form, const struct lane_path *path)
{
    const struct loads *loads = form->schedule->loads;
    const double trials = loads->tokens[path->home];
    if (!path->crosses && form->transfer->pair == loads->expert_copies)
        return loads_choices_variance(loads, path->home,
                                      form->transfer->gather ? path->from : path->to);
    return trials > 0 ? path->tokens * fmax(0, 1 - path->tokens / trials) : 0;
}

// A home's own copies are given in number, A, and it is chance which of them a port of its has: of
// M on average, M (1 - M / A).
static double home_variance(const struct form *form, uint32_t home, double copies)
{
    const struct transfer *transfer = form->transfer;
    const struct fabric *fabric = &form->schedule->fabric;
    const double all =
        transfer->rail ? loads_sum(transfer->node + (size_t)home * fabric->nodes, fabric->nodes)
                       : loads_sum(transfer->pair + (size_t)home * fabric->ranks, fabric->ranks);
    return all > 0 ? copies * fmax(0, 1 - copies / all) : 0;
}

// How likely a lane has anything.
static double lane_any(const struct form *form, const struct lane_path *path)
{
    const struct loads *loads = form->schedule->loads;
    if (path->crosses)
        return loads_chance_of_any(loads, path->tokens, loads->tokens[path->home]);
    return schedule_chance_of_any(form->schedule, form->transfer, path->home,
                                  form->transfer->gather ? path->from : path->to);
}

static void add_end(struct chances *chances, enum port_kind kind, uint32_t rank,
                    const struct lane_path *path)
{
    const struct transfer *transfer = chances->form->transfer;
    const uint32_t port = sharers_of(&chances->form->schedule->fabric, kind, rank).port;
    if (rank == path->home && (path->crosses || !transfer->rail))
        chances->own[kind][rank] += path->tokens;
    else
        chances->variance[kind][port] += lane_variance(chances->form, path);
}

static void add_lane_chances(void *context, const struct lane_path *path)
{
    struct chances *chances = context;
    const struct form *form = chances->form;
    const bool nvlink = form_over_nvlink(form, path->from, path->to);
    const enum port_kind kind = nvlink ? PORT_NVLINK_TX : PORT_NIC_TX;
    const uint32_t waits = form->transfer->gather ? path->home : path->to;
    add_end(chances, kind, path->from, path);
    add_end(chances, kind + 1, path->to, path);
    chances->senders[kind][waits] += lane_any(form, path);
}

// Ports of a kind that are no faster than this one: a slow port is not the unluckiest of all as
// well, and no slower one could be done sooner than at this rate.
static uint32_t ports_no_faster(const struct fabric *fabric, enum port_kind kind, uint32_t port)
{
    const double rate = fabric_rate(fabric, kind, port);
    uint32_t count = 0;
    for (uint32_t p = 0; fabric->slow.count && p < fabric->count[kind]; p++)
        count += fabric_rate(fabric, kind, p) <= rate;
    return fabric->slow.count ? count : fabric->count[kind];
}

// How long a copy keeps a port on average, bytes and what its messages cost.
static double copy_ps(const struct form *form, enum port_kind kind, uint32_t port)
{
    const double token_bytes = (double)form->transfer->token_bytes;
    const double copies = form->loads.bytes[kind][port] / token_bytes;
    const double rate = kernel_port_rate(form->costs, kind, port);
    return copies > 0 && rate > 0
               ? token_bytes / rate * 1e12 + form->loads.messages[kind][port] / copies *
                                                 (double)form->costs->common.per_message_ps
               : 0;
}

// How long a port takes to pass as many copies as the busiest of so many of those no faster is
// expected to have, until the rank that waits for it is done.
static double unlucky_ps(const struct chances *chances, enum port_kind kind, uint32_t rank,
                         double ports)
{
    const struct form *form = chances->form;
    const uint32_t port = sharers_of(&form->schedule->fabric, kind, rank).port;
    const double copies = form->loads.bytes[kind][port] / (double)form->transfer->token_bytes;
    const double max = loads_expected_max(copies, sqrt(chances->variance[kind][port]), ports);
    const double hop = kind == PORT_NIC_RX      ? form->nic_hop
                       : kind == PORT_NVLINK_RX ? form->nvlink_hop
                                                : 0;
    const double each = copy_ps(form, kind, port);
    return each > 0 ? form->pack + max * each + hop + form->ranks[rank].times.tail_ps : -INFINITY;
}

// One with a slow port is no luckier than those with faster ones.
static void set_kind_late_ends(const struct chances *chances, enum port_kind kind)
{
    const struct form *form = chances->form;
    const struct fabric *fabric = &form->schedule->fabric;
    double *end = mem_alloc(fabric->ranks, sizeof *end);
    for (uint32_t r = 0; r < fabric->ranks; r++)
        end[r] = form->earliest_late +
                 unlucky_ps(chances, kind, r,
                            ports_no_faster(fabric, kind, sharers_of(fabric, kind, r).port));
    for (uint32_t r = 0; r < fabric->ranks; r++) {
        const double rate = fabric_rate(fabric, kind, sharers_of(fabric, kind, r).port);
        double late = end[r];
        for (uint32_t o = 0; fabric->slow.count && o < fabric->ranks; o++)
            if (fabric_rate(fabric, kind, sharers_of(fabric, kind, o).port) > rate)
                late = fmax(late, end[o]);
        if (late > (double)form->phase->late_ps[r])
            form->phase->late_ps[r] = (uint64_t)ceil(late);
    }
    free(end);
}

// A rank that waits for so many senders waits for the unluckiest of them: every rank does, not the
// unluckiest alone.
static void wait_for_senders(const struct chances *chances, enum port_kind kind)
{
    const struct form *form = chances->form;
    const struct fabric *fabric = &form->schedule->fabric;
    const bool nvlink = kind == PORT_NVLINK_TX;
    const uint32_t others = nvlink ? fabric->gpus_per_node - 1 : fabric->count[kind] - 1;
    const double hop = nvlink ? form->inside_hop : form->nic_hop;
    for (uint32_t r = 0; r < fabric->ranks; r++) {
        const double senders = fmin(others, chances->senders[kind][r]);
        const double end = ceil(form->earliest_start + unlucky_ps(chances, kind, r, senders) + hop);
        if (senders > 0 && end > (double)form->phase->end_ps[r])
            form->phase->end_ps[r] = (uint64_t)end;
    }
}

// Of a port that ranks share, all of them are as unlucky: of that many ports, not ranks, one is the
// unluckiest.
static double port_sd_ps(const struct chances *chances, enum port_kind kind, uint32_t rank)
{
    const struct form *form = chances->form;
    const struct fabric *fabric = &form->schedule->fabric;
    if (fabric->count[kind] == 0)
        return 0;
    const struct sharers sharers = sharers_of(fabric, kind, rank);
    const double sd =
        sqrt(chances->variance[kind][sharers.port]) * copy_ps(form, kind, sharers.port);
    const double ports = fabric->count[kind], own = (double)fabric->gpus_per_node / sharers.count;
    if (sharers.count == 1)
        return sd;
    if (ports <= own)
        return 0;
    return sd * loads_expected_max(0, 1, ports - own) /
           loads_expected_max(0, 1, (ports - own) * sharers.count);
}

// One standard deviation of how long a rank takes to send to others of its node, or elsewhere: a
// rail that gathers, by way of its node.
static double sent_sd_ps(const struct chances *chances, uint32_t rank, enum form_reach reach)
{
    const struct transfer *transfer = chances->form->transfer;
    const enum port_kind inside = transfer->inside_nic ? PORT_NIC_TX : PORT_NVLINK_TX;
    const double inside_ps = port_sd_ps(chances, inside, rank);
    const double across_ps = port_sd_ps(chances, PORT_NIC_TX, rank);
    if (reach == REACH_NODE)
        return inside_ps;
    return transfer->rail ? fmax(inside_ps, across_ps) : across_ps;
}

static void wait_for_late_senders(const struct chances *chances)
{
    const struct form *form = chances->form;
    struct form_awaited before = {0};
    for (uint32_t r = 0; r < form->schedule->fabric.ranks; r++) {
        const double sd[REACHES] = {sent_sd_ps(chances, r, REACH_NODE),
                                    sent_sd_ps(chances, r, REACH_OTHERS)};
        const double last = form_late_sender(form, r, sd, &before);
        const double end = ceil(last + form->ranks[r].times.tail_ps);
        if (last > 0 && end > (double)form->phase->end_ps[r])
            form->phase->end_ps[r] = (uint64_t)end;
    }
}

static void chances_init(struct chances *chances, const struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    chances->form = form;
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++) {
        chances->variance[kind] = mem_alloc(fabric->count[kind], sizeof(double));
        chances->own[kind] = mem_alloc(fabric->ranks, sizeof(double));
        chances->senders[kind] = mem_alloc(fabric->ranks, sizeof(double));
    }
    schedule_visit(form->schedule, form->transfer, add_lane_chances, chances);
    for (enum port_kind kind = PORT_NIC_TX; kind <= PORT_NVLINK_RX; kind++)
        for (uint32_t r = 0; r < fabric->ranks; r++)
            chances->variance[kind][sharers_of(fabric, kind, r).port] +=
                home_variance(form, r, chances->own[kind][r]);
}

static void chances_release(struct chances *chances)
{
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++) {
        free(chances->variance[kind]);
        free(chances->own[kind]);
        free(chances->senders[kind]);
    }
}

// From expected loads, all ranks are alike and the slowest is a matter of chance.
void form_set_late_ends(struct form *form)
{
    struct chances chances;
    chances_init(&chances, form);
    for (enum port_kind kind = PORT_NIC_TX; kind <= PORT_NVLINK_RX; kind++) {
        if (form->schedule->fabric.count[kind] == 0)
            continue;
        if (form->transfer->rail && !form->transfer->gather &&
            (kind == PORT_NIC_TX || kind == PORT_NVLINK_TX))
            wait_for_senders(&chances, kind);
        set_kind_late_ends(&chances, kind);
    }
    wait_for_late_senders(&chances);
    for (uint32_t r = 0; r < form->schedule->fabric.ranks; r++)
        if (form->phase->end_ps[r] > form->phase->late_ps[r])
            form->phase->late_ps[r] = form->phase->end_ps[r];
    chances_release(&chances);
}
