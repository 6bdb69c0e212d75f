// The host device: plain C on host memory, fp32 activations, matrix products by CBLAS. Everything
// is done when a call returns, so streams are only names.
#include "real/device.h"

#include "base/mem.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

#define MARKS 64

struct host {
    struct device base;
    bool failed;
    struct error error; // the first that stuck
    uint64_t mark_ns[MARKS];
    float fp8_value[256]; // fp8_to_float of every byte
    uint32_t row_width;   // room in the two rows below
    float *row, *sum;     // one row in fp32, on its way between formats
};

static struct host *host_of(struct device *device)
{
    return (struct host *)device;
}

// Keeps the first failure. Returns false.
static bool host_fail(struct host *host, const char *what, size_t bytes)
{
    if (!host->failed)
        error_set(&host->error, EXIT_RUNTIME, "host memory: %zu bytes for %s: not to be had", bytes,
                  what);
    host->failed = true;
    return false;
}

static bool host_open(struct device **device, uint32_t index, struct error *err)
{
    struct host *opened = mem_alloc(1, sizeof *opened);
    (void)index;
    (void)err;
    opened->base.ops = &device_host;
    for (uint32_t byte = 0; byte < 256; byte++)
        opened->fp8_value[byte] = fp8_to_float((uint8_t)byte);
    *device = &opened->base;
    return true;
}

static void host_close(struct device *device)
{
    struct host *host = host_of(device);
    free(host->row);
    free(host->sum);
    free(host);
}

static void *host_alloc(struct device *device, size_t bytes)
{
    if (host_of(device)->failed)
        return NULL;
    void *memory = malloc(bytes ? bytes : 1); // NULL would read as a failure
    if (!memory)
        host_fail(host_of(device), "an array", bytes);
    return memory;
}

static void host_release(struct device *device, void *memory)
{
    (void)device;
    free(memory);
}

static void host_upload(struct device *device, void *to, const void *from, size_t bytes)
{
    if (!host_of(device)->failed && bytes)
        memcpy(to, from, bytes);
}

static bool host_sync(struct device *device, struct error *err)
{
    const struct host *host = host_of(device);
    if (host->failed)
        *err = host->error;
    return !host->failed;
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
    host_of(device)->mark_ns[mark] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double host_elapsed_us(struct device *device, uint32_t from, uint32_t to)
{
    const uint64_t *mark_ns = host_of(device)->mark_ns;
    assert(from < MARKS && to < MARKS);
    return (double)(int64_t)(mark_ns[to] - mark_ns[from]) / 1e3;
}

static void host_fill(struct device *device, const struct tensor_fill *fill)
{
    float *out = fill->values;
    if (host_of(device)->failed)
        return;
    for (uint64_t i = 0; i < fill->count; i++)
        out[i] = fill->scale * value_at(fill->seed, fill->tensor, i);
}

static void host_rmsnorm(struct device *device, void *out, const void *in, uint32_t count,
                         uint32_t width)
{
    if (host_of(device)->failed)
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
struct host_product {
    float *out;
    const float *in, *weight;
    uint64_t rows, columns, inner;
};

static void host_multiply(const struct host_product *product)
{
    const int m = (int)product->rows, n = (int)product->columns, k = (int)product->inner;
    assert(product->rows <= INT_MAX && product->columns <= INT_MAX && product->inner <= INT_MAX);
    if (product->rows)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, product->in, k,
                    product->weight, k, 0, product->out, n);
}

static void host_router(struct device *device, const struct router_product *router)
{
    if (!host_of(device)->failed)
        host_multiply(&(struct host_product){.out = router->logits,
                                             .in = router->in,
                                             .weight = router->weight,
                                             .rows = router->count,
                                             .columns = router->experts,
                                             .inner = router->hidden});
}

// --- selection ----------------------------------------------------------------------------------

static void host_softmax(float *scores, const float *logits, uint32_t experts)
{
    float max = logits[0], sum = 0;
    for (uint32_t e = 1; e < experts; e++)
        max = fmaxf(max, logits[e]);
    for (uint32_t e = 0; e < experts; e++)
        sum += scores[e] = expf(logits[e] - max);
    for (uint32_t e = 0; e < experts; e++)
        scores[e] /= sum;
}

static void host_scores(float *scores, const float *logits, const struct select_shape *shape)
{
    if (shape->score == SCORE_SOFTMAX) {
        host_softmax(scores, logits, shape->experts);
        return;
    }
    for (uint32_t e = 0; e < shape->experts; e++)
        scores[e] = 1 / (1 + expf(-logits[e]));
}

// The first of the largest, which is taken out of further rounds.
static uint32_t host_take_largest(float *values, uint32_t count)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i < count; i++)
        if (values[i] > values[largest])
            largest = i;
    values[largest] = -INFINITY;
    return largest;
}

