// A device: memory and the kernels of the six steps, behind one table of functions, so that the
// layer is written once for host memory and for CUDA. Host kernels are real/host.c, CUDA ones
// real/cuda.c and the .cu files.
//
// Work on CUDA is asynchronous, in order within a stream. Errors stick: after one, further calls do
// nothing, and device_sync reports it. All index lists are device memory.
#ifndef REAL_DEVICE_H
#define REAL_DEVICE_H

#include "model/moe.h"
#include "real/values.h"

// `count` rows of `width` values, `stride` bytes apart.
struct row_block {
    void *base;
    size_t stride;
    enum row_format format;
};

// Streams, as far as the device has them: work on different ones may run side by side.
enum stream { STREAM_COMPUTE, STREAM_INTER, STREAM_INTRA, STREAM_BESIDE, STREAMS };

// Parameters of top-k selection (struct moe's router).
struct select_shape {
    uint32_t experts, topk, groups, topk_groups;
    enum score score;
    bool normalise;
    float scaling;
};

// --- work: what one call of a kernel is given ---------------------------------------------------

// values[i] = scale * u(seed, tensor, i), u uniform in [-1, 1) with 24 bits: real/values.h.
struct tensor_fill {
    void *values;
    uint64_t count, seed, tensor;
    float scale;
};

// logits [count, experts] fp32 = in [count, hidden] x weight [experts, hidden] transposed.
struct router_product {
    float *logits;
    const void *in, *weight;
    uint32_t count, hidden, experts;
};

// Top-k of scores + bias (NULL: none) for each of `count` tokens, group-limited as rule v3; weights
// are the scores without bias, normalised and scaled as asked. Ties go to the lower id.
struct selection {
    uint16_t *ids;              // out: [count, topk]
    float *weights;             // out: likewise
    const float *logits, *bias; // [count, experts], [experts]
    uint32_t count;
    struct select_shape shape;
    int32_t *wide_ids; // out: ids once more; NULL: not wanted
};

// out row i = in row index[i] in out's format (index NULL: i; UINT32_MAX: zeros). Between equal
// formats bytes are copied, metadata after the values included when the strides are equal.
struct row_gather {
    struct row_block out, in;
    const uint32_t *index;
    uint64_t count;
    uint32_t width;
};

// Metadata of wire rows, at byte `offset`: topk int32 ids and topk fp32 weights of the token
// index[i] (none for topk 0), then int32 index[i] (-1: unused slot).
struct row_meta {
    struct row_block rows;
    size_t offset;
    const uint16_t *ids;
    const float *weights;
    uint32_t topk;
    const uint32_t *index;
    uint64_t count;
};

// out row i = sum over j in first[i] .. first[i + 1] - 1 of weight[j] * in row source[j], in fp32,
// in order; weight NULL: 1. `add`: to what out holds.
struct row_sums {
    struct row_block out, in;
    const uint64_t *first;
    const uint32_t *source;
    const float *weight;
    uint64_t count;
    uint32_t width;
    bool add;
};

// out[i] = the checksum (real/values.h) of row i, all `stride` bytes of it.
struct row_checksums {
    uint64_t *out;
    struct row_block rows;
    uint64_t count;
};

// Grouped SwiGLU: y = down(silu(gate x) * (up x)). Group g has rows first[g] .. first[g + 1] - 1 of
// `in` and `out` (activation format, dense), and weights gate_up[g] ([2 * intermediate, hidden],
// gate rows first) and down[g] ([hidden, intermediate]), row-major, activation format. Where groups
// stand apart in `in` and `out`, at[g] is where group g begins there.
struct ffn {
    uint32_t groups, hidden, intermediate;
    const uint64_t *first; // [groups + 1], host memory
    const void *const *gate_up;
    const void *const *down;
    const void *in;
    void *out;
    void *middle;       // workspace, rows x 3 * intermediate values
    const uint64_t *at; // [groups], host memory; NULL: first
    enum stream stream; // whose order it takes: the compute stream's, or of one group BESIDE's
};

// --- the table -----------------------------------------------------------------------------------

struct device;

struct device_ops {
    const char *name;           // "host", "cuda"
    enum row_format activation; // of dense matrices: hidden states, weights

    // Opens GPU `index` (ignored on the host). EXIT_ABSENT when there is none.
    bool (*open)(struct device **device, uint32_t index, struct error *err);
    void (*close)(struct device *device);
    void *(*alloc)(struct device *device, size_t bytes);
    void (*release)(struct device *device, void *memory);
    void (*upload)(struct device *device, void *to, const void *from, size_t bytes);
    void (*download)(struct device *device, void *to, const void *from, size_t bytes);
    bool (*sync)(struct device *device, struct error *err);
    void (*hold)(struct device *device, enum stream stream); // NULL, with go: work starts as given
    void (*go)(struct device *device);
    void (*follow)(struct device *device, enum stream stream, enum stream other);
    void (*mark)(struct device *device, enum stream stream, uint32_t mark);
    double (*elapsed_us)(struct device *device, uint32_t from, uint32_t to);

    void (*prepare_graphs)(struct device *device); // all five NULL: the device keeps no graphs
    void (*capture_begin)(struct device *device);
    void *(*capture_end)(struct device *device);
    void (*replay)(struct device *device, void *graph);
    void (*release_graph)(struct device *device, void *graph);

