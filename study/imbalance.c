#include "study/imbalance.h"

#include "base/mem.h"
#include "base/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const imbalance_cause_names[] = {"routing", "slow parts", "arrival", NULL};

// When each row has ended on all ranks, from the first rank's arrival; rows that are not there end
// with the one before.
static void set_ends(const struct timing *timing, double ends[IMBALANCE_ROWS])
{
    bool begun = false;
    double first = 0, last = 0;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        const struct phase_timing *phase = &timing->phases[p];
        if (phase->present) {
            const struct phase_span span = timing_span(timing, p);
            for (uint32_t r = 0; !begun && r < timing->ranks; r++)
                last = fmax(last, (double)phase->start_ps[r] - span.start_ps);
            if (!begun) {
                first = span.start_ps;
                ends[IMBALANCE_ARRIVAL] = last;
            }
            begun = true;
            last = fmax(last, span.end_ps - first);
        }
        ends[IMBALANCE_PHASE(p)] = last;
    }
}

// Adds sign x the rows' times.
static void add_rows(double rows[IMBALANCE_ROWS], const struct timing *timing, double sign)
{
    double ends[IMBALANCE_ROWS] = {0};
    set_ends(timing, ends);
    for (uint32_t row = 0; row < IMBALANCE_ROWS; row++)
        rows[row] += sign * (ends[row] - (row ? ends[row - 1] : 0));
}

static void set_waits(struct imbalance *imbalance, const struct timing *asked)
{
    bool begun = false;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        const struct phase_timing *phase = &asked->phases[p];
        if (!phase->present)
            continue;
        const struct phase_span span = timing_span(asked, p);
        double ends = 0, starts = 0, last = 0;
        for (uint32_t r = 0; r < asked->ranks; r++) {
            ends += (double)phase->end_ps[r] / asked->ranks;
            starts += (double)phase->start_ps[r] / asked->ranks;
            last = fmax(last, (double)phase->start_ps[r]);
        }
        imbalance->present[IMBALANCE_PHASE(p)] = true;
        imbalance->wait_mean_ps[IMBALANCE_PHASE(p)] = span.end_ps - ends;
        if (!begun)
            imbalance->wait_mean_ps[IMBALANCE_ARRIVAL] = last - starts;
        begun = true;
    }
    imbalance->present[IMBALANCE_ARRIVAL] = true;
}

static bool is_slow(const struct slow *slow)
{
    return slow_says(slow, SLOW_NIC) || slow_says(slow, SLOW_NVLINK) ||
           slow_says(slow, SLOW_COMPUTE);
}

// The busiest port of a transfer.
static void blame_port(struct straggler *worst, const struct schedule *schedule,
                       const struct timing *asked, enum phase phase)
{
    const struct fabric *fabric = &schedule->fabric;
    const struct port_timing *busiest = NULL;
    double sum = 0;
    for (size_t i = 0; i < asked->port_count; i++)
        if (asked->ports[i].phase == phase &&
            (!busiest || asked->ports[i].busy_ps > busiest->busy_ps))
            busiest = &asked->ports[i];
    if (!busiest)
        return;
    for (size_t i = 0; i < asked->port_count; i++)
        if (asked->ports[i].phase == phase && asked->ports[i].kind == busiest->kind)
            sum += asked->ports[i].bytes;
    fabric_port_name(fabric, busiest->kind, busiest->port, worst->name);
    worst->load = sum > 0 ? busiest->bytes * fabric->count[busiest->kind] / sum : 0;
    worst->share = busiest->kind == PORT_SM ? 1 / fabric_work(fabric, busiest->port)
                                            : fabric_rate(fabric, busiest->kind, busiest->port) /
                                                  fabric->rate_Bps[busiest->kind];
}

