// Gathers of rows, copied or converted, and the metadata behind them.
#include "real/kernels.h"
#include "real/units.cuh"

namespace
{

// ---- rows ---------------------------------------------------------------------------------------

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
                raw[i] = load_unit<IN>(source, first + i * blockDim.x, width);
#pragma unroll
        for (uint32_t i = 0; i < UNITS; i++)
            if (first + i * blockDim.x < units) {
                float values[UNIT];
                unpack(raw[i], values);
                store_unit<OUT>(to, first + i * blockDim.x, width, values);
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

cudaError_t copy_by_size(cudaStream_t stream, const row_gather &of, size_t bytes)
{
    const uint64_t odd =
        (uintptr_t)of.out.base | (uintptr_t)of.in.base | of.out.stride | of.in.stride | bytes;
    const uint32_t size = odd % 16 == 0 ? 16 : odd % 4 == 0 ? 4 : 1;
    const uint32_t count = (uint32_t)of.count, units = (uint32_t)(bytes / size);
    const uint32_t threads = row_threads(units);
    if (size == 16)
        copy_rows<uint4><<<count, threads, 0, stream>>>(of.out, of.in, of.index, units);
    else if (size == 4)
        copy_rows<uint32_t><<<count, threads, 0, stream>>>(of.out, of.in, of.index, units);
    else
        copy_rows<uint8_t><<<count, threads, 0, stream>>>(of.out, of.in, of.index, units);
    return cudaGetLastError();
}

using convert_kernel = void (*)(row_block, row_block, const uint32_t *, uint32_t);

// [out][in]; rows of one format are copied, never converted.
const convert_kernel converters[3][3] = {
    {nullptr, convert_rows<ROW_FP32, ROW_BF16>, convert_rows<ROW_FP32, ROW_FP8>},
    {convert_rows<ROW_BF16, ROW_FP32>, nullptr, convert_rows<ROW_BF16, ROW_FP8>},
    {convert_rows<ROW_FP8, ROW_FP32>, convert_rows<ROW_FP8, ROW_BF16>, nullptr},
};

// ---- metadata -----------------------------------------------------------------------------------

struct choices {
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
__global__ void put_meta(row_block rows, size_t offset, choices of, uint64_t count)
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

} // namespace

cudaError_t kernel_gather(cudaStream_t stream, const struct row_gather *gather)
{
    const struct row_block &out = gather->out, &in = gather->in;
    const uint32_t width = gather->width;
    if (gather->count == 0)
        return cudaSuccess;
    if (out.format == in.format)
        return copy_by_size(stream, *gather,
                            out.stride == in.stride ? out.stride : row_bytes(out.format, width));
    if (in_units(out, width) && in_units(in, width))
        converters[out.format]
                  [in.format]<<<(uint32_t)gather->count, row_threads(width / UNIT), 0, stream>>>(
                      out, in, gather->index, width);
    else
        convert_values<<<(uint32_t)gather->count, FP8_BLOCK, 0, stream>>>(out, in, gather->index,
                                                                          width);
    return cudaGetLastError();
}

cudaError_t kernel_put_meta(cudaStream_t stream, const struct row_meta *meta)
{
    const uint64_t words = meta->count * (2 * (uint64_t)meta->topk + 1);
    if (meta->count == 0)
        return cudaSuccess;
    put_meta<<<(uint32_t)((words + ROW_THREADS - 1) / ROW_THREADS), ROW_THREADS, 0, stream>>>(
        meta->rows, meta->offset, choices{meta->ids, meta->weights, meta->topk, meta->index},
        meta->count);
    return cudaGetLastError();
}
