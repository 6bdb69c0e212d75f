#include "study/causes.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A rate is capped only where that makes a difference which rows could tell.
#define CAP_TELLS 1.05

// ---- what there is -----------------------------------------------------------------------------

static bool nics_in_use(const struct cluster *cluster)
{
    return cluster->nic_Bps > 0 && (cluster->nodes > 1 || cluster->inside == INSIDE_NIC);
}

static bool nvlink_in_use(const struct cluster *cluster)
{
    return cluster->nvlink_Bps > 0 && cluster->gpus_per_node > 1 &&
           cluster->inside == INSIDE_NVLINK;
}

static uint32_t nics_of(const struct cluster *cluster)
{
    return cluster->nics_per_node ? cluster->nics_per_node : cluster->gpus_per_node;
}

// Ports of a NIC; where the cluster does not say, the two of a dual-port NIC.
static uint32_t ports_of(const struct cluster *cluster)
{
    return cluster->ports_per_nic ? cluster->ports_per_nic : 2;
}

static void scale_nic(struct cluster *cluster, double share)
{
    cluster->nic_Bps *= share;
    cluster->nic_nominal_Bps *= share;
}

static bool cap_nic(struct cluster *cluster, double max_Bps)
{
    if (!nics_in_use(cluster) || cluster->nic_Bps < CAP_TELLS * max_Bps)
        return false;
    cluster->nic_Bps = max_Bps;
    cluster->nic_nominal_Bps = fmin(cluster->nic_nominal_Bps, max_Bps);
    return true;
}

static bool cap_nvlink(struct cluster *cluster, double max_Bps, double nominal_Bps)
{
    if (!nvlink_in_use(cluster) || cluster->nvlink_Bps < CAP_TELLS * max_Bps)
        return false;
    cluster->nvlink_Bps = max_Bps;
    cluster->nvlink_nominal_Bps = fmin(cluster->nvlink_nominal_Bps, nominal_Bps);
    return true;
}

// ---- changes -----------------------------------------------------------------------------------

static bool slower_nics(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    scale_nic(&scenario->cluster, cause->size);
    return nics_in_use(&scenario->cluster);
}

static bool one_port(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    (void)cause;
    const uint32_t ports = ports_of(&scenario->cluster);
    scale_nic(&scenario->cluster, 1.0 / ports);
    return ports > 1 && nics_in_use(&scenario->cluster);
}

static bool one_nic(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    (void)cause;
    const uint32_t nics = nics_of(&scenario->cluster);
    scenario->cluster.nics_per_node = 1;
    return nics > 1 && nics_in_use(&scenario->cluster);
}

// One of them is one_nic's.
static bool fewer_nics(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    const uint32_t nics = nics_of(&scenario->cluster);
    const double left = nics * cause->size;
    scenario->cluster.nics_per_node = (uint32_t)left;
    return left > 1 && left == floor(left) && nics_in_use(&scenario->cluster);
}

// What NCCL's search takes a crossing between the sockets of a server's CPUs to carry, by the CPUs
// that servers of a generation of GPUs have: NVIDIA/nccl src/graph/topo.h.
static double crossing_Bps(const struct cluster *cluster)
{
    static const struct {
        const char *architecture;
        double Bps;
    } known[] = {{"ampere", 16e9}, {"ada", 16e9}, {"cdna3", 24e9}, {"cdna4", 32e9}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(cluster->architecture, known[i].architecture))
            return known[i].Bps;
    return 22e9;
}

static bool far_nics(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    (void)cause;
    return cap_nic(&scenario->cluster, crossing_Bps(&scenario->cluster));
}

static bool capped_nics(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    return cap_nic(&scenario->cluster, cause->size);
}

// All that leaves a node meets the spine.
static bool across_rails(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    struct cluster *cluster = &scenario->cluster;
    const bool rails = cluster->rails;
    const double uplink = 1 / cause->size;
    const bool same = !rails && cluster->spine_oversubscription >= uplink;
    cluster->rails = false;
    cluster->spine_oversubscription = fmax(cluster->spine_oversubscription, uplink);
    return !same && cluster->nodes > 1;
}

// The dispatcher that the table has in place of the scenario's.
static bool take_other(struct scenario *scenario, const struct cause *cause)
{
    char name[FIELD_TEXT_BYTES];
    struct dispatcher dispatcher;
    struct error none;
    dispatcher_base_name(&scenario->dispatcher, name);
    for (size_t i = 0; cause->of[i]; i++) {
        if (strcmp(name, cause->of[i]) != 0)
            continue;
        if (!dispatcher_load(cause->instead[i], &scenario->cluster, &dispatcher, NULL, &none))
            return false;
        parts_set_dispatcher(scenario, &dispatcher);
        return true;
    }
    return false;
}

