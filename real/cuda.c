// The CUDA device: bf16 activations, kernels of real/kernels.h, matrix products in
// real/cuda_ffn.c.
//
// Memory that upload fills may be used by later work on every stream. Waiting is polling with the
// processor given away, so that many ranks can share few cores, and so that a wait for work that a
// lost peer will never finish can end.
#include "real/cuda.h"

#include "base/mem.h"
#include "real/cuda_ffn.h"
#include "real/kernels.h"
#include "real/poll.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define MARKS 64
#define CAPABILITY_MAJOR 8 // bf16 arithmetic
#define SPINS 200          // polls of a stream before the first sleep
#define WATCH_S 0.1        // between calls of the watch
#define HOLD_NS 10000000   // a stream is held for no longer

struct cuda {
    struct device base;
    struct cuda_status status;
    cudaStream_t streams[STREAMS];
    cudaEvent_t fences[STREAMS]; // follow
    cudaEvent_t marks[MARKS];
    uint32_t *opened, *opened_there; // the last gate that is open; as the GPU sees it
    uint32_t gates;
    bool capturing;
    int index;
    cudaStream_t beside; // copy_beside's, made when it is first called
    struct products products;
    cuda_watch_fn watch;
    void *watch_context;
};

static struct cuda *cuda_of(struct device *device)
{
    return (struct cuda *)device;
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

static bool is_exchange(enum stream stream)
{
    return stream == STREAM_INTER || stream == STREAM_INTRA;
}

// Exchanges go before kernels: their copies are small and others wait for them.
static void open_streams(struct cuda *cuda)
{
    struct cuda_status *status = &cuda->status;
    int low = 0, high = 0;
    CUDA(status, cudaDeviceGetStreamPriorityRange(&low, &high));
    for (uint32_t s = 0; s < STREAMS; s++) {
        CUDA(status, cudaStreamCreateWithPriority(&cuda->streams[s], cudaStreamNonBlocking,
                                                  is_exchange(s) ? high : low));
        CUDA(status, cudaEventCreateWithFlags(&cuda->fences[s], cudaEventDisableTiming));
    }
    for (uint32_t m = 0; m < MARKS; m++)
        CUDA(status, cudaEventCreate(&cuda->marks[m]));
    CUDA(status, cudaHostAlloc((void **)&cuda->opened, sizeof *cuda->opened, cudaHostAllocMapped));
    if (!status->failed)
        *cuda->opened = 0;
    CUDA(status, cudaHostGetDevicePointer((void **)&cuda->opened_there, cuda->opened, 0));
}

static void close_streams(struct cuda *cuda)
{
    if (cuda->beside)
        cudaStreamDestroy(cuda->beside);
    cudaFreeHost(cuda->opened);
    for (uint32_t m = 0; m < MARKS; m++)
        cudaEventDestroy(cuda->marks[m]);
    for (uint32_t s = 0; s < STREAMS; s++) {
        cudaEventDestroy(cuda->fences[s]);
        cudaStreamDestroy(cuda->streams[s]);
    }
}

// After a failure the GPU's things are left to the end of the process: giving them back might wait
// for work that never ends.
static void cuda_close(struct device *device)
{
    struct cuda *cuda = cuda_of(device);
    if (!cuda->status.failed) {
        products_release(&cuda->products);
        close_streams(cuda);
    }
    free(cuda);
}

static bool cuda_open(struct device **device, uint32_t index, struct error *err)
{
    *device = NULL;
    if (!find_gpu(index, err))
        return false;
    struct cuda *opened = mem_alloc(1, sizeof *opened);
    opened->base.ops = &device_cuda;
    opened->index = (int)index;
    CUDA(&opened->status, cudaSetDevice(opened->index));
    cudaSetDeviceFlags(
        cudaDeviceScheduleYield); // a wish: too late when the device is in use already
    cudaGetLastError();
    open_streams(opened);
    products_init(&opened->products, &opened->status, opened->streams[STREAM_COMPUTE]);
    if (opened->status.failed) {
        *err = opened->status.error;
        cuda_close(&opened->base);
        return false;
    }
    *device = &opened->base;
    return true;
}

// ---- what others see ----------------------------------------------------------------------------

cudaStream_t cuda_stream(struct device *device, enum stream stream)
{
    return cuda_of(device)->streams[stream];
}

void cuda_watch(struct device *device, cuda_watch_fn watch, void *context)
{
    cuda_of(device)->watch = watch;
    cuda_of(device)->watch_context = context;
}

// ---- waiting ------------------------------------------------------------------------------------

// Waits until a stream has done what it was given.
static void finish_stream(struct cuda *cuda, cudaStream_t stream)
{
    struct cuda_status *status = &cuda->status;
    const double start = poll_now_s();
    double watched = start;
    for (uint32_t poll = 0; !status->failed; poll++) {
        const cudaError_t state = cudaStreamQuery(stream);
        if (state != cudaErrorNotReady) {
            cuda_check(status, state, CUDA_PLACE("cudaStreamQuery"));
            return;
        }
        cudaGetLastError(); // "not ready" would show as the next launch's error
        poll_pause(poll, SPINS);
        const double now = poll_now_s();
        if (!cuda->watch || now - watched < WATCH_S)
            continue;
        watched = now;
        if (!cuda->watch(cuda->watch_context, now - start, &status->error))
            status->failed = true;
    }
}

static bool cuda_sync(struct device *device, struct error *err)
{
    struct cuda *cuda = cuda_of(device);
    for (uint32_t s = 0; s < STREAMS; s++)
        finish_stream(cuda, cuda->streams[s]);
    if (cuda->status.failed)
        *err = cuda->status.error;
    return !cuda->status.failed;
}

// ---- memory, order, time ------------------------------------------------------------------------

static void *cuda_alloc(struct device *device, size_t bytes)
{
    struct cuda_status *status = &cuda_of(device)->status;
    void *memory = NULL;
    char why[96];
    if (status->failed)
        return NULL;
    const cudaError_t result = cudaMalloc(&memory, bytes ? bytes : 1);
    if (result == cudaSuccess)
        return memory;
    cudaGetLastError(); // a failed allocation also shows as the next launch's error
    snprintf(why, sizeof why, "%zu bytes: %s", bytes, cudaGetErrorString(result));
    cuda_stick(status, CUDA_PLACE("cudaMalloc"), why);
    return NULL;
}

// After a failure cudaFree might wait for work that never ends; the memory goes with the process.
static void cuda_release(struct device *device, void *memory)
{
    CUDA(&cuda_of(device)->status, cudaFree(memory));
}

static void cuda_hold(struct device *device, enum stream stream)
{
    struct cuda *cuda = cuda_of(device);
    CUDA(&cuda->status,
         kernel_gate(cuda->streams[stream], cuda->opened_there, ++cuda->gates, HOLD_NS));
}

static void cuda_go(struct device *device)
{
    struct cuda *cuda = cuda_of(device);
    if (!cuda->status.failed)
        __atomic_store_n(cuda->opened, cuda->gates, __ATOMIC_RELEASE);
}

static void cuda_follow(struct device *device, enum stream stream, enum stream other)
{
    struct cuda *cuda = cuda_of(device);
    if (stream == other)
        return;
    CUDA(&cuda->status, cudaEventRecord(cuda->fences[other], cuda->streams[other]));
    CUDA(&cuda->status, cudaStreamWaitEvent(cuda->streams[stream], cuda->fences[other], 0));
}

static void cuda_upload(struct device *device, void *to, const void *from, size_t bytes)
{
    struct cuda *cuda = cuda_of(device);
    if (bytes == 0)
        return;
    CUDA(&cuda->status,
         cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda->streams[STREAM_COMPUTE]));
    for (enum stream s = STREAM_COMPUTE + 1; s < STREAMS; s++)
        cuda_follow(device, s, STREAM_COMPUTE);
}

