// Holds the CUDA device's kernels (real/kernels.h) to plain loops on the CPU. One line a check;
// exits 1 when any is wrong, 3 when there is no GPU. Matrix products and speed:
// real/check_cuda_speed.c.
#include "base/mem.h"
#include "real/check_cuda_device.h"
#include "real/check_cuda_select.h"
#include "real/cuda.h"
#include "real/values.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// ---- plain loops --------------------------------------------------------------------------------

// Values from 2^-20 to 2^6, a few of them zero, a block of zeros now and then.
static float sample_value(uint64_t tensor, uint64_t index)
{
    const float value = value_at(7, tensor, index);
    const int power = (int)(index * 2654435761u % 26u) - 20;
    if (index / FP8_BLOCK % 11 == 3 || index % 37 == 0)
        return 0;
    return ldexpf(value, power);
}

static size_t plain_row_bytes(enum row_format format, uint32_t width)
{
    return format == ROW_FP32   ? 4 * (size_t)width
           : format == ROW_BF16 ? 2 * (size_t)width
                                : width + 4 * (size_t)((width + FP8_BLOCK - 1) / FP8_BLOCK);
}

static uint32_t block_end(uint32_t first, uint32_t width)
{
    return width - first < FP8_BLOCK ? width : first + FP8_BLOCK;
}

static void plain_write_fp8(uint8_t *to, const float *from, uint32_t width)
{
    for (uint32_t first = 0; first < width; first += FP8_BLOCK) {
        float max = 0;
        for (uint32_t i = first; i < block_end(first, width); i++)
            max = fmaxf(max, fabsf(from[i]));
        const float scale = fp8_scale(max);
        for (uint32_t i = first; i < block_end(first, width); i++)
            to[i] = fp8_from_float(from[i] / scale);
        memcpy(to + width + first / FP8_BLOCK * sizeof scale, &scale, sizeof scale);
    }
}

static void plain_write_row(uint8_t *to, enum row_format format, const float *from, uint32_t width)
{
    if (format == ROW_FP32)
        memcpy(to, from, width * sizeof *from);
    for (uint32_t i = 0; format == ROW_BF16 && i < width; i++) {
        const uint16_t half = bf16_from_float(from[i]);
        memcpy(to + i * sizeof half, &half, sizeof half);
    }
    if (format == ROW_FP8)
        plain_write_fp8(to, from, width);
}

static float plain_read_value(const uint8_t *row, enum row_format format, uint32_t i,
                              uint32_t width)
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

