#include "study/reads.h"

#include <stddef.h>
#include <string.h>

static bool all_by_nic(const struct reads *reads)
{
    return reads->cluster->inside == INSIDE_NIC || reads->dispatcher->inside == INSIDE_NIC;
}

static bool uses_nvlink(const struct reads *reads)
{
    return phase_moves(reads->row->phase) && reads->row->gpus_per_node > 1 && !all_by_nic(reads);
}

static bool uses_nic(const struct reads *reads)
{
    return phase_moves(reads->row->phase) && (reads->row->nodes > 1 || all_by_nic(reads));
}

static const struct transfer_cost *cost_of(const struct reads *reads)
{
    return reads->row->phase == PHASE_COMBINE ? &reads->dispatcher->combine
                                              : &reads->dispatcher->dispatch;
}

// Rows packed before, or summed behind.
static bool passes_memory(const struct reads *reads)
{
    const enum law law = reads->dispatcher->law;
    return phase_moves(reads->row->phase) && cost_of(reads)->hbm_share > 0 &&
           (law == LAW_STREAM || law == LAW_NCCL ||
            (law == LAW_STAGED && reads->row->phase == PHASE_COMBINE));
}

#define IS(member) (field->offset == offsetof(struct cluster, member))

bool reads_cluster(const struct reads *reads, const struct field *field)
{
    const enum phase phase = reads->row->phase;
    const bool computes = !phase_moves(phase) && phase != PHASE_NOTIFY;
    if (IS(nvlink_nominal_Bps) || IS(nic_nominal_Bps))
        return false; // only naive's
    if (IS(nvlink_Bps) || IS(nvlink_latency_ps))
        return uses_nvlink(reads);
    if (IS(nic_Bps) || IS(nic_latency_ps))
        return uses_nic(reads);
    if (IS(spine_oversubscription))
        return phase_moves(phase) && reads->row->nodes > 1;
    if (IS(kernel_launch_ps) && phase_moves(phase))
        return cost_of(reads)->kernels > 0;
    return computes || (IS(hbm_Bps) && passes_memory(reads));
}

#undef IS

// A figure of one direction's costs.
static bool reads_cost(const struct reads *reads, size_t offset)
{
    static const size_t between_nodes[] = {offsetof(struct transfer_cost, fixed_inter_ps),
                                           offsetof(struct transfer_cost, per_node_doubling_ps),
                                           offsetof(struct transfer_cost, inter_work)};
    const uint32_t nodes = reads->row->nodes;
    for (size_t i = 0; i < sizeof between_nodes / sizeof between_nodes[0]; i++)
        if (offset == between_nodes[i])
            return nodes > 1;
    if (offset == offsetof(struct transfer_cost, per_node_ps))
        return nodes > 2;
    if (offset == offsetof(struct transfer_cost, large_work))
        return nodes == 1;
    if (offset == offsetof(struct transfer_cost, nvlink_share) ||
        offset == offsetof(struct transfer_cost, idle_sm_loss))
        return uses_nvlink(reads);
    return true;
}

bool reads_dispatcher(const struct reads *reads, const struct field *field)
{
    const enum phase phase = reads->row->phase;
    const size_t dispatch = offsetof(struct dispatcher, dispatch);
    const size_t combine = offsetof(struct dispatcher, combine);
    const size_t size = sizeof(struct transfer_cost), at = field->offset;
    if (at == offsetof(struct dispatcher, notify_ps))
        return phase == PHASE_NOTIFY;
    if (at == offsetof(struct dispatcher, notify_inter_ps))
        return phase == PHASE_NOTIFY && reads->row->nodes > 1;
    if (at >= dispatch && at < dispatch + size)
        return (phase == PHASE_DISPATCH || phase == PHASE_ALLTOALL) &&
               reads_cost(reads, at - dispatch);
    if (at >= combine && at < combine + size)
        return phase == PHASE_COMBINE && reads_cost(reads, at - combine);
    if (at >= offsetof(struct dispatcher, nccl) &&
        at < offsetof(struct dispatcher, nccl) + sizeof(struct nccl_cost))
        return phase_moves(phase) && reads->dispatcher->law == LAW_NCCL;
    return phase_moves(phase);
}
