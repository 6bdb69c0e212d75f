// FP8 rows whose scales stand apart, as bf16: a block per row, 8 values per thread.
#include "real/kernels.h"
#include "real/units.cuh"

namespace
{

__global__ void __launch_bounds__(ROW_THREADS) widen_rows(fp8_rows of)
{
    const uint64_t row = of.index[blockIdx.x];
    const uint2 *values = (const uint2 *)((const char *)of.values + row * of.width);
    const float *scales = of.scales + row * (of.width / FP8_BLOCK);
    uint4 *out = (uint4 *)((char *)of.out + row * of.width * sizeof(uint16_t));
    for (uint32_t u = threadIdx.x; u < of.width / UNIT; u += blockDim.x) {
        const uint2 raw = values[u];
        const float scale = scales[u / (FP8_BLOCK / UNIT)];
        uint32_t pairs[UNIT / 2];
#pragma unroll
        for (uint32_t i = 0; i < UNIT / 2; i++) {
            const uint32_t word = i < 2 ? raw.x : raw.y;
            const float2 pair = fp8_pair_to_float((uint16_t)(word >> (i % 2 * 16)));
            pairs[i] = bf16_pair(__fmul_rn(pair.x, scale), __fmul_rn(pair.y, scale));
        }
        out[u] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
}

} // namespace

cudaError_t kernel_widen(cudaStream_t stream, const struct fp8_rows *rows)
{
    if (rows->count == 0)
        return cudaSuccess;
    widen_rows<<<(uint32_t)rows->count, row_threads(rows->width / UNIT), 0, stream>>>(*rows);
    return cudaGetLastError();
}
