#include "model/loads.h"

#include <gsl/gsl_statistics_double.h>
#include <math.h>

// How two ranks stand to each other. Seen as offsets in (node, index in the node), both modulo
// their number, each kind is a set of offsets, and one offset pairs every rank with one other: what
// goes by the same offsets everywhere is alike at every sender and every receiver.
enum kind { SELF, SAME_NODE, RAIL_PEER, ELSEWHERE, KINDS };

struct grid {
    uint32_t nodes, gpus, ranks;
    bool whole; // counts: no parts of tokens
};

static enum kind pair_kind(uint32_t node_offset, uint32_t gpu_offset)
{
    if (node_offset == 0)
        return gpu_offset == 0 ? SELF : SAME_NODE;
    return gpu_offset == 0 ? RAIL_PEER : ELSEWHERE;
}

static uint32_t rank_at(const struct grid *grid, uint32_t home, uint32_t node_offset,
                        uint32_t gpu_offset)
{
    const uint32_t node = (home / grid->gpus + node_offset) % grid->nodes;
    return node * grid->gpus + (home % grid->gpus + gpu_offset) % grid->gpus;
}

// The part of a total that one of `ranks` homes has for the `index`-th of `offsets` peers. Whole
// parts: the same for all homes, and what is left over goes to the first of them, by the first
// offset.
static double balanced_part(double total, const struct grid *grid, uint32_t home, uint64_t index,
                            uint64_t offsets)
{
    if (!grid->whole)
        return total / grid->ranks / (double)offsets;
    const uint64_t all = (uint64_t)total, each = all / grid->ranks, left = all % grid->ranks;
    const uint64_t over = each % offsets; // offsets with one more
    const uint64_t more = (index + 1) * over / offsets - index * over / offsets;
    const uint64_t whole = each / offsets + more + (index == 0 && home < left);
    return (double)whole;
}

// A matrix [ranks * ranks] of copies.
static void spread_pairs(const struct grid *grid, double *balanced, const double *copies)
{
    double total[KINDS] = {0};
    uint64_t offsets[KINDS] = {0}, index[KINDS] = {0};
    for (uint32_t n = 0; n < grid->nodes; n++)
        for (uint32_t g = 0; g < grid->gpus; g++) {
            const enum kind kind = pair_kind(n, g);
            offsets[kind]++;
            for (uint32_t home = 0; home < grid->ranks; home++)
                total[kind] += copies[(size_t)home * grid->ranks + rank_at(grid, home, n, g)];
        }
    for (uint32_t n = 0; n < grid->nodes; n++)
        for (uint32_t g = 0; g < grid->gpus; g++) {
            const enum kind kind = pair_kind(n, g);
            for (uint32_t home = 0; home < grid->ranks; home++)
                balanced[(size_t)home * grid->ranks + rank_at(grid, home, n, g)] =
                    balanced_part(total[kind], grid, home, index[kind], offsets[kind]);
            index[kind]++;
        }
}

// Copies a node, own node and others apart.
static void spread_nodes(const struct grid *grid, double *balanced, const double *copies)
{
    const uint32_t nodes = grid->nodes;
    double own = 0, others = 0;
    for (uint32_t home = 0; home < grid->ranks; home++)
        for (uint32_t n = 0; n < nodes; n++)
            *(home / grid->gpus == n ? &own : &others) += copies[(size_t)home * nodes + n];
    for (uint32_t home = 0; home < grid->ranks; home++)
        for (uint32_t n = 0; n < nodes; n++)
            balanced[(size_t)home * nodes + (home / grid->gpus + n) % nodes] =
                n ? balanced_part(others, grid, home, n - 1, nodes - 1)
                  : balanced_part(own, grid, home, 0, 1);
}

// Where a kind has hardly a token a pair, what was left over may stand apart: a node gets no more
// copies than its ranks, and no fewer than any of them.
static void join_nodes(const struct grid *grid, struct loads *balanced)
{
    for (uint32_t home = 0; home < grid->ranks; home++)
        for (uint32_t n = 0; n < grid->nodes; n++) {
            double *copies = &balanced->node_copies[(size_t)home * grid->nodes + n];
            const double *ranks =
                &balanced->rank_copies[(size_t)home * grid->ranks + (size_t)n * grid->gpus];
            *copies = fmin(fmax(*copies, gsl_stats_max(ranks, 1, grid->gpus)),
                           loads_sum(ranks, grid->gpus));
        }
}

// What the index-th of `parts` slots has of a rank's choices.
static double slot_part(double choices, uint64_t index, uint64_t parts, bool whole)
{
    if (!whole)
        return choices / (double)parts;
    const uint64_t all = (uint64_t)choices;
    const uint64_t part = (index + 1) * all / parts - index * all / parts;
    return (double)part;
}

// Choices that a rank serves, over as many of its slots as an even share of those that serve any.
static void spread_slots(struct loads *balanced, const struct loads *loads,
                         const struct layout *layout)
{
    const uint64_t ranks = loads->ranks;
    uint64_t active = 0;
    for (uint32_t s = 0; s < loads->slots; s++)
        active += loads->expected || loads->slot_tokens[s] > 0;
    for (uint32_t r = 0; r < ranks; r++) {
        const uint32_t first = layout->rank_slot[r], slots = layout->rank_slot[r + 1] - first;
        uint64_t used = (r + 1) * active / ranks - r * active / ranks;
        const double choices = loads_received(balanced->expert_copies, ranks, r);
        used = used < 1 ? 1 : used > slots ? slots : used;
        for (uint32_t i = 0; i < used; i++)
            balanced->slot_tokens[first + i] = slot_part(choices, i, used, !loads->expected);
    }
}

void loads_balanced(struct loads *balanced, const struct loads *loads, const struct layout *layout)
{
    const struct grid grid = {.nodes = loads->nodes,
                              .gpus = loads->ranks / loads->nodes,
                              .ranks = loads->ranks,
                              .whole = !loads->expected};
    const double tokens = loads_sum(loads->tokens, loads->ranks);
    loads_init(balanced, loads->ranks, loads->nodes, loads->slots);
    balanced->topk = loads->topk;
    balanced->expected = loads->expected;
    balanced->balanced = true;
    balanced->dropped = loads->dropped;
    for (uint32_t r = 0; r < loads->ranks; r++)
        balanced->tokens[r] = balanced_part(tokens, &grid, r, 0, 1);
    spread_pairs(&grid, balanced->expert_copies, loads->expert_copies);
    spread_pairs(&grid, balanced->rank_copies, loads->rank_copies);
    spread_nodes(&grid, balanced->node_copies, loads->node_copies);
    if (grid.whole && layout)
        join_nodes(&grid, balanced);
    if (layout)
        spread_slots(balanced, loads, layout);
}
