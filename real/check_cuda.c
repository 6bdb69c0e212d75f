// Holds the CUDA device to plain loops on the CPU, and its speed to this GPU's own copy and matrix
// product. One line a check; exits 1 when any is wrong or slow, 3 when there is no GPU.
#include "base/mem.h"
#include "real/cuda.h"
#include "real/values.h"

#include <cublas_v2.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 4096u
#define HIDDEN 7168u
#define INNER 2048u
#define GROUPS 8u
#define SETS 4u          // buffers taken in turn, together far larger than the L2 cache
#define REPEATS 7u       // of a timing; the median counts
#define COPY_SHARE 0.85  // of the copy's bandwidth that row kernels must reach
#define GEMM_SHARE 0.80  // of one product's rate that the experts must reach
#define SELECT_GAP 2e-6f // scores nearer than this may change places

static const char *const format_names[] = {"fp32", "bf16", "fp8"};

static const struct device_table *const cuda = &device_cuda;
static struct device *device;
static uint32_t failures;

// ---- the table ----------------------------------------------------------------------------------

static void head(void)
{
    printf("%-6s %-44s %12s %12s %8s\n", "", "check", "error", "", "");
}

static void tell_exact(const char *what, uint64_t wrong, uint64_t total)
{
    failures += wrong > 0;
    printf("%-6s %-44s %12" PRIu64 " of %" PRIu64 " differ\n", wrong ? "FAIL" : "PASS", what, wrong,
           total);
}

static void tell_error(const char *what, double error, double limit)
{
    const bool good = error <= limit; // NaN is not
    failures += !good;
    printf("%-6s %-44s %12.3g limit %.3g\n", good ? "PASS" : "FAIL", what, error, limit);
}

// least 0: only told.
static void tell_rate(const char *what, double us, double rate, double of, double least)
{
    const bool good = rate / of >= least;
    failures += !good;
    printf("%-6s %-44s %12.2f %12.1f %8.3f\n",
           least == 0 ? "-"
           : good     ? "PASS"
                      : "SLOW",
           what, us, rate, rate / of);
}

// ---- plain loops --------------------------------------------------------------------------------

// Values from 2^-20 to 2^6, a few of them zero, a block of zeros now and then.
static float sample(uint64_t tensor, uint64_t index)
{
    const float value = value_at(7, tensor, index);
    const int power = (int)(index * 2654435761u % 26u) - 20;
    if (index / FP8_BLOCK % 11 == 3 || index % 37 == 0)
        return 0;
    return ldexpf(value, power);
}

static size_t row_bytes(enum row_format format, uint32_t width)
{
    return format == ROW_FP32   ? 4 * (size_t)width
           : format == ROW_BF16 ? 2 * (size_t)width
                                : width + 4 * (size_t)((width + FP8_BLOCK - 1) / FP8_BLOCK);
}

static uint32_t block_end(uint32_t first, uint32_t width)
{
    return width - first < FP8_BLOCK ? width : first + FP8_BLOCK;
}

static void write_fp8(uint8_t *to, const float *from, uint32_t width)
{
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        float most = 0;
        for (uint32_t i = first; i < block_end(first, width); i++)
            most = fmaxf(most, fabsf(from[i]));
        const float scale = fp8_scale(most);
        for (uint32_t i = first; i < block_end(first, width); i++)
            to[i] = fp8_from_float(from[i] / scale);
        memcpy(to + width + first / FP8_BLOCK * sizeof scale, &scale, sizeof scale);
    }
}

static void write_row(uint8_t *to, enum row_format format, const float *from, uint32_t width)
{
    if (format == ROW_FP32)
        memcpy(to, from, width * sizeof *from);
    for (uint32_t i = 0; format == ROW_BF16 && i < width; i++) {
        const uint16_t half = bf16_from_float(from[i]);
        memcpy(to + i * sizeof half, &half, sizeof half);
    }
    if (format == ROW_FP8)
        write_fp8(to, from, width);
}

static float read_value(const uint8_t *row, enum row_format format, uint32_t i, uint32_t width)
{
    float value;
    uint16_t half;
    memcpy(&half, row + (format == ROW_BF16 ? i * sizeof half : 0), sizeof half);
    if (format == ROW_BF16)
        return bf16_to_float(half);
    memcpy(&value, row + (format == ROW_FP32 ? i : 0) * sizeof value, sizeof value);
    if (format == ROW_FP32)
        return value;
    memcpy(&value, row + width + i / FP8_BLOCK * sizeof value, sizeof value);
    return fp8_to_float(row[i]) * value;
}

static uint64_t differing(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    uint64_t wrong = 0;
    for (size_t i = 0; i < bytes; i++)
        wrong += a[i] != b[i];
    return wrong;
}

// ---- device arrays ------------------------------------------------------------------------------

static void *to_device(const void *from, size_t bytes)
{
    void *to = cuda->alloc(device, bytes);
    cuda->upload(device, to, from, bytes);
    return to;
}

