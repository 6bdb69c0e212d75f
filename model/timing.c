#include "model/timing.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const overlap_names[] = {"none", "dispatch", "combine", NULL};

#define ARRIVAL_STREAM UINT64_C(0x617272697665) // apart from every routing stream

// Uniform over the skew, from a stream of the rank's own: the same whatever else is drawn.
uint64_t run_arrival_ps(const struct run *run, uint32_t rank)
{
    struct rng rng = rng_stream(run->seed, rank, ARRIVAL_STREAM, 0);
    return (uint64_t)(rng_unit(&rng) * (double)run->skew_ps);
}

void timing_init(struct timing *timing, const char *engine, const struct schedule *schedule)
{
    const uint32_t ranks = schedule->fabric.ranks;
    *timing = (struct timing){.engine = engine, .ranks = ranks};
    for (int p = 0; p < PHASE_COUNT; p++) {
        struct phase_timing *phase = &timing->phases[p];
        phase->present = schedule->present[p];
        phase->start_ps = mem_alloc(ranks, sizeof(uint64_t));
        phase->end_ps = mem_alloc(ranks, sizeof(uint64_t));
        phase->late_start_ps = mem_alloc(ranks, sizeof(uint64_t));
        phase->late_ps = mem_alloc(ranks, sizeof(uint64_t));
        phase->start_sd_ps = mem_alloc(ranks, sizeof(double));
        phase->sd_ps = mem_alloc(ranks, sizeof(double));
        phase->last_sender = mem_alloc(ranks, sizeof(uint32_t));
        for (int s = 0; s < STAGES; s++)
            phase->stage_end_ps[s] = mem_alloc(ranks, sizeof(uint64_t));
        for (uint32_t r = 0; r < ranks; r++)
            phase->last_sender[r] = r;
        strcpy(phase->busiest, "none");
        strcpy(phase->bottleneck, "none");
    }
    timing->nodes_per_token = loads_nodes_per_token(schedule->loads);
    timing->ranks_per_token = loads_ranks_per_token(schedule->loads);
}

uint32_t timing_last(const uint64_t *times_ps, uint32_t ranks)
{
    uint32_t last = 0;
    for (uint32_t r = 1; r < ranks; r++)
        if (times_ps[r] > times_ps[last])
            last = r;
    return last;
}

void timing_release(struct timing *timing)
{
    for (int p = 0; p < PHASE_COUNT; p++) {
        free(timing->phases[p].start_ps);
        free(timing->phases[p].end_ps);
        free(timing->phases[p].late_start_ps);
        free(timing->phases[p].late_ps);
        free(timing->phases[p].start_sd_ps);
        free(timing->phases[p].sd_ps);
        free(timing->phases[p].last_sender);
        for (int s = 0; s < STAGES; s++)
            free(timing->phases[p].stage_end_ps[s]);
    }
    free(timing->ports);
    *timing = (struct timing){0};
}

struct port_timing *timing_add_port(struct timing *timing, enum phase phase, enum port_kind kind,
                                    uint32_t port)
{
    if (timing->port_count == timing->port_capacity) {
        timing->port_capacity = timing->port_capacity ? 2 * timing->port_capacity : 64;
        timing->ports = mem_grow(timing->ports, timing->port_capacity, sizeof *timing->ports);
    }
    struct port_timing *added = &timing->ports[timing->port_count++];
    *added = (struct port_timing){.phase = phase, .kind = kind, .port = port};
    return added;
}

// By how much the luckiest rank is expected to start before the mean: as much as the unluckiest
// does after it, of those that have as much to do as any on average.
static uint64_t lucky_ps(const struct phase_timing *phase, uint32_t ranks)
{
    uint64_t by = UINT64_MAX;
    for (uint32_t r = 0; r < ranks; r++) {
        const uint64_t start = phase->start_ps[r], late = phase->late_start_ps[r];
        const uint64_t behind = late > start ? late - start : 0;
        by = behind < by ? behind : by;
    }
    return by;
}

// From the ranks' starts to their `ends`, the last of them no earlier than `last`.
static struct phase_span span_to(const struct timing *timing, const struct phase_timing *phase,
                                 const uint64_t *ends, uint64_t last)
{
    uint64_t first = UINT64_MAX;
    double sum = 0;
    for (uint32_t r = 0; r < timing->ranks; r++) {
        const uint64_t start = phase->start_ps[r], end = ends[r];
        first = start < first ? start : first;
        last = end > last ? end : last;
        sum += end > start ? (double)(end - start) : 0;
    }
    const uint64_t lucky = lucky_ps(phase, timing->ranks);
    first -= lucky < first ? lucky : first;
    return (struct phase_span){.start_ps = (double)first,
                               .end_ps = (double)last,
                               .latency_ps = last > first ? (double)(last - first) : 0,
                               .latency_mean_ps = sum / timing->ranks};
}

