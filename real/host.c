// The host device: plain C on host memory, fp32 activations, matrix products by CBLAS. Everything
// is done when a call returns, so streams are only names.
#include "real/device.h"

#include "base/mem.h"
#include "real/values.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

#define MARKS 64

struct device {
    bool failed;
    struct error error; // the first that stuck
    uint64_t mark_ns[MARKS];
    float fp8_value[256]; // fp8_to_float of every byte
    uint32_t row_width;   // room in the two rows below
    float *row, *sum;     // one row in fp32, on its way between formats
};

static bool fail(struct device *device, const char *what, size_t bytes)
{
    if (!device->failed)
        error_set(&device->error, EXIT_RUNTIME, "host memory: %zu bytes for %s: not to be had",
                  bytes, what);
    device->failed = true;
    return false;
}

static bool host_open(struct device **device, uint32_t index, struct error *err)
{
    (void)index;
    (void)err;
    *device = mem_alloc(1, sizeof **device);
    for (uint32_t byte = 0; byte < 256; byte++)
        (*device)->fp8_value[byte] = fp8_to_float((uint8_t)byte);
    return true;
}

static void host_close(struct device *device)
{
    if (!device)
        return;
    free(device->row);
    free(device->sum);
    free(device);
}

static void *host_alloc(struct device *device, size_t bytes)
{
    if (device->failed)
        return NULL;
    void *memory = malloc(bytes ? bytes : 1); // NULL would read as a failure
    if (!memory)
        fail(device, "an array", bytes);
    return memory;
}

static void host_release(struct device *device, void *memory)
{
    (void)device;
    free(memory);
}

static void host_upload(struct device *device, void *to, const void *from, size_t bytes)
{
    if (!device->failed && bytes)
        memcpy(to, from, bytes);
}

static bool host_sync(struct device *device, struct error *err)
{
    if (device->failed)
        *err = device->error;
    return !device->failed;
}

static void host_follow(struct device *device, enum stream stream, enum stream other)
{
    (void)device;
    (void)stream;
    (void)other;
}

static void host_mark(struct device *device, enum stream stream, uint32_t mark)
{
    struct timespec now;
    (void)stream;
    assert(mark < MARKS);
    clock_gettime(CLOCK_MONOTONIC, &now);
    device->mark_ns[mark] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double host_elapsed_us(struct device *device, uint32_t from, uint32_t to)
{
    assert(from < MARKS && to < MARKS);
    return (double)(int64_t)(device->mark_ns[to] - device->mark_ns[from]) / 1e3;
}

static void host_fill(struct device *device, void *values, uint64_t count, uint64_t seed,
                      uint64_t tensor, float scale)
{
    float *out = values;
    if (device->failed)
        return;
    for (uint64_t i = 0; i < count; i++)
        out[i] = scale * value_at(seed, tensor, i);
}

static void host_rmsnorm(struct device *device, void *out, const void *in, uint32_t count,
                         uint32_t width)
{
    if (device->failed)
        return;
    for (uint32_t r = 0; r < count; r++) {
        const float *from = (const float *)in + (size_t)r * width;
        float *to = (float *)out + (size_t)r * width;
        double squares = 0;
        for (uint32_t i = 0; i < width; i++)
            squares += (double)from[i] * from[i];
        const float factor = (float)(1 / sqrt(squares / width + 1e-6));
        for (uint32_t i = 0; i < width; i++)
            to[i] = from[i] * factor;
    }
}

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed.
static void multiply(float *out, const float *in, const float *weight, uint64_t rows,
                     uint64_t columns, uint64_t inner)
{
    const int m = (int)rows, n = (int)columns, k = (int)inner;
    assert(rows <= INT_MAX && columns <= INT_MAX && inner <= INT_MAX);
    if (rows)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, in, k, weight, k, 0, out,
                    n);
}