// A device array that no result has been written to yet.
static void *poisoned(size_t bytes)
{
    void *poison = mem_alloc(bytes + 1, 1);
    memset(poison, 0xa5, bytes);
    void *to = to_device(poison, bytes);
    free(poison);
    return to;
}

static void *from_device(void *from, size_t bytes)
{
    void *to = mem_alloc(bytes + 1, 1);
    cuda->sync(device, &(struct error){0});
    cuda->download(device, to, from, bytes);
    return to;
}

static uint16_t *bf16_tensor(uint64_t tensor, uint64_t count)
{
    uint16_t *values = mem_alloc(count + 1, sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = bf16_from_float(value_at(3, tensor, i));
    return values;
}

// Square root of the squared errors' sum over the reference's.
static double relative_error(const double *expected, const double *got, uint64_t count)
{
    double error = 0, whole = 0;
    for (uint64_t i = 0; i < count; i++) {
        error += (got[i] - expected[i]) * (got[i] - expected[i]);
        whole += expected[i] * expected[i];
    }
    return sqrt(error / whole);
}

static double relative_error_bf16(const double *expected, const uint16_t *got, uint64_t count)
{
    double *values = mem_alloc(count + 1, sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = (double)bf16_to_float(got[i]);
    const double error = relative_error(expected, values, count);
    free(values);
    return error;
}

// ---- rows ---------------------------------------------------------------------------------------

// Rows of one format on both sides.
struct rows {
    struct row_block block; // device
    uint8_t *host;
    size_t bytes;
};

// Strides keep the alignment that fast kernels need wherever the width does.
static struct rows make_rows(enum row_format format, uint32_t count, uint32_t width, bool sampled)
{
    struct rows rows = {.block = {.stride = row_bytes(format, width) + 16, .format = format}};
    float *values = mem_alloc(width, sizeof *values);
    if (width % FP8_BLOCK == 0)
        rows.block.stride = (rows.block.stride + 15) / 16 * 16;
    rows.bytes = rows.block.stride * count;
    rows.host = mem_alloc(rows.bytes, 1);
    memset(rows.host, 0xa5, rows.bytes);
    for (uint32_t r = 0; sampled && r < count; r++) {
        for (uint32_t i = 0; i < width; i++)
            values[i] = sample(format, (uint64_t)r * width + i);
        write_row(rows.host + rows.block.stride * r, format, values, width);
    }
    free(values);
    rows.block.base = to_device(rows.host, rows.bytes);
    return rows;
}

static void release_rows(struct rows *rows)
{
    cuda->release(device, rows->block.base);
    free(rows->host);
}

// Compares what the device holds with rows->host.
static void tell_rows(const char *what, struct rows *rows)
{
    uint8_t *got = from_device(rows->block.base, rows->bytes);
    tell_exact(what, differing(rows->host, got, rows->bytes), rows->bytes);
    free(got);
}

#define FEW 61u // rows of a check

static void expect_gather(struct rows *out, const struct rows *in, const uint32_t *index,
                          uint32_t width)
{
    const bool same = out->block.format == in->block.format;
    const size_t bytes = same ? out->block.stride : row_bytes(out->block.format, width);
    float *values = mem_alloc(width, sizeof *values);
    for (uint32_t r = 0; r < FEW; r++) {
        uint8_t *to = out->host + out->block.stride * r;
        const uint8_t *from = in->host + in->block.stride * (index[r] % FEW);
        for (uint32_t i = 0; i < width; i++)
            values[i] = read_value(from, in->block.format, i, width);
        if (index[r] == UINT32_MAX)
            memset(to, 0, bytes);
        else if (same)
            memcpy(to, from, bytes);
        else
            write_row(to, out->block.format, values, width);
    }
    free(values);
}

static void check_gather(enum row_format to, enum row_format from, uint32_t width)
{
    char what[64];
    uint32_t index[FEW];
    for (uint32_t r = 0; r < FEW; r++)
        index[r] = r % 9 == 4 ? UINT32_MAX : r * 17 % FEW;
    struct rows in = make_rows(from, FEW, width, true), out = make_rows(to, FEW, width, false);
    uint32_t *device_index = to_device(index, sizeof index);
    cuda->gather(device, STREAM_INTER, out.block, in.block, device_index, FEW, width);
    expect_gather(&out, &in, index, width);
    snprintf(what, sizeof what, "gather %s to %s, width %u", format_names[from], format_names[to],
             width);
    tell_rows(what, &out);
    cuda->release(device, device_index);
    release_rows(&in);
    release_rows(&out);
}

// Every code of the format, through the fast path.
static void check_fp8_codes(void)
{
    struct rows in = make_rows(ROW_FP8, 1, 256, false), out = make_rows(ROW_FP32, 1, 256, false);
    const float scale = 0.37f;
    for (uint32_t code = 0; code < 256; code++) {
        const float value = fp8_to_float((uint8_t)code) * scale;
        in.host[code] = (uint8_t)code;
        memcpy(out.host + code * sizeof value, &value, sizeof value);
    }
    memcpy(in.host + 256, &scale, sizeof scale);
    memcpy(in.host + 256 + sizeof scale, &scale, sizeof scale);
    cuda->upload(device, in.block.base, in.host, in.bytes);
    cuda->gather(device, STREAM_COMPUTE, out.block, in.block, NULL, 1, 256);
    tell_rows("fp8 codes, all 256", &out);
    release_rows(&in);
    release_rows(&out);
}

struct terms {
    uint64_t first[FEW + 1];
    uint32_t source[4 * FEW];
    float weight[4 * FEW];
};

// Zero to four terms a row.
static void make_terms(struct terms *terms)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < FEW; r++) {
        terms->first[r] = count;
        for (uint32_t j = 0; j < r % 5; j++) {
            terms->source[count] = (r * 13 + j * 7) % FEW;
            terms->weight[count++] = value_at(5, 1, r * 5 + j);
        }
    }
    terms->first[FEW] = count;
}

