// The CUDA device: bf16 activations, kernels of real/kernels.cu, matrix products by cuBLAS.
//
// Memory that upload fills may be used by later work on every stream. Waiting is polling with the
// processor given away, so that many ranks can share few cores, and so that a wait for work that a
// lost peer will never finish can end.
#include "real/cuda.h"

#include "base/mem.h"
#include "real/kernels.h"

#include <assert.h>
#include <cublas_v2.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MARKS 64
#define CAPABILITY_MAJOR 8 // bf16 arithmetic
#define SIDES 4            // streams that the groups of an FFN are spread over
#define BATCHED_ROWS 0  // a group, on average: up to it AUTO takes the grouped call
#define SPINS 200          // polls of a stream before the first sleep
#define SLEEP_NS 20000     // between later polls
#define WATCH_S 0.1        // between calls of the watch
#define VALUE_BYTES 2      // of an activation

// A stream of its own for some of the groups, with the cuBLAS handle (and workspace) that goes
// with it.
struct side {
    cudaStream_t stream;
    cublasHandle_t blas;
    cudaEvent_t done;
};

// Arguments of a grouped cuBLAS call, by group. Pointers are wanted in device memory: weights, in
// and out of the first product, then of the second.
#define BATCH_POINTERS 6
struct batch {
    uint32_t room;
    cublasOperation_t *transposed, *plain;
    int *columns, *rows, *inner, *ones;
    float *alpha, *beta;
    const void **pointers; // host: BATCH_POINTERS * room, an array after the other
    const void **device_pointers;
};

struct device {
    bool failed;
    struct error error; // the first that stuck
    cudaStream_t streams[STREAMS];
    cudaEvent_t fences[STREAMS]; // follow
    cudaEvent_t marks[MARKS];
    cublasHandle_t blas; // of STREAM_COMPUTE
    struct side sides[SIDES];
    enum grouped grouped;
    struct batch batch;
    cuda_watch_fn watch;
    void *watch_context;
};

// ---- errors -------------------------------------------------------------------------------------

// Keeps the first failure, told as "host: file:line: call: why". The call is quoted up to its
// arguments.
static void stick(struct device *device, const char *call, int line, const char *why)
{
    char host[64] = "?";
    const int name = (int)strcspn(call, "(");
    if (device->failed)
        return;
    gethostname(host, sizeof host - 1);
    error_set(&device->error, EXIT_RUNTIME, "%s: %s:%d: %.*s: %s", host, __FILE__, line, name, call,
              why);
    device->failed = true;
}

static void check_cuda(struct device *device, cudaError_t status, const char *call, int line)
{
    if (status != cudaSuccess)
        stick(device, call, line, cudaGetErrorString(status));
}

static void check_blas(struct device *device, cublasStatus_t status, const char *call, int line)
{
    if (status != CUBLAS_STATUS_SUCCESS)
        stick(device, call, line, cublasGetStatusString(status));
}

// Nothing is called any more once an error has stuck.
#define CUDA(device, call)                                                                         \
    do {                                                                                           \
        if (!(device)->failed)                                                                     \
            check_cuda(device, call, #call, __LINE__);                                             \
    } while (0)
#define BLAS(device, call)                                                                         \
    do {                                                                                           \
        if (!(device)->failed)                                                                     \
            check_blas(device, call, #call, __LINE__);                                             \
    } while (0)

// ---- opening ------------------------------------------------------------------------------------

// The GPU is there and can run the kernels.
static bool find_gpu(uint32_t index, struct error *err)
{
    int count = 0, major = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess)
        return error_set(err, EXIT_ABSENT, "no CUDA GPU: %s", cudaGetErrorString(status));
    if (count == 0)
        return error_set(err, EXIT_ABSENT, "no CUDA GPU: none is visible");
    if (index >= (uint32_t)count)
        return error_set(err, EXIT_ABSENT, "no CUDA GPU: GPU %u was asked for, %d %s visible",
                         index, count, count == 1 ? "is" : "are");
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, (int)index) !=
            cudaSuccess ||
        major < CAPABILITY_MAJOR)
        return error_set(err, EXIT_ABSENT,
                         "no CUDA GPU: GPU %u has compute capability %d, needs %d or more", index,
                         major, CAPABILITY_MAJOR);
    return true;
}

