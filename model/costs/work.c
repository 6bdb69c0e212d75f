#include "model/costs/work.h"

#include <math.h>

double work_posted_tokens(const struct schedule *schedule, uint32_t rank)
{
    const bool padded = schedule->dispatcher.counts == COUNTS_PADDED;
    double max = schedule->loads->tokens[rank];
    for (uint32_t r = 0; padded && r < schedule->fabric.ranks; r++)
        max = fmax(max, schedule->loads->tokens[r]);
    return max;
}

double work_copies_per_token(const struct kernel_costs *costs, uint32_t rank)
{
    const uint32_t ranks = costs->schedule->fabric.ranks;
    const double tokens = work_posted_tokens(costs->schedule, rank);
    double copies = 0;
    for (uint32_t r = 0; r < ranks; r++)
        copies += costs->transfer->pair[(size_t)rank * ranks + r];
    return tokens > 0 ? copies / tokens : 0;
}

double work_copies_received(const struct kernel_costs *costs, uint32_t rank)
{
    const uint32_t ranks = costs->schedule->fabric.ranks;
    double received = 0;
    for (uint32_t r = 0; r < ranks; r++)
        received += costs->transfer->pair[(size_t)r * ranks + rank];
    return received;
}

double work_choices_served(const struct schedule *schedule, uint32_t rank)
{
    const uint32_t ranks = schedule->fabric.ranks;
    double choices = 0;
    for (uint32_t r = 0; r < ranks; r++)
        choices += schedule->loads->expert_copies[(size_t)r * ranks + rank];
    return choices;
}

// Memory-bound kernels: bytes read and written over the share of memory's rate that they reach.
// Hidden states are BF16 on their side (2 x hidden), rows as they are on the wire on the other.
// Dispatch packs each copy sent: read once, written once. Combine first writes a row for each copy
// received from the choices it sums, then behind the wire reads every copy and writes the token.
void work_through_memory(const struct kernel_costs *costs, double hbm_share, uint32_t rank,
                         struct kernel_times *times)
{
    const struct schedule *schedule = costs->schedule;
    const struct cluster *cluster = &schedule->cluster;
    const double Bps = hbm_share * cluster->hbm_Bps;
    const double own = 2.0 * schedule->moe.hidden, wire = (double)costs->transfer->token_bytes;
    const double tokens = work_posted_tokens(schedule, rank);
    const double sent = tokens * work_copies_per_token(costs, rank);
    if (!costs->transfer->gather) {
        times->head_ps += cluster_computed_ps(cluster, kernel_bytes_ps(sent * (own + wire), Bps));
        return;
    }
    const double served =
        work_choices_served(schedule, rank) * own + work_copies_received(costs, rank) * wire;
    times->head_ps += cluster_computed_ps(cluster, kernel_bytes_ps(served, Bps));
    times->tail_ps +=
        cluster_computed_ps(cluster, kernel_bytes_ps(sent * wire + tokens * own, Bps));
}
