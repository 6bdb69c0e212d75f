// Matrix products of the CUDA device, by cuBLAS. The groups of an FFN go one by one to a few side
// streams, so that small ones overlap.
//
// The other way, one cublasGemmGroupedBatchedEx call a matrix, was slower at every size, as shares
// of the rate of one plain product of as many operations (H100 80GB HBM3, cuBLAS of CUDA 13.0;
// 8 uneven groups, one empty, hidden 7168, intermediate 2048):
//
//      rows   grouped call   side streams
//     32768           0.37           0.85
//      4096           0.34           0.75
//       512           0.23           0.28
#include "real/cuda_ffn.h"

#include "real/kernels.h"

#include <assert.h>
#include <limits.h>

#define VALUE_BYTES 2                      // of an activation
#define WORKSPACE_BYTES ((size_t)32 << 20) // of a handle: what cuBLAS takes from Hopper on

// ---- opening ------------------------------------------------------------------------------------

void products_init(struct products *products, struct cuda_status *status, cudaStream_t compute)
{
    products->status = status;
    products->compute = compute;
    BLAS(status, cublasCreate(&products->blas));
    BLAS(status, cublasSetStream(products->blas, compute));
    CUDA(status, cudaEventCreateWithFlags(&products->given, cudaEventDisableTiming));
    for (struct side *side = products->sides; side < products->sides + SIDES; side++) {
        CUDA(status, cudaStreamCreateWithFlags(&side->stream, cudaStreamNonBlocking));
        CUDA(status, cudaEventCreateWithFlags(&side->done, cudaEventDisableTiming));
        BLAS(status, cublasCreate(&side->blas));
        BLAS(status, cublasSetStream(side->blas, side->stream));
    }
}

void products_release(struct products *products)
{
    cublasDestroy(products->blas);
    cudaEventDestroy(products->given);
    for (struct side *side = products->sides; side < products->sides + SIDES; side++) {
        cublasDestroy(side->blas);
        cudaEventDestroy(side->done);
        cudaStreamDestroy(side->stream);
    }
    if (products->workspaces) {
        cublasDestroy(products->beside.blas);
        cudaFree(products->workspaces);
    }
}

void products_prepare_graphs(struct products *products, cudaStream_t beside)
{
    struct cuda_status *status = products->status;
    cublasHandle_t handles[SIDES + 2];
    if (products->workspaces)
        return;
    products->beside.stream = beside;
    BLAS(status, cublasCreate(&products->beside.blas));
    BLAS(status, cublasSetStream(products->beside.blas, beside));
    CUDA(status, cudaMalloc(&products->workspaces, (SIDES + 2) * WORKSPACE_BYTES));
    for (uint32_t s = 0; s < SIDES; s++)
        handles[s] = products->sides[s].blas;
    handles[SIDES] = products->blas;
    handles[SIDES + 1] = products->beside.blas;
    for (uint32_t h = 0; h < SIDES + 2; h++)
        BLAS(status,
             cublasSetWorkspace(handles[h], (char *)products->workspaces + h * WORKSPACE_BYTES,
                                WORKSPACE_BYTES));
}

// ---- one product --------------------------------------------------------------------------------

// cuBLAS counts by columns, so it is asked for the transpose: weight (transposed) x in.
static void blas_multiply(struct cuda_status *status, cublasHandle_t blas, const struct product *p)
{
    const float one = 1, zero = 0;
    const int m = (int)p->columns, n = (int)p->rows, k = (int)p->inner;
    assert(p->columns <= INT_MAX && p->rows <= INT_MAX && p->inner <= INT_MAX);
    if (n == 0)
        return;
    BLAS(status, cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &one, p->weight, CUDA_R_16BF,
                              k, p->in, CUDA_R_16BF, k, &zero, p->out, p->out_type, m,
                              CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

void products_multiply(const struct products *products, const struct product *product)
{
    blas_multiply(products->status, products->blas, product);
}

// ---- grouped FFN --------------------------------------------------------------------------------

static void *value_at_row(const void *base, uint64_t row, uint64_t width)
{
    return (char *)base + row * width * VALUE_BYTES;
}

static uint64_t ffn_group_rows(const struct ffn *ffn, uint32_t group)
{
    return ffn->first[group + 1] - ffn->first[group];
}

// `middle` holds gate and up of all rows, then their products.
static void blas_group_ffn(struct cuda_status *status, cudaStream_t stream, cublasHandle_t blas,
                           const struct ffn *ffn, uint32_t group)
{
    const uint64_t row = ffn->first[group], rows = ffn_group_rows(ffn, group);
    const uint64_t at = ffn->at ? ffn->at[group] : row;
    const uint64_t all_rows = ffn->first[ffn->groups], hidden = ffn->hidden;
    const uint64_t inner = ffn->intermediate;
    void *both = value_at_row(ffn->middle, row, 2 * inner);
    void *product = value_at_row(ffn->middle, 2 * all_rows + row, inner);
    const void *in = value_at_row(ffn->in, at, hidden);
    void *out = value_at_row(ffn->out, at, hidden);
    blas_multiply(
        status, blas,
        &(struct product){both, in, ffn->gate_up[group], rows, 2 * inner, hidden, CUDA_R_16BF});
    CUDA(status, kernel_silu_mul(stream, product, both, rows, ffn->intermediate));
    blas_multiply(
        status, blas,
        &(struct product){out, product, ffn->down[group], rows, hidden, inner, CUDA_R_16BF});
}

// Each group goes to the side stream with the fewest rows so far.
static void ffn_by_streams(const struct products *products, const struct ffn *ffn)
{
    struct cuda_status *status = products->status;
    uint64_t load[SIDES] = {0};
    CUDA(status, cudaEventRecord(products->given, products->compute));
    for (uint32_t group = 0; group < ffn->groups; group++) {
        uint32_t best = 0;
        if (ffn_group_rows(ffn, group) == 0)
            continue;
        for (uint32_t s = 1; s < SIDES; s++)
            if (load[s] < load[best])
                best = s;
        const struct side *side = &products->sides[best];
        if (load[best] == 0)
            CUDA(status, cudaStreamWaitEvent(side->stream, products->given, 0));
        blas_group_ffn(status, side->stream, side->blas, ffn, group);
        load[best] += ffn_group_rows(ffn, group);
    }
    for (uint32_t s = 0; s < SIDES; s++)
        if (load[s] > 0) {
            CUDA(status, cudaEventRecord(products->sides[s].done, products->sides[s].stream));
            CUDA(status, cudaStreamWaitEvent(products->compute, products->sides[s].done, 0));
        }
}

// A single group has nothing to overlap with.
void products_ffn(const struct products *products, const struct ffn *ffn)
{
    const bool beside = ffn->stream == STREAM_BESIDE;
    uint32_t used = 0, last = 0;
    for (uint32_t group = 0; group < ffn->groups; group++)
        if (ffn_group_rows(ffn, group) > 0) {
            used++;
            last = group;
        }
    assert(!beside || used <= 1);
    if (used == 1)
        blas_group_ffn(products->status, beside ? products->beside.stream : products->compute,
                       beside ? products->beside.blas : products->blas, ffn, last);
    else if (used > 1)
        ffn_by_streams(products, ffn);
}
