#include "model/engine/port_loads.h"

#include "base/mem.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// What moves between two ranks; messages start at the first of the ports.
struct hop_load {
    double bytes, messages;
};

// A port's load, and the rank's own part of it where ranks share the port.
static void add_to_port(struct port_loads *loads, enum port_kind kind, uint32_t port, uint32_t rank,
                        const struct hop_load *load)
{
    loads->bytes[kind][port] += load->bytes;
    loads->messages[kind][port] += load->messages;
    loads->own_bytes[kind][rank] += load->bytes;
    loads->own_messages[kind][rank] += load->messages;
}

static void add_hop(struct port_loads *loads, const struct kernel_costs *costs, uint32_t from,
                    uint32_t to, struct hop_load load)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    const struct hop_load later = {.bytes = load.bytes}; // at the ports behind the first
    const bool inside_nic = costs->transfer->inside_nic;
    struct trunk trunk;
    if (from == to || load.bytes <= 0)
        return;
    if (fabric_node(fabric, from) == fabric_node(fabric, to) && !inside_nic) {
        add_to_port(loads, PORT_NVLINK_TX, from, from, &load);
        add_to_port(loads, PORT_NVLINK_RX, to, to, &later);
    } else {
        add_to_port(loads, PORT_NIC_TX, fabric_nic(fabric, from), from, &load);
        add_to_port(loads, PORT_NIC_RX, fabric_nic(fabric, to), to, &later);
    }
    if (fabric_trunk(fabric, from, to, inside_nic, &trunk)) {
        add_to_port(loads, trunk.up, trunk.from, from, &later);
        add_to_port(loads, trunk.up + 1, trunk.to, to, &later);
    }
}

// Messages of a lane of whole tokens: each channel's slice, of which the first have a token more,
// in pieces of message_tokens: ceil(slice / message) each.
static double whole_messages(const struct transfer *transfer, double tokens)
{
    const double slice = floor(tokens / transfer->channels);
    const double larger = tokens - slice * transfer->channels; // slices with one token more
    const double message = (double)transfer->message_tokens;
    return larger * ceil((slice + 1) / message) +
           (transfer->channels - larger) * ceil(slice / message);
}

// Balanced loads have parts of tokens: linear between the two whole numbers beside, so that
// messages grow steadily with tokens.
static double messages_between(const struct transfer *transfer, double tokens)
{
    const double whole = floor(tokens), part = tokens - whole;
    const double messages = whole_messages(transfer, whole);
    return part > 0 ? messages + part * (whole_messages(transfer, whole + 1) - messages) : messages;
}

// The mean of ceil(slice / message) over slices that are nearly Poisson: the sum over j of
// P(more than j messages' tokens).
static double mean_messages(const struct transfer *transfer, double tokens)
{
    const double slice = tokens / transfer->channels, message = (double)transfer->message_tokens;
    const double sure = fmax(0, floor((slice - 6 * sqrt(slice)) / message)); // hardly ever fewer
    double messages = sure, more = 1;
    for (double j = sure; more > 1e-6; j++) {
        more = gsl_cdf_poisson_Q((unsigned)(j * message), slice);
        messages += more;
    }
    return messages * transfer->channels;
}

double port_loads_messages(struct port_loads *loads, const struct kernel_costs *costs,
                           double tokens)
{
    const struct loads *asked = costs->schedule->loads;
    const struct transfer *transfer = costs->transfer;
    const bool drawn = asked->expected && !asked->balanced && transfer->message_tokens > 1 &&
                       transfer->pair != costs->schedule->all_pairs;
    if (!drawn || costs->common.per_message_ps == 0)
        return messages_between(transfer, tokens);
    if (loads->lane.tokens != tokens) {
        loads->lane.tokens = tokens;
        loads->lane.messages = mean_messages(transfer, tokens);
    }
    return loads->lane.messages;
}

// Both ends of a direct path copy: the sender's kernel into the wire's buffers, the receiver's out.
static void add_direct(struct port_loads *loads, const struct kernel_costs *costs)
{
    const struct transfer *transfer = costs->transfer;
    const double copy_ps = costs->copies.copy_ps;
    const uint32_t ranks = costs->schedule->fabric.ranks;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t peer = 0; peer < ranks; peer++) {
            const double tokens = transfer->pair[(size_t)home * ranks + peer];
            const uint32_t from = transfer->gather ? peer : home;
            const uint32_t to = transfer->gather ? home : peer;
            const double bytes = tokens * (double)transfer->token_bytes;
            add_hop(loads, costs, from, to,
                    (struct hop_load){.bytes = bytes,
                                      .messages = port_loads_messages(loads, costs, tokens)});
            loads->bytes[PORT_SM][from] += bytes;
            loads->bytes[PORT_SM][to] += bytes;
            loads->ranks[from].copies_ps[0] += tokens * copy_ps;
            loads->ranks[to].copies_ps[1] += tokens * copy_ps;
            if (from != to)
                loads->ranks[from].peers +=
                    schedule_chance_of_any(costs->schedule, transfer, home, peer);
        }
}

