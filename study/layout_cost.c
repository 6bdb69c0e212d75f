#include "study/layout_cost.h"

#include "model/costs/kernel_costs.h"
#include "model/engine/compute.h"

#include <assert.h>
#include <math.h>

// By the first rank, as good as any: no part is slow.
static struct transfer_weight weigh(const struct schedule *schedule,
                                    const struct transfer *transfer)
{
    struct kernel_costs costs;
    kernel_costs_init(&costs, schedule, transfer);
    const struct fabric *fabric = &schedule->fabric;
    const double bytes = (double)transfer->token_bytes * 1e12;
    const double nics = (double)fabric->count[PORT_NIC_TX] / fabric->ranks;
    const double nic = kernel_port_rate(&costs, PORT_NIC_TX, 0) * nics;
    const double nvlink = kernel_port_rate(&costs, PORT_NVLINK_TX, 0);
    if (schedule->all_pairs)
        return (struct transfer_weight){0};
    return (struct transfer_weight){.rail = transfer->rail,
                                    .by_expert = transfer->pair == schedule->loads->expert_copies,
                                    .inside_nic = transfer->inside_nic,
                                    .nic_ps = nic > 0 ? bytes / nic : 0,
                                    .nvlink_ps = nvlink > 0 ? bytes / nvlink : 0,
                                    .copy_ps = costs.copies.copy_ps / transfer->channels,
                                    .visit_ps = costs.copies.visit_ps / transfer->channels,
                                    .home_ps = costs.copies.home_ps / transfer->channels};
}

// Half a standard error: as many as served best on average over halves of the bundled trace, its
// documents in several orders, planned on one and judged on the other (0, 0.5, 1 and 2 were tried).
#define DRIFT 0.5

static double rank_choices(const struct loads *loads, uint32_t rank)
{
    double choices = 0;
    for (uint32_t r = 0; r < loads->ranks; r++)
        choices += loads->expert_copies[(size_t)r * loads->ranks + rank];
    return choices;
}

// Points up to eight times a rank's even share of the choices.
static void set_experts(struct layout_cost *cost, const struct schedule *schedule)
{
    const struct loads *loads = schedule->loads;
    const double own = rank_choices(loads, 0);
    cost->step = cost->tokens * loads->topk * 8 / (LAYOUT_COST_POINTS - 1);
    for (uint32_t i = 0; i < LAYOUT_COST_POINTS; i++)
        cost->experts_ps[i] = (double)compute_experts_ps(schedule, 0, i * cost->step - own);
}

void layout_cost_init(struct layout_cost *cost, const struct schedule *schedule)
{
    const struct loads *loads = schedule->loads;
    double tokens = 0;
    assert(!schedule->fabric.slow.count);
    for (uint32_t r = 0; r < loads->ranks; r++)
        tokens += loads->tokens[r];
    *cost = (struct layout_cost){.ranks = loads->ranks,
                                 .nodes = loads->nodes,
                                 .tokens = tokens / loads->ranks,
                                 .drift = DRIFT};
    for (uint32_t t = 0; t < 2; t++)
        cost->transfers[t] = weigh(schedule, &schedule->transfers[t]);
    set_experts(cost, schedule);
}

static double power_16(double x)
{
    const double x2 = x * x, x4 = x2 * x2, x8 = x4 * x4;
    return x8 * x8;
}