static float host_group_worth(const float *values, uint32_t size)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t i = 0; i < size; i++) {
        second = fmaxf(second, fminf(first, values[i]));
        first = fmaxf(first, values[i]);
    }
    return size > 1 ? first + second : first;
}

// Takes the experts of all but the topk_groups most worthy groups out of the choice.
static void host_limit_groups(float *values, const struct select_shape *shape)
{
    float worth[MOE_MAX_EXPERTS];
    bool kept[MOE_MAX_EXPERTS] = {false};
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t g = 0; g < shape->groups; g++)
        worth[g] = host_group_worth(values + (size_t)g * size, size);
    for (uint32_t round = 0; round < shape->topk_groups; round++)
        kept[host_take_largest(worth, shape->groups)] = true;
    for (uint32_t e = 0; e < shape->experts; e++)
        if (!kept[e / size])
            values[e] = -INFINITY;
}

static void host_weigh(float *weights, const struct select_shape *shape)
{
    float sum = 0;
    for (uint32_t k = 0; k < shape->topk; k++)
        sum += weights[k];
    // DeepSeek-V3's guard: scores that all vanish must not become NaN.
    const float factor = shape->normalise ? shape->scaling / (sum + 1e-20f) : shape->scaling;
    for (uint32_t k = 0; k < shape->topk; k++)
        weights[k] *= factor;
}

static void host_select_token(uint16_t *ids, float *weights, const float *logits, const float *bias,
                              const struct select_shape *shape)
{
    float scores[MOE_MAX_EXPERTS], values[MOE_MAX_EXPERTS];
    host_scores(scores, logits, shape);
    for (uint32_t e = 0; e < shape->experts; e++)
        values[e] = bias ? scores[e] + bias[e] : scores[e];
    if (shape->groups > 1 && shape->topk_groups < shape->groups)
        host_limit_groups(values, shape);
    for (uint32_t k = 0; k < shape->topk; k++) {
        ids[k] = (uint16_t)host_take_largest(values, shape->experts);
        weights[k] = scores[ids[k]];
    }
    host_weigh(weights, shape);
}

static void host_select(struct device *device, const struct selection *of)
{
    const struct select_shape *shape = &of->shape;
    assert(shape->experts <= MOE_MAX_EXPERTS && shape->topk <= shape->experts);
    if (host_of(device)->failed)
        return;
    for (uint32_t t = 0; t < of->count; t++)
        host_select_token(of->ids + (size_t)t * shape->topk, of->weights + (size_t)t * shape->topk,
                          of->logits + (size_t)t * shape->experts, of->bias, shape);
    for (size_t i = 0; of->wide_ids && i < (size_t)of->count * shape->topk; i++)
        of->wide_ids[i] = of->ids[i];
}

// --- rows ---------------------------------------------------------------------------------------

static void *host_row(struct row_block block, uint64_t index)
{
    return (unsigned char *)block.base + block.stride * index;
}

static uint32_t host_block_values(uint32_t width, uint32_t first)
{
    return width - first < FP8_BLOCK ? width - first : FP8_BLOCK;
}

