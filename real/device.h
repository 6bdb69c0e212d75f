// A device: memory and the kernels of the six steps, behind one table of functions, so that the
// layer is written once for host memory and for CUDA. Host kernels are real/host.c, CUDA ones
// real/cuda.c and real/kernels.cu.
//
// Work on CUDA is asynchronous, in order within a stream. Errors stick: after one, further calls do
// nothing, and device_sync reports it.
#ifndef REAL_DEVICE_H
#define REAL_DEVICE_H

#include "base/error.h"
#include "model/moe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How the values of a row are stored. FP8 is E4M3 (4 exponent, 3 mantissa bits, saturating at 448)
// with one fp32 scale a block of 128 values, max |x| / 448, standing after the row's values.
enum row_format { ROW_FP32, ROW_BF16, ROW_FP8 };

// `count` rows of `width` values, `stride` bytes apart.
struct row_block {
    void *base;
    size_t stride;
    enum row_format format;
};

// Streams, as far as the device has them: work on different ones may run side by side.
enum stream { STREAM_COMPUTE, STREAM_INTER, STREAM_INTRA, STREAMS };

// Parameters of top-k selection (struct moe's router).
struct select_shape {
    uint32_t experts, topk, groups, topk_groups;
    enum score score;
    bool normalise;
    float scaling;
};

// Grouped SwiGLU: y = down(silu(gate x) * (up x)). Group g has rows first[g] .. first[g + 1] - 1 of
// `in` and `out` (activation format, dense), and weights gate_up[g] ([2 * intermediate, hidden],
// gate rows first) and down[g] ([hidden, intermediate]), row-major, activation format.
struct ffn {
    uint32_t groups, hidden, intermediate;
    const uint64_t *first; // [groups + 1], host memory
    const void *const *gate_up;
    const void *const *down;
    const void *in;
    void *out;
    void *middle; // workspace, rows x 3 * intermediate values
};

struct device; // each implementation's own

struct device_table {
    const char *name;           // "host", "cuda"
    enum row_format activation; // of dense matrices: hidden states, weights

    // Opens GPU `index` (ignored on the host). EXIT_ABSENT when there is none.
    bool (*open)(struct device **device, uint32_t index, struct error *err);
    void (*close)(struct device *device);

    // A failed allocation sticks and returns NULL.
    void *(*alloc)(struct device *device, size_t bytes);
    void (*release)(struct device *device, void *memory);
    void (*upload)(struct device *device, void *to, const void *from, size_t bytes);
    void (*download)(struct device *device, void *to, const void *from, size_t bytes); // waits
    // Waits for all streams; false with the first error that stuck.
    bool (*sync)(struct device *device, struct error *err);

    // Holds back what `stream` is given from here on, until go: work that is queued by then takes
    // the time that the device needs, and not the host's to give it. Opens by itself after 10 ms,
    // for queues are not endless. NULL, both: the device does work as it is given.
    void (*hold)(struct device *device, enum stream stream);
    void (*go)(struct device *device);

    // Later work on `stream` waits for what `other` has been given so far.
    void (*follow)(struct device *device, enum stream stream, enum stream other);
    // Marks a point in a stream (0 .. 63); elapsed gives the microseconds between two, after sync.
    void (*mark)(struct device *device, enum stream stream, uint32_t mark);
    double (*elapsed_us)(struct device *device, uint32_t from, uint32_t to);

    // --- kernels; all index lists are device memory -------------------------------------------

    // values[i] = scale * u(seed, tensor, i), u uniform in [-1, 1) with 24 bits: real/values.h.
    void (*fill)(struct device *device, void *values, uint64_t count, uint64_t seed,
                 uint64_t tensor, float scale);
    // Root mean square norm of `count` dense rows, epsilon 1e-6, gain 1.
    void (*rmsnorm)(struct device *device, void *out, const void *in, uint32_t count,
                    uint32_t width);
    // logits [count, experts] fp32 = in [count, hidden] x weight [experts, hidden] transposed.
    void (*router)(struct device *device, float *logits, const void *in, const void *weight,
                   uint32_t count, uint32_t hidden, uint32_t experts);
    // Top-k of scores + bias (NULL: none), group-limited as rule v3; weights are the scores without
    // bias, normalised and scaled as asked. Ties go to the lower id.
    void (*select)(struct device *device, uint16_t *ids, float *weights, const float *logits,
                   const float *bias, uint32_t count, const struct select_shape *shape);
    // out row i = in row index[i] in out's format (index NULL: i; UINT32_MAX: zeros). Between equal
    // formats bytes are copied, metadata after the values included when the strides are equal.
    void (*gather)(struct device *device, enum stream stream, struct row_block out,
                   struct row_block in, const uint32_t *index, uint64_t count, uint32_t width);
    // Writes metadata into wire rows at byte `offset`: topk int32 ids and topk fp32 weights of the
    // token index[i] (none for topk 0), then int32 index[i] (-1: unused slot).
    void (*put_meta)(struct device *device, enum stream stream, struct row_block rows,
                     size_t offset, const uint16_t *ids, const float *weights, uint32_t topk,
                     const uint32_t *index, uint64_t count);
    // out row i = sum over j in first[i] .. first[i + 1] - 1 of weight[j] * in row source[j], in
    // fp32, in order; weight NULL: 1. `add`: to what out holds (activation format only).
    void (*reduce)(struct device *device, enum stream stream, struct row_block out,
                   struct row_block in, const uint64_t *first, const uint32_t *source,
                   const float *weight, uint64_t count, uint32_t width, bool add);
    void (*ffn)(struct device *device, const struct ffn *ffn);
};

extern const struct device_table device_host;
#ifdef EPSIM_CUDA
extern const struct device_table device_cuda;
#endif

#endif
