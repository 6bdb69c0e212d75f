// Checksums of rows.
#include "real/kernels.h"
#include "real/units.cuh"

namespace
{

// The word at `place` of a row: whole where it can be read so, else byte by byte, zeros past the
// row's end.
__device__ uint64_t load_word(const char *row, size_t bytes, size_t place)
{
    const size_t first = place * sizeof(uint64_t);
    const size_t left = bytes - first;
    uint64_t word = 0;
    if (left >= sizeof word && (uintptr_t)(row + first) % sizeof word == 0)
        return *(const uint64_t *)(row + first);
    for (size_t i = 0; i < sizeof word && i < left; i++)
        word |= (uint64_t)(uint8_t)row[first + i] << (8 * i);
    return word;
}

// A warp a row.
__global__ void __launch_bounds__(ROW_THREADS)
    checksum_rows(uint64_t *out, row_block rows, uint64_t count)
{
    const uint64_t row = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    const uint32_t lane = threadIdx.x % WARP;
    unsigned long long sum = 0;
    if (row >= count)
        return;
    for (size_t place = lane; place * sizeof(uint64_t) < rows.stride; place += WARP)
        sum += checksum_word(load_word(row_at(rows, row), rows.stride, place), place);
    for (int step = WARP / 2; step > 0; step /= 2)
        sum += __shfl_xor_sync(EVERY_LANE, sum, step);
    if (lane == 0)
        out[row] = sum;
}

} // namespace

cudaError_t kernel_checksum(cudaStream_t stream, const struct row_checksums *sums)
{
    const uint64_t rows_a_block = ROW_THREADS / WARP;
    if (sums->count == 0)
        return cudaSuccess;
    checksum_rows<<<(uint32_t)((sums->count + rows_a_block - 1) / rows_a_block), ROW_THREADS, 0,
                    stream>>>(sums->out, sums->rows, sums->count);
    return cudaGetLastError();
}