// Scales may stand at any address, for a row's width is any number: they are copied out and in.
static void host_read_fp8(const struct host *host, float *to, const uint8_t *from, uint32_t width)
{
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        float scale;
        memcpy(&scale, from + width + first / FP8_BLOCK * sizeof scale, sizeof scale);
        for (uint32_t i = first; i < first + host_block_values(width, first); i++)
            to[i] = host->fp8_value[from[i]] * scale;
    }
}

static void host_write_fp8(uint8_t *to, const float *from, uint32_t width)
{
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        const uint32_t values = host_block_values(width, first);
        float max = 0;
        for (uint32_t i = first; i < first + values; i++)
            max = fmaxf(max, fabsf(from[i]));
        const float scale = fp8_scale(max);
        for (uint32_t i = first; i < first + values; i++)
            to[i] = fp8_from_float(from[i] / scale);
        memcpy(to + width + first / FP8_BLOCK * sizeof scale, &scale, sizeof scale);
    }
}

// Values in bf16, as scales, may stand at any address.
static void host_read_row(const struct host *host, float *to, const void *from,
                          enum row_format format, uint32_t width)
{
    uint16_t half;
    if (format == ROW_FP8)
        host_read_fp8(host, to, from, width);
    else if (format == ROW_FP32)
        memcpy(to, from, row_bytes(ROW_FP32, width));
    for (uint32_t i = 0; format == ROW_BF16 && i < width; i++) {
        memcpy(&half, (const char *)from + i * sizeof half, sizeof half);
        to[i] = bf16_to_float(half);
    }
}

static void host_write_row(void *to, const float *from, enum row_format format, uint32_t width)
{
    if (format == ROW_FP8)
        host_write_fp8(to, from, width);
    else if (format == ROW_FP32)
        memcpy(to, from, row_bytes(ROW_FP32, width));
    for (uint32_t i = 0; format == ROW_BF16 && i < width; i++) {
        const uint16_t half = bf16_from_float(from[i]);
        memcpy((char *)to + i * sizeof half, &half, sizeof half);
    }
}

// Room for a row in fp32; false once the device has failed.
static bool host_reserve_rows(struct host *host, uint32_t width)
{
    if (host->failed || width <= host->row_width)
        return !host->failed;
    free(host->row);
    free(host->sum);
    host->row = malloc(width * sizeof(float));
    host->sum = malloc(width * sizeof(float));
    host->row_width = width;
    return (host->row && host->sum) || host_fail(host, "two rows", 2 * width * sizeof(float));
}

static void host_gather(struct device *device, enum stream stream, const struct row_gather *of)
{
    struct host *host = host_of(device);
    const enum row_format to = of->out.format, from = of->in.format;
    const bool whole = from == to && of->in.stride == of->out.stride;
    const size_t bytes = whole ? of->out.stride : row_bytes(to, of->width);
    (void)stream;
    if (!host_reserve_rows(host, of->width))
        return;
    for (uint64_t i = 0; i < of->count; i++) {
        const uint64_t source = of->index ? of->index[i] : i;
        if (of->index && source == UINT32_MAX) {
            memset(host_row(of->out, i), 0, bytes); // a zero scale too: every value reads as 0
        } else if (from == to) {
            memcpy(host_row(of->out, i), host_row(of->in, source), bytes);
        } else {
            host_read_row(host, host->row, host_row(of->in, source), from, of->width);
            host_write_row(host_row(of->out, i), host->row, to, of->width);
        }
    }
}

// What put_meta writes of one token; unused slots carry experts -1 of weight 0.
static void host_put_row_meta(unsigned char *to, const struct row_meta *of, int32_t token)
{
    const uint32_t topk = of->topk;
    for (uint32_t k = 0; k < topk; k++) {
        const int32_t id = token < 0 ? -1 : of->ids[(size_t)token * topk + k];
        const float weight = token < 0 ? 0 : of->weights[(size_t)token * topk + k];
        memcpy(to + k * sizeof id, &id, sizeof id);
        memcpy(to + (topk + k) * sizeof weight, &weight, sizeof weight);
    }
    memcpy(to + 2 * (size_t)topk * sizeof token, &token, sizeof token);
}