static void host_router(struct device *device, float *logits, const void *in, const void *weight,
                        uint32_t count, uint32_t hidden, uint32_t experts)
{
    if (!device->failed)
        multiply(logits, in, weight, count, experts, hidden);
}

// --- selection ----------------------------------------------------------------------------------

static void softmax(float *scores, const float *logits, uint32_t experts)
{
    float most = logits[0], sum = 0;
    for (uint32_t e = 1; e < experts; e++)
        most = fmaxf(most, logits[e]);
    for (uint32_t e = 0; e < experts; e++)
        sum += scores[e] = expf(logits[e] - most);
    for (uint32_t e = 0; e < experts; e++)
        scores[e] /= sum;
}

static void score_experts(float *scores, const float *logits, const struct select_shape *shape)
{
    if (shape->score == SCORE_SOFTMAX) {
        softmax(scores, logits, shape->experts);
        return;
    }
    for (uint32_t e = 0; e < shape->experts; e++)
        scores[e] = 1 / (1 + expf(-logits[e]));
}

// The first of the largest, which is taken out of further rounds.
static uint32_t take_largest(float *values, uint32_t count)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i < count; i++)
        if (values[i] > values[largest])
            largest = i;
    values[largest] = -INFINITY;
    return largest;
}

static float group_worth(const float *values, uint32_t size)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t i = 0; i < size; i++) {
        second = fmaxf(second, fminf(first, values[i]));
        first = fmaxf(first, values[i]);
    }
    return size > 1 ? first + second : first;
}

// Takes the experts of all but the topk_groups most worthy groups out of the choice.
static void limit_groups(float *values, const struct select_shape *shape)
{
    float worth[MOE_MAX_EXPERTS];
    bool kept[MOE_MAX_EXPERTS] = {false};
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t g = 0; g < shape->groups; g++)
        worth[g] = group_worth(values + (size_t)g * size, size);
    for (uint32_t round = 0; round < shape->topk_groups; round++)
        kept[take_largest(worth, shape->groups)] = true;
    for (uint32_t e = 0; e < shape->experts; e++)
        if (!kept[e / size])
            values[e] = -INFINITY;
}

static void weigh(float *weights, const struct select_shape *shape)
{
    float sum = 0;
    for (uint32_t k = 0; k < shape->topk; k++)
        sum += weights[k];
    // DeepSeek-V3's guard: scores that all vanish must not become NaN.
    const float factor = shape->normalise ? shape->scaling / (sum + 1e-20f) : shape->scaling;
    for (uint32_t k = 0; k < shape->topk; k++)
        weights[k] *= factor;
}

static void select_token(uint16_t *ids, float *weights, const float *logits, const float *bias,
                         const struct select_shape *shape)
{
    float scores[MOE_MAX_EXPERTS], values[MOE_MAX_EXPERTS];
    score_experts(scores, logits, shape);
    for (uint32_t e = 0; e < shape->experts; e++)
        values[e] = bias ? scores[e] + bias[e] : scores[e];
    if (shape->groups > 1 && shape->topk_groups < shape->groups)
        limit_groups(values, shape);
    for (uint32_t k = 0; k < shape->topk; k++) {
        ids[k] = (uint16_t)take_largest(values, shape->experts);
        weights[k] = scores[ids[k]];
    }
    weigh(weights, shape);
}

static void host_select(struct device *device, uint16_t *ids, float *weights, const float *logits,
                        const float *bias, uint32_t count, const struct select_shape *shape)
{
    assert(shape->experts <= MOE_MAX_EXPERTS && shape->topk <= shape->experts);
    if (device->failed)
        return;
    for (uint32_t t = 0; t < count; t++)
        select_token(ids + (size_t)t * shape->topk, weights + (size_t)t * shape->topk,
                     logits + (size_t)t * shape->experts, bias, shape);
}

// --- rows ---------------------------------------------------------------------------------------

static void *row_at(struct row_block block, uint64_t index)
{
    return (unsigned char *)block.base + block.stride * index;
}

