// The CUDA kernels behind real/cuda.c, one launcher each. Activations are bf16. Every launcher
// gives the launch's own error, asks nothing of memory beyond its natural alignment, and does
// nothing for a count of 0.
#ifndef REAL_KERNELS_H
#define REAL_KERNELS_H

#include "real/device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t kernel_fill(cudaStream_t stream, void *values, uint64_t count, uint64_t seed,
                        uint64_t tensor, float scale);
cudaError_t kernel_rmsnorm(cudaStream_t stream, void *out, const void *in, uint32_t count,
                           uint32_t width);
cudaError_t kernel_select(cudaStream_t stream, uint16_t *ids, float *weights, const float *logits,
                          const float *bias, uint32_t count, const struct select_shape *shape);
cudaError_t kernel_gather(cudaStream_t stream, struct row_block out, struct row_block in,
                          const uint32_t *index, uint64_t count, uint32_t width);
cudaError_t kernel_put_meta(cudaStream_t stream, struct row_block rows, size_t offset,
                            const uint16_t *ids, const float *weights, uint32_t topk,
                            const uint32_t *index, uint64_t count);

// The sums of device_table's reduce.
struct sums {
    const uint64_t *first;
    const uint32_t *source;
    const float *weight;
    bool add;
};
cudaError_t kernel_reduce(cudaStream_t stream, struct row_block out, struct row_block in,
                          const struct sums *sums, uint64_t count, uint32_t width);

// Holds a stream until *opened (host memory that the GPU sees) has come to `number`, or the time is
// over.
cudaError_t kernel_gate(cudaStream_t stream, const uint32_t *opened, uint32_t number,
                        uint64_t limit_ns);

// out [rows, width] = silu(gate) * up of `both` [rows, 2 * width], gate first.
cudaError_t kernel_silu_mul(cudaStream_t stream, void *out, const void *both, uint64_t rows,
                            uint32_t width);

#ifdef __cplusplus
}
#endif

#endif
