// Whether rows arrived as they were sent. Both ends take checksums of their rows as soon as a phase
// is over, while caches still hold them, and compare between iterations: no phase's time has any of
// it, nor finds much more in a cache than without. MPI carries the checksums, whatever carried
// the rows, and each rank orders its own by the plan: what damages, loses or exchanges messages
// does not do the same to them.
//
// Every iteration sends the same rows. One word of each that came is spoilt after the check, or a
// row that does not come the next time would be taken for the one of before.
#include "real/calls.h"

#include "base/mem.h"
#include "real/memory.h"

#include <assert.h>
#include <limits.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define TRANSFERS 2
#define BUFFERS (TRANSFERS * STAGES)

// Rows of one message: beside each other in their buffer, and among the checksums that the two
// ranks exchange.
struct stretch {
    enum phase phase;
    enum stage stage;
    uint32_t rank; // the other one, or this one where it sends to itself
    uint64_t first, rows;
    uint64_t at; // among those exchanged
};

struct wire_buffer {
    enum phase phase; // that moves its rows
    struct row_checksums sums;
};

// What an iteration takes out of this rank, or into it. Rows are numbered over the buffers.
struct wire_side {
    struct wire_buffer buffers[BUFFERS];
    uint32_t buffer_count;
    const struct row_block *last; // of them
    struct stretch *stretches;    // of one pair, phase and stage in the order of messages
    uint32_t stretch_count;
    uint64_t rows;
    uint64_t *on_device, *sums; // [rows]
    uint64_t *exchanged;        // [rows] by rank: this rank's own, or what the senders say
    int *counts, *firsts;       // [ranks] of them
};

struct wire {
    struct wire_side out, in;
    uint32_t *spoil; // device: a word that no row begins with, NaN in every format
    uint32_t *zeros; // device: as many as the largest buffer of `in` has rows
    uint32_t checks;
};

// --- opening ------------------------------------------------------------------------------------

// Where the buffer's rows begin. Both stages of a direct transfer have the same one.
static uint64_t add_buffer(struct wire_side *side, const struct leg_end *end, enum phase phase)
{
    if (side->last == end->rows)
        return side->rows - end->count;
    assert(side->buffer_count < BUFFERS);
    side->last = end->rows;
    side->buffers[side->buffer_count++] =
        (struct wire_buffer){phase, {.rows = *end->rows, .count = end->count}};
    side->rows += end->count;
    return side->rows - end->count;
}

static void add_stretch(struct wire_side *side, struct stretch stretch)
{
    side->stretches = mem_grow(side->stretches, side->stretch_count + 1, sizeof *side->stretches);
    side->stretches[side->stretch_count++] = stretch;
}

// A leg's messages of this side.
static void add_leg(struct wire_side *side, const struct plan *plan, const struct leg *leg,
                    enum phase phase, bool out)
{
    const uint64_t buffer = add_buffer(side, out ? &leg->from : &leg->to, phase);
    for (uint32_t r = 0; r < plan->rounds; r++) {
        const struct pieces pieces =
            movement_pieces(&plan->stage[leg->stage][r], phase == PHASE_COMBINE, out);
        for (uint32_t i = 0; i < pieces.count; i++)
            add_stretch(side, (struct stretch){.phase = phase,
                                               .stage = leg->stage,
                                               .rank = pieces.piece[i].rank,
                                               .first = buffer + pieces.piece[i].first,
                                               .rows = pieces.piece[i].rows});
    }
}

// Rank after rank, each one's in the order of messages.
static void place_stretches(struct wire_side *side, uint32_t ranks)
{
    uint64_t *first = mem_alloc((size_t)ranks + 1, sizeof *first);
    side->counts = mem_alloc(ranks, sizeof *side->counts);
    side->firsts = mem_alloc(ranks, sizeof *side->firsts);
    for (uint32_t s = 0; s < side->stretch_count; s++)
        first[side->stretches[s].rank + 1] += side->stretches[s].rows;
    for (uint32_t r = 0; r < ranks; r++)
        side->counts[r] = (int)first[r + 1];
    uint64_t *next = plan_list_starts(first, ranks);
    assert(first[ranks] == side->rows && side->rows <= INT_MAX);
    for (uint32_t r = 0; r < ranks; r++)
        side->firsts[r] = (int)first[r];
    for (uint32_t s = 0; s < side->stretch_count; s++) {
        struct stretch *stretch = &side->stretches[s];
        stretch->at = next[stretch->rank];
        next[stretch->rank] += stretch->rows;
    }
    free(first);
    free(next);
}

static void allocate_side(struct layer *layer, struct wire_side *side)
{
    side->on_device = memory_allocate(layer, side->rows * sizeof *side->on_device);
    side->sums = mem_alloc(side->rows + 1, sizeof *side->sums);
    side->exchanged = mem_alloc(side->rows + 1, sizeof *side->exchanged);
    uint64_t *next = side->on_device;
    for (uint32_t b = 0; next && b < side->buffer_count; b++) {
        side->buffers[b].sums.out = next;
        next += side->buffers[b].sums.count;
    }
}

static void make_spoil(struct layer *layer, struct wire *wire)
{
    const uint32_t nan = UINT32_MAX;
    uint64_t rows = 0;
    for (uint32_t b = 0; b < wire->in.buffer_count; b++)
        if (wire->in.buffers[b].sums.count > rows)
            rows = wire->in.buffers[b].sums.count;
    uint32_t *zeros = mem_alloc(rows + 1, sizeof *zeros);
    wire->zeros = memory_upload(layer, zeros, rows * sizeof *zeros);
    wire->spoil = memory_upload(layer, &nan, sizeof nan);
    free(zeros);
}

