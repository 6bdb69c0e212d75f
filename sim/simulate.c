#include "sim/simulate.h"

#include "base/mem.h"
#include "model/engine/walk.h"
#include "sim/critical.h"
#include "sim/mover.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

// ---- one transfer by events ---------------------------------------------------------------------

static void mover_init_ports(struct mover *mover)
{
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++) {
        const bool sm = kind == PORT_SM;
        const uint32_t count =
            mover->fabric->count[kind] * (sm ? KERNELS * mover->transfer->channels : 1);
        mover->ports[kind] = mem_alloc(count, sizeof(struct port));
        for (uint32_t p = 0; !sm && p < count; p++) {
            const double rate = kernel_port_rate(mover->costs, kind, p);
            mover->ports[kind][p].ps_per_byte = rate > 0 ? 1e12 / rate : 0;
        }
    }
}

// Every chunk and every piece of one has at most one event pending, every sender too.
static uint32_t max_events(const struct flows *flows, const struct senders *senders)
{
    const uint64_t pieces = flows->transfer->rail ? flows->schedule->fabric.gpus_per_node : 0;
    const uint64_t max = flows->chunk_count * (2 * pieces + 2) + 2 * (uint64_t)senders->count + 1;
    assert(max < HEAP_NONE);
    return (uint32_t)max;
}

// The chunks of one flow that wait for nobody.
static void start_lone_chunks(struct mover *mover, uint32_t index, uint64_t begin_ps)
{
    const struct flow *flow = &mover->flows.flows[index];
    uint16_t *pending = mover->flows.pending + flow->first_pending;
    for (uint32_t k = 0; k < flow->chunks; k++) {
        if (pending[k])
            continue;
        pending[k] = 1;
        mover_schedule(mover, begin_ps, pack_event(EVENT_JOINED, index, k, 0));
    }
}

// A channel's share of a node's tokens may be whole while every rank's share of them is nought (two
// tokens for two ranks): such chunks start with their rail peer.
static void start_lone_flows(struct mover *mover, uint32_t rank, uint64_t begin_ps)
{
    const uint32_t node = fabric_node(mover->fabric, rank);
    for (uint32_t home = 0; home < mover->fabric->ranks; home++)
        for (uint32_t c = 0; c < mover->transfer->channels; c++)
            if (fabric_rail_peer(mover->fabric, home, node) == rank)
                start_lone_chunks(mover, flow_index(&mover->flows, home, node, c), begin_ps);
}

// A rank's copy engines and senders begin; two kernels and two senders a channel.
static void start_rank(struct mover *mover, uint32_t rank, uint64_t begin_ps)
{
    const uint32_t channels = mover->transfer->channels;
    for (uint32_t e = 0; e < KERNELS * channels; e++)
        mover->ports[PORT_SM][rank * KERNELS * channels + e].free_ps = begin_ps;
    for (uint32_t s = 0; s < 2 * channels; s++) {
        const uint32_t index = 2 * rank * channels + s;
        mover->senders.of[index].asleep = false;
        mover_schedule(mover, begin_ps, pack_event(EVENT_STEP, index, 0, 0));
    }
    if (mover->transfer->rail && mover->transfer->gather)
        start_lone_flows(mover, rank, begin_ps);
}

// A rank's data begins to move after its own arrival or, with a barrier, the last one's, and what
// its kernels take first. It is not done before what they take at least.
static void start_ranks(struct mover *mover, const struct rank_loads *loads,
                        const struct phase_timing *phase)
{
    const uint32_t ranks = mover->fabric->ranks;
    const uint64_t last = phase->start_ps[timing_last(phase->start_ps, ranks)];
    for (uint32_t r = 0; r < ranks; r++) {
        const struct kernel_times times = kernel_times(mover->costs, r, loads[r].peers);
        const uint64_t start = mover->transfer->barrier ? last : phase->start_ps[r];
        const uint64_t begin = start + (uint64_t)ceil(times.head_ps);
        mover->ranks[r] = (struct mover_rank){.last_ps = begin + (uint64_t)ceil(times.min_ps),
                                              .stage_ps = {begin, begin},
                                              .tail_ps = (uint64_t)ceil(times.tail_ps),
                                              .work = fabric_work(mover->fabric, r),
                                              .last_sender = r};
        start_rank(mover, r, begin);
    }
}

// One entry for the ports of a rank's kernels, `parts` each that work side by side: as busy as the
// busier of the kernels.
static struct port_timing sum_ports(const struct port *ports, uint32_t kernels, uint32_t parts)
{
    struct port_timing sum = {0};
    for (uint32_t kernel = 0; kernel < kernels; kernel++) {
        double busy_ps = 0;
        for (const struct port *end = ports + parts; ports < end; ports++) {
            sum.bytes += (double)ports->bytes;
            busy_ps += (double)ports->busy_ps / parts;
            sum.wait_ps += (double)ports->wait_ps;
            sum.longest_wait_ps = fmax(sum.longest_wait_ps, (double)ports->longest_wait_ps);
        }
        sum.busy_ps = fmax(sum.busy_ps, busy_ps);
    }
    return sum;
}

