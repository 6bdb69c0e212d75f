// The CUDA kernels behind real/cuda.c, one launcher each: gather.cu, sums.cu, checksum.cu,
// select.cu, dense.cu and gate.cu. Activations are bf16. Every launcher gives the launch's own
// error, asks nothing of memory beyond its natural alignment, and does nothing for a count of 0.
#ifndef REAL_KERNELS_H
#define REAL_KERNELS_H

#include "real/device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t kernel_fill(cudaStream_t stream, const struct tensor_fill *fill);
cudaError_t kernel_rmsnorm(cudaStream_t stream, void *out, const void *in, uint32_t count,
                           uint32_t width);
cudaError_t kernel_select(cudaStream_t stream, const struct selection *selection);
cudaError_t kernel_gather(cudaStream_t stream, const struct row_gather *gather);
cudaError_t kernel_put_meta(cudaStream_t stream, const struct row_meta *meta);
cudaError_t kernel_reduce(cudaStream_t stream, const struct row_sums *sums);
cudaError_t kernel_checksum(cudaStream_t stream, const struct row_checksums *sums);

// Holds a stream until *opened (host memory that the GPU sees) has come to `number`, or the time is
// over.
cudaError_t kernel_gate(cudaStream_t stream, const uint32_t *opened, uint32_t number,
                        uint64_t limit_ns);

// FP8 rows whose scales stand apart, [.., width] and [.., width / 128]: rows index[i] of `out`
// (bf16) become rows index[i] of `values` times their scales, for each i below `count`.
struct fp8_rows {
    void *out;
    const void *values;
    const float *scales;
    const uint32_t *index;
    uint64_t count;
    uint32_t width; // a multiple of 128
};
cudaError_t kernel_widen(cudaStream_t stream, const struct fp8_rows *rows);

// out [rows, width] = silu(gate) * up of `both` [rows, 2 * width], gate first.
cudaError_t kernel_silu_mul(cudaStream_t stream, void *out, const void *both, uint64_t rows,
                            uint32_t width);

#ifdef __cplusplus
}
#endif

#endif
