// The fabric: the ports of a cluster and the path between two ranks, as numbers. Shared by the
// closed form, the simulator and the physical bound, so that all speak of the same ports.
#ifndef MODEL_FABRIC_H
#define MODEL_FABRIC_H

#include "model/cluster.h"

enum port_kind {
    PORT_NIC_TX,
    PORT_NIC_RX,
    PORT_NVLINK_TX,
    PORT_NVLINK_RX,
    PORT_SPINE_UP,        // of a node, to the spine; only when oversubscribed
    PORT_SPINE_DOWN,      // of a node, from the spine
    PORT_BRIDGE_UP,       // of GPUs that share a PCIe switch or host bridge: into it, between them
    PORT_BRIDGE_DOWN,     // out of it
    PORT_LINKS,           // the kinds before this are wires: the physical bound is over them alone
    PORT_SM = PORT_LINKS, // the SMs of a GPU that move data, as one engine
    PORT_KINDS,
};
extern const char *const port_kind_names[]; // "nic.tx", ...

struct fabric {
    uint32_t ranks, nodes, gpus_per_node;
    uint32_t nic_ports; // of a node
    bool spine;         // oversubscribed: traffic that leaves its rail meets the spine
    bool rails;
    uint32_t bridge_gpus; // GPUs of a node that share a bridge; 0: none does
    uint32_t count[PORT_KINDS];
    double rate_Bps[PORT_KINDS]; // of a healthy port; PORT_SM: 0, it depends on the transfer
    uint64_t nic_latency_ps, nvlink_latency_ps;
    struct slow slow; // what is not healthy
};

// The cluster has passed cluster_check.
struct fabric fabric_from_cluster(const struct cluster *cluster);

// The rate of one port, slow parts told apart.
double fabric_rate(const struct fabric *fabric, enum port_kind kind, uint32_t port);

// How many times as long as on a healthy GPU a rank's own work takes: its operations, memory,
// launches and the kernels that move data. At least 1.
double fabric_work(const struct fabric *fabric, uint32_t rank);

static inline uint32_t fabric_node(const struct fabric *fabric, uint32_t rank)
{
    return rank / fabric->gpus_per_node;
}

// The NIC port that a rank uses.
static inline uint32_t fabric_nic(const struct fabric *fabric, uint32_t rank)
{
    const uint32_t local = rank % fabric->gpus_per_node;
    return fabric_node(fabric, rank) * fabric->nic_ports +
           local * fabric->nic_ports / fabric->gpus_per_node;
}

// The rank of `node` with the same index in its node as `rank`: its rail peer.
static inline uint32_t fabric_rail_peer(const struct fabric *fabric, uint32_t rank, uint32_t node)
{
    return node * fabric->gpus_per_node + rank % fabric->gpus_per_node;
}

// The bridge that a rank's link inside its node hangs on. fabric->bridge_gpus is not 0.
static inline uint32_t fabric_bridge(const struct fabric *fabric, uint32_t rank)
{
    const uint32_t gpus = fabric->gpus_per_node, each = fabric->bridge_gpus;
    return fabric_node(fabric, rank) * ((gpus + each - 1) / each) + rank % gpus / each;
}

// What a path shares with others' between its first port and its last: a spine between NICs, or
// bridges inside a node. Bytes go up at the one and down at the other, at kind up + 1.
struct trunk {
    enum port_kind up;
    uint32_t from, to; // ports
};

// Whether the path between two ranks passes a trunk. inside_nic: GPUs of a node too meet over their
// NICs.
bool fabric_trunk(const struct fabric *fabric, uint32_t from, uint32_t to, bool inside_nic,
                  struct trunk *trunk);

// "gpu3.nvlink.tx", "gpu3.nic.rx", "node1.nic2.tx" (shared NIC), "node1.spine.up",
// "node1.bridge0.up". buffer: 48 bytes.
char *fabric_port_name(const struct fabric *fabric, enum port_kind kind, uint32_t port,
                       char *buffer);

#endif
