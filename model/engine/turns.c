// Of the closed form: lanes of one rank, and ranks that use one port, take turns. MODEL.md
// section 6.
#include "base/mem.h"
#include "model/engine/form.h"

#include <stdlib.h>

static int by_time(const void *left, const void *right)
{
    const struct form_piece *a = left, *b = right;
    if (a->reaches != b->reaches)
        return a->reaches < b->reaches ? -1 : 1;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

// A port at work: of each rank that uses it what waits and what has passed.
struct turns {
    struct form_port *ports; // of the kind, from the first of the ranks on
    double *waits, *passed;
    uint32_t ranks, active;
    double now;
};

static void note_step(struct turns *turns, uint32_t rank)
{
    struct form_port *port = &turns->ports[rank];
    port->steps = mem_room(port->steps, port->count, sizeof *port->steps);
    port->steps[port->count++] = (struct form_step){turns->passed[rank], turns->now};
}

static void note_steps(struct turns *turns)
{
    for (uint32_t r = 0; r < turns->ranks; r++)
        if (turns->waits[r] > 0)
            note_step(turns, r);
}

// Ranks' shares are from now on those of one more.
static void take_piece(struct turns *turns, uint32_t rank, double ps)
{
    if (turns->waits[rank] <= 0) {
        note_steps(turns);
        note_step(turns, rank);
        turns->active++;
    }
    turns->waits[rank] += ps;
}

// Goes on to a time, or to when the first of the ranks has nothing left; each has an equal share.
static void pass_until(struct turns *turns, double until)
{
    double least = INFINITY;
    for (uint32_t r = 0; r < turns->ranks; r++)
        if (turns->waits[r] > 0)
            least = fmin(least, turns->waits[r]);
    const double each = fmin(least, (until - turns->now) / turns->active);
    const bool ends = each >= least;
    turns->now = ends ? turns->now + least * turns->active : until;
    for (uint32_t r = 0; r < turns->ranks; r++)
        if (turns->waits[r] > 0)
            turns->passed[r] += each;
    if (!ends) {
        for (uint32_t r = 0; r < turns->ranks; r++)
            turns->waits[r] -= turns->waits[r] > 0 ? each : 0;
        return;
    }
    note_steps(turns);
    for (uint32_t r = 0; r < turns->ranks; r++) {
        const bool over = turns->waits[r] > 0 && turns->waits[r] <= each * (1 + 1e-12);
        turns->waits[r] = turns->waits[r] > 0 && !over ? turns->waits[r] - each : 0;
        turns->active -= over;
    }
}

// Ranks that have something at a port have equal shares of it (processor sharing): that is what
// messages in turn come to.
static void take_queue_turns(struct turns *turns, struct form_queue *queue, uint32_t first)
{
    form_sort(queue->pieces, queue->count, sizeof *queue->pieces, by_time);
    for (uint32_t r = 0; r < turns->ranks; r++) {
        turns->waits[r] = turns->passed[r] = 0;
        turns->ports[r].count = 0;
    }
    turns->active = 0;
    turns->now = 0;
    for (size_t i = 0; i < queue->count || turns->active;) {
        const double next = i < queue->count ? queue->pieces[i].reaches : INFINITY;
        if (turns->active == 0)
            turns->now = fmax(turns->now, next);
        if (next > turns->now) {
            pass_until(turns, next);
            continue;
        }
        take_piece(turns, queue->pieces[i].rank - first, queue->pieces[i].ps);
        i++;
    }
}

void form_take_turns(struct form *form)
{
    const struct fabric *fabric = &form->schedule->fabric;
    struct turns turns = {.waits = mem_alloc(fabric->ranks, sizeof(double)),
                          .passed = mem_alloc(fabric->ranks, sizeof(double))};
    for (enum port_kind kind = 0; kind < PORT_LINKS; kind++)
        for (uint32_t r = 0; fabric->count[kind] && r < fabric->ranks;) {
            const struct sharers sharers = sharers_of(fabric, kind, r);
            turns.ports = form->ports[kind] + sharers.first;
            turns.ranks = sharers.count;
            take_queue_turns(&turns, &form->queues[kind][sharers.port], sharers.first);
            r += sharers.count;
        }
    free(turns.waits);
    free(turns.passed);
}

// The first step, by work or by time, that is no lower.
static size_t first_step(const struct form_port *port, double work, double at)
{
    size_t low = 0, high = port->count - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const struct form_step *step = &port->steps[middle];
        if (step->work < work || step->at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static double between(double x, double x0, double x1, double y0, double y1)
{
    return x1 > x0 ? y0 + (y1 - y0) * fmin(1, (x - x0) / (x1 - x0)) : y1;
}

static double work_passed_at(const struct form_port *port, double work)
{
    const size_t i = first_step(port, work, 0);
    const struct form_step *step = &port->steps[i];
    return i ? between(work, step[-1].work, step->work, step[-1].at, step->at) : step->at;
}

static double work_by(const struct form_port *port, double at)
{
    const size_t i = first_step(port, 0, at);
    const struct form_step *step = &port->steps[i];
    return i ? between(at, step[-1].at, step->at, step[-1].work, step->work) : step->work;
}

// Messages are not divided: of those that pass in a rank's last round some come after its own. Who
// goes first is chance, and a rank that sends and receives by ports that it shares waits for the
// later of two places: of n places the mean of the later is two thirds up, not half.
#define LATER_OF_TWO (2.0 / 3)
static double last_round_ps(const struct form *form, enum port_kind kind, uint32_t rank,
                            double work, double at)
{
    const struct sharers sharers = sharers_of(&form->schedule->fabric, kind, rank);
    const struct form_port *port = &form->ports[kind][rank];
    double after = 0, since = 0;
    for (uint32_t r = rank + 1; r < sharers.first + sharers.count; r++) {
        const struct form_port *other = &form->ports[kind][r];
        if (other->count == 0)
            continue;
        since =
            since > 0 ? since : work_passed_at(port, fmax(0, work - port->total / port->rounds));
        after += fmin(other->total / other->rounds, work_by(other, at) - work_by(other, since));
    }
    return LATER_OF_TWO * after;
}

static double turns_passed(const struct form *form, enum port_kind kind, uint32_t rank, double work)
{
    const double at = work_passed_at(&form->ports[kind][rank], work);
    return at - last_round_ps(form, kind, rank, work, at);
}

double form_all_passed(const struct form *form, enum port_kind kind, uint32_t rank)
{
    return turns_passed(form, kind, rank, form->ports[kind][rank].total);
}

double form_place(const struct form *form, uint32_t from, uint32_t peer, bool crosses)
{
    const struct fabric *fabric = &form->schedule->fabric;
    const struct transfer *transfer = form->transfer;
    const uint32_t gpus = fabric->gpus_per_node, nodes = fabric->nodes;
    const uint32_t next = (fabric_node(fabric, peer) + nodes - fabric_node(fabric, from)) % nodes;
    const double index = (peer + gpus - from - 1) % gpus + 1; // 1 .. gpus, itself the last
    if (crosses)
        return (double)next / fmax(1, nodes - 1);
    if (transfer->rail || transfer->inside_nic)
        return (next + index / gpus) / nodes;
    return next ? (next - 1 + index / gpus) / (nodes - 1) : index / fmax(1, gpus - 1);
}

double form_part_passed(const struct form *form, enum port_kind kind, uint32_t rank,
                        const struct form_part *part)
{
    const struct form_port *port = &form->ports[kind][rank];
    const double own = fmin(port->total, form_port_ps(form, kind, rank, part->tokens));
    const bool first = port->early > 0 && !part->second; // where NICs carry both stages
    const double work = fmax(own, part->share * (first ? port->early : port->total));
    if (port->count == 0)
        return 0;
    const double passed = turns_passed(form, kind, rank, work);
    return part->by > 0 && part->via == rank ? fmin(passed, part->by) : passed;
}

// A port passes a message to a slower one when it begins, so that the slower one ends later by the
// difference.
static double passed_on(const struct form *form, enum port_kind kind, uint32_t rank,
                        enum port_kind next, const struct form_part *part)
{
    const double message = fmin(part->tokens, (double)form->transfer->message_tokens);
    const double here = form_port_ps(form, kind, rank, message);
    const double there = form_port_ps(form, next, part->to, message);
    return form_part_passed(form, kind, rank, part) + fmax(0, there - here);
}

double form_part_arrives(const struct form *form, const struct form_part *part)
{
    const bool nvlink = form_over_nvlink(form, part->from, part->to);
    const enum port_kind tx = nvlink ? PORT_NVLINK_TX : PORT_NIC_TX, rx = tx + 1;
    const double hop = nvlink ? form->nvlink_hop : form->nic_hop;
    double left = passed_on(form, tx, part->from, rx, part);
    struct trunk trunk;
    if (fabric_trunk(&form->schedule->fabric, part->from, part->to, form->transfer->inside_nic,
                     &trunk)) {
        left = fmax(left, passed_on(form, trunk.up, part->from, rx, part));
        left = fmax(left, passed_on(form, trunk.up + 1, part->to, rx, part));
    }
    return fmax(left + hop, form_part_passed(form, rx, part->to, part));
}