// Exchanges go before kernels: their copies are small and others wait for them.
static void open_streams(struct device *device)
{
    int low = 0, high = 0;
    CUDA(device, cudaDeviceGetStreamPriorityRange(&low, &high));
    for (uint32_t s = 0; s < STREAMS; s++) {
        CUDA(device, cudaStreamCreateWithPriority(&device->streams[s], cudaStreamNonBlocking,
                                                  s == STREAM_COMPUTE ? low : high));
        CUDA(device, cudaEventCreateWithFlags(&device->fences[s], cudaEventDisableTiming));
    }
    for (uint32_t m = 0; m < MARKS; m++)
        CUDA(device, cudaEventCreate(&device->marks[m]));
}

static void open_blas(struct device *device)
{
    BLAS(device, cublasCreate(&device->blas));
    BLAS(device, cublasSetStream(device->blas, device->streams[STREAM_COMPUTE]));
    for (struct side *side = device->sides; side < device->sides + SIDES; side++) {
        CUDA(device, cudaStreamCreateWithFlags(&side->stream, cudaStreamNonBlocking));
        CUDA(device, cudaEventCreateWithFlags(&side->done, cudaEventDisableTiming));
        BLAS(device, cublasCreate(&side->blas));
        BLAS(device, cublasSetStream(side->blas, side->stream));
    }
}

static void release_batch(struct batch *batch)
{
    void *const arrays[] = {batch->transposed, batch->plain, batch->columns, batch->rows,
                            batch->inner,      batch->ones,  batch->alpha,   batch->beta};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
    free((void *)batch->pointers);
}

static void close_blas(struct device *device)
{
    cublasDestroy(device->blas);
    for (struct side *side = device->sides; side < device->sides + SIDES; side++) {
        cublasDestroy(side->blas);
        cudaEventDestroy(side->done);
        cudaStreamDestroy(side->stream);
    }
}

static void close_streams(struct device *device)
{
    for (uint32_t m = 0; m < MARKS; m++)
        cudaEventDestroy(device->marks[m]);
    for (uint32_t s = 0; s < STREAMS; s++) {
        cudaEventDestroy(device->fences[s]);
        cudaStreamDestroy(device->streams[s]);
    }
}

// After a failure the GPU's things are left to the end of the process: giving them back might wait
// for work that never ends.
static void cuda_close(struct device *device)
{
    if (!device)
        return;
    if (!device->failed) {
        cudaFree((void *)device->batch.device_pointers);
        close_blas(device);
        close_streams(device);
    }
    release_batch(&device->batch);
    free(device);
}

static bool cuda_open(struct device **device, uint32_t index, struct error *err)
{
    *device = NULL;
    if (!find_gpu(index, err))
        return false;
    struct device *opened = mem_alloc(1, sizeof *opened);
    CUDA(opened, cudaSetDevice((int)index));
    cudaSetDeviceFlags(
        cudaDeviceScheduleYield); // a wish: too late when the device is in use already
    cudaGetLastError();
    open_streams(opened);
    open_blas(opened);
    if (opened->failed) {
        *err = opened->error;
        cuda_close(opened);
        return false;
    }
    *device = opened;
    return true;
}

// ---- what others see ----------------------------------------------------------------------------

cudaStream_t cuda_stream(struct device *device, enum stream stream)
{
    return device->streams[stream];
}

void cuda_watch(struct device *device, cuda_watch_fn watch, void *context)
{
    device->watch = watch;
    device->watch_context = context;
}

void cuda_set_grouped(struct device *device, enum grouped grouped)
{
    device->grouped = grouped;
}

