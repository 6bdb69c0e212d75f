#include "study/reads.h"

#include <stddef.h>
#include <string.h>

static bool all_by_nic(const struct reads *reads)
{
    return reads->cluster->inside == INSIDE_NIC || reads->dispatcher->inside == INSIDE_NIC;
}

static bool uses_wires(const struct reads *reads)
{
    const enum phase phase = reads->row->phase;
    return phase_moves(phase) ||
           (phase == PHASE_NOTIFY && reads->dispatcher->cost_model->notify_wire_ps);
}

static bool uses_nvlink(const struct reads *reads)
{
    return uses_wires(reads) && reads->row->gpus_per_node > 1 && !all_by_nic(reads);
}

static bool uses_nic(const struct reads *reads)
{
    return uses_wires(reads) && (reads->row->nodes > 1 || all_by_nic(reads));
}

static const struct common_costs *common_of(const struct reads *reads)
{
    return reads->row->phase == PHASE_COMBINE ? &reads->dispatcher->combine
                                              : &reads->dispatcher->dispatch;
}

// What holds of the row, as tables of cost models ask for it (enum cost_condition).
static unsigned conditions_of(const struct reads *reads)
{
    const enum phase phase = reads->row->phase;
    const uint32_t nodes = reads->row->nodes;
    unsigned conditions = nodes == 1 ? COST_ONE_NODE : 0;
    conditions |= nodes > 1 ? COST_NODES : 0;
    conditions |= nodes > 2 ? COST_MORE_NODES : 0;
    conditions |= phase_moves(phase) ? COST_MOVES : 0;
    conditions |= phase == PHASE_NOTIFY ? COST_NOTIFY : 0;
    conditions |= phase == PHASE_DISPATCH || phase == PHASE_ALLTOALL ? COST_DISPATCH : 0;
    conditions |= phase == PHASE_COMBINE ? COST_COMBINE : 0;
    conditions |= uses_nvlink(reads) ? COST_NVLINK : 0;
    return conditions;
}

static bool is_positive(const struct field *number, const struct dispatcher *dispatcher)
{
    double value;
    memcpy(&value, (const char *)dispatcher + number->offset, sizeof value);
    return value > 0;
}

// Rows packed before, or summed behind: a share of memory's rate that is read.
static bool passes_memory(const struct reads *reads)
{
    const struct cost_model *model = reads->dispatcher->cost_model;
    for (size_t i = 0; i < model->field_count; i++) {
        const struct field *field = &model->fields[i];
        if (field->tag & COST_OF_MEMORY && reads_dispatcher(reads, field) &&
            is_positive(field, reads->dispatcher))
            return true;
    }
    return false;
}

// What a layer reads, a phase of it does.
static bool any_phase(const struct reads *reads, const struct field *field,
                      bool (*one)(const struct reads *reads, const struct field *field))
{
    struct measured_row row = *reads->row;
    const struct reads part = {
        .row = &row, .cluster = reads->cluster, .dispatcher = reads->dispatcher};
    for (row.phase = 0; row.phase < PHASE_ALLTOALL; row.phase++)
        if (!(row.without & 1u << row.phase) &&
            (row.phase != PHASE_NOTIFY || reads->dispatcher->counts == COUNTS_EXCHANGE) &&
            one(&part, field))
            return true;
    return false;
}

#define IS(member) (field->offset == offsetof(struct cluster, member))

bool reads_cluster(const struct reads *reads, const struct field *field)
{
    const enum phase phase = reads->row->phase;
    if (phase == PHASE_LAYER)
        return IS(graph_launches) || any_phase(reads, field, reads_cluster);
    if (IS(graph_launches))
        return false; // a phase by itself is no graph
    if (phase == PHASE_KERNEL)
        return IS(hbm_Bps) && reads->row->kernel.kind < KERNEL_ALL_REDUCE_2;
    const bool computes = !phase_moves(phase) && phase != PHASE_NOTIFY;
    if (IS(nvlink_nominal_Bps) || IS(nic_nominal_Bps) || IS(bridge_nominal_Bps))
        return false; // only naive's
    if (IS(nvlink_Bps) || IS(nvlink_latency_ps))
        return uses_nvlink(reads) && (phase_moves(phase) || IS(nvlink_Bps));
    if (IS(bridge_Bps) || IS(bridge_gpus))
        return uses_nvlink(reads) && phase_moves(phase);
    if (IS(nic_Bps) || IS(nic_latency_ps))
        return uses_nic(reads) && (phase_moves(phase) || IS(nic_Bps));
    if (IS(spine_oversubscription))
        return phase_moves(phase) && reads->row->nodes > 1;
    if (IS(kernel_launch_ps) && phase_moves(phase))
        return common_of(reads)->kernels > 0;
    return computes || (IS(hbm_Bps) && passes_memory(reads));
}

#undef IS

bool reads_kernels(const struct reads *reads, const struct field *field)
{
    return reads->row->phase == PHASE_KERNEL && field->tag & 1u << reads->row->kernel.kind;
}

bool reads_dispatcher(const struct reads *reads, const struct field *field)
{
    if (reads->row->phase == PHASE_LAYER)
        return any_phase(reads, field, reads_dispatcher);
    return cost_reads(field, conditions_of(reads));
}
