#include "study/contradiction.h"

#include "base/mem.h"

#include <gsl/gsl_sort_double.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FALL 0.85     // of the rate that smaller messages had: below it is a fall
#define FALLEN_ROWS 2 // as many, or the largest message alone, are congestion
#define NEAR_PEAK 0.5 // of the run's highest rate: below it protocols change, and rates with them
#define RATE_SPAN 8   // messages from the largest down to this part of it are at the link's rate
#define DISAGREE 0.1  // of ln(predicted / measured): two errors further apart are of two rates
#define LEAST_SIZES 3

// Rows of one test of one file between the same nodes, by ascending bytes.
struct exchange {
    struct calibrate_row **rows;
    size_t count;
};

struct exchanges {
    struct exchange *all;
    size_t count;
};

// Exchanges of nccl-tests, whose rate is a link's: to every rank alike or to the next. A probe's
// parts of an exchange are not.
static bool is_between_nodes(const struct calibrate_row *row)
{
    static const char *const patterns[] = {"", "uniform", "ring", "distance"};
    const struct measured_row *measured = row->measured;
    size_t p = 0;
    while (p < sizeof patterns / sizeof *patterns && strcmp(measured->traffic, patterns[p]))
        p++;
    return row->moved && measured->phase == PHASE_ALLTOALL && measured->nodes > 1 &&
           p < sizeof patterns / sizeof *patterns && strcmp(measured->dispatcher, "raw");
}

static bool same_nodes(const struct measured_row *a, const struct measured_row *b)
{
    return a->nodes == b->nodes && a->gpus_per_node == b->gpus_per_node &&
           !strcmp(a->cluster, b->cluster);
}

static bool same_run(const struct measured_row *a, const struct measured_row *b)
{
    return a->file == b->file && same_nodes(a, b) && !strcmp(a->family, b->family) &&
           !strcmp(a->traffic, b->traffic) && !strcmp(a->dispatcher, b->dispatcher) &&
           !strcmp(a->source, b->source);
}

static int by_message_bytes(const void *first, const void *second)
{
    const struct calibrate_row *a = *(struct calibrate_row *const *)first;
    const struct calibrate_row *b = *(struct calibrate_row *const *)second;
    return (a->measured->bytes_per_rank > b->measured->bytes_per_rank) -
           (a->measured->bytes_per_rank < b->measured->bytes_per_rank);
}

static struct exchange *run_of(struct exchanges *runs, const struct measured_row *row)
{
    for (size_t i = 0; i < runs->count; i++)
        if (same_run(runs->all[i].rows[0]->measured, row))
            return &runs->all[i];
    runs->all = mem_grow(runs->all, runs->count + 1, sizeof *runs->all);
    runs->all[runs->count] = (struct exchange){0};
    return &runs->all[runs->count++];
}

static struct exchanges find_runs(const struct contradicting *of)
{
    struct exchanges runs = {0};
    for (size_t r = 0; r < of->count; r++) {
        if (!is_between_nodes(&of->rows[r]))
            continue;
        struct exchange *run = run_of(&runs, of->rows[r].measured);
        run->rows = mem_grow(run->rows, run->count + 1, sizeof *run->rows);
        run->rows[run->count++] = &of->rows[r];
    }
    for (size_t i = 0; i < runs.count; i++)
        qsort(runs.all[i].rows, runs.all[i].count, sizeof *runs.all[i].rows, by_message_bytes);
    return runs;
}

static void exchanges_release(struct exchanges *runs)
{
    for (size_t i = 0; i < runs->count; i++)
        free(runs->all[i].rows);
    free(runs->all);
}

static void leave_out_row(struct calibrate_row *row)
{
    row->moved = false;
    row->left_out = true;
}

static void leave_run(const struct exchange *run)
{
    for (size_t r = 0; r < run->count; r++)
        leave_out_row(run->rows[r]);
}

static void add_contradiction(const struct contradicting *of, char *text)
{
    names_add_once(of->found, text);
    free(text);
}

// ---- rates --------------------------------------------------------------------------------------

static bool to_one_peer(const struct measured_row *row)
{
    return !strcmp(row->traffic, "ring");
}

// Of a rank's bytes those that leave it, as the busbw of nccl-tests counts them.
static double bus_GBps(const struct calibrate_row *row)
{
    const struct measured_row *measured = row->measured;
    const double ranks = (double)measured->nodes * measured->gpus_per_node;
    const double rate = (double)measured->bytes_per_rank / measured->latency_us / 1e3;
    return to_one_peer(measured) ? rate : rate * (ranks - 1) / ranks;
}

// And those that leave its node.
static double net_GBps(const struct calibrate_row *row)
{
    const struct measured_row *measured = row->measured;
    const double ranks = (double)measured->nodes * measured->gpus_per_node;
    return to_one_peer(measured) ? bus_GBps(row)
                                 : bus_GBps(row) * (ranks - measured->gpus_per_node) / (ranks - 1);
}

// ---- rates that fall ----------------------------------------------------------------------------

// Where a run is fast and where it has fallen from there; peak NULL: nowhere. One lucky row is no
// peak: what counts is the second highest of smaller messages.
struct fall {
    const struct calibrate_row *peak, *bottom;
};