static void expect_sums(struct rows *out, const struct rows *in, const struct terms *terms,
                        uint32_t width, bool add)
{
    float *values = mem_alloc(width, sizeof *values);
    for (uint32_t r = 0; r < FEW; r++) {
        uint8_t *to = out->host + out->block.stride * r;
        for (uint32_t i = 0; i < width; i++) {
            float sum = add ? read_value(to, out->block.format, i, width) : 0;
            for (uint64_t j = terms->first[r]; j < terms->first[r + 1]; j++) {
                const uint8_t *from = in->host + in->block.stride * terms->source[j];
                const float value = read_value(from, in->block.format, i, width);
                sum += (add ? 1 : terms->weight[j]) * value;
            }
            values[i] = sum;
        }
        write_row(to, out->block.format, values, width);
    }
    free(values);
}

// `add` is checked together with weights of 1.
static void check_reduce(enum row_format to, enum row_format from, uint32_t width, bool add)
{
    char what[64];
    struct terms terms = {0};
    make_terms(&terms);
    struct rows in = make_rows(from, FEW, width, true), out = make_rows(to, FEW, width, add);
    uint64_t *first = to_device(terms.first, sizeof terms.first);
    uint32_t *source = to_device(terms.source, sizeof terms.source);
    float *weight = to_device(terms.weight, sizeof terms.weight);
    cuda->reduce(device, STREAM_INTRA, out.block, in.block, first, source, add ? NULL : weight, FEW,
                 width, add);
    expect_sums(&out, &in, &terms, width, add);
    snprintf(what, sizeof what, "reduce %s to %s, width %u%s", format_names[from], format_names[to],
             width, add ? ", add" : "");
    tell_rows(what, &out);
    cuda->release(device, first);
    cuda->release(device, source);
    cuda->release(device, weight);
    release_rows(&in);
    release_rows(&out);
}

static void expect_meta(uint8_t *to, const uint16_t *ids, const float *weights, uint32_t topk,
                        uint32_t token)
{
    for (uint32_t k = 0; k < topk; k++) {
        const bool used = token != UINT32_MAX;
        const int32_t id = used ? ids[token * topk + k] : -1;
        const float weight = used ? weights[token * topk + k] : 0;
        memcpy(to + k * sizeof id, &id, sizeof id);
        memcpy(to + (topk + k) * sizeof weight, &weight, sizeof weight);
    }
    memcpy(to + 2 * topk * sizeof token, &token, sizeof token);
}

static void check_meta(uint32_t topk, size_t offset)
{
    char what[64];
    uint16_t ids[8 * FEW];
    float weights[8 * FEW];
    uint32_t index[FEW];
    struct rows rows = make_rows(ROW_BF16, FEW, 128, false);
    for (uint32_t i = 0; i < 8 * FEW; i++) {
        ids[i] = (uint16_t)(i * 31 % 256);
        weights[i] = value_at(5, 2, i);
    }
    for (uint32_t r = 0; r < FEW; r++) {
        index[r] = r % 6 == 1 ? UINT32_MAX : r * 11 % FEW;
        expect_meta(rows.host + rows.block.stride * r + offset, ids, weights, topk, index[r]);
    }
    void *device_ids = to_device(ids, sizeof ids), *device_index = to_device(index, sizeof index);
    void *device_weights = to_device(weights, sizeof weights);
    cuda->put_meta(device, STREAM_INTER, rows.block, offset, device_ids, device_weights, topk,
                   device_index, FEW);
    snprintf(what, sizeof what, "put_meta, topk %u, offset %zu", topk, offset);
    tell_rows(what, &rows);
    cuda->release(device, device_ids);
    cuda->release(device, device_index);
    cuda->release(device, device_weights);
    release_rows(&rows);
}

