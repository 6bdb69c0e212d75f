// What the kernels of rows share: values and their formats, units of a row, and single values for
// rows that cannot be read by units. Included by .cu files alone.
//
// The row kernels (gather.cu, sums.cu) move memory and nothing else: one block a row, 16 bytes of
// bf16 a thread and access, several accesses in flight before the first is used. A row that cannot
// be read so (odd width, odd address) takes a kernel of single values.
//
// Conversions agree bit by bit with real/values.h, and sums are rounded after each product and each
// addition as C does without contraction, so that host and device differ only where order or exp
// does.
#ifndef REAL_UNITS_CUH
#define REAL_UNITS_CUH

#include "real/device.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

namespace
{

constexpr uint32_t UNIT = 8;          // values a thread moves at once
constexpr uint32_t UNITS = 4;         // units in flight a thread
constexpr uint32_t ROW_THREADS = 256; // at most, a row
constexpr uint32_t WARP = 32;
constexpr uint32_t EVERY_LANE = 0xffffffffu;
constexpr uint32_t NO_ROW = UINT32_MAX;

// ---- values -------------------------------------------------------------------------------------

inline __device__ uint32_t bf16_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

inline __device__ float bf16_low(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

inline __device__ float bf16_high(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

// Two E4M3 values in the low 16 bits. Exponent and mantissa, shifted to their places in an fp16,
// read as the value times 2^-8 (subnormals too), and the product with 2^8 is exact.
inline __device__ float2 fp8_pair_to_float(uint32_t pair)
{
    const uint32_t bits =
        (pair & 0x7fu) << 7 | (pair & 0x80u) << 8 | (pair & 0x7f00u) << 15 | (pair & 0x8000u) << 16;
    __half2 halves;
    memcpy(&halves, &bits, sizeof halves);
    return __half22float2(__hmul2(halves, __float2half2_rn(256.0f)));
}

inline __device__ uint32_t fp8_pair(float low, float high)
{
#if __CUDA_ARCH__ >= 890
    return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
#else
    return fp8_from_float(low) | (uint32_t)fp8_from_float(high) << 8;
#endif
}

// Of all lanes of a warp, in every lane.
inline __device__ float warp_sum(float value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(EVERY_LANE, value, step);
    return value;
}

inline __device__ float warp_max(float value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, step));
    return value;
}

// ---- units: UNIT neighbouring values of a row ---------------------------------------------------

template <row_format F> struct unit;

template <> struct unit<ROW_FP32> {
    float4 half[2];
};

template <> struct unit<ROW_BF16> {
    uint4 pairs;
};

template <> struct unit<ROW_FP8> {
    uint2 bytes;
    float scale;
};

template <row_format F> __device__ unit<F> load_unit(const char *row, uint32_t u, uint32_t width)
{
    unit<F> raw;
    if constexpr (F == ROW_FP32) {
        raw.half[0] = ((const float4 *)row)[2 * u];
        raw.half[1] = ((const float4 *)row)[2 * u + 1];
    } else if constexpr (F == ROW_BF16) {
        raw.pairs = ((const uint4 *)row)[u];
    } else {
        raw.bytes = ((const uint2 *)row)[u];
        raw.scale = ((const float *)(row + width))[u / (FP8_BLOCK / UNIT)];
    }
    return raw;
}

inline __device__ void unpack(const unit<ROW_FP32> &raw, float (&values)[UNIT])
{
    memcpy(values, raw.half, sizeof values);
}

inline __device__ void unpack(const unit<ROW_BF16> &raw, float (&values)[UNIT])
{
    const uint32_t pairs[] = {raw.pairs.x, raw.pairs.y, raw.pairs.z, raw.pairs.w};
#pragma unroll
    for (uint32_t i = 0; i < UNIT / 2; i++) {
        values[2 * i] = bf16_low(pairs[i]);
        values[2 * i + 1] = bf16_high(pairs[i]);
    }
}

inline __device__ void unpack(const unit<ROW_FP8> &raw, float (&values)[UNIT])
{
    const uint32_t pairs[] = {raw.bytes.x, raw.bytes.x >> 16, raw.bytes.y, raw.bytes.y >> 16};
#pragma unroll
    for (uint32_t i = 0; i < UNIT / 2; i++) {
        const float2 pair = fp8_pair_to_float(pairs[i]);
        values[2 * i] = __fmul_rn(pair.x, raw.scale);
        values[2 * i + 1] = __fmul_rn(pair.y, raw.scale);
    }
}

// x / scale rounded to nearest, from the rounded reciprocal and one correction (Markstein): three
// operations where a division takes a dozen. Far from 1, where the residual could vanish, divides.
inline __device__ void divide(float (&q)[UNIT], const float (&values)[UNIT], float scale)
{
    if (scale < 0x1p-60f || scale > 0x1p60f) {
#pragma unroll
        for (uint32_t i = 0; i < UNIT; i++)
            q[i] = __fdiv_rn(values[i], scale);
        return;
    }
    const float inverse = __frcp_rn(scale);
#pragma unroll
    for (uint32_t i = 0; i < UNIT; i++) {
        const float near = values[i] * inverse;
        q[i] = fmaf(fmaf(-near, scale, values[i]), inverse, near);
    }
}

// The largest magnitudes of N FP8 blocks, of each of which a thread holds a unit; their exchanges
// overlap. The 16 lanes of half a warp hold the same blocks, and call this together.
template <uint32_t N> __device__ void fp8_max(float *largest, const float (*values)[UNIT])
{
    const uint32_t lanes = 0xffffu << (threadIdx.x & 16u);
#pragma unroll
    for (uint32_t n = 0; n < N; n++) {
        largest[n] = 0;
#pragma unroll
        for (uint32_t i = 0; i < UNIT; i++)
            largest[n] = fmaxf(largest[n], fabsf(values[n][i]));
    }
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
#pragma unroll
        for (uint32_t n = 0; n < N; n++)
            largest[n] = fmaxf(largest[n], __shfl_xor_sync(lanes, largest[n], step));
}

// `largest`: the largest magnitude of the unit's FP8 block.
inline __device__ void store_fp8(char *row, uint32_t u, uint32_t width, const float (&values)[UNIT],
                                 float largest)
{
    const float scale = fp8_scale(largest);
    float q[UNIT];
    divide(q, values, scale);
    ((uint2 *)row)[u] = make_uint2(fp8_pair(q[0], q[1]) | fp8_pair(q[2], q[3]) << 16,
                                   fp8_pair(q[4], q[5]) | fp8_pair(q[6], q[7]) << 16);
    if (u % (FP8_BLOCK / UNIT) == 0)
        ((float *)(row + width))[u / (FP8_BLOCK / UNIT)] = scale;
}

template <row_format F>
inline __device__ void store_unit(char *row, uint32_t u, uint32_t width,
                                  const float (&values)[UNIT])
{
    if constexpr (F == ROW_FP32) {
        float4 *to = (float4 *)row + 2 * u;
        to[0] = make_float4(values[0], values[1], values[2], values[3]);
        to[1] = make_float4(values[4], values[5], values[6], values[7]);
    } else if constexpr (F == ROW_BF16) {
        ((uint4 *)row)[u] =
            make_uint4(bf16_pair(values[0], values[1]), bf16_pair(values[2], values[3]),
                       bf16_pair(values[4], values[5]), bf16_pair(values[6], values[7]));
    } else {
        float largest;
        fp8_max<1>(&largest, &values);
        store_fp8(row, u, width, values, largest);
    }
}

// ---- single values: any width, any address ------------------------------------------------------

template <typename T> __device__ T load_bytes(const char *from)
{
    T value;
    char bytes[sizeof value];
    for (uint32_t i = 0; i < sizeof value; i++)
        bytes[i] = from[i];
    memcpy(&value, bytes, sizeof value);
    return value;
}

template <typename T> __device__ void store_bytes(char *to, T value)
{
    char bytes[sizeof value];
    memcpy(bytes, &value, sizeof value);
    for (uint32_t i = 0; i < sizeof value; i++)
        to[i] = bytes[i];
}

inline __device__ float load_value(row_format format, const char *row, uint32_t i, uint32_t width)
{
    if (format == ROW_FP32)
        return load_bytes<float>(row + 4 * (size_t)i);
    if (format == ROW_BF16)
        return bf16_to_float(load_bytes<uint16_t>(row + 2 * (size_t)i));
    return __fmul_rn(fp8_pair_to_float((uint8_t)row[i]).x,
                     load_bytes<float>(row + width + 4 * (size_t)(i / FP8_BLOCK)));
}

// The largest of all threads' values, for a block of FP8_BLOCK threads.
inline __device__ float block_max(float value)
{
    __shared__ float largest[FP8_BLOCK / WARP];
    value = warp_max(value);
    __syncthreads(); // the last call's readers are done
    if (threadIdx.x % WARP == 0)
        largest[threadIdx.x / WARP] = value;
    __syncthreads();
    for (uint32_t w = 0; w < FP8_BLOCK / WARP; w++)
        value = fmaxf(value, largest[w]);
    return value;
}

// Thread t of FP8_BLOCK stores value i = first + t; all call it, those past the width with 0.
inline __device__ void store_value(row_format format, char *row, uint32_t i, uint32_t width,
                                   float value)
{
    if (format == ROW_FP8) {
        const float scale = fp8_scale(block_max(fabsf(value)));
        if (i < width)
            row[i] = (char)fp8_from_float(__fdiv_rn(value, scale));
        if (threadIdx.x == 0)
            store_bytes(row + width + 4 * (size_t)(i / FP8_BLOCK), scale);
    } else if (i < width && format == ROW_BF16) {
        store_bytes(row + 2 * (size_t)i, bf16_from_float(value));
    } else if (i < width) {
        store_bytes(row + 4 * (size_t)i, value);
    }
}

// ---- rows ---------------------------------------------------------------------------------------

inline __device__ char *row_at(const row_block &rows, uint64_t row)
{
    return (char *)rows.base + rows.stride * row;
}

// Whether the rows can be read by units.
inline bool in_units(const row_block &rows, uint32_t width)
{
    const bool fp8 = rows.format == ROW_FP8;
    const uint32_t align = fp8 ? 8 : 16;
    return width % (fp8 ? FP8_BLOCK : UNIT) == 0 && (uintptr_t)rows.base % align == 0 &&
           rows.stride % align == 0;
}

// Threads for a row of `units`, so that a thread has about UNITS of them.
inline uint32_t row_threads(uint32_t units)
{
    const uint32_t threads = ((units + UNITS - 1) / UNITS + WARP - 1) / WARP * WARP;
    return threads < WARP ? WARP : threads > ROW_THREADS ? ROW_THREADS : threads;
}

inline __device__ void zero_row(char *row, size_t bytes)
{
    for (size_t i = threadIdx.x; i < bytes; i += blockDim.x)
        row[i] = 0;
}

} // namespace

#endif
