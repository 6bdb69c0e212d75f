// The host device: every kernel against plain loops in double. Also the float64 reference, which
// the same kernels must meet.
#include "real/device.h"

#include "base/mem.h"
#include "base/rng.h"
#include "model/routing.h"
#include "real/reference.h"
#include "real/tensors.h"
#include "real/values.h"
#include "tests/near.h"
#include "tests/suite.h"

#include <check.h>
#include <stdlib.h>
#include <time.h>

// An allocation that cannot be is asked for on purpose: under the sanitizer too it returns NULL.
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static struct device *device;

static void open_device(void)
{
    struct error err;
    ck_assert_msg(device_host.open(&device, 0, &err), "%s", err.text);
}

static void close_device(void)
{
    struct error err;
    ck_assert_msg(device_sync(device, &err), "%s", err.text);
    device_close(device);
}

static float *random_floats(uint64_t count, uint64_t tensor, float scale)
{
    float *values = mem_alloc(count, sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = scale * value_at(11, tensor, i);
    return values;
}

// --- values --------------------------------------------------------------------------------------

START_TEST(fill_scales)
{
    float *values = device_alloc(device, 1000 * sizeof *values);
    device_fill(device,
                &(struct tensor_fill){
                    .values = values, .count = 1000, .seed = 5, .tensor = 77, .scale = 0.3f});
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert(values[i] == 0.3f * value_at(5, 77, i));
    device_release(device, values);
}
END_TEST

// --- memory and time -----------------------------------------------------------------------------

START_TEST(failed_allocation_sticks)
{
    struct device *poor;
    struct error err = {0};
    float kept[2] = {1, 2}, other[2] = {3, 4};
    ck_assert(device_host.open(&poor, 0, &err) && device_sync(poor, &err));
    ck_assert_ptr_null(device_alloc(poor, SIZE_MAX / 4));
    ck_assert_ptr_null(device_alloc(poor, 16));
    device_fill(poor, &(struct tensor_fill){
                          .values = kept, .count = 2, .seed = 1, .tensor = 1, .scale = 1});
    device_upload(poor, kept, other, sizeof kept);
    device_rmsnorm(poor, kept, other, 1, 2);
    device_gather(poor, STREAM_COMPUTE,
                  &(struct row_gather){{kept, 8, ROW_FP32}, {other, 8, ROW_FP32}, NULL, 1, 2});
    device_checksum(poor, STREAM_COMPUTE,
                    &(struct row_checksums){(uint64_t *)(void *)kept, {other, 8, ROW_FP32}, 1});
    ck_assert(kept[0] == 1 && kept[1] == 2);
    for (int again = 0; again < 2; again++) {
        err = (struct error){0};
        ck_assert(!device_sync(poor, &err));
        ck_assert_int_eq(err.code, EXIT_RUNTIME);
        ck_assert_ptr_nonnull(strstr(err.text, "memory"));
        ck_assert_ptr_nonnull(strstr(err.text, "4611686018427387903 bytes"));
    }
    device_close(poor);
}
END_TEST

START_TEST(memory_and_marks)
{
    const struct timespec nap = {.tv_nsec = 2000000};
    char text[6] = "", *memory = device_alloc(device, sizeof text), *none = device_alloc(device, 0);
    ck_assert(memory && none);
    device_mark(device, STREAM_COMPUTE, 0);
    device_upload(device, memory, "hello", sizeof text);
    device_download(device, text, memory, sizeof text);
    ck_assert_str_eq(text, "hello");
    nanosleep(&nap, NULL);
    device_follow(device, STREAM_INTRA, STREAM_COMPUTE);
    device_mark(device, STREAM_INTRA, 63);
    ck_assert(device_elapsed_us(device, 0, 63) >= 2000);
    ck_assert(device_elapsed_us(device, 63, 0) <= -2000);
    device_release(device, memory);
    device_release(device, none);
    device_release(device, NULL);
}
END_TEST

// --- norm and router -----------------------------------------------------------------------------

START_TEST(rmsnorm)
{
    enum { ROWS = 5, WIDTH = 77 };
    float *in = random_floats(ROWS * WIDTH, 1, 3), out[ROWS * WIDTH];
    memset(in + 2 * WIDTH, 0, WIDTH * sizeof *in); // epsilon keeps zeros zero
    device_rmsnorm(device, out, in, ROWS, WIDTH);
    for (int r = 0; r < ROWS; r++) {
        double squares = 0;
        for (int i = 0; i < WIDTH; i++)
            squares += pow(in[r * WIDTH + i], 2);
        for (int i = 0; i < WIDTH; i++)
            expect_near(out[r * WIDTH + i], in[r * WIDTH + i] / sqrt(squares / WIDTH + 1e-6), 1e-6);
    }
    free(in);
}
END_TEST

START_TEST(router)
{
    enum { ROWS = 4, HIDDEN = 50, EXPERTS = 9 };
    float *in = random_floats(ROWS * HIDDEN, 1, 1), *weight = random_floats(EXPERTS * HIDDEN, 2, 1);
    float logits[ROWS * EXPERTS];
    struct router_product product = {.logits = logits,
                                     .in = in,
                                     .weight = weight,
                                     .count = ROWS,
                                     .hidden = HIDDEN,
                                     .experts = EXPERTS};
    device_router(device, &product);
    for (int r = 0; r < ROWS; r++)
        for (int e = 0; e < EXPERTS; e++) {
            double sum = 0;
            for (int i = 0; i < HIDDEN; i++)
                sum += (double)in[r * HIDDEN + i] * weight[e * HIDDEN + i];
            expect_near(logits[r * EXPERTS + e], sum, 1e-5);
        }
    product.count = 0;
    device_router(device, &product);
    free(in);
    free(weight);
}
END_TEST

// --- selection -----------------------------------------------------------------------------------

#define MAX_EXPERTS 64

static const struct select_shape select_shapes[] = {
    {.experts = 64, .topk = 8, .groups = 8, .topk_groups = 4, .normalise = true, .scaling = 2.5f},
    {.experts = 64, .topk = 8, .groups = 8, .topk_groups = 4, .score = SCORE_SOFTMAX, .scaling = 1},
    {.experts = 64, .topk = 6, .groups = 8, .topk_groups = 8, .normalise = true, .scaling = 1},
    {.experts = 12, .topk = 3, .groups = 12, .topk_groups = 4, .scaling = 1}, // groups of one
    {.experts = 16, .topk = 4, .groups = 4, .topk_groups = 1, .normalise = true, .scaling = 16},
    {.experts = 7, .topk = 7, .groups = 1, .topk_groups = 1, .score = SCORE_SOFTMAX, .scaling = 2},
    {.experts = 10, .topk = 1, .groups = 1, .topk_groups = 1, .normalise = true, .scaling = 1},
};

static void scores_of(const struct select_shape *shape, const float *logits, double *scores)
{
    double sum = 0;
    for (uint32_t e = 0; e < shape->experts; e++)
        sum += exp((double)logits[e]);
    for (uint32_t e = 0; e < shape->experts; e++)
        scores[e] = shape->score == SCORE_SOFTMAX ? exp((double)logits[e]) / sum
                                                  : 1 / (1 + exp(-(double)logits[e]));
}

// How many of `count` values stand before the i-th: larger, or equal and of lower index. Equal is
// within rounding, for ties are made from equal logits and everything else is far apart.
static uint32_t place(const double *values, uint32_t count, uint32_t i)
{
    uint32_t before = 0;
    for (uint32_t j = 0; j < count; j++)
        before += values[j] > values[i] + 1e-9 || (j < i && fabs(values[j] - values[i]) <= 1e-9);
    return before;
}

static double worth_of(const double *values, uint32_t size)
{
    double worth = 0;
    for (uint32_t i = 0; i < size; i++)
        worth += place(values, size, i) < 2 ? values[i] : 0;
    return worth;
}

static void exclude_groups(const struct select_shape *shape, double *values)
{
    double worth[MAX_EXPERTS];
    const uint32_t size = shape->experts / shape->groups;
    for (uint32_t g = 0; g < shape->groups; g++)
        worth[g] = worth_of(values + g * size, size);
    for (uint32_t e = 0; e < shape->experts; e++)
        if (place(worth, shape->groups, e / size) >= shape->topk_groups)
            values[e] = -100 - (double)e;
}

static void expect_selected(const struct select_shape *shape, const float *logits,
                            const float *bias, const uint16_t *ids, const float *weights)
{
    double scores[MAX_EXPERTS], values[MAX_EXPERTS], sum = 0;
    scores_of(shape, logits, scores);
    for (uint32_t e = 0; e < shape->experts; e++)
        values[e] = scores[e] + (bias ? bias[e] : 0);
    exclude_groups(shape, values);
    for (uint32_t k = 0; k < shape->topk; k++) {
        ck_assert_uint_lt(ids[k], shape->experts);
        ck_assert_uint_eq(place(values, shape->experts, ids[k]), k);
        sum += scores[ids[k]];
    }
    for (uint32_t k = 0; k < shape->topk; k++)
        expect_near(weights[k],
                    scores[ids[k]] * (double)shape->scaling / (shape->normalise ? sum : 1), 2e-6);
}

// Logits out of a handful of values, so that ties are everywhere. Biases: none; one for all, which
// leaves the ties and makes all that remains negative; one each, for sums of a few would tie in
// double and not in fp32.
START_TEST(select_experts)
{
    enum { TOKENS = 200 };
    const struct select_shape *shape = &select_shapes[_i];
    const float palette[] = {-1.7f, -0.93f, -0.2f, 0.41f, 0.77f, 1.6f, 2.3f};
    float logits[TOKENS * MAX_EXPERTS], bias[MAX_EXPERTS], weights[TOKENS * 8];
    uint16_t ids[TOKENS * 8];
    int32_t wide[TOKENS * 8];
    struct rng rng = rng_stream(1, (uint64_t)_i, 0, 0);
    for (uint32_t i = 0; i < TOKENS * shape->experts; i++)
        logits[i] = palette[rng_below(&rng, 7)];
    for (int with = 0; with < 3; with++) {
        const float *used = with ? bias : NULL;
        for (uint32_t e = 0; e < shape->experts; e++)
            bias[e] = with == 1 ? -2.03f : value_at(2, 90, e);
        device_select(device,
                      &(struct selection){ids, weights, logits, used, TOKENS, *shape, wide});
        for (uint32_t t = 0; t < TOKENS; t++)
            expect_selected(shape, logits + t * shape->experts, used, ids + t * shape->topk,
                            weights + t * shape->topk);
        for (uint32_t i = 0; i < TOKENS * shape->topk; i++)
            ck_assert_int_eq(wide[i], ids[i]);
    }
}
END_TEST

// All alike: the first experts of the first groups. All scores vanished: weights are still numbers.
START_TEST(select_without_difference)
{
    const struct select_shape *shape = &select_shapes[0];
    float logits[64] = {0}, weights[8];
    uint16_t ids[8];
    device_select(device, &(struct selection){ids, weights, logits, NULL, 1, *shape, NULL});
    for (uint32_t k = 0; k < 8; k++) {
        ck_assert_uint_eq(ids[k], k);
        expect_near(weights[k], 2.5 / 8, 1e-6);
    }
    for (uint32_t e = 0; e < 64; e++)
        logits[e] = -1000;
    device_select(device, &(struct selection){ids, weights, logits, NULL, 1, *shape, NULL});
    for (uint32_t k = 0; k < 8; k++)
        ck_assert(weights[k] == 0);
}
END_TEST

// --- rows ----------------------------------------------------------------------------------------

#define WIDTH 300 // two whole blocks and a part
#define ROWS 6
#define SPARE 24 // bytes after a row's payload
static const enum row_format formats[] = {ROW_FP32, ROW_BF16, ROW_FP8};
#define FORMATS 3

static size_t payload(enum row_format format)
{
    return moe_payload_bytes(WIDTH, format == ROW_FP8    ? DTYPE_FP8
                                    : format == ROW_BF16 ? DTYPE_BF16
                                                         : DTYPE_FP32);
}

static void encode_fp8(const float *row, uint8_t *out)
{
    for (uint32_t first = 0; first < WIDTH; first += FP8_BLOCK) {
        const uint32_t last = first + FP8_BLOCK < WIDTH ? first + FP8_BLOCK : WIDTH;
        float max = 0;
        for (uint32_t i = first; i < last; i++)
            max = fabsf(row[i]) > max ? fabsf(row[i]) : max;
        const float scale = max > 0 ? max / 448 : 1;
        for (uint32_t i = first; i < last; i++)
            out[i] = fp8_from_float(row[i] / scale);
        memcpy(out + WIDTH + first / FP8_BLOCK * 4, &scale, 4);
    }
}

static void encode(enum row_format format, const float *row, uint8_t *out)
{
    for (uint32_t i = 0; i < WIDTH && format != ROW_FP8; i++) {
        const uint16_t half = bf16_from_float(row[i]);
        if (format == ROW_BF16)
            memcpy(out + i * 2, &half, 2);
        else
            memcpy(out + i * 4, &row[i], 4);
    }
    if (format == ROW_FP8)
        encode_fp8(row, out);
}

static void decode(enum row_format format, const uint8_t *in, float *row)
{
    for (uint32_t i = 0; i < WIDTH; i++) {
        uint16_t half;
        float scale;
        memcpy(&half, in + i * 2 % payload(format), 2);
        memcpy(&scale, in + WIDTH + i / FP8_BLOCK * 4, 4);
        if (format == ROW_FP32)
            memcpy(&row[i], in + i * 4, 4);
        else
            row[i] = format == ROW_BF16 ? bf16_to_float(half) : fp8_to_float(in[i]) * scale;
    }
}

// ROWS rows of random values, bytes 0xa5 after each payload; row 1 zero, row 2 huge and tiny
// blocks.
static struct row_block make_rows(enum row_format format, size_t spare)
{
    struct row_block rows = {.stride = payload(format) + spare, .format = format};
    float *values = random_floats(ROWS * WIDTH, 40, 2);
    memset(values + WIDTH, 0, WIDTH * sizeof *values);
    for (uint32_t i = 0; i < WIDTH; i++)
        values[2 * WIDTH + i] *= i < FP8_BLOCK ? 1e30f : 1e-30f;
    rows.base = mem_alloc(ROWS, rows.stride);
    memset(rows.base, 0xa5, ROWS * rows.stride);
    for (uint32_t r = 0; r < ROWS; r++)
        encode(format, values + r * WIDTH, (uint8_t *)rows.base + r * rows.stride);
    free(values);
    return rows;
}

static uint8_t *row_of(struct row_block rows, uint32_t row)
{
    return (uint8_t *)rows.base + row * rows.stride;
}

static void expect_zero_row(struct row_block rows, uint32_t row)
{
    float values[WIDTH];
    decode(rows.format, row_of(rows, row), values);
    for (uint32_t i = 0; i < WIDTH; i++)
        ck_assert(values[i] == 0);
}

static void expect_gathered(struct row_block out, uint32_t row, struct row_block in, uint32_t from)
{
    uint8_t expected[WIDTH * 4 + SPARE];
    float values[WIDTH];
    memset(expected, 0x5a, sizeof expected);
    if (in.format == out.format) {
        memcpy(expected, row_of(in, from),
               in.stride == out.stride ? in.stride : payload(in.format));
    } else {
        decode(in.format, row_of(in, from), values);
        encode(out.format, values, expected);
    }
    ck_assert_mem_eq(row_of(out, row), expected, out.stride);
}

static void expect_gather(struct row_block in, struct row_block out, const uint32_t *index)
{
    memset(out.base, 0x5a, ROWS * out.stride);
    device_gather(device, STREAM_INTER, &(struct row_gather){out, in, index, ROWS, WIDTH});
    for (uint32_t r = 0; r < ROWS; r++) {
        if (index && index[r] == UINT32_MAX)
            expect_zero_row(out, r);
        else
            expect_gathered(out, r, in, index ? index[r] : r);
    }
}

// All pairs of formats; with room after the payload the same, less, and none.
START_TEST(gather)
{
    static const uint32_t index[ROWS] = {5, UINT32_MAX, 2, 2, 1, UINT32_MAX};
    static const size_t spares[] = {SPARE, SPARE / 2, 0};
    for (int spare = 0; spare < 3; spare++) {
        struct row_block in = make_rows(formats[_i / FORMATS], SPARE);
        struct row_block out = make_rows(formats[_i % FORMATS], spares[spare]);
        expect_gather(in, out, NULL);
        expect_gather(in, out, index);
        device_gather(device, STREAM_INTER, &(struct row_gather){out, in, index, 0, WIDTH});
        free(in.base);
        free(out.base);
    }
}
END_TEST

START_TEST(zeros_stay_exact)
{
    struct row_block in = make_rows(ROW_FP32, 0), out = make_rows(ROW_FP8, 0);
    device_gather(device, STREAM_INTER, &(struct row_gather){out, in, NULL, ROWS, WIDTH});
    device_gather(device, STREAM_INTER, &(struct row_gather){in, out, NULL, ROWS, WIDTH});
    expect_zero_row(in, 1);
    free(in.base);
    free(out.base);
}
END_TEST

static int32_t int_at(const uint8_t *from)
{
    int32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static float float_at(const uint8_t *from)
{
    float value;
    memcpy(&value, from, sizeof value);
    return value;
}

START_TEST(put_meta)
{
    enum { TOPK = 2, STRIDE = 40, OFFSET = 13, COUNT = 3 };
    uint8_t bytes[COUNT * STRIDE];
    const struct row_block rows = {bytes, STRIDE, ROW_FP8};
    const uint16_t ids[] = {9, 8, 7, ROUTING_DROPPED, 5, 4};
    const float weights[] = {0.5f, 0.25f, 1, 2, 3, 4};
    const uint32_t index[COUNT] = {2, UINT32_MAX, 1};
    memset(bytes, 0x5a, sizeof bytes);
    device_put_meta(device, STREAM_INTER,
                    &(struct row_meta){rows, OFFSET, ids, weights, TOPK, index, COUNT});
    for (uint32_t r = 0; r < COUNT; r++) {
        const uint8_t *meta = bytes + r * STRIDE + OFFSET;
        const bool used = index[r] != UINT32_MAX;
        for (uint32_t k = 0; k < TOPK; k++) {
            ck_assert_int_eq(int_at(meta + 4 * k), used ? ids[index[r] * TOPK + k] : -1);
            ck_assert(float_at(meta + 8 + 4 * k) == (used ? weights[index[r] * TOPK + k] : 0));
        }
        ck_assert_int_eq(int_at(meta + 16), used ? (int32_t)index[r] : -1);
        ck_assert_uint_eq(meta[-1], 0x5a);
        ck_assert_uint_eq(meta[20], 0x5a);
    }
    device_put_meta(device, STREAM_INTER,
                    &(struct row_meta){.rows = rows, .index = index, .count = COUNT});
    ck_assert_int_eq(int_at(bytes), 2);
    ck_assert_int_eq(int_at(bytes + STRIDE), -1);
    ck_assert_uint_eq(bytes[4], 0x5a);
}
END_TEST

// --- sums ----------------------------------------------------------------------------------------

#define SUMS 4
static const uint64_t sum_first[SUMS + 1] = {0, 3, 3, 4, 8}; // the second is empty
static const uint32_t sum_source[] = {4, 0, 4, 5, 3, 0, 5, 1};
static const float sum_weight[] = {0.5f, 2, -1, 0.3f, 0.1f, 0.7f, 1.3f, 9};

// fp32, in order: the same bits as a plain loop.
static void expect_sum(struct row_block out, struct row_block in, uint32_t row, const float *weight,
                       const float *start)
{
    uint8_t expected[WIDTH * 4];
    float sum[WIDTH], values[WIDTH];
    for (uint32_t i = 0; i < WIDTH; i++)
        sum[i] = start ? start[row * WIDTH + i] : 0;
    for (uint64_t j = sum_first[row]; j < sum_first[row + 1]; j++) {
        decode(in.format, row_of(in, sum_source[j]), values);
        for (uint32_t i = 0; i < WIDTH; i++)
            sum[i] += (weight ? weight[j] : 1) * values[i];
    }
    encode(out.format, sum, expected);
    ck_assert_mem_eq(row_of(out, row), expected, payload(out.format));
}

START_TEST(reduce)
{
    struct row_block in = make_rows(formats[_i / FORMATS], SPARE);
    struct row_block out = make_rows(formats[_i % FORMATS], SPARE);
    for (int with = 0; with < 2; with++) {
        const float *weight = with ? sum_weight : NULL;
        device_reduce(
            device, STREAM_INTRA,
            &(struct row_sums){out, in, sum_first, sum_source, weight, SUMS, WIDTH, false});
        for (uint32_t r = 0; r < SUMS; r++) {
            expect_sum(out, in, r, weight, NULL);
            ck_assert_uint_eq(row_of(out, r)[payload(out.format)], 0xa5);
        }
        ck_assert_uint_eq(row_of(out, SUMS)[payload(out.format)], 0xa5);
    }
    free(in.base);
    free(out.base);
}
END_TEST

START_TEST(reduce_and_add)
{
    struct row_block in = make_rows(formats[_i], 0), out = make_rows(ROW_FP32, 0);
    float *start = random_floats(SUMS * WIDTH, 41, 3);
    memcpy(out.base, start, SUMS * WIDTH * sizeof *start);
    device_reduce(
        device, STREAM_COMPUTE,
        &(struct row_sums){out, in, sum_first, sum_source, sum_weight, SUMS, WIDTH, true});
    for (uint32_t r = 0; r < SUMS; r++)
        expect_sum(out, in, r, sum_weight, start);
    free(start);
    free(in.base);
    free(out.base);
}
END_TEST

// --- experts -------------------------------------------------------------------------------------

#define HIDDEN 24
#define INNER 10
#define GROUPS 6
static const uint64_t group_first[GROUPS + 1] = {0, 0, 3, 3, 8, 9, 9}; // empty first, middle, last
#define GROUP_ROWS 9

static double swiglu(const float *x, const float *gate_up, const float *down, uint32_t h)
{
    double sum = 0;
    for (uint32_t i = 0; i < INNER; i++) {
        double gate = 0, up = 0;
        for (uint32_t j = 0; j < HIDDEN; j++) {
            gate += (double)gate_up[i * HIDDEN + j] * x[j];
            up += (double)gate_up[(INNER + i) * HIDDEN + j] * x[j];
        }
        sum += down[h * INNER + i] * (gate / (1 + exp(-gate)) * up);
    }
    return sum;
}

// Where groups stand apart, room for CAPACITY rows each.
#define CAPACITY 6
#define APART_ROWS (GROUPS * CAPACITY)
static const uint64_t groups_apart[GROUPS] = {0, 6, 12, 18, 24, 30};

START_TEST(ffn)
{
    const uint64_t *at = _i ? groups_apart : NULL;
    float *in = random_floats(APART_ROWS * HIDDEN, 50, 2), *weights[2 * GROUPS];
    float out[APART_ROWS * HIDDEN], middle[GROUP_ROWS * 3 * INNER];
    const void *gate_up[GROUPS], *down[GROUPS];
    for (uint32_t g = 0; g < GROUPS; g++) {
        gate_up[g] = weights[g] = random_floats(2 * INNER * HIDDEN, 60 + g, 0.4f);
        down[g] = weights[GROUPS + g] = random_floats(HIDDEN * INNER, 70 + g, 0.4f);
    }
    device_ffn(device, &(struct ffn){GROUPS, HIDDEN, INNER, group_first, gate_up, down, in, out,
                                     middle, at, STREAM_COMPUTE});
    for (uint32_t g = 0; g < GROUPS; g++)
        for (uint64_t i = 0; i < group_first[g + 1] - group_first[g]; i++) {
            const uint64_t r = i + (at ? at[g] : group_first[g]);
            for (uint32_t h = 0; h < HIDDEN; h++)
                expect_near(out[r * HIDDEN + h],
                            swiglu(in + r * HIDDEN, weights[g], weights[GROUPS + g], h), 1e-5);
        }
    for (uint32_t g = 0; g < 2 * GROUPS; g++)
        free(weights[g]);
    free(in);
}
END_TEST

// --- the reference -------------------------------------------------------------------------------

#define TOKENS 7
#define EXPERTS 5
#define TOPK 3
#define SHARED 14

// One network of the reference's tensors by the device, added to out with each token's weight.
static void add_network(uint64_t up, uint64_t down, uint32_t inner, const float *in,
                        const float *weight, float *out)
{
    const uint64_t first[] = {0, TOKENS};
    float up_values[2 * SHARED * HIDDEN], down_values[HIDDEN * SHARED];
    float result[TOKENS * HIDDEN], middle[TOKENS * 3 * SHARED];
    const void *ups[] = {up_values}, *downs[] = {down_values};
    device_fill(device, &(struct tensor_fill){up_values, (uint64_t)2 * inner * HIDDEN, 3, up,
                                              tensor_scale(HIDDEN)});
    device_fill(device, &(struct tensor_fill){down_values, (uint64_t)HIDDEN * inner, 3, down,
                                              tensor_scale(inner)});
    device_ffn(device, &(struct ffn){1, HIDDEN, inner, first, ups, downs, in, result, middle, NULL,
                                     STREAM_COMPUTE});
    for (uint32_t i = 0; i < TOKENS * HIDDEN; i++)
        out[i] += weight[i / HIDDEN] * result[i];
}

START_TEST(reference_agrees)
{
    const struct moe moe = {.hidden = HIDDEN,
                            .experts = EXPERTS,
                            .topk = TOPK,
                            .intermediate = INNER,
                            .shared_intermediate = SHARED};
    const struct reference reference = {.moe = &moe, .seed = 3, .layer = 4};
    float hidden[TOKENS * HIDDEN], wire[TOKENS * HIDDEN], weights[TOKENS * TOPK];
    float got[TOKENS * HIDDEN] = {0}, ones[TOKENS];
    uint16_t ids[TOKENS * TOPK];
    double expected[TOKENS * HIDDEN];
    for (uint32_t t = 0; t < TOKENS; t++) {
        ones[t] = 1;
        reference_hidden(&reference, 2, t, hidden + t * HIDDEN);
        for (uint32_t k = 0; k < TOPK; k++) {
            ids[t * TOPK + k] = k == 2 ? ROUTING_DROPPED : (uint16_t)((t + 2 * k) % (EXPERTS - 1));
            weights[t * TOPK + k] = 0.25f + (float)k;
        }
    }
    memcpy(wire, hidden, sizeof wire);
    for (uint32_t t = 0; t < TOKENS; t++)
        reference_round(wire + t * HIDDEN, HIDDEN, ROW_FP8);
    ck_assert_mem_ne(wire, hidden, sizeof wire);
    for (uint32_t e = 0; e < EXPERTS; e++) {
        float weight[TOKENS] = {0};
        for (uint32_t i = 0; i < TOKENS * TOPK; i++)
            weight[i / TOPK] += ids[i] == e ? weights[i] : 0;
        add_network(tensor_number(TENSOR_GATE_UP, 4, e), tensor_number(TENSOR_DOWN, 4, e), INNER,
                    wire, weight, got);
    }
    add_network(tensor_number(TENSOR_SHARED_GATE_UP, 4, 0), tensor_number(TENSOR_SHARED_DOWN, 4, 0),
                SHARED, hidden, ones, got);
    reference_layer(&reference, &(struct reference_tokens){TOKENS, hidden, wire, ids, weights}, 0,
                    1, expected);
    struct reference_error error = {0};
    reference_compare(&error, expected, got, TOKENS * HIDDEN);
    ck_assert_double_lt(reference_relative(&error), 1e-6);
    got[0] += 1;
    reference_compare(&error, expected, got, 1);
    ck_assert_double_gt(reference_relative(&error), 1e-3);
}
END_TEST

START_TEST(reference_input)
{
    const struct moe moe = {.hidden = HIDDEN};
    const struct reference reference = {.moe = &moe, .seed = 8, .layer = 1};
    float input[TOKENS * HIDDEN], normed[TOKENS * HIDDEN], hidden[HIDDEN];
    device_fill(device, &(struct tensor_fill){input, TOKENS * HIDDEN, 8,
                                              tensor_number(TENSOR_INPUT, 1, 6), tensor_scale(1)});
    device_rmsnorm(device, normed, input, TOKENS, HIDDEN);
    for (uint32_t t = 0; t < TOKENS; t++) {
        reference_hidden(&reference, 6, t, hidden);
        for (uint32_t i = 0; i < HIDDEN; i++)
            expect_near(normed[t * HIDDEN + i], hidden[i], 1e-6);
    }
}
END_TEST

// The reference's rounding is the device's way to the wire and back, bit for bit.
START_TEST(reference_rounds_as_the_wire)
{
    struct row_block in = make_rows(ROW_FP32, 0), wire = make_rows(formats[_i], SPARE);
    struct row_block back = make_rows(ROW_FP32, 0);
    device_gather(device, STREAM_INTER, &(struct row_gather){wire, in, NULL, ROWS, WIDTH});
    device_gather(device, STREAM_INTER, &(struct row_gather){back, wire, NULL, ROWS, WIDTH});
    for (uint32_t r = 0; r < ROWS; r++)
        reference_round((float *)in.base + r * WIDTH, WIDTH, formats[_i]);
    ck_assert_mem_eq(in.base, back.base, ROWS * in.stride);
    free(in.base);
    free(wire.base);
    free(back.base);
}
END_TEST

START_TEST(relative_errors)
{
    struct reference_error error = {0};
    ck_assert(reference_relative(&error) == 0);
    reference_compare(&error, (const double[]){0, 0}, (const float[]){0, 0}, 2);
    ck_assert(reference_relative(&error) == 0);
    reference_compare(&error, (const double[]){3, 4}, (const float[]){3, 4.5f}, 2);
    expect_near(reference_relative(&error), 0.1, 1e-12);
    reference_compare(&error, (const double[]){1}, (const float[]){NAN}, 1);
    ck_assert(isnan(reference_relative(&error)));
}
END_TEST

// One token among hundreds: 8 % off by itself, and all together within 0.5 %.
START_TEST(worst_row)
{
    enum { MANY = 400, BAD = 217, COUNT = MANY * HIDDEN };
    double expected[COUNT];
    float got[COUNT];
    struct reference_error all = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t size = 1 + i / HIDDEN; // rows of different sizes
        expected[i] = (double)value_at(4, 1, i) * size;
        got[i] = (float)expected[i] * (1 + 1e-3f * value_at(4, 2, i));
    }
    for (uint32_t i = BAD * HIDDEN; i < (BAD + 1) * HIDDEN; i++)
        got[i] = (float)expected[i] * 1.08f;
    reference_compare(&all, expected, got, COUNT);
    const struct reference_worst worst = reference_worst_row(expected, got, MANY, HIDDEN);
    ck_assert_double_lt(reference_relative(&all), 5e-3);
    expect_near(worst.relative, 0.08, 1e-6);
    ck_assert_uint_eq(worst.row, BAD);
    ck_assert_double_lt(reference_worst_row(expected, got, BAD, HIDDEN).relative, 1e-3);
}
END_TEST

START_TEST(worst_row_of_none_and_of_nan)
{
    const double expected[] = {1, 2, 3, 4, 0, 0};
    float got[] = {1, 2, 3, 4, 0, 0};
    struct reference_worst worst = reference_worst_row(expected, got, 0, 2);
    ck_assert(worst.relative == 0 && worst.row == 0);
    worst = reference_worst_row(expected, got, 3, 2);
    ck_assert(worst.relative == 0 && worst.row == 0);
    got[5] = 1e-9f; // where there should be nothing
    worst = reference_worst_row(expected, got, 3, 2);
    ck_assert(isinf(worst.relative) && worst.row == 2);
    got[2] = NAN;
    worst = reference_worst_row(expected, got, 3, 2);
    ck_assert(isinf(worst.relative) && worst.row == 1);
}
END_TEST

static TCase *own_device_tests(void)
{
    TCase *tests = tcase_create("own device, or none");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, failed_allocation_sticks);
    tcase_add_test(tests, relative_errors);
    tcase_add_test(tests, worst_row);
    tcase_add_test(tests, worst_row_of_none_and_of_nan);
    return tests;
}

static TCase *kernel_tests(void)
{
    TCase *tests = tcase_create("kernels");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, open_device, close_device);
    tcase_add_test(tests, memory_and_marks);
    tcase_add_test(tests, fill_scales);
    tcase_add_test(tests, rmsnorm);
    tcase_add_test(tests, router);
    tcase_add_loop_test(tests, select_experts, 0,
                        (int)(sizeof select_shapes / sizeof select_shapes[0]));
    tcase_add_test(tests, select_without_difference);
    tcase_add_loop_test(tests, gather, 0, FORMATS * FORMATS);
    tcase_add_test(tests, zeros_stay_exact);
    tcase_add_test(tests, put_meta);
    tcase_add_loop_test(tests, reduce, 0, FORMATS * FORMATS);
    tcase_add_loop_test(tests, reduce_and_add, 0, FORMATS);
    tcase_add_loop_test(tests, ffn, 0, 2);
    tcase_add_test(tests, reference_agrees);
    tcase_add_test(tests, reference_input);
    tcase_add_loop_test(tests, reference_rounds_as_the_wire, 0, FORMATS);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("device");
    suite_add_tcase(suite, own_device_tests());
    suite_add_tcase(suite, kernel_tests());
    return suite_run(suite);
}