static size_t row_bytes(enum row_format format, uint32_t width)
{
    if (format == ROW_FP8)
        return width + sizeof(float) * ((width + FP8_BLOCK - 1) / FP8_BLOCK);
    return (size_t)width * (format == ROW_BF16 ? sizeof(uint16_t) : sizeof(float));
}

static uint32_t block_values(uint32_t width, uint32_t first)
{
    return width - first < FP8_BLOCK ? width - first : FP8_BLOCK;
}

// Scales may stand at any address, for a row's width is any number: they are copied out and in.
static void read_fp8(const struct device *device, float *to, const uint8_t *from, uint32_t width)
{
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        float scale;
        memcpy(&scale, from + width + first / FP8_BLOCK * sizeof scale, sizeof scale);
        for (uint32_t i = first; i < first + block_values(width, first); i++)
            to[i] = device->fp8_value[from[i]] * scale;
    }
}

static void write_fp8(uint8_t *to, const float *from, uint32_t width)
{
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        const uint32_t values = block_values(width, first);
        float most = 0;
        for (uint32_t i = first; i < first + values; i++)
            most = fmaxf(most, fabsf(from[i]));
        const float scale = fp8_scale(most);
        for (uint32_t i = first; i < first + values; i++)
            to[i] = fp8_from_float(from[i] / scale);
        memcpy(to + width + first / FP8_BLOCK * sizeof scale, &scale, sizeof scale);
    }
}

static void read_bf16(float *to, const uint8_t *from, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++) {
        uint16_t half;
        memcpy(&half, from + i * sizeof half, sizeof half);
        to[i] = bf16_to_float(half);
    }
}

static void write_bf16(uint8_t *to, const float *from, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++) {
        const uint16_t half = bf16_from_float(from[i]);
        memcpy(to + i * sizeof half, &half, sizeof half);
    }
}

static void read_row(const struct device *device, float *to, const void *from,
                     enum row_format format, uint32_t width)
{
    if (format == ROW_FP8)
        read_fp8(device, to, from, width);
    else if (format == ROW_BF16)
        read_bf16(to, from, width);
    else
        memcpy(to, from, row_bytes(ROW_FP32, width));
}

static void write_row(void *to, const float *from, enum row_format format, uint32_t width)
{
    if (format == ROW_FP8)
        write_fp8(to, from, width);
    else if (format == ROW_BF16)
        write_bf16(to, from, width);
    else
        memcpy(to, from, row_bytes(ROW_FP32, width));
}

// Room for a row in fp32; false once the device has failed.
static bool reserve_rows(struct device *device, uint32_t width)
{
    if (device->failed || width <= device->row_width)
        return !device->failed;
    free(device->row);
    free(device->sum);
    device->row = malloc(width * sizeof(float));
    device->sum = malloc(width * sizeof(float));
    device->row_width = width;
    return (device->row && device->sum) || fail(device, "two rows", 2 * width * sizeof(float));
}

static void host_gather(struct device *device, enum stream stream, struct row_block out,
                        struct row_block in, const uint32_t *index, uint64_t count, uint32_t width)
{
    const bool same = in.format == out.format, whole = same && in.stride == out.stride;
    const size_t bytes = whole ? out.stride : row_bytes(out.format, width);
    (void)stream;
    if (!reserve_rows(device, width))
        return;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t from = index ? index[i] : i;
        if (index && index[i] == UINT32_MAX) {
            memset(row_at(out, i), 0, bytes); // a zero scale too: every value reads as 0
        } else if (same) {
            memcpy(row_at(out, i), row_at(in, from), bytes);
        } else {
            read_row(device, device->row, row_at(in, from), in.format, width);
            write_row(row_at(out, i), device->row, out.format, width);
        }
    }
}

