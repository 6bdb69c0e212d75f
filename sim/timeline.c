#include "sim/timeline.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define MERGE_PS 1000000 // ports idle for less than 1 us stay one event

// Where an event stands: a process and one of its threads.
struct track {
    uint32_t pid, tid;
};

struct timeline {
    FILE *out;
    struct fabric fabric;
    struct stretch *held[PORT_KINDS]; // PORT_SM: a GPU's channels and kernels together
    uint32_t channels;
};

// A node is a process; its threads are per GPU one for phases and one a port kind, so that they
// sort together.
static struct track port_track(const struct timeline *timeline, enum port_kind kind, uint32_t port)
{
    const struct fabric *fabric = &timeline->fabric;
    assert(fabric->nodes > 0 && fabric->count[kind] > 0); // only a kind with ports is asked for
    const uint32_t per_node = fabric->count[kind] / fabric->nodes;
    return (struct track){.pid = port / per_node,
                          .tid = port % per_node * (PORT_KINDS + 1) + 1 + (uint32_t)kind};
}

static struct track rank_track(const struct timeline *timeline, uint32_t rank)
{
    const struct fabric *fabric = &timeline->fabric;
    return (struct track){.pid = fabric_node(fabric, rank),
                          .tid = rank % fabric->gpus_per_node * (PORT_KINDS + 1)};
}

static void name_thread(struct timeline *timeline, struct track track, const char *name)
{
    fprintf(timeline->out,
            "{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":\"%"
            "s\"}},\n"
            "{\"ph\":\"M\",\"name\":\"thread_sort_index\",\"pid\":%u,\"tid\":%u,"
            "\"args\":{\"sort_index\":%u}},\n",
            track.pid, track.tid, name, track.pid, track.tid, track.tid);
}

static void name_process(struct timeline *timeline, uint32_t pid, const char *name)
{
    fprintf(timeline->out,
            "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%u,\"args\":{\"name\":\"%s\"}},\n",
            pid, name);
}

static void name_ranks(struct timeline *timeline)
{
    const struct fabric *fabric = &timeline->fabric;
    char name[48];
    for (uint32_t n = 0; n < fabric->nodes; n++) {
        snprintf(name, sizeof name, "node%u", n);
        name_process(timeline, n, name);
    }
    for (uint32_t r = 0; r < fabric->ranks; r++) {
        snprintf(name, sizeof name, "gpu%u", r);
        name_thread(timeline, rank_track(timeline, r), name);
    }
}

static void name_ports(struct timeline *timeline)
{
    const struct fabric *fabric = &timeline->fabric;
    char name[48];
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        for (uint32_t p = 0; p < fabric->count[kind]; p++)
            name_thread(timeline, port_track(timeline, kind, p),
                        fabric_port_name(fabric, kind, p, name));
}

// A process after the nodes, sorted before them.
static void name_layers(struct timeline *timeline)
{
    const uint32_t pid = timeline->fabric.nodes;
    name_process(timeline, pid, "model");
    fprintf(
        timeline->out,
        "{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":%u,\"args\":{\"sort_index\":-1}},\n",
        pid);
    name_thread(timeline, (struct track){pid, TIMELINE_STEP}, "steps");
    name_thread(timeline, (struct track){pid, TIMELINE_LAYER}, "layers");
}

struct timeline *timeline_new(FILE *out, const struct fabric *fabric, uint32_t channels,
                              enum timeline_rows rows)
{
    struct timeline *timeline = mem_alloc(1, sizeof *timeline);
    *timeline = (struct timeline){.out = out, .fabric = *fabric, .channels = channels};
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        timeline->held[kind] = mem_alloc(fabric->count[kind], sizeof(struct stretch));
    fprintf(out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    name_ranks(timeline);
    (rows == TIMELINE_PORTS ? name_ports : name_layers)(timeline);
    return timeline;
}

static void write_event(struct timeline *timeline, const char *name, struct track track,
                        const struct stretch *stretch)
{
    fprintf(timeline->out,
            "{\"ph\":\"X\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u,\"ts\":%.6f,\"dur\":%.6f},\n",
            name, track.pid, track.tid, (double)stretch->start_ps / 1e6,
            (double)(stretch->end_ps - stretch->start_ps) / 1e6);
}

static void write_held(struct timeline *timeline, enum port_kind kind, uint32_t port)
{
    struct stretch *held = &timeline->held[kind][port];
    if (held->end_ps > held->start_ps)
        write_event(timeline, phase_names[held->phase], port_track(timeline, kind, port), held);
    *held = (struct stretch){0};
}

// A port's stretches less than MERGE_PS apart are held and grow together; the next further one
// writes what is held.
void timeline_busy(struct timeline *timeline, enum port_kind kind, uint32_t index,
                   struct stretch stretch)
{
    const uint32_t port = kind == PORT_SM ? index / (2 * timeline->channels) : index;
    struct stretch *held = &timeline->held[kind][port];
    const uint64_t start_ps = stretch.start_ps, end_ps = stretch.end_ps;
    if (end_ps == start_ps)
        return;
    if (held->end_ps == 0 || held->phase != stretch.phase || start_ps > held->end_ps + MERGE_PS) {
        write_held(timeline, kind, port);
        *held = stretch;
        return;
    }
    held->start_ps = start_ps < held->start_ps ? start_ps : held->start_ps;
    held->end_ps = end_ps > held->end_ps ? end_ps : held->end_ps;
}

void timeline_flush(struct timeline *timeline)
{
    const struct fabric *fabric = &timeline->fabric;
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        for (uint32_t p = 0; p < fabric->count[kind]; p++)
            write_held(timeline, kind, p);
}

uint64_t timeline_phases(struct timeline *timeline, const struct timing *timing, uint64_t from_ps)
{
    uint64_t events = 0;
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        const struct phase_timing *timed = &timing->phases[phase];
        for (uint32_t r = 0; timed->present && r < timing->ranks; r++, events++) {
            const struct stretch stretch = {.start_ps = from_ps + timed->start_ps[r],
                                            .end_ps = from_ps + timed->end_ps[r]};
            write_event(timeline, phase_names[phase], rank_track(timeline, r), &stretch);
        }
    }
    return events;
}

void timeline_layer(struct timeline *timeline, enum timeline_depth depth, uint64_t number,
                    uint64_t start_ps, uint64_t end_ps)
{
    char name[48];
    snprintf(name, sizeof name, "%s %llu", depth == TIMELINE_STEP ? "step" : "layer",
             (unsigned long long)number);
    const struct track track = {timeline->fabric.nodes, depth};
    write_event(timeline, name, track, &(struct stretch){.start_ps = start_ps, .end_ps = end_ps});
}

void timeline_finish(struct timeline *timeline, const char *engine)
{
    timeline_flush(timeline);
    fprintf(timeline->out,
            "{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":0,\"args\":{\"labels\":\"epsim "
            "%s\"}}\n]}\n",
            engine);
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        free(timeline->held[kind]);
    free(timeline);
}