static void add_transfer(struct wire *wire, const struct layer *layer,
                         const struct transfer *transfer)
{
    const struct calls *calls = calls_of(layer);
    const struct plan *plan = transfer->gather ? &calls->combine_plan : &calls->dispatch_plan;
    const enum phase phase = transfer->gather ? PHASE_COMBINE : PHASE_DISPATCH;
    for (enum stage stage = 0; stage < STAGES; stage++) {
        const struct leg leg = movement_leg(layer, transfer, stage);
        add_leg(&wire->out, plan, &leg, phase, true);
        add_leg(&wire->in, plan, &leg, phase, false);
    }
}

struct wire *calls_wire_new(struct layer *layer)
{
    const uint32_t ranks = layer->schedule.fabric.ranks;
    struct wire *wire = mem_alloc(1, sizeof *wire);
    for (uint32_t t = 0; t < TRANSFERS; t++)
        add_transfer(wire, layer, &layer->schedule.transfers[t]);
    place_stretches(&wire->out, ranks);
    place_stretches(&wire->in, ranks);
    allocate_side(layer, &wire->out);
    allocate_side(layer, &wire->in);
    make_spoil(layer, wire);
    return wire;
}

static void side_free(struct wire_side *side)
{
    free(side->stretches);
    free(side->sums);
    free(side->exchanged);
    free(side->counts);
    free(side->firsts);
}

void calls_wire_free(struct wire *wire)
{
    if (!wire)
        return;
    side_free(&wire->out);
    side_free(&wire->in);
    free(wire);
}

// --- checking -----------------------------------------------------------------------------------

static void take_sums(struct device *device, const struct wire_side *side, enum phase phase)
{
    for (uint32_t b = 0; b < side->buffer_count; b++)
        if (side->buffers[b].phase == phase)
            device_checksum(device, STREAM_COMPUTE, &side->buffers[b].sums);
}

void calls_wire_take(struct layer *layer, enum phase phase)
{
    const struct wire *wire = calls_of(layer)->wire;
    take_sums(layer->setup.device, &wire->out, phase);
    take_sums(layer->setup.device, &wire->in, phase);
}

static void read_sums(struct device *device, const struct wire_side *side)
{
    device_download(device, side->sums, side->on_device, side->rows * sizeof *side->sums);
}

static bool exchange_sums(struct wire *wire, struct error *err)
{
    const struct wire_side *out = &wire->out, *in = &wire->in;
    for (uint32_t s = 0; s < out->stretch_count; s++) {
        const struct stretch *stretch = &out->stretches[s];
        memcpy(out->exchanged + stretch->at, out->sums + stretch->first,
               stretch->rows * sizeof *out->sums);
    }
    return MPI_Alltoallv(out->exchanged, out->counts, out->firsts, MPI_UINT64_T, in->exchanged,
                         in->counts, in->firsts, MPI_UINT64_T, MPI_COMM_WORLD) == MPI_SUCCESS ||
           error_set(err, EXIT_RUNTIME, "the exchange of checksums failed: a rank was lost");
}

// The first stretch with a row that is not what its sender says; NULL: none.
static const struct stretch *find_damage(const struct wire_side *in)
{
    for (uint32_t s = 0; s < in->stretch_count; s++) {
        const struct stretch *stretch = &in->stretches[s];
        if (memcmp(in->exchanged + stretch->at, in->sums + stretch->first,
                   stretch->rows * sizeof *in->sums) != 0)
            return stretch;
    }
    return NULL;
}

// One line of all that came from the rank in that stage.
static bool tell_damage(const struct layer *layer, const struct wire *wire,
                        const struct stretch *damaged, struct error *err)
{
    const struct wire_side *in = &wire->in;
    uint64_t rows = 0, wrong = 0, first = 0;
    for (uint32_t s = 0; s < in->stretch_count; s++) {
        const struct stretch *other = &in->stretches[s];
        if (other->rank != damaged->rank || other->phase != damaged->phase ||
            other->stage != damaged->stage)
            continue;
        for (uint64_t i = 0; i < other->rows; i++, rows++)
            if (in->exchanged[other->at + i] != in->sums[other->first + i] && wrong++ == 0)
                first = rows;
    }
    return error_set(
        err, EXIT_RUNTIME,
        "rank %u: iteration %u (warm-ups counted): %s, %s-node: %llu of %llu rows from "
        "rank %u did not arrive as they were sent, first row %llu",
        layer->setup.rank, wire->checks, phase_names[damaged->phase], stage_names[damaged->stage],
        (unsigned long long)wrong, (unsigned long long)rows, damaged->rank,
        (unsigned long long)first);
}

// The first word of every received row becomes the one row that `spoil` is.
static void spoil_rows(const struct layer *layer, const struct wire *wire)
{
    for (uint32_t b = 0; b < wire->in.buffer_count; b++) {
        const struct row_checksums *sums = &wire->in.buffers[b].sums;
        device_gather(layer->setup.device, STREAM_COMPUTE,
                      &(struct row_gather){.out = {sums->rows.base, sums->rows.stride, ROW_FP32},
                                           .in = {wire->spoil, sizeof *wire->spoil, ROW_FP32},
                                           .index = wire->zeros,
                                           .count = sums->count,
                                           .width = 1});
    }
}

bool calls_wire_check(struct layer *layer, uint64_t *rows, struct error *err)
{
    struct wire *wire = calls_of(layer)->wire;
    struct device *device = layer->setup.device;
    wire->checks++;
    read_sums(device, &wire->out);
    read_sums(device, &wire->in);
    spoil_rows(layer, wire);
    const bool taken = device_sync(device, err);
    if (!exchange_sums(wire, err) || !taken)
        return false;
    *rows = wire->in.rows;
    const struct stretch *damaged = find_damage(&wire->in);
    return !damaged || tell_damage(layer, wire, damaged, err);
}
