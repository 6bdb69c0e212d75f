// Kernels of dense matrices: tensors, the norm, the activation between an expert's products.
#include "real/kernels.h"
#include "real/units.cuh"

namespace
{

__global__ void fill_values(uint16_t *values, uint64_t count, uint64_t seed, uint64_t tensor,
                            float scale)
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
            store_unit<ROW_BF16>((char *)(values + at), 0, 0, made);
        } else {
            for (uint32_t i = 0; i < UNIT && at + i < count; i++)
                values[at + i] = bf16_from_float(made[i]);
        }
    }
}

// The sum of all threads' values, in every thread; at most ROW_THREADS, whole warps.
__device__ float block_sum(float value)
{
    __shared__ float sums[ROW_THREADS / WARP];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0;
    for (uint32_t w = 0; w < blockDim.x / WARP; w++)
        sum += sums[w];
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
        store_unit<ROW_BF16>((char *)to, u, width, values);
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
        unpack(load_unit<ROW_BF16>((const char *)gate, u, width), g);
        unpack(load_unit<ROW_BF16>((const char *)up, u, width), values);
        for (uint32_t v = 0; v < UNIT; v++)
            values[v] = silu_mul_value(g[v], values[v]);
        store_unit<ROW_BF16>((char *)to, u, width, values);
    }
    for (uint32_t i = units * UNIT + threadIdx.x; i < width; i += blockDim.x)
        to[i] = bf16_from_float(silu_mul_value(bf16_to_float(gate[i]), bf16_to_float(up[i])));
}

bool aligned(const void *a, const void *b)
{
    return ((uintptr_t)a | (uintptr_t)b) % 16 == 0;
}

} // namespace

cudaError_t kernel_fill(cudaStream_t stream, const struct tensor_fill *of)
{
    const uint64_t blocks = (of->count + ROW_THREADS * UNIT - 1) / (ROW_THREADS * UNIT);
    if (of->count == 0)
        return cudaSuccess;
    fill_values<<<(uint32_t)(blocks < 65536 ? blocks : 65536), ROW_THREADS, 0, stream>>>(
        (uint16_t *)of->values, of->count, of->seed, of->tensor, of->scale);
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

cudaError_t kernel_silu_mul(cudaStream_t stream, void *out, const void *both, uint64_t rows,
                            uint32_t width)
{
    if (rows == 0)
        return cudaSuccess;
    silu_mul<<<(uint32_t)rows, ROW_THREADS, 0, stream>>>(
        (uint16_t *)out, (const uint16_t *)both, width, width % UNIT == 0 && aligned(out, both));
    return cudaGetLastError();
}