// The copy itself would wait without looking; so it is given to a stream that is already idle.
static void cuda_download(struct device *device, void *to, const void *from, size_t bytes)
{
    struct cuda *cuda = cuda_of(device);
    const cudaStream_t stream = cuda->streams[STREAM_COMPUTE];
    if (bytes == 0)
        return;
    finish_stream(cuda, stream);
    CUDA(&cuda->status, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream));
    CUDA(&cuda->status, cudaStreamSynchronize(stream));
}

// An event that a capture records has no time of its own.
static void cuda_mark(struct device *device, enum stream stream, uint32_t mark)
{
    struct cuda *cuda = cuda_of(device);
    assert(mark < MARKS);
    if (cuda->capturing)
        return;
    CUDA(&cuda->status, cudaEventRecord(cuda->marks[mark], cuda->streams[stream]));
}

static double cuda_elapsed_us(struct device *device, uint32_t from, uint32_t to)
{
    struct cuda *cuda = cuda_of(device);
    float ms = 0;
    assert(from < MARKS && to < MARKS);
    CUDA(&cuda->status, cudaEventElapsedTime(&ms, cuda->marks[from], cuda->marks[to]));
    return (double)ms * 1e3;
}

// ---- graphs -------------------------------------------------------------------------------------

static void cuda_prepare_graphs(struct device *device)
{
    struct cuda *cuda = cuda_of(device);
    products_prepare_graphs(&cuda->products, cuda->streams[STREAM_BESIDE]);
}

// Relaxed: libraries may call what could not be replayed, such as queries of their own streams, as
// they give their work. Events only bring a stream into the capture; they are no nodes of it.
static void cuda_capture_begin(struct device *device)
{
    struct cuda *cuda = cuda_of(device);
    CUDA(&cuda->status,
         cudaStreamBeginCapture(cuda->streams[STREAM_COMPUTE], cudaStreamCaptureModeRelaxed));
    cuda->capturing = true;
    for (enum stream s = STREAM_COMPUTE + 1; s < STREAMS; s++)
        cuda_follow(device, s, STREAM_COMPUTE);
}