// ---- waiting ------------------------------------------------------------------------------------

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_poll(uint32_t poll)
{
    if (poll < SPINS)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
}

// Waits until a stream has done what it was given.
static void finish(struct device *device, cudaStream_t stream)
{
    const double start = now_s();
    double watched = start;
    for (uint32_t poll = 0; !device->failed; poll++) {
        const cudaError_t status = cudaStreamQuery(stream);
        if (status != cudaErrorNotReady) {
            check_cuda(device, status, "cudaStreamQuery", __LINE__);
            return;
        }
        cudaGetLastError(); // "not ready" would show as the next launch's error
        pause_poll(poll);
        const double now = now_s();
        if (!device->watch || now - watched < WATCH_S)
            continue;
        watched = now;
        if (!device->watch(device->watch_context, now - start, &device->error))
            device->failed = true;
    }
}

static bool cuda_sync(struct device *device, struct error *err)
{
    for (uint32_t s = 0; s < STREAMS; s++)
        finish(device, device->streams[s]);
    if (device->failed)
        *err = device->error;
    return !device->failed;
}

// ---- memory, order, time ------------------------------------------------------------------------

static void *cuda_alloc(struct device *device, size_t bytes)
{
    void *memory = NULL;
    char why[96];
    if (device->failed)
        return NULL;
    const cudaError_t status = cudaMalloc(&memory, bytes ? bytes : 1);
    if (status == cudaSuccess)
        return memory;
    cudaGetLastError(); // a failed allocation also shows as the next launch's error
    snprintf(why, sizeof why, "%zu bytes: %s", bytes, cudaGetErrorString(status));
    stick(device, "cudaMalloc", __LINE__, why);
    return NULL;
}

// After a failure cudaFree might wait for work that never ends; the memory goes with the process.
static void cuda_release(struct device *device, void *memory)
{
    CUDA(device, cudaFree(memory));
}

static void cuda_follow(struct device *device, enum stream stream, enum stream other)
{
    if (stream == other)
        return;
    CUDA(device, cudaEventRecord(device->fences[other], device->streams[other]));
    CUDA(device, cudaStreamWaitEvent(device->streams[stream], device->fences[other], 0));
}

static void cuda_upload(struct device *device, void *to, const void *from, size_t bytes)
{
    if (bytes == 0)
        return;
    CUDA(device,
         cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, device->streams[STREAM_COMPUTE]));
    cuda_follow(device, STREAM_INTER, STREAM_COMPUTE);
    cuda_follow(device, STREAM_INTRA, STREAM_COMPUTE);
}

// The copy itself would wait without looking; so it is given to a stream that is already idle.
static void cuda_download(struct device *device, void *to, const void *from, size_t bytes)
{
    const cudaStream_t stream = device->streams[STREAM_COMPUTE];
    if (bytes == 0)
        return;
    finish(device, stream);
    CUDA(device, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream));
    CUDA(device, cudaStreamSynchronize(stream));
}

static void cuda_mark(struct device *device, enum stream stream, uint32_t mark)
{
    assert(mark < MARKS);
    CUDA(device, cudaEventRecord(device->marks[mark], device->streams[stream]));
}

static double cuda_elapsed_us(struct device *device, uint32_t from, uint32_t to)
{
    float ms = 0;
    assert(from < MARKS && to < MARKS);
    CUDA(device, cudaEventElapsedTime(&ms, device->marks[from], device->marks[to]));
    return (double)ms * 1e3;
}

// ---- kernels ------------------------------------------------------------------------------------

static void cuda_fill(struct device *device, void *values, uint64_t count, uint64_t seed,
                      uint64_t tensor, float scale)
{
    CUDA(device, kernel_fill(device->streams[STREAM_COMPUTE], values, count, seed, tensor, scale));
}

