// The pending-event queue: a radix heap on integer time (Ahuja et al., JACM 1990). Events with
// equal times come out in the order they went in: that order is part of the model. No event may lie
// before the last one popped.
//
// Sixty-five buckets by the highest bit in which a time differs from the base, a time that no
// pending event is before. Emptying bucket b > 0 makes its earliest time the base and moves its
// events to lower buckets. A bucket of few events goes, sorted, into a short run in front of all
// buckets instead: events would move five or six times from bucket to bucket, at a cache miss each.
// Whatever is in the run went in before whatever lies in a bucket at the same time.
//
// Buckets are lists of blocks of events, so that emptying one reads memory in order. Blocks come
// from one array sized at set-up: nothing is allocated while events run.
#ifndef SIM_HEAP_H
#define SIM_HEAP_H

#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#define HEAP_NONE UINT32_MAX
#define HEAP_BUCKETS 65
#define HEAP_BLOCK_EVENTS 63
#define HEAP_RUN_EVENTS 32 // at most in the run

struct heap_event {
    uint64_t time_ps;
    uint64_t payload;
};

struct heap_block {
    struct heap_event events[HEAP_BLOCK_EVENTS];
    uint32_t next;
    uint32_t count;
};

struct heap_bucket {
    uint64_t earliest_ps;
    uint32_t first, last; // blocks
    uint32_t count;       // events
    uint32_t taken;       // of the first block; bucket 0 alone
};

struct heap {
    struct heap_block *blocks;
    uint32_t capacity, used, free; // blocks
    struct heap_bucket buckets[HEAP_BUCKETS];
    uint64_t occupied; // bit b - 1: bucket b > 0 holds events
    uint64_t base_ps;
    struct heap_event run[HEAP_RUN_EVENTS]; // earliest last
    uint32_t run_count;
    uint64_t popped;
};

static inline void heap_init(struct heap *heap, uint32_t events)
{
    // Each bucket ends in a block that may not be full; bucket 0 begins in one, too, and one is
    // being read.
    const uint32_t blocks = events / HEAP_BLOCK_EVENTS + HEAP_BUCKETS + 3;
    *heap = (struct heap){
        .blocks = mem_alloc(blocks, sizeof *heap->blocks), .capacity = blocks, .free = HEAP_NONE};
}

static inline void heap_release(struct heap *heap)
{
    free(heap->blocks);
}

static inline uint32_t heap_take_block(struct heap *heap)
{
    uint32_t block = heap->free;
    if (block != HEAP_NONE) {
        heap->free = heap->blocks[block].next;
    } else {
        assert(heap->used < heap->capacity);
        block = heap->used++;
    }
    heap->blocks[block].next = HEAP_NONE;
    heap->blocks[block].count = 0;
    return block;
}

// Gives the block back; returns the one after it.
static inline uint32_t heap_give_block(struct heap *heap, uint32_t block)
{
    const uint32_t next = heap->blocks[block].next;
    heap->blocks[block].next = heap->free;
    heap->free = block;
    return next;
}

static inline void heap_append(struct heap *heap, const struct heap_event *event)
{
    const uint64_t differs = event->time_ps ^ heap->base_ps;
    const unsigned index = differs ? 64u - (unsigned)__builtin_clzll(differs) : 0;
    struct heap_bucket *bucket = &heap->buckets[index];
    if (!bucket->count) {
        *bucket = (struct heap_bucket){.earliest_ps = event->time_ps};
        bucket->first = bucket->last = heap_take_block(heap);
        if (index)
            heap->occupied |= UINT64_C(1) << (index - 1);
    } else if (heap->blocks[bucket->last].count == HEAP_BLOCK_EVENTS) {
        const uint32_t block = heap_take_block(heap);
        heap->blocks[bucket->last].next = block;
        bucket->last = block;
    }
    struct heap_block *block = &heap->blocks[bucket->last];
    block->events[block->count++] = *event;
    bucket->count++;
    if (event->time_ps < bucket->earliest_ps)
        bucket->earliest_ps = event->time_ps;
}

static inline void heap_push(struct heap *heap, uint64_t time_ps, uint64_t payload)
{
    assert(time_ps >= heap->base_ps);
    heap_append(heap, &(struct heap_event){time_ps, payload});
}

// Puts an event into the run, behind those of its time.
static inline void heap_run_insert(struct heap *heap, const struct heap_event *event)
{
    uint32_t at = heap->run_count++;
    for (; at > 0 && heap->run[at - 1].time_ps <= event->time_ps; at--)
        heap->run[at] = heap->run[at - 1];
    heap->run[at] = *event;
}

// Empties the lowest occupied bucket around its earliest time: into the run if that has room for
// all of it, else into lower buckets.
static inline void heap_spread(struct heap *heap)
{
    const unsigned index = (unsigned)__builtin_ctzll(heap->occupied) + 1;
    const struct heap_bucket from = heap->buckets[index];
    const _Bool few = from.count + heap->run_count <= HEAP_RUN_EVENTS;
    heap->base_ps = from.earliest_ps;
    heap->buckets[index].count = 0;
    heap->occupied &= heap->occupied - 1;
    for (uint32_t b = from.first; b != HEAP_NONE; b = heap_give_block(heap, b))
        for (uint32_t i = 0; i < heap->blocks[b].count; i++)
            if (few)
                heap_run_insert(heap, &heap->blocks[b].events[i]);
            else
                heap_append(heap, &heap->blocks[b].events[i]);
}

// Whether the run's first event is the earliest of all.
static inline _Bool heap_run_leads(const struct heap *heap)
{
    if (!heap->run_count)
        return 0;
    const uint64_t time_ps = heap->run[heap->run_count - 1].time_ps;
    if (heap->buckets[0].count)
        return time_ps == heap->base_ps;
    return !heap->occupied ||
           time_ps <= heap->buckets[__builtin_ctzll(heap->occupied) + 1].earliest_ps;
}

// Takes the first event of bucket 0.
static inline struct heap_event heap_take_first(struct heap *heap)
{
    struct heap_bucket *bucket = &heap->buckets[0];
    const struct heap_event event = heap->blocks[bucket->first].events[bucket->taken++];
    if (--bucket->count == 0 || bucket->taken == HEAP_BLOCK_EVENTS) {
        bucket->first = heap_give_block(heap, bucket->first);
        bucket->taken = 0;
    }
    return event;
}

// Takes the earliest event; false when there is none.
static inline _Bool heap_pop(struct heap *heap, uint64_t *time_ps, uint64_t *payload)
{
    struct heap_event event;
    while (!heap_run_leads(heap) && !heap->buckets[0].count) {
        if (!heap->occupied)
            return 0;
        heap_spread(heap);
    }
    if (heap_run_leads(heap))
        event = heap->run[--heap->run_count];
    else
        event = heap_take_first(heap);
    *time_ps = event.time_ps;
    *payload = event.payload;
    heap->popped++;
    return 1;
}

#endif
