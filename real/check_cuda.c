// Holds the CUDA device's kernels (real/kernels.cu) to plain loops on the CPU. One line a check;
// exits 1 when any is wrong, 3 when there is no GPU. Matrix products and speed:
// real/check_cuda_speed.c.
#include "base/mem.h"
#include "real/cuda.h"
#include "real/values.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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

// ---- values, norm -------------------------------------------------------------------------------

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

// ---- the program --------------------------------------------------------------------------------

static void check_values(void)
{
    check_fill(0);
    check_fill(3);
    check_rmsnorm(7168);
    check_rmsnorm(7);
    for (size_t i = 0; i < sizeof select_shapes / sizeof *select_shapes; i++)
        check_select(&select_shapes[i]);
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
    const bool ran = cuda->sync(device, &err);
    cuda->close(device);
    if (!ran) {
        fprintf(stderr, "check_cuda: %s\n", err.text);
        return (int)err.code;
    }
    printf("\n%u failed\n", failures);
    return failures ? EXIT_TOLERANCE : EXIT_DONE;
}