static void cuda_rmsnorm(struct device *device, void *out, const void *in, uint32_t count,
                         uint32_t width)
{
    CUDA(device, kernel_rmsnorm(device->streams[STREAM_COMPUTE], out, in, count, width));
}

static void cuda_select(struct device *device, uint16_t *ids, float *weights, const float *logits,
                        const float *bias, uint32_t count, const struct select_shape *shape)
{
    assert(shape->experts <= MOE_MAX_EXPERTS && shape->topk <= shape->experts);
    CUDA(device,
         kernel_select(device->streams[STREAM_COMPUTE], ids, weights, logits, bias, count, shape));
}

static void cuda_gather(struct device *device, enum stream stream, struct row_block out,
                        struct row_block in, const uint32_t *index, uint64_t count, uint32_t width)
{
    assert(count <= INT_MAX);
    CUDA(device, kernel_gather(device->streams[stream], out, in, index, count, width));
}

static void cuda_put_meta(struct device *device, enum stream stream, struct row_block rows,
                          size_t offset, const uint16_t *ids, const float *weights, uint32_t topk,
                          const uint32_t *index, uint64_t count)
{
    CUDA(device,
         kernel_put_meta(device->streams[stream], rows, offset, ids, weights, topk, index, count));
}

static void cuda_reduce(struct device *device, enum stream stream, struct row_block out,
                        struct row_block in, const uint64_t *first, const uint32_t *source,
                        const float *weight, uint64_t count, uint32_t width, bool add)
{
    const struct sums sums = {.first = first, .source = source, .weight = weight, .add = add};
    assert(count <= INT_MAX);
    CUDA(device, kernel_reduce(device->streams[stream], out, in, &sums, count, width));
}

// ---- matrix products ----------------------------------------------------------------------------

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed, all row-major.
// cuBLAS counts by columns, so it is asked for the transpose: weight (transposed) x in.
struct product {
    void *out;
    const void *in, *weight;
    uint64_t rows, columns, inner;
    cudaDataType_t out_type;
};

