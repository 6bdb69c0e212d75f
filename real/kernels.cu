// CUDA kernels of the six steps. The row kernels (gather, reduce) move memory and nothing else: one
// block a row, 16 bytes of bf16 a thread and access, several accesses in flight before the first is
// used. A row that cannot be read so (odd width, odd address) takes a kernel of single values.
//
// Conversions agree bit by bit with real/values.h, and sums are rounded after each product and each
// addition as C does without contraction, so that host and device differ only where order or exp
// does.
#include "real/kernels.h"

#include "real/values.h"

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

__device__ uint32_t bf16_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

__device__ float bf16_low(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

__device__ float bf16_high(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

// Two E4M3 values in the low 16 bits. Exponent and mantissa, shifted to their places in an fp16,
// read as the value times 2^-8 (subnormals too), and the product with 2^8 is exact.
__device__ float2 fp8_pair_to_float(uint32_t pair)
{
    const uint32_t bits =
        (pair & 0x7fu) << 7 | (pair & 0x80u) << 8 | (pair & 0x7f00u) << 15 | (pair & 0x8000u) << 16;
    __half2 halves;
    memcpy(&halves, &bits, sizeof halves);
    return __half22float2(__hmul2(halves, __float2half2_rn(256.0f)));
}

__device__ uint32_t fp8_pair(float low, float high)
{
#if __CUDA_ARCH__ >= 890
    return __nv_cvt_float2_to_fp8x2(make_float2(low, high), __NV_SATFINITE, __NV_E4M3);
#else
    return fp8_from_float(low) | (uint32_t)fp8_from_float(high) << 8;
#endif
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

template <row_format F> __device__ unit<F> load(const char *row, uint32_t u, uint32_t width)
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

__device__ void unpack(const unit<ROW_FP32> &raw, float (&values)[UNIT])
{
    memcpy(values, raw.half, sizeof values);
}

__device__ void unpack(const unit<ROW_BF16> &raw, float (&values)[UNIT])
{
    const uint32_t pairs[] = {raw.pairs.x, raw.pairs.y, raw.pairs.z, raw.pairs.w};
#pragma unroll
    for (uint32_t i = 0; i < UNIT / 2; i++) {
        values[2 * i] = bf16_low(pairs[i]);
        values[2 * i + 1] = bf16_high(pairs[i]);
    }
}

__device__ void unpack(const unit<ROW_FP8> &raw, float (&values)[UNIT])
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
__device__ void divide(float (&q)[UNIT], const float (&values)[UNIT], float scale)
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
template <uint32_t N> __device__ void fp8_most(float *most, const float (*values)[UNIT])
{
    const uint32_t lanes = 0xffffu << (threadIdx.x & 16u);
#pragma unroll
    for (uint32_t n = 0; n < N; n++) {
        most[n] = 0;
#pragma unroll
        for (uint32_t i = 0; i < UNIT; i++)
            most[n] = fmaxf(most[n], fabsf(values[n][i]));
    }
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
#pragma unroll
        for (uint32_t n = 0; n < N; n++)
            most[n] = fmaxf(most[n], __shfl_xor_sync(lanes, most[n], step));
}

// `most`: the largest magnitude of the unit's FP8 block.
__device__ void store_fp8(char *row, uint32_t u, uint32_t width, const float (&values)[UNIT],
                          float most)
{
    const float scale = fp8_scale(most);
    float q[UNIT];
    divide(q, values, scale);
    ((uint2 *)row)[u] = make_uint2(fp8_pair(q[0], q[1]) | fp8_pair(q[2], q[3]) << 16,
                                   fp8_pair(q[4], q[5]) | fp8_pair(q[6], q[7]) << 16);
    if (u % (FP8_BLOCK / UNIT) == 0)
        ((float *)(row + width))[u / (FP8_BLOCK / UNIT)] = scale;
}

template <row_format F>
__device__ void store(char *row, uint32_t u, uint32_t width, const float (&values)[UNIT])
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
        float most;
        fp8_most<1>(&most, &values);
        store_fp8(row, u, width, values, most);
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

__device__ float load_value(row_format format, const char *row, uint32_t i, uint32_t width)
{
    if (format == ROW_FP32)
        return load_bytes<float>(row + 4 * (size_t)i);
    if (format == ROW_BF16)
        return bf16_to_float(load_bytes<uint16_t>(row + 2 * (size_t)i));
    return __fmul_rn(fp8_pair_to_float((uint8_t)row[i]).x,
                     load_bytes<float>(row + width + 4 * (size_t)(i / FP8_BLOCK)));
}

// The largest of all threads' values, for a block of FP8_BLOCK threads.
__device__ float block_most(float value)
{
    __shared__ float warp_most[FP8_BLOCK / WARP];
    for (int step = WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, step));
    __syncthreads(); // the last call's readers are done
    if (threadIdx.x % WARP == 0)
        warp_most[threadIdx.x / WARP] = value;
    __syncthreads();
    for (uint32_t w = 0; w < FP8_BLOCK / WARP; w++)
        value = fmaxf(value, warp_most[w]);
    return value;
}

// Thread t of FP8_BLOCK stores value i = first + t; all call it, those past the width with 0.
__device__ void store_value(row_format format, char *row, uint32_t i, uint32_t width, float value)
{
    if (format == ROW_FP8) {
        const float scale = fp8_scale(block_most(fabsf(value)));
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

__host__ __device__ size_t row_bytes(row_format format, uint32_t width)
{
    return format == ROW_FP32   ? 4 * (size_t)width
           : format == ROW_BF16 ? 2 * (size_t)width
                                : width + 4 * (size_t)((width + FP8_BLOCK - 1) / FP8_BLOCK);
}

__device__ char *row_at(const row_block &rows, uint64_t row)
{
    return (char *)rows.base + rows.stride * row;
}

// Whether the rows can be read by units.
bool in_units(const row_block &rows, uint32_t width)
{
    const bool fp8 = rows.format == ROW_FP8;
    const uint32_t align = fp8 ? 8 : 16;
    return width % (fp8 ? FP8_BLOCK : UNIT) == 0 && (uintptr_t)rows.base % align == 0 &&
           rows.stride % align == 0;
}

// Threads for a row of `units`, so that a thread has about UNITS of them.
uint32_t row_threads(uint32_t units)
{
    const uint32_t threads = ((units + UNITS - 1) / UNITS + WARP - 1) / WARP * WARP;
    return threads < WARP ? WARP : threads > ROW_THREADS ? ROW_THREADS : threads;
}

__device__ void zero_row(char *row, size_t bytes)
{
    for (size_t i = threadIdx.x; i < bytes; i += blockDim.x)
        row[i] = 0;
}

// Copies rows of `units` things of type T.
template <typename T>
__global__ void __launch_bounds__(ROW_THREADS)
    copy_rows(row_block out, row_block in, const uint32_t *index, uint32_t units)
{
    const uint64_t row = blockIdx.x, from = index ? index[row] : row;
    T *to = (T *)row_at(out, row);
    if (index && from == NO_ROW) {
        zero_row((char *)to, units * sizeof(T));
        return;
    }
    const T *source = (const T *)row_at(in, from);
    for (uint32_t first = threadIdx.x; first < units; first += UNITS * blockDim.x) {
        T raw[UNITS];
#pragma unroll
        for (uint32_t i = 0; i < UNITS; i++)
            if (first + i * blockDim.x < units)
                raw[i] = source[first + i * blockDim.x];
#pragma unroll
        for (uint32_t i = 0; i < UNITS; i++)
            if (first + i * blockDim.x < units)
                to[first + i * blockDim.x] = raw[i];
    }
}

template <row_format OUT, row_format IN>
__global__ void __launch_bounds__(ROW_THREADS)
    convert_rows(row_block out, row_block in, const uint32_t *index, uint32_t width)
{
    const uint64_t row = blockIdx.x, from = index ? index[row] : row;
    char *to = row_at(out, row);
    if (index && from == NO_ROW) {
        zero_row(to, row_bytes(OUT, width));
        return;
    }
    const char *source = row_at(in, from);
    const uint32_t units = width / UNIT;
    for (uint32_t first = threadIdx.x; first < units; first += UNITS * blockDim.x) {
        unit<IN> raw[UNITS];
#pragma unroll
        for (uint32_t i = 0; i < UNITS; i++)
            if (first + i * blockDim.x < units)
                raw[i] = load<IN>(source, first + i * blockDim.x, width);
#pragma unroll
        for (uint32_t i = 0; i < UNITS; i++)
            if (first + i * blockDim.x < units) {
                float values[UNIT];
                unpack(raw[i], values);
                store<OUT>(to, first + i * blockDim.x, width, values);
            }
    }
}

__global__ void convert_values(row_block out, row_block in, const uint32_t *index, uint32_t width)
{
    const uint64_t row = blockIdx.x, from = index ? index[row] : row;
    char *to = row_at(out, row);
    if (index && from == NO_ROW) {
        zero_row(to, row_bytes(out.format, width));
        return;
    }
    const char *source = row_at(in, from);
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        const uint32_t i = first + threadIdx.x;
        const float value = i < width ? load_value(in.format, source, i, width) : 0;
        store_value(out.format, to, i, width, value);
    }
}

cudaError_t copy(cudaStream_t stream, const row_block &out, const row_block &in,
                 const uint32_t *index, uint64_t count, size_t bytes)
{
    const uint64_t odd = (uintptr_t)out.base | (uintptr_t)in.base | out.stride | in.stride | bytes;
    const uint32_t size = odd % 16 == 0 ? 16 : odd % 4 == 0 ? 4 : 1;
    const uint32_t units = (uint32_t)(bytes / size), threads = row_threads(units);
    if (size == 16)
        copy_rows<uint4><<<(uint32_t)count, threads, 0, stream>>>(out, in, index, units);
    else if (size == 4)
        copy_rows<uint32_t><<<(uint32_t)count, threads, 0, stream>>>(out, in, index, units);
    else
        copy_rows<uint8_t><<<(uint32_t)count, threads, 0, stream>>>(out, in, index, units);
    return cudaGetLastError();
}

using convert_kernel = void (*)(row_block, row_block, const uint32_t *, uint32_t);

// [out][in]; rows of one format are copied, never converted.
const convert_kernel converters[3][3] = {
    {nullptr, convert_rows<ROW_FP32, ROW_BF16>, convert_rows<ROW_FP32, ROW_FP8>},
    {convert_rows<ROW_BF16, ROW_FP32>, nullptr, convert_rows<ROW_BF16, ROW_FP8>},
    {convert_rows<ROW_FP8, ROW_FP32>, convert_rows<ROW_FP8, ROW_BF16>, nullptr},
};

// ---- sums ---------------------------------------------------------------------------------------

template <row_format F>
__device__ void add_term(float (&sum)[UNITS][UNIT], const unit<F> (&raw)[UNITS], float weight)
{
#pragma unroll
    for (uint32_t i = 0; i < UNITS; i++) {
        float values[UNIT];
        unpack(raw[i], values);
#pragma unroll
        for (uint32_t v = 0; v < UNIT; v++)
            sum[i][v] = __fadd_rn(sum[i][v], __fmul_rn(weight, values[v]));
    }
}

// Units first, first + blockDim.x, ... of a row; those past its end repeat the last one, which
// costs nothing (it is in the cache) and keeps every load free of branches.
template <row_format F>
__device__ void load_units(unit<F> (&raw)[UNITS], const char *row, uint32_t first, uint32_t width)
{
    const uint32_t last = width / UNIT - 1;
#pragma unroll
    for (uint32_t i = 0; i < UNITS; i++)
        raw[i] = load<F>(row, min(first + i * blockDim.x, last), width);
}

// What the sums of a row start from: what `out` holds, or zeros.
template <row_format F>
__device__ void start_sums(float (&sum)[UNITS][UNIT], const char *row, uint32_t first,
                           uint32_t width, bool add)
{
    unit<F> raw[UNITS] = {};
    if (add)
        load_units<F>(raw, row, first, width);
#pragma unroll
    for (uint32_t i = 0; i < UNITS; i++)
        unpack(raw[i], sum[i]);
}

// The counterpart of load_units; what stands for units past the end is left out.
template <row_format F>
__device__ void store_units(char *row, uint32_t first, uint32_t width,
                            const float (&values)[UNITS][UNIT])
{
    const uint32_t units = width / UNIT;
    float most[UNITS] = {};
    if constexpr (F == ROW_FP8)
        fp8_most<UNITS>(most, values);
#pragma unroll
    for (uint32_t i = 0; i < UNITS; i++) {
        const uint32_t u = first + i * blockDim.x;
        if (u >= units)
            continue;
        if constexpr (F == ROW_FP8)
            store_fp8(row, u, width, values[i], most[i]);
        else
            store<F>(row, u, width, values[i]);
    }
}

// Two terms are loaded at a time, so that even a sum of two rows has enough bytes under way.
template <row_format OUT, row_format IN>
__global__ void __launch_bounds__(ROW_THREADS, 2)
    sum_rows(row_block out, row_block in, sums of, uint32_t width)
{
    const uint64_t row = blockIdx.x, begin = of.first[row], end = of.first[row + 1];
    const uint32_t units = width / UNIT;
    char *to = row_at(out, row);
    for (uint32_t first = threadIdx.x; first < units; first += UNITS * blockDim.x) {
        float sum[UNITS][UNIT];
        start_sums<OUT>(sum, to, first, width, of.add);
        uint64_t j = begin;
        for (; j + 2 <= end; j += 2) {
            unit<IN> raw[2][UNITS];
            const float w0 = of.weight ? of.weight[j] : 1, w1 = of.weight ? of.weight[j + 1] : 1;
            load_units<IN>(raw[0], row_at(in, of.source[j]), first, width);
            load_units<IN>(raw[1], row_at(in, of.source[j + 1]), first, width);
            add_term<IN>(sum, raw[0], w0);
            add_term<IN>(sum, raw[1], w1);
        }
        if (j < end) {
            unit<IN> raw[UNITS];
            load_units<IN>(raw, row_at(in, of.source[j]), first, width);
            add_term<IN>(sum, raw, of.weight ? of.weight[j] : 1);
        }
        store_units<OUT>(to, first, width, sum);
    }
}

__global__ void sum_values(row_block out, row_block in, sums of, uint32_t width)
{
    const uint64_t row = blockIdx.x;
    char *to = row_at(out, row);
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        const uint32_t i = first + threadIdx.x;
        float sum = 0;
        if (of.add && i < width)
            sum = load_value(out.format, to, i, width);
        for (uint64_t j = of.first[row]; i < width && j < of.first[row + 1]; j++) {
            const float value = load_value(in.format, row_at(in, of.source[j]), i, width);
            sum = __fadd_rn(sum, __fmul_rn(of.weight ? of.weight[j] : 1, value));
        }
        store_value(out.format, to, i, width, sum);
    }
}

using sum_kernel = void (*)(row_block, row_block, sums, uint32_t);

const sum_kernel summers[3][3] = {
    {sum_rows<ROW_FP32, ROW_FP32>, sum_rows<ROW_FP32, ROW_BF16>, sum_rows<ROW_FP32, ROW_FP8>},
    {sum_rows<ROW_BF16, ROW_FP32>, sum_rows<ROW_BF16, ROW_BF16>, sum_rows<ROW_BF16, ROW_FP8>},
    {sum_rows<ROW_FP8, ROW_FP32>, sum_rows<ROW_FP8, ROW_BF16>, sum_rows<ROW_FP8, ROW_FP8>},
};

// ---- metadata -----------------------------------------------------------------------------------

struct meta {
    const uint16_t *ids;
    const float *weights;
    uint32_t topk;
    const uint32_t *index;
};

__device__ void put_word(char *to, uint32_t word)
{
    if ((uintptr_t)to % 4 == 0)
        *(uint32_t *)to = word;
    else
        store_bytes(to, word);
}

// One thread a word: ids, weights, the token; an unused slot has experts -1 of weight 0.
__global__ void put_meta(row_block rows, size_t offset, meta of, uint64_t count)
{
    const uint32_t words = 2 * of.topk + 1;
    const uint64_t at = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x, row = at / words;
    if (row >= count)
        return;
    const uint32_t word = (uint32_t)(at % words), token = of.index[row];
    const uint64_t choice = (uint64_t)token * of.topk + word % (of.topk ? of.topk : 1);
    uint32_t value = token;
    if (word < of.topk)
        value = token == NO_ROW ? NO_ROW : of.ids[choice];
    else if (word < 2 * of.topk)
        value = token == NO_ROW ? 0 : __float_as_uint(of.weights[choice]);
    put_word(row_at(rows, row) + offset + 4 * (size_t)word, value);
}

// ---- fill, norm, activation ---------------------------------------------------------------------

__global__ void fill(uint16_t *values, uint64_t count, uint64_t seed, uint64_t tensor, float scale)
{
    const uint64_t step = (uint64_t)gridDim.x * blockDim.x * UNIT;
    const bool aligned = (uintptr_t)values % 16 == 0;
    for (uint64_t at = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * UNIT; at < count;
         at += step) {
        float made[UNIT];
#pragma unroll
        for (uint32_t i = 0; i < UNIT; i++)
            made[i] = __fmul_rn(scale, value_at(seed, tensor, at + i));
        if (aligned && at + UNIT <= count) {
            store<ROW_BF16>((char *)(values + at), 0, 0, made);
        } else {
            for (uint32_t i = 0; i < UNIT && at + i < count; i++)
                values[at + i] = bf16_from_float(made[i]);
        }
    }
}

// The sum of all threads' values, in every thread; at most ROW_THREADS, whole warps.
__device__ float block_sum(float value)
{
    __shared__ float warp_sum[ROW_THREADS / WARP];
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(EVERY_LANE, value, step);
    if (threadIdx.x % WARP == 0)
        warp_sum[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0;
    for (uint32_t w = 0; w < blockDim.x / WARP; w++)
        sum += warp_sum[w];
    return sum;
}

// `by_unit`: rows start at 16 bytes and hold whole units; the rest of a row is single values.
__global__ void rmsnorm(uint16_t *out, const uint16_t *in, uint32_t width, bool by_unit)
{
    const uint16_t *from = in + (uint64_t)blockIdx.x * width;
    uint16_t *to = out + (uint64_t)blockIdx.x * width;
    const uint32_t units = by_unit ? width / UNIT : 0;
    float squares = 0;
    for (uint32_t u = threadIdx.x; u < units; u += blockDim.x) {
        float values[UNIT];
        unpack(unit<ROW_BF16>{((const uint4 *)from)[u]}, values);
        for (uint32_t v = 0; v < UNIT; v++)
            squares += values[v] * values[v];
    }
    for (uint32_t i = units * UNIT + threadIdx.x; i < width; i += blockDim.x)
        squares += bf16_to_float(from[i]) * bf16_to_float(from[i]);

    const float factor = 1.0f / sqrtf(block_sum(squares) / (float)width + 1e-6f);
    for (uint32_t u = threadIdx.x; u < units; u += blockDim.x) {
        float values[UNIT];
        unpack(unit<ROW_BF16>{((const uint4 *)from)[u]}, values);
        for (uint32_t v = 0; v < UNIT; v++)
            values[v] *= factor;
        store<ROW_BF16>((char *)to, u, width, values);
    }
    for (uint32_t i = units * UNIT + threadIdx.x; i < width; i += blockDim.x)
        to[i] = bf16_from_float(bf16_to_float(from[i]) * factor);
}

__device__ float silu_mul_value(float gate, float up)
{
    return gate / (1.0f + expf(-gate)) * up;
}

__global__ void silu_mul(uint16_t *out, const uint16_t *both, uint32_t width, bool by_unit)
{
    const uint16_t *gate = both + (uint64_t)blockIdx.x * 2 * width, *up = gate + width;
    uint16_t *to = out + (uint64_t)blockIdx.x * width;
    const uint32_t units = by_unit ? width / UNIT : 0;
    for (uint32_t u = threadIdx.x; u < units; u += blockDim.x) {
        float g[UNIT], values[UNIT];
        unpack(load<ROW_BF16>((const char *)gate, u, width), g);
        unpack(load<ROW_BF16>((const char *)up, u, width), values);
        for (uint32_t v = 0; v < UNIT; v++)
            values[v] = silu_mul_value(g[v], values[v]);
        store<ROW_BF16>((char *)to, u, width, values);
    }
    for (uint32_t i = units * UNIT + threadIdx.x; i < width; i += blockDim.x)
        to[i] = bf16_from_float(silu_mul_value(bf16_to_float(gate[i]), bf16_to_float(up[i])));
}

// ---- selection: a warp a token, its scores in shared memory -------------------------------------

__device__ float warp_sum(float value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(EVERY_LANE, value, step);
    return value;
}

__device__ float warp_most(float value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, step));
    return value;
}

// The first of the largest, the same in every lane; it is taken out of further rounds.
__device__ uint32_t take_largest(float *values, uint32_t count, uint32_t lane)
{
    float most = -INFINITY;
    uint32_t best = count - 1; // stands when all are NaN
    for (uint32_t i = lane; i < count; i += WARP)
        if (values[i] > most || (values[i] == most && i < best)) {
            most = values[i];
            best = i;
        }
    for (int step = WARP / 2; step > 0; step /= 2) {
        const float other = __shfl_xor_sync(EVERY_LANE, most, step);
        const uint32_t other_best = __shfl_xor_sync(EVERY_LANE, best, step);
        if (other > most || (other == most && other_best < best)) {
            most = other;
            best = other_best;
        }
    }
    __syncwarp();
    if (lane == 0)
        values[best] = -INFINITY;
    __syncwarp();
    return best;
}

__device__ void score_experts(float *scores, const float *logits, const select_shape &shape,
                              uint32_t lane)
{
    float most = -INFINITY, sum = 0;
    if (shape.score == SCORE_SIGMOID) {
        for (uint32_t e = lane; e < shape.experts; e += WARP)
            scores[e] = 1.0f / (1.0f + expf(-logits[e]));
        return;
    }
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        most = fmaxf(most, logits[e]);
    most = warp_most(most);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        sum += scores[e] = expf(logits[e] - most);
    sum = warp_sum(sum);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        scores[e] /= sum;
}

// The sum of the two largest values, or the only one.
__device__ float group_worth(const float *values, uint32_t size, uint32_t lane)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t i = lane; i < size; i += WARP) {
        second = fmaxf(second, fminf(first, values[i]));
        first = fmaxf(first, values[i]);
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
        const float other_first = __shfl_xor_sync(EVERY_LANE, first, step);
        const float other_second = __shfl_xor_sync(EVERY_LANE, second, step);
        second = fmaxf(fmaxf(second, other_second), fminf(first, other_first));
        first = fmaxf(first, other_first);
    }
    return size > 1 ? first + second : first;
}

