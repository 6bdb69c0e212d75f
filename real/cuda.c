// The CUDA device: bf16 activations, kernels of real/kernels.cu, matrix products in
// real/cuda_ffn.c.
//
// Memory that upload fills may be used by later work on every stream. Waiting is polling with the
// processor given away, so that many ranks can share few cores, and so that a wait for work that a
// lost peer will never finish can end.
#include "real/cuda.h"

#include "base/mem.h"
#include "real/cuda_ffn.h"
#include "real/kernels.h"

#include <assert.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MARKS 64
#define CAPABILITY_MAJOR 8 // bf16 arithmetic
#define SPINS 200          // polls of a stream before the first sleep
#define SLEEP_NS 20000     // between later polls
#define WATCH_S 0.1        // between calls of the watch
#define HOLD_NS 10000000   // a stream is held for no longer

struct device {
    bool failed;
    struct error error; // the first that stuck
    cudaStream_t streams[STREAMS];
    cudaEvent_t fences[STREAMS]; // follow
    cudaEvent_t marks[MARKS];
    uint32_t *opened, *opened_there; // the last gate that is open; as the GPU sees it
    uint32_t gates;
    struct products products;
    cuda_watch_fn watch;
    void *watch_context;
};

// ---- errors -------------------------------------------------------------------------------------

// Keeps the first failure, told as "host: file:line: call: why". The call is quoted up to its
// arguments.
static void stick(struct device *device, const char *call, const char *file, int line,
                  const char *why)
{
    char host[64] = "?";
    const int name = (int)strcspn(call, "(");
    if (device->failed)
        return;
    gethostname(host, sizeof host - 1);
    error_set(&device->error, EXIT_RUNTIME, "%s: %s:%d: %.*s: %s", host, file, line, name, call,
              why);
    device->failed = true;
}

bool cuda_failed(const struct device *device)
{
    return device->failed;
}

void cuda_check(struct device *device, cudaError_t status, const char *call, const char *file,
                int line)
{
    if (status != cudaSuccess)
        stick(device, call, file, line, cudaGetErrorString(status));
}

void cuda_check_blas(struct device *device, cublasStatus_t status, const char *call,
                     const char *file, int line)
{
    if (status != CUBLAS_STATUS_SUCCESS)
        stick(device, call, file, line, cublasGetStatusString(status));
}

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
    CUDA(device,
         cudaHostAlloc((void **)&device->opened, sizeof *device->opened, cudaHostAllocMapped));
    if (!device->failed)
        *device->opened = 0;
    CUDA(device, cudaHostGetDevicePointer((void **)&device->opened_there, device->opened, 0));
}

static void close_streams(struct device *device)
{
    cudaFreeHost(device->opened);
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
        products_release(&device->products);
        close_streams(device);
    }
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
    products_init(opened, &opened->products, opened->streams[STREAM_COMPUTE]);
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
            cuda_check(device, status, "cudaStreamQuery", __FILE__, __LINE__);
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
    stick(device, "cudaMalloc", __FILE__, __LINE__, why);
    return NULL;
}

// After a failure cudaFree might wait for work that never ends; the memory goes with the process.
static void cuda_release(struct device *device, void *memory)
{
    CUDA(device, cudaFree(memory));
}

static void cuda_hold(struct device *device, enum stream stream)
{
    CUDA(device,
         kernel_gate(device->streams[stream], device->opened_there, ++device->gates, HOLD_NS));
}

static void cuda_go(struct device *device)
{
    if (!device->failed)
        __atomic_store_n(device->opened, device->gates, __ATOMIC_RELEASE);
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

static void cuda_router(struct device *device, float *logits, const void *in, const void *weight,
                        uint32_t count, uint32_t hidden, uint32_t experts)
{
    products_multiply(device, &device->products,
                      &(struct product){logits, in, weight, count, experts, hidden, CUDA_R_32F});
}

static void cuda_ffn(struct device *device, const struct ffn *ffn)
{
    products_ffn(device, &device->products, ffn);
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
    .hold = cuda_hold,
    .go = cuda_go,
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