static void multiply(struct device *device, cublasHandle_t blas, const struct product *p)
{
    const float one = 1, zero = 0;
    const int m = (int)p->columns, n = (int)p->rows, k = (int)p->inner;
    assert(p->columns <= INT_MAX && p->rows <= INT_MAX && p->inner <= INT_MAX);
    if (n == 0)
        return;
    BLAS(device, cublasGemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, m, n, k, &one, p->weight, CUDA_R_16BF,
                              k, p->in, CUDA_R_16BF, k, &zero, p->out, p->out_type, m,
                              CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

static void cuda_router(struct device *device, float *logits, const void *in, const void *weight,
                        uint32_t count, uint32_t hidden, uint32_t experts)
{
    multiply(device, device->blas,
             &(struct product){logits, in, weight, count, experts, hidden, CUDA_R_32F});
}

// ---- grouped FFN --------------------------------------------------------------------------------

static void *value_at_row(const void *base, uint64_t row, uint64_t width)
{
    return (char *)base + row * width * VALUE_BYTES;
}

// `middle` holds gate and up of all rows, then their products: the activation of all groups is one
// launch.
static void *gate_up_at(const struct ffn *ffn, uint64_t row)
{
    return value_at_row(ffn->middle, row, 2 * (uint64_t)ffn->intermediate);
}

static void *product_at(const struct ffn *ffn, uint64_t row)
{
    return value_at_row(gate_up_at(ffn, ffn->first[ffn->groups]), row, ffn->intermediate);
}

static uint64_t group_rows(const struct ffn *ffn, uint32_t group)
{
    return ffn->first[group + 1] - ffn->first[group];
}

static struct product up_product(const struct ffn *ffn, uint32_t group)
{
    const uint64_t row = ffn->first[group];
    return (struct product){.out = gate_up_at(ffn, row),
                            .in = value_at_row(ffn->in, row, ffn->hidden),
                            .weight = ffn->gate_up[group],
                            .rows = group_rows(ffn, group),
                            .columns = 2 * (uint64_t)ffn->intermediate,
                            .inner = ffn->hidden,
                            .out_type = CUDA_R_16BF};
}

static struct product down_product(const struct ffn *ffn, uint32_t group)
{
    const uint64_t row = ffn->first[group];
    return (struct product){.out = value_at_row(ffn->out, row, ffn->hidden),
                            .in = product_at(ffn, row),
                            .weight = ffn->down[group],
                            .rows = group_rows(ffn, group),
                            .columns = ffn->hidden,
                            .inner = ffn->intermediate,
                            .out_type = CUDA_R_16BF};
}

static void activate(struct device *device, cudaStream_t stream, const struct ffn *ffn,
                     uint64_t row, uint64_t rows)
{
    CUDA(device, kernel_silu_mul(stream, product_at(ffn, row), gate_up_at(ffn, row), rows,
                                 ffn->intermediate));
}

static void group_ffn(struct device *device, cudaStream_t stream, cublasHandle_t blas,
                      const struct ffn *ffn, uint32_t group)
{
    const struct product up = up_product(ffn, group), down = down_product(ffn, group);
    multiply(device, blas, &up);
    activate(device, stream, ffn, ffn->first[group], up.rows);
    multiply(device, blas, &down);
}

// Each group goes to the side stream with the fewest rows so far.
static void ffn_by_streams(struct device *device, const struct ffn *ffn)
{
    const cudaStream_t compute = device->streams[STREAM_COMPUTE];
    uint64_t load[SIDES] = {0};
    CUDA(device, cudaEventRecord(device->fences[STREAM_COMPUTE], compute));
    for (uint32_t group = 0; group < ffn->groups; group++) {
        uint32_t best = 0;
        if (group_rows(ffn, group) == 0)
            continue;
        for (uint32_t s = 1; s < SIDES; s++)
            if (load[s] < load[best])
                best = s;
        struct side *side = &device->sides[best];
        if (load[best] == 0)
            CUDA(device, cudaStreamWaitEvent(side->stream, device->fences[STREAM_COMPUTE], 0));
        group_ffn(device, side->stream, side->blas, ffn, group);
        load[best] += group_rows(ffn, group);
    }
    for (uint32_t s = 0; s < SIDES; s++)
        if (load[s] > 0) {
            CUDA(device, cudaEventRecord(device->sides[s].done, device->sides[s].stream));
            CUDA(device, cudaStreamWaitEvent(compute, device->sides[s].done, 0));
        }
}

// The old device array may still be read by calls under way: cudaFree waits for them.
static bool reserve_batch(struct device *device, uint32_t groups)
{
    struct batch *batch = &device->batch;
    if (device->failed || groups <= batch->room)
        return !device->failed;
    CUDA(device, cudaFree((void *)batch->device_pointers));
    release_batch(batch);
    *batch = (struct batch){
        .room = groups,
        .transposed = mem_alloc(groups, sizeof *batch->transposed),
        .plain = mem_alloc(groups, sizeof *batch->plain),
        .columns = mem_alloc(groups, sizeof(int)),
        .rows = mem_alloc(groups, sizeof(int)),
        .inner = mem_alloc(groups, sizeof(int)),
        .ones = mem_alloc(groups, sizeof(int)),
        .alpha = mem_alloc(groups, sizeof(float)),
        .beta = mem_alloc(groups, sizeof(float)),
        .pointers = mem_alloc((size_t)BATCH_POINTERS * groups, sizeof(void *)),
    };
    for (uint32_t g = 0; g < groups; g++) {
        batch->transposed[g] = CUBLAS_OP_T;
        batch->plain[g] = CUBLAS_OP_N;
        batch->ones[g] = 1;
        batch->alpha[g] = 1;
    }
    batch->device_pointers = cuda_alloc(device, BATCH_POINTERS * sizeof(void *) * groups);
    return !device->failed;
}

// Notes the `n`-th group with rows.
static void batch_add(struct batch *batch, uint32_t n, const struct product *up,
                      const struct product *down)
{
    const void *pointers[BATCH_POINTERS] = {up->weight,   up->in,   up->out,
                                            down->weight, down->in, down->out};
    assert(up->rows <= INT_MAX);
    batch->rows[n] = (int)up->rows;
    for (uint32_t i = 0; i < BATCH_POINTERS; i++)
        batch->pointers[(size_t)i * batch->room + n] = pointers[i];
}

// One product over the `count` groups noted; `pointers` are those of its weights, in device memory.
static void multiply_batch(struct device *device, uint32_t count, uint64_t columns, uint64_t inner,
                           const void **pointers)
{
    const struct batch *b = &device->batch;
    const void *const *weight = pointers, *const *in = pointers + b->room;
    void *const *out = (void *const *)(pointers + 2 * (size_t)b->room);
    assert(columns <= INT_MAX && inner <= INT_MAX);
    for (uint32_t g = 0; g < count; g++) {
        b->columns[g] = (int)columns;
        b->inner[g] = (int)inner;
    }
    BLAS(device, cublasGemmGroupedBatchedEx(
                     device->blas, b->transposed, b->plain, b->columns, b->rows, b->inner, b->alpha,
                     weight, CUDA_R_16BF, b->inner, in, CUDA_R_16BF, b->inner, b->beta, out,
                     CUDA_R_16BF, b->columns, (int)count, b->ones, CUBLAS_COMPUTE_32F));
}

// The device's pointers are overwritten in stream order, after the last call has read them.
static void ffn_by_batch(struct device *device, const struct ffn *ffn)
{
    const cudaStream_t compute = device->streams[STREAM_COMPUTE];
    struct batch *batch = &device->batch;
    uint32_t count = 0;
    if (!reserve_batch(device, ffn->groups))
        return;
    for (uint32_t group = 0; group < ffn->groups; group++) {
        const struct product up = up_product(ffn, group), down = down_product(ffn, group);
        if (up.rows > 0)
            batch_add(batch, count++, &up, &down);
    }
    CUDA(device, kernel_put_pointers(compute, batch->device_pointers, batch->pointers,
                                     BATCH_POINTERS * batch->room));
    multiply_batch(device, count, 2 * (uint64_t)ffn->intermediate, ffn->hidden,
                   batch->device_pointers);
    activate(device, compute, ffn, ffn->first[0], ffn->first[ffn->groups] - ffn->first[0]);
    multiply_batch(device, count, ffn->hidden, ffn->intermediate,
                   batch->device_pointers + 3 * (size_t)batch->room);
}

static void cuda_ffn(struct device *device, const struct ffn *ffn)
{
    uint32_t used = 0, last = 0;
    for (uint32_t group = 0; group < ffn->groups; group++)
        if (group_rows(ffn, group) > 0) {
            used++;
            last = group;
        }
    const uint64_t rows = ffn->first[ffn->groups] - ffn->first[0];
    const bool small = rows <= (uint64_t)BATCHED_ROWS * used;
    if (used == 0)
        return;
    if (used == 1)
        group_ffn(device, device->streams[STREAM_COMPUTE], device->blas, ffn, last);
    else if (device->grouped == GROUPED_BATCHED || (device->grouped == GROUPED_AUTO && small))
        ffn_by_batch(device, ffn);
    else
        ffn_by_streams(device, ffn);
}

const struct device_table device_cuda = {
    .name = "cuda",
    .activation = ROW_BF16,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .sync = cuda_sync,
    .follow = cuda_follow,
    .mark = cuda_mark,
    .elapsed_us = cuda_elapsed_us,
    .fill = cuda_fill,
    .rmsnorm = cuda_rmsnorm,
    .router = cuda_router,
    .select = cuda_select,
    .gather = cuda_gather,
    .put_meta = cuda_put_meta,
    .reduce = cuda_reduce,
    .ffn = cuda_ffn,
};
