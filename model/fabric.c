#include "model/fabric.h"

#include <stdio.h>

const char *const port_kind_names[] = {"nic.tx",    "nic.rx",      "nvlink.tx",
                                       "nvlink.rx", "spine.up",    "spine.down",
                                       "bridge.up", "bridge.down", "sm"};

// Where ranks share the cores that move data, each wire has its share of them: rates fall by the
// slowdown. A node's uplink carries its NICs' rate over the oversubscription; at 1 it is never full
// before they are, and is left out. A bridge joins GPUs of one node, all where it does not say how
// many. Odd kinds are the receiving side of the even ones.
struct fabric fabric_from_cluster(const struct cluster *cluster)
{
    const uint32_t ranks = cluster_ranks(cluster), nics = cluster_nic_ports(cluster);
    const double slowdown = cluster_move_slowdown(cluster);
    const double nic_Bps = cluster_nic_port_Bps(cluster) / slowdown;
    const double spine_Bps = nic_Bps * nics / cluster->spine_oversubscription;
    struct fabric fabric = {
        .ranks = ranks,
        .nodes = cluster->nodes,
        .gpus_per_node = cluster->gpus_per_node,
        .nic_ports = nics,
        .spine = cluster->spine_oversubscription > 1 && cluster->nodes > 1,
        .rails = cluster->rails,
        .bridge_gpus = cluster_bridge_gpus(cluster),
        .nic_latency_ps = cluster->nic_latency_ps,
        .nvlink_latency_ps = cluster->nvlink_latency_ps,
        .slow = cluster->slow_parts,
    };
    const uint32_t bridges = fabric.bridge_gpus ? fabric_bridge(&fabric, ranks - 1) + 1 : 0;
    fabric.count[PORT_SM] = ranks;
    for (int rx = 0; rx < 2; rx++) {
        fabric.count[PORT_NIC_TX + rx] = nics * cluster->nodes;
        fabric.rate_Bps[PORT_NIC_TX + rx] = nic_Bps;
        fabric.count[PORT_NVLINK_TX + rx] = ranks;
        fabric.rate_Bps[PORT_NVLINK_TX + rx] = cluster->nvlink_Bps / slowdown;
        fabric.count[PORT_SPINE_UP + rx] = fabric.spine ? cluster->nodes : 0;
        fabric.rate_Bps[PORT_SPINE_UP + rx] = spine_Bps;
        fabric.count[PORT_BRIDGE_UP + rx] = bridges;
        fabric.rate_Bps[PORT_BRIDGE_UP + rx] = cluster->bridge_Bps / slowdown;
    }
    return fabric;
}

// A port has the share of its rate that is said of the GPU; a NIC, of any of those that use it.
double fabric_rate(const struct fabric *fabric, enum port_kind kind, uint32_t port)
{
    const double healthy = fabric->rate_Bps[kind];
    if (!fabric->slow.count)
        return healthy;
    if (kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX)
        return healthy * slow_share(&fabric->slow, SLOW_NVLINK, port, 1);
    if (kind == PORT_NIC_TX || kind == PORT_NIC_RX) {
        const uint32_t each = fabric->gpus_per_node / fabric->nic_ports; // ranks of a NIC
        return healthy * slow_share(&fabric->slow, SLOW_NIC, port * each, each);
    }
    return healthy;
}

// A GPU that computes at a share s of the healthy rate takes 1 / s as long.
double fabric_work(const struct fabric *fabric, uint32_t rank)
{
    return 1 / slow_share(&fabric->slow, SLOW_COMPUTE, rank, 1);
}

// With rails each NIC index has a leaf of its own that joins all nodes: only traffic from one index
// to another goes up. Without, a node's NICs have one leaf, and all that leaves the node goes up.
static bool crosses_spine(const struct fabric *fabric, uint32_t from, uint32_t to)
{
    if (!fabric->spine)
        return false;
    if (!fabric->rails)
        return fabric_node(fabric, from) != fabric_node(fabric, to);
    return fabric_nic(fabric, from) % fabric->nic_ports !=
           fabric_nic(fabric, to) % fabric->nic_ports;
}

bool fabric_trunk(const struct fabric *fabric, uint32_t from, uint32_t to, bool inside_nic,
                  struct trunk *trunk)
{
    const uint32_t here = fabric_node(fabric, from), there = fabric_node(fabric, to);
    if (here == there && !inside_nic) {
        if (!fabric->bridge_gpus)
            return false;
        *trunk =
            (struct trunk){PORT_BRIDGE_UP, fabric_bridge(fabric, from), fabric_bridge(fabric, to)};
        return true;
    }
    *trunk = (struct trunk){PORT_SPINE_UP, here, there};
    return crosses_spine(fabric, from, to);
}

char *fabric_port_name(const struct fabric *fabric, enum port_kind kind, uint32_t port,
                       char *buffer)
{
    const size_t size = 48;
    const char *name = port_kind_names[kind];
    const bool nic = kind == PORT_NIC_TX || kind == PORT_NIC_RX;
    if (kind == PORT_SPINE_UP || kind == PORT_SPINE_DOWN)
        snprintf(buffer, size, "node%u.%s", port, name);
    else if (kind == PORT_BRIDGE_UP || kind == PORT_BRIDGE_DOWN) {
        const uint32_t bridges = fabric->count[kind] / fabric->nodes;
        snprintf(buffer, size, "node%u.bridge%u.%s", port / bridges, port % bridges,
                 kind == PORT_BRIDGE_UP ? "up" : "down");
    } else if (nic && fabric->nic_ports != fabric->gpus_per_node)
        snprintf(buffer, size, "node%u.nic%u.%s", port / fabric->nic_ports,
                 port % fabric->nic_ports, kind == PORT_NIC_TX ? "tx" : "rx");
    else
        snprintf(buffer, size, "gpu%u.%s", port, name);
    return buffer;
}