static bool over_proxies(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    return nics_in_use(&scenario->cluster) && take_other(scenario, cause);
}

static bool without_nvlink(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    (void)rank;
    return scenario->cluster.nic_Bps > 0 && take_other(scenario, cause);
}

// PCIe of a generation of GPUs, sixteen lanes: 5.0 from Hopper on.
static bool pcie_inside(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    struct cluster *cluster = &scenario->cluster;
    const bool fourth =
        !strcmp(cluster->architecture, "ampere") || !strcmp(cluster->architecture, "ada");
    const double lanes_Bps = fourth ? 32e9 : 64e9;
    (void)rank;
    return cap_nvlink(cluster, cause->size * lanes_Bps, lanes_Bps);
}

static bool slower_nvlink(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    struct cluster *cluster = &scenario->cluster;
    (void)rank;
    cluster->nvlink_Bps *= cause->size;
    cluster->nvlink_nominal_Bps *= cause->size;
    return nvlink_in_use(cluster);
}

static bool fewer_sms(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    const uint32_t sms = dispatcher_sms(&scenario->dispatcher, scenario->cluster.sms);
    (void)rank;
    scenario->dispatcher.sms = (uint32_t)(sms * cause->size) / 2 * 2; // DeepEP takes even numbers
    return scenario->dispatcher.sms > 0;
}

// One slow part more, as --slow says it.
static bool add_slow(struct cluster *cluster, const char *part)
{
    char *slow = mem_format("%s%s%s", cluster->slow, cluster->slow[0] ? "+" : "", part);
    const bool fits = strlen(slow) < sizeof cluster->slow;
    snprintf(cluster->slow, sizeof cluster->slow, "%s", slow);
    free(slow);
    return fits;
}

static bool slow_clocks(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    char part[FIELD_TEXT_BYTES];
    (void)rank;
    snprintf(part, sizeof part, "all:compute=%g", cause->size);
    return add_slow(&scenario->cluster, part);
}

static bool slow_nic(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    char part[FIELD_TEXT_BYTES];
    snprintf(part, sizeof part, "gpu=%u:nic=%g", rank, cause->size);
    return rank != CAUSE_NO_RANK && nics_in_use(&scenario->cluster) &&
           add_slow(&scenario->cluster, part);
}

static bool slow_gpu(struct scenario *scenario, const struct cause *cause, uint32_t rank)
{
    char part[FIELD_TEXT_BYTES];
    snprintf(part, sizeof part, "gpu=%u:compute=%g", rank, cause->size);
    return rank != CAUSE_NO_RANK && add_slow(&scenario->cluster, part);
}

// ---- the table ---------------------------------------------------------------------------------

static const char *const over_nccl[] = {"nccl-alltoall",
                                        "nccl-flat",
                                        "nccl-two-stage",
                                        "nccl-agrs",
                                        "nccl-calls-ll",
                                        "nccl-calls-normal",
                                        "raw",
                                        NULL};
static const char *const posted_by_gpus[] = {"deepep-normal", "deepep-normal-gin", "deepep-ll",
                                             "deepep-ll-rdma", NULL};
static const char *const posted_by_hosts[] = {"uccl-normal", "uccl-normal", "uccl-ll", "uccl-ll"};
static const char *const over_nvlink[] = {"deepep-ll", NULL};
static const char *const over_nics[] = {"deepep-ll-rdma"};