static double highest_bus(const struct exchange *run)
{
    double highest = 0;
    for (size_t r = 0; r < run->count; r++)
        highest = fmax(highest, bus_GBps(run->rows[r]));
    return highest;
}

static struct fall find_fall(const struct exchange *run)
{
    const double near = NEAR_PEAK * highest_bus(run);
    const struct calibrate_row *first = NULL, *second = NULL, *bottom = NULL;
    size_t fallen = 0;
    bool at_end = false;
    for (size_t r = 0; r < run->count; r++) {
        const struct calibrate_row *row = run->rows[r];
        const double rate = bus_GBps(row);
        at_end = second && bus_GBps(second) >= near && rate < FALL * bus_GBps(second);
        fallen += at_end;
        if (at_end && (!bottom || rate < bus_GBps(bottom)))
            bottom = row;
        if (!first || rate > bus_GBps(first)) {
            second = first;
            first = row;
        } else if (!second || rate > bus_GBps(second)) {
            second = row;
        }
    }
    return fallen >= FALLEN_ROWS || at_end ? (struct fall){first, bottom} : (struct fall){0};
}

// With all that ran between the same nodes in its file.
static void leave_nodes(const struct exchanges *runs, const struct exchange *congested)
{
    const struct measured_row *of = congested->rows[0]->measured;
    for (size_t i = 0; i < runs->count; i++) {
        const struct measured_row *other = runs->all[i].rows[0]->measured;
        if (other->file == of->file && same_nodes(other, of))
            leave_run(&runs->all[i]);
    }
}

void contradiction_leave_congested(const struct contradicting *of)
{
    struct exchanges runs = find_runs(of);
    for (size_t i = 0; i < runs.count; i++) {
        const struct exchange *run = &runs.all[i];
        const struct measured_row *first = run->rows[0]->measured;
        char family[ERROR_QUOTE_BYTES];
        const struct fall fall = run->count < LEAST_SIZES ? (struct fall){0} : find_fall(run);
        if (!fall.peak)
            continue;
        add_contradiction(
            of,
            mem_format(
                "%s: %s on %u nodes of %u GPUs: busbw falls from %.3g GB/s at %llu bytes to "
                "%.3g GB/s at %llu bytes: congestion, not the rate of a link; nothing is "
                "fitted to this file's rows between those nodes. Measure again with the "
                "network to yourself",
                first->file, error_quote(first->family, family), first->nodes, first->gpus_per_node,
                bus_GBps(fall.peak), (unsigned long long)fall.peak->measured->bytes_per_rank,
                bus_GBps(fall.bottom), (unsigned long long)fall.bottom->measured->bytes_per_rank));
        leave_nodes(&runs, run);
    }
    exchanges_release(&runs);
}

// ---- rates that disagree ------------------------------------------------------------------------

// The median of ln(predicted / measured) of a run's large messages.
static double run_error(const struct exchange *run)
{
    const uint64_t largest = run->rows[run->count - 1]->measured->bytes_per_rank;
    double *errors = mem_alloc(run->count, sizeof *errors);
    size_t n = 0;
    for (size_t r = 0; r < run->count; r++) {
        const struct calibrate_row *row = run->rows[r];
        if (row->measured->bytes_per_rank >= largest / RATE_SPAN)
            errors[n++] = log(row->predicted_us / row->measured->latency_us) + row->engine_bias;
    }
    gsl_sort(errors, 1, n);
    const double median = gsl_stats_median_from_sorted_data(errors, 1, n);
    free(errors);
    return median;
}

// Of the marked runs, in the order of the rows.
static void say_disagreement(const struct contradicting *of, const struct exchanges *runs,
                             const bool *disagrees)
{
    char *list = mem_copy_text("");
    for (size_t i = 0; i < runs->count; i++) {
        const struct exchange *run = &runs->all[i];
        const struct calibrate_row *largest = run->rows[run->count - 1];
        char family[ERROR_QUOTE_BYTES];
        if (!disagrees[i])
            continue;
        char *longer =
            mem_format("%s%s%.3g GB/s by %s of %s", list, *list ? ", " : "", net_GBps(largest),
                       error_quote(largest->measured->family, family), largest->measured->file);
        free(list);
        list = longer;
    }
    add_contradiction(
        of,
        mem_format("per GPU to other nodes %s: two values, not their mean; nothing is fitted to "
                   "these rows. Measure them again with the network to yourself, or fit one alone",
                   list));
    free(list);
}

static bool disagree(const struct exchange *a, const struct exchange *b)
{
    return !strcmp(a->rows[0]->measured->cluster, b->rows[0]->measured->cluster) &&
           fabs(run_error(a) - run_error(b)) > DISAGREE;
}

bool contradiction_leave_disagreeing(const struct contradicting *of)
{
    struct exchanges runs = find_runs(of);
    bool *disagrees = mem_alloc(runs.count + 1, sizeof *disagrees), any = false;
    for (size_t a = 0; a < runs.count; a++)
        for (size_t b = a + 1; b < runs.count; b++)
            if (disagree(&runs.all[a], &runs.all[b]))
                disagrees[a] = disagrees[b] = any = true;
    if (any)
        say_disagreement(of, &runs, disagrees);
    for (size_t i = 0; i < runs.count; i++)
        if (disagrees[i])
            leave_run(&runs.all[i]);
    free(disagrees);
    exchanges_release(&runs);
    return any;
}
