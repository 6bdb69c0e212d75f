// Weighted sums of rows.
#include "real/kernels.h"
#include "real/units.cuh"

namespace
{

// Terms of the sums: row_sums' lists.
struct terms {
    const uint64_t *first;
    const uint32_t *source;
    const float *weight;
    bool add;
};

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
        raw[i] = load_unit<F>(row, min(first + i * blockDim.x, last), width);
}

// What the terms of a row start from: what `out` holds, or zeros.
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
    float largest[UNITS] = {};
    if constexpr (F == ROW_FP8)
        fp8_max<UNITS>(largest, values);
#pragma unroll
    for (uint32_t i = 0; i < UNITS; i++) {
        const uint32_t u = first + i * blockDim.x;
        if (u >= units)
            continue;
        if constexpr (F == ROW_FP8)
            store_fp8(row, u, width, values[i], largest[i]);
        else
            store_unit<F>(row, u, width, values[i]);
    }
}

// Two terms are loaded at a time, so that even a sum of two rows has enough bytes under way.
template <row_format OUT, row_format IN>
__global__ void __launch_bounds__(ROW_THREADS, 2)
    sum_rows(row_block out, row_block in, terms of, uint32_t width)
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

__global__ void sum_values(row_block out, row_block in, terms of, uint32_t width)
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

using sum_kernel = void (*)(row_block, row_block, terms, uint32_t);

const sum_kernel summers[3][3] = {
    {sum_rows<ROW_FP32, ROW_FP32>, sum_rows<ROW_FP32, ROW_BF16>, sum_rows<ROW_FP32, ROW_FP8>},
    {sum_rows<ROW_BF16, ROW_FP32>, sum_rows<ROW_BF16, ROW_BF16>, sum_rows<ROW_BF16, ROW_FP8>},
    {sum_rows<ROW_FP8, ROW_FP32>, sum_rows<ROW_FP8, ROW_BF16>, sum_rows<ROW_FP8, ROW_FP8>},
};

} // namespace

cudaError_t kernel_reduce(cudaStream_t stream, const struct row_sums *sums)
{
    const struct row_block &out = sums->out, &in = sums->in;
    const terms of = {sums->first, sums->source, sums->weight, sums->add};
    const uint32_t count = (uint32_t)sums->count, width = sums->width;
    if (sums->count == 0)
        return cudaSuccess;
    if (in_units(out, width) && in_units(in, width))
        summers[out.format][in.format]<<<count, row_threads(width / UNIT), 0, stream>>>(out, in, of,
                                                                                        width);
    else
        sum_values<<<count, FP8_BLOCK, 0, stream>>>(out, in, of, width);
    return cudaGetLastError();
}
