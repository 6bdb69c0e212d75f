// Values that host and device must agree on bit by bit: deterministic tensors, number formats, and
// rows of them.
// Included by C and CUDA alike.
#ifndef REAL_VALUES_H
#define REAL_VALUES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define VALUES_FN static __host__ __device__ inline
#else
#define VALUES_FN static inline
#endif

// Element `index` of tensor `tensor` under `seed`: uniform in [-1, 1), a multiple of 2^-23, so
// exact in fp32 everywhere (SplitMix64's finaliser, base/rng.h).
VALUES_FN uint64_t value_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

VALUES_FN float value_at(uint64_t seed, uint64_t tensor, uint64_t index)
{
    const uint64_t key = value_mix(value_mix(seed + 0x9e3779b97f4a7c15ull) ^ tensor);
    const uint64_t bits = value_mix(key + 0x9e3779b97f4a7c15ull * (index + 1));
    return (float)(int32_t)(bits >> 40) * 0x1p-23f - 1.0f;
}

// A row's checksum is the sum of this over its words of 8 bytes, the last one filled with zeros.
// One changed word always shows, for the mix is a bijection; any other change, words or rows in
// another's place among them, goes unnoticed by a chance of 2^-64.
VALUES_FN uint64_t checksum_word(uint64_t word, uint64_t place)
{
    return value_mix(word + 0x9e3779b97f4a7c15ull * (place + 1));
}

// bf16 with round to nearest even.
VALUES_FN uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

VALUES_FN float bf16_to_float(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// fp8 E4M3 (finite: no infinity, largest 448), round to nearest even, saturating.
VALUES_FN uint8_t fp8_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint8_t sign = (uint8_t)(bits >> 24 & 0x80u);
    bits &= 0x7fffffffu;
    if (bits >= 0x43e80000u) // from 464 on: saturates (NaN too: none arises from finite input)
        return (uint8_t)(sign | 0x7eu);
    if (bits < 0x3c800000u) { // below 2^-6: a subnormal, a multiple of 2^-9
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        return (uint8_t)(sign | (uint8_t)rintf(magnitude * 512.0f));
    }
    bits += 0x7ffffu + (bits >> 20 & 1u);
    return (uint8_t)(sign | (uint8_t)((bits >> 20) - ((127u - 7u) << 3)));
}

VALUES_FN float fp8_to_float(uint8_t byte)
{
    const uint32_t exponent = byte >> 3 & 15u, mantissa = byte & 7u;
    const float magnitude = exponent ? ldexpf(1.0f + (float)mantissa / 8.0f, (int)exponent - 7)
                                     : (float)mantissa * 0x1p-9f;
    return byte & 0x80u ? -magnitude : magnitude;
}

#define FP8_BLOCK 128
#define FP8_MAX 448.0f

// The scale of a block whose largest magnitude is `largest`; values are stored as fp8(x / scale). A
// block of zeros (or so small that the scale would vanish) has scale 1, so that it divides cleanly
// and reads back as exact zeros.
VALUES_FN float fp8_scale(float largest)
{
    const float scale = largest / FP8_MAX;
    return scale > 0.0f ? scale : 1.0f;
}

// How the values of a row are stored. FP8 is E4M3 (4 exponent, 3 mantissa bits, saturating at 448)
// with one fp32 scale a block of 128 values, max |x| / 448, standing after the row's values.
enum row_format { ROW_FP32, ROW_BF16, ROW_FP8 };

// Bytes of a row's values, and of their scales.
VALUES_FN size_t row_bytes(enum row_format format, uint32_t width)
{
    if (format == ROW_FP8)
        return width + sizeof(float) * ((width + FP8_BLOCK - 1) / FP8_BLOCK);
    return (size_t)width * (format == ROW_BF16 ? sizeof(uint16_t) : sizeof(float));
}

#endif