static uint16_t *bf16_tensor(uint64_t tensor, uint64_t count)
{
    uint16_t *values = mem_alloc(count + 1, sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = bf16_from_float(value_at(3, tensor, i));
    return values;
}

static double relative_error_bf16(const double *expected, const uint16_t *got, uint64_t count)
{
    double *values = mem_alloc(count + 1, sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = (double)bf16_to_float(got[i]);
    const double error = check_relative_error(expected, values, count);
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
    struct rows rows = {.block = {.stride = plain_row_bytes(format, width) + 16, .format = format}};
    float *values = mem_alloc(width, sizeof *values);
    if (width % FP8_BLOCK == 0)
        rows.block.stride = (rows.block.stride + 15) / 16 * 16;
    rows.bytes = rows.block.stride * count;
    rows.host = mem_alloc(rows.bytes, 1);
    memset(rows.host, 0xa5, rows.bytes);
    for (uint32_t r = 0; sampled && r < count; r++) {
        for (uint32_t i = 0; i < width; i++)
            values[i] = sample_value(format, (uint64_t)r * width + i);
        plain_write_row(rows.host + rows.block.stride * r, format, values, width);
    }
    free(values);
    rows.block.base = check_to_device(rows.host, rows.bytes);
    return rows;
}

static void release_rows(struct rows *rows)
{
    device_release(check_device, rows->block.base);
    free(rows->host);
}

// Compares what the device holds with rows->host.
static void tell_rows(const char *what, struct rows *rows)
{
    uint8_t *got = check_from_device(rows->block.base, rows->bytes);
    check_exact(what, differing(rows->host, got, rows->bytes), rows->bytes);
    free(got);
}

static void expect_gather(struct rows *out, const struct rows *in, const uint32_t *index,
                          uint32_t width)
{
    const bool same = out->block.format == in->block.format;
    const size_t bytes = same ? out->block.stride : plain_row_bytes(out->block.format, width);
    float *values = mem_alloc(width, sizeof *values);
    for (uint32_t r = 0; r < CHECK_ROWS; r++) {
        uint8_t *to = out->host + out->block.stride * r;
        const uint8_t *from = in->host + in->block.stride * (index[r] % CHECK_ROWS);
        for (uint32_t i = 0; i < width; i++)
            values[i] = plain_read_value(from, in->block.format, i, width);
        if (index[r] == UINT32_MAX)
            memset(to, 0, bytes);
        else if (same)
            memcpy(to, from, bytes);
        else
            plain_write_row(to, out->block.format, values, width);
    }
    free(values);
}

static void check_gather(enum row_format to, enum row_format from, uint32_t width)
{
    char what[64];
    uint32_t index[CHECK_ROWS];
    for (uint32_t r = 0; r < CHECK_ROWS; r++)
        index[r] = r % 9 == 4 ? UINT32_MAX : r * 17 % CHECK_ROWS;
    struct rows in = make_rows(from, CHECK_ROWS, width, true),
                out = make_rows(to, CHECK_ROWS, width, false);
    uint32_t *device_index = check_to_device(index, sizeof index);
    device_gather(check_device, STREAM_INTER,
                  &(struct row_gather){out.block, in.block, device_index, CHECK_ROWS, width});
    expect_gather(&out, &in, index, width);
    snprintf(what, sizeof what, "gather %s to %s, width %u", check_format_names[from],
             check_format_names[to], width);
    tell_rows(what, &out);
    device_release(check_device, device_index);
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
    device_upload(check_device, in.block.base, in.host, in.bytes);
    device_gather(check_device, STREAM_COMPUTE,
                  &(struct row_gather){out.block, in.block, NULL, 1, 256});
    tell_rows("fp8 codes, all 256", &out);
    release_rows(&in);
    release_rows(&out);
}

struct terms {
    uint64_t first[CHECK_ROWS + 1];
    uint32_t source[4 * CHECK_ROWS];
    float weight[4 * CHECK_ROWS];
};

// Zero to four terms a row.
static void make_terms(struct terms *terms)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < CHECK_ROWS; r++) {
        terms->first[r] = count;
        for (uint32_t j = 0; j < r % 5; j++) {
            terms->source[count] = (r * 13 + j * 7) % CHECK_ROWS;
            terms->weight[count++] = value_at(5, 1, r * 5 + j);
        }
    }
    terms->first[CHECK_ROWS] = count;
}

static void expect_sums(struct rows *out, const struct rows *in, const struct terms *terms,
                        uint32_t width, bool add)
{
    float *values = mem_alloc(width, sizeof *values);
    for (uint32_t r = 0; r < CHECK_ROWS; r++) {
        uint8_t *to = out->host + out->block.stride * r;
        for (uint32_t i = 0; i < width; i++) {
            float sum = add ? plain_read_value(to, out->block.format, i, width) : 0;
            for (uint64_t j = terms->first[r]; j < terms->first[r + 1]; j++) {
                const uint8_t *from = in->host + in->block.stride * terms->source[j];
                const float value = plain_read_value(from, in->block.format, i, width);
                sum += (add ? 1 : terms->weight[j]) * value;
            }
            values[i] = sum;
        }
        plain_write_row(to, out->block.format, values, width);
    }
    free(values);
}

