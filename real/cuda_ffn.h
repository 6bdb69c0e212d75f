// The CUDA device's matrix products, by cuBLAS, and how the files of the device note errors.
#ifndef REAL_CUDA_FFN_H
#define REAL_CUDA_FFN_H

#include "real/device.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

// ---- errors -------------------------------------------------------------------------------------

// Whether an error has stuck: nothing is called any more then.
bool cuda_failed(const struct device *device);
// Keep the first failure, told as "host: file:line: call: why".
void cuda_check(struct device *device, cudaError_t status, const char *call, const char *file,
                int line);
void cuda_check_blas(struct device *device, cublasStatus_t status, const char *call,
                     const char *file, int line);

#define CUDA(device, call)                                                                         \
    do {                                                                                           \
        if (!cuda_failed(device))                                                                  \
            cuda_check(device, call, #call, __FILE__, __LINE__);                                   \
    } while (0)
#define BLAS(device, call)                                                                         \
    do {                                                                                           \
        if (!cuda_failed(device))                                                                  \
            cuda_check_blas(device, call, #call, __FILE__, __LINE__);                              \
    } while (0)

// ---- products -----------------------------------------------------------------------------------

#define SIDES 4 // streams that the groups of an FFN are spread over

// A stream of its own for some of the groups, with the cuBLAS handle (and workspace) that goes
// with it.
struct side {
    cudaStream_t stream;
    cublasHandle_t blas;
    cudaEvent_t done;
};

struct products {
    cudaStream_t compute; // the device's: work begins and ends in its order
    cublasHandle_t blas;
    cudaEvent_t given; // what `compute` had been given when the sides began
    struct side sides[SIDES];
};

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed, all row-major, `in`
// and `weight` bf16.
struct product {
    void *out;
    const void *in, *weight;
    uint64_t rows, columns, inner;
    cudaDataType_t out_type;
};

// Errors stick to the device; release is only for a device without one.
void products_init(struct device *device, struct products *products, cudaStream_t compute);
void products_release(struct products *products);
void products_multiply(struct device *device, const struct products *products,
                       const struct product *product);
void products_ffn(struct device *device, const struct products *products, const struct ffn *ffn);

#endif