    void (*fill)(struct device *device, const struct tensor_fill *fill);
    void (*rmsnorm)(struct device *device, void *out, const void *in, uint32_t count,
                    uint32_t width);
    void (*router)(struct device *device, const struct router_product *router);
    void (*select)(struct device *device, const struct selection *selection);
    void (*gather)(struct device *device, enum stream stream, const struct row_gather *gather);
    void (*put_meta)(struct device *device, enum stream stream, const struct row_meta *meta);
    void (*reduce)(struct device *device, enum stream stream, const struct row_sums *sums);
    void (*checksum)(struct device *device, enum stream stream, const struct row_checksums *sums);
    void (*ffn)(struct device *device, const struct ffn *ffn);

    // Copies device memory in a stream of its own, and waits for it: called by a thread beside the
    // one that gives all other work. Errors do not stick. `bytes` is a multiple of 16 KiB.
    bool (*copy_beside)(struct device *device, void *to, const void *from, size_t bytes);
};

// What every device begins with; each implementation adds its own behind it.
struct device {
    const struct device_ops *ops;
};

extern const struct device_ops device_host;
#ifdef EPSIM_CUDA
extern const struct device_ops device_cuda;
#endif

// --- memory, order, time -------------------------------------------------------------------------

static inline void device_close(struct device *device)
{
    device->ops->close(device);
}

static inline size_t device_value_bytes(const struct device *device)
{
    return device->ops->activation == ROW_BF16 ? 2 : 4;
}

// A dense matrix of rows of `width` activations.
static inline struct row_block device_dense(const struct device *device, void *base, uint32_t width)
{
    const struct row_block rows = {base, width * device_value_bytes(device),
                                   device->ops->activation};
    return rows;
}

// A failed allocation sticks and returns NULL.
static inline void *device_alloc(struct device *device, size_t bytes)
{
    return device->ops->alloc(device, bytes);
}

static inline void device_release(struct device *device, void *memory)
{
    device->ops->release(device, memory);
}

static inline void device_upload(struct device *device, void *to, const void *from, size_t bytes)
{
    device->ops->upload(device, to, from, bytes);
}

// Waits for the bytes.
static inline void device_download(struct device *device, void *to, const void *from, size_t bytes)
{
    device->ops->download(device, to, from, bytes);
}

// Waits for all streams; false with the first error that stuck.
static inline bool device_sync(struct device *device, struct error *err)
{
    return device->ops->sync(device, err);
}

// Holds back what `stream` is given from here on, until go (transport_let_go calls it): work that
// is queued by then takes the time that the device needs, and not the host's to give it. Opens by
// itself after 10 ms, for queues are not endless. Nothing where the device cannot hold work back.
static inline void device_hold(struct device *device, enum stream stream)
{
    if (device->ops->hold)
        device->ops->hold(device, stream);
}

// Later work on `stream` waits for what `other` has been given so far.
static inline void device_follow(struct device *device, enum stream stream, enum stream other)
{
    device->ops->follow(device, stream, other);
}

// Marks a point in a stream (0 .. 63); elapsed gives the microseconds between two, after sync.
static inline void device_mark(struct device *device, enum stream stream, uint32_t mark)
{
    device->ops->mark(device, stream, mark);
}

static inline double device_elapsed_us(struct device *device, uint32_t from, uint32_t to)
{
    return device->ops->elapsed_us(device, from, to);
}

// --- graphs --------------------------------------------------------------------------------------

static inline bool device_keeps_graphs(const struct device *device)
{
    return device->ops->replay != NULL;
}

// What graphs need and a capture must not make. Once, before the work that is to be kept is first
// done, and before any work on STREAM_BESIDE.
static inline void device_prepare_graphs(struct device *device)
{
    device->ops->prepare_graphs(device);
}

// From here to capture_end the streams' work is kept and not done: kernels and exchanges, each of
// which has been done once before, and follow. Marks are left out; nothing may be held, waited for,
// moved from or to the host, or allocated. All streams are idle, and begin after the compute
// stream.
static inline void device_capture_begin(struct device *device)
{
    device->ops->capture_begin(device);
}

// The graph of that work, all streams joined; NULL after an error, which sticks. To be released
// before what it uses goes: memory, and the transport.
static inline void *device_capture_end(struct device *device)
{
    return device->ops->capture_end(device);
}

// Does the work of a graph in the order of the compute stream.
static inline void device_replay(struct device *device, void *graph)
{
    device->ops->replay(device, graph);
}

// A graph that is not being replayed; NULL is none.
static inline void device_release_graph(struct device *device, void *graph)
{
    device->ops->release_graph(device, graph);
}

// --- kernels -------------------------------------------------------------------------------------

static inline void device_fill(struct device *device, const struct tensor_fill *fill)
{
    device->ops->fill(device, fill);
}

// Root mean square norm of `count` dense rows, epsilon 1e-6, gain 1.
static inline void device_rmsnorm(struct device *device, void *out, const void *in, uint32_t count,
                                  uint32_t width)
{
    device->ops->rmsnorm(device, out, in, count, width);
}

static inline void device_router(struct device *device, const struct router_product *router)
{
    device->ops->router(device, router);
}

static inline void device_select(struct device *device, const struct selection *selection)
{
    device->ops->select(device, selection);
}

static inline void device_gather(struct device *device, enum stream stream,
                                 const struct row_gather *gather)
{
    device->ops->gather(device, stream, gather);
}

static inline void device_put_meta(struct device *device, enum stream stream,
                                   const struct row_meta *meta)
{
    device->ops->put_meta(device, stream, meta);
}

static inline void device_reduce(struct device *device, enum stream stream,
                                 const struct row_sums *sums)
{
    device->ops->reduce(device, stream, sums);
}

static inline void device_checksum(struct device *device, enum stream stream,
                                   const struct row_checksums *sums)
{
    device->ops->checksum(device, stream, sums);
}

static inline void device_ffn(struct device *device, const struct ffn *ffn)
{
    device->ops->ffn(device, ffn);
}

#endif
