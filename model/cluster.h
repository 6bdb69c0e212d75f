// The cluster: NVLink domains ("nodes") of GPUs, the NICs between them, and what a GPU can do.
// A rate without "nominal" in its name is effective: what a good implementation sustains, payload
// and headers alike. Each figure of a preset carries its source.
#ifndef MODEL_CLUSTER_H
#define MODEL_CLUSTER_H

#include "base/field.h"
#include "model/slow.h"
#include "base/object.h"

#define CLUSTER_MAX_RANKS 1024

// Which links carry traffic inside a node.
enum inside { INSIDE_NVLINK, INSIDE_NIC };
extern const char *const inside_names[];

#define CLUSTER_GEMM_INNER 7168.0
#define CLUSTER_SELECT_EXPERTS 256.0

struct cluster {
    char name[FIELD_TEXT_BYTES];
    uint32_t nodes;
    uint32_t gpus_per_node;
    uint32_t nics_per_node; // 0: one a GPU; fewer than GPUs: shared; more: added up
    uint32_t ports_per_nic; // that share its rate; 0: not said
    bool rails;             // each NIC index has a leaf switch of its own (rail-optimised)
    enum inside inside;     // nic: no NVLink in use, GPUs of a node too meet over their NICs
    uint32_t shared_gpus;   // GPUs (or cores that compute) that all ranks share; 0: one each
    uint64_t time_slice_ps; // that a rank computes before another has its turn at what they share;
                            // 0: all at once
    uint32_t shared_cores;  // cores that all ranks' sending and receiving runs on; 0: enough
    double nvlink_Bps;      // one GPU to others of its node, each way: NVLink, XGMI, or PCIe
    double nvlink_nominal_Bps; // datasheet
    uint64_t nvlink_latency_ps;
    // A PCIe switch or host bridge that GPUs of a node without NVLink share: what all of them
    // together send each other through it, each way. 0: none.
    double bridge_Bps;
    double bridge_nominal_Bps;
    uint32_t bridge_gpus; // that share one; 0: all of a node
    double nic_Bps;       // one NIC, each way
    double nic_nominal_Bps;
    uint64_t nic_latency_ps;       // GPU memory to GPU memory, one way, switches included
    double spine_oversubscription; // node's NIC rate over its uplink to the spine; 1: non-blocking
    char gpu[FIELD_TEXT_BYTES]; // its model, "h100": what a dispatcher's variants go by; "": none
    char architecture[FIELD_TEXT_BYTES]; // the GPU's generation, "hopper", likewise; "": none
    char network[FIELD_TEXT_BYTES];      // between nodes, "efa", likewise; "": nothing special
    uint32_t sms;                        // streaming multiprocessors of a GPU
    double hbm_Bps;
    double fp8_flops; // dense
    double bf16_flops;
    double gemm_efficiency; // share of those rates that grouped GEMMs reach
    uint64_t kernel_launch_ps;
    // The shortest matrix product: one tile's way through an inner dimension of CLUSTER_GEMM_INNER;
    // of others in proportion.
    uint64_t gemm_min_ps;
    // The router's selection, a token: groups, top-k, weights; beyond its scores. Of
    // CLUSTER_SELECT_EXPERTS; of others in proportion.
    uint64_t select_ps;
    uint64_t expert_launch_ps;   // an expert's kernels, where each expert has its own; 0: grouped
    double graph_launches;       // what a launch takes in a CUDA graph, over one in a stream
    bool graph;                  // asked of a run, no key: the layer is such a graph
    double roofline_norm;        // how operations and memory add up; 0: the larger of them
    char slow[FIELD_TEXT_BYTES]; // which parts are slower than all this, or late; "": none
    struct slow slow_parts;      // the same as cluster_check and cluster_set_slow read it
};

extern const struct field cluster_fields[];
extern const size_t cluster_field_count;

// Latencies of 1 us NVLink and 2.5 us NIC and a Hopper GPU; no links.
struct cluster cluster_default(void);