// Of a rail, what crosses between a home and its rail peer in another node.
static void add_crossing(struct port_loads *loads, const struct kernel_costs *costs, uint32_t home,
                         uint32_t peer)
{
    const struct transfer *transfer = costs->transfer;
    const struct fabric *fabric = &costs->schedule->fabric;
    const size_t lane = (size_t)home * fabric->nodes + fabric_node(fabric, peer);
    const double crossing = transfer->node[lane], bytes = crossing * (double)transfer->token_bytes;
    const uint32_t from = transfer->gather ? peer : home, to = transfer->gather ? home : peer;
    add_hop(
        loads, costs, from, to,
        (struct hop_load){.bytes = bytes, .messages = port_loads_messages(loads, costs, crossing)});
    loads->bytes[PORT_SM][home] += bytes;
    loads->ranks[home].copies_ps[0] += crossing * costs->copies.home_ps;
    loads->ranks[peer].copies_ps[0] += crossing * costs->copies.visit_ps;
    if (from != to)
        loads->ranks[from].peers += loads_chance_of_any(costs->schedule->loads, crossing,
                                                        costs->schedule->loads->tokens[home]);
}

// And what the rail peer passes on to a rank of its node, or sums of it.
static void add_inside(struct port_loads *loads, const struct kernel_costs *costs, uint32_t home,
                       uint32_t peer, uint32_t rank)
{
    const struct transfer *transfer = costs->transfer;
    const double tokens = transfer->pair[(size_t)home * costs->schedule->fabric.ranks + rank];
    const double bytes = tokens * (double)transfer->token_bytes;
    add_hop(loads, costs, transfer->gather ? rank : peer, transfer->gather ? peer : rank,
            (struct hop_load){.bytes = bytes});
    loads->bytes[PORT_SM][peer] += bytes;
    loads->ranks[peer].copies_ps[0] += tokens * costs->copies.copy_ps;
}

// A home copies each token once for each node it goes to; the rail peer there visits it, and copies
// it for (or sums it over) the ranks of its node. One kernel does both.
static void add_rail(struct port_loads *loads, const struct kernel_costs *costs)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    for (uint32_t home = 0; home < fabric->ranks; home++)
        for (uint32_t node = 0; node < fabric->nodes; node++) {
            const uint32_t peer = fabric_rail_peer(fabric, home, node);
            add_crossing(loads, costs, home, peer);
            for (uint32_t i = 0; i < fabric->gpus_per_node; i++)
                add_inside(loads, costs, home, peer, node * fabric->gpus_per_node + i);
        }
}

void port_loads_init(struct port_loads *loads, const struct kernel_costs *costs)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    for (int kind = 0; kind < PORT_KINDS; kind++) {
        loads->bytes[kind] = mem_alloc(fabric->count[kind], sizeof(double));
        loads->messages[kind] = mem_alloc(fabric->count[kind], sizeof(double));
    }
    for (int kind = 0; kind < PORT_LINKS; kind++) {
        loads->own_bytes[kind] = mem_alloc(fabric->ranks, sizeof(double));
        loads->own_messages[kind] = mem_alloc(fabric->ranks, sizeof(double));
    }
    loads->ranks = mem_alloc(fabric->ranks, sizeof *loads->ranks);
    (costs->transfer->rail ? add_rail : add_direct)(loads, costs);
    for (uint32_t r = 0; r < fabric->ranks; r++)
        for (int kernel = 0; kernel < 2; kernel++)
            loads->ranks[r].copies_ps[kernel] *= fabric_work(fabric, r);
}

void port_loads_release(struct port_loads *loads)
{
    for (int kind = 0; kind < PORT_KINDS; kind++) {
        free(loads->bytes[kind]);
        free(loads->messages[kind]);
    }
    for (int kind = 0; kind < PORT_LINKS; kind++) {
        free(loads->own_bytes[kind]);
        free(loads->own_messages[kind]);
    }
    free(loads->ranks);
    *loads = (struct port_loads){0};
}

double port_loads_copies_ps(const struct port_loads *loads, const struct kernel_costs *costs,
                            uint32_t rank)
{
    return fmax(loads->ranks[rank].copies_ps[0], loads->ranks[rank].copies_ps[1]) /
           costs->transfer->channels;
}

// No order of the same bytes is done sooner than the busiest port's bytes over its own rate,
// whatever share of that kernels reach: a bound of physics, not of the dispatcher.
double port_loads_bound_ps(const struct port_loads *loads, const struct fabric *fabric,
                           char *busiest)
{
    double bound = 0;
    strcpy(busiest, "none");
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++)
        for (uint32_t port = 0; port < fabric->count[kind]; port++) {
            const double time = loads->bytes[kind][port] / fabric_rate(fabric, kind, port) * 1e12;
            if (time > bound) {
                bound = time;
                fabric_port_name(fabric, kind, port, busiest);
            }
        }
    return bound;
}
