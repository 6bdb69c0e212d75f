// The pending-event queue: a radix heap on integer time (Ahuja et al., JACM 1990). Events with
// equal times come out in the order they went in: that order is part of the model. No event may lie
// before the last one popped.
//
// Sixty-five buckets by the highest bit in which a time differs from the last popped time; popping
// from bucket b > 0 moves its events to lower buckets around their minimum. Nodes come from one
// array sized at set-up: nothing is allocated while events run.
#ifndef SIM_HEAP_H
#define SIM_HEAP_H

#include "base/mem.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#define HEAP_NONE UINT32_MAX
#define HEAP_BUCKETS 65

struct heap_node {
    uint64_t time_ps;
    uint64_t payload;
    uint32_t next;
};

struct heap {
    struct heap_node *nodes;
    uint32_t capacity, used, free;
    uint32_t head[HEAP_BUCKETS], tail[HEAP_BUCKETS];
    uint64_t occupied; // bit b - 1: bucket b > 0 holds events
    uint64_t last_ps;
    uint64_t popped;
};

static inline void heap_init(struct heap *heap, uint32_t capacity)
{
    *heap = (struct heap){
        .nodes = mem_alloc(capacity, sizeof *heap->nodes), .capacity = capacity, .free = HEAP_NONE};
    for (int b = 0; b < HEAP_BUCKETS; b++)
        heap->head[b] = heap->tail[b] = HEAP_NONE;
}

static inline void heap_release(struct heap *heap)
{
    free(heap->nodes);
}

static inline unsigned heap_bucket(const struct heap *heap, uint64_t time_ps)
{
    const uint64_t differs = time_ps ^ heap->last_ps;
    return differs ? 64u - (unsigned)__builtin_clzll(differs) : 0;
}

static inline void heap_append(struct heap *heap, uint32_t node)
{
    const unsigned bucket = heap_bucket(heap, heap->nodes[node].time_ps);
    heap->nodes[node].next = HEAP_NONE;
    if (heap->head[bucket] == HEAP_NONE)
        heap->head[bucket] = node;
    else
        heap->nodes[heap->tail[bucket]].next = node;
    heap->tail[bucket] = node;
    if (bucket)
        heap->occupied |= UINT64_C(1) << (bucket - 1);
}

static inline void heap_push(struct heap *heap, uint64_t time_ps, uint64_t payload)
{
    uint32_t node = heap->free;
    assert(time_ps >= heap->last_ps);
    if (node != HEAP_NONE) {
        heap->free = heap->nodes[node].next;
    } else {
        assert(heap->used < heap->capacity);
        node = heap->used++;
    }
    heap->nodes[node].time_ps = time_ps;
    heap->nodes[node].payload = payload;
    heap_append(heap, node);
}

// Empties the lowest occupied bucket into lower ones around its earliest time.
static inline void heap_spread(struct heap *heap)
{
    const unsigned bucket = (unsigned)__builtin_ctzll(heap->occupied) + 1;
    uint64_t earliest = UINT64_MAX;
    for (uint32_t n = heap->head[bucket]; n != HEAP_NONE; n = heap->nodes[n].next)
        earliest = heap->nodes[n].time_ps < earliest ? heap->nodes[n].time_ps : earliest;
    heap->last_ps = earliest;
    uint32_t node = heap->head[bucket];
    heap->head[bucket] = heap->tail[bucket] = HEAP_NONE;
    heap->occupied &= heap->occupied - 1;
    while (node != HEAP_NONE) {
        const uint32_t next = heap->nodes[node].next;
        heap_append(heap, node);
        node = next;
    }
}

// Takes the earliest event; false when there is none.
static inline _Bool heap_pop(struct heap *heap, uint64_t *time_ps, uint64_t *payload)
{
    if (heap->head[0] == HEAP_NONE) {
        if (!heap->occupied)
            return 0;
        heap_spread(heap);
    }
    const uint32_t node = heap->head[0];
    heap->head[0] = heap->nodes[node].next;
    *time_ps = heap->nodes[node].time_ps;
    *payload = heap->nodes[node].payload;
    heap->nodes[node].next = heap->free;
    heap->free = node;
    heap->popped++;
    return 1;
}

#endif