static void check_rows(void)
{
    const uint32_t widths[] = {7168, 256, 200, 7};
    for (uint32_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (uint32_t to = ROW_FP32; to <= ROW_FP8; to++)
            for (uint32_t from = ROW_FP32; from <= ROW_FP8; from++) {
                check_gather((enum row_format)to, (enum row_format)from, widths[w]);
                check_reduce((enum row_format)to, (enum row_format)from, widths[w], false);
            }
    check_reduce(ROW_BF16, ROW_BF16, 7168, true);
    check_reduce(ROW_BF16, ROW_FP8, 256, true);
    check_reduce(ROW_BF16, ROW_BF16, 7, true);
    check_fp8_codes();
    check_meta(8, 0);
    check_meta(8, 3);
    check_meta(0, 4);
}

// ---- values, norm, router -----------------------------------------------------------------------

static void check_fill(uint32_t shift)
{
    const uint32_t count = 100003;
    uint64_t wrong = 0;
    char what[64];
    uint16_t *values = poisoned((count + shift + 9) * sizeof *values);
    cuda->fill(device, values + shift, count, 11, 5, 0.03f);
    uint16_t *got = from_device(values, (count + shift + 9) * sizeof *got);
    for (uint32_t i = 0; i < count; i++)
        wrong += got[shift + i] != bf16_from_float(0.03f * value_at(11, 5, i));
    for (uint32_t i = 0; i < 9; i++)
        wrong += got[shift + count + i] != 0xa5a5;
    snprintf(what, sizeof what, "fill, %u bytes off alignment", 2 * shift);
    tell_exact(what, wrong, count);
    free(got);
    cuda->release(device, values);
}

static void check_rmsnorm(uint32_t width)
{
    char what[64];
    const uint64_t count = (uint64_t)FEW * width;
    uint16_t *in = bf16_tensor(1, count);
    double *expected = mem_alloc(count, sizeof *expected);
    for (uint64_t row = 0; row < count; row += width) {
        double squares = 0;
        for (uint64_t i = row; i < row + width; i++)
            squares += (double)bf16_to_float(in[i]) * (double)bf16_to_float(in[i]);
        for (uint64_t i = row; i < row + width; i++)
            expected[i] = (double)bf16_to_float(in[i]) / sqrt(squares / width + 1e-6);
    }
    uint16_t *device_in = to_device(in, count * sizeof *in), *out = poisoned(count * sizeof *out);
    cuda->rmsnorm(device, out, device_in, FEW, width);
    uint16_t *got = from_device(out, count * sizeof *got);
    snprintf(what, sizeof what, "rmsnorm, width %u", width);
    tell_error(what, relative_error_bf16(expected, got, count), 3e-3);
    cuda->release(device, device_in);
    cuda->release(device, out);
    free(in);
    free(expected);
    free(got);
}

// out [rows, columns] = in [rows, inner] x weight [columns, inner] transposed.
static void multiply(double *out, const double *in, const uint16_t *weight, uint64_t rows,
                     uint64_t columns, uint64_t inner)
{
#pragma omp parallel for
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < columns; c++) {
            double sum = 0;
            for (uint64_t i = 0; i < inner; i++)
                sum += in[r * inner + i] * (double)bf16_to_float(weight[c * inner + i]);
            out[r * columns + c] = sum;
        }
}

static double *widened(const uint16_t *from, uint64_t count)
{
    double *to = mem_alloc(count + 1, sizeof *to);
    for (uint64_t i = 0; i < count; i++)
        to[i] = (double)bf16_to_float(from[i]);
    return to;
}

static void check_router(uint32_t hidden, uint32_t experts)
{
    char what[64];
    const uint64_t count = (uint64_t)FEW * experts;
    uint16_t *in = bf16_tensor(2, (uint64_t)FEW * hidden);
    uint16_t *weight = bf16_tensor(3, (uint64_t)experts * hidden);
    double *wide = widened(in, (uint64_t)FEW * hidden), *got = mem_alloc(count, sizeof *got);
    double *expected = mem_alloc(count, sizeof *expected);
    multiply(expected, wide, weight, FEW, experts, hidden);
    void *device_in = to_device(in, 2 * (size_t)FEW * hidden);
    void *device_weight = to_device(weight, 2 * (size_t)experts * hidden);
    float *logits = poisoned(count * sizeof *logits);
    cuda->router(device, logits, device_in, device_weight, FEW, hidden, experts);
    float *result = from_device(logits, count * sizeof *result);
    for (uint64_t i = 0; i < count; i++)
        got[i] = (double)result[i];
    snprintf(what, sizeof what, "router, hidden %u, %u experts", hidden, experts);
    tell_error(what, relative_error(expected, got, count), 3e-5);
    cuda->release(device, device_in);
    cuda->release(device, device_weight);
    cuda->release(device, logits);
    free(in);
    free(weight);
    free(wide);
    free(got);
    free(expected);
    free(result);
}

// ---- selection ----------------------------------------------------------------------------------

static void score_experts(float *scores, const float *logits, const struct select_shape *shape)
{
    float most = logits[0], sum = 0;
    for (uint32_t e = 1; e < shape->experts; e++)
        most = fmaxf(most, logits[e]);
    for (uint32_t e = 0; e < shape->experts; e++)
        sum += expf(logits[e] - most);
    for (uint32_t e = 0; e < shape->experts; e++)
        scores[e] = shape->score == SCORE_SOFTMAX ? expf(logits[e] - most) / sum
                                                  : 1 / (1 + expf(-logits[e]));
}