static void mover_note_port(struct mover *mover, struct timing *timing, enum port_kind kind,
                            uint32_t index)
{
    const uint32_t channels = mover->transfer->channels;
    const struct port *ports =
        &mover->ports[kind][kind == PORT_SM ? index * KERNELS * channels : index];
    struct port_timing sum =
        kind == PORT_SM ? sum_ports(ports, KERNELS, channels) : sum_ports(ports, 1, 1);
    if (kind == PORT_SM ? sum.busy_ps <= 0 : sum.bytes <= 0 || ports[0].ps_per_byte <= 0)
        return;
    sum.phase = mover->transfer->phase;
    sum.kind = kind;
    sum.port = index;
    *timing_add_port(timing, sum.phase, kind, index) = sum;
}

// Nothing may be left behind by a window that never opened or a join that never met.
static void assert_delivered(const struct mover *mover)
{
    const struct flows *flows = &mover->flows;
    for (uint32_t l = 0; l < mover->senders.lane_count; l++)
        assert(mover->senders.lanes[l].sent == mover->senders.lanes[l].chunks);
    for (uint64_t k = 0; flows->pending && k < flows->chunk_count; k++)
        assert(flows->pending[k] == 0);
}

static void mover_finish(struct mover *mover, struct timing *timing)
{
    assert_delivered(mover);
    struct phase_timing *phase = &timing->phases[mover->transfer->phase];
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        for (uint32_t p = 0; p < mover->fabric->count[kind]; p++)
            mover_note_port(mover, timing, kind, p);
    for (uint32_t r = 0; r < mover->fabric->ranks; r++) {
        const struct mover_rank *rank = &mover->ranks[r];
        phase->end_ps[r] = rank->last_ps + rank->tail_ps;
        phase->last_sender[r] = rank->last_sender;
        for (int s = 0; s < STAGES; s++)
            phase->stage_end_ps[s][r] = rank->stage_ps[s];
    }
    timing->events += mover->heap.popped;
}

static void mover_init(struct mover *mover, const struct kernel_costs *costs)
{
    const struct fabric *fabric = &costs->schedule->fabric;
    *mover = (struct mover){.costs = costs, .transfer = costs->transfer, .fabric = fabric};
    flows_init(&mover->flows, costs->schedule, costs->transfer);
    senders_init(&mover->senders, &mover->flows);
    heap_init(&mover->heap, max_events(&mover->flows, &mover->senders));
    mover_init_ports(mover);
    mover->ranks = mem_alloc(fabric->ranks, sizeof *mover->ranks);
}

// ---- the engine ---------------------------------------------------------------------------------

// Bytes that left ranks in the phase, from its port entries, which begin at `first`.
static double sent_bytes(const struct timing *timing, size_t first)
{
    double bytes = 0;
    for (size_t i = first; i < timing->port_count; i++)
        if (timing->ports[i].kind == PORT_NIC_TX || timing->ports[i].kind == PORT_NVLINK_TX)
            bytes += timing->ports[i].bytes;
    return bytes;
}

static void simulate_transfer(void *context, const struct kernel_costs *costs,
                              const struct run *run, struct timing *timing)
{
    const enum phase moved = costs->transfer->phase;
    struct phase_timing *phase = &timing->phases[moved];
    const size_t first = timing->port_count;
    struct port_loads loads;
    struct mover mover;
    (void)run;
    port_loads_init(&loads, costs);
    mover_init(&mover, costs);
    mover.timeline = context;
    start_ranks(&mover, loads.ranks, phase);
    mover_run(&mover);
    mover_finish(&mover, timing);
    for (enum port_kind kind = 0; kind < PORT_KINDS; kind++)
        free(mover.ports[kind]);
    free(mover.ranks);
    heap_release(&mover.heap);
    senders_release(&mover.senders);
    flows_release(&mover.flows);
    if (context)
        timeline_flush(context);
    phase->bytes = sent_bytes(timing, first);
    phase->bound_ps = port_loads_bound_ps(&loads, &costs->schedule->fabric, phase->busiest);
    const uint32_t rank = timing_last(phase->end_ps, timing->ranks);
    const struct kernel_times slowest = kernel_times(costs, rank, loads.ranks[rank].peers);
    bottleneck_name(costs, &slowest, timing);
    port_loads_release(&loads);
}

void simulate(const struct schedule *schedule, const struct run *run, struct timing *timing)
{
    struct timeline *timeline = run->timeline
                                    ? timeline_new(run->timeline, &schedule->fabric,
                                                   schedule->transfers[0].channels, TIMELINE_PORTS)
                                    : NULL;
    timing_init(timing, "simulate", schedule);
    walk_layer(schedule, run, timing, simulate_transfer, timeline);
    critical_path(schedule, run, timing);
    if (!timeline)
        return;
    timeline_flush(timeline);
    timeline_phases(timeline, timing, 0);
    timeline_finish(timeline, timing->engine);
}

const struct engine engine_simulate = {.name = "simulate",
                                       .loads = LOADS_COUNTED,
                                       .has_queues = true,
                                       .is_calibrated = true,
                                       .run = simulate};