// `add` is checked together with weights of 1.
static void check_reduce(enum row_format to, enum row_format from, uint32_t width, bool add)
{
    char what[64];
    struct terms terms = {0};
    make_terms(&terms);
    struct rows in = make_rows(from, CHECK_ROWS, width, true),
                out = make_rows(to, CHECK_ROWS, width, add);
    uint64_t *first = check_to_device(terms.first, sizeof terms.first);
    uint32_t *source = check_to_device(terms.source, sizeof terms.source);
    float *weight = check_to_device(terms.weight, sizeof terms.weight);
    device_reduce(check_device, STREAM_INTRA,
                  &(struct row_sums){.out = out.block,
                                     .in = in.block,
                                     .first = first,
                                     .source = source,
                                     .weight = add ? NULL : weight,
                                     .count = CHECK_ROWS,
                                     .width = width,
                                     .add = add});
    expect_sums(&out, &in, &terms, width, add);
    snprintf(what, sizeof what, "reduce %s to %s, width %u%s", check_format_names[from],
             check_format_names[to], width, add ? ", add" : "");
    tell_rows(what, &out);
    device_release(check_device, first);
    device_release(check_device, source);
    device_release(check_device, weight);
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
    uint16_t ids[8 * CHECK_ROWS];
    float weights[8 * CHECK_ROWS];
    uint32_t index[CHECK_ROWS];
    struct rows rows = make_rows(ROW_BF16, CHECK_ROWS, 128, false);
    for (uint32_t i = 0; i < 8 * CHECK_ROWS; i++) {
        ids[i] = (uint16_t)(i * 31 % 256);
        weights[i] = value_at(5, 2, i);
    }
    for (uint32_t r = 0; r < CHECK_ROWS; r++) {
        index[r] = r % 6 == 1 ? UINT32_MAX : r * 11 % CHECK_ROWS;
        expect_meta(rows.host + rows.block.stride * r + offset, ids, weights, topk, index[r]);
    }
    void *device_ids = check_to_device(ids, sizeof ids),
         *device_index = check_to_device(index, sizeof index);
    void *device_weights = check_to_device(weights, sizeof weights);
    device_put_meta(check_device, STREAM_INTER,
                    &(struct row_meta){.rows = rows.block,
                                       .offset = offset,
                                       .ids = device_ids,
                                       .weights = device_weights,
                                       .topk = topk,
                                       .index = device_index,
                                       .count = CHECK_ROWS});
    snprintf(what, sizeof what, "put_meta, topk %u, offset %zu", topk, offset);
    tell_rows(what, &rows);
    device_release(check_device, device_ids);
    device_release(check_device, device_index);
    device_release(check_device, device_weights);
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
    uint16_t *values = check_poisoned((count + shift + 9) * sizeof *values);
    device_fill(
        check_device,
        &(struct tensor_fill){
            .values = values + shift, .count = count, .seed = 11, .tensor = 5, .scale = 0.03f});
    uint16_t *got = check_from_device(values, (count + shift + 9) * sizeof *got);
    for (uint32_t i = 0; i < count; i++)
        wrong += got[shift + i] != bf16_from_float(0.03f * value_at(11, 5, i));
    for (uint32_t i = 0; i < 9; i++)
        wrong += got[shift + count + i] != 0xa5a5;
    snprintf(what, sizeof what, "fill, %u bytes off alignment", 2 * shift);
    check_exact(what, wrong, count);
    free(got);
    device_release(check_device, values);
}

static void check_rmsnorm(uint32_t width)
{
    char what[64];
    const uint64_t count = (uint64_t)CHECK_ROWS * width;
    uint16_t *in = bf16_tensor(1, count);
    double *expected = mem_alloc(count, sizeof *expected);
    for (uint64_t row = 0; row < count; row += width) {
        double squares = 0;
        for (uint64_t i = row; i < row + width; i++)
            squares += (double)bf16_to_float(in[i]) * (double)bf16_to_float(in[i]);
        for (uint64_t i = row; i < row + width; i++)
            expected[i] = (double)bf16_to_float(in[i]) / sqrt(squares / width + 1e-6);
    }
    uint16_t *device_in = check_to_device(in, count * sizeof *in),
             *out = check_poisoned(count * sizeof *out);
    device_rmsnorm(check_device, out, device_in, CHECK_ROWS, width);
    uint16_t *got = check_from_device(out, count * sizeof *got);
    snprintf(what, sizeof what, "rmsnorm, width %u", width);
    check_error(what, relative_error_bf16(expected, got, count), 3e-3);
    device_release(check_device, device_in);
    device_release(check_device, out);
    free(in);
    free(expected);
    free(got);
}

// ---- the program --------------------------------------------------------------------------------

static void check_values(void)
{
    check_fill(0);
    check_fill(3);
    check_rmsnorm(7168);
    check_rmsnorm(7);
}

static bool check_cuda_kernels(struct error *err)
{
    check_rows();
    check_values();
    check_selection();
    return device_sync(check_device, err);
}

int main(void)
{
    return check_program("check_cuda", "failed", check_cuda_kernels);
}