// The nodes keep the priorities of the streams that they were given to. What is made ready here is
// not left to the first replay.
static void *cuda_capture_end(struct device *device)
{
    struct cuda *cuda = cuda_of(device);
    struct cuda_status *status = &cuda->status;
    const cudaStream_t compute = cuda->streams[STREAM_COMPUTE];
    cudaGraph_t graph = NULL;
    cudaGraphExec_t ready = NULL;
    for (enum stream s = STREAM_COMPUTE + 1; s < STREAMS; s++)
        cuda_follow(device, STREAM_COMPUTE, s);
    cuda->capturing = false;
    CUDA(status, cudaStreamEndCapture(compute, &graph));
    CUDA(status, cudaGraphInstantiate(&ready, graph, cudaGraphInstantiateFlagUseNodePriority));
    CUDA(status, cudaGraphDestroy(graph));
    CUDA(status, cudaGraphUpload(ready, compute));
    return status->failed ? NULL : ready;
}

static void cuda_replay(struct device *device, void *graph)
{
    struct cuda *cuda = cuda_of(device);
    CUDA(&cuda->status, cudaGraphLaunch(graph, cuda->streams[STREAM_COMPUTE]));
}

static void cuda_release_graph(struct device *device, void *graph)
{
    if (graph)
        CUDA(&cuda_of(device)->status, cudaGraphExecDestroy(graph));
}

// ---- kernels ------------------------------------------------------------------------------------

static void cuda_fill(struct device *device, const struct tensor_fill *fill)
{
    CUDA(&cuda_of(device)->status, kernel_fill(cuda_stream(device, STREAM_COMPUTE), fill));
}

static void cuda_rmsnorm(struct device *device, void *out, const void *in, uint32_t count,
                         uint32_t width)
{
    CUDA(&cuda_of(device)->status,
         kernel_rmsnorm(cuda_stream(device, STREAM_COMPUTE), out, in, count, width));
}

static void cuda_select(struct device *device, const struct selection *selection)
{
    const struct select_shape *shape = &selection->shape;
    assert(shape->experts <= MOE_MAX_EXPERTS && shape->topk <= shape->experts);
    CUDA(&cuda_of(device)->status, kernel_select(cuda_stream(device, STREAM_COMPUTE), selection));
}

static void cuda_gather(struct device *device, enum stream stream, const struct row_gather *gather)
{
    assert(gather->count <= INT_MAX);
    CUDA(&cuda_of(device)->status, kernel_gather(cuda_stream(device, stream), gather));
}

static void cuda_put_meta(struct device *device, enum stream stream, const struct row_meta *meta)
{
    CUDA(&cuda_of(device)->status, kernel_put_meta(cuda_stream(device, stream), meta));
}

static void cuda_reduce(struct device *device, enum stream stream, const struct row_sums *sums)
{
    assert(sums->count <= INT_MAX);
    CUDA(&cuda_of(device)->status, kernel_reduce(cuda_stream(device, stream), sums));
}

static void cuda_checksum(struct device *device, enum stream stream,
                          const struct row_checksums *sums)
{
    assert(sums->count <= INT_MAX);
    CUDA(&cuda_of(device)->status, kernel_checksum(cuda_stream(device, stream), sums));
}

static void cuda_router(struct device *device, const struct router_product *router)
{
    products_multiply(&cuda_of(device)->products, &(struct product){.out = router->logits,
                                                                    .in = router->in,
                                                                    .weight = router->weight,
                                                                    .rows = router->count,
                                                                    .columns = router->experts,
                                                                    .inner = router->hidden,
                                                                    .out_type = CUDA_R_32F});
}

static void cuda_ffn(struct device *device, const struct ffn *ffn)
{
    products_ffn(&cuda_of(device)->products, ffn);
}

#define COPY_ROW_BYTES 16384

static bool cuda_copy_beside(struct device *device, void *to, const void *from, size_t bytes)
{
    struct cuda *cuda = cuda_of(device);
    const struct row_block out = {to, COPY_ROW_BYTES, ROW_BF16};
    const struct row_block in = {(void *)(uintptr_t)from, COPY_ROW_BYTES, ROW_BF16};
    const struct row_gather rows = {
        .out = out, .in = in, .count = bytes / COPY_ROW_BYTES, .width = COPY_ROW_BYTES / 2};
    if (!cuda->beside &&
        (cudaSetDevice(cuda->index) != cudaSuccess ||
         cudaStreamCreateWithFlags(&cuda->beside, cudaStreamNonBlocking) != cudaSuccess))
        return false;
    return kernel_gather(cuda->beside, &rows) == cudaSuccess &&
           cudaStreamSynchronize(cuda->beside) == cudaSuccess;
}

const struct device_ops device_cuda = {
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
    .prepare_graphs = cuda_prepare_graphs,
    .capture_begin = cuda_capture_begin,
    .capture_end = cuda_capture_end,
    .replay = cuda_replay,
    .release_graph = cuda_release_graph,
    .fill = cuda_fill,
    .rmsnorm = cuda_rmsnorm,
    .router = cuda_router,
    .select = cuda_select,
    .gather = cuda_gather,
    .put_meta = cuda_put_meta,
    .reduce = cuda_reduce,
    .checksum = cuda_checksum,
    .ffn = cuda_ffn,
    .copy_beside = cuda_copy_beside,
};