// The 16-norm of n values from the sum of their powers: at most 1.24 times the largest for 32.
static double root_16(double sum)
{
    return sqrt(sqrt(sqrt(sqrt(sum))));
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

// What a rank's ports and copy engines have in a transfer: `own` copies a token at it, `inside` at
// its node, `all` everywhere; `node` and `nodes` the same of copies a node.
struct reached {
    double own, inside, all, node, nodes;
    double apart; // standard deviation, from one home to another, of `node` over a step's tokens
};

static double direct_ps(const struct layout_cost *cost, const struct transfer_weight *weight,
                        const struct reached *at)
{
    const double ranks = cost->ranks, inside = ranks / cost->nodes;
    const double far = larger(at->all - at->inside, at->own * (ranks - inside));
    const double near = larger(at->inside - at->own, at->own * (inside - 1));
    const double copies = larger(at->all, at->own * ranks) * weight->copy_ps;
    if (weight->inside_nic)
        return larger(larger(at->all - at->own, at->own * (ranks - 1)) * weight->nic_ps, copies);
    return larger(larger(far * weight->nic_ps, near * weight->nvlink_ps), copies);
}

// A rail's port serves one home of every other node, and homes are not alike: each has texts of its
// own. The busiest of 32 ports is expected two standard deviations above the mean.
#define PORTS_BUSIEST 2

static double rail_ps(const struct layout_cost *cost, const struct transfer_weight *weight,
                      const struct reached *at)
{
    const double nodes = cost->nodes, inside = cost->ranks / nodes;
    const double met = at->node * (nodes - 1) + PORTS_BUSIEST * sqrt(nodes - 1) * at->apart;
    const double far = larger(at->nodes - at->node, met) * weight->nic_ps;
    const double near = larger(at->inside - at->own, at->own * (inside - 1)) * nodes;
    const double copies = at->nodes * weight->home_ps +
                          nodes * (at->node * weight->visit_ps + at->inside * weight->copy_ps);
    if (weight->inside_nic)
        return larger(far + near * weight->nic_ps, copies);
    return larger(larger(far, near * weight->nvlink_ps), copies);
}

// Variance of a tally, from how it varies from part to part, all of which come together.
static double variance_of(const struct layout_hits *hits, const struct layout_tally *tally)
{
    const double count = (double)tally->count;
    return hits->dispersion * ((double)tally->squares - count * count / LAYOUT_PARTS);
}

// A rank's choices a token, and how far above that they may be when it counts. A plan and what it
// serves are two draws: twice the variance of one.
static double drifted(const struct layout_cost *cost, const struct layout_hits *hits, uint32_t rank)
{
    const double choices = (double)hits->ranks[rank].choices / LAYOUT_CHOICE;
    const double variance = variance_of(hits, &hits->ranks[rank].counted);
    return (choices + cost->drift * sqrt(2 * variance)) / (double)hits->tokens;
}

// Copies a token at a node, drifted as a rank's choices are, and how much they differ from one home
// to another.
static void set_node(const struct layout_cost *cost, const struct layout_hits *hits, uint32_t node,
                     struct reached *at)
{
    const double variance = variance_of(hits, &hits->nodes[node]), tokens = (double)hits->tokens;
    at->node = ((double)hits->nodes[node].count + cost->drift * sqrt(2 * variance)) / tokens;
    at->apart = sqrt(variance / tokens / cost->tokens);
}

static double experts_ps(const struct layout_cost *cost, double choices)
{
    const double at = choices / cost->step;
    if (at >= LAYOUT_COST_POINTS - 1)
        return cost->experts_ps[LAYOUT_COST_POINTS - 1] * at / (LAYOUT_COST_POINTS - 1);
    const uint32_t i = (uint32_t)at;
    return cost->experts_ps[i] + (at - i) * (cost->experts_ps[i + 1] - cost->experts_ps[i]);
}

static double transfer_ps(const struct layout_cost *cost, const struct transfer_weight *weight,
                          const struct reached *tokens, const struct reached *choices)
{
    const struct reached *at = weight->by_expert ? choices : tokens;
    return cost->tokens * (weight->rail ? rail_ps : direct_ps)(cost, weight, at);
}

double layout_cost_ps(const struct layout_cost *cost, const struct layout_hits *hits)
{
    const uint32_t inside = cost->ranks / cost->nodes;
    const double share = 1 / (double)hits->tokens;
    double tokens_all = 0, choices_all = 0, nodes_all = 0, before = 0, after = 0;
    for (uint32_t r = 0; r < cost->ranks; r++) {
        tokens_all += (double)hits->ranks[r].tokens * share;
        choices_all += (double)hits->ranks[r].choices / LAYOUT_CHOICE * share;
    }
    for (uint32_t n = 0; n < cost->nodes; n++)
        nodes_all += (double)hits->nodes[n].count * share;
    for (uint32_t n = 0; n < cost->nodes; n++) {
        struct reached tokens = {.all = tokens_all, .nodes = nodes_all};
        set_node(cost, hits, n, &tokens);
        struct reached choices = tokens;
        choices.all = choices_all;
        for (uint32_t r = n * inside; r < (n + 1) * inside; r++) {
            tokens.inside += (double)hits->ranks[r].tokens * share;
            choices.inside += (double)hits->ranks[r].choices / LAYOUT_CHOICE * share;
        }
        for (uint32_t r = n * inside; r < (n + 1) * inside; r++) {
            tokens.own = (double)hits->ranks[r].tokens * share;
            choices.own = (double)hits->ranks[r].choices / LAYOUT_CHOICE * share;
            const double served = drifted(cost, hits, r) * cost->tokens * cost->ranks;
            before += power_16(transfer_ps(cost, &cost->transfers[0], &tokens, &choices) +
                               experts_ps(cost, served));
            after += power_16(transfer_ps(cost, &cost->transfers[1], &tokens, &choices));
        }
    }
    return root_16(before) + root_16(after);
}