// The phase is over when the last rank is, when the unluckiest is expected to be (late_ps), or when
// a shared port has passed its bytes (floor_ps), whichever is last; means are of the ranks' own
// times.
struct phase_span timing_span(const struct timing *timing, enum phase phase)
{
    const struct phase_timing *p = &timing->phases[phase];
    uint64_t last = p->floor_ps;
    for (uint32_t r = 0; r < timing->ranks; r++)
        last = p->late_ps[r] > last ? p->late_ps[r] : last;
    return span_to(timing, p, p->end_ps, last);
}

struct phase_span timing_stage_span(const struct timing *timing, enum phase phase, enum stage stage)
{
    const struct phase_timing *p = &timing->phases[phase];
    return span_to(timing, p, p->stage_end_ps[stage], 0);
}

// Phases may overlap (the shared expert), so their spans do not add up.
double timing_layer_ps(const struct timing *timing)
{
    double first = INFINITY, last = 0;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        if (!timing->phases[p].present)
            continue;
        const struct phase_span span = timing_span(timing, p);
        first = fmin(first, span.start_ps);
        last = fmax(last, span.end_ps);
    }
    return last > first ? last - first : 0;
}

static double own_layer_ps(const struct timing *timing, uint32_t rank)
{
    uint64_t first = UINT64_MAX, last = 0;
    for (enum phase p = 0; p < PHASE_COUNT; p++) {
        const struct phase_timing *phase = &timing->phases[p];
        if (!phase->present)
            continue;
        first = phase->start_ps[rank] < first ? phase->start_ps[rank] : first;
        last = phase->end_ps[rank] > last ? phase->end_ps[rank] : last;
    }
    return last > first ? (double)(last - first) : 0;
}

struct phase_span timing_layer_span(const struct timing *timing)
{
    struct phase_span layer = {.start_ps = INFINITY, .latency_ps = timing_layer_ps(timing)};
    for (enum phase p = 0; p < PHASE_COUNT; p++)
        if (timing->phases[p].present)
            layer.start_ps = fmin(layer.start_ps, timing_span(timing, p).start_ps);
    layer.end_ps = layer.start_ps + layer.latency_ps;
    for (uint32_t r = 0; r < timing->ranks; r++)
        layer.latency_mean_ps += own_layer_ps(timing, r) / timing->ranks;
    return layer;
}

// FNV-1a, a byte at a time from the lowest: the same on every machine.
static uint64_t hash_word(uint64_t hash, uint64_t word)
{
    for (int byte = 0; byte < 8; byte++)
        hash = (hash ^ (word >> (8 * byte) & 0xff)) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t timing_hash(const struct timing *timing)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int p = 0; p < PHASE_COUNT; p++)
        for (uint32_t r = 0; timing->phases[p].present && r < timing->ranks; r++) {
            hash = hash_word(hash, timing->phases[p].start_ps[r]);
            hash = hash_word(hash, timing->phases[p].end_ps[r]);
        }
    for (size_t i = 0; i < timing->port_count; i++) {
        hash = hash_word(hash, (uint64_t)timing->ports[i].bytes);
        hash = hash_word(hash, (uint64_t)timing->ports[i].busy_ps);
        hash = hash_word(hash, (uint64_t)timing->ports[i].wait_ps);
    }
    return hash_word(hash, timing->events);
}

char *timing_sentence(const struct timing *timing, enum phase phase, char *buffer)
{
    const size_t size = 320;
    const struct phase_timing *p = &timing->phases[phase];
    const struct phase_span span = timing_span(timing, phase);
    char latency[TABLE_NUMBER_BYTES], bound[TABLE_NUMBER_BYTES];
    table_short(span.latency_ps / 1e6, latency);
    table_short(p->bound_ps / 1e6, bound);
    if (p->bound_ps <= 0)
        snprintf(buffer, size, "%s takes %s us; %s binds.", phase_names[phase], latency,
                 p->bottleneck);
    else
        snprintf(buffer, size,
                 "%s takes %s us; %s binds. No schedule could beat %s us, the bytes of %s at its "
                 "rate: this is %.1f%% above.",
                 phase_names[phase], latency, p->bottleneck, bound, p->busiest,
                 100 * (span.latency_ps / p->bound_ps - 1));
    return buffer;
}