// Takes the experts of all but the topk_groups most worthy groups out of the choice.
__device__ void limit_groups(float *values, float *worth, const select_shape &shape, uint32_t lane)
{
    const uint32_t size = shape.experts / shape.groups;
    for (uint32_t g = 0; g < shape.groups; g++) {
        const float worth_here = group_worth(values + (size_t)g * size, size, lane);
        if (lane == 0)
            worth[g] = worth_here;
    }
    __syncwarp();
    // take_largest leaves -inf on what it took, which no group that can be chosen is worth.
    for (uint32_t round = 0; round < shape.topk_groups; round++)
        take_largest(worth, shape.groups, lane);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        if (worth[e / size] != -INFINITY)
            values[e] = -INFINITY;
    __syncwarp();
}

__device__ void weigh(float *weights, const select_shape &shape, uint32_t lane)
{
    float sum = 0;
    for (uint32_t k = 0; k < shape.topk; k++)
        sum += weights[k];
    const float factor = shape.normalise ? shape.scaling / sum : shape.scaling;
    __syncwarp(); // every lane has read what the loop below overwrites
    for (uint32_t k = lane; k < shape.topk; k += WARP)
        weights[k] *= factor;
}

__host__ __device__ uint32_t select_floats(const select_shape &shape)
{
    return 2 * shape.experts + shape.groups;
}

