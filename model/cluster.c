// The cluster: presets, YAML and the one-line form, over one table of fields.
#include "model/cluster.h"

#include "base/mem.h"
#include "base/object.h"
#include "base/preset.h"
#include "model/slow.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RATE_MAX 1e15 // bytes per second
#define FLOPS_MAX 1e18
#define TIME_MAX 1e12 // picoseconds: a second

// clang-format off
#define ROW(name, what, member, low, high, text)                                                   \
    {.key = name, .kind = what, .offset = offsetof(struct cluster, member), .min = low,            \
     .max = high, .help = text}
#define COUNT(name, low, high, text) ROW(#name, FIELD_U32, name, low, high, text)
#define RATE(name, text) ROW(#name, FIELD_RATE, name##_Bps, 0, RATE_MAX, text)
#define TIME(name, text) ROW(#name, FIELD_TIME, name##_ps, 0, TIME_MAX, text)
#define FLOPS(name, text) ROW(#name, FIELD_FLOPS, name##_flops, 1e9, FLOPS_MAX, text)
#define NUMBER(name, low, high, text) ROW(#name, FIELD_NUMBER, name, low, high, text)

const char *const inside_names[] = {"nvlink", "nic", NULL};

const struct field cluster_fields[] = {
    ROW("name", FIELD_TEXT, name, 0, 0, "name of the cluster"),
    COUNT(nodes, 1, CLUSTER_MAX_RANKS, "NVLink domains"),
    COUNT(gpus_per_node, 1, CLUSTER_MAX_RANKS, "GPUs of a node"),
    COUNT(nics_per_node, 0, CLUSTER_MAX_RANKS, "NICs of a node; 0: one a GPU"),
    COUNT(ports_per_nic, 0, 16, "ports of a NIC, which share its rate; 0: not said"),
    ROW("rails", FIELD_BOOL, rails, 0, 0, "each NIC index has a leaf switch of its own"),
    {.key = "inside", .kind = FIELD_ENUM, .offset = offsetof(struct cluster, inside),
     .names = inside_names,
     .help = "what GPUs of a node reach each other by: nvlink, or nic where NVLink is not there"},
    COUNT(shared_gpus, 0, CLUSTER_MAX_RANKS,
          "GPUs (or cores that compute) that all ranks share; 0: one each"),
    COUNT(shared_cores, 0, 65536, "cores that all ranks' sending and receiving runs on; 0: enough"),
    TIME(time_slice, "that a rank computes before another has its turn; 0: all at once"),
    RATE(nvlink, "NVLink of a GPU, each way, effective"),
    RATE(nvlink_nominal, "NVLink of a GPU, each way, of the datasheet"),
    TIME(nvlink_latency, "one way over NVLink"),
    RATE(bridge, "what GPUs of a node send each other through the PCIe switch or host bridge that "
                 "they share, each way, effective; 0: they share none"),
    RATE(bridge_nominal, "the same, of the datasheet"),
    COUNT(bridge_gpus, 0, CLUSTER_MAX_RANKS, "GPUs that share such a bridge; 0: all of a node"),
    RATE(nic, "a NIC, each way, effective"),
    RATE(nic_nominal, "a NIC, each way, of the datasheet"),
    TIME(nic_latency, "one way, GPU memory to GPU memory, switches included"),
    NUMBER(spine_oversubscription, 1, 1000,
           "a node's NIC rate over its uplink to the spine; 1: non-blocking"),
    ROW("gpu", FIELD_TEXT, gpu, 0, 0, "model of the GPU, h100: what variants of dispatchers go by"),
    ROW("architecture", FIELD_TEXT, architecture, 0, 0,
        "of the GPU, hopper: what its generation has in common"),
    ROW("network", FIELD_TEXT, network, 0, 0,
        "between nodes, efa: what libraries do otherwise on it; none said: RDMA by the GPUs"),
    COUNT(sms, 1, 4096, "streaming multiprocessors of a GPU"),
    ROW("hbm", FIELD_RATE, hbm_Bps, 1e9, RATE_MAX, "memory of a GPU, effective"),
    FLOPS(fp8, "dense FP8 rate of a GPU"),
    FLOPS(bf16, "dense BF16 rate of a GPU"),
    NUMBER(gemm_efficiency, 0.01, 1, "share of those rates that grouped GEMMs reach"),
    TIME(kernel_launch, "launch of one kernel"),
    ROW("gemm_least", FIELD_TIME, gemm_min_ps, 0, TIME_MAX,
        "the shortest matrix product of inner dimension 7168, without its launch"),
    TIME(select, "the router's selection of 256 experts, a token, beyond its scores"),
    TIME(expert_launch, "kernels of an expert that are launched one after another; 0: one grouped"),
    NUMBER(graph_launches, 0, 1, "what a launch takes in a CUDA graph, over one in a stream"),
    NUMBER(roofline_norm, 0, 100,
           "operations and memory add up as this norm: 1 their sum; 0: the larger of the two"),
    ROW("slow", FIELD_TEXT, slow, 0, 0,
        "parts slower than all this, or late: gpu=5:nic=0.5+node=1:compute=0.8"),
};
// clang-format on
#define CLUSTER_FIELDS (sizeof cluster_fields / sizeof cluster_fields[0])
const size_t cluster_field_count = CLUSTER_FIELDS;