// What put_meta writes of one token; unused slots carry experts -1 of weight 0.
static void put_row_meta(unsigned char *to, const uint16_t *ids, const float *weights,
                         uint32_t topk, int32_t token)
{
    for (uint32_t k = 0; k < topk; k++) {
        const int32_t id = token < 0 ? -1 : ids[(size_t)token * topk + k];
        const float weight = token < 0 ? 0 : weights[(size_t)token * topk + k];
        memcpy(to + k * sizeof id, &id, sizeof id);
        memcpy(to + (topk + k) * sizeof weight, &weight, sizeof weight);
    }
    memcpy(to + 2 * (size_t)topk * sizeof token, &token, sizeof token);
}

static void host_put_meta(struct device *device, enum stream stream, struct row_block rows,
                          size_t offset, const uint16_t *ids, const float *weights, uint32_t topk,
                          const uint32_t *index, uint64_t count)
{
    (void)stream;
    if (device->failed)
        return;
    for (uint64_t i = 0; i < count; i++)
        put_row_meta((unsigned char *)row_at(rows, i) + offset, ids, weights, topk,
                     index[i] == UINT32_MAX ? -1 : (int32_t)index[i]);
}

static void host_reduce(struct device *device, enum stream stream, struct row_block out,
                        struct row_block in, const uint64_t *first, const uint32_t *source,
                        const float *weight, uint64_t count, uint32_t width, bool add)
{
    (void)stream;
    assert(!add || out.format == ROW_FP32);
    if (!reserve_rows(device, width))
        return;
    for (uint64_t i = 0; i < count; i++) {
        memset(device->sum, 0, width * sizeof(float));
        if (add)
            read_row(device, device->sum, row_at(out, i), out.format, width);
        for (uint64_t j = first[i]; j < first[i + 1]; j++) {
            const float factor = weight ? weight[j] : 1;
            read_row(device, device->row, row_at(in, source[j]), in.format, width);
            for (uint32_t v = 0; v < width; v++)
                device->sum[v] += factor * device->row[v];
        }
        write_row(row_at(out, i), device->sum, out.format, width);
    }
}

// --- experts ------------------------------------------------------------------------------------

// One group: gate and up side by side, their product behind them, then down.
static void group_ffn(const struct ffn *ffn, uint32_t group)
{
    const uint64_t row = ffn->first[group], rows = ffn->first[group + 1] - row;
    const size_t hidden = ffn->hidden, inner = ffn->intermediate;
    float *both = (float *)ffn->middle + row * 3 * inner, *product = both + rows * 2 * inner;
    multiply(both, (const float *)ffn->in + row * hidden, ffn->gate_up[group], rows, 2 * inner,
             hidden);
    for (uint64_t r = 0; r < rows; r++) {
        const float *gate = both + r * 2 * inner, *up = gate + inner;
        for (size_t i = 0; i < inner; i++)
            product[r * inner + i] = gate[i] / (1 + expf(-gate[i])) * up[i];
    }
    multiply((float *)ffn->out + row * hidden, product, ffn->down[group], rows, hidden, inner);
}

static void host_ffn(struct device *device, const struct ffn *ffn)
{
    for (uint32_t g = 0; !device->failed && g < ffn->groups; g++)
        if (ffn->first[g + 1] > ffn->first[g])
            group_ffn(ffn, g);
}

const struct device_table device_host = {
    .name = "host",
    .activation = ROW_FP32,
    .open = host_open,
    .close = host_close,
    .alloc = host_alloc,
    .release = host_release,
    .upload = host_upload,
    .download = host_upload, // the same copy
    .sync = host_sync,
    .follow = host_follow,
    .mark = host_mark,
    .elapsed_us = host_elapsed_us,
    .fill = host_fill,
    .rmsnorm = host_rmsnorm,
    .router = host_router,
    .select = host_select,
    .gather = host_gather,
    .put_meta = host_put_meta,
    .reduce = host_reduce,
    .ffn = host_ffn,
};