// How files of clusters are read.
extern const struct object_reader cluster_reader;

// Reads a preset's name, a YAML file, or the one-line form "4x8:nvlink=450GB/s,nic=400Gbps" (nodes
// x GPUs a node, then keys), or a preset or file with keys changed, "h800-cx7:nic=200Gbps"; its
// name then ends in '*'. Keys are those of cluster_fields, but that in a line `nvlink` and `nic`
// are nominal rates, as datasheets have them, and nvlink_effective and nic_effective what a good
// implementation sustains. A nominal rate alone is scaled by effective over nominal of the preset
// that is changed, or else of the preset whose link is most like (NVLink: of the same GPU; the
// nearest nominal rate; the most fitted rows), with a notice. An effective rate alone leaves a
// preset's nominal one, and is its own in a line without preset. provenance as in moe_load.
bool cluster_load(const char *what, struct cluster *cluster, struct provenance *provenance,
                  struct error *err);

// The first preset of a cluster whose GPU is of that model, for what its datasheet says; false:
// none is. name has FIELD_TEXT_BYTES.
bool cluster_of_gpu(const char *gpu, char *name);

// The one-line form of a cluster: every key that differs from cluster_default(). cluster_load reads
// it back. Freed by the caller.
char *cluster_line(const struct cluster *cluster);

// The keys that `to` has otherwise than `from`, as that form says them: "nic_effective=24GB/s,
// nics_per_node=1" without the blank; "" for none. Freed by the caller.
char *cluster_line_changes(const struct cluster *from, const struct cluster *to);

// Sets the number of nodes for `ep` ranks: ep / gpus_per_node, or one node of ep GPUs when fewer
// than a node has. Refuses a number that leaves a node partly used, zero, and above
// CLUSTER_MAX_RANKS.
bool cluster_set_ep(struct cluster *cluster, uint32_t ep, struct error *err);

// Sets nodes and GPUs a node, no more than the cluster's nodes have; NICs shrink in proportion. Of
// a cluster that is one NVLink domain, without NICs or of just as many GPUs, "nodes" are hosts, and
// all of them one node.
bool cluster_set_shape(struct cluster *cluster, uint32_t nodes, uint32_t gpus_per_node,
                       struct error *err);

// Reads what is slow, for the cluster's shape of now, and refuses what cannot be: no GPUs, a link
// of rate zero where ranks need it (nic only with more than one node), NICs that do not divide GPUs
// nor are divided by them, too many ranks, slow parts that are not there.
bool cluster_check(struct cluster *cluster, struct error *err);

// Sets what is slow, in place of what the cluster says itself, and marks its name: it is not the
// cluster that was measured. Its shape is final.
bool cluster_set_slow(struct cluster *cluster, const char *slow, struct error *err);

// All parts healthy; the name stays.
void cluster_clear_slow(struct cluster *cluster);

// How long a rank computes what takes it `alone_ps` by itself, when all ranks are busy together
// with what they share, each with its share. Within its first time slice nobody is in its way: its
// clock starts when its turn comes.
double cluster_computed_ps(const struct cluster *cluster, double alone_ps);

// The time of launches that take stream_ps in a stream: less where the layer is a CUDA graph.
double cluster_launches_ps(const struct cluster *cluster, double stream_ps);

// How much slower a rank moves data because others use the same cores. At least 1.
double cluster_move_slowdown(const struct cluster *cluster);

static inline uint32_t cluster_ranks(const struct cluster *cluster)
{
    return cluster->nodes * cluster->gpus_per_node;
}

// GPUs of a node that share a bridge, as the node is now; 0: there is none.
uint32_t cluster_bridge_gpus(const struct cluster *cluster);

// NIC ports of a node that carry traffic apart from each other: min(GPUs, NICs).
uint32_t cluster_nic_ports(const struct cluster *cluster);
// Rate of one such port: nic_Bps times the NICs that a GPU has for itself.
double cluster_nic_port_Bps(const struct cluster *cluster);

#endif
