// Of the closed form: from expected loads all ranks are alike, and the slowest of them is a matter
// of chance. MODEL.md section 6.
#include "base/mem.h"
#include "model/engine/form.h"

#include <stdlib.h>

// Variance of the copies on each port, as sums over lanes.
struct variance {
    double *of[PORT_LINKS]; // [fabric.count[kind]]
};

struct variance_sums {
    const struct form *form;
    struct variance *variance;
};

// A lane's copies are so many trials that come out with the same chance each, p = copies / trials:
// binomial, with variance trials p (1 - p).
static void add_variance(void *context, const struct lane_path *path)
{
    const struct variance_sums *sums = context;
    const struct transfer *transfer = sums->form->transfer;
    const struct fabric *fabric = &sums->form->schedule->fabric;
    const struct loads *loads = sums->form->schedule->loads;
    const bool by_expert = !path->crosses && transfer->pair == loads->expert_copies;
    const double trials = loads->tokens[path->home] * (by_expert ? loads->topk : 1);
    const double own = trials > 0 ? path->tokens * fmax(0, 1 - path->tokens / trials) : 0;
    const bool nvlink =
        fabric_node(fabric, path->from) == fabric_node(fabric, path->to) && !transfer->inside_nic;
    const enum port_kind kind = nvlink ? PORT_NVLINK_TX : PORT_NIC_TX;
    double **of = sums->variance->of;
    of[kind][nvlink ? path->from : fabric_nic(fabric, path->from)] += own;
    of[kind + 1][nvlink ? path->to : fabric_nic(fabric, path->to)] += own;
}

// Whether ranks differ by chance in what they have on a kind of ports. A home's own tokens are
// given, and choices of one token exclude each other, so what leaves homes (or comes back to them)
// hardly varies.
static bool varies(const struct transfer *transfer, enum port_kind kind)
{
    const bool receives = kind == PORT_NIC_RX || kind == PORT_NVLINK_RX;
    const bool nvlink = kind == PORT_NVLINK_TX || kind == PORT_NVLINK_RX;
    return receives != transfer->gather || (transfer->rail && nvlink);
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

// When a rank ends whose port has as many bytes as the busiest of those no faster is expected
// to have.
static double late_end(const struct form *form, const struct variance *variance,
                       enum port_kind kind, uint32_t rank)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const uint32_t port = sharers_of(fabric, kind, rank).port;
    const double token_bytes = (double)form->transfer->token_bytes;
    const double copies = form->loads.bytes[kind][port] / token_bytes;
    const double max = loads_expected_max(copies, sqrt(variance->of[kind][port]),
                                          ports_no_faster(fabric, kind, port));
    const double hop = kind == PORT_NIC_RX      ? form->nic_hop
                       : kind == PORT_NVLINK_RX ? form->nvlink_hop
                                                : 0;
    const double rate = kernel_port_rate(form->costs, kind, port);
    if (copies <= 0 || rate <= 0)
        return 0;
    return form->earliest_start + form->pack + max * token_bytes / rate * 1e12 + hop +
           form->ranks[rank].times.tail_ps;
}

// One with a slow port is no luckier than those with faster ones.
static void set_kind_late_ends(struct form *form, const struct variance *variance,
                               enum port_kind kind)
{
    const struct fabric *fabric = &form->schedule->fabric;
    double *end = mem_alloc(fabric->ranks, sizeof *end);
    for (uint32_t r = 0; r < fabric->ranks; r++)
        end[r] = late_end(form, variance, kind, r);
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

// From expected loads, all ranks are alike and the slowest is a matter of chance.
void form_set_late_ends(struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    struct variance variance;
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++)
        variance.of[kind] = mem_alloc(fabric->count[kind], sizeof(double));
    struct variance_sums sums = {form, &variance};
    schedule_visit(form->schedule, form->transfer, add_variance, &sums);
    for (enum port_kind kind = PORT_NIC_TX; kind <= PORT_NVLINK_RX; kind++)
        if (varies(form->transfer, kind))
            set_kind_late_ends(form, &variance, kind);
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++)
        free(variance.of[kind]);
}
