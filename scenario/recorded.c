#include "scenario/recorded.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

struct recorded {
    struct trace trace;
    struct recorded *whole; // whose memory a part reads; NULL: the trace is its own
    atomic_uint holders;
};

static struct recorded *recorded_new(const struct trace *trace, struct recorded *whole)
{
    struct recorded *recorded = mem_alloc(1, sizeof *recorded);
    recorded->trace = *trace;
    recorded->whole = recorded_hold(whole);
    atomic_init(&recorded->holders, 1);
    return recorded;
}

struct recorded *recorded_open(const char *folder, struct error *err)
{
    struct trace trace;
    return trace_open(&trace, folder, err) ? recorded_new(&trace, NULL) : NULL;
}

struct recorded *recorded_part(struct recorded *whole, double from, double to, struct error *err)
{
    struct trace part;
    return trace_part(&whole->trace, from, to, &part, err) ? recorded_new(&part, whole) : NULL;
}

struct recorded *recorded_hold(struct recorded *recorded)
{
    if (recorded)
        atomic_fetch_add(&recorded->holders, 1);
    return recorded;
}

void recorded_release(struct recorded *recorded)
{
    if (!recorded || atomic_fetch_sub(&recorded->holders, 1) > 1)
        return;
    if (recorded->whole)
        recorded_release(recorded->whole);
    else
        trace_release(&recorded->trace);
    free(recorded);
}

const struct trace *recorded_trace(const struct recorded *recorded)
{
    return recorded ? &recorded->trace : NULL;
}