struct cluster cluster_default(void)
{
    return (struct cluster){
        .name = "custom",
        .nodes = 1,
        .gpus_per_node = 8,
        .rails = true,
        .nvlink_latency_ps = 1000000,
        .nic_latency_ps = 2500000,
        .spine_oversubscription = 1.0,
        .sms = 132,
        .hbm_Bps = 2.668e12,
        .fp8_flops = 1979e12,
        .bf16_flops = 989e12,
        .gemm_efficiency = 0.62,
        .kernel_launch_ps = 3000000,
        .graph_launches = 1,
    };
}

uint32_t cluster_bridge_gpus(const struct cluster *cluster)
{
    const uint32_t gpus = cluster->gpus_per_node, each = cluster->bridge_gpus;
    if (!(cluster->bridge_Bps > 0))
        return 0;
    return each && each < gpus ? each : gpus;
}

uint32_t cluster_nic_ports(const struct cluster *cluster)
{
    const uint32_t gpus = cluster->gpus_per_node, nics = cluster->nics_per_node;
    return nics == 0 || nics > gpus ? gpus : nics;
}

double cluster_nic_port_Bps(const struct cluster *cluster)
{
    const uint32_t gpus = cluster->gpus_per_node, nics = cluster->nics_per_node;
    const uint32_t own = nics > gpus ? nics / gpus : 1;
    return cluster->nic_Bps * own;
}

static double slowdown(const struct cluster *cluster, uint32_t shared)
{
    const uint32_t ranks = cluster_ranks(cluster);
    return shared && shared < ranks ? (double)ranks / shared : 1;
}

double cluster_computed_ps(const struct cluster *cluster, double alone_ps)
{
    const double first = fmin(alone_ps, (double)cluster->time_slice_ps);
    return first + (alone_ps - first) * slowdown(cluster, cluster->shared_gpus);
}

double cluster_launches_ps(const struct cluster *cluster, double stream_ps)
{
    return cluster->graph ? stream_ps * cluster->graph_launches : stream_ps;
}

double cluster_move_slowdown(const struct cluster *cluster)
{
    return slowdown(cluster, cluster->shared_cores);
}

// Without NVLink the NICs carry what it would; the spine in between is left out of that.
static const char *link_fault(const struct cluster *cluster, struct error *err)
{
    const uint32_t gpus = cluster->gpus_per_node, nics = cluster->nics_per_node;
    if (gpus > 1 && !(cluster->nvlink_Bps > 0) && cluster->inside == INSIDE_NVLINK)
        return preset_fault(err, "nvlink", "missing or 0; expected a rate, for a node has %u GPUs",
                            gpus);
    if (cluster->nodes > 1 && !(cluster->nic_Bps > 0))
        return preset_fault(err, "nic",
                            "missing or 0; expected a rate, for there are %u nodes (hosts that "
                            "NVLink joins are one node)",
                            cluster->nodes);
    if (nics && gpus % nics && nics % gpus)
        return preset_fault(err, "nics_per_node",
                            "%u: expected a divisor or a multiple of the %u GPUs", nics, gpus);
    if (cluster->bridge_gpus && !(cluster->bridge_Bps > 0))
        return preset_fault(err, "bridge_gpus", "%u: expected a rate of what they share, bridge",
                            cluster->bridge_gpus);
    if (cluster->inside != INSIDE_NIC)
        return NULL;
    if (cluster->bridge_Bps > 0)
        return preset_fault(err, "bridge", "expected none, for inside is nic");
    if (cluster_ranks(cluster) > 1 && !(cluster->nic_Bps > 0))
        return preset_fault(err, "nic", "missing or 0; expected a rate, for inside is nic");
    if (cluster->spine_oversubscription > 1)
        return preset_fault(err, "inside", "nic: not modelled with spine_oversubscription above 1");
    return NULL;
}

static bool read_slow(struct cluster *cluster, struct error *err)
{
    const bool nvlink = cluster->nvlink_Bps > 0 && cluster->inside != INSIDE_NIC;
    const struct slow_place place = {cluster->nodes, cluster->gpus_per_node,
                                     cluster_nic_ports(cluster), cluster->nic_Bps > 0, nvlink};
    return slow_parse(&cluster->slow_parts, cluster->slow, &place, err);
}