// The rank that computes longest in a phase.
static void blame_rank(struct straggler *worst, const struct schedule *schedule,
                       const struct timing *asked, enum phase phase)
{
    const struct phase_timing *p = &asked->phases[phase];
    const uint32_t ranks = asked->ranks;
    double *served = mem_alloc(ranks, sizeof(double)), sum = 0;
    uint32_t slowest = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        if (p->end_ps[r] - p->start_ps[r] > p->end_ps[slowest] - p->start_ps[slowest])
            slowest = r;
        for (size_t home = 0; home < ranks; home++)
            served[r] += schedule->loads->expert_copies[home * ranks + r];
    }
    snprintf(worst->name, sizeof worst->name, "gpu%u", slowest);
    worst->share = 1 / fabric_work(&schedule->fabric, slowest);
    const double *loads = phase == PHASE_EXPERTS ? served : schedule->loads->tokens;
    for (uint32_t r = 0; r < ranks; r++)
        sum += loads[r];
    worst->load = sum > 0 ? loads[slowest] * ranks / sum : 0;
    free(served);
}

static void blame_arrival(struct straggler *worst, const struct timing *asked)
{
    const struct phase_timing *first = asked->phases;
    uint32_t last = 0;
    while (!first->present)
        first++;
    for (uint32_t r = 0; r < asked->ranks; r++)
        last = first->start_ps[r] > first->start_ps[last] ? r : last;
    snprintf(worst->name, sizeof worst->name, "gpu%u", last);
}

static void set_worst(struct imbalance *imbalance, const struct schedule *schedule,
                      const struct timing *asked)
{
    struct straggler *worst = &imbalance->worst;
    *worst = (struct straggler){.share = 1};
    for (uint32_t row = 1; row < IMBALANCE_ROWS; row++)
        if (imbalance_row_ps(imbalance, row) > imbalance_row_ps(imbalance, worst->row))
            worst->row = row;
    if (worst->row == IMBALANCE_ARRIVAL) {
        blame_arrival(worst, asked);
        return;
    }
    const enum phase phase = (enum phase)(worst->row - 1);
    for (uint32_t t = 0; t < schedule->transfer_count; t++)
        if (schedule->transfers[t].phase == phase)
            blame_port(worst, schedule, asked, phase);
    if (!worst->name[0])
        blame_rank(worst, schedule, asked, phase);
    if (schedule->loads->expected && worst->share >= 1)
        worst->name[0] = '\0';
}

void imbalance_find(struct imbalance *imbalance, const struct scenario *scenario,
                    const struct engine *engine, const struct timing *asked)
{
    const struct slow *slow = &scenario->schedule->fabric.slow;
    const bool late = scenario->run.skew_ps > 0 || slow_says(slow, SLOW_LATE);
    const unsigned arrival = SCENARIO_ARRIVAL, slow_parts = SCENARIO_SLOW | arrival;
    struct timing balanced, healthy = {0}, together = {0};
    const struct timing *steps[CAUSES + 1] = {&balanced, asked, asked, asked};
    *imbalance = (struct imbalance){0};
    scenario_run_without(scenario, SCENARIO_ROUTING | slow_parts, engine, &balanced);
    if (late) {
        scenario_run_without(scenario, arrival, engine, &together);
        steps[CAUSE_ROUTING + 1] = steps[CAUSE_SLOW + 1] = &together;
    }
    if (is_slow(slow)) {
        scenario_run_without(scenario, slow_parts, engine, &healthy);
        steps[CAUSE_ROUTING + 1] = &healthy;
    }
    add_rows(imbalance->balanced_ps, &balanced, 1);
    for (int cause = 0; cause < CAUSES; cause++) {
        add_rows(imbalance->cause_ps[cause], steps[cause + 1], 1);
        add_rows(imbalance->cause_ps[cause], steps[cause], -1);
    }
    set_waits(imbalance, asked);
    set_worst(imbalance, scenario->schedule, asked);
    timing_release(&balanced);
    timing_release(&healthy);
    timing_release(&together);
}

static double sum_of(const double rows[IMBALANCE_ROWS])
{
    double sum = 0;
    for (uint32_t row = 0; row < IMBALANCE_ROWS; row++)
        sum += rows[row];
    return sum;
}

double imbalance_balanced_ps(const struct imbalance *imbalance)
{
    return sum_of(imbalance->balanced_ps);
}

double imbalance_cause_ps(const struct imbalance *imbalance, enum imbalance_cause cause)
{
    return sum_of(imbalance->cause_ps[cause]);
}

