// The CUDA device's matrix products, by cuBLAS.
#ifndef REAL_CUDA_FFN_H
#define REAL_CUDA_FFN_H

#include "real/cuda_status.h"
#include "real/device.h"

#define SIDES 4 // streams that the groups of an FFN are spread over

// A stream of its own for some of the groups, with the cuBLAS handle (and workspace) that goes
// with it.
struct side {
    cudaStream_t stream;
    cublasHandle_t blas;
    cudaEvent_t done;
};

struct products {
    struct cuda_status *status; // the device's: errors stick there
    cudaStream_t compute;       // the device's: work begins and ends in its order
    cublasHandle_t blas;
    cudaEvent_t given; // what `compute` had been given when the sides began
    struct side sides[SIDES];
    struct side beside; // products_prepare_graphs: one group, beside `compute`
    void *workspaces;   // likewise: of all handles
};

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed, all row-major, `in`
// and `weight` bf16.
struct product {
    void *out;
    const void *in, *weight;
    uint64_t rows, columns, inner;
    cudaDataType_t out_type;
};

// Release is only for a device without an error.
void products_init(struct products *products, struct cuda_status *status, cudaStream_t compute);
void products_release(struct products *products);
// A handle for work on `beside`, and for every handle a workspace that stays: without one cuBLAS
// would allocate in each captured graph. Once; later calls do nothing.
void products_prepare_graphs(struct products *products, cudaStream_t beside);
void products_multiply(const struct products *products, const struct product *product);
void products_ffn(const struct products *products, const struct ffn *ffn);

#endif
