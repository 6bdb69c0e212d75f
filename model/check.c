#include "model/check.h"

#include <math.h>

static double sum_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

static bool agree(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

static bool check_choices(const struct schedule *schedule, struct error *err)
{
    const struct loads *loads = schedule->loads;
    const size_t ranks = loads->ranks;
    if (!schedule->layout)
        return true;
    const double served = sum_of(loads->slot_tokens, loads->slots);
    const double sent = sum_of(loads->expert_copies, ranks * ranks);
    if (!agree(served, sent))
        return error_set(err, EXIT_RUNTIME, "check: %.0f choices sent, %.0f served", sent, served);
    if (sent > sum_of(loads->tokens, ranks) * loads->topk * (1 + 1e-9))
        return error_set(err, EXIT_RUNTIME, "check: more choices than tokens x top-k");
    for (size_t r = 0; r < ranks; r++) {
        double slots = 0, copies = 0;
        for (uint32_t s = schedule->layout->rank_slot[r]; s < schedule->layout->rank_slot[r + 1]; s++)
            slots += loads->slot_tokens[s];
        for (size_t source = 0; source < ranks; source++)
            copies += loads->expert_copies[source * ranks + r];
        if (!agree(slots, copies))
            return error_set(err, EXIT_RUNTIME, "check: gpu%zu serves %.0f of %.0f choices", r,
                             slots, copies);
    }
    return true;
}

static double class_bytes(const struct timing *timing, enum phase phase, enum port_class class)
{
    double bytes = 0;
    for (size_t i = 0; i < timing->port_count; i++)
        if (timing->ports[i].phase == phase && timing->ports[i].class == class)
            bytes += timing->ports[i].bytes;
    return bytes;
}

// A simulator moves whole tokens: from expected loads its bytes are below the means.
static bool moves_loads(const struct schedule *schedule, const struct timing *timing)
{
    return !(schedule->loads->expected && timing->events);
}

static bool check_transfer(const struct schedule *schedule, const struct transfer *transfer,
                           const struct timing *timing, struct error *err)
{
    const enum phase phase = transfer->phase;
    struct port_loads loads;
    bool ok = true;
    schedule_port_loads(schedule, transfer, &loads);
    for (enum port_class class = 0; ok && class < PORT_LINKS; class++) {
        const double bytes = class_bytes(timing, phase, class);
        const double other = class_bytes(timing, phase, class ^ 1);
        const double planned = sum_of(loads.bytes[class], schedule->fabric.count[class]);
        if (!agree(bytes, other))
            ok = error_set(err, EXIT_RUNTIME, "check: %s: %.0f bytes at %s, %.0f at %s",
                           phase_names[phase], bytes, port_class_names[class], other,
                           port_class_names[class ^ 1]);
        else if (moves_loads(schedule, timing) && !agree(bytes, planned))
            ok = error_set(err, EXIT_RUNTIME, "check: %s: %.0f bytes at %s, %.0f in the schedule",
                           phase_names[phase], bytes, port_class_names[class], planned);
    }
    port_loads_release(&loads);
    const struct phase_span span = timing_span(timing, phase);
    if (ok && span.latency_ps < timing->phases[phase].bound_ps * (1 - 1e-9))
        ok = error_set(err, EXIT_RUNTIME, "check: %s takes %.6g us, below its port bound %.6g us",
                       phase_names[phase], span.latency_ps / 1e6,
                       timing->phases[phase].bound_ps / 1e6);
    return ok;
}

bool timing_check(const struct schedule *schedule, const struct timing *timing, struct error *err)
{
    bool ok = check_choices(schedule, err);
    for (uint32_t t = 0; ok && t < schedule->transfer_count; t++)
        if (schedule->present[schedule->transfers[t].phase])
            ok = check_transfer(schedule, &schedule->transfers[t], timing, err);
    return ok;
}