double imbalance_cost_ps(const struct imbalance *imbalance)
{
    double cost = 0;
    for (int cause = 0; cause < CAUSES; cause++)
        cost += sum_of(imbalance->cause_ps[cause]);
    return cost;
}

double imbalance_row_ps(const struct imbalance *imbalance, uint32_t row)
{
    double cost = 0;
    for (int cause = 0; cause < CAUSES; cause++)
        cost += imbalance->cause_ps[cause][row];
    return cost;
}

const char *imbalance_row_name(uint32_t row)
{
    return row == IMBALANCE_ARRIVAL ? "arrival" : phase_names[row - 1];
}

// A figure and what it is of; below a nanosecond is nothing.
static void print_item(FILE *out, const char *glue, const char *name, double ps)
{
    char number[TABLE_NUMBER_BYTES];
    fprintf(out, "%s%s %s", glue, name, table_short(ps / 1e6, number));
}

#define MIN_PS 1000.0

// Rows by what they cost, the dearest first.
static void print_rows(FILE *out, const struct imbalance *imbalance)
{
    bool said[IMBALANCE_ROWS] = {false};
    for (const char *glue = ": ";; glue = ", ") {
        uint32_t next = IMBALANCE_ROWS;
        for (uint32_t row = 0; row < IMBALANCE_ROWS; row++)
            if (!said[row] && fabs(imbalance_row_ps(imbalance, row)) >= MIN_PS &&
                (next == IMBALANCE_ROWS ||
                 imbalance_row_ps(imbalance, row) > imbalance_row_ps(imbalance, next)))
                next = row;
        if (next == IMBALANCE_ROWS)
            return;
        said[next] = true;
        print_item(out, glue, imbalance_row_name(next), imbalance_row_ps(imbalance, next));
    }
}

static void print_causes(FILE *out, const struct imbalance *imbalance)
{
    const char *glue = "; by cause: ";
    for (int cause = 0; cause < CAUSES; cause++) {
        const double ps = imbalance_cause_ps(imbalance, (enum imbalance_cause)cause);
        if (fabs(ps) < MIN_PS)
            continue;
        print_item(out, glue, imbalance_cause_names[cause], ps);
        glue = ", ";
    }
}

static void print_worst(FILE *out, const struct imbalance *imbalance)
{
    const struct straggler *worst = &imbalance->worst;
    char number[TABLE_NUMBER_BYTES];
    fprintf(out, "Most is in %s: ", imbalance_row_name(worst->row));
    if (!worst->name[0]) {
        fputs("which rank is the slowest is a matter of chance.", out);
        return;
    }
    fputs(worst->name, out);
    if (worst->share < 1)
        fprintf(out, " at %s of its healthy rate", table_short(worst->share, number));
    if (worst->load > 0 && (worst->share >= 1 || worst->load >= 1.01)) // more than luck
        fprintf(out, "%s %s times the mean load", worst->share < 1 ? ", with" : " with",
                table_short(worst->load, number));
    if (worst->row == IMBALANCE_ARRIVAL)
        fputs(" comes last", out);
    fprintf(out, "; a rank waits %s us for the last on average.",
            table_short(imbalance->wait_mean_ps[worst->row] / 1e6, number));
}

char *imbalance_sentences(const struct imbalance *imbalance)
{
    const double balanced = imbalance_balanced_ps(imbalance), cost = imbalance_cost_ps(imbalance);
    char cost_us[TABLE_NUMBER_BYTES], layer_us[TABLE_NUMBER_BYTES], balanced_us[TABLE_NUMBER_BYTES];
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    fprintf(out, "Imbalance costs %s us of %s us (%.1f%%)", table_short(cost / 1e6, cost_us),
            table_short((balanced + cost) / 1e6, layer_us), 100 * cost / (balanced + cost));
    print_rows(out, imbalance);
    print_causes(out, imbalance);
    fprintf(out,
            ".\nThe same traffic spread evenly over ranks, no part slow and all arriving together, "
            "takes %s us.\n",
            table_short(balanced / 1e6, balanced_us));
    print_worst(out, imbalance);
    fputc('\n', out);
    fclose(out);
    return text;
}