static void host_put_meta(struct device *device, enum stream stream, const struct row_meta *of)
{
    (void)stream;
    if (host_of(device)->failed)
        return;
    for (uint64_t i = 0; i < of->count; i++)
        host_put_row_meta((unsigned char *)host_row(of->rows, i) + of->offset, of,
                          of->index[i] == UINT32_MAX ? -1 : (int32_t)of->index[i]);
}

// One row of sums, in fp32 and in order.
static void host_sum_row(struct host *host, const struct row_sums *of, uint64_t row)
{
    memset(host->sum, 0, of->width * sizeof(float));
    if (of->add)
        host_read_row(host, host->sum, host_row(of->out, row), of->out.format, of->width);
    for (uint64_t j = of->first[row]; j < of->first[row + 1]; j++) {
        const float factor = of->weight ? of->weight[j] : 1;
        host_read_row(host, host->row, host_row(of->in, of->source[j]), of->in.format, of->width);
        for (uint32_t v = 0; v < of->width; v++)
            host->sum[v] += factor * host->row[v];
    }
    host_write_row(host_row(of->out, row), host->sum, of->out.format, of->width);
}

static void host_reduce(struct device *device, enum stream stream, const struct row_sums *of)
{
    (void)stream;
    if (!host_reserve_rows(host_of(device), of->width))
        return;
    for (uint64_t i = 0; i < of->count; i++)
        host_sum_row(host_of(device), of, i);
}

static uint64_t host_checksum_row(const unsigned char *row, size_t bytes)
{
    uint64_t sum = 0, word;
    for (size_t at = 0; at < bytes; at += sizeof word) {
        word = 0;
        memcpy(&word, row + at, bytes - at < sizeof word ? bytes - at : sizeof word);
        sum += checksum_word(word, at / sizeof word);
    }
    return sum;
}

static void host_checksum(struct device *device, enum stream stream, const struct row_checksums *of)
{
    (void)stream;
    for (uint64_t i = 0; !host_of(device)->failed && i < of->count; i++)
        of->out[i] = host_checksum_row(host_row(of->rows, i), of->rows.stride);
}

// --- experts ------------------------------------------------------------------------------------

// One group: gate and up side by side, their product behind them, then down.
static void host_group_ffn(const struct ffn *ffn, uint32_t group)
{
    const uint64_t row = ffn->first[group], rows = ffn->first[group + 1] - row;
    const uint64_t at = ffn->at ? ffn->at[group] : row;
    const size_t hidden = ffn->hidden, inner = ffn->intermediate;
    float *both = (float *)ffn->middle + row * 3 * inner, *product = both + rows * 2 * inner;
    host_multiply(&(struct host_product){both, (const float *)ffn->in + at * hidden,
                                         ffn->gate_up[group], rows, 2 * inner, hidden});
    for (uint64_t r = 0; r < rows; r++) {
        const float *gate = both + r * 2 * inner, *up = gate + inner;
        for (size_t i = 0; i < inner; i++)
            product[r * inner + i] = gate[i] / (1 + expf(-gate[i])) * up[i];
    }
    host_multiply(&(struct host_product){(float *)ffn->out + at * hidden, product, ffn->down[group],
                                         rows, hidden, inner});
}

static void host_ffn(struct device *device, const struct ffn *ffn)
{
    for (uint32_t g = 0; !host_of(device)->failed && g < ffn->groups; g++)
        if (ffn->first[g + 1] > ffn->first[g])
            host_group_ffn(ffn, g);
}

static bool host_copy_beside(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    memcpy(to, from, bytes);
    return true;
}

const struct device_ops device_host = {
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
    .checksum = host_checksum,
    .ffn = host_ffn,
    .copy_beside = host_copy_beside,
};