static uint32_t take_largest(float *values, uint32_t count)
{
    uint32_t largest = 0;
    for (uint32_t i = 1; i < count; i++)
        if (values[i] > values[largest])
            largest = i;
    values[largest] = -INFINITY;
    return largest;
}

static void limit_groups(float *values, const struct select_shape *shape)
{
    float worth[MOE_MAX_EXPERTS];
    bool kept[MOE_MAX_EXPERTS] = {false};
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t g = 0; g < shape->groups; g++) {
        float first = -INFINITY, second = -INFINITY;
        for (uint32_t i = g * size; i < (g + 1) * size; i++) {
            second = fmaxf(second, fminf(first, values[i]));
            first = fmaxf(first, values[i]);
        }
        worth[g] = size > 1 ? first + second : first;
    }
    for (uint32_t round = 0; round < shape->topk_groups; round++)
        kept[take_largest(worth, shape->groups)] = true;
    for (uint32_t e = 0; e < shape->experts; e++)
        if (!kept[e / size])
            values[e] = -INFINITY;
}

// Choices of one token that are not those of the plain loop, nor worth the same.
static uint64_t wrong_choices(const float *logits, const float *bias, const uint16_t *ids,
                              const float *weights, const struct select_shape *shape)
{
    float scores[MOE_MAX_EXPERTS], values[MOE_MAX_EXPERTS], left[MOE_MAX_EXPERTS], sum = 0;
    uint64_t wrong = 0;
    score_experts(scores, logits, shape);
    for (uint32_t e = 0; e < shape->experts; e++)
        values[e] = scores[e] + bias[e];
    if (shape->topk_groups < shape->groups)
        limit_groups(values, shape);
    memcpy(left, values, sizeof left);
    for (uint32_t k = 0; k < shape->topk; k++)
        sum += scores[ids[k] % shape->experts];
    for (uint32_t k = 0; k < shape->topk; k++) {
        const uint32_t best = take_largest(left, shape->experts), id = ids[k] % shape->experts;
        const float weight = scores[id] * shape->scaling / (shape->normalise ? sum : 1);
        wrong += ids[k] >= shape->experts || !(fabsf(values[id] - values[best]) <= SELECT_GAP) ||
                 !(fabsf(weights[k] - weight) <= 1e-5f * shape->scaling);
        for (uint32_t other = 0; other < k; other++)
            wrong += ids[other] == ids[k];
    }
    return wrong;
}

static void check_select(const struct select_shape *shape)
{
    char what[64];
    uint64_t wrong = 0;
    const size_t count = (size_t)FEW * shape->experts, chosen = (size_t)FEW * shape->topk;
    float *logits = mem_alloc(count, sizeof *logits), *bias = mem_alloc(shape->experts, 4);
    for (size_t i = 0; i < count; i++)
        logits[i] = 3 * value_at(9, 1, i);
    for (uint32_t e = 0; e < shape->experts; e++)
        bias[e] = 0.1f * value_at(9, 2, e);
    float *device_logits = to_device(logits, count * sizeof *logits);
    float *device_bias = to_device(bias, shape->experts * sizeof *bias);
    uint16_t *ids = poisoned(chosen * sizeof *ids);
    float *weights = poisoned(chosen * sizeof *weights);
    cuda->select(device, ids, weights, device_logits, device_bias, FEW, shape);
    uint16_t *got = from_device(ids, chosen * sizeof *got);
    float *got_weights = from_device(weights, chosen * sizeof *got_weights);
    for (size_t t = 0; t < FEW; t++)
        wrong += wrong_choices(logits + t * shape->experts, bias, got + t * shape->topk,
                               got_weights + t * shape->topk, shape);
    snprintf(what, sizeof what, "select %u of %u, %u of %u groups", shape->topk, shape->experts,
             shape->topk_groups, shape->groups);
    tell_exact(what, wrong, chosen);
    cuda->release(device, device_logits);
    cuda->release(device, device_bias);
    cuda->release(device, ids);
    cuda->release(device, weights);
    free(logits);
    free(bias);
    free(got);
    free(got_weights);
}

static const struct select_shape select_shapes[] = {
    {256, 8, 8, 4, SCORE_SIGMOID, true, 2.5f},  {128, 8, 1, 1, SCORE_SOFTMAX, true, 1},
    {160, 6, 8, 3, SCORE_SOFTMAX, false, 16},   {4096, 64, 64, 8, SCORE_SIGMOID, true, 1},
    {4096, 8, 4096, 9, SCORE_SIGMOID, true, 1}, {7, 2, 1, 1, SCORE_SIGMOID, false, 1},
};

// ---- experts ------------------------------------------------------------------------------------

// Weights of all groups in one array each, and pointers to each group's.
struct experts {
    struct ffn ffn;
    uint64_t first[GROUPS + 1];
    const void *gate_up[GROUPS], *down[GROUPS];
    void *up_weights, *down_weights;
    void *in;
};