__global__ void select_experts(uint16_t *ids, float *weights, const float *logits,
                               const float *bias, uint32_t count, select_shape shape)
{
    extern __shared__ float shared[];
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t token = blockIdx.x * (blockDim.x / WARP) + warp;
    if (token >= count)
        return;
    float *scores = shared + warp * select_floats(shape), *values = scores + shape.experts;
    score_experts(scores, logits + (uint64_t)token * shape.experts, shape, lane);
    for (uint32_t e = lane; e < shape.experts; e += WARP)
        values[e] = bias ? scores[e] + bias[e] : scores[e];
    __syncwarp();
    if (shape.groups > 1 && shape.topk_groups < shape.groups)
        limit_groups(values, values + shape.experts, shape, lane);
    uint16_t *token_ids = ids + (uint64_t)token * shape.topk;
    float *token_weights = weights + (uint64_t)token * shape.topk;
    for (uint32_t k = 0; k < shape.topk; k++) {
        const uint32_t id = take_largest(values, shape.experts, lane);
        if (lane == 0) {
            token_ids[k] = (uint16_t)id;
            token_weights[k] = scores[id];
        }
    }
    __syncwarp();
    weigh(token_weights, shape, lane);
}

bool aligned(const void *a, const void *b)
{
    return ((uintptr_t)a | (uintptr_t)b) % 16 == 0;
}

} // namespace