// clang-format off
const struct cause causes[] = {
    {"one_port", "one port of each NIC in use", PART_NIC_RATE,
     "ibv_devinfo: state of each port; /proc/net/bonding/*; ethtool -S DEVICE: bytes of both ports meanwhile",
     "a NIC's ports share its rate alike; two where the cluster does not say (ports_per_nic)",
     one_port, 0, NULL, NULL},
    {"one_qp", "one queue pair a connection, so one port of each NIC", PART_NIC_RATE,
     "num_qps_per_rank of DeepEP's buffer, NVSHMEM_IBGDA_NUM_RC_PER_PE, NVSHMEM_IBGDA_ENABLE_MULTI_PORT, "
     "NCCL_IB_QPS_PER_CONNECTION with NCCL_IB_SPLIT_DATA_ON_QPS=1; ethtool -S DEVICE: bytes of both ports meanwhile",
     "a bond sends all packets of a queue pair through one port", one_port, 0, NULL, NULL},
    {"nic_half", "every NIC at half of its rate", PART_NIC_RATE,
     "ibstat, or ethtool DEVICE: rate of each port; lspci -vv: LnkSta speed and width of the NIC; ib_write_bw",
     "links train at half of their lanes, or at the generation before", slower_nics, 0.5, NULL, NULL},
    {"one_nic", "one NIC in use", PART_NIC_COUNT,
     "NCCL_IB_HCA, NVSHMEM_HCA_LIST, NVSHMEM_ENABLE_NIC_PE_MAPPING with NVSHMEM_HCA_PE_MAPPING; port_xmit_data of "
     "every NIC while it runs; nvidia-smi topo -m",
     "all GPUs of a node choose the same NIC", one_nic, 0, NULL, NULL},
    {"half_nics", "half of the NICs in use", PART_NIC_COUNT,
     "ibv_devinfo: PORT_ACTIVE of every NIC; NCCL_IB_HCA, NVSHMEM_HCA_LIST; port_xmit_data of every NIC while it runs",
     "pairs of GPUs choose the same NIC", fewer_nics, 0.5, NULL, NULL},
    {"nic_quarter", "every NIC at a quarter of its rate", PART_NIC_RATE,
     "ibstat: rate of each port, and its width, 1X for 4X; lspci -vv: LnkSta of the NIC, x4 for x16",
     "links train at one lane of four, or two generations before", slower_nics, 0.25, NULL, NULL},
    {"quarter_nics", "a quarter of the NICs in use", PART_NIC_COUNT,
     "ibv_devinfo: PORT_ACTIVE of every NIC; NCCL_IB_HCA, NVSHMEM_HCA_LIST; port_xmit_data of every NIC while it runs",
     "four GPUs choose the same NIC", fewer_nics, 0.25, NULL, NULL},
    {"far_nic", "NICs behind another PCIe root than their GPUs'", PART_NIC_PATH,
     "nvidia-smi topo -m: PIX or PXB between GPU and NIC, not NODE or SYS; NCCL_DEBUG=INFO: GDRDMA; lspci -vv: ACS off",
     "NVIDIA/nccl src/graph/topo.h: 16 GB/s between sockets of Zen 2, 22 of Sapphire Rapids, 24 of Zen 4, 32 of Zen 5",
     far_nics, 0, NULL, NULL},
    {"cross_rail", "traffic across rails, over a spine that is oversubscribed 2:1", PART_NIC_PATH,
     "the order of NICs on every node (NCCL_IB_HCA, NVSHMEM_HCA_PE_MAPPING); NCCL_CROSS_NIC=0, NCCL_PXN_DISABLE=0; "
     "uplink counters of the leaf switches",
     "assumption: two ports down for one up, the usual oversubscription", across_rails, 0.5, NULL, NULL},
    {"tcp", "TCP sockets in place of RDMA", PART_TRANSPORT,
     "NCCL_DEBUG=INFO: NET/Socket for NET/IB; NCCL_IB_DISABLE, NCCL_NET, NCCL_SOCKET_IFNAME; ibv_devinfo inside the "
     "container; lsmod: nvidia_peermem",
     "NVIDIA/nccl issue 450: 4 to 6 GB/s by sockets on a network of 100 Gb/s", capped_nics, 5e9, over_nccl, NULL},
    {"host_proxy", "a proxy on the host posts what GPUs send", PART_TRANSPORT,
     "NVSHMEM_IB_ENABLE_IBGDA=1; the driver's PeerMappingOverride=1; NVSHMEM_DEBUG=INFO: the transport that it names; "
     "NCCL_GIN_TYPE=3",
     "UCCL-EP's kernels, DeepEP's own over such proxies, as fitted to its published rows",
     over_proxies, 0, posted_by_gpus, posted_by_hosts},
    {"pcie", "PCIe in place of NVLink", PART_INSIDE,
     "nvidia-smi topo -m: NV# between GPUs, not PIX or SYS; nvidia-smi nvlink -s; nvidia-smi -q: Fabric State; "
     "systemctl status nvidia-fabricmanager; NCCL_P2P_DISABLE",
     "assumption: 80 % of sixteen PCIe lanes, 5.0 from Hopper on, 4.0 before", pcie_inside, 0.8, NULL, NULL},
    {"nvlink_half", "half of the NVLinks in use", PART_INSIDE,
     "nvidia-smi nvlink -s: rate of every link; nvidia-smi nvlink -e: errors; nvidia-smi topo -m: NV18 everywhere",
     "links of half of the switches are down", slower_nvlink, 0.5, NULL, NULL},
    {"no_nvlink", "NICs carry what NVLink would inside nodes", PART_INSIDE,
     "allow_nvlink_for_low_latency_mode=True of DeepEP's buffer; NVSHMEM_DISABLE_P2P; NVSHMEM_DEBUG=INFO: P2P",
     "DeepEP's low-latency kernels as first published, as fitted to their rows",
     without_nvlink, 0, over_nvlink, over_nics},
    {"sms_half", "half of the SMs that the kernels ask for", PART_SMS,
     "num_sms of DeepEP's buffer, NCCL_MAX_CTAS; CUDA_MPS_ACTIVE_THREAD_PERCENTAGE; nsys profile: other kernels at the "
     "same time",
     "another process or a setting takes every other one", fewer_sms, 0.5, NULL, NULL},
    {"clock_half", "every GPU at half of its clock", PART_CLOCK,
     "nvidia-smi -q -d CLOCK,PERFORMANCE,POWER: SM clock against its maximum, and what throttles it",
     "power or thermal limits bring SM clocks to about half", slow_clocks, 0.5, NULL, NULL},
    {"slow_nic", "one NIC at half of its rate", PART_RANK,
     "ibstat; symbol_error and link_downed of that NIC; mlxlink -d DEVICE -c: its cable",
     "links train at half of their lanes", slow_nic, 0.5, NULL, NULL},
    {"slow_gpu", "one GPU at half of its clock", PART_RANK,
     "nvidia-smi -q -d CLOCK,PERFORMANCE -i GPU; dmesg: NVRM Xid; nvidia-smi pmon: another process on it",
     "power or thermal limits bring SM clocks to about half", slow_gpu, 0.5, NULL, NULL},
};
const struct cause symptoms[SYMPTOMS] = {
    {"nic_rate", "NICs", PART_NIC_RATE,
     "congestion (ECN marks, PFC pause counters), a rail or uplink down, another job on the same NICs",
     "free: fitted to the rows", slower_nics, 0, NULL, NULL},
    {"nvlink_rate", "NVLinks", PART_INSIDE,
     "nvidia-smi nvlink -s: rate of every link; another job on the same GPUs",
     "free: fitted to the rows", slower_nvlink, 0, NULL, NULL},
};
// clang-format on
const size_t cause_count = sizeof causes / sizeof causes[0];