// About `rows` rows in uneven groups; the third has none.
static void make_experts(struct experts *e, uint64_t rows, uint32_t hidden, uint32_t inner)
{
    const uint32_t shares[GROUPS] = {140, 110, 0, 150, 150, 170, 130, 150};
    uint64_t before = 0;
    for (uint32_t g = 0; g < GROUPS; g++)
        e->first[g + 1] = rows * (before += shares[g]) / 1000;
    const uint64_t up = 2 * (uint64_t)inner * hidden, down = (uint64_t)hidden * inner;
    e->up_weights = cuda->alloc(device, GROUPS * up * 2);
    e->down_weights = cuda->alloc(device, GROUPS * down * 2);
    e->in = cuda->alloc(device, rows * hidden * 2);
    for (uint32_t g = 0; g < GROUPS; g++) {
        e->gate_up[g] = (char *)e->up_weights + g * up * 2;
        e->down[g] = (char *)e->down_weights + g * down * 2;
    }
    cuda->fill(device, e->up_weights, GROUPS * up, 3, 20, 2 / sqrtf((float)hidden));
    cuda->fill(device, e->down_weights, GROUPS * down, 3, 21, 2 / sqrtf((float)inner));
    cuda->fill(device, e->in, rows * hidden, 3, 22, 1.7f);
    e->ffn = (struct ffn){.groups = GROUPS,
                          .hidden = hidden,
                          .intermediate = inner,
                          .first = e->first,
                          .gate_up = e->gate_up,
                          .down = e->down,
                          .in = e->in,
                          .out = poisoned(rows * hidden * 2),
                          .middle = poisoned(rows * 3 * inner * 2)};
}

static void release_experts(struct experts *e)
{
    cuda->release(device, e->up_weights);
    cuda->release(device, e->down_weights);
    cuda->release(device, e->in);
    cuda->release(device, e->ffn.out);
    cuda->release(device, e->ffn.middle);
}

static void expect_ffn(double *out, const struct experts *e, const uint16_t *in,
                       const uint16_t *up_weights, const uint16_t *down_weights)
{
    const uint64_t hidden = e->ffn.hidden, inner = e->ffn.intermediate;
    for (uint32_t g = 0; g < GROUPS; g++) {
        const uint64_t row = e->first[g], rows = e->first[g + 1] - row;
        double *wide = widened(in + row * hidden, rows * hidden);
        double *both = mem_alloc(rows * 2 * inner + 1, sizeof *both);
        double *product = mem_alloc(rows * inner + 1, sizeof *product);
        multiply(both, wide, up_weights + g * 2 * inner * hidden, rows, 2 * inner, hidden);
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t i = 0; i < inner; i++) {
                const double gate = both[r * 2 * inner + i];
                product[r * inner + i] = gate / (1 + exp(-gate)) * both[r * 2 * inner + inner + i];
            }
        multiply(out + row * hidden, product, down_weights + g * hidden * inner, rows, hidden,
                 inner);
        free(wide);
        free(both);
        free(product);
    }
}

static void check_ffn(uint64_t rows, uint32_t hidden, uint32_t inner)
{
    struct experts e = {0};
    char what[64];
    double *expected = mem_alloc(rows * hidden, sizeof *expected);
    make_experts(&e, rows, hidden, inner);
    uint16_t *in = from_device(e.in, rows * hidden * 2);
    uint16_t *up = from_device(e.up_weights, (size_t)GROUPS * 2 * inner * hidden * 2);
    uint16_t *down = from_device(e.down_weights, (size_t)GROUPS * inner * hidden * 2);
    expect_ffn(expected, &e, in, up, down);
    for (uint32_t way = GROUPED_BATCHED; way <= GROUPED_STREAMS; way++) {
        cuda_set_grouped(device, (enum grouped)way);
        cuda->ffn(device, &e.ffn);
        uint16_t *got = from_device(e.ffn.out, rows * hidden * 2);
        snprintf(what, sizeof what, "ffn %s, hidden %u, intermediate %u",
                 way == GROUPED_BATCHED ? "batched" : "by streams", hidden, inner);
        tell_error(what, relative_error_bf16(expected, got, rows * hidden), 6e-3);
        free(got);
        cuda->release(device, e.ffn.out);
        e.ffn.out = poisoned(rows * hidden * 2);
    }
    cuda_set_grouped(device, GROUPED_AUTO);
    release_experts(&e);
    free(expected);
    free(in);
    free(up);
    free(down);
}

// ---- timing -------------------------------------------------------------------------------------

// What the timed calls work on: `terms` rows of `in` a row of `out`, in a scattered order.
struct bench {
    struct row_block in, out;
    uint32_t terms;
    uint32_t *order;
    uint64_t *first;
    float *weight;
    const struct experts *experts;
    cublasHandle_t blas;
    uint64_t gemm_rows;
};

