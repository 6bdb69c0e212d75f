// Counter-based random numbers: a draw is a pure function of (seed, stream words, counter), so
// that any token of any rank can be drawn alone, in any order, on any thread, with one result.
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

// The key of one stream of draws, e.g. the routing of token 17 of rank 3 in layer 5.
struct rng {
    uint64_t key;
    uint64_t counter;
};

// SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): a bijection that passes BigCrush
// over consecutive counters.
static inline uint64_t rng_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline struct rng rng_stream(uint64_t seed, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t key = rng_mix(seed + golden);
    key = rng_mix(key ^ (a + golden));
    key = rng_mix(key ^ (b + 2 * golden));
    key = rng_mix(key ^ (c + 3 * golden));
    return (struct rng){.key = key, .counter = 0};
}

// 64 uniform bits.
static inline uint64_t rng_next(struct rng *rng)
{
    return rng_mix(rng->key + UINT64_C(0x9e3779b97f4a7c15) * ++rng->counter);
}

// Uniform in 0 .. bound-1; bias below bound / 2^32. bound is at most 2^32.
static inline uint32_t rng_below(struct rng *rng, uint32_t bound)
{
    return (uint32_t)(((rng_next(rng) >> 32) * (uint64_t)bound) >> 32);
}

// Uniform in [0, 1) with 53 bits.
static inline double rng_unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

#endif
