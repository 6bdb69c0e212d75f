#include "model/engine/port_loads.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// A port's load, and the rank's own part of it where ranks share the port.
static void add_to_port(struct port_loads *loads, enum port_kind kind, uint32_t port, uint32_t rank,
                        double bytes, double messages)
{
    loads->bytes[kind][port] += bytes;
    loads->messages[kind][port] += messages;
    loads->own_bytes[kind][rank] += bytes;
    loads->own_messages[kind][rank] += messages;
}

// Bytes, and messages where they start, on the ports between two ranks.
static void add_port_hop(const struct schedule *schedule, const struct transfer *transfer,
                         struct port_loads *loads, uint32_t from, uint32_t to, double tokens,
                         double messages)
{
    const struct fabric *fabric = &schedule->fabric;
    const double bytes = tokens * (double)transfer->token_bytes;
    const bool inside = fabric_node(fabric, from) == fabric_node(fabric, to);
    if (from == to || tokens <= 0)
        return;
    if (inside && !transfer->inside_nic) {
        add_to_port(loads, PORT_NVLINK_TX, from, from, bytes, messages);
        add_to_port(loads, PORT_NVLINK_RX, to, to, bytes, 0);
        return;
    }
    add_to_port(loads, PORT_NIC_TX, fabric_nic(fabric, from), from, bytes, messages);
    add_to_port(loads, PORT_NIC_RX, fabric_nic(fabric, to), to, bytes, 0);
    if (fabric_crosses_spine(fabric, from, to)) {
        add_to_port(loads, PORT_SPINE_UP, fabric_node(fabric, from), from, bytes, 0);
        add_to_port(loads, PORT_SPINE_DOWN, fabric_node(fabric, to), to, bytes, 0);
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

// Expected loads have parts of tokens: linear between the two whole numbers beside, so that
// messages grow steadily with tokens.
static double lane_messages(const struct transfer *transfer, double tokens)
{
    const double whole = floor(tokens), part = tokens - whole;
    const double messages = whole_messages(transfer, whole);
    return part > 0 ? messages + part * (whole_messages(transfer, whole + 1) - messages) : messages;
}

// Both ends of a direct path copy: the sender's kernel into the wire's buffers, the receiver's out.
static void add_direct(struct port_loads *loads, const struct kernel_costs *costs)
{
    const struct schedule *schedule = costs->schedule;
    const struct transfer *transfer = costs->transfer;
    const double copy_ps = costs->copies.copy_ps;
    const uint32_t ranks = schedule->fabric.ranks;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t peer = 0; peer < ranks; peer++) {
            const double tokens = transfer->pair[(size_t)home * ranks + peer];
            const uint32_t from = transfer->gather ? peer : home;
            const uint32_t to = transfer->gather ? home : peer;
            const double bytes = tokens * (double)transfer->token_bytes;
            add_port_hop(schedule, transfer, loads, from, to, tokens,
                         lane_messages(transfer, tokens));
            loads->bytes[PORT_SM][from] += bytes;
            loads->bytes[PORT_SM][to] += bytes;
            loads->copies_ps[0][from] += tokens * copy_ps;
            loads->copies_ps[1][to] += tokens * copy_ps;
            loads->peers[from] += tokens > 0 && from != to;
        }
}

// A home copies each token once for each node it goes to; the rail peer there visits it, and copies
// it for (or sums it over) the ranks of its node. One kernel does both.
static void add_rail(struct port_loads *loads, const struct kernel_costs *costs)
{
    const struct schedule *schedule = costs->schedule;
    const struct transfer *transfer = costs->transfer;
    const struct copy_times *copies = &costs->copies;
    const struct fabric *fabric = &schedule->fabric;
    const uint32_t ranks = fabric->ranks, nodes = fabric->nodes, gpus = fabric->gpus_per_node;
    for (uint32_t home = 0; home < ranks; home++)
        for (uint32_t node = 0; node < nodes; node++) {
            const double crossing = transfer->node[(size_t)home * nodes + node];
            const uint32_t peer = fabric_rail_peer(fabric, home, node);
            const uint32_t from = transfer->gather ? peer : home;
            const uint32_t to = transfer->gather ? home : peer;
            add_port_hop(schedule, transfer, loads, from, to, crossing,
                         lane_messages(transfer, crossing));
            loads->bytes[PORT_SM][home] += crossing * (double)transfer->token_bytes;
            loads->copies_ps[0][home] += crossing * copies->home_ps;
            loads->copies_ps[0][peer] += crossing * copies->visit_ps;
            loads->peers[from] += crossing > 0 && from != to;
            for (uint32_t rank = node * gpus; rank < (node + 1) * gpus; rank++) {
                const double tokens = transfer->pair[(size_t)home * ranks + rank];
                add_port_hop(schedule, transfer, loads, transfer->gather ? rank : peer,
                             transfer->gather ? peer : rank, tokens, 0);
                loads->bytes[PORT_SM][peer] += tokens * (double)transfer->token_bytes;
                loads->copies_ps[0][peer] += tokens * copies->copy_ps;
            }
        }
}

void port_loads_init(struct port_loads *loads, const struct kernel_costs *costs)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    for (int kind = 0; kind < PORT_CLASSES; kind++) {
        loads->bytes[kind] = mem_alloc(fabric->count[kind], sizeof(double));
        loads->messages[kind] = mem_alloc(fabric->count[kind], sizeof(double));
    }
    for (int kind = 0; kind < PORT_LINKS; kind++) {
        loads->own_bytes[kind] = mem_alloc(fabric->ranks, sizeof(double));
        loads->own_messages[kind] = mem_alloc(fabric->ranks, sizeof(double));
    }
    loads->peers = mem_alloc(fabric->ranks, sizeof(double));
    for (int kernel = 0; kernel < 2; kernel++)
        loads->copies_ps[kernel] = mem_alloc(fabric->ranks, sizeof(double));
    (costs->transfer->rail ? add_rail : add_direct)(loads, costs);
    for (uint32_t r = 0; r < fabric->ranks; r++)
        for (int kernel = 0; kernel < 2; kernel++)
            loads->copies_ps[kernel][r] *= fabric_work(fabric, r);
}

void port_loads_release(struct port_loads *loads)
{
    for (int kind = 0; kind < PORT_CLASSES; kind++) {
        free(loads->bytes[kind]);
        free(loads->messages[kind]);
    }
    for (int kind = 0; kind < PORT_LINKS; kind++) {
        free(loads->own_bytes[kind]);
        free(loads->own_messages[kind]);
    }
    free(loads->peers);
    for (int kernel = 0; kernel < 2; kernel++)
        free(loads->copies_ps[kernel]);
    *loads = (struct port_loads){0};
}

double port_loads_copies_ps(const struct port_loads *loads, const struct kernel_costs *costs,
                            uint32_t rank)
{
    return fmax(loads->copies_ps[0][rank], loads->copies_ps[1][rank]) / costs->transfer->channels;
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