typedef void (*work_fn)(const struct bench *bench, uint32_t turn);

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Median microseconds of one of `turns` calls, given without a gap.
static double time_us(const struct bench *bench, work_fn work, uint32_t turns)
{
    double us[REPEATS];
    struct error err;
    for (uint32_t turn = 0; turn < SETS; turn++)
        work(bench, turn);
    for (uint32_t r = 0; r < REPEATS; r++) {
        cuda->mark(device, STREAM_COMPUTE, 0);
        for (uint32_t turn = 0; turn < turns; turn++)
            work(bench, turn);
        cuda->mark(device, STREAM_COMPUTE, 1);
        if (!cuda->sync(device, &err))
            return NAN;
        us[r] = cuda->elapsed_us(device, 0, 1) / turns;
    }
    qsort(us, REPEATS, sizeof *us, by_size);
    return us[REPEATS / 2];
}

// The turn's share of a block that has rows for all sets of `rows` rows; it wraps around.
static struct row_block turn_rows(struct row_block block, uint32_t turn, uint32_t rows)
{
    const uint32_t sets = SETS * 2 * ROWS / rows;
    block.base = (char *)block.base + (size_t)(turn % sets) * rows * block.stride;
    return block;
}

static void do_copy(const struct bench *b, uint32_t turn)
{
    cudaMemcpyAsync(turn_rows(b->out, turn, ROWS).base, turn_rows(b->in, turn, ROWS).base,
                    ROWS * b->in.stride, cudaMemcpyDeviceToDevice,
                    cuda_stream(device, STREAM_COMPUTE));
}

static void do_gather(const struct bench *b, uint32_t turn)
{
    cuda->gather(device, STREAM_COMPUTE, turn_rows(b->out, turn, ROWS),
                 turn_rows(b->in, turn, ROWS), b->order, ROWS, HIDDEN);
}

static void do_reduce(const struct bench *b, uint32_t turn)
{
    cuda->reduce(device, STREAM_COMPUTE, turn_rows(b->out, turn, ROWS),
                 turn_rows(b->in, turn, ROWS * b->terms), b->first, b->order, b->weight, ROWS,
                 HIDDEN, false);
}

static void do_ffn(const struct bench *b, uint32_t turn)
{
    (void)turn;
    cuda->ffn(device, &b->experts->ffn);
}