// ---- launchers ----------------------------------------------------------------------------------

extern "C" {

cudaError_t kernel_fill(cudaStream_t stream, void *values, uint64_t count, uint64_t seed,
                        uint64_t tensor, float scale)
{
    const uint64_t blocks = (count + ROW_THREADS * UNIT - 1) / (ROW_THREADS * UNIT);
    if (count == 0)
        return cudaSuccess;
    fill<<<(uint32_t)(blocks < 65536 ? blocks : 65536), ROW_THREADS, 0, stream>>>(
        (uint16_t *)values, count, seed, tensor, scale);
    return cudaGetLastError();
}

cudaError_t kernel_rmsnorm(cudaStream_t stream, void *out, const void *in, uint32_t count,
                           uint32_t width)
{
    if (count == 0)
        return cudaSuccess;
    rmsnorm<<<count, ROW_THREADS, 0, stream>>>((uint16_t *)out, (const uint16_t *)in, width,
                                               width % UNIT == 0 && aligned(out, in));
    return cudaGetLastError();
}

cudaError_t kernel_select(cudaStream_t stream, uint16_t *ids, float *weights, const float *logits,
                          const float *bias, uint32_t count, const struct select_shape *shape)
{
    // 48 KiB of shared memory hold the largest shape (MOE_MAX_EXPERTS experts and groups).
    const uint32_t bytes = 4 * select_floats(*shape), fit = 48 * 1024 / bytes;
    const uint32_t warps = fit < 1 ? 1 : fit > 4 ? 4 : fit;
    if (count == 0)
        return cudaSuccess;
    select_experts<<<(count + warps - 1) / warps, warps * WARP, warps * bytes, stream>>>(
        ids, weights, logits, bias, count, *shape);
    return cudaGetLastError();
}

cudaError_t kernel_gather(cudaStream_t stream, struct row_block out, struct row_block in,
                          const uint32_t *index, uint64_t count, uint32_t width)
{
    if (count == 0)
        return cudaSuccess;
    if (out.format == in.format)
        return copy(stream, out, in, index, count,
                    out.stride == in.stride ? out.stride : row_bytes(out.format, width));
    if (in_units(out, width) && in_units(in, width))
        converters[out.format]
                  [in.format]<<<(uint32_t)count, row_threads(width / UNIT), 0, stream>>>(
                      out, in, index, width);
    else
        convert_values<<<(uint32_t)count, FP8_BLOCK, 0, stream>>>(out, in, index, width);
    return cudaGetLastError();
}

cudaError_t kernel_put_meta(cudaStream_t stream, struct row_block rows, size_t offset,
                            const uint16_t *ids, const float *weights, uint32_t topk,
                            const uint32_t *index, uint64_t count)
{
    const uint64_t words = count * (2 * (uint64_t)topk + 1);
    if (count == 0)
        return cudaSuccess;
    put_meta<<<(uint32_t)((words + ROW_THREADS - 1) / ROW_THREADS), ROW_THREADS, 0, stream>>>(
        rows, offset, meta{ids, weights, topk, index}, count);
    return cudaGetLastError();
}

cudaError_t kernel_reduce(cudaStream_t stream, struct row_block out, struct row_block in,
                          const struct sums *sums, uint64_t count, uint32_t width)
{
    if (count == 0)
        return cudaSuccess;
    if (in_units(out, width) && in_units(in, width))
        summers[out.format][in.format]<<<(uint32_t)count, row_threads(width / UNIT), 0, stream>>>(
            out, in, *sums, width);
    else
        sum_values<<<(uint32_t)count, FP8_BLOCK, 0, stream>>>(out, in, *sums, width);
    return cudaGetLastError();
}

cudaError_t kernel_silu_mul(cudaStream_t stream, void *out, const void *both, uint64_t rows,
                            uint32_t width)
{
    if (rows == 0)
        return cudaSuccess;
    silu_mul<<<(uint32_t)rows, ROW_THREADS, 0, stream>>>(
        (uint16_t *)out, (const uint16_t *)both, width, width % UNIT == 0 && aligned(out, both));
    return cudaGetLastError();
}

} // extern "C"