static bool can_have(const struct cause *cause, const struct scenario *scenario)
{
    char name[FIELD_TEXT_BYTES];
    dispatcher_base_name(&scenario->dispatcher, name);
    for (size_t i = 0; cause->of && cause->of[i]; i++)
        if (!strcmp(name, cause->of[i]))
            return true;
    return !cause->of;
}

// A NIC that GPUs share has rather two ports than one that each has for itself.
static bool likely_has_ports(const struct cluster *cluster)
{
    return cluster->ports_per_nic > 1 ||
           (!cluster->ports_per_nic && nics_of(cluster) < cluster->gpus_per_node);
}

size_t cause_place(size_t index, const struct scenario *scenario)
{
    const bool late = causes[index].change == one_port && !likely_has_ports(&scenario->cluster);
    return 2 * index + (late ? 5 : 0); // behind nic_half, and apart from all others
}

bool cause_apply(const struct cause *cause, struct scenario *scenario, uint32_t rank)
{
    struct error none;
    if (!can_have(cause, scenario) || !cause->change(scenario, cause, rank) ||
        !cluster_check(&scenario->cluster, &none) ||
        !dispatcher_check(&scenario->dispatcher, &none))
        return false;
    scenario_touch(scenario);
    return true;
}

// ---- in words ----------------------------------------------------------------------------------

char *cause_text(const struct cause *cause, const struct scenario *scenario, uint32_t rank)
{
    if (cause->part == PART_NIC_COUNT)
        return mem_format("%s, of %u in a node", cause->text, nics_of(&scenario->cluster));
    if (cause->change == one_port)
        return mem_format("%s, of %u", cause->text, ports_of(&scenario->cluster));
    if (cause->part == PART_RANK && rank != CAUSE_NO_RANK)
        return mem_format("%s: that of rank %u", cause->text, rank);
    return mem_copy_text(cause->text);
}

char *cause_changes(const struct scenario *healthy, const struct scenario *changed)
{
    char *keys = cluster_line_changes(&healthy->cluster, &changed->cluster);
    const bool same = !strcmp(healthy->dispatcher.name, changed->dispatcher.name);
    const uint32_t sms = changed->dispatcher.sms;
    char *whole = mem_format("%s%s%s%s", keys, *keys && !same ? " " : "",
                             same ? "" : "--dispatcher ", same ? "" : changed->dispatcher.name);
    free(keys);
    if (sms == healthy->dispatcher.sms || !same)
        return whole;
    char *longer = mem_format("%s%s--sms %u", whole, *whole ? " " : "", sms);
    free(whole);
    return longer;
}