// One product of as many operations as the grouped FFN: rows x 3 inner x hidden.
static void do_gemm(const struct bench *b, uint32_t turn)
{
    const float one = 1, zero = 0;
    (void)turn;
    cublasGemmEx(b->blas, CUBLAS_OP_T, CUBLAS_OP_N, 3 * (int)INNER, (int)b->gemm_rows, (int)HIDDEN,
                 &one, b->experts->up_weights, CUDA_R_16BF, (int)HIDDEN, b->experts->in,
                 CUDA_R_16BF, (int)HIDDEN, &zero, b->experts->ffn.middle, CUDA_R_16BF,
                 3 * (int)INNER, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

// A block of 2 * SETS * ROWS rows; formats are only read as what was written there before.
static struct row_block bench_rows(enum row_format format)
{
    struct row_block block = {.stride = row_bytes(format, HIDDEN), .format = format};
    block.base = cuda->alloc(device, 2 * (size_t)SETS * ROWS * block.stride);
    return block;
}

static double bandwidth_GBps(double bytes, double us)
{
    return bytes / us / 1e3;
}

static void time_gather(struct bench *b, const char *what, struct row_block out,
                        struct row_block in, double copy_GBps)
{
    b->out = out;
    b->in = in;
    const double us = time_us(b, do_gather, 40);
    tell_rate(what, us, bandwidth_GBps((double)ROWS * (double)(in.stride + out.stride), us),
              copy_GBps, COPY_SHARE);
}

static void time_reduce(struct bench *b, struct row_block out, struct row_block in,
                        double copy_GBps)
{
    for (b->terms = 2; b->terms <= 8; b->terms *= 2) {
        char what[64];
        uint64_t first[ROWS + 1];
        for (uint32_t r = 0; r <= ROWS; r++)
            first[r] = (uint64_t)r * b->terms;
        b->out = out;
        b->in = in;
        cuda->upload(device, b->first, first, sizeof first);
        const double us = time_us(b, do_reduce, 20);
        snprintf(what, sizeof what, "reduce %u rows bf16 to %s", b->terms,
                 format_names[out.format]);
        tell_rate(what, us,
                  bandwidth_GBps((double)ROWS * (double)(in.stride * b->terms + out.stride), us),
                  copy_GBps, COPY_SHARE);
    }
}

// Rows are taken in a scattered order, each once: every block of ROWS numbers is a permutation.
static void make_order(struct bench *b)
{
    uint32_t *order = mem_alloc((size_t)8 * ROWS, sizeof *order);
    float *weight = mem_alloc((size_t)8 * ROWS, sizeof *weight);
    for (uint32_t i = 0; i < 8 * ROWS; i++) {
        order[i] = (i & ~(ROWS - 1)) | (i * 1597u % ROWS);
        weight[i] = value_at(5, 3, i);
    }
    b->order = to_device(order, (size_t)8 * ROWS * sizeof *order);
    b->weight = to_device(weight, (size_t)8 * ROWS * sizeof *weight);
    b->first = cuda->alloc(device, (ROWS + 1) * sizeof *b->first);
    free(order);
    free(weight);
}

static void time_rows(void)
{
    struct bench b = {0};
    struct row_block half = bench_rows(ROW_BF16), other = bench_rows(ROW_BF16);
    struct row_block byte = bench_rows(ROW_FP8);
    make_order(&b);
    cuda->fill(device, half.base, 2 * (uint64_t)SETS * ROWS * HIDDEN, 3, 30, 1);
    cuda->fill(device, other.base, 2 * (uint64_t)SETS * ROWS * HIDDEN, 3, 31, 1);
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "4096 rows of 7168", "us", "GB/s", "of copy");
    b.in = half;
    b.out = other;
    const double us = time_us(&b, do_copy, 40);
    const double copy_GBps = bandwidth_GBps(2.0 * ROWS * (double)half.stride, us);
    tell_rate("cudaMemcpy, device to device", us, copy_GBps, copy_GBps, 0);
    time_gather(&b, "gather bf16 to bf16", other, half, copy_GBps);
    time_gather(&b, "gather bf16 to fp8", byte, half, copy_GBps);
    time_gather(&b, "gather fp8 to bf16", other, byte, copy_GBps);
    time_gather(&b, "gather fp8 to fp8", (struct row_block){other.base, byte.stride, ROW_FP8}, byte,
                copy_GBps);
    time_reduce(&b, other, half, copy_GBps);
    time_reduce(&b, byte, half, copy_GBps);
    cuda->release(device, half.base);
    cuda->release(device, other.base);
    cuda->release(device, byte.base);
    cuda->release(device, b.order);
    cuda->release(device, b.weight);
    cuda->release(device, b.first);
}

static void time_experts(cublasHandle_t blas, uint64_t rows, bool must)
{
    static const char *const ways[] = {"auto", "batched", "by streams"};
    struct experts e = {0};
    make_experts(&e, rows, HIDDEN, INNER);
    const struct bench b = {.experts = &e, .blas = blas, .gemm_rows = rows};
    const double flops = 6.0 * (double)rows * HIDDEN * INNER;
    const uint32_t turns = rows >= 8 * ROWS ? 5 : 20;
    char what[64];
    double us = time_us(&b, do_gemm, turns);
    const double whole = flops / us / 1e6;
    snprintf(what, sizeof what, "one product, %" PRIu64 " rows", rows);
    tell_rate(what, us, whole, whole, 0);
    for (uint32_t way = 0; way <= GROUPED_STREAMS; way++) {
        cuda_set_grouped(device, (enum grouped)way);
        us = time_us(&b, do_ffn, turns);
        snprintf(what, sizeof what, "ffn %s, %" PRIu64 " rows", ways[way], rows);
        tell_rate(what, us, flops / us / 1e6, whole, must && way == GROUPED_AUTO ? GEMM_SHARE : 0);
    }
    cuda_set_grouped(device, GROUPED_AUTO);
    release_experts(&e);
}

// ---- the program --------------------------------------------------------------------------------

static void check_values(void)
{
    check_fill(0);
    check_fill(3);
    check_rmsnorm(7168);
    check_rmsnorm(7);
    check_router(7168, 256);
    check_router(40, 7);
    for (size_t i = 0; i < sizeof select_shapes / sizeof *select_shapes; i++)
        check_select(&select_shapes[i]);
    check_ffn(333, 512, 256);
    check_ffn(100, 40, 24);
}

static bool time_all(struct error *err)
{
    cublasHandle_t blas;
    if (cublasCreate(&blas) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(blas, cuda_stream(device, STREAM_COMPUTE)) != CUBLAS_STATUS_SUCCESS)
        return error_set(err, EXIT_RUNTIME, "cublasCreate failed");
    time_rows();
    printf("\n%-6s %-44s %12s %12s %8s\n", "", "experts, hidden 7168, intermediate 2048", "us",
           "TFLOP/s", "of one");
    time_experts(blas, 8 * ROWS, true); // 4096 tokens a GPU, 8 choices each
    time_experts(blas, ROWS, false);
    time_experts(blas, ROWS / 8, false);
    cublasDestroy(blas);
    return cuda->sync(device, err);
}

int main(void)
{
    struct error err = {0};
    if (!cuda->open(&device, 0, &err)) {
        fprintf(stderr, "check_cuda: %s\n", err.text);
        return (int)err.code;
    }
    head();
    check_rows();
    check_values();
    const bool ran = time_all(&err);
    cuda->close(device);
    if (!ran) {
        fprintf(stderr, "check_cuda: %s\n", err.text);
        return (int)err.code;
    }
    printf("\n%u failed or slow\n", failures);
    return failures ? EXIT_TOLERANCE : EXIT_DONE;
}