static const char *cluster_fault(void *object, struct error *err)
{
    struct cluster *cluster = object;
    if (cluster->nodes == 0)
        return preset_fault(err, "nodes", "0: expected at least 1");
    if (cluster->gpus_per_node == 0)
        return preset_fault(err, "gpus_per_node", "0: expected at least 1");
    const uint64_t ranks = (uint64_t)cluster->nodes * cluster->gpus_per_node;
    if (ranks > CLUSTER_MAX_RANKS)
        return preset_fault(err, "nodes", "%u: expected at most %d GPUs in all, not %llu",
                            cluster->nodes, CLUSTER_MAX_RANKS, (unsigned long long)ranks);
    if (!(cluster->spine_oversubscription >= 1))
        return preset_fault(err, "spine_oversubscription", "%g: expected at least 1",
                            cluster->spine_oversubscription);
    if (cluster->roofline_norm > 0 && cluster->roofline_norm < 1)
        return preset_fault(err, "roofline_norm", "%g: expected 0 or at least 1",
                            cluster->roofline_norm);
    if (strpbrk(cluster->name, ",\n")) // the one-line form could not be read back
        return preset_fault(err, "name", "'%.200s': expected no comma", cluster->name);
    const char *key = link_fault(cluster, err);
    if (key)
        return key;
    return read_slow(cluster, err) ? NULL : "slow";
}

bool cluster_check(struct cluster *cluster, struct error *err)
{
    const char *key = cluster_fault(cluster, err);
    return key ? error_prefix(err, "%s", key) : true;
}

static size_t cluster_row(const char *key)
{
    return (size_t)(field_find(cluster_fields, CLUSTER_FIELDS, key) - cluster_fields);
}

// ---- reading ------------------------------------------------------------------------------------

// A rate whose datasheet figure is not given is its own.
static void cluster_settle(struct object_reading *reading)
{
    struct cluster *cluster = reading->object;
    if (!reading->seen[cluster_row("nvlink_nominal")])
        cluster->nvlink_nominal_Bps = cluster->nvlink_Bps;
    if (!reading->seen[cluster_row("nic_nominal")])
        cluster->nic_nominal_Bps = cluster->nic_Bps;
    if (!reading->seen[cluster_row("bridge_nominal")])
        cluster->bridge_nominal_Bps = cluster->bridge_Bps;
}

const struct object_reader cluster_reader = {
    .kind = "clusters",
    .whose = "a cluster's",
    .fields = cluster_fields,
    .count = CLUSTER_FIELDS,
    .required = (const char *const[]){"nodes", "gpus_per_node", NULL},
    .needs = "a cluster needs nodes, gpus_per_node and its links",
    .settle = cluster_settle,
    .fault = cluster_fault,
};

bool cluster_set_shape(struct cluster *cluster, uint32_t nodes, uint32_t gpus_per_node,
                       struct error *err)
{
    if (!nodes || !gpus_per_node || (uint64_t)nodes * gpus_per_node > CLUSTER_MAX_RANKS)
        return error_set(err, EXIT_INPUT, "%u nodes of %u GPUs: expected 1 to %d ranks", nodes,
                         gpus_per_node, CLUSTER_MAX_RANKS);
    // One NVLink domain over however many hosts (GB200 NVL72 has 18).
    const uint32_t ranks = nodes * gpus_per_node;
    const bool one_domain =
        cluster->nodes == 1 && (!(cluster->nic_Bps > 0) || ranks == cluster->gpus_per_node);
    if (nodes > 1 && one_domain && ranks <= cluster->gpus_per_node) {
        gpus_per_node *= nodes;
        nodes = 1;
    }
    if (gpus_per_node > cluster->gpus_per_node)
        return error_set(err, EXIT_INPUT, "%u GPUs a node: expected at most %u", gpus_per_node,
                         cluster->gpus_per_node);
    // NICs of a node cut down to some of its GPUs: each keeps its own or its share.
    const uint32_t all = cluster->gpus_per_node, nics = cluster->nics_per_node;
    const uint32_t sharing = nics && all / nics ? all / nics : 1;
    cluster->nics_per_node =
        nics % all ? (gpus_per_node + sharing - 1) / sharing : nics / all * gpus_per_node;
    cluster->nodes = nodes;
    cluster->gpus_per_node = gpus_per_node;
    return true;
}

// ',' would end the key in the one-line form.
bool cluster_set_slow(struct cluster *cluster, const char *slow, struct error *err)
{
    snprintf(cluster->slow, sizeof cluster->slow, "%s", slow);
    for (char *at = cluster->slow; *at; at++)
        *at = *at == ',' ? '+' : *at;
    object_mark_changed(cluster->name);
    return read_slow(cluster, err);
}

void cluster_clear_slow(struct cluster *cluster)
{
    cluster->slow[0] = '\0';
    cluster->slow_parts.count = 0;
}

bool cluster_set_ep(struct cluster *cluster, uint32_t ep, struct error *err)
{
    if (ep == 0 || ep > CLUSTER_MAX_RANKS)
        return error_set(err, EXIT_INPUT, "%u: expected 1 to %d ranks", ep, CLUSTER_MAX_RANKS);
    const uint32_t gpus = cluster->gpus_per_node;
    if (ep < gpus)
        return cluster_set_shape(cluster, 1, ep, err);
    if (ep % gpus)
        return error_set(err, EXIT_INPUT, "%u: expected a multiple of the %u GPUs of a node", ep,
                         gpus);
    cluster->nodes = ep / gpus;
    return true;
}
